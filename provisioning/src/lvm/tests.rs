//! The block in lvmlocal.conf, conflicts with settings of somebody else, and parsing of reports.

use super::configuration::{SyntaxError, settings};
use super::*;
use proptest::prelude::*;

fn own() -> OwnLvm {
    OwnLvm {
        physical_volumes: vec!["/dev/disk/by-id/scsi-36000c29a.b-part2".to_owned()],
        volume_groups: vec!["vg_system".to_owned()],
    }
}

fn guarded(text: &str) -> String {
    with_guard(text, DeviceSelection::Filter, &own()).unwrap()
}

#[test]
fn the_block_accepts_the_hosts_own_and_rejects_the_rest() {
    let text = "# local\nlocal {\n\t# host_id = 0\n}\n";
    let wanted = format!(
        "{text}# BEGIN mtctl\n\
         devices {{\n\tglobal_filter = \
         [ \"a|^/dev/disk/by-id/scsi-36000c29a[.]b-part2$|\", \"r|.*|\" ]\n}}\n\
         activation {{\n\tauto_activation_volume_list = [ \"vg_system\" ]\n}}\n\
         # END mtctl\n"
    );
    assert_eq!(guarded(text), wanted);
    assert_eq!(guarded(&wanted), wanted);
    assert_eq!(marked_block::remove(&wanted).unwrap(), text);
}

#[test]
fn a_host_without_lvm_of_its_own_rejects_and_activates_nothing() {
    let text = with_guard("", DeviceSelection::Filter, &OwnLvm::default()).unwrap();
    let values: Vec<_> = settings(&text).unwrap();
    assert_eq!(values[0].values, ["r|.*|"]);
    assert_eq!(values[1].values, [] as [&str; 0]);
}

#[test]
fn where_the_devices_file_rules_there_is_no_filter() {
    let text = with_guard("", DeviceSelection::DevicesFile, &own()).unwrap();
    let paths: Vec<_> = settings(&text).unwrap();
    let paths: Vec<_> = paths.iter().map(|setting| setting.path.as_str()).collect();
    assert_eq!(paths, ["activation/auto_activation_volume_list"]);
}

#[test]
fn the_same_setting_by_somebody_else_is_a_conflict() {
    for (text, line, setting) in [
        ("devices/global_filter = []\n", 1, FILTER),
        ("a = 1\ndevices {\n global_filter=[\"a|.*|\"]\n}\n", 3, FILTER),
        ("activation { auto_activation_volume_list = x }\n", 1, AUTO_ACTIVATION),
    ] {
        let after = text.to_owned() + &guarded("");
        for text in [text, &after] {
            let conflict = with_guard(text, DeviceSelection::Filter, &own()).unwrap_err();
            let setting = setting.to_owned();
            assert_eq!(conflict, GuardError::Conflict { line, setting }, "{text}");
        }
    }
}

#[test]
fn text_that_is_no_configuration_is_refused() {
    for (text, line, problem) in [
        ("devices {\n", 1, "a section is not closed"),
        ("}\n", 1, "a name expected"),
        ("\na = \"x\n", 2, "a string is not closed"),
        ("a = [ \"x\", \n", 1, "an array is not closed"),
        ("a = [ {\n", 1, "an element expected"),
        ("a b\n", 1, "'=' or '{' expected"),
        ("a =\n", 1, "a value expected"),
        ("a = 'x\n", 1, "a string is not closed"),
        ("a = [ \"x\", , 1 ]\n", 1, "an element expected"),
        ("a = [ b c ]\n", 1, "an element expected"),
        ("a += 1\n", 1, "'=' or '{' expected"),
        ("'' = 1\n", 1, "a name expected"),
        ("a = 1\n\0b = 1\n", 2, "a NUL byte, after which LVM reads no further"),
    ] {
        let wanted = GuardError::Syntax(SyntaxError { line, problem });
        let error = with_guard(text, DeviceSelection::Filter, &own()).unwrap_err();
        assert_eq!(error, wanted, "{text}");
    }
}

