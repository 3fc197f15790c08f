//! Filesystems for systems older than this host: the real mkfs accepts each command line, and the
//! real tools find exactly the permitted features.

#![allow(clippy::unwrap_used, reason = "every function here belongs to a test")]

use std::fs::File;
use std::path::{Path, PathBuf};

use mt_tests::program::{run, shell};
use provisioning::filesystem::RetentionFilesystem;
use provisioning::filesystem::features::{Features, Makers, Readers, Version};
use uuid::Uuid;

const UUID: Uuid = Uuid::from_u128(0x2c1e_7d52_6f0b_4b8e_9a51_d3f1_7c3e_90aa);

/// This host's version of a program that prints it for `-V`.
fn version(program: &str) -> Option<Version> {
    let said = shell(&format!("{program} -V 2>&1"));
    said.split_whitespace().find_map(Version::leading)
}

fn makers() -> Makers {
    Makers { e2fsprogs: version("mkfs.ext4"), xfsprogs: version("mkfs.xfs") }
}

/// Makes the filesystem on an empty file.
fn made(directory: &Path, filesystem: RetentionFilesystem, features: Features) -> PathBuf {
    let file = directory.join("disk.img");
    let disk_bytes = 400 << 20;
    File::create(&file).unwrap().set_len(disk_bytes).unwrap();
    shell(&filesystem.mkfs(&file, UUID, features, disk_bytes).to_string());
    file
}

#[test]
fn an_ext4_for_each_level_has_exactly_the_features_of_it() {
    let directory = tempfile::TempDir::new().unwrap();
    let base = "has_journal ext_attr resize_inode dir_index filetype extent flex_bg sparse_super \
                large_file huge_file dir_nlink extra_isize";
    let rows = [
        ("2.6.32", "1.41.12", "uninit_bg"),
        ("3.10.0", "1.42.9", "64bit uninit_bg"),
        ("4.18.0", "1.45.6", "64bit metadata_csum"),
        ("6.12.0", "1.47.2", "64bit metadata_csum"),
    ];
    for (kernel, tools, more) in rows {
        let kernel = Version::leading(kernel);
        let readers = Readers { kernel, e2fsprogs: Version::leading(tools), ..Readers::default() };
        let filesystem = RetentionFilesystem::Ext4;
        let features = Features::for_readers(filesystem, &readers, &makers()).unwrap();
        let file = made(directory.path(), filesystem, features);
        let printed = run("dumpe2fs", &["-h", file.to_str().unwrap()]);
        let row = printed.lines().find_map(|line| line.strip_prefix("Filesystem features:"));
        let mut found: Vec<&str> = row.unwrap().split_whitespace().collect();
        let mut expected: Vec<&str> = base.split(' ').chain(more.split(' ')).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "Linux {kernel:?}, e2fsprogs {tools}");
        run("e2fsck", &["-f", "-n", file.to_str().unwrap()]);
    }
}

#[test]
fn an_xfs_for_each_level_has_none_of_the_features_that_came_after_it() {
    let directory = tempfile::TempDir::new().unwrap();
    let rows: [(&str, &str, &[&str], &[&str]); 4] = [
        (
            "3.10.0",
            "4.5.0",
            &["V5", "CRC", "FTYPE"],
            &["FINOBT", "SPARSE_INODES", "REFLINK", "RMAPBT", "INOBTCNT", "BIGTIME", "NREXT64"],
        ),
        (
            "4.12.14",
            "4.15.0",
            &["V5", "FINOBT", "SPARSE_INODES"],
            &["REFLINK", "RMAPBT", "INOBTCNT", "BIGTIME", "NREXT64", "EXCHANGE", "PARENT"],
        ),
        (
            "4.18.0",
            "5.0.0",
            &["V5", "FINOBT", "SPARSE_INODES"],
            &["INOBTCNT", "BIGTIME", "NREXT64", "EXCHANGE", "PARENT"],
        ),
        ("5.14.0", "6.3.0", &["V5", "FINOBT"], &["NREXT64", "EXCHANGE", "PARENT"]),
    ];
    for (kernel, tools, has, has_not) in rows {
        let readers = Readers {
            kernel: Version::leading(kernel),
            xfsprogs: Version::leading(tools),
            ..Readers::default()
        };
        let filesystem = RetentionFilesystem::Xfs;
        let features = Features::for_readers(filesystem, &readers, &makers()).unwrap();
        let file = made(directory.path(), filesystem, features);
        let printed = run("xfs_db", &["-r", "-c", "version", file.to_str().unwrap()]);
        let found: Vec<&str> = printed.trim().rsplit(' ').next().unwrap().split(',').collect();
        let missing: Vec<_> = has.iter().filter(|name| !found.contains(name)).collect();
        let too_new: Vec<_> = has_not.iter().filter(|name| found.contains(name)).collect();
        assert!(missing.is_empty() && too_new.is_empty(), "Linux {kernel}: {printed}");
        run("xfs_repair", &["-n", file.to_str().unwrap()]);
    }
}
