//! The content of a batch, where it ends, and what is skipped between its pieces.

use crate::extent::Extent;
use crate::stream::collected::BATCH_BYTES_SOFT;
use crate::stream::rbd_diff::Version;
use crate::stream::rbd_diff::tests::{
    Seen, apply, data, decode_sound, diff, export, name, record, size, zero,
};
use crate::stream::{BATCH_BYTES_MAX, BATCH_PIECES_MAX, Content, Name, Totals, VolumeHeader};
use crate::units::{ByteCount, ByteOffset};

const BOTH: [Version; 2] = [Version::V1, Version::V2];

/// The pieces' extents, batch by batch.
fn batches(seen: &[Seen]) -> Vec<Vec<Extent>> {
    let extents = |event: &Seen| match event {
        Seen::Batch { pieces, .. } => Some(pieces.iter().map(|(piece, _)| piece.extent).collect()),
        _ => None,
    };
    seen.iter().filter_map(extents).collect()
}

#[test]
fn a_diff_is_its_header_its_pieces_in_order_and_its_totals() {
    for version in BOTH {
        let seen = decode_sound(&diff(
            version,
            &[
                name(version, b'f', "one"),
                name(version, b't', "two"),
                size(version, 10_000),
                data(version, 5_000, b"hello"),
                zero(version, 5_001, 3),
                data(version, 9_999, b"!"),
            ],
        ));
        let volume = VolumeHeader {
            name: None,
            size: Some(ByteCount::new(10_000)),
            from: Name::new(b"one"),
            to: Name::new(b"two"),
        };
        assert_eq!((seen.len(), &seen[0]), (3, &Seen::Begin(volume)));
        let totals = Totals { extents: 3, data_bytes: 6, zero_bytes: 3, ..Totals::default() };
        assert_eq!(seen[2], Seen::End(totals));
        let mut disk = vec![7; 10_000];
        apply(&seen, &mut disk);
        assert_eq!(&disk[4_999..5_006], b"\x07h\0\0\0o\x07");
        assert_eq!(disk[9_999], b'!');
    }
}

#[test]
fn metadata_come_in_any_order_and_an_empty_diff_has_no_batch() {
    for version in BOTH {
        let records = [size(version, 0), name(version, b't', "to"), name(version, b'f', "from")];
        let seen = decode_sound(&diff(version, &records));
        let (size, from, to) = (Some(ByteCount::ZERO), Name::new(b"from"), Name::new(b"to"));
        let volume = VolumeHeader { name: None, size, from, to };
        assert_eq!(seen, [Seen::Begin(volume), Seen::End(Totals::default())]);
    }
}

#[test]
fn small_pieces_are_batched_up_to_the_soft_limit_and_the_batch_ends_with_its_last_record() {
    let count = 2 * BATCH_BYTES_SOFT as u64 / 4096 + 1;
    let block = [1; 4096];
    let mut records = vec![size(Version::V1, 1 << 30)];
    records.extend((0..count).map(|index| data(Version::V1, index * 65_536, &block)));
    let seen = decode_sound(&diff(Version::V1, &records));
    let lengths: Vec<usize> = batches(&seen).iter().map(Vec::len).collect();
    let full = BATCH_BYTES_SOFT / 4096;
    assert_eq!(lengths, [full, full, 1]);
    let head = 12 + 9;
    let record = 17 + 4096;
    let positions: Vec<u64> = seen.iter().filter_map(position).collect();
    let full = full as u64;
    assert_eq!(
        positions,
        [head + full * record, head + 2 * full * record, head + (2 * full + 1) * record + 1]
    );
}

fn position(event: &Seen) -> Option<u64> {
    match event {
        Seen::Batch { position, .. } => Some(*position),
        _ => None,
    }
}

