//! Texts of /proc, and directories as /sys has them: no disk is needed.

use nix::sys::stat::makedev;

use super::*;
use crate::remedy::DiskRemedy;

const MOUNTS: &str = "\
22 28 0:21 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n\
28 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n\
95 28 8:17 / /srv/customer\\040data rw,relatime shared:50 - xfs /dev/sdb1 rw,attr2\n\
96 28 8:17 /sub /mnt/back\\134slash ro - xfs /dev/sdb1 rw\n";

#[test]
fn every_place_where_a_device_is_mounted_is_found_by_its_number() {
    let mounts = MountTable::parse(MOUNTS).unwrap();
    let mount_points = |number| mount_points(&mounts, number);
    assert_eq!(mount_points(makedev(8, 1)), ["/"]);
    let both = ["/srv/customer data", "/mnt/back\\slash"];
    assert_eq!(mount_points(makedev(8, 17)), both);
    assert_eq!(mount_points(makedev(8, 16)), [""; 0]);
    assert_eq!(mount_points(makedev(8, 171)), [""; 0]);
}

#[test]
fn a_holder_is_told_by_the_name_that_device_mapper_gives_it() {
    let disk = tempfile::TempDir::new().unwrap();
    assert!(holders(disk.path()).is_empty(), "there need not be a list");
    let place = |name: &str| disk.path().join("holders").join(name);
    fs::create_dir_all(place("dm-0").join("dm")).unwrap();
    fs::write(place("dm-0/dm/name"), "system-root\n").unwrap();
    fs::create_dir_all(place("md127")).unwrap();
    let told: Vec<String> = holders(disk.path()).iter().map(Holder::told).collect();
    assert_eq!(told, ["held by /dev/dm-0 (system-root)", "held by /dev/md127"]);
    assert_eq!(multipath_remedy(&holders(disk.path()), Path::new("/dev/sda")), None);
}

#[test]
fn a_path_of_a_map_is_told_the_map_and_a_map_with_partitions_how_to_free_it() {
    let holder = |mapping: &str, uuid: &str| {
        let mapping = Some(mapping.to_owned());
        Holder { name: "dm-2".into(), mapping, uuid: uuid.into() }
    };
    let (map, partition) = (holder("x", "mpath-36000c29"), holder("x1", "part1-mpath-36000c29"));
    let remedy = |held: &Holder, path: &str| {
        multipath_remedy(std::slice::from_ref(held), Path::new(path)).unwrap()
    };
    assert_eq!(map.told(), "a path of the multipath map /dev/mapper/x");
    assert_eq!(remedy(&map, "/dev/sda"), DiskRemedy::NameMap { map: "x".to_owned() });
    assert_eq!(partition.told(), "held by /dev/dm-2 (x1)");
    let path = "/dev/mapper/x".to_owned();
    assert_eq!(remedy(&partition, &path), DiskRemedy::RemovePartitions { path: path.clone() });
    let volume = holder("vg-root", "LVM-abc");
    assert_eq!(multipath_remedy(&[volume], Path::new("/dev/sda")), None);
}

#[test]
fn the_file_behind_a_loop_device_may_have_lost_its_name() {
    for (text, path) in [
        ("/srv/disk.img\n", "/srv/disk.img"),
        ("/srv/disk.img (deleted)\n", "/srv/disk.img"),
        ("/srv/with blank\n", "/srv/with blank"),
    ] {
        assert_eq!(backing_path(text.as_bytes()), PathBuf::from(path));
    }
}

#[test]
fn writes_and_discards_are_counted_and_reads_and_flushes_are_not() {
    let table = "  10 1 200 3 40 4 500 6 0 7 8 90 0 1000 9 11 12\n";
    assert_eq!(sectors_changed_in(table), Some(1500));
    assert_eq!(sectors_changed_in("10 1 200 3 40 4 500 6 0 7 8"), Some(500));
    assert_eq!(sectors_changed_in("10 1"), None);
}

#[test]
fn a_device_number_is_two_decimals() {
    assert_eq!(device_number("259:3\n"), Some(makedev(259, 3)));
    for text in ["", "8", "8:", "a:b", "8:1:2"] {
        assert_eq!(device_number(text), None, "{text:?}");
    }
}

