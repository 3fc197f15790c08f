//! What is written is read again, and what was not written is not.

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
