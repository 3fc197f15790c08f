//! Which places are read, how often scattered content is missed, and what is reported.

use super::known_places::known_places;
use super::samples::{SplitMix64, samples};
use super::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Whether the byte at `offset` of a disk of `size_bytes` is read, not counting samples.
fn is_known(size_bytes: u64, offset: u64) -> bool {
    let at_an_end = offset < END_BYTES || offset >= size_bytes - END_BYTES;
    at_an_end || known_places(size_bytes, 512).iter().any(|one| one.range.contains(&offset))
}

#[test]
fn copies_of_what_describes_a_volume_are_known_places() {
    // Offsets that mkfs of each kind was observed to write to, or that its source names.
    let on_one_tib = [
        ("btrfs", 64 * MIB),
        ("btrfs", 256 * GIB),
        ("btrfs in a partition", MIB + 64 * MIB),
        ("ext4 of 1 KiB blocks, group 1", (8192 + 1) * 1024),
        ("ext4 of 1 KiB blocks, group 49", (49 * 8192 + 1) * 1024),
        ("ext4 of 2 KiB blocks, group 3", 3 * 32 * MIB),
        ("ext4, group 1", 128 * MIB),
        ("ext4, group 125", 125 * 128 * MIB),
        ("ext4 in a partition, group 7", MIB + 7 * 128 * MIB),
        ("ext4 after an MSR, group 1", 17 * MIB + 128 * MIB),
        ("ext4 in a DOS partition, group 1", 63 * 512 + 128 * MIB),
        ("ext4 of 64 KiB blocks, group 3", 3 * 32 * GIB),
        ("ext2 without sparse_super, group 6", 6 * 128 * MIB),
        ("ext4 with sparse_super2, last group", 8191 * 128 * MIB),
        ("XFS, group 1 of 4", 256 * GIB),
        ("XFS, group 3 of 4", 768 * GIB),
        ("XFS, group 17 of 32", 17 * 32 * GIB),
        ("XFS in a partition, group 1", MIB + (TIB - 2 * MIB) / 4),
        ("XFS of 10 GiB, grown", 10 * GIB / 4),
        ("NTFS, table of files", 3 * GIB),
        ("NTFS after an MSR, table of files", 129 * MIB + 3 * GIB),
        ("NTFS, the middle", TIB / 2),
        ("OCFS2", 64 * GIB),
        ("Ceph", 100 * GIB),
        ("ASM", 128 * MIB - 8192),
        ("a partition after an ESP of 512 MiB", 513 * MIB),
        ("LVM in it", 513 * MIB + 512),
        ("md 1.0 before it", 513 * MIB - 8192),
        ("GPT", TIB - 512),
        ("LUKS2, second header", 16 * 1024),
        ("LUKS2, second header of 4 MiB", 4 * MIB),
        ("swap of 64 KiB pages", 64 * 1024 - 10),
        ("UDF", 256 * 2048),
        ("ZFS, label 1", 256 * 1024),
        ("ZFS, label 3", TIB - 256 * 1024),
        ("md 0.90", TIB - 64 * 1024),
        ("DRBD", TIB - 4096),
    ];
    for (what, offset) in on_one_tib {
        assert!(is_known(TIB, offset), "{what} at {offset}");
    }
    assert!(is_known(16 * TIB, 5 * (TIB - 4096)), "XFS of groups of 1 TiB");
    assert!(is_known(2 << 50, 1 << 50), "btrfs, the last mirror");
}

#[test]
fn places_are_in_order_apart_and_between_the_ends_in_whole_sectors() {
    for (size_bytes, sector_bytes) in
        [(0, 512), (33 * MIB, 512), (300 * MIB + 512, 512), (TIB, 4096), (9 * TIB, 65536)]
    {
        let places = known_places(size_bytes, sector_bytes);
        let block = u64::from(sector_bytes).max(4096);
        for place in &places {
            assert!(place.range.start < place.range.end, "{place:?}");
            assert!(place.range.start >= END_BYTES && place.range.end <= size_bytes - END_BYTES);
            assert_eq!(place.range.start % block, 0, "{place:?}");
        }
        assert!(places.is_sorted_by(|one, next| one.range.start < next.range.start));
    }
}

#[test]
fn a_disk_is_looked_at_as_a_whole_or_at_all_the_places_that_are_said() {
    let whole = look(WHOLE_BYTES_MAX, 512, 1, None);
    assert_eq!(whole.proof.to_string(), "all of its 256 MiB are zero");
    let read: u64 = whole.pieces.iter().map(|piece| piece.range.end - piece.range.start).sum();
    assert_eq!(read, WHOLE_BYTES_MAX);
    let large = look(TIB, 512, 1, None);
    let Proof::Sampled { known_places, samples, mapped: None, .. } = large.proof else {
        panic!("{:?}", large.proof)
    };
    assert_eq!(samples, SAMPLE_COUNT);
    let said = large.proof.to_string();
    let expected = format!(
        "both ends, {known_places} known places and 8192 samples are zero; \
         if one block in a thousand has content, it is missed with a \
         probability of 0.03 %"
    );
    assert_eq!(said, expected);
    // A disk is proven blank in seconds: this is the amount that has to be read.
    let pieces = [ends(TIB), large.pieces].concat();
    let read: u64 = pieces.iter().map(|piece| piece.range.end - piece.range.start).sum();
    println!("1 TiB: {known_places} known places, {} reads, {read} bytes", pieces.len());
    assert!(read < 256 * MIB && pieces.len() < 20_000, "{read} {}", pieces.len());
}

