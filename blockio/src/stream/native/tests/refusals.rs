//! Every class of malformed stream is refused, at the byte that is wrong.

use super::super::compression::Method;
use super::super::layout::{
    self, BODY_BYTES_AT, COMPRESSION_AT, FLAGS_AT, HEADER_CHECKSUM_AT, KIND_AT, PAYLOAD_BYTES_AT,
    PAYLOAD_CHECKSUM_AT, RECORD_MAGIC, RESERVED_AT, SEQUENCE_AT, SHARED_BYTES, STORED_BYTES_AT,
    Shared, TAG_AT, padded, seal,
};
use super::super::{Encoder, EncoderOptions};
use super::{decode, example, header, options, records};
use crate::stream::{Decoded, Malformed, Problem, VolumeIndex};
use crate::units::ByteOffset;

const STREAM: usize = 0;
const BATCH: usize = 1;
const MARK: usize = 2;
const ZEROS: usize = 3;
const END: usize = 4;

/// The example with `change` written at `at` of a record's header, and its checksum corrected.
fn changed(record: usize, at: usize, change: &[u8]) -> Vec<u8> {
    let mut stream = example();
    let start = records(&stream)[record];
    let header = start..start + Shared::read(&stream[start..]).header_bytes();
    stream[start + at..start + at + change.len()].copy_from_slice(change);
    seal(&mut stream[header]);
    stream
}

/// The problem with the example changed in this way, and its offset in the record.
fn refusal(record: usize, at: usize, change: &[u8]) -> (i64, Problem) {
    let start = records(&example())[record];
    let stream = changed(record, at, change);
    let (events, malformed) = decode(&stream);
    let Malformed { offset, problem } = malformed.expect("a refusal");
    let batches = [0, 0, 1, 1, 2][record];
    let given = events.iter().filter(|event| matches!(event, Decoded::Batch(_))).count();
    assert_eq!(given, batches, "nothing of the record is given: {problem}");
    (offset as i64 - start as i64, problem)
}

/// The offset of byte `at` of entry `index` of a batch.
fn entry(index: usize, at: usize) -> usize {
    SHARED_BYTES + 24 * index + at
}