#[test]
fn a_block_that_closes_a_section_of_somebody_else_is_refused() {
    let text = "devices {\n# BEGIN mtctl\n}\n# END mtctl\n";
    let error = with_guard(text, DeviceSelection::Filter, &own()).unwrap_err();
    assert!(matches!(error, GuardError::Syntax(_)), "{error}");
}

#[test]
fn names_that_would_break_the_file_are_refused() {
    for path in ["", "sda", "/dev/a|b", "/dev/a\"b", "/dev/a b", "/dev/a[b", "/etc/x"] {
        let own = OwnLvm { physical_volumes: vec![path.to_owned()], ..OwnLvm::default() };
        let error = with_guard("", DeviceSelection::Filter, &own).unwrap_err();
        assert_eq!(error, GuardError::Name(path.to_owned()));
    }
    for name in ["", "a\"b", "a b", "@tag"] {
        let own = OwnLvm { volume_groups: vec![name.to_owned()], ..OwnLvm::default() };
        let error = with_guard("", DeviceSelection::Filter, &own).unwrap_err();
        assert_eq!(error, GuardError::Name(name.to_owned()));
    }
}

#[test]
fn settings_are_found_with_their_values() {
    let text =
        "devices { # {\n\tfilter = [ \"a|x \\\"y\\\\z|\", 'b{}#' ]\n\tscan=1 }\ntop/x = yes\n";
    let found = settings(text).unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|setting| (setting.line, setting.path.as_str(), setting.values.join("+")))
        .collect();
    let wanted = [
        (2, "devices/filter", "a|x \"y\\z|+b{}#".to_owned()),
        (3, "devices/scan", "1".to_owned()),
        (4, "top/x", "yes".to_owned()),
    ];
    assert_eq!(found, wanted);
}

#[test]
fn quotes_of_both_kinds_comments_and_paths_mean_what_they_mean_to_lvm() {
    for (text, path, values) in [
        (include_str!("fixtures/single.conf"), "devices/filter", "a|vda| a|vdb| r|.*|"),
        (include_str!("fixtures/single-hash.conf"), FILTER, "a#^/dev/vda[0-9]*$# r#.*#"),
        (
            include_str!("fixtures/single-braces.conf"),
            "devices/filter",
            "a|^/dev/disk/by-id/scsi-36000c29a| r|/dev/sd[b-z]{1,2}| a|.*|",
        ),
        (include_str!("fixtures/quoted-key.conf"), "devices/use_devicesfile", "0"),
        ("devices#c\n{#d\nfilter#e\n=#f\n'x'#g\n}", "devices/filter", "x"),
        ("//devices//filter=a\\b", "devices/filter", "a\\b"),
        ("\"devices/scan\" = [ \"a\" 'b' , c ]", "devices/scan", "a b c"),
        ("a = 12b = 3", "b", "3"),
        ("a = \"x\"b=-.5.5 = 1", ".5", "1"),
        ("d { f = 'a\\' }", "d/f", "a\\"),
        ("d { f = x\u{a0}y }", "d/f", "x\u{a0}y"),
    ] {
        let found = settings(text).unwrap().into_iter().rfind(|setting| setting.path == path);
        assert_eq!(found.unwrap().values.join(" "), values, "{text}");
    }
}

#[test]
fn bytes_that_are_no_utf_8_stay_in_the_text_around_the_block() {
    let latin = b"# ajout\xE9 le 3 f\xE9vrier\ndevices {\n\tfilter = [ \"a|.*|\" ]\n}\n";
    let text = guarded(&system::lossless_text::from_bytes(&latin[..]));
    assert!(system::lossless_text::to_bytes(&text).starts_with(latin), "{text}");
}

#[test]
fn the_report_of_pvs_is_read() {
    let json = r#"{ "report": [ { "pv": [
        {"pv_name":"/dev/loop0", "vg_name":"", "vg_uuid":""},
        {"pv_name":"/dev/sda2", "vg_name":"vg0", "vg_uuid":"n0Kd"} ] } ] }"#;
    let volumes = parse_physical_volumes(json).unwrap();
    assert_eq!((&*volumes[0].path, &volumes[0].volume_group), ("/dev/loop0", &None));
    let group = VolumeGroup { name: "vg0".into(), uuid: "n0Kd".into() };
    assert_eq!(volumes[1].volume_group, Some(group));
    let none = r#"{"report":[{"pv":[]}],"log":[]}"#;
    assert_eq!(parse_physical_volumes(none).unwrap(), []);
    for broken in ["", "{}", r#"{"report":[{"pv":[{"pv_name":1}]}]}"#] {
        assert!(parse_physical_volumes(broken).is_err(), "{broken}");
    }
}