/// A disk `sdx` with one partition, and a disk `c!d` without one, as in /sys; and links to all of
/// them.
fn sys() -> tempfile::TempDir {
    let sys = tempfile::tempdir().unwrap();
    let place = |name: &str| sys.path().join(name);
    for directory in ["sdx/sdx1", "sdx/queue", "sdx/holders", "c!d/c!d1"] {
        fs::create_dir_all(place(directory)).unwrap();
    }
    for (file, text) in [
        ("sdx/queue/logical_block_size", "4096\n"),
        ("sdx/sdx1/partition", "1\n"),
        ("sdx/sdx1/dev", "8:17\n"),
        ("c!d/c!d1/partition", "1\n"),
    ] {
        fs::write(place(file), text).unwrap();
    }
    for (link, to) in [("8:16", "sdx"), ("8:17", "sdx/sdx1"), ("104:1", "c!d/c!d1")] {
        std::os::unix::fs::symlink(place(to), place(link)).unwrap();
    }
    sys
}

#[test]
fn a_partition_leads_to_its_disk_and_a_disk_to_none() {
    let sys = sys();
    let above = |number: &str| disk_above(&sys.path().join(number));
    assert_eq!(above("8:17"), Some(PathBuf::from("/dev/sdx")));
    assert_eq!(above("104:1"), Some(PathBuf::from("/dev/c/d")), "slashes are written otherwise");
    assert_eq!(above("8:16"), None);
    assert_eq!(above("9:9"), None);
}

#[test]
fn a_partition_has_the_sectors_of_its_disk() {
    let sys = sys();
    let bytes = |number: &str| sector_bytes_of(&sys.path().join(number));
    assert_eq!((bytes("8:16"), bytes("8:17")), (Some(4096), Some(4096)));
    assert_eq!((bytes("104:1"), bytes("9:9")), (None, None));
}

#[test]
fn a_disk_has_itself_and_its_partitions_by_name_and_number() {
    let sys = sys();
    let directory = sys.path().join("8:16");
    let part = |name: &str, directory: &Path, number| Part {
        name: name.into(),
        directory: directory.to_owned(),
        number,
    };
    let expected = [
        part("sdx", &directory, makedev(8, 16)),
        part("sdx1", &directory.join("sdx1"), makedev(8, 17)),
    ];
    assert_eq!(parts_of(directory, makedev(8, 16)), expected);
}

#[test]
fn a_number_is_a_directory_in_sys_and_one_that_no_disk_has_tells_nothing() {
    assert_eq!(directory_of(makedev(8, 16)), Path::new("/sys/dev/block/8:16"));
    let nobodys = makedev(4095, 1_048_575);
    assert_eq!(sectors_changed(nobodys), None);
    assert_eq!(disk_of_partition(nobodys), None);
    assert_eq!(sector_bytes_below(nobodys), None);
    assert_eq!(of_multipath(nobodys, Path::new("/dev/sdx")), None);
    assert_eq!(loops_on_disk(nobodys).unwrap(), [""; 0]);
}

#[test]
fn a_directory_that_is_not_there_has_no_names_and_one_that_is_none_is_an_error() {
    let sys = sys();
    assert_eq!(names_in(&sys.path().join("sdx")).unwrap(), ["holders", "queue", "sdx1"]);
    assert_eq!(names_in(&sys.path().join("absent")).unwrap(), [""; 0]);
    let file = sys.path().join("sdx/sdx1/dev");
    assert_eq!(names_in(&file).unwrap_err().kind(), io::ErrorKind::NotADirectory);
}

#[test]
fn a_kernel_without_swap_has_no_table_and_one_that_cannot_be_read_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    fs::write(place("area"), "").unwrap();
    let area = fs::metadata(place("area")).unwrap();
    let row = |name: &str| format!("{} file 1024 0 -2\n", place(name).display());
    fs::write(place("swaps"), format!("Filename\n{}{}", row("area"), row("gone"))).unwrap();
    let found = swap_areas(&place("swaps")).unwrap();
    let found: Vec<_> = found.iter().map(|one| (one.dev(), one.ino())).collect();
    assert_eq!(found, [(area.dev(), area.ino())]);
    assert!(swap_areas(&place("absent")).unwrap().is_empty());
    assert!(swap_areas(directory.path()).is_err());
}

#[test]
fn the_table_of_mounts_is_that_of_this_process() {
    let proc = fs::metadata("/proc/self").unwrap().dev();
    assert!(mount_points(&mount_table().unwrap(), proc).contains(&"/proc".to_owned()));
}

#[test]
fn only_a_partition_of_a_map_is_one() {
    for (uuid, expected) in [
        ("part1-mpath-36000c29", true),
        ("part1-LVM-abc", false),
        ("LVM-x-mpath-y", false),
        ("mpath-36000c29", false),
    ] {
        let holder = Holder { name: "dm-0".into(), mapping: None, uuid: uuid.into() };
        assert_eq!(holder.is_partition_of_a_map(), expected, "{uuid}");
    }
}
