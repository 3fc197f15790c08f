//! Digests of disks in memory against BLAKE3 itself, every flipped byte found, and documents that
//! were changed.

use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::*;
use crate::device::memory::MemoryDevice;
use crate::device::{BlockDevice, Geometry, Transfer, WriteBatch};
use crate::extent::Extent;
use crate::units::ByteOffset;
use crate::units::SectorSize;

const LEAF: LeafSize = LeafSize::MIN;
const KIB: usize = 1 << 10;

/// Bytes that differ at every place of a disk.
fn content(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(b"content").finalize_xof().fill(&mut bytes);
    bytes
}

fn view(bytes: &[u8]) -> View {
    view_with(bytes, SectorSize::Bytes512)
}

fn view_with(bytes: &[u8], sector_size: SectorSize) -> View {
    let capacity = ByteCount::new(bytes.len() as u64);
    let mut device = MemoryDevice::new(Geometry { capacity, sector_size });
    write(&mut device, bytes);
    View::of_disk("a disk".to_owned(), Box::new(device)).unwrap()
}

fn write(device: &mut MemoryDevice, bytes: &[u8]) {
    let size = device.geometry().sector_size.bytes().get() as usize;
    let length = bytes.len().next_multiple_of(size);
    let Some(room) = std::num::NonZeroUsize::new(length.min(1 << 20)) else { return };
    let pool = crate::device::buffer::ArenaPool::new(1, room).unwrap();
    for (index, piece) in bytes.chunks(1 << 20).enumerate() {
        let mut arena = pool.take().unwrap();
        arena.as_mut_slice()[..piece.len()].copy_from_slice(piece);
        let at = ByteOffset::new((index << 20) as u64);
        let length = piece.len().next_multiple_of(size);
        let writes = vec![Transfer { at, position: 0, length }];
        let batch = WriteBatch { arena: arena.into(), writes, clears: Vec::new() };
        device.write_batch(batch).unwrap();
    }
}

