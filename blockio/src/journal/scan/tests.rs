//! Segments in memory, with records that the journal would have written there, and others.

use std::sync::Arc;

use super::*;
use crate::device::Engine;
use crate::device::memory::MemoryDevice;
use crate::device::{Geometry, WriteBatch};
use crate::extent::Extent;
use crate::journal::layout::{Entry, Held, RecordKind};
use crate::units::{ByteCount, SectorSize};

const BLOCK: u64 = BLOCK_BYTES as u64;
const NUMBER: SegmentNumber = SegmentNumber(3);
const JOURNAL: Identity = [7; 16];
const SALT: u64 = 5;

/// A segment of a given number of blocks, which begins with record 1.
struct Segment(MemoryDevice);

fn header() -> SegmentHeader {
    SegmentHeader {
        journal: JOURNAL,
        number: NUMBER,
        epoch: 0,
        first_record: 1,
        salt: SALT,
        length_bytes: BLOCK,
        generation: 1,
    }
}

fn record(number: u64, payload: &[u8]) -> RecordHeader {
    RecordHeader {
        number,
        salt: SALT,
        tag: [7; 8],
        kind: RecordKind::EpochBegins,
        entries: Vec::new(),
        payload_bytes: payload.len() as u32,
        payload_checksum: crc32c::crc32c(payload),
        durable_before: 0,
    }
}

fn write(device: &mut dyn BlockDevice, at: u64, bytes: &[u8]) {
    let length = NonZeroUsize::new(padded(bytes.len())).unwrap();
    let mut arena = ArenaPool::new(1, length).unwrap().take().unwrap();
    arena.as_mut_slice().fill(0);
    arena.as_mut_slice()[..bytes.len()].copy_from_slice(bytes);
    let writes =
        vec![Transfer { at: ByteOffset::new(at), position: 0, length: padded(bytes.len()) }];
    let batch = WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() };
    device.write_batch(batch).unwrap();
}

fn header_block() -> Vec<u8> {
    let mut block = vec![0; BLOCK_BYTES];
    header().write(&mut block);
    block
}

impl Segment {
    fn new(blocks: u64) -> Self {
        let capacity = ByteCount::new(blocks * BLOCK);
        let geometry = Geometry { capacity, sector_size: SectorSize::Bytes4096 };
        let segment = Self(MemoryDevice::new(geometry));
        write(&mut segment.0.clone(), 0, &header_block());
        segment
    }

    /// A segment in which each block after the first has a record without payload, numbered from 1.
    fn of_records(count: u64) -> Self {
        let segment = Self::new(count + 1);
        (1..=count).for_each(|number| segment.put(number, &record(number, &[]), &[]));
        segment
    }

    /// Writes a record at a block.
    fn put(&self, block: u64, header: &RecordHeader, payload: &[u8]) {
        let mut bytes = vec![0; header.header_bytes()];
        header.write(&mut bytes);
        bytes.extend_from_slice(payload);
        write(&mut self.0.clone(), block * BLOCK, &bytes);
    }

    fn reader(&self) -> SegmentReader {
        Self::reader_of(self.0.clone())
    }

    fn reader_of(device: MemoryDevice) -> SegmentReader {
        let pool = ArenaPool::new(READER_ARENAS, WINDOW_BYTES).unwrap();
        SegmentReader::new(Box::new(device), pool, &JOURNAL, NUMBER).unwrap()
    }

    fn next(&self) -> Next {
        self.reader().next().unwrap()
    }
}

fn number(next: Next) -> u64 {
    match next {
        Next::Record(record) => record.header.number,
        Next::End(why) => panic!("{why}"),
    }
}

#[test]
fn a_segment_of_one_block_has_a_header_and_a_shorter_one_has_none() {
    let storage = crate::sim::storage(8);
    let pool = ArenaPool::new(1, WINDOW_BYTES).unwrap();
    let mut one = storage.create_segment(NUMBER, BLOCK, Engine::Blocking).unwrap();
    write(one.as_mut(), 0, &header_block());
    assert_eq!(header_of(storage.as_ref(), NUMBER, &pool).unwrap(), header());
    let none = SegmentNumber(4);
    drop(storage.create_segment(none, 0, Engine::Blocking).unwrap());
    let found = header_of(storage.as_ref(), none, &pool);
    assert!(matches!(found, Err(SegmentError::Header(NoHeader::Short))), "{found:?}");
}

#[test]
fn a_record_of_another_session_or_journal_or_number_is_none() {
    let segment = Segment::new(4);
    let own = record(1, &[]);
    for (other, why) in [
        (RecordHeader { salt: SALT + 1, ..own.clone() }, NoRecord::Foreign),
        (RecordHeader { tag: [8; 8], ..own.clone() }, NoRecord::Foreign),
        (record(2, &[]), NoRecord::Number(2)),
    ] {
        segment.put(1, &other, &[]);
        assert_eq!(segment.next(), Next::End(why));
    }
    segment.put(1, &own, &[]);
    assert_eq!(number(segment.next()), 1);
}

#[test]
fn a_record_may_end_where_its_segment_ends_and_no_further() {
    let segment = Segment::new(4);
    segment.put(1, &record(1, &[1; 2 * BLOCK_BYTES]), &[]);
    assert_eq!(number(segment.next()), 1);
    segment.put(1, &record(1, &[1; 2 * BLOCK_BYTES + 1]), &[]);
    assert_eq!(segment.next(), Next::End(NoRecord::Long));
}

