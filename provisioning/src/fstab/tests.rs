//! Rows that are read and written back unchanged, the one marked row, and refusals.

use super::*;
use proptest::prelude::*;

const UUID: &str = "0c5be9c7-3a0c-4ac9-9d1f-0b2f0c1c7c11";

const TEXT: &str = "# /etc/fstab\n\
    #\n\
    UUID=aaaa-bbbb\t/\t  ext4\terrors=remount-ro 0\t1\n\
    UUID=\"ccdd\" /srv/a\\040b xfs defaults\n\
    \n\
    UUID=eeee none swap sw 0 0\n\
    \x20 # indented comment\n\
    nonsense\n\
    //server/share /mnt/share cifs credentials=/etc/x\\054y,_netdev 0 0\n\
    LABEL=odd /mnt/odd";

fn wanted(mark: Mark) -> RetentionRow {
    RetentionRow {
        uuid: UUID.to_owned(),
        mount_point: "/mnt/retention".to_owned(),
        filesystem: "ext4".to_owned(),
        mark,
    }
}

fn edited(text: &str) -> String {
    Fstab::parse(text).with_retention(&wanted(Mark::XOption), |_| false).unwrap().to_string()
}

#[test]
fn the_row_is_the_documented_one_for_every_mark_and_filesystem() {
    let row = wanted(Mark::XOption).entry().to_string();
    assert_eq!(
        row,
        format!(
            "UUID={UUID} /mnt/retention ext4 \
             defaults,nofail,x-systemd.device-timeout=90s,noatime,errors=remount-ro,x-mtctl 0 2"
        )
    );
    let row = wanted(Mark::Comment).entry().to_string();
    assert_eq!(
        row,
        format!(
            "UUID={UUID} /mnt/retention ext4 \
             defaults,nofail,noatime,errors=remount-ro,comment=mtctl 0 2"
        )
    );
    let xfs = RetentionRow { filesystem: "xfs".to_owned(), ..wanted(Mark::XOption) };
    assert_eq!(xfs.entry().pass, 0);
    assert!(!xfs.entry().to_string().contains("errors="), "XFS does not know it");
}

#[test]
fn entries_are_found_by_mount_point() {
    let table = Fstab::parse(TEXT);
    let at = |path: &str| {
        let found = table.by_mount_point(path).map(|(line, _)| line);
        found.collect::<Vec<_>>()
    };
    assert_eq!(at("/srv/a b/"), [4]);
    assert_eq!(at("//mnt/odd"), [10]);
    assert_eq!(at("/"), [3]);
    assert_eq!(at("none"), Vec::<usize>::new());
    let odd = table.entries().last().unwrap().1;
    assert_eq!((odd.filesystem.as_str(), odd.pass), ("auto", 0));
}

#[test]
fn comments_blank_lines_and_nonsense_are_no_entries() {
    let lines: Vec<_> = Fstab::parse(TEXT).entries().map(|(line, _)| line).collect();
    assert_eq!(lines, [3, 4, 6, 9, 10]);
}

#[test]
fn the_row_is_appended_after_a_line_that_lacked_its_newline() {
    let row = wanted(Mark::XOption).entry().to_string();
    assert_eq!(edited(TEXT), format!("{TEXT}\n{row}\n"));
    assert_eq!(edited(""), format!("{row}\n"));
    assert_eq!(edited("# x\r\n"), format!("# x\r\n{row}\r\n"));
}

#[test]
fn our_former_row_is_replaced_in_place_and_its_doubles_dropped() {
    let row = wanted(Mark::XOption).entry().to_string();
    let text = "a /a ext4 defaults 0 0\r\n\
        UUID=old /mnt/elsewhere xfs x-mtctl 0 0\r\n\
        b /b ext4 defaults 0 0\n\
        UUID=older /mnt/retention ext4 comment=mtctl,ro 0 0\n";
    let new = format!("a /a ext4 defaults 0 0\r\n{row}\r\nb /b ext4 defaults 0 0\n");
    assert_eq!(edited(text), new);
    assert_eq!(edited(&new), new);
}

