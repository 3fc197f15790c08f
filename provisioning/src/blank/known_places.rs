//! Where filesystems, volume managers and partition tables keep copies of their metadata: a table
//! with the source of each row. The first and last 16 MiB of the disk are left out, because they
//! are read anyway: boot sectors, superblocks and labels at the beginning, the backup of a GPT,
//! LVM's second metadata area, ZFS labels 2 and 3, md 0.90 and 1.0, DDF, isw, DRBD, bcachefs, UDF.
//!
//! Not in the table, and so left to the samples: cylinder groups of UFS, resource groups of GFS2,
//! BitLocker's copies in the middle, and volumes that begin where no installer puts one.

use std::collections::BTreeMap;
use std::ops::Range;

use super::piece::{END_BYTES, Piece, SAMPLE_BYTES};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// What may lie somewhere, the source that says so, and its location on a volume.
struct Row {
    what: &'static str,
    /// The standard or program that defines it; for readers of this file, never printed.
    _source: &'static str,
    places: fn(&Volume) -> Vec<Range<u64>>,
}

/// A filesystem or physical volume as it may lie on the disk, in bytes of the disk.
struct Volume {
    start: u64,
    end: u64,
}

impl Volume {
    fn length(&self) -> u64 {
        self.end - self.start
    }

    /// The ranges of `length` bytes at `offsets` from its start that lie inside it.
    fn at(&self, offsets: impl IntoIterator<Item = u64>, length: u64) -> Vec<Range<u64>> {
        let inside =
            offsets.into_iter().filter(|offset| offset.saturating_add(length) <= self.length());
        inside.map(|offset| self.start + offset..self.start + offset + length).collect()
    }
}

const ROWS: [Row; 8] = [
    Row {
        what: "a backup superblock of ext2, ext3 or ext4",
        _source: "e2fsprogs lib/ext2fs/closefs.c, ext2fs_bg_has_super; Linux ext4/blockgroup.rst",
        places: ext_backups,
    },
    Row {
        what: "a mirror of a btrfs superblock",
        _source: "btrfs on-disk format, superblock; Linux fs/btrfs/disk-io.h, btrfs_sb_offset",
        places: |volume| volume.at([64 * MIB, 256 * GIB, 1 << 50], 4 * KIB),
    },
    Row {
        what: "the header of an XFS allocation group",
        _source: "XFS Algorithms and Data Structures; xfsprogs calc_default_ag_geometry",
        places: xfs_groups,
    },
    Row {
        what: "NTFS's table of files, its mirror or a backup boot sector",
        _source: "Windows format.com: LCN 786432; ntfs-3g mkntfs.c: the mirror in the middle",
        places: ntfs_copies,
    },
    Row {
        what: "a backup superblock of OCFS2",
        _source: "ocfs2-tools libocfs2/backup_super.c: 1 GiB, and four times that, six in all",
        places: |volume| volume.at((0..6).map(|index| GIB << (2 * index)), 4 * KIB),
    },
    Row {
        what: "a copy of a Ceph BlueStore label",
        _source: "Ceph BlueStore.cc, bdev_label_positions",
        places: |volume| volume.at([1, 10, 100, 1000].map(|gib| gib * GIB), 4 * KIB),
    },
    Row {
        what: "the backup header of an Oracle ASM disk",
        _source: "ASM: the last but one block of allocation unit 1, units of 1 to 64 MiB",
        places: |volume| volume.at((0..7).map(|power| ((2 * MIB) << power) - 8 * KIB), 8 * KIB),
    },
    Row {
        what: "the end of a volume: md 0.90 and 1.0, a backup boot sector, a label",
        _source: "md(4); NTFS; ZFS On-Disk Specification 1.2.1; DRBD internal metadata",
        places: |volume| volume.at([volume.length().saturating_sub(512 * KIB)], 512 * KIB),
    },
];

