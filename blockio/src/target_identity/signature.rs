//! The UUIDs of partition tables and filesystems, from the first bytes of a disk. Pure; anything
//! unrecognised has none.

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
            let guid = bytes(head, sector + 56, 16)?;
            let mixed: Vec<u8> = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]
                .into_iter()
                .map(|place: usize| guid[place])
                .collect();
            return Some(uuid(&mixed));
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
    Some(format!("{} {}", String::from_utf8_lossy(magic), uuid(bytes(head, at, 16)?)))
}

fn uuid(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (place, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&place) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
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
