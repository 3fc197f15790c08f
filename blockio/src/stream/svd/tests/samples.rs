//! Streams written by the real driver are read as their captures say, in either byte order.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::stream::svd::section::Order;
use crate::stream::svd::tests::{Writer, applied, decode, ends, pieces};
use crate::stream::{Decoded, Mark, MarkKind, Name, StreamHeader, Timestamp, Totals, VolumeHeader};
use crate::stream::{Format, Problem, drive, svd};

const FILES: [&str; 3] = ["one-write.svd", "six-overwrites.svd", "two-marks.svd"];

fn sample(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/svd").join(name);
    std::fs::read(path).unwrap()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The same stream as a big-endian machine would have written it.
fn swapped(little: &[u8]) -> Vec<u8> {
    let mut big = Writer { order: Order::Big, bytes: svd::WORD_BIG.to_vec() };
    let mut left = &little[4..];
    let mut take = |length: usize| {
        let (taken, rest) = left.split_at(length);
        left = rest;
        taken.to_vec()
    };
    while big.bytes.len() < little.len() {
        let (tag, count, flags) = (take(4), take(4), take(4));
        big.number(&tag).number(&count).number(&flags);
        let length = u32::from_le_bytes(flags.try_into().unwrap()) as usize;
        match &tag[..] {
            b"SVD1" => big.bytes.extend(take(128)),
            b"TFV2" | b"TLV2" => [2, 1, 1, 8, 8].into_iter().for_each(|size| {
                big.number(&take(size));
            }),
            b"LODC" => {
                big.number(&take(8));
            }
            b"USER" => big.bytes.extend(take(length)),
            _ => {
                let data = take(4);
                big.number(&data).number(&take(8)).number(&take(4)).number(&take(4));
                big.bytes.extend(take(u32::from_le_bytes(data.try_into().unwrap()) as usize));
            }
        }
    }
    big.bytes
}

#[test]
fn a_captured_write_is_one_piece_with_its_bytes() {
    let bytes = sample("one-write.svd");
    let events = decode(&bytes);
    let volumes = vec![VolumeHeader::default()];
    let (sequence, time) = (600_u64.to_be_bytes(), 17_953_825_422_905_286_u64.to_be_bytes());
    let identity = Some([sequence, time].concat().try_into().unwrap());
    let header = StreamHeader { format: Format::Svd, is_in_write_order: false, identity, volumes };
    assert_eq!(events[0], Decoded::Begin(header));
    let [piece] = pieces(&events)[..] else { panic!("{events:?}") };
    assert_eq!((piece.extent.start().get(), piece.extent.length().get()), (0x185_0A00, 512));
    let totals = Totals { extents: 1, data_bytes: 512, ..Totals::default() };
    assert_eq!((ends(&events)[0].totals, ends(&events)[0].consistent), (totals, true));
    assert_eq!(
        digest(&applied(&bytes)[0x185_0A00..]),
        "4f53b5aac87c5ddd36e5edd1a6ee948ac95c1e7f5bc9e0914e82cfbf01a21f97"
    );
}

#[test]
fn the_last_of_six_captured_writes_to_one_sector_wins_also_when_applied_twice() {
    let bytes = sample("six-overwrites.svd");
    let events = decode(&bytes);
    let totals = Totals { extents: 6, data_bytes: 3072, ..Totals::default() };
    assert_eq!((ends(&events)[0].totals, ends(&events)[0].consistent), (totals, true));
    let start = pieces(&events)[0].extent.start().get() as usize;
    for input in [bytes.clone(), [bytes.clone(), bytes].concat()] {
        let disk = applied(&input);
        assert_eq!(disk.len(), start + 512);
        assert_eq!(
            digest(&disk[start..]),
            "9f327380f998a2d9f488657ee16088d5eed82d18415ce136bc20a04a0bb88497"
        );
    }
}

#[test]
fn captured_marks_have_their_names_and_their_time() {
    let events = decode(&sample("two-marks.svd"));
    let (time, kind) = (Timestamp(1_795_382_539_909_988_900), MarkKind::ApplicationConsistent);
    let mark = |name: &[u8]| Decoded::Mark(Mark { time, kind, name: Name::new(name), group: None });
    assert_eq!(events[1..3], [mark(b"files-1"), mark(b"second tag in the same stream")]);
    let totals = Totals { marks: 2, ..Totals::default() };
    assert_eq!((events.len(), ends(&events)[0].totals), (4, totals));
}

#[test]
fn a_big_endian_machine_tells_the_same() {
    for file in FILES {
        let (little, big) = (sample(file), swapped(&sample(file)));
        assert_eq!((&big[..4], &big[4..8], big.len()), (&b"BTRD"[..], &b"1DVS"[..], little.len()));
        assert_eq!(decode(&big), decode(&little), "{file}");
        assert_eq!(applied(&big), applied(&little), "{file}");
    }
}

#[test]
fn a_captured_stream_cut_anywhere_is_truncated_there() {
    for file in FILES {
        let bytes = sample(file);
        for length in 0..bytes.len() {
            let (events, malformed) = drive::events(&mut svd::Decoder::new(), &bytes[..length]);
            let malformed = malformed.unwrap();
            assert_eq!((malformed.offset, malformed.problem), (length as u64, Problem::Truncated));
            assert!(!events.iter().any(|event| !matches!(event, Decoded::Begin(_))), "{length}");
        }
    }
}

#[test]
fn all_captured_streams_back_to_back_are_three_streams() {
    let events = decode(&FILES.map(sample).concat());
    assert_eq!(ends(&events).len(), 3);
    assert_eq!(pieces(&events).len(), 7);
}