/// Where a partition or a volume may begin other than at the start of the disk, in MiB: after the
/// small partitions that installers make. Windows: MSR of 16 or 128 MiB, ESP of 100, recovery of
/// 350 to 529; RHEL: ESP of 200 or 600, /boot of 500 or 1024; Debian and Ubuntu: ESP of 124 to
/// 1075, /boot of 487 to 2048; cloud images: 111 and 128; md 1.2: data after 65, 128 or 129 MiB.
const BEGINNINGS_MIB: [u64; 47] = [
    17, 32, 33, 64, 65, 100, 101, 106, 111, 117, 128, 129, 130, 200, 201, 202, 256, 257, 351, 450,
    451, 487, 488, 500, 501, 502, 512, 513, 514, 529, 530, 538, 600, 601, 602, 1024, 1025, 1026,
    1076, 1077, 1127, 1225, 1537, 1625, 2049, 2050, 4097,
];

/// The beginnings of volumes that are also searched for copies, in bytes; sector 63 is added later.
const VOLUME_BEGINNINGS: [u64; 5] = [0, MIB, 2 * MIB, 17 * MIB, 129 * MIB];

/// How much is read after a possible beginning of a volume, and how much before it, where the
/// preceding volume ends.
const BEGINNING_BYTES: u64 = 128 * KIB;

/// The places to read between the two ends of a disk of `size_bytes` with sectors of
/// `sector_bytes`; ascending, and without duplicates.
pub(crate) fn known_places(size_bytes: u64, sector_bytes: u32) -> Vec<Piece> {
    let sector = u64::from(sector_bytes).max(512);
    let block = SAMPLE_BYTES.max(sector);
    let middle = END_BYTES..size_bytes.saturating_sub(END_BYTES);
    let mut found: BTreeMap<u64, Piece> = BTreeMap::new();
    let mut add = |range: Range<u64>, what: &'static str| {
        let start = (range.start / block * block).max(middle.start);
        let end = range.end.div_ceil(block).saturating_mul(block).min(middle.end);
        if start >= end {
            return;
        }
        let place = found.entry(start).or_insert(Piece { range: start..end, what });
        place.range.end = place.range.end.max(end);
    };
    for begins in BEGINNINGS_MIB.map(|mib| mib * MIB) {
        let around = begins - BEGINNING_BYTES..begins.saturating_add(BEGINNING_BYTES);
        add(around, "the beginning of a partition, or the end of the one before it");
    }
    for volume in volumes(size_bytes, sector) {
        for row in &ROWS {
            (row.places)(&volume).into_iter().for_each(|range| add(range, row.what));
        }
    }
    found.into_values().collect()
}

/// Every combination of beginning and end of a volume that is considered.
fn volumes(size_bytes: u64, sector: u64) -> Vec<Volume> {
    let cylinder = 255 * 63 * sector;
    let ends = [
        size_bytes,
        // GPT: the last usable sector, and the same as sgdisk, parted and Windows align it.
        size_bytes.saturating_sub(33 * sector),
        size_bytes.saturating_sub(33 * sector) / MIB * MIB,
        size_bytes.saturating_sub(MIB + 1) / MIB * MIB,
        size_bytes / MIB * MIB,
        // DOS: whole cylinders.
        size_bytes / cylinder * cylinder,
    ];
    let starts = VOLUME_BEGINNINGS.into_iter().chain([63 * sector]);
    let all = starts.flat_map(|start| ends.map(|end| Volume { start, end }));
    all.filter(|volume| volume.end > volume.start).collect()
}

/// Groups 1, all powers of 3, 5 and 7 (sparse_super), the first eight (without it), and the last
/// (sparse_super2), for each block size.
fn ext_backups(volume: &Volume) -> Vec<Range<u64>> {
    let sizes = (0..7).map(|power| KIB << power);
    sizes.flat_map(|block| volume.at(ext_groups(block, volume.length()), 4 * KIB)).collect()
}

