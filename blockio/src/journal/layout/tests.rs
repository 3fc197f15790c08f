//! What is written is read back, and anything else is refused.

use super::*;

mod example;

fn extent(start: u64, length: u64) -> Extent {
    Extent::new(ByteOffset::new(start), ByteCount::new(length)).unwrap()
}

fn segment() -> SegmentHeader {
    SegmentHeader {
        journal: *b"0123456789abcdef",
        number: SegmentNumber(7),
        epoch: 3,
        first_record: 1000,
        salt: 0x1122_3344_5566_7788,
        length_bytes: 64 << 20,
        generation: 90,
    }
}

fn record() -> RecordHeader {
    RecordHeader {
        number: 1000,
        salt: 5,
        tag: *b"01234567",
        kind: RecordKind::Images,
        entries: vec![
            Entry { volume: 1, extent: extent(8192, 4096), held: Held::Data },
            Entry { volume: 0, extent: extent(0, 1 << 40), held: Held::Zeros },
        ],
        payload_bytes: 4096,
        payload_checksum: 9,
        durable_before: 990,
    }
}

#[test]
fn what_was_written_is_read() {
    let mut block = vec![0xff; BLOCK_BYTES];
    segment().write(&mut block);
    assert_eq!(SegmentHeader::read(&block), Ok(segment()));
    record().write(&mut block);
    assert_eq!(RecordHeader::read(&block), Ok(record()));
    assert_eq!(record().record_bytes(), 8192);
}

#[test]
fn a_changed_bit_anywhere_in_a_header_is_noticed() {
    for (written, is_read) in [
        (
            {
                let mut block = vec![0; BLOCK_BYTES];
                segment().write(&mut block);
                block
            },
            (|block: &[u8]| SegmentHeader::read(block).is_ok()) as fn(&[u8]) -> bool,
        ),
        (
            {
                let mut block = vec![0; BLOCK_BYTES];
                record().write(&mut block);
                block
            },
            |block: &[u8]| RecordHeader::read(block).is_ok(),
        ),
    ] {
        for bit in 0..BLOCK_BYTES * 8 {
            let mut damaged = written.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_read(&damaged), "bit {bit}");
        }
    }
}

#[test]
fn lengths_that_contradict_each_other_are_no_header() {
    let read = |header: RecordHeader| {
        let mut block = vec![0; BLOCK_BYTES];
        header.write(&mut block);
        RecordHeader::read(&block)
    };
    let wrong = RecordHeader { payload_bytes: 8192, ..record() };
    assert_eq!(read(wrong), Err(NoHeader::Field("payload length")));
    let wrong = RecordHeader { kind: RecordKind::EpochBegins, ..record() };
    assert_eq!(read(wrong), Err(NoHeader::Field("number of entries")));
}

#[test]
fn a_header_of_the_most_entries_is_as_long_as_is_said() {
    assert_eq!(header_bytes(ENTRIES_MAX), HEADER_BYTES_MAX);
    assert_eq!(header_bytes(0), BLOCK_BYTES);
    const { assert!(HEADER_BYTES_MAX < RECORD_BYTES_MAX / 2) };
}

/// A header whose block has these bytes at `at`, and the right checksum.
fn segment_with(at: usize, bytes: &[u8]) -> Result<SegmentHeader, NoHeader> {
    let mut block = vec![0; BLOCK_BYTES];
    segment().write(&mut block);
    block[at..at + bytes.len()].copy_from_slice(bytes);
    let checksum = crc32c::crc32c(&block[..SEGMENT_CHECKSUM_AT]);
    block[SEGMENT_CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    SegmentHeader::read(&block)
}

#[test]
fn what_is_reserved_in_the_header_of_a_segment_is_zeros() {
    for at in [12, 15, SEGMENT_USED_BYTES, SEGMENT_CHECKSUM_AT - 1] {
        assert_eq!(segment_with(at, &[1]), Err(NoHeader::Field("reserved part")), "{at}");
    }
    assert!(segment_with(SEGMENT_USED_BYTES - 1, &[1]).is_ok());
}

#[test]
fn a_segment_of_version_1_has_no_generation() {
    let one = 1_u32.to_le_bytes();
    assert_eq!(segment_with(8, &one), Err(NoHeader::Field("reserved part")));
    let mut block = vec![0; BLOCK_BYTES];
    let header = SegmentHeader { generation: 0, ..segment() };
    header.write(&mut block);
    block[8..12].copy_from_slice(&one);
    let checksum = crc32c::crc32c(&block[..SEGMENT_CHECKSUM_AT]);
    block[SEGMENT_CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    assert_eq!(SegmentHeader::read(&block), Ok(header));
}

#[test]
fn a_record_has_at_most_so_many_entries_and_bytes() {
    let of = |entries: usize, payload_bytes: u32| {
        let entries = (0..entries as u64).map(|number| Entry {
            volume: 0,
            extent: extent(number * 4096, 4096),
            held: Held::Zeros,
        });
        let mut entries: Vec<_> = entries.collect();
        if let Some(first) = entries.first_mut().filter(|_| payload_bytes > 0) {
            *first =
                Entry { extent: extent(0, u64::from(payload_bytes)), held: Held::Data, ..*first };
        }
        RecordHeader { entries, payload_bytes, ..record() }
    };
    let read = |header: &RecordHeader| {
        let mut place = vec![0; header.header_bytes()];
        header.write(&mut place);
        (RecordHeader::length(&place), RecordHeader::read(&place))
    };
    let most = of(ENTRIES_MAX, 0);
    assert_eq!(read(&most), (Ok(HEADER_BYTES_MAX), Ok(most)));
    let none = Err(NoHeader::Field("number of entries"));
    assert_eq!(read(&of(ENTRIES_MAX + 1, 0)), (none.map(|()| 0), none.map(|()| record())));
    let room = (RECORD_BYTES_MAX - BLOCK_BYTES) as u32;
    let longest = of(1, room);
    assert_eq!(longest.record_bytes(), RECORD_BYTES_MAX);
    assert_eq!(read(&longest).1, Ok(longest));
    let longer = of(1, room + BLOCK_BYTES as u32);
    assert_eq!(read(&longer).1, Err(NoHeader::Field("payload length")));
}

#[test]
fn why_bytes_are_no_header_is_told() {
    for (why, told) in [
        (NoHeader::Magic, "it does not begin with a header"),
        (NoHeader::Version(9), "its version is 9, not 1 to 2"),
        (NoHeader::Checksum, "its checksum is wrong"),
        (NoHeader::Field("kind"), "its kind is impossible"),
        (NoHeader::Short, "it is truncated"),
    ] {
        assert_eq!(why.to_string(), told);
    }
}
