//! Descriptors as written by ESXi, malformed ones, and random ones.

use proptest::prelude::*;

use super::*;

const BASE: &str = "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=4fa1c0de\n\
    parentCID=ffffffff\nisNativeSnapshot=\"no\"\ncreateType=\"vmfs\"\n\n# Extent description\n\
    RW 2147483648 VMFS \"retention-flat.vmdk\"\n\n# The Disk Data Base \n#DDB\n\n\
    ddb.adapterType = \"lsilogic\"\n\
    ddb.uuid = \"60 00 C2 93 e4 b5 a1 b2-c3 d4 e5 f6 07 18 29 3a\"\n\
    ddb.virtualHWVersion = \"19\"\n";

fn uuid(text: &str) -> Option<DiskUuid> {
    DiskUuid::normalise(text)
}

/// A sparse extent of 32 sectors with `text` at sector 1.
fn sparse(text: &str, offset: u64, size: u64) -> Vec<u8> {
    let mut bytes = b"KDMV".to_vec();
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(4_194_304u64.to_le_bytes());
    bytes.extend(128u64.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.resize(512, 0);
    bytes.extend(text.as_bytes());
    bytes.resize(32 * 512, 0);
    bytes
}

#[test]
fn a_descriptor_of_esxi_gives_uuid_type_and_capacity() {
    let found = parse(BASE.as_bytes()).unwrap();
    assert_eq!(found.uuid, uuid("6000c293e4b5a1b2c3d4e5f60718293a"));
    assert_eq!(found.create_type.as_deref(), Some("vmfs"));
    assert_eq!(found.parent, None);
    assert_eq!(found.capacity_bytes, 1 << 40);
}

#[test]
fn the_extents_of_a_split_disk_add_up_and_line_endings_do_not_matter() {
    let text = "# Disk DescriptorFile\r\nversion=3\r\nCID=123a681b\r\n\
        createType=\"twoGbMaxExtentSparse\"\r\nRW 4192256 SPARSE \"s001.vmdk\"\r\n\
        RW 4192256 SPARSE \"s002.vmdk\"\r\nRDONLY 2048 ZERO\r\nNOACCESS 1 FLAT \"x\" 0\r\n";
    let found = parse(text.as_bytes()).unwrap();
    assert_eq!(found.capacity_bytes, (2 * 4_192_256 + 2048 + 1) * 512);
    assert_eq!(found.uuid, None);
}

#[test]
fn a_snapshot_names_its_parent_in_its_own_encoding() {
    let text = b"version=1\nencoding=\"windows-1252\"\nparentFileNameHint=\"B\xFCro.vmdk\"\n\
        createType=\"seSparse\"\nRW 8 SESPARSE \"d-000001-sesparse.vmdk\"\n";
    assert_eq!(parse(text).unwrap().parent.unwrap().as_str(), "Büro.vmdk");
}

#[test]
fn a_descriptor_inside_a_sparse_extent_is_found() {
    let found = parse(&sparse(BASE, 1, 20)).unwrap();
    assert_eq!(found, parse(BASE.as_bytes()).unwrap());
}

#[test]
fn a_sparse_extent_that_points_nowhere_is_refused() {
    let whole = sparse(BASE, 1, 20);
    let cases = [
        (sparse(BASE, 0, 0), DescriptorError::Extent),
        (sparse(BASE, 1, 0), DescriptorError::Extent),
        (sparse(BASE, 1, 32), DescriptorError::Misplaced),
        (sparse(BASE, u64::MAX, 1), DescriptorError::Misplaced),
        (sparse(BASE, 1, u64::MAX), DescriptorError::Misplaced),
        (sparse(BASE, u64::MAX / 512, u64::MAX / 512), DescriptorError::Misplaced),
        (sparse(BASE, 25, 5), DescriptorError::NotADescriptor),
        (whole[..20].to_vec(), DescriptorError::Misplaced),
        (b"COWD\x01\0\0\0".to_vec(), DescriptorError::Extent),
    ];
    for (bytes, expected) in cases {
        assert_eq!(parse(&bytes).unwrap_err(), expected);
    }
}

#[test]
fn what_is_no_descriptor_is_refused() {
    let two = "version=1\nddb.uuid = \"60 00 C2 93 e4 b5 a1 b2-c3 d4 e5 f6 07 18 29 3a\"\n\
        ddb.uuid = \"60 00 C2 93 e4 b5 a1 b2-c3 d4 e5 f6 07 18 29 3b\"\n";
    let cases: [(&[u8], DescriptorError); 8] = [
        (b"", DescriptorError::NotADescriptor),
        (b"CID=1\nversion=1\n", DescriptorError::NotADescriptor),
        (b"\xEB\x3C\x90MSDOS5.0", DescriptorError::NotADescriptor),
        (b"version=1\nwhat is this\n", DescriptorError::Row(2)),
        (b"version=1\nddb.uuid = \"60 00\"\n", DescriptorError::Uuid(2)),
        (two.as_bytes(), DescriptorError::Uuid(3)),
        (b"version=1\nRW 36028797018963968 ZERO\n", DescriptorError::Capacity(2)),
        (b"version=1\nRW 99999999999999999999 ZERO\n", DescriptorError::Row(2)),
    ];
    for (bytes, expected) in cases {
        assert_eq!(parse(bytes).unwrap_err(), expected, "{}", bytes.escape_ascii());
    }
    let long = vec![b'#'; HEAD_BYTES_MAX + 1];
    assert_eq!(parse(&long).unwrap_err(), DescriptorError::TooLarge);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused_without_a_panic(
        magic in prop::sample::select(vec![&b""[..], b"KDMV", b"version=1\n"]),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = parse(&[magic, &rest[..]].concat());
    }
}
