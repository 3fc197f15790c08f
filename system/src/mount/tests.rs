//! The kernel's mount table in its original form, with escapes and odd rows.

use super::*;
use proptest::prelude::*;

const TEXT: &str = "\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n\
22 21 0:5 / /proc rw,nosuid - proc proc rw\n\
36 21 8:17 /sub /mnt/a\\040b rw,noatime master:1 propagate_from:2 - xfs /dev/sdb1 rw,attr2\n\
40 21 8:33 / /mnt/retention rw - ext4 /dev/sdc1 rw\n\
41 40 8:49 / /mnt/retention ro - ext4 /dev/sdd1 ro\n\
50 21 0:44 / /mnt/nameless rw - tmpfs  rw,size=4k\n";

fn table() -> MountTable {
    MountTable::parse(TEXT).unwrap()
}

#[test]
fn a_row_is_read_with_its_optional_fields_and_escapes() {
    let table = table();
    let mount = &table.mounts()[2];
    assert_eq!((mount.mount_id, mount.parent_id), (36, 21));
    assert_eq!(mount.device, (8, 17));
    assert_eq!((&*mount.root, &*mount.mount_point), ("/sub", "/mnt/a b"));
    assert_eq!(mount.options, ["rw", "noatime"]);
    assert_eq!((&*mount.filesystem, &*mount.source), ("xfs", "/dev/sdb1"));
    assert_eq!(mount.super_options, ["rw", "attr2"]);
    assert_eq!(table.mounts()[5].source, "");
}

#[test]
fn the_last_mount_over_a_directory_is_the_topmost() {
    let table = table();
    let device = |path: &str| table.topmost(path).map(|mount| mount.device);
    assert_eq!(device("/mnt/retention"), Some((8, 49)));
    assert_eq!(device("/mnt/retention/"), Some((8, 49)));
    assert_eq!(device("/mnt/retention/deep"), None);
    assert_eq!(device("/mnt"), None);
    assert_eq!(device("/"), Some((8, 1)));
    assert_eq!(table.of_device((8, 33)).count(), 1);
}

#[test]
fn the_topmost_is_found_whatever_the_order_of_the_rows() {
    let mut rows: Vec<_> = TEXT.lines().collect();
    rows.reverse();
    let table = MountTable::parse(&rows.join("\n")).unwrap();
    assert_eq!(table.topmost("/mnt/retention").unwrap().device, (8, 49));
}

#[test]
fn a_mount_on_a_directory_above_hides_it() {
    let text = format!("{TEXT}60 21 0:50 / /mnt rw - tmpfs tmpfs rw\n");
    let table = MountTable::parse(&text).unwrap();
    assert_eq!(table.topmost("/mnt/retention"), None);
    assert_eq!(table.containing("/mnt/retention").unwrap().mount_id, 60);
}

#[test]
fn a_path_lies_in_the_nearest_mount() {
    let table = table();
    let inside = |path: &str| table.containing(path).map(|mount| mount.mount_id);
    assert_eq!(inside("/mnt/a b/c"), Some(36));
    assert_eq!(inside("/mnt/a bc"), Some(21));
    assert_eq!(inside("/etc"), Some(21));
    assert_eq!(MountTable::default().containing("/"), None);
}

#[test]
fn a_table_with_a_cycle_ends() {
    let text = "1 1 8:1 / / rw - ext4 a rw\n2 3 8:2 / /x rw - ext4 b rw\n\
        3 2 8:3 / /x rw - ext4 c rw\n4 1 8:4 / /x rw - ext4 d rw\n";
    let table = MountTable::parse(text).unwrap();
    assert_eq!(table.topmost("/x").unwrap().mount_id, 4);
}

#[test]
fn malformed_rows_are_refused_with_their_line() {
    for (row, problem) in [
        ("x 1 8:1 / / rw - ext4 a rw", "a number expected"),
        ("1 1 81 / / rw - ext4 a rw", "major:minor expected"),
        ("1 1 8:99999999999 / / rw - ext4 a rw", "a number expected"),
        ("1 1 8:1 / / rw shared:1", "a field is missing"),
        ("1 1 8:1 / / rw - ext4", "a field is missing"),
    ] {
        let text = format!("21 1 8:1 / / rw - ext4 /dev/sda1 rw\n{row}\n");
        let error = MountTable::parse(&text).unwrap_err();
        assert_eq!(error, TableError { line: 2, problem }, "{row}");
    }
}

#[test]
fn bytes_that_are_no_utf_8_are_part_of_a_mount_point_and_of_a_swap_file() {
    let text = crate::lossless_text::from_bytes(
        &b"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
           22 21 8:17 / /mnt/d\xE9p\\040a rw - ext4 /dev/sdb rw\n\
           23 21 8:33 / /mnt/\\351 rw - ext4 /dev/sdc rw\n"[..],
    );
    let table = MountTable::parse(&text).unwrap();
    let at = |point: &[u8]| {
        table.topmost(&crate::lossless_text::from_bytes(point)).map(|mount| mount.device)
    };
    assert_eq!((at(b"/mnt/d\xE9p a"), at(b"/mnt/\xE9")), (Some((8, 17)), Some((8, 33))));
    let swaps = b"Filename Type Size Used Priority\n/sw\xE9p\xC2\xA0file file 1024 0 5\n";
    let swaps = parse_swaps(&crate::lossless_text::from_bytes(&swaps[..])).unwrap();
    assert_eq!(crate::lossless_text::to_bytes(&swaps[0].path), b"/sw\xE9p\xC2\xA0file");
}

#[test]
fn swaps_are_read() {
    let text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
        /dev/sda2                               partition\t8388604\t\t12\t\t-2\n\
        /swap\\040file                          file\t1024\t0\t5\n";
    let swaps = parse_swaps(text).unwrap();
    assert_eq!((&*swaps[0].path, swaps[0].size_kib), ("/dev/sda2", 8_388_604));
    assert_eq!((swaps[0].used_kib, swaps[0].priority), (12, -2));
    assert_eq!((&*swaps[1].path, &*swaps[1].kind), ("/swap file", "file"));
    assert_eq!(parse_swaps("Filename\tType\n"), Ok(Vec::new()));
    assert_eq!(parse_swaps(""), Ok(Vec::new()));
    assert_eq!(parse_swaps("Filename\n/dev/x partition 1 0\n").unwrap_err().line, 2);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[0-9 :/a\\\\\n-]*", path in "[/a-c]*") {
        if let Ok(table) = MountTable::parse(&text) {
            let _ = table.topmost(&path);
        }
        let _ = parse_swaps(&text);
    }

    #[test]
    fn every_chain_of_mounts_over_a_directory_ends_at_its_top(
        depth in 1u32..40, rotate in 0usize..40,
    ) {
        let mut rows = vec!["1 0 8:0 / / rw - ext4 a rw".to_owned()];
        rows.extend((1..=depth).map(|n| format!("{} {n} 8:{n} / /x rw - ext4 a rw", n + 1)));
        let count = rows.len();
        rows.rotate_left(rotate % count);
        let table = MountTable::parse(&rows.join("\n")).unwrap();
        prop_assert_eq!(table.topmost("/x").unwrap().device, (8, depth));
    }
}
