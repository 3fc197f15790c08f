//! Foreign disks represented only by their signatures, written byte by byte, and the worst data
//! that a retention volume can retain of them: each block at the same position as on its original
//! disk.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::program::{command, finish, run, shell};

const KIB: u64 = 1 << 10;
/// The unit in which a volume is examined: no filesystem in the tests has smaller blocks.
const BLOCK: u64 = KIB;

/// A kind of disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// The four labels of a member of a ZFS pool, with their uberblocks.
    Zfs,
    /// An image of a CD.
    Iso9660,
    /// An image of a DVD.
    Udf,
    /// A software RAID member with the superblock at its end, as in version 1.0.
    Raid10,
    /// The same for version 0.90.
    Raid090,
    /// A member of an array in the common format of RAID controllers.
    Ddf,
    /// A member of an Intel array.
    Isw,
    /// A DRBD replica with its metadata after the content.
    Drbd,
    /// An LVM physical volume.
    Lvm,
    /// A GUID partition table, both copies.
    Gpt,
}

impl Foreign {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Zfs,
        Self::Iso9660,
        Self::Udf,
        Self::Raid10,
        Self::Raid090,
        Self::Ddf,
        Self::Isw,
        Self::Drbd,
        Self::Lvm,
        Self::Gpt,
    ];

    /// blkid's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zfs => "zfs_member",
            Self::Iso9660 => "iso9660",
            Self::Udf => "udf",
            Self::Raid10 | Self::Raid090 => "linux_raid_member",
            Self::Ddf => "ddf_raid_member",
            Self::Isw => "isw_raid_member",
            Self::Drbd => "drbd",
            Self::Lvm => "LVM2_member",
            Self::Gpt => "gpt",
        }
    }

    /// Makes `file` an image of a disk of `disk_bytes`, and checks that blkid recognises it.
    pub fn image(self, file: &Path, disk_bytes: u64) {
        let image = File::create(file).unwrap();
        image.set_len(disk_bytes).unwrap();
        for (at, bytes) in self.pieces(disk_bytes) {
            image.write_all_at(&bytes, at).unwrap();
        }
        let path = file.to_str().unwrap();
        if self == Self::Gpt {
            run("sgdisk", &["--new", "1:2048:+10M", path]);
        }
        let found = run("blkid", &["-p", "-o", "export", path]);
        assert!(
            found.lines().any(|row| row.ends_with(&format!("TYPE={}", self.name()))),
            "{found}"
        );
    }

    /// The pieces to write, with their offsets.
    fn pieces(self, disk_bytes: u64) -> Vec<(u64, Vec<u8>)> {
        let end = disk_bytes;
        match self {
            Self::Zfs => {
                let labels = [0, 256 * KIB, end - 512 * KIB, end - 256 * KIB];
                let uberblocks = uberblocks(128);
                labels.map(|label| (label + 128 * KIB, uberblocks.clone())).into()
            }
            Self::Iso9660 => vec![
                (32 * KIB, b"\x01CD001\x01\x00LINUX".to_vec()),
                (34 * KIB, b"\xffCD001\x01".to_vec()),
            ],
            Self::Udf => udf(),
            Self::Raid10 => {
                let at = (end - 8 * KIB) & !(4 * KIB - 1);
                let words = [(0, 0xa92b_4efc_u32), (4, 1), (16, 0x5a5a), (144, (at / 512) as u32)];
                vec![(at, little_endian(4096, &words))]
            }
            Self::Raid090 => {
                let at = (end & !(64 * KIB - 1)) - 64 * KIB;
                vec![(at, little_endian(4096, &[(0, 0xa92b_4efc), (8, 90)]))]
            }
            Self::Ddf => {
                let mut header = vec![0; 512];
                header[..4].copy_from_slice(&0xde11_de11_u32.to_be_bytes());
                header[8..16].copy_from_slice(b"LINUX-MD");
                header[32..40].copy_from_slice(b"01.00.00");
                header[0x60..0x68].copy_from_slice(&(end / 512 - 2).to_be_bytes());
                vec![(end - KIB, header.repeat(2))]
            }
            Self::Isw => vec![(end - KIB, b"Intel Raid ISM Cfg Sig. 1.0.00".to_vec())],
            Self::Drbd => {
                let mut data = vec![0; 4096];
                data[60..64].copy_from_slice(&0x8374_026b_u32.to_be_bytes());
                vec![(end - 4 * KIB, data)]
            }
            Self::Lvm => vec![(512, lvm_label())],
            Self::Gpt => Vec::new(),
        }
    }
}

/// `count` uberblocks of a ZFS pool, one for each KiB.
pub fn uberblocks(count: usize) -> Vec<u8> {
    let words = [0x00ba_b10c_u64, 5000, 4, 77, 1_700_000_000];
    let mut one: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    one.resize(1024, 0);
    one.repeat(count)
}

