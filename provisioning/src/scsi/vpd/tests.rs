//! Pages of real devices, every kind of malformed page, and random pages.

use proptest::prelude::*;

use super::super::designator::{Association, CodeSet, Identifier};
use super::super::recorded::{CUT_NAA_6, RECORDED, bytes};
use super::super::world_wide_name::{Eui64, Naa};
use super::*;

/// A page 0x83 with this content.
fn page(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[0, DEVICE_IDENTIFICATION], &length[..], content].concat()
}

/// The only fault of the page.
fn fault(content: &[u8]) -> VpdError {
    let page = VpdPage83::parse(&page(content)).unwrap();
    let [fault] = page.faults() else { panic!("{:?}", page.faults()) };
    fault.clone()
}

fn wwid(bytes: &[u8]) -> Option<String> {
    let page = VpdPage83::parse(bytes).unwrap();
    page.identity().map(|(_, wwid)| wwid.to_string())
}

fn serial(field: &[u8]) -> Result<Option<String>, VpdError> {
    let length = u16::try_from(field.len()).unwrap().to_be_bytes();
    let page = [&[0, UNIT_SERIAL_NUMBER], &length[..], field].concat();
    VpdPage80::parse(&page).map(|page| page.serial().map(str::to_owned))
}

#[test]
fn each_recorded_page_gives_the_identity_that_linux_gave_it() {
    for recorded in RECORDED {
        let page = VpdPage83::parse(&bytes(recorded.page83)).unwrap();
        let found = page.identity().map(|(_, wwid)| wwid);
        let text = found.as_ref().map(Wwid::as_str);
        assert_eq!(text, recorded.kernel_wwid, "{}", recorded.device);
        let scsi_id = found.and_then(|wwid| wwid.scsi_id_text());
        assert_eq!(scsi_id.as_deref(), recorded.scsi_id, "{}", recorded.device);
    }
}

#[test]
fn each_recorded_serial_page_gives_what_scsi_id_gave_it() {
    for recorded in RECORDED {
        let Some(page80) = recorded.page80 else {
            continue;
        };
        let page = VpdPage80::parse(&bytes(page80)).unwrap();
        let (vendor, model) = recorded.vendor_model;
        let serial = page.serial().unwrap();
        let found = Wwid::from_unit_serial(vendor, model, serial).unwrap();
        assert_eq!(found.scsi_id_text().as_deref(), recorded.scsi_id_page80, "{}", recorded.device);
    }
}

#[test]
fn the_page_of_lio_keeps_what_belongs_to_port_and_device_apart() {
    let recorded = RECORDED.iter().find(|it| it.device.starts_with("LIO")).unwrap();
    let page = VpdPage83::parse(&bytes(recorded.page83)).unwrap();
    let kinds: Vec<_> = page
        .designators()
        .iter()
        .map(|it| (it.association, it.protocol, it.identifier.kind()))
        .collect();
    assert_eq!(
        kinds,
        [
            (Association::LogicalUnit, None, "NAA 6"),
            (Association::LogicalUnit, None, "T10 vendor identification"),
            (Association::TargetPort, Some(6), "relative target port"),
            (Association::TargetPort, Some(6), "target port group"),
            (Association::LogicalUnit, None, "logical unit group"),
            (Association::TargetPort, Some(6), "SCSI name string"),
            (Association::TargetDevice, Some(6), "SCSI name string"),
        ]
    );
}

#[test]
fn an_naa_6_cut_to_eight_bytes_is_told_as_a_wrong_length() {
    let page = VpdPage83::parse(&bytes(CUT_NAA_6)).unwrap();
    let [error] = page.faults() else { panic!("{:?}", page.faults()) };
    assert_eq!(
        *error,
        VpdError::Designator {
            offset: 40,
            fault: DesignatorFault::Length { kind: "NAA 6 designator", found: 8, allowed: "16" },
        }
    );
    assert_eq!((page.designators().len(), page.identity()), (1, None));
    assert_eq!(
        error.to_string(),
        "the designator at byte 40 is malformed: \
         NAA 6 designator of 8 bytes, where the standard has 16"
    );
}

#[test]
fn a_page_without_designators_is_well_formed_and_gives_no_identity() {
    assert_eq!(VpdPage83::parse(&page(&[])).unwrap().designators(), []);
    assert_eq!(wwid(&page(&[])), None);
}

