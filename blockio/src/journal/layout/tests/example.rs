//! The example in the document equals what is written, byte for byte.

use super::super::*;

const DOCUMENT: &str = include_str!("../../../../../docs/format/retention-journal-v2.md");

/// The bytes of the hexdump in the document, lines of zeros filled in.
fn documented() -> Vec<u8> {
    let (_, example) = DOCUMENT.split_once("```hexdump\n").unwrap();
    let (dump, _) = example.split_once("```").unwrap();
    let mut bytes = Vec::new();
    for line in dump.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split('|').next().unwrap().split_whitespace();
        let at = usize::from_str_radix(words.next().unwrap(), 16).unwrap();
        bytes.resize(at, 0);
        bytes.extend(words.map(|word| u8::from_str_radix(word, 16).unwrap()));
    }
    bytes
}

fn record(header: RecordHeader, payload: &[u8]) -> Vec<u8> {
    let payload_checksum = crc32c::crc32c(payload);
    let payload_bytes = u32::try_from(payload.len()).unwrap();
    let header = RecordHeader { payload_bytes, payload_checksum, ..header };
    let mut bytes = vec![0; header.record_bytes()];
    header.write(&mut bytes);
    bytes[header.header_bytes()..][..payload.len()].copy_from_slice(payload);
    bytes
}

#[test]
fn the_example_in_the_document_is_what_is_written() {
    let (journal, salt) = (*b"0123456789abcdef", 0x1122_3344_5566_7788);
    let segment = SegmentHeader {
        journal,
        number: SegmentNumber(7),
        epoch: 3,
        first_record: 1000,
        salt,
        length_bytes: 64 << 20,
        generation: 90,
    };
    let begins = RecordHeader {
        number: 1000,
        salt,
        tag: *b"01234567",
        kind: RecordKind::EpochBegins,
        entries: Vec::new(),
        payload_bytes: 0,
        payload_checksum: 0,
        durable_before: 1000,
    };
    let extent = |start, length| Extent::new(ByteOffset::new(start), ByteCount::new(length));
    let entries = vec![
        Entry { volume: 0, extent: extent(8192, 4096).unwrap(), held: Held::Data },
        Entry { volume: 1, extent: extent(65_536, 65_536).unwrap(), held: Held::Zeros },
    ];
    let (number, kind) = (1001, RecordKind::Images);
    let images = RecordHeader { number, kind, entries, durable_before: 1001, ..begins.clone() };
    let mut held = vec![0; 4096];
    held[..16].copy_from_slice(b"sixteen bytes...");
    let mut written = vec![0; BLOCK_BYTES];
    segment.write(&mut written);
    written.extend(record(begins, b"{}"));
    written.extend(record(images, &held));
    let documented = documented();
    assert_eq!(written.len(), documented.len());
    let differ = (0..written.len()).find(|at| written[*at] != documented[*at]);
    assert_eq!(differ, None, "the first byte that differs");
}
