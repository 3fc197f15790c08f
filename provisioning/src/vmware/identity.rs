//! A virtual disk's UUID as VMware writes it and as a guest sees it: the same 32-digit text for
//! both. VPD pages are decoded elsewhere (`scsi`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::scsi::wwid::Wwid;

const DIGITS: usize = 32;

/// 32 lower-case hexadecimal digits: a VMDK's `ddb.uuid`, and the NAA type 6 designator that the
/// guest reads from VPD page 0x83 when disk.EnableUUID is on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskUuid(String);

impl DiskUuid {
    /// Parses any of the spellings: `60 00 C2 9a …-…`, `0x6000c29…`, `naa.6000c29…`,
    /// `wwn-0x6000c29…`, `36000c29…` (with udev's leading type digit). `None` if it is not 16
    /// bytes.
    pub(crate) fn normalise(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        for prefix in ["scsi-", "wwn-", "naa.", "0x", "0X"] {
            rest = rest.strip_prefix(prefix).unwrap_or(rest);
        }
        let mut digits: String = rest.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        digits.make_ascii_lowercase();
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let sixteen_bytes = match digits.len() {
            DIGITS => &digits,
            length if length == DIGITS + 1 => digits.strip_prefix('3')?,
            _ => return None,
        };
        Some(Self(sixteen_bytes.to_owned()))
    }

    /// The 32 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DiskUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// This host's disks by UUID. If several paths have the same UUID, the first counts.
pub fn by_uuid(wwids: impl IntoIterator<Item = (PathBuf, Wwid)>) -> BTreeMap<DiskUuid, PathBuf> {
    let mut map = BTreeMap::new();
    for (path, wwid) in wwids {
        if let Some(uuid) = DiskUuid::normalise(&wwid.to_string()) {
            map.entry(uuid).or_insert(path);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_one_identity_is_the_same_32_digits() {
        let spellings = [
            "60 00 C2 9a 12 34 56 78-ab cd ef 01 23 45 67 89",
            "6000c29a12345678abcdef0123456789",
            "0x6000c29a12345678abcdef0123456789",
            "naa.6000c29a12345678abcdef0123456789",
            "wwn-0x6000c29a12345678abcdef0123456789",
            "scsi-36000c29a12345678abcdef0123456789",
            "36000C29A12345678ABCDEF0123456789\n",
        ];
        for text in spellings {
            let uuid = DiskUuid::normalise(text).map(|uuid| uuid.to_string());
            assert_eq!(uuid.as_deref(), Some("6000c29a12345678abcdef0123456789"), "{text}");
        }
    }

    #[test]
    fn what_is_not_sixteen_bytes_is_no_identity() {
        let others = [
            "",
            "6000c29a1234567",
            "naa.5000c29a12345678",
            "46000c29a12345678abcdef0123456789",
            "6000c29a12345678abcdef012345678g",
            "t10.ATA     VMware Virtual SATA Hard Drive  00000000000000000001",
            "６000c29a12345678abcdef0123456789",
        ];
        for text in others {
            assert_eq!(DiskUuid::normalise(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_path_of_a_uuid_counts_and_other_wwids_are_passed_over() {
        let wwid = |text: &str| Wwid::parse_operator(text).unwrap();
        let naa = "36000c29a12345678abcdef0123456789";
        let rows = [("/dev/sda", "35000c29a12345678"), ("/dev/sdb", naa), ("/dev/sdc", naa)];
        let map = by_uuid(rows.map(|(path, text)| (PathBuf::from(path), wwid(text))));
        let found: Vec<_> = map.into_values().collect();
        assert_eq!(found, [PathBuf::from("/dev/sdb")]);
    }
}