#[test]
fn a_field_that_must_be_another_value_is_refused_at_the_field() {
    let body = SHARED_BYTES;
    // Record, field, its new bytes, and the field that the refusal names.
    let cases: &[(usize, usize, &[u8], &str)] = &[
        (STREAM, KIND_AT, &[2], "the kind of the first record"),
        (STREAM, FLAGS_AT, &[0], "the flags of a record of this kind"),
        (STREAM, FLAGS_AT, &[2], "the flags of a record of this kind"),
        (STREAM, FLAGS_AT, &[5], "an unknown flag of a record"),
        (STREAM, SEQUENCE_AT, &[1], "a sequence number"),
        (STREAM, TAG_AT, &[1], "the tag of a record's stream"),
        (STREAM, RESERVED_AT, &[1], "a reserved field"),
        (STREAM, SHARED_BYTES - 1, &[1], "a reserved field"),
        (STREAM, 4095, &[1], "the padding of a header"),
        (STREAM, PAYLOAD_BYTES_AT, &[1], "a payload field of a record without payload"),
        (STREAM, body + 32 + 14, &[1], "a reserved field"),
        (BATCH, 0, b"m", "the magic of a record"),
        (BATCH, FLAGS_AT, &[0], "the flags of a record of this kind"),
        (BATCH, FLAGS_AT, &[3], "an unknown flag of a record"),
        (BATCH, FLAGS_AT + 1, &[1], "an unknown flag of a record"),
        (BATCH, SEQUENCE_AT, &[0], "a sequence number"),
        (BATCH, SEQUENCE_AT, &[2], "a sequence number"),
        (BATCH, TAG_AT + 7, &[1], "the tag of a record's stream"),
        (BATCH, STORED_BYTES_AT, &[0, 0x10, 0, 0], "the length of a plain payload"),
        (BATCH, RESERVED_AT, &[1], "a reserved field"),
        (BATCH, entry(0, 16), &[0, 0], "the position of a piece in the payload"),
        (BATCH, entry(1, 16), &[0, 0], "the position of a piece in the payload"),
        (BATCH, entry(1, 16), &[0, 0x20], "the position of a piece in the payload"),
        (BATCH, entry(2, 16), &[1], "the position of an entry without payload"),
        (BATCH, entry(3, 16), &[0, 0, 0, 1], "the position of an entry without payload"),
        (MARK, STORED_BYTES_AT, &[1], "a payload field of a record without payload"),
        (MARK, PAYLOAD_CHECKSUM_AT, &[1], "a payload field of a record without payload"),
        (MARK, COMPRESSION_AT, &[1], "a payload field of a record without payload"),
        (MARK, body + 14, &[1], "a reserved field"),
        (ZEROS, 4000, &[1], "the padding of a header"),
        (END, body, &[4], "the number of extents at the end"),
        (END, body + 8, &[0], "the number of data bytes at the end"),
        (END, body + 16, &[0], "the number of zero bytes at the end"),
        (END, body + 24, &[1], "the number of discarded bytes at the end"),
        (END, body + 32, &[2], "the number of marks at the end"),
        (END, body + 40, &[3], "an unknown flag of the end record"),
        (END, body + 44, &[1], "a reserved field"),
    ];
    for (record, at, change, what) in cases {
        let (offset, problem) = refusal(*record, *at, change);
        let Problem::Unexpected { what: found, .. } = &problem else { panic!("{what}: {problem}") };
        assert_eq!(found, what, "record {record} at {at}");
        // A field of several bytes is refused at its beginning.
        assert!((0..8).contains(&(*at as i64 - offset)), "{what}: {offset} for {at}");
    }
}

#[test]
fn numbers_that_are_too_large_are_refused_before_anything_is_made_of_them() {
    let body = SHARED_BYTES;
    let much = u32::MAX.to_le_bytes();
    let cases: &[(usize, usize, &[u8], &str, i64)] = &[
        (STREAM, body + 4, &much, "the number of volumes", 68),
        (STREAM, body + 4, &1025_u32.to_le_bytes(), "the number of volumes", 68),
        (STREAM, body + 40, &1025_u16.to_le_bytes(), "the length of a name", 104),
        (STREAM, body + 42, &1025_u16.to_le_bytes(), "the length of a name", 106),
        (STREAM, body + 44, &1025_u16.to_le_bytes(), "the length of a name", 108),
        (BATCH, BODY_BYTES_AT, &much, "the length of a record's body", 32),
        (BATCH, STORED_BYTES_AT, &0x80_0001_u32.to_le_bytes(), "the length of a payload", 36),
        (BATCH, PAYLOAD_BYTES_AT, &0x80_0001_u32.to_le_bytes(), "the length of a payload", 40),
        (BATCH, entry(0, 20), &[2, 0], "the number of a volume", 84),
        (BATCH, entry(1, 8), &4097_u64.to_le_bytes(), "the end of a piece in the payload", 96),
        (BATCH, entry(1, 8), &(1_u64 << 63).to_le_bytes(), "the end of a piece in the payload", 96),
        (BATCH, COMPRESSION_AT, &[1], "the length of a compressed payload", 36),
        (MARK, body + 10, &1025_u16.to_le_bytes(), "the length of a name", 74),
        (MARK, body + 12, &1025_u16.to_le_bytes(), "the length of a name", 76),
    ];
    for (record, at, change, what, expected) in cases {
        let (offset, problem) = refusal(*record, *at, change);
        let Problem::TooLarge { what: found, .. } = &problem else { panic!("{what}: {problem}") };
        assert_eq!((found, offset), (what, *expected), "record {record} at {at}");
    }
}