fn little_endian(bytes: usize, words: &[(usize, u32)]) -> Vec<u8> {
    let mut block = vec![0; bytes];
    for (at, word) in words {
        block[*at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    block
}

/// The recognition sequence, the anchor, and the descriptors that it points to (ECMA-167).
fn udf() -> Vec<(u64, Vec<u8>)> {
    let sector = 2 * KIB;
    let tag = |kind: u16, location: u32| {
        let words = [(0, u32::from(kind) | 2 << 16), (12, location)];
        little_endian(512, &words)
    };
    let recognition = |name: &[u8]| [b"\0", name, b"\x01"].concat();
    let mut anchor = tag(2, 256);
    anchor[16..20].copy_from_slice(&(16 * sector as u32).to_le_bytes());
    anchor[20..24].copy_from_slice(&257_u32.to_le_bytes());
    let mut logical = tag(6, 258);
    logical[212..216].copy_from_slice(&(sector as u32).to_le_bytes());
    vec![
        (32 * KIB, recognition(b"BEA01")),
        (34 * KIB, recognition(b"NSR02")),
        (36 * KIB, recognition(b"TEA01")),
        (256 * sector, anchor),
        (257 * sector, tag(1, 257)),
        (258 * sector, logical),
        (259 * sector, tag(8, 259)),
    ]
}

fn lvm_label() -> Vec<u8> {
    let mut label = vec![0; 512];
    label[..8].copy_from_slice(b"LABELONE");
    label[8] = 1;
    label[20] = 32;
    label[24..32].copy_from_slice(b"LVM2 001");
    let checksum = label[20..].iter().fold(0xf597_a6cf_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1)))
    });
    label[16..20].copy_from_slice(&checksum.to_le_bytes());
    label
}

/// Files that fill a mounted filesystem completely, and the position of each of their blocks.
#[derive(Debug)]
pub struct Brim {
    files: Vec<(File, Vec<[u64; 3]>)>,
}

impl Brim {
    /// Fills the filesystem mounted at `at`.
    pub fn fill(at: &str) -> Self {
        // XFS's reserve would leave holes that are not tested.
        finish(&mut command("xfs_io", &["-x", "-c", "resblks 16", at]));
        shell(&format!(
            "cd {at}; touch brim-1M brim-4k brim-1k; cd /; for size in 1M 4k 1k; do \
                 dd if=/dev/zero of={at}/brim-$size bs=$size status=none 2>/dev/null || true; \
             done; sync; ! echo more 2>/dev/null >{at}/more; rm -f {at}/more"
        ));
        Self::of(at)
    }

    /// The files that [`fill`](Self::fill) made there earlier.
    pub fn of(at: &str) -> Self {
        let names = ["1M", "4k", "1k"].map(|size| format!("{at}/brim-{size}"));
        let open = |name: &String| OpenOptions::new().write(true).open(name).unwrap();
        Self { files: names.iter().map(|name| (open(name), extents(name))).collect() }
    }

    /// Writes every nonzero block of `image` into the file that owns the block at the same position
    /// on the disk; returns the number of such blocks.
    pub fn keep(&self, image: &Path) -> usize {
        self.put(image, |block| block.to_vec())
    }

    /// Writes zeros wherever [`keep`](Self::keep) wrote.
    pub fn forget(&self, image: &Path) {
        self.put(image, |block| vec![0; block.len()]);
    }

    fn put(&self, image: &Path, what: impl Fn(&[u8]) -> Vec<u8>) -> usize {
        let mut kept = 0;
        for (at, block) in content(image) {
            for (file, extents) in &self.files {
                let inside = |[disk, _, length]: &&[u64; 3]| (*disk..disk + length).contains(&at);
                if let Some([disk, start, _]) = extents.iter().find(inside) {
                    file.write_all_at(&what(&block), start + (at - disk)).unwrap();
                    kept += 1;
                }
            }
        }
        self.files.iter().for_each(|(file, _)| file.sync_all().unwrap());
        kept
    }
}

/// The nonzero blocks of `image`, with their positions.
fn content(image: &Path) -> Vec<(u64, Vec<u8>)> {
    let file = File::open(image).unwrap();
    let length = file.metadata().unwrap().len();
    let chunk_bytes = 1 << 20;
    let zeros = vec![0; chunk_bytes];
    let mut found = Vec::new();
    for at in (0..length).step_by(chunk_bytes) {
        let mut chunk = vec![0; chunk_bytes.min((length - at) as usize)];
        file.read_exact_at(&mut chunk, at).unwrap();
        if chunk == zeros[..chunk.len()] {
            continue;
        }
        for (index, block) in chunk.chunks(BLOCK as usize).enumerate() {
            if block != &zeros[..block.len()] {
                found.push((at + index as u64 * BLOCK, block.to_vec()));
            }
        }
    }
    found
}

/// The extents of the file: position on the disk, position in the file, length.
fn extents(file: &str) -> Vec<[u64; 3]> {
    let listed = finish(&mut command("filefrag", &["-v", "-b1024", file]));
    let number = |text: &str| text.trim().trim_end_matches('.').parse::<u64>().ok();
    let extent = |row: &str| {
        let fields: Vec<_> = row.split(':').collect();
        let start = |field: &str| number(field.split("..").next()?);
        number(fields.first()?)?;
        let (logical, physical) = (start(fields.get(1)?)?, start(fields.get(2)?)?);
        Some([physical * KIB, logical * KIB, number(fields.get(3)?)? * KIB])
    };
    listed.exits(0).stdout.lines().filter_map(extent).collect()
}