#[test]
fn a_devices_file_is_read() {
    let text = "# LVM uses devices listed in this file.\nVERSION=1.1.2\n\
        IDTYPE=sys_wwid IDNAME=naa.6000c29a DEVNAME=/dev/sda3 PVID=abc PART=3\n\
        IDTYPE=devname IDNAME=/dev/sdb DEVNAME=/dev/sdb PVID=def\n";
    let listed = parse_devices_file(text);
    let listed: Vec<_> = listed.iter().map(|one| (&*one.id_type, &*one.id_name)).collect();
    assert_eq!(listed, [("sys_wwid", "naa.6000c29a"), ("devname", "/dev/sdb")]);
}

#[test]
fn a_listed_device_is_known_by_whatever_lvm_knows_it_by() {
    let rows = [
        ("IDTYPE=sys_wwid IDNAME=naa.6000c29a", "naa.6000c29a"),
        ("IDTYPE=wwid_naa IDNAME=naa.6000c29a", "naa.6000c29a"),
        ("IDTYPE=sys_wwid IDNAME=t10.ATA_____DISK_1", "t10.ATA     DISK 1"),
        ("IDTYPE=wwid_t10 IDNAME=t10.ATA_DISK_1", "t10.ATA     DISK 1"),
        ("IDTYPE=sys_serial IDNAME=S1_2", "S1 2"),
        ("IDTYPE=mpath_uuid IDNAME=mpath-36000c29a", "mpath-36000c29a"),
        ("IDTYPE=mpath_uuid IDNAME=part2-mpath-36000c29a", "mpath-36000c29a"),
        ("IDTYPE=crypt_uuid IDNAME=CRYPT-LUKS2-1-x", "CRYPT-LUKS2-1-x"),
        ("IDTYPE=lvmlv_uuid IDNAME=LVM-abc", "LVM-abc"),
        ("IDTYPE=md_uuid IDNAME=1:2:3:4", "1:2:3:4"),
        ("IDTYPE=loop_file IDNAME=/srv/disk.img", "/srv/disk.img"),
        ("IDTYPE=devname IDNAME=/dev/sdc1 PART=1", "/dev/sdc1"),
        ("IDTYPE=nvme_uuid IDNAME=uuid.1-2", "uuid.1-2"),
        ("IDTYPE=sys_wwid IDNAME=. DEVNAME=/dev/sdc", "/dev/sdc"),
        ("IDTYPE=devname DEVNAME=/dev/sdc", "/dev/sdc"),
    ];
    for (row, name) in rows {
        let [listed] = &parse_devices_file(row)[..] else { panic!("{row}") };
        assert!(listed.is_one_of(&["other".into(), name.into()]), "{row}");
        assert!(!listed.is_one_of(&["other".into()]), "{row}");
    }
    let moved = "IDTYPE=sys_wwid IDNAME=naa.1 DEVNAME=/dev/sdc";
    assert!(!parse_devices_file(moved)[0].is_one_of(&["/dev/sdc".into()]), "the id counts");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[ab={}\\[\\],#\"'\\\\ \r\n\0é/0-9.+-]*") {
        let _ = settings(&text);
        let _ = with_guard(&text, DeviceSelection::Filter, &own());
    }

    #[test]
    fn the_block_is_put_once_and_can_be_taken_back(
        text in "((local|x) \\{\n(\t# [a-z{}]{0,5}\r?\n|\ty = \"[a-z ]{0,4}\"\n){0,3}\\}\n){0,3}",
    ) {
        let once = guarded(&text);
        prop_assert_eq!(&guarded(&once), &once);
        prop_assert_eq!(marked_block::remove(&once).unwrap(), text);
    }
}