#[test]
fn a_batch_has_no_more_pieces_than_the_limit() {
    let mut records = vec![size(Version::V1, 1 << 30)];
    records.extend((0..=BATCH_PIECES_MAX as u64).map(|index| zero(Version::V1, index * 3, 2)));
    let seen = decode_sound(&diff(Version::V1, &records));
    let lengths: Vec<usize> = batches(&seen).iter().map(Vec::len).collect();
    assert_eq!(lengths, [BATCH_PIECES_MAX, 1]);
}

#[test]
fn data_longer_than_a_batch_is_split_at_a_sector_and_nothing_is_lost() {
    let bytes: Vec<u8> =
        (0..2 * BATCH_BYTES_MAX + 5_000).map(|index| (index % 251) as u8).collect();
    for version in BOTH {
        let end = 1_000 + bytes.len() as u64;
        let records = [size(version, end), zero(version, 0, 700), data(version, 1_000, &bytes)];
        let seen = decode_sound(&diff(version, &records));
        let found = batches(&seen);
        let lengths: Vec<usize> = found.iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 1, 1]);
        for batch in &found[1..] {
            assert_eq!(batch[0].start().get() % 4096, 0);
        }
        let mut disk = Vec::new();
        apply(&seen, &mut disk);
        assert!(disk[1_000..] == bytes[..]);
    }
}

#[test]
fn zeros_are_one_piece_however_long() {
    for version in BOTH {
        let records = [size(version, u64::MAX), zero(version, 1, u64::MAX - 1)];
        let seen = decode_sound(&diff(version, &records));
        let all = Extent::new(ByteOffset::new(1), ByteCount::new(u64::MAX - 1)).unwrap();
        assert_eq!(batches(&seen), [[all]]);
        let Seen::Batch { pieces, .. } = &seen[1] else { panic!("{seen:?}") };
        assert_eq!(pieces[0].0.content, Content::Zero);
    }
}

#[test]
fn unknown_records_of_v2_are_skipped_wherever_they_are() {
    let long = vec![b'e'; 200_000];
    let unknown = || record(Version::V2, b'?', &[&long]);
    let seen = decode_sound(&diff(
        Version::V2,
        &[
            unknown(),
            size(Version::V2, 100),
            record(Version::V2, 0, &[]),
            data(Version::V2, 7, b"x"),
            unknown(),
            data(Version::V2, 9, b"y"),
        ],
    ));
    let lengths: Vec<usize> = batches(&seen).iter().map(Vec::len).collect();
    assert_eq!(lengths, [2]);
}

#[test]
fn a_protection_record_is_one_byte_whether_its_length_says_one_or_eight() {
    for length in [1_u64, 8] {
        let protection = [&b"p"[..], &length.to_le_bytes(), b"\x01"].concat();
        let records = [protection, size(Version::V2, 5), data(Version::V2, 1, b"abc")];
        let mut disk = Vec::new();
        apply(&decode_sound(&diff(Version::V2, &records)), &mut disk);
        assert_eq!(disk, b"\0abc\0");
    }
}

#[test]
fn every_diff_of_an_export_is_a_stream_of_its_own() {
    let v2 = Version::V2;
    let first = diff(v2, &[name(v2, b't', "a"), size(v2, 3), data(v2, 0, b"abc")]);
    let second =
        diff(v2, &[name(v2, b'f', "a"), name(v2, b't', "b"), size(v2, 4), data(v2, 3, b"d")]);
    let head = diff(v2, &[name(v2, b'f', "b"), size(v2, 4)]);
    let seen = decode_sound(&export(&[first, second, head]));
    let kinds: String = seen.iter().map(letter).collect();
    assert_eq!(kinds, "<b><b><>");
    let mut disk = Vec::new();
    apply(&seen, &mut disk);
    assert_eq!(disk, b"abcd");
}

fn letter(event: &Seen) -> char {
    match event {
        Seen::Begin(_) => '<',
        Seen::Batch { .. } => 'b',
        Seen::End(_) => '>',
    }
}