#[test]
fn a_header_that_goes_on_past_its_segment_is_cut_short() {
    let segment = Segment::new(4);
    let extent = Extent::new(ByteOffset::ZERO, ByteCount::new(512)).unwrap();
    let entries = vec![Entry { volume: 0, held: Held::Zeros, extent }; 400];
    let long = RecordHeader { kind: RecordKind::Images, entries, ..record(1, &[]) };
    assert!(long.header_bytes() > BLOCK_BYTES);
    let mut bytes = vec![0; long.header_bytes()];
    long.write(&mut bytes);
    write(&mut segment.0.clone(), 3 * BLOCK, &bytes[..BLOCK_BYTES]);
    let mut reader = segment.reader();
    reader.at = 3 * BLOCK;
    assert_eq!(reader.next().unwrap(), Next::End(NoRecord::Header(NoHeader::Short)));
}

#[test]
fn the_records_of_a_window_take_one_read() {
    let segment = Segment::of_records(9);
    let mut reader = Segment::reader_of(segment.0.clone().failing_reads(1, libc::EIO));
    for expected in 1..=9 {
        assert_eq!(number(reader.next().unwrap()), expected);
    }
    assert_eq!(reader.next().unwrap(), Next::End(NoRecord::SegmentEnds));
}

#[test]
fn one_goes_to_a_record_and_back_to_it_and_reads_it_again() {
    let segment = Segment::of_records(5);
    let mut reader = segment.reader();
    reader.go_to(4 * BLOCK, 4);
    assert_eq!((reader.at(), reader.next_record()), (4 * BLOCK, 4));
    let Next::Record(fourth) = reader.next().unwrap() else { panic!("none") };
    assert_eq!((fourth.header.number, fourth.payload_at), (4, 5 * BLOCK));
    reader.put_back(&fourth);
    assert_eq!(number(reader.next().unwrap()), 4);
    // A change made meanwhile is seen after `forget`.
    let changed = RecordHeader { durable_before: 3, ..record(5, &[]) };
    segment.put(5, &changed, &[]);
    reader.forget();
    let Next::Record(fifth) = reader.next().unwrap() else { panic!("none") };
    assert_eq!(fifth.header, changed);
}

#[test]
fn behind_damage_the_next_record_of_ours_with_a_later_number_is_found() {
    let found = |header: &RecordHeader, limit, last| {
        let segment = Segment::new(8);
        segment.put(4, header, &[]);
        let mut reader = segment.reader();
        reader.next_record = 3;
        let found = reader.skip_damage(limit, last).unwrap();
        (found, reader.at(), reader.next_record())
    };
    let (all, fifth, none) = (8 * BLOCK, record(5, &[]), (false, BLOCK, 3));
    assert_eq!(found(&fifth, all, 9), (true, 4 * BLOCK, 5));
    assert_eq!(found(&record(3, &[]), all, 9), (true, 4 * BLOCK, 3));
    assert_eq!(found(&record(2, &[]), all, 9), none);
    assert_eq!(found(&fifth, all, 6), (true, 4 * BLOCK, 5));
    assert_eq!(found(&fifth, all, 5), none);
    assert_eq!(found(&fifth, 4 * BLOCK, 9), none);
    assert_eq!(found(&fifth, 4 * BLOCK + 1, 9), (true, 4 * BLOCK, 5));
    assert_eq!(found(&RecordHeader { salt: 9, ..fifth.clone() }, all, 9), none);
    assert_eq!(found(&RecordHeader { tag: [9; 8], ..fifth }, all, 9), none);
}

#[test]
fn a_payload_longer_than_a_window_is_read_to_its_end() {
    let length = WINDOW_BYTES.get() + 10;
    let mut text: Vec<u8> = (0..length).map(|at| b'a' + (at / 4096 % 26) as u8).collect();
    let segment = Segment::new(80);
    segment.put(1, &record(1, &text), &text);
    let mut reader = segment.reader();
    let Next::Record(found) = reader.next().unwrap() else { panic!("none") };
    assert!(reader.is_payload_whole(&found).unwrap());
    assert_eq!(reader.text(&found).unwrap().map(String::into_bytes).as_ref(), Some(&text));
    text[length - 1] ^= 1;
    segment.put(1, &found.header, &text);
    assert!(!reader.is_payload_whole(&found).unwrap());
    assert_eq!(reader.text(&found).unwrap(), None);
}

#[test]
fn records_that_are_longer_than_a_window_are_followed_by_their_headers_however_long_these_are() {
    let long = vec![1; WINDOW_BYTES.get()];
    let entry = |number: u64| Entry {
        volume: 0,
        extent: Extent::new(ByteOffset::new(number * BLOCK), ByteCount::new(BLOCK)).unwrap(),
        held: Held::Zeros,
    };
    // More entries than one block has room for.
    let entries = (0..400).map(entry).collect();
    let many = RecordHeader { kind: RecordKind::Images, entries, ..record(3, &[]) };
    assert!(many.header_bytes() > 2 * BLOCK as usize);
    let segment = Segment::new(200);
    let mut block = 1;
    let mut put = |header: &RecordHeader, payload: &[u8]| {
        segment.put(block, header, payload);
        block += header.record_bytes() as u64 / BLOCK;
    };
    put(&record(1, &long), &long);
    put(&record(2, &long), &long);
    put(&many, &[]);
    put(&record(4, &[]), &[]);
    let mut reader = segment.reader();
    for expected in 1..=4 {
        let Next::Record(found) = reader.next().unwrap() else { panic!("no record {expected}") };
        assert_eq!(found.header.number, expected);
        assert_eq!(found.header.entries.len(), if expected == 3 { 400 } else { 0 });
        assert!(reader.is_payload_whole(&found).unwrap());
    }
    assert!(matches!(reader.next().unwrap(), Next::End(_)));
}