#[test]
fn ranges_kinds_and_versions_that_are_none_are_refused() {
    let unknown = |text: &str| Problem::UnknownRecord(text.to_owned());
    let past = |end| Problem::PastEnd { end, size: 1 << 20 };
    let cases: &[(usize, usize, &[u8], i64, Problem)] = &[
        (STREAM, 0, b"\x09", 0, Problem::WrongFormat("native")),
        (STREAM, 0, &RECORD_MAGIC, 0, Problem::WrongFormat("native")),
        (STREAM, SHARED_BYTES, &[2], 64, Problem::UnknownVersion(2)),
        (STREAM, SHARED_BYTES + 4, &[0], 68, Problem::Missing("volume")),
        (BATCH, KIND_AT, &[1], 8, Problem::Repeated("stream header")),
        (BATCH, KIND_AT, &[9], 8, unknown("9")),
        (BATCH, COMPRESSION_AT, &[3], 48, unknown("3 of compression")),
        (BATCH, entry(0, 22), &[0], 86, unknown("0 of entry")),
        (BATCH, entry(2, 22), &[4], 64 + 48 + 22, unknown("4 of entry")),
        (BATCH, entry(2, 0), &0xF_0001_u64.to_le_bytes(), 112, past(0x10_0001)),
        (MARK, SHARED_BYTES + 8, &[3], 72, unknown("3 of mark")),
        (MARK, SHARED_BYTES + 8, &[0], 72, unknown("0 of mark")),
    ];
    for (record, at, change, expected, problem) in cases {
        assert_eq!(refusal(*record, *at, change), (*expected, problem.clone()));
    }
    for change in [0, u64::MAX] {
        let (offset, problem) = refusal(BATCH, entry(2, 8), &change.to_le_bytes());
        assert!(matches!(problem, Problem::Range(_)), "{problem}");
        assert_eq!(offset, 112);
    }
}

#[test]
fn bodies_that_are_too_short_or_too_long_are_refused() {
    let what = "what is left of a record's body";
    // Record, the body's length, then where it ends, and what is expected there.
    let cases = [
        (STREAM, 31, 64, 31, 32),
        (STREAM, 33, 96, 1, 16),
        (STREAM, 100, 144, 20, 0),
        (BATCH, 97, 64 + 96, 1, 24),
        (MARK, 15, 64, 15, 16),
        (MARK, 16, 80, 0, 18),
        (MARK, 35, 98, 1, 0),
        (END, 47, 64, 47, 48),
        (END, 49, 112, 1, 0),
    ];
    for (record, length, at, found, expected) in cases {
        let start = records(&example())[record];
        let mut stream = changed(record, BODY_BYTES_AT, &u32::to_le_bytes(length));
        let end = start + SHARED_BYTES + length as usize;
        // Bytes that were body and are padding now.
        stream[end..start + 4096].fill(0);
        seal(&mut stream[start..start + 4096]);
        let (offset, found_problem) = match decode(&stream).1 {
            Some(Malformed { offset, problem }) => (offset as usize - start, problem),
            None => panic!("record {record} of {length}"),
        };
        let problem = Problem::Unexpected { what, found, expected };
        if (record, length) == (STREAM, 100) {
            assert!(matches!(found_problem, Problem::Unexpected { what: it, .. } if it == what));
            continue;
        }
        assert_eq!((offset, found_problem), (at, problem), "record {record} of {length}");
    }
}

#[test]
fn a_batch_without_entries_or_with_payload_of_nobody_is_refused() {
    let mut stream = changed(ZEROS, BODY_BYTES_AT, &[0; 4]);
    let start = records(&example())[ZEROS];
    stream[start + SHARED_BYTES..start + 4096].fill(0);
    seal(&mut stream[start..start + 4096]);
    let malformed = decode(&stream).1.unwrap();
    assert_eq!(malformed.problem, Problem::Missing("entry in a batch"));
    assert_eq!(malformed.offset, start as u64 + 64);

    let both = [0, 0x30, 0, 0].repeat(2);
    let (offset, problem) = refusal(BATCH, STORED_BYTES_AT, &both);
    let what = "the length of a payload";
    assert_eq!(problem, Problem::Unexpected { what, found: 0x3000, expected: 0x2000 });
    assert_eq!(offset, PAYLOAD_BYTES_AT as i64);
}

