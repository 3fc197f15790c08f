//! disk.EnableUUID in every spelling, and every other byte kept around the row that is changed.

use proptest::prelude::*;

use super::super::dictionary::tests::likely_rows;
use super::*;

fn fixed(text: &str) -> Option<String> {
    let vmx = parse(text.as_bytes()).unwrap();
    vmx.with_enable_uuid().map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn every_spelling_of_true_is_on_and_nothing_else_is() {
    let cases = [
        ("disk.EnableUUID = \"TRUE\"", EnableUuid::On),
        ("disk.enableUUID = \"true\"", EnableUuid::On),
        ("DISK.ENABLEUUID=\"True\"", EnableUuid::On),
        ("disk.EnableUUID = \"1\"", EnableUuid::On),
        ("disk.EnableUUID = TRUE", EnableUuid::On),
        ("disk.EnableUUID = \"|54RUE\"", EnableUuid::On),
        ("disk.EnableUUID = \"FALSE\"", EnableUuid::Off("FALSE".into())),
        ("disk.EnableUUID = \"0\"", EnableUuid::Off("0".into())),
        ("disk.EnableUUID = \"\"", EnableUuid::Off(String::new())),
        ("disk.EnableUUID = \" TRUE \"", EnableUuid::Off(" TRUE ".into())),
        ("disk.EnableUUID.x = \"TRUE\"", EnableUuid::Absent),
        ("#disk.EnableUUID = \"TRUE\"\na = 1", EnableUuid::Absent),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text.as_bytes()).unwrap().enable_uuid(), expected, "{text}");
    }
}

#[test]
fn a_file_that_is_on_already_needs_no_edit() {
    assert_eq!(fixed("a = \"b\"\ndisk.enableUUID = \"true\"\n"), None);
}

#[test]
fn a_row_that_is_off_is_rewritten_where_it_stands_and_keeps_its_comment() {
    let before = "a = \"b\"\r\n  DISK.EnableUUID=\"false\"\t# for backup\r\nc = \"d\"\r\n";
    let after = "a = \"b\"\r\n  disk.EnableUUID = \"TRUE\"\t# for backup\r\nc = \"d\"\r\n";
    assert_eq!(fixed(before).as_deref(), Some(after));
}

#[test]
fn a_missing_row_is_added_at_the_end_with_the_line_ending_of_the_file() {
    let cases = [
        ("a = \"b\"\n", "a = \"b\"\ndisk.EnableUUID = \"TRUE\"\n"),
        ("a = \"b\"\r\n", "a = \"b\"\r\ndisk.EnableUUID = \"TRUE\"\r\n"),
        ("a = \"b\"", "a = \"b\"\ndisk.EnableUUID = \"TRUE\"\n"),
        ("a = \"b\"\r\nc = 1", "a = \"b\"\r\nc = 1\r\ndisk.EnableUUID = \"TRUE\"\r\n"),
    ];
    for (before, after) in cases {
        assert_eq!(fixed(before).as_deref(), Some(after), "{before:?}");
    }
}

#[test]
fn several_rows_become_one_at_the_place_of_the_first() {
    let before = "disk.enableuuid = \"TRUE\"\na = \"b\"\ndisk.EnableUUID = \"TRUE\"\n\
                  disk.EnableUUID = \"FALSE\" # why\nc = \"d\"\n";
    let after = "disk.EnableUUID = \"TRUE\"\na = \"b\"\n # why\nc = \"d\"\n";
    assert_eq!(fixed(before).as_deref(), Some(after));
}

#[test]
fn bytes_of_another_encoding_survive_an_edit() {
    let before = b".encoding = \"windows-1252\"\ndisplayName = \"B\xFCro \x80\"\n".to_vec();
    let vmx = parse(&before).unwrap();
    assert_eq!(vmx.text("displayname").as_deref(), Some("Büro €"));
    let after = vmx.with_enable_uuid().unwrap();
    assert_eq!(after, [&before[..], CANONICAL_ROW, b"\n"].concat());
}

