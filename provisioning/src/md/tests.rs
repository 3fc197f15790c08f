//! The block in mdadm.conf, what conflicts with it, and parsing of arrays.

use super::*;
use proptest::prelude::*;

const UUID: &str = "0a1b2c3d:00000001:00000002:00000003";

const TEXT: &str = "# mdadm.conf\n\
    HOMEHOST <system>\n\
    MAILADDR root # me\n\
    ARRAY /dev/md/0  metadata=1.2\n\
    \x20 UUID=AAAAAAAA:00000001:00000002:00000003 name=mt:0\n\
    arr <ignore> uuid=bbbbbbbb000000010000000200000003\n";

#[test]
fn the_block_turns_automatic_assembly_off_and_names_own_arrays() {
    let own = [UUID.to_owned(), "aaaaaaaa-00000001-00000002-00000003".to_owned()];
    let wanted = format!("{TEXT}# BEGIN mtctl\nAUTO -all\nARRAY UUID={UUID}\n# END mtctl\n");
    assert_eq!(with_auto_off(TEXT, &own).as_deref(), Ok(&*wanted));
    assert_eq!(with_auto_off(&wanted, &own).as_deref(), Ok(&*wanted));
    assert_eq!(marked_block::remove(&wanted).as_deref(), Ok(TEXT));
}

#[test]
fn an_auto_row_of_somebody_else_is_a_conflict_unless_it_says_the_same() {
    for row in ["AUTO +1.x -all", "auto homehost -all", "AUT\n +imsm"] {
        let error = with_auto_off(&format!("# x\n{row}\n"), &[]).unwrap_err();
        let row = row.replace('\n', "");
        assert_eq!(error, AutoError::Conflict { line: 2, row });
    }
    for row in ["AUTO -all\n", "auto  -ALL +1.x", "AUTO\n -all # mine\n"] {
        assert_eq!(with_auto_off(row, &[]).as_deref(), Ok(row));
    }
}

#[test]
fn where_automatic_assembly_is_off_only_missing_arrays_are_named() {
    let text = with_auto_off("AUTO -all\n", &[UUID.to_owned()]).unwrap();
    let wanted = format!("AUTO -all\n# BEGIN mtctl\nARRAY UUID={UUID}\n# END mtctl\n");
    assert_eq!(text, wanted);
}

#[test]
fn what_is_no_uuid_is_refused() {
    for word in ["", "0a1b", "0a1b2c3d:00000001:00000002:0000000g"] {
        let error = with_auto_off("", &[word.to_owned()]).unwrap_err();
        assert_eq!(error, AutoError::Uuid(word.to_owned()));
    }
}

#[test]
fn an_array_that_a_row_names_with_its_continuations_is_not_named_again() {
    let known = "aaaaaaaa:00000001:00000002:00000003".to_owned();
    let forbidden = "bbbbbbbb:00000001:00000002:00000003".to_owned();
    let after = with_auto_off(TEXT, &[known.clone(), forbidden.clone()]).unwrap();
    assert!(!after.contains(&format!("ARRAY UUID={known}")), "{after}");
    assert!(after.contains(&format!("ARRAY UUID={forbidden}")), "{after}");
}

#[test]
fn mdstat_is_read() {
    let text = "Personalities : [raid1] [raid6]\n\
        md0 : active raid1 sdb1[1] sda1[0](W)\n\
        \x20     1046528 blocks super 1.2 [2/1] [U_]\n\
        \x20     [=>...] recovery = 8.5% (89/1046528) finish=0.1min speed=8K/sec\n\n\
        md127 : inactive sdc[0](S) nvme0n1p1[2](S)\n\
        md1 : active (auto-read-only) raid0 vdb[0]\n\
        unused devices: <none>\n";
    let found = parse_mdstat(text);
    let found: Vec<_> = found.iter().map(|array| (array.name.as_str(), array.active)).collect();
    assert_eq!(found, [("md0", true), ("md127", false), ("md1", true)]);
}

proptest! {
    #[test]
    fn no_text_makes_the_readers_panic(text in "(AUTO|arr|md0 : active|[-a #=:\\[\\]()\t\r\né])*") {
        let _ = with_auto_off(&text, &[]);
        let _ = parse_mdstat(&text);
    }

    #[test]
    fn the_block_is_put_once_and_can_be_taken_back(
        text in "((#|DEVICE|ARRAY /dev/md[0-9]|MAILADDR|) ?[a-z]{0,4}( # [a-z]{0,3})?\r?\n){0,5}",
    ) {
        let own = [UUID.to_owned()];
        let once = with_auto_off(&text, &own).unwrap();
        prop_assert_eq!(&with_auto_off(&once, &own).unwrap(), &once);
        prop_assert_eq!(marked_block::remove(&once).unwrap(), text);
    }
}