fn with_watch<T>(work: impl FnOnce(&mut Watch<'_>) -> T) -> T {
    let stop = AtomicBool::new(false);
    work(&mut Watch { stop: &stop, progress: &mut |_| () })
}

fn hashed(bytes: &[u8], leaf_size: LeafSize) -> TreeDigest {
    let length = ByteCount::new(bytes.len() as u64);
    with_watch(|watch| digest(&view(bytes), length, leaf_size, watch)).unwrap()
}

fn differing(one: &[u8], other: &[u8]) -> Findings {
    with_watch(|watch| differences(&view(one), &view(other), watch)).unwrap()
}

fn extent(start: usize, end: usize) -> Extent {
    Extent::between(ByteOffset::new(start as u64), ByteOffset::new(end as u64)).unwrap()
}

#[test]
fn the_root_is_the_blake3_hash_of_the_whole_content() {
    let leaf = 64 * KIB;
    let all = content(17 * leaf + 3);
    let around = |middle: usize| [middle - 1, middle, middle + 1];
    let ends = [1, 2, 511, 512, 1023, 1024, 1025, 4096].into_iter();
    let ends = ends.chain((1..=17).flat_map(|leaves| around(leaves * leaf)));
    for length in ends {
        let found = hashed(&all[..length], LEAF);
        assert_eq!(found.root(), blake3::hash(&all[..length]), "{length} bytes");
        assert_eq!(found.leaves().len(), length.div_ceil(leaf));
    }
}

#[test]
fn the_root_does_not_depend_on_the_leaf_size() {
    let all = content(3 * 1024 * KIB + 77);
    for bytes in (16..=26).map(|bits| 1 << bits) {
        let found = hashed(&all, LeafSize::new(bytes).unwrap());
        assert_eq!(found.root(), blake3::hash(&all), "leaves of {bytes} bytes");
    }
}

#[test]
fn a_leaf_size_is_a_power_of_two_within_bounds() {
    for bytes in [0, 1, 32 << 10, (64 << 10) + 1, 96 << 10, 128 << 20, u64::MAX] {
        assert_eq!(LeafSize::new(bytes).unwrap_err().kind(), ErrorKind::Usage, "{bytes}");
    }
}

#[test]
fn nothing_and_more_than_there_is_have_no_digest() {
    let view = view(&content(1000));
    for length in [0, 1001] {
        let done =
            with_watch(|watch| digest(&view, ByteCount::new(length), LeafSize::DEFAULT, watch));
        assert_eq!(done.unwrap_err().kind(), ErrorKind::Usage, "{length}");
    }
}

#[test]
fn what_is_stopped_ends_with_an_error() {
    let (view, stop) = (view(&content(1000)), AtomicBool::new(true));
    let mut watch = Watch { stop: &stop, progress: &mut |_| () };
    let done = digest(&view, ByteCount::new(1000), LEAF, &mut watch);
    assert_eq!(done.unwrap_err().kind(), ErrorKind::Failed);
}

#[test]
fn a_read_that_fails_is_an_error_and_no_digest() {
    let capacity = ByteCount::new(1 << 20);
    let geometry = Geometry { capacity, sector_size: SectorSize::Bytes512 };
    let device = MemoryDevice::new(geometry).failing_reads(7, libc::EIO);
    let view = View::of_disk("a disk".to_owned(), Box::new(device)).unwrap();
    let error = with_watch(|watch| digest(&view, capacity, LEAF, watch)).unwrap_err();
    assert!(error.chain().contains("a disk: reading bytes"), "{error:?}");
}

#[test]
fn leaves_that_follow_each_other_are_one_range() {
    let all = content(640 * KIB + 10);
    let mut other = all.clone();
    for at in [64 * KIB, 128 * KIB + 5, 300 * KIB, 640 * KIB + 9] {
        other[at] ^= 1;
    }
    let found = compare(&hashed(&all, LEAF), &hashed(&other, LEAF)).unwrap();
    let expected = [(64 * KIB, 192 * KIB), (256 * KIB, 320 * KIB), (640 * KIB, 640 * KIB + 10)];
    assert_eq!(found.extents, expected.map(|(start, end)| extent(start, end)));
    assert_eq!(found.differing, ByteCount::new(192 * 1024 + 10));
    assert_eq!(found.extent_count, 3);
    assert!(!found.is_equal());
}

#[test]
fn digests_with_other_leaves_are_not_compared() {
    let all = content(1000);
    let other = hashed(&all, LeafSize::DEFAULT);
    assert_eq!(compare(&hashed(&all, LEAF), &other).unwrap_err().kind(), ErrorKind::Usage);
}

#[test]
fn a_longer_disk_is_told_by_its_length_and_by_nothing_else() {
    let all = content(200 * KIB);
    for shorter in [1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 128 * KIB, 130 * KIB] {
        let found = compare(&hashed(&all, LEAF), &hashed(&all[..shorter], LEAF)).unwrap();
        assert_eq!((found.extents.as_slice(), found.is_equal()), (&[][..], false), "{shorter}");
        assert!(found.compared.get() <= shorter as u64, "{shorter}");
        let expected = hashed(&all[..shorter], LEAF);
        let found = with_watch(|watch| verify(&view(&all), &expected, watch)).unwrap();
        assert_eq!((found.extent_count, found.is_equal()), (0, false), "{shorter}");
        assert_eq!(found.compared.get(), shorter as u64);
        assert_eq!(found.lengths.0.get(), all.len() as u64);
    }
}

#[test]
fn views_are_compared_to_the_sector_and_to_the_end_of_the_shorter() {
    let all = content(2048 * KIB + 700);
    let mut other = all[..2048 * KIB + 600].to_vec();
    let flipped = [0, 511, 512, 1_048_575, 1_048_576, 2048 * KIB + 511, 2048 * KIB + 512];
    for at in flipped {
        other[at] ^= 0x80;
    }
    let found = differing(&all, &other);
    let end = 2048 * KIB;
    let expected = [(0, 1024), (1_048_064, 1_049_088), (end, end + 600)];
    assert_eq!(found.extents, expected.map(|(start, end)| extent(start, end)));
    assert_eq!(found.compared.get(), other.len() as u64);
    assert!(differing(&all, &all).is_equal());
}

#[test]
fn ranges_are_in_sectors_of_the_first_view() {
    let all = content(16 * KIB);
    let mut other = all.clone();
    other[5000] ^= 1;
    let (large, small) = (view_with(&all, SectorSize::Bytes4096), view(&other));
    let found = with_watch(|watch| differences(&large, &small, watch)).unwrap();
    assert_eq!(found.extents, [extent(4096, 8192)]);
    let found = with_watch(|watch| differences(&small, &large, watch)).unwrap();
    assert_eq!(found.extents, [extent(4608, 5120)]);
}

fn document(bytes: &[u8]) -> Document {
    Document { of: "/dev/\"sdb\"\n".to_owned(), digest: hashed(bytes, LEAF) }
}

fn written(document: &Document) -> String {
    let mut text = Vec::new();
    document.write(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_document_is_read_as_it_was_written() {
    for length in [1, 64 * KIB, 300 * KIB + 1] {
        let document = document(&content(length));
        let text = written(&document);
        assert!(is_document(&text.as_bytes()[..32]), "{text}");
        assert_eq!(Document::read(text.as_bytes()).unwrap(), document);
    }
}

#[test]
fn only_what_begins_with_our_key_is_a_document() {
    for bytes in [&b""[..], b"{", b"{}", b"{\"other\": 1, \"mtctl_digest\": 1}", b"\0\0\0\0"] {
        assert!(!is_document(bytes), "{bytes:?}");
    }
    assert!(is_document(b" \n{\t\"mtctl_digest\": 9}"));
}

#[test]
fn a_document_that_was_changed_is_refused() {
    let text = written(&document(&content(300 * KIB)));
    let leaf = text.lines().nth(9).unwrap().trim();
    let cases = [
        ("\"length_bytes\": 307200", "\"length_bytes\": 307199", "check"),
        ("\"length_bytes\": 307200", "\"length_bytes\": 0", "leaves"),
        ("\"length_bytes\": 307200", "\"length_bytes\": 400000", "leaves"),
        ("\"leaf_bytes\": 65536", "\"leaf_bytes\": 65537", "power of two"),
        ("\"leaf_bytes\": 65536", "\"leaf_bytes\": 131072", "leaves"),
        ("\"algorithm\": \"blake3\"", "\"algorithm\": \"sha256\"", "sha256"),
        ("\"algorithm\"", "\"extra\": 1, \"algorithm\"", "unknown field"),
        ("\"root\": \"", "\"root\": \"0", "reading a digest"),
        (leaf, "\"zz\",", "reading a digest"),
        (leaf, "", "leaves"),
        (leaf, &format!("\"{}\",", "0".repeat(64)), "root"),
    ];
    for (from, to, says) in cases {
        assert!(text.contains(from), "{from}");
        let read = Document::read(text.replacen(from, to, 1).as_bytes());
        let error = read.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
        assert!(error.chain().contains(says), "{says} in {}", error.chain());
    }
    for end in 0..text.trim_end().len() {
        assert!(Document::read(&text.as_bytes()[..end]).is_err(), "{end} bytes");
    }
}

#[test]
fn a_document_of_another_version_is_refused_before_it_is_looked_at() {
    let error = Document::read(b"{\"mtctl_digest\": 2, \"new\": []}").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("its version is 2"), "{error:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_flipped_byte_is_found_in_its_leaf_and_its_sector_only(
        length in 1_usize..400 * KIB,
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let all = content(length);
        let at = at.index(length);
        let mut other = all.clone();
        other[at] ^= flip;
        let around = |unit: usize| extent(at / unit * unit, (at / unit * unit + unit).min(length));
        let found = compare(&hashed(&all, LEAF), &hashed(&other, LEAF)).unwrap();
        prop_assert_eq!(found.extents, [around(64 * KIB)]);
        prop_assert_eq!(differing(&all, &other).extents, [around(512)]);
        prop_assert_eq!(hashed(&other, LEAF).root(), blake3::hash(&other));
    }
}
