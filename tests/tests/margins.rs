//! Where a new retention filesystem can place its data: never where libblkid, udev and other
//! programs look for signatures, whatever the size of the disk. docs/adr/0011 lists the places.

#![allow(clippy::unwrap_used, reason = "every function here belongs to a test")]

use std::fs::File;
use std::path::Path;

use mt_tests::program::run;
use provisioning::filesystem::features::{Features, Version};
use provisioning::filesystem::{MARGIN_BYTES, RetentionFilesystem};
use uuid::Uuid;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The end of the area at the beginning of a disk in which signatures are looked for: the second
/// header of LUKS2 can lie at 4 MiB.
const LOOKED_AT_BYTES: u64 = 4 * MIB + 4 * KIB;

/// Sizes at which the decisions of mkfs change, in MiB; sparse, except for the tables.
const SIZES: [u64; 12] =
    [64, 65, 100, 128, 304, 511, 512, 516, 3 << 10, 17 << 10, 100 << 10, 1 << 20];

fn number(text: &str, key: &str) -> u64 {
    let row = text.lines().find_map(|row| row.strip_prefix(key)).unwrap();
    row.trim_start_matches([' ', '=', ':']).trim().parse().unwrap()
}

/// The first byte that can be allocated to a file, and the end of the filesystem.
fn room(filesystem: RetentionFilesystem, path: &str) -> (u64, u64) {
    match filesystem {
        RetentionFilesystem::Ext4 => {
            let told = run("dumpe2fs", &[path]);
            let block = number(&told, "Block size:");
            let free = told.lines().find_map(|row| row.strip_prefix("  Free blocks: ")).unwrap();
            let first: u64 = free.split(['-', ',']).next().unwrap().trim().parse().unwrap();
            (first * block, number(&told, "Block count:") * block)
        }
        RetentionFilesystem::Xfs => {
            let told = run("xfs_db", &["-r", "-c", "sb 0", "-c", "p", path]);
            let block = number(&told, "blocksize");
            let free = run("xfs_db", &["-r", "-c", "freesp -d -a 0", path]);
            let extent = |row: &str| {
                let fields: Vec<_> = row.split_whitespace().collect();
                let [_, at, _] = fields.as_slice() else { return None };
                at.parse::<u64>().ok()
            };
            let first = free.lines().filter_map(extent).min().unwrap();
            (first * block, number(&told, "dblocks") * block)
        }
    }
}

/// The version of this host's xfsprogs.
fn maker() -> Version {
    let said = run("mkfs.xfs", &["-V"]);
    said.split_whitespace().find_map(Version::leading).unwrap()
}

#[test]
fn no_file_can_lie_where_signatures_are_looked_for() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let file = directory.path().join("disk");
    let path = file.to_str().unwrap();
    for filesystem in [RetentionFilesystem::Ext4, RetentionFilesystem::Xfs] {
        let oldest = match filesystem {
            RetentionFilesystem::Ext4 => Features::Ext4 { is_64bit: false, has_checksums: false },
            RetentionFilesystem::Xfs => {
                Features::Xfs { kernel: Version(3, 10, 0), tools: Version(3, 2, 0), maker: maker() }
            }
        };
        for features in [Features::Current, oldest] {
            for mib in SIZES.into_iter().filter(|mib| mib * MIB >= filesystem.disk_bytes_min()) {
                // Not a whole number of MiB, like real disks.
                let bytes = mib * MIB + 512 * 7;
                File::create(&file).unwrap().set_len(bytes).unwrap();
                let mkfs = filesystem.mkfs(Path::new(path), Uuid::from_u128(1), features, bytes);
                let arguments: Vec<&str> = mkfs.arguments.iter().map(String::as_str).collect();
                run(&mkfs.program, &arguments);
                let (first, end) = room(filesystem, path);
                let what = format!("{filesystem} {features:?} on {mib} MiB");
                assert!(first >= LOOKED_AT_BYTES, "{what}: a file can begin at {first}");
                assert!(bytes - end >= MARGIN_BYTES, "{what}: ends {} before", bytes - end);
                assert!(bytes - end < MARGIN_BYTES + 2 * MIB, "{what}: room is wasted");
            }
        }
    }
}
