//! Files written by a real Ceph are read correctly, and written again byte for byte.

use std::io::Read;
use std::num::NonZeroUsize;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::device::buffer::ArenaPool;
use crate::stream::input::Input;
use crate::stream::rbd_diff::tests::{Seen, apply, decode, decode_sound, see};
use crate::stream::rbd_diff::{Decoder, Encoder, Version};
use crate::stream::reader::Reader;
use crate::stream::{BATCH_BYTES_MAX, Content, Decoded, Frame, Malformed, Name, Problem};

const FS_AT_S1: &str = "d0827fea3e8b16eedcda1d6c2186f7f1c40e02fb210cfc310fae0e74ddce655a";
const FS_AT_S2: &str = "ea27b5b38ec04bd89bf30ee63b53fe3a00e378103945b6b8fbcf1b7c3fe28a90";

fn sample(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/rbd").join(name);
    let bytes = std::fs::read(path).unwrap();
    if !name.ends_with(".xz") {
        return bytes;
    }
    let mut unpacked = Vec::new();
    liblzma::read::XzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).unwrap();
    unpacked
}

fn digest(disk: &[u8]) -> String {
    Sha256::digest(disk).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a stream again; for a stream of one diff.
fn encode(seen: &[Seen], version: Version) -> Vec<u8> {
    let [Seen::Begin(volume), rest @ ..] = seen else { panic!("no diff") };
    let mut encoder = Encoder::new(Vec::new(), version, volume).unwrap();
    for event in rest {
        let Seen::Batch { pieces, .. } = event else { continue };
        for (piece, bytes) in pieces {
            match piece.content {
                Content::Data { .. } => encoder.data(piece.extent.start(), bytes).unwrap(),
                Content::Zero | Content::Discard => encoder.zero(piece.extent).unwrap(),
            }
        }
    }
    encoder.finish().unwrap()
}

#[test]
fn a_filesystem_is_what_it_was_at_each_of_its_snapshots() {
    let mut disk = Vec::new();
    apply(&decode_sound(&sample("fs.0-s1.rbddiff.xz")), &mut disk);
    assert_eq!((disk.len(), digest(&disk).as_str()), (256 << 20, FS_AT_S1));
    let mut another = disk.clone();
    apply(&decode_sound(&sample("fs.s1-s2.rbddiff.xz")), &mut disk);
    assert_eq!(digest(&disk), FS_AT_S2);
    apply(&decode_sound(&sample("fs.s1-s2.v2.rbddiff.xz")), &mut another);
    assert!(disk == another);
}

#[test]
fn what_rbd_wrote_as_v1_is_written_again_byte_for_byte() {
    for name in ["fs.0-s1.rbddiff.xz", "fs.s1-s2.rbddiff.xz", "odd.o2-o3.rbddiff"] {
        let bytes = sample(name);
        assert!(encode(&decode_sound(&bytes), Version::V1) == bytes, "{name}");
    }
}

#[test]
fn what_rbd_wrote_as_v2_is_written_again_without_its_protection_record() {
    for name in ["fs.s1-s2.v2.rbddiff.xz", "odd.o2-o3.v2.rbddiff"] {
        let mut bytes = sample(name);
        let again = encode(&decode_sound(&bytes), Version::V2);
        // Banner, f and t: 12 bytes and 2 · (1 + 8 + 4 + 2).
        let protection: Vec<u8> = bytes.drain(42..52).collect();
        assert_eq!(protection, b"p\x08\0\0\0\0\0\0\0\0");
        assert!(again == bytes, "{name}");
    }
}

#[test]
fn both_versions_of_one_diff_say_the_same_of_an_image_of_an_odd_size() {
    let (v1, v2) = (sample("odd.o2-o3.rbddiff"), sample("odd.o2-o3.v2.rbddiff"));
    let [Seen::Begin(volume), Seen::Batch { pieces, .. }, Seen::End(totals)] =
        &decode_sound(&v1)[..]
    else {
        panic!("not one batch");
    };
    assert_eq!(volume.size.map(|size| size.get()), Some(104_858_149));
    assert_eq!((&volume.from, &volume.to), (&Name::new(b"o2"), &Name::new(b"o3")));
    assert_eq!(pieces[0].0.extent.to_string(), "bytes 104858112..104858149");
    assert_eq!(pieces[0].1, v1[52..89]);
    assert_eq!((totals.extents, totals.data_bytes), (1, 37));
    assert_eq!(encode(&decode_sound(&v2), Version::V1), v1);
}

#[test]
fn an_export_is_three_diffs_that_follow_each_other() {
    let seen = decode_sound(&sample("names.rbdimage2"));
    let mut disk = Vec::new();
    let mut names = Vec::new();
    let mut digests = Vec::new();
    for event in &seen {
        apply(std::slice::from_ref(event), &mut disk);
        match event {
            Seen::Begin(volume) => names.push((volume.from.clone(), volume.to.clone())),
            Seen::Batch { .. } => {}
            Seen::End(_) => digests.push(digest(&disk)),
        }
    }
    let first = Name::new("snäp ☃ one".as_bytes());
    let second = Name::new(&[b'n'; 200]);
    assert_eq!(names, [(None, first.clone()), (first, second.clone()), (second, None)]);
    let last = "e50aaf25a8bfad7839ddeb72f4b1a46051a7e89c5f3be40e99aa567d4ca55f3a";
    let one = "96319a25bfc709af004b5271144384c698ea515d89f75ac987a4d8e8757ef109";
    assert_eq!(digests, [one, last, last]);
}

#[test]
fn what_a_crashed_rbd_left_behind_is_refused_where_it_ends() {
    let (seen, outcome) = decode(&sample("odd.o4-o5.truncated.rbddiff"));
    assert_eq!(outcome, Err(Malformed::new(35, Problem::Truncated)));
    assert_eq!(seen, []);
}

#[test]
fn a_reader_gives_what_the_decoder_gives_and_refuses_what_follows_the_end() {
    let bytes = sample("names.rbdimage2");
    let (seen, chain) = read(&bytes);
    assert_eq!((seen, chain), (decode_sound(&bytes), None));
    let (seen, chain) = read(&[&bytes[..], b"e"].concat());
    assert_eq!(seen, decode(&[&bytes[..], b"e"].concat()).0);
    let told = "reading sample: at byte 8939 of the stream: bytes follow the end of the stream";
    assert_eq!(chain.as_deref(), Some(told));
}

/// The events that a reader returns for `bytes` from a pipe, and its final error.
fn read(bytes: &[u8]) -> (Vec<Seen>, Option<String>) {
    let pool = ArenaPool::new(1, NonZeroUsize::new(BATCH_BYTES_MAX).unwrap()).unwrap();
    let input = Input::from_pipe(std::io::Cursor::new(bytes.to_vec()));
    let mut reader = Reader::new("sample", input, Decoder::new(), pool);
    let mut seen = Vec::new();
    loop {
        let frame = reader.next_frame();
        let position = reader.consumed();
        seen.push(match frame {
            Ok(Some(Frame::Begin(header))) => see(Decoded::Begin(header), &[], position),
            Ok(Some(Frame::Batch(batch))) => {
                see(Decoded::Batch(batch.header), batch.arena.as_slice(), position)
            }
            Ok(Some(Frame::Mark(mark))) => see(Decoded::Mark(mark), &[], position),
            Ok(Some(Frame::End(end))) => see(Decoded::End(end), &[], position),
            Ok(None) => return (seen, None),
            Err(error) => return (seen, Some(error.chain())),
        });
    }
}
