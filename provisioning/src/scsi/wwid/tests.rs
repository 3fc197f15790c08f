//! Every form an operator may paste, what is refused, and that parsing reverses printing.

use system::error::ErrorKind;

use proptest::prelude::*;

use super::*;

const VMWARE: &str = "naa.6000c293e4b5a1b2c3d4e5f60718293a";

fn read(text: &str) -> String {
    Wwid::parse_operator(text).unwrap_or_else(|error| panic!("{error}")).to_string()
}

fn refusal(text: &str) -> String {
    let error = Wwid::parse_operator(text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.hint().is_some());
    error.to_string()
}

#[test]
fn every_way_to_write_one_vmware_disk_reads_as_one_identity() {
    for text in [
        VMWARE,
        "NAA.6000C293E4B5A1B2C3D4E5F60718293A",
        "6000c293e4b5a1b2c3d4e5f60718293a",
        "0x6000c293e4b5a1b2c3d4e5f60718293a",
        "0X6000C293e4b5a1b2c3d4e5f60718293a",
        "wwn-0x6000c293e4b5a1b2c3d4e5f60718293a",
        "36000c293e4b5a1b2c3d4e5f60718293a",
        "36000C293E4B5A1B2C3D4E5F60718293A",
        "scsi-36000c293e4b5a1b2c3d4e5f60718293a",
        "/dev/disk/by-id/wwn-0x6000c293e4b5a1b2c3d4e5f60718293a",
        "/dev/disk/by-id/scsi-36000c293e4b5a1b2c3d4e5f60718293a",
        "/dev/disk/by-id/dm-uuid-mpath-36000c293e4b5a1b2c3d4e5f60718293a",
        "/dev/mapper/36000c293e4b5a1b2c3d4e5f60718293a",
        "60 00 C2 93 e4 b5 a1 b2-c3 d4 e5 f6 07 18 29 3a",
        "\"60 00 c2 93 e4 b5 a1 b2-c3 d4 e5 f6 07 18 29 3a\"",
        "6000C293-e4b5-a1b2-c3d4-e5f60718293a",
        "scsi-8naa.6000c293e4b5a1b2c3d4e5f60718293a",
        "  naa.6000c293e4b5a1b2c3d4e5f60718293a\n",
    ] {
        assert_eq!(read(text), VMWARE, "{text:?}");
    }
}