#[test]
fn bytes_after_the_page_are_not_part_of_it() {
    let mut bytes = bytes(RECORDED[0].page83);
    let alone = VpdPage83::parse(&bytes);
    bytes.extend([0; 200]);
    assert_eq!(VpdPage83::parse(&bytes), alone);
}

#[test]
fn each_malformed_frame_has_its_own_error() {
    let wrong_page = VpdError::WrongPage { expected: 0x83, found: 0x80 };
    let cases: [(&[u8], VpdError); 3] = [
        (&[], VpdError::ShortHeader { available: 0 }),
        (&[0, 0x83, 0], VpdError::ShortHeader { available: 3 }),
        (&[0, 0x80, 0, 0], wrong_page),
    ];
    for (bytes, expected) in cases {
        assert_eq!(VpdPage83::parse(bytes), Err(expected), "{bytes:?}");
    }
    let cases: [(&[u8], VpdError); 3] = [
        (&[0, 0x83, 0, 5, 1, 0, 0, 0], VpdError::PageLength { declared: 5, available: 4 }),
        (&[0, 0x83, 0, 3, 1, 0, 0], VpdError::DesignatorHeader { offset: 4 }),
        (
            &[0, 0x83, 0, 5, 2, 0, 0, 2, 0x41],
            VpdError::DesignatorOverrun { offset: 4, declared: 2, available: 1 },
        ),
    ];
    for (bytes, expected) in cases {
        assert!(expected.hides_the_rest());
        assert_eq!(VpdPage83::parse(bytes).unwrap().faults(), [expected], "{bytes:?}");
    }
}

/// A valid NAA 3 designator of a logical unit, and its name.
const NAA_3: [u8; 12] = [1, 3, 0, 8, 0x30, 0x44, 0x56, 0x41, 0x98, 0x83, 0x50, 0];
const NAA_3_TEXT: &str = "naa.3044564198835000";

#[test]
fn a_fault_inside_one_designator_leaves_the_others_as_they_are() {
    let rows: [(&str, &[u8]); 10] = [
        ("NAA of zeros", b"\x01\x03\0\x08\0\0\0\0\0\0\0\0"),
        ("NAA of an unknown format", b"\x01\x03\0\x08\x40\0\0\0\0\0\0\x01"),
        ("NAA without a byte", b"\x01\x03\0\0"),
        ("EUI-64 of zeros", b"\x01\x02\0\x08\0\0\0\0\0\0\0\0"),
        ("EUI-64 of nine bytes", b"\x01\x02\0\x09123456789"),
        ("short T10", b"\x02\x01\0\x03ATA"),
        ("T10 of blanks", b"\x02\x01\0\x0a          "),
        ("MD5 of four bytes", b"\x01\x07\0\x041234"),
        ("the name of a target that is not ended", b"\x63\xa8\0\x04naa."),
        ("a name that is not UTF-8", b"\x03\x08\0\x04\xff\xfe\xfd\0"),
    ];
    for (what, bad) in rows {
        for both in [[bad, &NAA_3].concat(), [&NAA_3, bad].concat()] {
            let found = VpdPage83::parse(&page(&both)).unwrap();
            let named = found.identity().map(|(_, wwid)| wwid.to_string());
            assert_eq!(named.as_deref(), Some(NAA_3_TEXT), "{what}");
            assert_eq!(found.faults().len(), 1, "{what}");
            assert!(!found.faults()[0].hides_the_rest(), "{what}");
        }
    }
}

#[test]
fn what_stands_before_a_length_that_hides_the_rest_counts() {
    let naa_6 = [&[1, 3, 0, 16][..], &[0x66; 16]].concat();
    let beyond = [2, 0, 0, 200, 0x41];
    let hidden = VpdPage83::parse(&page(&[&NAA_3[..], &beyond, &naa_6].concat())).unwrap();
    assert_eq!(hidden.identity().unwrap().1.as_str(), NAA_3_TEXT);
    assert!(hidden.faults()[0].hides_the_rest());
    // A page that was cut off in its last designator.
    let whole = page(&[&NAA_3[..], &naa_6].concat());
    let cut = VpdPage83::parse(&whole[..whole.len() - 3]).unwrap();
    assert_eq!(cut.identity().unwrap().1.as_str(), NAA_3_TEXT);
    assert_eq!(cut.faults(), [VpdError::PageLength { declared: 32, available: 29 }]);
}

