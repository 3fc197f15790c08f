//! The UUIDs of partition tables and filesystems, from the first bytes of a disk. Pure; anything
//! unrecognised has none.

use uuid::Uuid;

/// The partition table and the filesystem on a disk that begins with `head`.
pub(super) fn signature(head: &[u8]) -> (Option<String>, Option<String>) {
    (table(head), filesystem(head))
}

fn bytes(head: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    head.get(at..at.checked_add(length)?)
}

fn begins(head: &[u8], at: usize, magic: &[u8]) -> bool {
    bytes(head, at, magic.len()) == Some(magic)
}

/// A GPT by its disk GUID (UEFI 2.10, 5.3.2), for any sector size; an MBR by its disk signature.
fn table(head: &[u8]) -> Option<String> {
    for sector in [512, 4096] {
        if begins(head, sector, b"EFI PART") {
            // A GUID has its first three fields in little endian.
            let guid = bytes(head, sector + 56, 16)?.try_into().ok()?;
            return Some(Uuid::from_bytes_le(guid).to_string());
        }
    }
    let number = bytes(head, 440, 4).filter(|number| number.iter().any(|byte| *byte != 0))?;
    let number: [u8; 4] = number.try_into().ok()?;
    begins(head, 510, &[0x55, 0xaa]).then(|| format!("{:08x}", u32::from_le_bytes(number)))
}

/// ext2 to ext4, XFS and btrfs by their UUIDs.
fn filesystem(head: &[u8]) -> Option<String> {
    let (magic, at): (&[u8], usize) = match () {
        () if begins(head, 1024 + 0x38, &[0x53, 0xef]) => (b"ext", 1024 + 0x68),
        () if begins(head, 0, b"XFSB") => (b"xfs", 32),
        () if begins(head, 0x1_0040, b"_BHRfS_M") => (b"btrfs", 0x1_0020),
        () => return None,
    };
    let uuid = Uuid::from_slice(bytes(head, at, 16)?).ok()?;
    Some(format!("{} {uuid}", String::from_utf8_lossy(magic)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_filesystems_are_known_by_their_uuids() {
        let with = |parts: &[(usize, &[u8])]| {
            let mut head = vec![0; 0x1_1000];
            for (at, bytes) in parts {
                head[*at..*at + bytes.len()].copy_from_slice(bytes);
            }
            signature(&head)
        };
        let id: Vec<u8> = (0..16).collect();
        let plain = "00010203-0405-0607-0809-0a0b0c0d0e0f";
        let of = |table: Option<&str>, filesystem: Option<String>| {
            (table.map(str::to_owned), filesystem)
        };
        let mixed = "03020100-0504-0706-0809-0a0b0c0d0e0f";
        assert_eq!(with(&[(512, b"EFI PART"), (568, &id)]), of(Some(mixed), None));
        assert_eq!(with(&[(4096, b"EFI PART"), (4152, &id)]), of(Some(mixed), None));
        let mbr: [(usize, &[u8]); 2] = [(440, &[1, 2, 3, 4]), (510, &[0x55, 0xaa])];
        assert_eq!(with(&mbr), of(Some("04030201"), None));
        for (name, magic_at, magic, at) in [
            ("ext", 1080, &[0x53, 0xef][..], 1128),
            ("xfs", 0, &b"XFSB"[..], 32),
            ("btrfs", 0x1_0040, &b"_BHRfS_M"[..], 0x1_0020),
        ] {
            let found = with(&[(magic_at, magic), (at, &id)]);
            assert_eq!(found, of(None, Some(format!("{name} {plain}"))));
        }
        assert_eq!(with(&[]), (None, None));
        assert_eq!(signature(b"XFSB"), (None, None), "cut off");
    }
}