#[test]
fn what_the_device_has_mapped_is_read_or_sampled_and_said() {
    let few = [3 * GIB + 100..3 * GIB + 200, 0..4096, TIB - 1..TIB];
    let thin = look(TIB, 512, 1, Some(&few));
    assert!(thin.pieces.iter().any(|piece| piece.range == (3 * GIB..3 * GIB + 4096)));
    assert!(thin.proof.is_certain());
    assert!(thin.proof.to_string().ends_with("are zero, and so is all that is mapped (4 KiB)"));
    let none = look(TIB, 512, 1, Some(&[])).proof;
    assert!(none.to_string().ends_with("are zero, and nothing else is mapped"), "{none}");
    let many = look(TIB, 512, 1, Some(std::slice::from_ref(&(32 * GIB..64 * GIB))));
    let said = many.proof.to_string();
    assert!(said.contains("and 8192 samples of the 32 GiB that are mapped; if"), "{said}");
    assert!(!many.proof.is_certain());
}

#[test]
fn samples_leave_no_gap_of_two_parts_and_a_small_range_is_taken_as_a_whole() {
    let disk = 5 * MIB..3 * TIB + 4096;
    let of_disk = || samples(std::slice::from_ref(&disk), 4096, 8192, 7);
    let (first, again) = (of_disk(), of_disk());
    assert_eq!(first, again, "the seed decides");
    assert_eq!(first.len(), 8192);
    let part = 3 * TIB / 8192;
    assert!(first.windows(2).all(|two| two[0] < two[1] && two[1] - two[0] <= 2 * part + 4096));
    let pieces = [4096..8192, 20480..32768, 40960..45000];
    assert_eq!(samples(&pieces, 4096, 100, 7), [4096, 20480, 24576, 28672]);
    assert_eq!(samples(&[], 4096, 100, 7), [0; 0]);
}

/// How many of `disks` disks, with the fraction `filled` of their blocks used at random, have none
/// of these blocks hit by `count` samples. Content is between the ends, and known places do not
/// help.
fn missed(disks: u64, filled: f64, count: u32) -> u64 {
    let size_bytes = 16 * GIB;
    let middle = END_BYTES..size_bytes - END_BYTES;
    let blocks = (middle.end - middle.start) / SAMPLE_BYTES;
    let used = (blocks as f64 * filled) as u64;
    let mut random = SplitMix64(0x6d74_6374_6c31);
    let mut missed = 0;
    for seed in 0..disks {
        let mut is_used = vec![0_u64; usize::try_from(blocks / 64 + 1).unwrap()];
        let mut left = used;
        while left > 0 {
            let block = usize::try_from(random.below(blocks)).unwrap();
            let (word, bit) = (&mut is_used[block / 64], 1 << (block % 64));
            left -= u64::from(*word & bit == 0);
            *word |= bit;
        }
        let chosen = samples(std::slice::from_ref(&middle), SAMPLE_BYTES, count, seed);
        let is_met = chosen.iter().any(|at| {
            let block = usize::try_from((at - middle.start) / SAMPLE_BYTES).unwrap();
            is_used[block / 64] & (1 << (block % 64)) != 0
        });
        missed += u64::from(!is_met);
    }
    missed
}

/// The stated probability holds: with few samples content is missed about as often as stated, with
/// all of them not once in two hundred disks.
#[test]
fn scattered_content_is_missed_as_rarely_as_is_said() {
    const DISKS: u64 = 200;
    for (filled, expected_at_most) in [(0.001, 1), (0.005, 0), (0.01, 0)] {
        let missed = missed(DISKS, filled, SAMPLE_COUNT);
        let stated = chance_to_miss(filled, SAMPLE_COUNT);
        println!(
            "{:.1} % used: {missed} of {DISKS} disks missed, stated {stated:.2e}",
            filled * 100.0
        );
        assert!(missed <= expected_at_most, "{filled}: {missed}");
    }
    assert!((0.000_27..0.000_28).contains(&chance_to_miss(0.001, SAMPLE_COUNT)));
    // Checks the experiment itself: 1024 samples miss one in a thousand blocks on 36 % of disks.
    let often = missed(DISKS, 0.001, 1024) as f64 / DISKS as f64;
    let stated = chance_to_miss(0.001, 1024);
    println!(
        "0.1 % used, 1024 samples: {:.1} % missed, stated {:.1} %",
        often * 100.0,
        stated * 100.0
    );
    assert!((often - stated).abs() < 0.1, "{often} {stated}");
}