#[test]
fn a_designator_that_reaches_into_its_neighbour_is_told() {
    let first = [&[1, 3, 0, 12, 0x50][..], &[1; 7]].concat();
    let second = [&[1, 4, 0, 4][..], &[0, 0, 0, 1]].concat();
    let overlapping = VpdPage83::parse(&page(&[first, second].concat())).unwrap();
    assert!(matches!(
        overlapping.faults()[0],
        VpdError::Designator { offset: 4, fault: DesignatorFault::Length { found: 12, .. } }
    ));
    // Vendor specific bytes may have any length: a wrong length then shows in the next header.
    let first = [2, 0, 0, 6, 0x41, 0x41];
    let second = [1, 4, 0, 4, 0, 0, 0, 1];
    assert_eq!(
        fault(&[&first[..], &second].concat()),
        VpdError::DesignatorOverrun { offset: 14, declared: 1, available: 0 }
    );
}

/// A designator of the logical unit for each preference, best first, with its identity.
fn ladder() -> Vec<(Vec<u8>, &'static str)> {
    let designator = |code_set: u8, type_code: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).unwrap();
        [&[code_set, type_code, 0, length], bytes].concat()
    };
    let eui = |length: usize| designator(1, 2, &vec![0xab; length]);
    let naa = |first: u8, length: usize| designator(1, 3, &vec![first; length]);
    vec![
        (naa(0x66, 16), "naa.66666666666666666666666666666666"),
        (naa(0x55, 8), "naa.5555555555555555"),
        (naa(0x22, 8), "naa.2222222222222222"),
        (eui(16), "eui.abababababababababababababababab"),
        (eui(12), "eui.abababababababababababab"),
        (eui(8), "eui.abababababababab"),
        (designator(3, 8, b"iqn.2026-11.Test:A\0\0"), "iqn.2026-11.test:a"),
        (designator(1, 0xa, &[0x11; 18]), "uuid.11111111-1111-1111-1111-111111111111"),
        (naa(0x33, 8), "naa.3333333333333333"),
        (designator(2, 1, b"VENDOR  a b"), "t10.VENDOR_a_b"),
    ]
}

#[test]
fn the_better_of_two_designators_names_the_logical_unit_in_either_order() {
    let ladder = ladder();
    for (rank, (better, expected)) in ladder.iter().enumerate() {
        assert_eq!(wwid(&page(better)).as_deref(), Some(*expected));
        for (worse, _) in &ladder[rank + 1..] {
            for both in [[&better[..], worse].concat(), [&worse[..], better].concat()] {
                assert_eq!(wwid(&page(&both)).as_deref(), Some(*expected));
            }
        }
    }
}

#[test]
fn of_two_equal_designators_the_first_names_the_logical_unit() {
    let registered = |last: u8| [1, 3, 0, 8, 0x50, 0, 0, 0, 0, 0, 0, last];
    let both = [registered(1), registered(2)].concat();
    assert_eq!(wwid(&page(&both)).as_deref(), Some("naa.5000000000000001"));
}

#[test]
fn a_designator_that_gives_no_text_leaves_the_choice_to_the_next() {
    let foreign_name = b"\x03\x08\0\x04abc\0";
    let t10 = b"\x02\x01\0\x0aVENDOR  42";
    let both = [&foreign_name[..], t10].concat();
    assert_eq!(wwid(&page(&both)).as_deref(), Some("t10.VENDOR_42"));
    assert_eq!(wwid(&page(foreign_name)), None);
}

