//! Which features each distribution allows, given its kernels and tools; what mkfs makes of them is
//! tested with the real programs in `tests`.

use std::path::Path;

use uuid::Uuid;

use super::*;

const MAKERS: Makers =
    Makers { e2fsprogs: Some(Version(1, 47, 0)), xfsprogs: Some(Version(6, 1, 0)) };

fn readers(kernel: &str, e2fsprogs: &str, xfsprogs: &str, conf: Option<&str>) -> Readers {
    Readers {
        kernel: Version::leading(kernel),
        e2fsprogs: Version::leading(e2fsprogs),
        xfsprogs: Version::leading(xfsprogs),
        ext4_by_default: conf.map(ext4_by_default),
    }
}

fn conf(features: &str) -> String {
    format!(
        "[defaults]\n\tbase_features = sparse_super,filetype,resize_inode\n\tblocksize = 4096\n\n\
         [fs_types]\n\text3 = {{\n\t\tfeatures = has_journal,bigalloc\n\t}}\n\
         \text4 = {{\n\t\tfeatures = {features}\n\t\tinode_size = 256\n\t}}\n"
    )
}

/// As the distribution ships it: oldest kernel, e2fsprogs, xfsprogs, ext4 features of mke2fs.conf,
/// then whether 64bit and checksums are enabled, and which features of XFS are turned off.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, bool, bool);

const OLD: &str = "has_journal,extent,huge_file,flex_bg,uninit_bg,dir_nlink,extra_isize";
const WIDE: &str = "has_journal,extent,huge_file,flex_bg,uninit_bg,dir_nlink,extra_isize,64bit";
const NEW: &str = "has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize";
const NEWEST: &str = "has_journal,extent,huge_file,flex_bg,metadata_csum,metadata_csum_seed,64bit,\
                      dir_nlink,extra_isize,orphan_file";

const DISTRIBUTIONS: [Row; 19] = [
    ("RHEL 6", "2.6.32-754.el6.x86_64", "1.41.12", "3.1.1", OLD, false, false),
    ("RHEL 7", "3.10.0-1160.el7.x86_64", "1.42.9", "4.5.0", WIDE, true, false),
    ("RHEL 8", "4.18.0-553.el8_10.x86_64", "1.45.6", "5.0.0", NEW, true, true),
    ("RHEL 9", "5.14.0-503.el9.x86_64", "1.46.5", "6.3.0", NEW, true, true),
    ("RHEL 10", "6.12.0-55.el10.x86_64", "1.47.1", "6.11.0", NEWEST, true, true),
    ("Oracle 6, UEK 4", "2.6.32-754.el6.x86_64", "1.43", "3.2.2", OLD, false, false),
    ("Oracle 7, UEK 6 alone", "5.4.17-2136.el7uek.x86_64", "1.42.9", "4.5.0", WIDE, true, false),
    ("Oracle 8, UEK 7", "4.18.0-553.el8_10.x86_64", "1.46.2", "5.4.0", NEW, true, true),
    ("Amazon 2018.03", "4.14.336-180.amzn1.x86_64", "1.43.5", "4.5.0", OLD, false, false),
    ("Amazon 2", "4.14.355-275.amzn2.x86_64", "1.42.9", "5.0.0", WIDE, true, false),
    ("Amazon 2023", "6.1.112-122.amzn2023.x86_64", "1.46.5", "5.18.0", NEW, true, true),
    ("openEuler 22.03", "5.10.0-60.oe2203.x86_64", "1.46.4", "5.14.1", NEW, true, true),
    ("Debian 7", "3.2.0-4-amd64", "1.42.5", "3.1.7", OLD, false, false),
    ("Debian 8", "3.16.0-4-amd64", "1.42.12", "3.2.1", OLD, false, false),
    ("Debian 12", "6.1.0-25-amd64", "1.47.0", "6.1.0", NEW, true, true),
    ("Debian sid", "6.12.3-amd64", "1.47.2-rc1", "6.13.0", NEWEST, true, true),
    ("Ubuntu 14.04", "3.13.0-24-generic", "1.42.9", "3.1.9", OLD, false, false),
    ("Ubuntu 22.04", "5.15.0-25-generic", "1.46.5", "5.13.0", NEW, true, true),
    ("SLES 12", "4.12.14-122-default", "1.43.8", "4.15.0", WIDE, true, false),
];