#[test]
fn a_row_that_says_the_same_keeps_its_spacing() {
    let row = wanted(Mark::XOption).entry().to_string().replace(' ', "\t");
    let text = format!("{row} # ours");
    assert_eq!(edited(&text), text);
}

#[test]
fn a_row_of_somebody_else_is_a_conflict_and_not_overwritten() {
    for (row, kind) in [
        ("/dev/mapper/3600 /mnt/retention/ ext4 rw 0 0", ConflictKind::MountPoint),
        ("UUID=\"0c5be9c7-3a0c-4ac9-9d1f-0b2f0c1c7c11\" /data ext4 rw 0 0", ConflictKind::Source),
    ] {
        let table = Fstab::parse(&format!("# x\n{row}\n"));
        let conflict = table.with_retention(&wanted(Mark::XOption), |_| false).unwrap_err();
        assert_eq!((conflict.line, conflict.kind), (2, kind));
        assert_eq!(conflict.row, row);
        assert!(conflict.to_string().contains(row), "{conflict}");
    }
}

#[test]
fn the_same_filesystem_by_another_name_is_a_conflict() {
    let text = "# x\nLABEL=\"data\" /data ext4 defaults 0 2\n";
    let same = |source: &str| source == "LABEL=data";
    let table = Fstab::parse(text);
    let conflict = table.with_retention(&wanted(Mark::XOption), same).unwrap_err();
    assert_eq!((conflict.line, conflict.kind), (2, ConflictKind::Source));
    assert!(table.with_retention(&wanted(Mark::XOption), |_| false).is_ok());
}

#[test]
fn options_that_were_added_to_our_row_stay_with_all_bytes_around_them() {
    let row = wanted(Mark::XOption).entry().to_string().replace("noatime", "noatime,discard");
    let spaced = format!("  {}\t# by hand", row.replace(' ', "\t "));
    assert_eq!(edited(&format!("# x\n{spaced}\n")), format!("# x\n{spaced}\n"));
    let start = format!("UUID=\"{UUID}\"\t/mnt/retention  ext4 commit=60,x-mtctl");
    let added = start.replace(
        ",x-mtctl",
        ",nofail,x-systemd.device-timeout=90s,noatime,errors=remount-ro,x-mtctl",
    );
    for (end, expected) in [("\t0 0  # by hand\r\n", "\t0 2  # by hand\r\n"), (" \n", " 0 2 \n")] {
        assert_eq!(edited(&format!("{start}{end}")), format!("{added}{expected}"));
    }
}

#[test]
fn a_mount_point_with_a_space_survives_the_round_trip() {
    let row = RetentionRow { mount_point: "/mnt/my retention".to_owned(), ..wanted(Mark::XOption) };
    let table = Fstab::default().with_retention(&row, |_| false).unwrap();
    assert!(table.to_string().contains("/mnt/my\\040retention"));
    let again = Fstab::parse(&table.to_string());
    assert_eq!(again.with_retention(&row, |_| false), Ok(table));
}

proptest! {
    #[test]
    fn what_is_parsed_is_printed(text in "[a-d/=\\\\0-4,# \t\r\né\"'-]*") {
        prop_assert_eq!(Fstab::parse(&text).to_string(), text);
    }

    #[test]
    fn an_edit_is_made_once_and_leaves_the_other_lines(
        before in "([a-d/=\\\\0-4,# \t-]{0,24}\r?\n){0,5}",
        ours in proptest::option::of(
            "UUID=[a-f]{4} /mnt/[a-z]{1,5} ext4 (ro,)?x-mtctl( 0 [0-2])?\n"
        ),
        after in "([a-d/=\\\\0-4,# \t-]{0,24}\n){0,5}",
    ) {
        let text = [&before, ours.as_deref().unwrap_or_default(), &after].concat();
        let once = edited(&text);
        prop_assert_eq!(&edited(&once), &once);
        let is_foreign = |row: &&str| !row.contains("x-mtctl");
        let foreign: String = once.split_inclusive('\n').filter(is_foreign).collect();
        prop_assert_eq!(foreign, [before, after].concat());
        prop_assert_eq!(Fstab::parse(&once).entries().filter(|(_, e)| e.is_ours()).count(), 1);
    }
}