#[test]
fn every_other_form_reads_as_its_canonical_one() {
    for (text, expected) in [
        ("0x5000C29000000001", "naa.5000c29000000001"),
        ("35000c29000000001", "naa.5000c29000000001"),
        ("333333330000007d0", "naa.33333330000007d0"),
        ("scsi-22222222222222222", "eui.2222222222222222"),
        ("2abababababababababababab", "eui.abababababababababababab"),
        ("nvme-eui.0025385B11B00001", "eui.0025385b11b00001"),
        ("/dev/disk/by-id/nvme-eui.0025385b11b00001", "eui.0025385b11b00001"),
        ("uuid.6BA7B810-9dad-11d1-80b4-00c04fd430c8", "uuid.6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        ("t10.VMware  Virtual disk 2000 ", "t10.VMware_Virtual_disk_2000"),
        ("scsi-1VMware_Virtual_disk:3e4b", "t10.VMware_Virtual_disk:3e4b"),
        ("scsi-SATA_QEMU_HARDDISK_QM1", "serial.ATA_QEMU_HARDDISK_QM1"),
        ("serial.VMware_Virtual_disk_beaf", "serial.VMware_Virtual_disk_beaf"),
        ("IQN.2026-11.Test:VM", "iqn.2026-11.test:vm"),
        ("scsi-8iqn.2026-11.test:vm", "iqn.2026-11.test:vm"),
        ("nvme.15ad-564D-01-00000001", "nvme.15ad-564d-01-00000001"),
    ] {
        assert_eq!(read(text), expected, "{text:?}");
    }
}

#[test]
fn garbage_is_refused_with_what_is_wrong_with_it() {
    let long = "a".repeat(600);
    for (text, reason) in [
        ("", "it is empty"),
        ("  \"\" ", "it is empty"),
        (long.as_str(), "it is longer than any identity"),
        ("/dev/sdb", "it is in no known form"),
        ("sdb", "it is in no known form"),
        ("0:0:1:0", "it is in no known form"),
        ("VMware_Virtual_disk", "it is in no known form"),
        ("scsi-9abc", "it is in no known form"),
        ("scsi-", "it is in no known form"),
        ("wwn-6000c293", "it is in no known form"),
        ("naa.", operator::BAD_NAA),
        ("/dev/mapper/", operator::BAD_NAA),
        ("naa.6000c293e4b5a1b2", operator::BAD_NAA),
        ("naa.5000c293e4b5a1b2c3d4e5f60718293a", operator::BAD_NAA),
        ("naa.1000c293e4b5a1b2", operator::BAD_NAA),
        ("naa.6000c293e4b5a1b2c3d4e5f60718293g", operator::BAD_NAA),
        ("naa.6000c293e4b5a1b2c3d4e5f60718293", operator::BAD_NAA),
        ("0x1234", operator::BAD_NAA),
        ("0x6000c293é", operator::BAD_NAA),
        ("eui.12345", operator::BAD_EUI64),
        ("uuid.6ba7b8109dad11d180b400c04fd430c8", operator::BAD_UUID),
        ("t10.  ", operator::BAD_TEXT),
        ("t10.a\tb", operator::BAD_TEXT),
        ("scsi-8mac.1234", operator::BAD_NAME),
        ("scsi-0VMware_Virtual_disk_d1", operator::SHARED),
        ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", operator::FOREIGN_GROUPS),
        ("wwn-0x5000c29000000001-part1", operator::PARTITION),
        ("/dev/disk/by-id/scsi-SVMware_Virtual_disk_1-part12", operator::PARTITION),
    ] {
        let message = refusal(text);
        assert!(message.ends_with(&format!(": {reason}")), "{text:?}: {message}");
    }
}

#[test]
fn a_refusal_quotes_the_text_but_not_all_of_a_long_one() {
    assert_eq!(refusal("sdb"), "reading \"sdb\" as a disk identity: it is in no known form");
    assert!(refusal(&"a".repeat(100_000)).len() < 200);
}

#[test]
fn the_udev_form_is_the_designators_type_and_its_text() {
    for (text, expected) in [
        (VMWARE, Some("36000c293e4b5a1b2c3d4e5f60718293a")),
        ("eui.0025385b11b00001", Some("20025385b11b00001")),
        ("t10.VMware_Virtual*disk:3e4b", Some("1VMware_Virtual_disk:3e4b")),
        ("iqn.2026-11.test:vm", Some("8iqn.2026-11.test:vm")),
        ("serial.IET_VIRTUAL-DISK_beaf12", Some("SIET_VIRTUAL-DISK_beaf12")),
        ("uuid.6ba7b810-9dad-11d1-80b4-00c04fd430c8", None),
        ("nvme.15ad-564d-01-00000001", None),
    ] {
        let wwid = Wwid::parse_operator(text).unwrap();
        assert_eq!(wwid.scsi_id_text().as_deref(), expected, "{text}");
    }
}

#[test]
fn a_t10_designator_with_only_a_vendor_or_unprintable_bytes_names_nothing() {
    for bytes in
        [&b""[..], b"VENDOR", b"VENDOR  ", b"VENDOR  \0 \0", b"VENDOR  a\x01", b"VE\0DOR  a"]
    {
        assert_eq!(Wwid::from_t10(bytes), None, "{bytes:?}");
    }
    let found = Wwid::from_t10(b"IET     00010002\0\0\0\0").unwrap();
    assert_eq!(found.as_str(), "t10.IET_00010002");
}

#[test]
fn a_scsi_name_that_holds_an_naa_or_eui_reads_as_the_same_identity() {
    let name = Wwid::from_scsi_name("naa.6000C293E4B5A1B2C3D4E5F60718293A").unwrap();
    assert_eq!(name.as_str(), VMWARE);
    let name = Wwid::from_scsi_name("eui.0025385B11B00001").unwrap();
    assert_eq!(name.as_str(), "eui.0025385b11b00001");
    for text in ["", "naa", "naa.", "naa.50", "mac.1", "t10.a", "iqn.", "NAA.5000c29000000001"] {
        assert_eq!(Wwid::from_scsi_name(text), None, "{text}");
    }
}

#[test]
fn a_serial_number_names_a_disk_only_with_something_in_it() {
    assert_eq!(Wwid::from_unit_serial("VMware", "Virtual disk", "  \0"), None);
    assert_eq!(Wwid::from_unit_serial("VMware", "Virtual disk", "a\u{e9}"), None);
    assert_eq!(Wwid::from_unit_serial("VMware", "Virtual disk", &"a".repeat(600)), None);
    let found = Wwid::from_unit_serial("VMware  ", "Virtual disk    ", "   abc").unwrap();
    assert_eq!(found.as_str(), "serial.VMware_Virtual_disk_abc");
    let found = Wwid::from_unit_serial("", "", "abc").unwrap();
    assert_eq!(found.as_str(), "serial.abc");
}

#[test]
fn serde_writes_the_text_and_reads_it_back_and_refuses_garbage() {
    let wwid = Wwid::parse_operator(VMWARE).unwrap();
    let json = serde_json::to_string(&wwid).unwrap();
    assert_eq!(json, format!("\"{VMWARE}\""));
    assert_eq!(serde_json::from_str::<Wwid>(&json).unwrap(), wwid);
    assert!(serde_json::from_str::<Wwid>("\"sdb\"").is_err());
}

#[test]
fn display_obeys_the_width_of_a_table() {
    let wwid = Wwid::parse_operator("0x5000c29000000001").unwrap();
    assert_eq!(format!("{wwid:22}|"), "naa.5000c29000000001  |");
}

proptest! {
    #[test]
    fn what_is_read_is_canonical(text in "\\PC{0,60}") {
        if let Ok(wwid) = Wwid::parse_operator(&text) {
            prop_assert_eq!(&Wwid::parse_operator(wwid.as_str()).unwrap(), &wwid);
        }
    }

    #[test]
    fn what_is_read_after_a_scheme_is_canonical(
        scheme in prop::sample::select(vec!["t10", "serial", "iqn", "nvme"]),
        rest in "[ -~]{0,60}",
    ) {
        if let Ok(wwid) = Wwid::parse_operator(&format!("{scheme}.{rest}")) {
            prop_assert_eq!(&Wwid::parse_operator(wwid.as_str()).unwrap(), &wwid);
            prop_assert!(!wwid.as_str().contains(' '));
        }
    }

    #[test]
    fn the_udev_link_of_an_naa_identity_reads_back(first in "[235]", rest in "[0-9a-f]{15}") {
        let wwid = Wwid::parse_operator(&format!("naa.{first}{rest}")).unwrap();
        let udev = wwid.scsi_id_text().unwrap();
        for text in [format!("/dev/disk/by-id/scsi-{udev}"), udev] {
            prop_assert_eq!(&Wwid::parse_operator(&text).unwrap(), &wwid);
        }
    }
}