/// Where groups with a backup begin, for blocks of `block` bytes: a group's bitmap is one block,
/// with one bit for each block of the group. With blocks of 1 KiB the first group begins at block
/// 1.
fn ext_groups(block: u64, length: u64) -> Vec<u64> {
    let group_bytes = 8 * block * block;
    let count = length / group_bytes;
    let mut groups: Vec<u64> = (1..=8).collect();
    for base in [3_u64, 5, 7] {
        let powers = std::iter::successors(Some(base), |power| power.checked_mul(base));
        groups.extend(powers.take_while(|power| *power <= count));
    }
    groups.extend([count.saturating_sub(1), count]);
    groups.retain(|group| *group > 0);
    // With 1 KiB blocks, a group begins inside the range that is read, not at its start.
    groups.into_iter().filter_map(|group| group.checked_mul(group_bytes)).collect()
}

/// mkfs.xfs's default block size, 4 KiB.
const XFS_BLOCK: u64 = 4 * KIB;
/// Sizes with which cloud images and small volumes are made before they are grown, in GiB: their
/// groups keep their size.
const XFS_GROWN_FROM_GIB: [u64; 30] = [
    2, 4, 5, 8, 10, 15, 16, 20, 25, 30, 32, 40, 50, 60, 64, 80, 100, 120, 128, 150, 160, 200, 250,
    256, 300, 400, 500, 512, 1000, 1024,
];
/// Stripe widths to which a group's size is rounded up, in blocks: 64 KiB to 1 MiB.
const XFS_STRIPE_BLOCKS: [u64; 5] = [16, 32, 64, 128, 256];

fn xfs_groups(volume: &Volume) -> Vec<Range<u64>> {
    let mut offsets = Vec::new();
    let mut groups = |group_blocks: u64, count: u64| {
        let bytes = group_blocks.saturating_mul(XFS_BLOCK);
        offsets.extend((1..count).map(|group| group.saturating_mul(bytes)));
    };
    for (group, count) in xfs_group_blocks(volume.length() / XFS_BLOCK) {
        groups(group, count);
        for stripe in XFS_STRIPE_BLOCKS {
            groups(group.div_ceil(stripe) * stripe, count.min(4));
        }
    }
    for grown_from in XFS_GROWN_FROM_GIB.map(|gib| gib * GIB) {
        // The volume in a partition is smaller than the disk by the space around the partition.
        for length in [grown_from, grown_from - MIB, grown_from - 2 * MIB] {
            xfs_group_blocks(length / XFS_BLOCK)
                .first()
                .iter()
                .for_each(|(group, _)| groups(*group, 4));
        }
    }
    volume.at(offsets, 4 * KIB)
}

/// Sizes of a group in blocks, and the number of groups, of a volume of `blocks`: four groups on
/// one disk, or groups of 1 TiB less a block; 8, 16 or 32 on a stripe.
fn xfs_group_blocks(blocks: u64) -> Vec<(u64, u64)> {
    let bytes = blocks.saturating_mul(XFS_BLOCK);
    let largest = (TIB - 1) / XFS_BLOCK;
    let divided = |shift: u32| (blocks.div_ceil(1 << shift).clamp(1, largest), 1 << shift);
    if bytes >= 4 * TIB {
        let many = (blocks.div_ceil(largest)).min(256);
        return vec![(largest, many), divided(5)];
    }
    let striped = match bytes {
        _ if bytes > 512 * GIB => 5,
        _ if bytes > 8 * GIB => 4,
        _ => 3,
    };
    vec![divided(2), divided(striped)]
}

/// Windows begins the MFT at cluster 786432, NTFS-3G keeps its mirror in the middle, and old
/// versions keep the backup boot sector there; newer ones have it in the last sector.
fn ntfs_copies(volume: &Volume) -> Vec<Range<u64>> {
    let clusters = [512, KIB, 2 * KIB, 4 * KIB, 8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB];
    let tables = clusters.map(|cluster| 786_432 * cluster);
    let middle = volume.length() / 2;
    let around_middle = volume.at([middle.saturating_sub(64 * KIB)], 128 * KIB);
    volume.at(tables, 4 * KIB).into_iter().chain(around_middle).collect()
}