#[test]
fn an_ext4_has_what_the_distribution_knows_and_no_more() {
    for (name, kernel, e2fsprogs, xfsprogs, features, is_64bit, has_checksums) in DISTRIBUTIONS {
        let readers = readers(kernel, e2fsprogs, xfsprogs, Some(&conf(features)));
        let found = Features::for_readers(RetentionFilesystem::Ext4, &readers, &MAKERS);
        assert_eq!(found, Ok(Features::Ext4 { is_64bit, has_checksums }), "{name}");
    }
}

#[test]
fn an_xfs_goes_without_what_the_distribution_does_not_know() {
    let rows = [
        ("RHEL 6", Err("Linux 2.6.32")),
        (
            "RHEL 7",
            Ok("-m finobt=0,rmapbt=0,reflink=0,bigtime=0,inobtcount=0 -i sparse=0,nrext64=0"),
        ),
        ("RHEL 8", Ok("-m bigtime=0,inobtcount=0 -i nrext64=0")),
        ("RHEL 9", Ok("-i nrext64=0")),
        ("RHEL 10", Ok("")),
        ("Oracle 7, UEK 6 alone", Ok("-m rmapbt=0,reflink=0,bigtime=0,inobtcount=0 -i nrext64=0")),
        ("Amazon 2", Ok("-m rmapbt=0,reflink=0,bigtime=0,inobtcount=0 -i nrext64=0")),
        ("openEuler 22.03", Ok("-i nrext64=0")),
        ("Debian 7", Err("Linux 3.2.0")),
        ("Debian 8", Ok("-m rmapbt=0,reflink=0,bigtime=0,inobtcount=0 -i sparse=0,nrext64=0")),
        ("Debian 12", Ok("-i nrext64=0")),
        ("Ubuntu 14.04", Err("xfsprogs 3.1.9")),
        ("SLES 12", Ok("-m rmapbt=0,reflink=0,bigtime=0,inobtcount=0 -i nrext64=0")),
    ];
    for (name, expected) in rows {
        let row = DISTRIBUTIONS.iter().find(|row| row.0 == name).unwrap();
        let readers = readers(row.1, row.2, row.3, None);
        let found = Features::for_readers(RetentionFilesystem::Xfs, &readers, &MAKERS);
        let found = found.map(|features| features.options(RetentionFilesystem::Xfs).join(" "));
        let expected = match expected {
            Ok(options) => Ok(options.to_owned()),
            Err(what) => Err(Unknown::TooOld(what.to_owned())),
        };
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn what_is_not_known_is_not_made() {
    let ext4 = |readers: &Readers, makers: &Makers| {
        Features::for_readers(RetentionFilesystem::Ext4, readers, makers).unwrap()
    };
    let xfs = |readers: &Readers, makers: &Makers| {
        Features::for_readers(RetentionFilesystem::Xfs, readers, makers).unwrap_err()
    };
    let least = Features::Ext4 { is_64bit: false, has_checksums: false };
    let most = Features::Ext4 { is_64bit: true, has_checksums: true };
    let all = readers("6.1.0", "1.47.0", "6.1.0", None);
    assert_eq!(ext4(&all, &MAKERS), most);
    let nothing = Readers::default();
    assert_eq!(ext4(&nothing, &MAKERS), least);
    assert_eq!(xfs(&nothing, &MAKERS), Unknown::Kernel);
    let no_kernel = Readers { kernel: None, ..all.clone() };
    assert_eq!(ext4(&no_kernel, &MAKERS), least);
    assert_eq!(xfs(&no_kernel, &MAKERS), Unknown::Kernel);
    let no_tools = Readers { e2fsprogs: None, xfsprogs: None, ..all.clone() };
    assert_eq!(ext4(&no_tools, &MAKERS), least);
    assert_eq!(xfs(&no_tools, &MAKERS), Unknown::Tools);
    let by_conf = readers("6.1.0", "", "", Some(&conf(NEW)));
    assert_eq!(ext4(&by_conf, &MAKERS), most, "its mke2fs makes it");
    let taken_out = readers("6.1.0", "1.47.0", "", Some(&conf(WIDE)));
    assert_eq!(ext4(&taken_out, &MAKERS), Features::Ext4 { is_64bit: true, has_checksums: false });
    assert_eq!(ext4(&all, &Makers::default()), least);
    assert_eq!(xfs(&all, &Makers::default()), Unknown::Makers);
    assert_eq!(least.bytes_max(), Some(16 << 40));
    assert_eq!(most.bytes_max(), None);
}

#[test]
fn an_option_that_the_making_tool_does_not_have_is_not_given() {
    let readers = readers("3.10.0", "", "4.5.0", None);
    let options = |xfsprogs| {
        let makers = Makers { xfsprogs: Some(xfsprogs), ..MAKERS };
        let found = Features::for_readers(RetentionFilesystem::Xfs, &readers, &makers).unwrap();
        found.options(RetentionFilesystem::Xfs).join(" ")
    };
    assert_eq!(options(Version(4, 5, 0)), "-m finobt=0 -i sparse=0");
    assert_eq!(options(Version(5, 0, 0)), "-m finobt=0,rmapbt=0,reflink=0 -i sparse=0");
    assert_eq!(
        options(Version(6, 17, 0)),
        "-m finobt=0,rmapbt=0,reflink=0,bigtime=0,inobtcount=0,metadir=0 \
         -i sparse=0,nrext64=0,exchange=0 -n parent=0"
    );
}

#[test]
fn the_command_says_the_features_before_the_device() {
    let uuid = Uuid::from_u128(0x1234);
    let features = Features::Ext4 { is_64bit: false, has_checksums: false };
    let command = RetentionFilesystem::Ext4.mkfs(Path::new("/dev/sdb"), uuid, features, 1 << 30);
    assert_eq!(
        command.to_string(),
        "mkfs.ext4 -q -F -m 0 -O none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,\
         flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,uninit_bg \
         -L mt-retention -U 00000000-0000-0000-0000-000000001234 /dev/sdb 1044480k"
    );
}

#[test]
fn a_version_is_read_from_whatever_follows_it() {
    let rows = [
        ("2.6.32-754.el6.x86_64", Some(Version(2, 6, 32))),
        ("6.1.0-25-amd64", Some(Version(6, 1, 0))),
        ("6.12-rc3", Some(Version(6, 12, 0))),
        ("1.47.2-rc1", Some(Version(1, 47, 2))),
        ("extra", None),
        ("6", None),
        ("", None),
    ];
    for (text, version) in rows {
        assert_eq!(Version::leading(text), version, "{text}");
    }
}

#[test]
fn the_ext4_of_a_mke2fs_conf_is_its_own_and_the_defaults() {
    let read = ext4_by_default(&conf(NEW));
    assert!(read.contains(&"sparse_super".to_owned()) && read.contains(&"64bit".to_owned()));
    assert!(!read.contains(&"bigalloc".to_owned()), "that is of ext3");
    let without = "[defaults]\n base_features = \"64bit,^metadata_csum\"\n\
        [fs_types]\n ext4 = {\n features = metadata_csum # not here\n }\n";
    assert_eq!(ext4_by_default(without), ["64bit"]);
    assert!(ext4_by_default("").is_empty());
}