#[test]
fn names_of_ports_and_devices_never_name_the_disk() {
    for association in [0x10, 0x20, 0x30] {
        let naa = [1, association | 3, 0, 8, 0x50, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(wwid(&page(&naa)), None);
    }
}

#[test]
fn a_serial_number_loses_its_padding_and_a_blank_one_is_none() {
    let cases: [(&[u8], Option<&str>); 8] = [
        (b"abc", Some("abc")),
        (b"   abc", Some("abc")),
        (b"abc\0", Some("abc")),
        (b" \0abc \0 ", Some("abc")),
        (b"a b~!", Some("a b~!")),
        (b"", None),
        (b"    ", None),
        (b"\0\0 \0", None),
    ];
    for (field, expected) in cases {
        assert_eq!(serial(field), Ok(expected.map(str::to_owned)), "{field:?}");
    }
}

#[test]
fn a_serial_number_with_a_byte_that_does_not_print_is_refused() {
    for (byte, field) in [(0, b"a\0b"), (0x1f, b"a\x1fb"), (0x7f, b"a\x7fb"), (0x80, b"a\x80b")] {
        assert_eq!(serial(field), Err(VpdError::SerialByte { offset: 5, byte }));
    }
    assert_eq!(serial(b"  \n "), Err(VpdError::SerialByte { offset: 6, byte: 10 }));
}

#[test]
fn each_malformed_serial_page_has_its_own_error() {
    let wrong_page = VpdError::WrongPage { expected: 0x80, found: 0x83 };
    let cut = VpdError::PageLength { declared: 2, available: 1 };
    assert_eq!(VpdPage80::parse(&[0, 0x80]), Err(VpdError::ShortHeader { available: 2 }));
    assert_eq!(VpdPage80::parse(&[0, 0x83, 0, 0]), Err(wrong_page));
    assert_eq!(VpdPage80::parse(&[0, 0x80, 0, 2, 0x41]), Err(cut));
}

/// The bytes of a designator according to the standard.
fn encode(designator: &Designator) -> Vec<u8> {
    let code_set = match designator.code_set {
        CodeSet::Binary => 1,
        CodeSet::Ascii => 2,
        CodeSet::Utf8 => 3,
        CodeSet::Reserved(bits) => bits,
    };
    let association = match designator.association {
        Association::LogicalUnit => 0,
        Association::TargetPort => 1,
        Association::TargetDevice => 2,
        Association::Reserved => 3,
    };
    let (type_code, bytes) = encode_identifier(&designator.identifier);
    let (valid, protocol) = designator.protocol.map_or((0, 0), |protocol| (0x80, protocol));
    let header = [
        protocol << 4 | code_set,
        valid | association << 4 | type_code,
        0,
        u8::try_from(bytes.len()).unwrap(),
    ];
    [&header[..], &bytes].concat()
}

fn encode_identifier(identifier: &Identifier) -> (u8, Vec<u8>) {
    let number = |number: &u16| [&[0, 0], &number.to_be_bytes()[..]].concat();
    match identifier {
        Identifier::VendorSpecific(bytes) => (0, bytes.clone()),
        Identifier::T10Vendor(bytes) => (1, bytes.clone()),
        Identifier::Eui64(eui) => (2, eui.as_bytes().to_vec()),
        Identifier::Naa(naa) => (3, naa.as_bytes().to_vec()),
        Identifier::RelativeTargetPort(value) => (4, number(value)),
        Identifier::TargetPortGroup(value) => (5, number(value)),
        Identifier::LogicalUnitGroup(value) => (6, number(value)),
        Identifier::Md5(bytes) => (7, bytes.to_vec()),
        Identifier::ScsiName(name) => {
            let mut bytes = name.clone().into_bytes();
            bytes.resize((name.len() / 4 + 1) * 4, 0);
            (8, bytes)
        }
        Identifier::ProtocolSpecificPort(bytes) => (9, bytes.clone()),
        Identifier::Uuid(bytes) => (0xa, [&[0x10, 0], &bytes[..]].concat()),
        Identifier::Opaque { type_code, bytes } => (*type_code, bytes.clone()),
    }
}

fn any_bytes(length: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), length)
}

fn any_naa() -> impl Strategy<Value = Naa> {
    (prop::sample::select(vec![2_u8, 3, 5, 6]), any::<[u8; 16]>()).prop_map(|(value, mut bytes)| {
        bytes[0] = value << 4 | bytes[0] & 0xf;
        let length = if value == 6 { 16 } else { 8 };
        Naa::from_bytes(&bytes[..length]).unwrap()
    })
}

fn any_eui() -> impl Strategy<Value = Eui64> {
    (prop::sample::select(vec![8_usize, 12, 16]), any::<[u8; 16]>())
        .prop_map(|(length, bytes)| Eui64::from_bytes(&bytes[..length]).unwrap())
}

