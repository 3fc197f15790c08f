//! Feeds arbitrary bytes to what reads segments of the retention journal: as they are, and as
//! records whose checksums are right: else nothing would come past the first of them.
#![no_main]

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use blockio::device::buffer::ArenaPool;
use blockio::device::memory::MemoryDevice;
use blockio::device::Engine;
use blockio::device::{BlockDevice, Geometry, Transfer, WriteBatch};
use blockio::extent::Extent;
use blockio::journal::state::GroupState;
use blockio::journal::state_text;
use blockio::journal::catalogue::{Catalogue, JournalVolume, Span};
use blockio::journal::layout::{BLOCK_BYTES, Entry, Held, RecordHeader, RecordKind, SegmentHeader};
use blockio::journal::{check, dump, rebuild};
use blockio::storage::{SegmentNumber, Space, StateCopy, Storage};
use blockio::units::{ByteCount, ByteOffset, SectorSize};
use libfuzzer_sys::fuzz_target;

const SEGMENT_BYTES: usize = 64 << 10;
const IDENTITY: [u8; 16] = [7; 16];
const SALT: u64 = 5;

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else { return };
    headers(rest);
    let mut segment = match mode % 3 {
        0 => rest.to_vec(),
        1 => [header(), rest.to_vec()].concat(),
        _ => [header(), records(rest)].concat(),
    };
    segment.resize(SEGMENT_BYTES, 0);
    let known = catalogue(u64::from(*mode));
    let storage: Arc<dyn Storage> = Arc::new(One { segment, known: known.clone() });
    let report = check::check(&storage, &AtomicBool::new(false), &mut |_| {});
    let report = report.expect("what is damaged is no error");
    assert!(report.bytes <= 2 * SEGMENT_BYTES as u64);
    let options = dump::DumpOptions { extents: true, ..dump::DumpOptions::default() };
    dump::dump(&storage, &known, options, &mut |_| Ok(())).expect("what is damaged is a line");
    // Mostly there is nothing to be made of it; what there is has a point.
    if let Ok(rebuilt) = rebuild::rebuild(&storage) {
        assert!(rebuilt.state.journal.is_some_and(|known| !known.points.is_empty()));
    }
});

/// What is read as a header is written as it was.
fn headers(bytes: &[u8]) {
    if let Ok(header) = SegmentHeader::read(bytes) {
        let mut again = vec![0xff; BLOCK_BYTES];
        header.write(&mut again);
        assert_eq!(again[..], bytes[..BLOCK_BYTES]);
    }
    if let Ok(header) = RecordHeader::read(bytes) {
        let mut again = vec![0xff; header.header_bytes()];
        header.write(&mut again);
        assert_eq!(RecordHeader::read(&again), Ok(header));
    }
}

fn header() -> Vec<u8> {
    let header = SegmentHeader {
        journal: IDENTITY,
        number: SegmentNumber(1),
        epoch: 0,
        first_record: 1,
        salt: SALT,
        length_bytes: SEGMENT_BYTES as u64,
        generation: 90,
    };
    let mut block = vec![0; BLOCK_BYTES];
    header.write(&mut block);
    block
}

/// Records of which `script` says something, eight bytes for each and eight for each entry.
fn records(script: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut words = script.chunks_exact(8);
    let mut number = 1;
    while let Some(word) = words.next() {
        let entries: Vec<_> = words.by_ref().take(usize::from(word[0] % 4)).map(entry).collect();
        let data = entries.iter().flatten().map(Entry::payload_bytes).fold(0, u64::saturating_add);
        let begins = word[1] & 1 == 1 && entries.is_empty();
        let header = RecordHeader {
            number: number + u64::from(word[2] / 128),
            salt: SALT + u64::from(word[3] / 128),
            tag: [7; 8],
            kind: if begins { RecordKind::EpochBegins } else { RecordKind::Images },
            entries: entries.into_iter().flatten().collect(),
            payload_bytes: u32::try_from(data).unwrap_or(u32::MAX).wrapping_add(word[4].into()),
            payload_checksum: u32::from(word[5]),
            durable_before: number,
        };
        let at = bytes.len();
        bytes.resize(at + header.header_bytes(), 0);
        header.write(&mut bytes[at..]);
        bytes.resize(bytes.len() + usize::from(word[6] % 4) * BLOCK_BYTES, word[7]);
        number += 1;
    }
    bytes.truncate(SEGMENT_BYTES - BLOCK_BYTES);
    bytes
}

fn entry(word: &[u8]) -> Option<Entry> {
    let start = ByteOffset::new(u64::from(word[1]) << (word[2] % 64));
    let length = ByteCount::new(u64::from(word[3]) << (word[4] % 64));
    let held = if word[5] & 1 == 0 { Held::Data } else { Held::Zeros };
    let extent = Extent::new(start, length).ok()?;
    Some(Entry { volume: u32::from(word[0] % 3), extent, held })
}

fn catalogue(records: u64) -> Catalogue {
    let mut known = Catalogue::new(IDENTITY, 1);
    known.volumes.push(JournalVolume {
        name: String::new().into(),
        sector_bytes: 512,
        capacity_bytes: 1 << 20,
    });
    let bytes = SEGMENT_BYTES as u64;
    let span = Span { segment: SegmentNumber(1), bytes, first_record: 1, next_record: 1 + records };
    Arc::make_mut(&mut known.points[0]).spans.push(span);
    known.next_segment = 2;
    known.next_record = 1 + records / 2;
    known
}

/// A history of one segment.
struct One {
    segment: Vec<u8>,
    known: Catalogue,
}

impl Storage for One {
    fn read_state(&self, _: StateCopy) -> io::Result<Option<String>> {
        let mut state = GroupState::default();
        state.journal = Some(self.known.clone());
        Ok(Some(state_text::print(&state)))
    }

    fn open_segment(&self, _: SegmentNumber) -> io::Result<Box<dyn BlockDevice>> {
        let capacity = ByteCount::new(self.segment.len() as u64);
        let sector_size = SectorSize::Bytes4096;
        let mut device = MemoryDevice::new(Geometry { capacity, sector_size });
        let length = std::num::NonZeroUsize::new(self.segment.len()).expect("it is not empty");
        let mut arena = ArenaPool::new(1, length)?.take().map_err(io::Error::other)?;
        arena.as_mut_slice()[..self.segment.len()].copy_from_slice(&self.segment);
        let writes =
            vec![Transfer { at: ByteOffset::ZERO, position: 0, length: self.segment.len() }];
        let batch = WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() };
        device.write_batch(batch).map_err(|error| error.cause)?;
        Ok(Box::new(device))
    }

    fn segments(&self) -> io::Result<Vec<SegmentNumber>> {
        Ok(vec![SegmentNumber(1)])
    }

    fn replace_state(&self, _: StateCopy, _: &str) -> io::Result<()> {
        unreachable!("nothing is written")
    }

    fn append_state(&self, _: StateCopy, _: u64, _: &str) -> io::Result<bool> {
        unreachable!("nothing is written")
    }

    fn create_segment(
        &self,
        _: SegmentNumber,
        _: u64,
        _: Engine,
    ) -> io::Result<Box<dyn BlockDevice>> {
        unreachable!("nothing is written")
    }

    fn state_stamp(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn shorten_segment(&self, _: SegmentNumber, _: u64) -> io::Result<()> {
        unreachable!("nothing is written")
    }

    fn remove_segment(&self, _: SegmentNumber) -> io::Result<()> {
        unreachable!("nothing is written")
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space { total_bytes: 0, free_bytes: 0 })
    }
}
