//! The decoder reads what the encoder writes, and the encoder refuses what no diff can hold.

use proptest::prelude::*;

use crate::ErrorKind;
use crate::extent::Extent;
use crate::stream::rbd_diff::tests::{Seen, apply, data, decode_sound, diff, name, size, zero};
use crate::stream::rbd_diff::{Encoder, Version};
use crate::stream::{Name, VolumeHeader};
use crate::units::{ByteCount, ByteOffset};

const BOTH: [Version; 2] = [Version::V1, Version::V2];
const OBJECT: u64 = 4 << 20;

fn extent(start: u64, length: u64) -> Extent {
    Extent::new(ByteOffset::new(start), ByteCount::new(length)).unwrap()
}

fn volume(size: u64) -> VolumeHeader {
    let (from, to) = (Name::new(b"from"), Name::new(b"to"));
    VolumeHeader { name: None, size: Some(ByteCount::new(size)), from, to }
}

#[test]
fn records_are_as_rbd_writes_them_within_one_object_each() {
    for version in BOTH {
        let mut encoder = Encoder::new(Vec::new(), version, &volume(3 * OBJECT)).unwrap();
        encoder.data(ByteOffset::new(OBJECT - 2), b"abcde").unwrap();
        encoder.zero(extent(OBJECT + 4, 2 * OBJECT - 4)).unwrap();
        let expected = diff(
            version,
            &[
                name(version, b'f', "from"),
                name(version, b't', "to"),
                size(version, 3 * OBJECT),
                data(version, OBJECT - 2, b"ab"),
                data(version, OBJECT, b"cde"),
                zero(version, OBJECT + 4, OBJECT - 4),
                zero(version, 2 * OBJECT, OBJECT),
            ],
        );
        assert_eq!(encoder.finish().unwrap(), expected);
    }
}

#[test]
fn what_no_diff_can_hold_is_refused_and_leaves_nothing_behind() {
    let mut encoder = Encoder::new(Vec::new(), Version::V1, &volume(100)).unwrap();
    let refusals = [
        encoder.data(ByteOffset::new(5), b""),
        encoder.data(ByteOffset::new(98), b"abc"),
        encoder.data(ByteOffset::new(u64::MAX), b"abc"),
        encoder.zero(extent(0, 101)),
    ];
    for refusal in refusals {
        assert_eq!(refusal.unwrap_err().kind(), ErrorKind::Integrity);
    }
    let empty = [name(Version::V1, b'f', "from"), name(Version::V1, b't', "to")];
    let expected = diff(Version::V1, &[&empty[..], &[size(Version::V1, 100)]].concat());
    assert_eq!(encoder.finish().unwrap(), expected);
}

#[test]
fn a_volume_without_a_size_or_with_an_empty_name_is_no_diff() {
    let sizeless = VolumeHeader { size: None, ..volume(0) };
    let nameless = VolumeHeader { to: Name::new(b""), ..volume(0) };
    for volume in [sizeless, nameless] {
        let error = Encoder::new(Vec::new(), Version::V2, &volume).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
}

#[test]
fn an_output_that_is_full_is_told() {
    let mut room = [0; 20];
    let error = Encoder::new(&mut room[..], Version::V1, &volume(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.chain().starts_with("writing an rbd diff: "), "{}", error.chain());
}

/// A write of `length` bytes, or zeros.
#[derive(Clone, Copy, Debug)]
struct Change {
    start: u64,
    length: u64,
    fill: Option<u8>,
}

/// Near object boundaries, and anywhere.
fn changes(size: u64) -> impl Strategy<Value = Vec<Change>> {
    let near = (1..3_u64, 0..10_000_u64).prop_map(|(object, back)| object * OBJECT - back);
    let start = prop_oneof![near, 0..size];
    let one = (start, 1..20_000_u64, any::<Option<u8>>()).prop_map(move |(start, length, fill)| {
        Change { start, length: length.min(size - start), fill }
    });
    proptest::collection::vec(one, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_was_written_is_read(
        changes in changes(3 * OBJECT), version in prop::sample::select(&BOTH[..]),
    ) {
        let size = 3 * OBJECT;
        let mut model = vec![9; usize::try_from(size).unwrap()];
        let mut disk = model.clone();
        let mut encoder = Encoder::new(Vec::new(), version, &volume(size)).unwrap();
        for Change { start, length, fill } in changes {
            let range = usize::try_from(start).unwrap()..usize::try_from(start + length).unwrap();
            model[range.clone()].fill(fill.unwrap_or(0));
            match fill {
                Some(_) => encoder.data(ByteOffset::new(start), &model[range]).unwrap(),
                None => encoder.zero(extent(start, length)).unwrap(),
            }
        }
        let seen = decode_sound(&encoder.finish().unwrap());
        prop_assert_eq!(&seen[0], &Seen::Begin(volume(size)));
        apply(&seen, &mut disk);
        prop_assert!(disk == model);
    }
}