/// Identifiers with a code set that the standard allows for them.
fn any_identifier() -> impl Strategy<Value = (CodeSet, Identifier)> {
    let binary = prop_oneof![
        any_naa().prop_map(Identifier::Naa),
        any_eui().prop_map(Identifier::Eui64),
        any::<u16>().prop_map(Identifier::RelativeTargetPort),
        any::<u16>().prop_map(Identifier::TargetPortGroup),
        any::<u16>().prop_map(Identifier::LogicalUnitGroup),
        any::<[u8; 16]>().prop_map(Identifier::Md5),
        any::<[u8; 16]>().prop_map(Identifier::Uuid),
        any_bytes(4..=255).prop_map(Identifier::ProtocolSpecificPort),
        (0xb_u8..=0xf, any_bytes(0..=255))
            .prop_map(|(type_code, bytes)| Identifier::Opaque { type_code, bytes }),
    ];
    prop_oneof![
        4 => binary.prop_map(|identifier| (CodeSet::Binary, identifier)),
        1 => any_bytes(0..=255).prop_map(|it| (CodeSet::Ascii, Identifier::VendorSpecific(it))),
        1 => any_bytes(8..=255).prop_map(|it| (CodeSet::Ascii, Identifier::T10Vendor(it))),
        1 => "[!-~][^\0]{0,60}".prop_map(|it| (CodeSet::Utf8, Identifier::ScsiName(it))),
        1 => (4_u8..=0xf, 0_u8..=0xf, any_bytes(0..=255)).prop_map(|(bits, type_code, bytes)| {
            (CodeSet::Reserved(bits), Identifier::Opaque { type_code, bytes })
        }),
    ]
}

fn any_designator() -> impl Strategy<Value = Designator> {
    let association = prop::sample::select(vec![
        Association::LogicalUnit,
        Association::TargetPort,
        Association::TargetDevice,
        Association::Reserved,
    ]);
    let protocol = prop::option::of(0_u8..16);
    (association, protocol, any_identifier()).prop_map(
        |(association, protocol, (code_set, identifier))| Designator {
            association,
            protocol,
            code_set,
            identifier,
        },
    )
}

proptest! {
    #[test]
    fn a_page_built_from_designators_gives_them_back(
        designators in prop::collection::vec(any_designator(), 0..20)
    ) {
        let bytes = page(&designators.iter().flat_map(encode).collect::<Vec<_>>());
        let found = VpdPage83::parse(&bytes).unwrap();
        prop_assert_eq!(found.designators(), &designators[..]);
        prop_assert_eq!(found.faults(), &[]);
    }

    #[test]
    fn every_truncation_of_a_page_is_told_and_costs_the_designators_that_are_cut(
        designators in prop::collection::vec(any_designator(), 1..4)
    ) {
        let bytes = page(&designators.iter().flat_map(encode).collect::<Vec<_>>());
        for length in 0..bytes.len() {
            let Ok(found) = VpdPage83::parse(&bytes[..length]) else {
                prop_assert!(length < HEADER_LEN);
                continue;
            };
            prop_assert!(!found.faults().is_empty());
            prop_assert!(designators.starts_with(found.designators()));
            let kept: usize = found.designators().iter().map(|it| encode(it).len()).sum();
            prop_assert!(kept + HEADER_LEN <= length);
        }
    }

    #[test]
    fn a_page_that_ends_inside_a_designator_is_told_and_keeps_those_before(
        before in prop::collection::vec(any_designator(), 0..3),
        last in any_designator(),
    ) {
        let whole: Vec<u8> = before.iter().flat_map(encode).collect();
        let last = encode(&last);
        for length in 1..last.len() {
            let content = [&whole[..], &last[..length]].concat();
            let found = VpdPage83::parse(&page(&content)).unwrap();
            prop_assert_eq!(found.designators(), &before[..]);
            prop_assert!(found.faults()[0].hides_the_rest());
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in any_bytes(0..=300), content in any_bytes(0..=300)) {
        let _ = VpdPage83::parse(&bytes);
        let _ = VpdPage80::parse(&bytes);
        if let Ok(page) = VpdPage83::parse(&page(&content)) {
            let _ = page.identity();
        }
        let _ = serial(&content);
    }

    #[test]
    fn the_identity_of_any_page_is_canonical(
        designators in prop::collection::vec(any_designator(), 0..8)
    ) {
        let bytes = page(&designators.iter().flat_map(encode).collect::<Vec<_>>());
        if let Some((_, wwid)) = VpdPage83::parse(&bytes).unwrap().identity() {
            prop_assert_eq!(Wwid::parse_operator(wwid.as_str()).unwrap(), wwid);
        }
    }
}