#[test]
fn text_in_an_encoding_that_is_not_known_still_reads() {
    let named = |encoding: &str| {
        let vmx = [b".encoding = \"", encoding.as_bytes(), b"\"\nname = \"\xD6\xD0\"\n"].concat();
        system::lossless_text::to_bytes(&parse(&vmx).unwrap().text("NAME").unwrap())
    };
    assert_eq!(named("GBK"), "中".as_bytes());
    assert_eq!(named("x-none"), b"\xD6\xD0");
}

#[test]
fn keys_set_more_than_once_are_named_with_their_lines() {
    let text = ".encoding = \"UTF-8\"\n.encoding = \"UTF-8\"\nmsg.autoanswer = \"true\"\n\
                a = 1\nmsg.autoAnswer = \"true\"\n";
    let duplicates = parse(text.as_bytes()).unwrap().duplicate_keys();
    let expected = DuplicateKey { key: "msg.autoanswer".into(), lines: vec![3, 5] };
    assert_eq!(duplicates, [expected]);
}

#[test]
fn settings_inside_an_encrypted_row_are_known_to_be_out_of_sight() {
    let cases = [
        ("encryption.keySafe = \"k\"\nencryption.data = \"d\"\n", true),
        ("encryption.type = \"partial\"\nencryption.data = \"d\"\n", false),
        ("vmx.encryptionType = \"Partial\"\nencryption.data = \"d\"\n", false),
        ("vmx.encryptionType = \"full\"\nencryption.data = \"d\"\n", true),
        ("encryption.keySafe = \"k\"\n", false),
        ("a = \"b\"\n", false),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text.as_bytes()).unwrap().is_encrypted(), expected, "{text}");
    }
}

#[test]
fn a_file_that_sets_nothing_is_refused() {
    for bytes in [&b""[..], b"\n", b"#!/usr/bin/vmware\n", b"\xEF\xBB\xBF"] {
        assert_eq!(parse(bytes), Err(VmxError::Empty));
    }
}

/// The rows with other keys, as bytes.
fn other_rows(bytes: &[u8]) -> Vec<Vec<u8>> {
    let vmx = parse(bytes).unwrap();
    let others = vmx.dictionary.rows.iter().filter(|row| !sets_enable_uuid(row));
    let text = others.map(|row| {
        let mut out = row.before.to_vec();
        out.extend_from_slice(row.assignment.map_or(b"", |assignment| assignment.text));
        out.extend_from_slice(row.after);
        out
    });
    text.filter(|text| !text.is_empty()).collect()
}

proptest! {
    #[test]
    fn after_an_edit_it_is_on_in_one_row_and_a_second_edit_changes_nothing(bytes in likely_rows()) {
        let Ok(vmx) = parse(&bytes) else { return Ok(()) };
        let Some(after) = vmx.with_enable_uuid() else {
            prop_assert_eq!(vmx.enable_uuid(), EnableUuid::On);
            prop_assert_eq!(vmx.enable_uuid_rows().count(), 1);
            return Ok(());
        };
        let again = parse(&after).unwrap();
        prop_assert_eq!(again.enable_uuid(), EnableUuid::On);
        prop_assert_eq!(again.enable_uuid_rows().count(), 1);
        prop_assert_eq!(again.with_enable_uuid(), None);
    }

    #[test]
    fn an_edit_leaves_every_other_row_and_every_comment_as_it_is(bytes in likely_rows()) {
        let Ok(vmx) = parse(&bytes) else { return Ok(()) };
        let Some(after) = vmx.with_enable_uuid() else { return Ok(()) };
        let kept: Vec<_> = other_rows(&after);
        let mut remaining = kept.iter();
        for row in other_rows(&bytes) {
            prop_assert!(remaining.any(|kept| *kept == row), "{row:?} is gone from {after:?}");
        }
        let comments = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'#').count();
        prop_assert_eq!(comments(&bytes), comments(&after));
    }
}