#[test]
fn every_flipped_bit_of_a_header_is_refused_and_the_batch_with_it() {
    let stream = example();
    let starts = records(&stream);
    for (record, start) in starts[..5].iter().enumerate() {
        let batches = [0, 0, 1, 1, 2][record];
        for bit in (0..256 * 8).chain(4094 * 8..4096 * 8) {
            let mut flipped = stream.clone();
            flipped[start + bit / 8] ^= 1 << (bit % 8);
            let (events, malformed) = decode(&flipped);
            let malformed = malformed.unwrap_or_else(|| panic!("record {record}, bit {bit}"));
            // A header that claims to be longer than it is may seem to be cut off.
            let longer = malformed.problem == Problem::Truncated
                && (BODY_BYTES_AT..BODY_BYTES_AT + 4).contains(&(bit / 8));
            assert!(
                longer || (*start as u64..*start as u64 + 4096).contains(&malformed.offset),
                "record {record}, bit {bit}: {malformed}"
            );
            let given = events.iter().filter(|event| matches!(event, Decoded::Batch(_))).count();
            assert_eq!(given, batches, "record {record}, bit {bit}");
        }
    }
}

#[test]
fn a_wrong_header_checksum_says_both() {
    let mut stream = example();
    let start = records(&stream)[BATCH];
    stream[start + HEADER_CHECKSUM_AT] ^= 1;
    let malformed = decode(&stream).1.unwrap();
    let Problem::Checksum { found, expected, .. } = malformed.problem else { panic!() };
    assert_eq!((found ^ expected, malformed.offset), (1, start as u64));
}

#[test]
fn a_flipped_bit_of_a_payload_is_left_to_its_checksum() {
    let mut stream = example();
    let payload = records(&stream)[BATCH] + 4096;
    let Decoded::Batch(batch) = decode(&stream).0.remove(1) else { panic!() };
    assert_eq!(batch.checksum, Some(crc32c::crc32c(&stream[payload..payload + 8192])));
    stream[payload] ^= 1;
    assert_ne!(batch.checksum, Some(crc32c::crc32c(&stream[payload..payload + 8192])));
    assert_eq!(decode(&stream).1, None);
}

#[test]
fn a_stream_cut_anywhere_is_truncated_there() {
    let stream = example();
    let mut cuts: Vec<usize> = (0..stream.len()).step_by(509).collect();
    for start in records(&stream) {
        cuts.extend([start.saturating_sub(1), start, start + 1, start + 64, start + 4095]);
    }
    for cut in cuts.into_iter().filter(|cut| *cut < stream.len()) {
        let (events, malformed) = decode(&stream[..cut]);
        assert_eq!(malformed, Some(Malformed::new(cut as u64, Problem::Truncated)));
        assert!(!events.iter().any(|event| matches!(event, Decoded::End(_))));
    }
}

#[test]
fn what_follows_the_end_is_refused() {
    let mut stream = example();
    let end = stream.len() as u64;
    stream.push(0);
    let (events, malformed) = decode(&stream);
    assert_eq!(malformed, Some(Malformed::new(end, Problem::TrailingBytes)));
    assert!(matches!(events.last(), Some(Decoded::End(_))));
}

