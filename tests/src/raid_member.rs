//! The superblock of a software RAID member, version 1.2, built byte by byte: mdadm can write one
//! only through the kernel's md driver, which not every test machine has.

/// Offset of a superblock of version 1.2, in bytes.
pub const SUPERBLOCK_OFFSET: u64 = 4096;

const MAGIC: u32 = 0xa92b_4efc;
const CHECKSUM_OFFSET: usize = 216;
const ROLES: u32 = 2;
const BYTES: usize = 256 + 2 * ROLES as usize;

/// The superblock of the first of two members of a mirror, `disk_bytes` in size (struct
/// mdp_superblock_1 in the kernel's md_p.h).
pub fn superblock(disk_bytes: u64) -> Vec<u8> {
    let mut block = vec![0; BYTES];
    let data_offset = 2048_u64;
    let data_sectors = disk_bytes / 512 - data_offset;
    let mut put = |offset: usize, bytes: &[u8]| {
        block[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(0, &MAGIC.to_le_bytes());
    put(4, &1_u32.to_le_bytes()); // major version
    put(16, &[0x5a; 16]); // UUID of the array
    put(32, b"test:0");
    put(72, &1_u32.to_le_bytes()); // level: mirror
    put(80, &data_sectors.to_le_bytes()); // size used of each member
    put(92, &ROLES.to_le_bytes()); // members
    put(128, &data_offset.to_le_bytes());
    put(136, &data_sectors.to_le_bytes());
    put(144, &(SUPERBLOCK_OFFSET / 512).to_le_bytes());
    put(168, &[0xa5; 16]); // UUID of the member
    put(208, &u64::MAX.to_le_bytes()); // resynchronised to the end
    put(220, &ROLES.to_le_bytes());
    put(258, &1_u16.to_le_bytes()); // role of the second member; the first has 0
    let sum = checksum(&block);
    block[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 4].copy_from_slice(&sum.to_le_bytes());
    block
}

/// The sum of all little-endian words, with the checksum itself as 0, folded to 32 bits.
fn checksum(block: &[u8]) -> u32 {
    let words = block.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    let sum: u64 = words.map(u64::from).sum();
    ((sum & 0xffff_ffff) + (sum >> 32)) as u32
}
