//! Every designator type with each valid and each invalid length.

use super::*;

const BINARY: u8 = 1;
const ASCII: u8 = 2;
const UTF8: u8 = 3;

fn decode(code_set: u8, type_code: u8, bytes: &[u8]) -> Result<Identifier, DesignatorFault> {
    let header = [code_set, type_code, 0, u8::try_from(bytes.len()).unwrap()];
    Designator::decode(header, bytes).map(|designator| designator.identifier)
}

/// `length` bytes, the first of which is `first`.
fn filled(first: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0x41; length];
    if let Some(byte) = bytes.first_mut() {
        *byte = first;
    }
    bytes
}

/// Type, code set, first byte, and the lengths at which such a designator is well formed.
type Row = (&'static str, u8, u8, u8, fn(usize) -> bool);

const LENGTHS: [Row; 14] = [
    ("vendor specific", 0x0, ASCII, 0x41, |_| true),
    ("T10 vendor", 0x1, ASCII, 0x41, |length| length >= 8),
    ("EUI-64", 0x2, BINARY, 0x41, |length| matches!(length, 8 | 12 | 16)),
    ("NAA 2", 0x3, BINARY, 0x20, |length| length == 8),
    ("NAA 3", 0x3, BINARY, 0x30, |length| length == 8),
    ("NAA 5", 0x3, BINARY, 0x50, |length| length == 8),
    ("NAA 6", 0x3, BINARY, 0x60, |length| length == 16),
    ("relative target port", 0x4, BINARY, 0, |length| length == 4),
    ("target port group", 0x5, BINARY, 0, |length| length == 4),
    ("logical unit group", 0x6, BINARY, 0, |length| length == 4),
    ("MD5", 0x7, BINARY, 0, |length| length == 16),
    ("protocol specific port", 0x9, BINARY, 0, |length| length >= 4),
    ("UUID", 0xa, BINARY, 0x10, |length| length == 18),
    ("reserved type", 0xb, BINARY, 0, |_| true),
];

#[test]
fn each_type_is_taken_at_its_lengths_and_refused_at_every_other() {
    for (name, type_code, code_set, first, is_allowed) in LENGTHS {
        for length in 0..=255 {
            let found = decode(code_set, type_code, &filled(first, length));
            match found {
                Ok(_) => assert!(is_allowed(length), "{name} of {length} bytes was taken"),
                Err(DesignatorFault::Length { found, .. }) => {
                    assert!(!is_allowed(length), "{name} of {length} bytes was refused");
                    assert_eq!(found, length, "{name}");
                }
                Err(other) => panic!("{name} of {length} bytes: {other}"),
            }
        }
    }
}

#[test]
fn a_name_string_is_a_multiple_of_four_and_ends_in_nuls() {
    for length in 0..=255_usize {
        let mut bytes = vec![b'n'; length];
        if let Some(last) = bytes.last_mut() {
            *last = 0;
        }
        let is_allowed = length > 0 && length % 4 == 0;
        assert_eq!(decode(UTF8, 8, &bytes).is_ok(), is_allowed, "{length}");
    }
    let name = decode(UTF8, 8, b"naa.5001\0\0\0\0").unwrap();
    assert_eq!(name, Identifier::ScsiName("naa.5001".to_owned()));
}

#[test]
fn a_name_string_without_nul_or_with_more_after_it_or_not_utf8_is_refused() {
    for bytes in [&b"naa.5000"[..], b"naa\0.500\0\0\0\0", b"na\xff\0", b"\0naa.50\0"] {
        let fault = decode(UTF8, 8, bytes).unwrap_err();
        assert_eq!(fault, DesignatorFault::NameString, "{bytes:?}");
    }
}

#[test]
fn an_naa_value_that_the_standard_does_not_have_is_refused() {
    for value in (0..16).filter(|value| !matches!(value, 2 | 3 | 5 | 6)) {
        for length in [8, 16] {
            let fault = decode(BINARY, 3, &filled(value << 4, length)).unwrap_err();
            assert_eq!(fault, DesignatorFault::UnknownNaa(value));
        }
    }
}

#[test]
fn a_uuid_type_that_the_standard_does_not_have_is_refused() {
    for value in (0..16).filter(|&value| value != 1) {
        let fault = decode(BINARY, 0xa, &filled(value << 4, 18)).unwrap_err();
        assert_eq!(fault, DesignatorFault::UnknownUuidType(value));
    }
}

#[test]
fn numbers_are_the_last_two_bytes_big_endian() {
    let bytes = [0xff, 0xff, 0x01, 0x02];
    let found = [4, 5, 6].map(|type_code| decode(BINARY, type_code, &bytes).unwrap());
    assert_eq!(
        found,
        [
            Identifier::RelativeTargetPort(0x102),
            Identifier::TargetPortGroup(0x102),
            Identifier::LogicalUnitGroup(0x102),
        ]
    );
}

#[test]
fn a_uuid_is_the_sixteen_bytes_after_its_type() {
    let mut bytes = vec![0x1f, 0xff];
    bytes.extend(0..16);
    let expected = Identifier::Uuid(std::array::from_fn(|index| u8::try_from(index).unwrap()));
    assert_eq!(decode(BINARY, 0xa, &bytes).unwrap(), expected);
}

#[test]
fn reserved_types_and_code_sets_that_do_not_fit_are_kept_undecoded() {
    let reserved_types = (0xb..=0xf).map(|type_code| (BINARY, type_code));
    let reserved_sets = (0..=0xf).flat_map(|type_code| {
        std::iter::once(0).chain(4..=0xf).map(move |code_set| (code_set, type_code))
    });
    let misfits = [(ASCII, 3), (UTF8, 3), (ASCII, 2), (ASCII, 0xa), (BINARY, 8)];
    for (code_set, type_code) in reserved_types.chain(reserved_sets).chain(misfits) {
        let expected = Identifier::Opaque { type_code, bytes: b"6000".to_vec() };
        assert_eq!(decode(code_set, type_code, b"6000"), Ok(expected));
    }
}

#[test]
fn header_bits_give_association_protocol_and_code_set() {
    let decode = |first, second| Designator::decode([first, second, 0, 0], &[]).unwrap();
    let port = decode(0x62, 0x90);
    assert_eq!(port.association, Association::TargetPort);
    assert_eq!(port.protocol, Some(6));
    assert_eq!(port.code_set, CodeSet::Ascii);
    let unit = decode(0x61, 0x00);
    assert_eq!(unit.association, Association::LogicalUnit);
    assert_eq!(unit.protocol, None, "the protocol counts only where it is said to be valid");
    assert_eq!(decode(0x01, 0x20).association, Association::TargetDevice);
    assert_eq!(decode(0x01, 0x30).association, Association::Reserved);
    assert_eq!(decode(0x0f, 0x00).code_set, CodeSet::Reserved(0xf));
}

#[test]
fn only_the_logical_units_own_names_have_a_preference() {
    let naa = filled(0x50, 8);
    let preference = |association: u8| {
        let designator = Designator::decode([BINARY, association << 4 | 3, 0, 8], &naa);
        designator.unwrap().preference()
    };
    assert_eq!(preference(0), Some(Preference::NaaRegistered));
    assert_eq!([1, 2, 3].map(preference), [None; 3]);
    for (type_code, length) in [(0, 8), (4, 4), (5, 4), (6, 4), (7, 16), (9, 4), (0xb, 8)] {
        let designator =
            Designator::decode([BINARY, type_code, 0, length], &vec![0x50; usize::from(length)])
                .unwrap();
        assert_eq!(designator.preference(), None, "type {type_code}");
        assert_eq!(designator.wwid(), None, "type {type_code}");
    }
}

#[test]
fn a_designator_that_was_left_blank_names_nothing() {
    let rows: [(&str, u8, u8, &[u8]); 13] = [
        ("NAA of zeros", BINARY, 3, &[0; 8]),
        ("NAA of zeros, long", BINARY, 3, &[0; 16]),
        ("NAA of ones", BINARY, 3, &[0xff; 8]),
        ("NAA 5 of zeros", BINARY, 3, &[0x50, 0, 0, 0, 0, 0, 0, 0]),
        ("NAA 5 of ones", BINARY, 3, &[0x5f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("EUI-64 of zeros", BINARY, 2, &[0; 8]),
        ("EUI-64 of ones", BINARY, 2, &[0xff; 16]),
        ("the nil UUID", BINARY, 0xa, &[0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("MD5 of zeros", BINARY, 7, &[0; 16]),
        ("T10 of blanks", ASCII, 1, b"            "),
        ("T10 of NULs", ASCII, 1, &[0; 12]),
        ("an empty name", UTF8, 8, &[0; 4]),
        ("a name of zeros", UTF8, 8, b"naa.5000000000000000\0\0\0\0"),
    ];
    for (what, code_set, type_code, bytes) in rows {
        let found = decode(code_set, type_code, bytes);
        assert!(matches!(found, Err(DesignatorFault::Blank(_))), "{what}: {found:?}");
    }
    let named = [0x60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    assert!(decode(BINARY, 3, &named).is_ok());
    assert!(decode(ASCII, 1, b"        A1").is_ok(), "a serial number without a vendor");
}