#[test]
fn records_lost_repeated_or_of_another_stream_are_refused() {
    let stream = example();
    let starts = records(&stream);
    let record = |index: usize| &stream[starts[index]..starts[index + 1]];
    let orders: &[&[usize]] =
        &[&[0, 2], &[0, 1, 1], &[0, 1, 3], &[0, 1, 2, 4], &[0, 2, 1], &[0, 1, 2, 3, 3]];
    for order in orders {
        let mixed: Vec<u8> = order.iter().flat_map(|index| record(*index).to_vec()).collect();
        let last = mixed.len() - record(order[order.len() - 1]).len();
        let malformed = decode(&mixed).1.unwrap();
        let what = "a sequence number";
        assert!(
            matches!(malformed.problem, Problem::Unexpected { what: it, .. } if it == what),
            "{order:?}: {malformed}"
        );
        if *order != [0, 2, 1] {
            assert_eq!(malformed.offset, (last + SEQUENCE_AT) as u64, "{order:?}");
        }
    }
}

/// The example with an unknown record before its mark: two pages of header, one of payload.
fn with_unknown_record(flags: u16) -> Vec<u8> {
    let stream = example();
    let start = records(&stream)[MARK];
    let shared = Shared { sequence: 2, ..Shared::read(&stream[start..]) };
    let unknown = Shared { kind: 0x1234, flags, stored_bytes: 3, compression: 77, ..shared };
    let mut header = Vec::new();
    unknown.write(&[0xEE; 5000], &mut header);
    let mut longer = [&stream[..start], &header, &[0xEE; 4096]].concat();
    for (index, start) in records(&stream)[MARK..5].iter().enumerate() {
        let mut record = stream[*start..start + 4096].to_vec();
        record[SEQUENCE_AT] = 3 + index as u8;
        seal(&mut record);
        longer.extend(record);
    }
    longer
}

#[test]
fn an_unknown_record_is_skipped_if_it_is_optional_and_refused_if_it_is_critical() {
    assert_eq!(decode(&with_unknown_record(0)), decode(&example()));
    let (events, malformed) = decode(&with_unknown_record(1));
    let at = (records(&example())[MARK] + KIND_AT) as u64;
    let problem = Problem::UnknownRecord("4660".to_owned());
    assert_eq!(malformed, Some(Malformed::new(at, problem)));
    assert_eq!(events.len(), 2);
}

#[test]
fn padding_after_compressed_payload_must_be_zero() {
    let mut stream = Vec::new();
    let options = options(1 << 20, Some(Method::Zstd));
    let mut encoder = Encoder::new(&mut stream, &header(), options).unwrap();
    encoder.data(VolumeIndex(0), ByteOffset::ZERO, &[7; 65_536]).unwrap();
    encoder.finish(true).unwrap();
    let start = records(&stream)[BATCH];
    let stored = Shared::read(&stream[start..]).stored_bytes as usize;
    assert!(padded(stored) > stored);
    let last = start + 2 * layout::PAGE_BYTES - 1;
    stream[last] = 1;
    let (events, malformed) = decode(&stream);
    let problem = Problem::Unexpected { what: "the padding of a payload", found: 1, expected: 0 };
    assert_eq!(malformed, Some(Malformed::new(last as u64, problem)));
    assert_eq!(events.len(), 1);

    stream[last] = 0;
    stream[start + 4096 + stored / 2] ^= 0xFF;
    let compressed = decode(&stream);
    // Either it does not unpack, or it unpacks to something else, which the payload's checksum
    // detects.
    assert!(
        compressed
            .1
            .is_none_or(|malformed| { matches!(malformed.problem, Problem::Compression(_)) })
    );
}

#[test]
fn a_record_of_another_stream_is_refused() {
    let mut bytes = Vec::new();
    let other = crate::stream::StreamHeader { identity: Some([9; 16]), ..header() };
    Encoder::new(&mut bytes, &other, EncoderOptions::default()).unwrap().finish(true).unwrap();
    let stream = example();
    let spliced = [&stream[..4096], &bytes[4096..]].concat();
    let malformed = decode(&spliced).1.unwrap();
    assert_eq!(malformed.offset, (4096 + TAG_AT) as u64);
}
