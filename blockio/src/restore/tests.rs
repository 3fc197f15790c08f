//! Disks in memory restored onto others: every byte, zeros, ends that are not whole sectors, disks
//! that fail at each place, and what the target does not hold afterwards.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::device::memory::MemoryDevice;
use crate::device::{Geometry, TRANSFER_BYTES_MAX};
use crate::units::ByteOffset;

const MIB: usize = 1 << 20;

fn device(length: usize, sector_size: SectorSize) -> MemoryDevice {
    MemoryDevice::new(Geometry { capacity: ByteCount::new(length as u64), sector_size })
}

/// A disk that holds `bytes`.
fn filled(bytes: &[u8], sector_size: SectorSize) -> MemoryDevice {
    let mut device = device(bytes.len(), sector_size);
    let room = NonZeroUsize::new(TRANSFER_BYTES_MAX).unwrap();
    let pool = ArenaPool::new(1, room).unwrap();
    for (index, piece) in bytes.chunks(MIB).enumerate() {
        let mut arena = pool.take().unwrap();
        arena.as_mut_slice()[..piece.len()].copy_from_slice(piece);
        let length = piece.len().next_multiple_of(sector_size.bytes().get() as usize);
        let at = ByteOffset::new((index * MIB) as u64);
        let writes = vec![Transfer { at, position: 0, length }];
        let batch = WriteBatch { arena: arena.into(), writes, clears: Vec::new() };
        device.write_batch(batch).unwrap();
    }
    device
}

fn view(bytes: &[u8]) -> View {
    let device = filled(bytes, SectorSize::Bytes512);
    View::of_disk("a point".to_owned(), Box::new(device)).unwrap()
}

/// Bytes that differ at every place.
fn content(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(b"restore").finalize_xof().fill(&mut bytes);
    bytes
}

fn onto(device: &MemoryDevice, before: Before) -> Onto {
    Onto { shown: "a target".to_owned(), device: Box::new(device.clone()), before }
}

fn with_watch<T>(work: impl FnOnce(&mut Watch<'_>) -> T) -> T {
    let stop = AtomicBool::new(false);
    work(&mut Watch { stop: &stop, progress: &mut |_| () })
}

fn copied(bytes: &[u8], target: &MemoryDevice, before: Before) -> Result<Copied> {
    with_watch(|watch| copy(&view(bytes), onto(target, before), watch))
}

fn reading(target: &MemoryDevice) -> View {
    View::of_disk("a target".to_owned(), Box::new(target.clone())).unwrap()
}

#[test]
fn every_length_arrives_whole_on_sectors_of_both_sizes_and_has_the_hash_that_b3sum_prints() {
    for length in [1, 511, 512, 4096, MIB - 1, MIB, MIB + 1, 3 * MIB + 4097, 40 * MIB] {
        for sector_size in [SectorSize::Bytes512, SectorSize::Bytes4096] {
            let bytes = content(length);
            let target = filled(&vec![0xEE; length + 8192], sector_size);
            let copied = copied(&bytes, &target, Before::Unknown).unwrap();
            assert_eq!(copied.digest.root(), blake3::hash(&bytes), "{length}");
            let found = target.contents();
            assert!(found[..length] == bytes, "{length}");
            let end = length.next_multiple_of(sector_size.bytes().get() as usize);
            assert!(found[length..end].iter().all(|byte| *byte == 0), "{length}");
            assert!(found[end..].iter().all(|byte| *byte == 0xEE), "{length}");
            with_watch(|watch| verify(&copied, &reading(&target), watch)).unwrap();
        }
    }
}

/// Four pieces: zeros, data, data with zeros in it, zeros that end in the middle of a run.
fn with_zeros() -> Vec<u8> {
    let mut bytes = content(3 * MIB + MIB / 2 + 7);
    bytes[..MIB].fill(0);
    bytes[2 * MIB + (64 << 10)..2 * MIB + (512 << 10)].fill(0);
    bytes[3 * MIB..].fill(0);
    bytes
}

#[test]
fn zeros_are_not_written_to_a_new_file_and_are_zeros_on_a_disk_that_held_something() {
    let bytes = with_zeros();
    let new = device(bytes.len(), SectorSize::Bytes512);
    let sparse = copied(&bytes, &new, Before::Zeros).unwrap();
    let old = filled(&vec![0xEE; bytes.len()], SectorSize::Bytes512);
    let cleared = copied(&bytes, &old, Before::Unknown).unwrap();
    assert!(new.contents() == bytes && old.contents() == bytes);
    assert_eq!(sparse.digest, cleared.digest);
    let whole_pieces = (MIB + MIB / 2 + 7) as u64;
    assert_eq!(cleared.zero_bytes.get(), whole_pieces);
    assert_eq!(sparse.zero_bytes.get(), whole_pieces + (448 << 10));
}

#[test]
fn nothing_but_zeros_takes_no_write_at_all_in_a_new_file() {
    let bytes = vec![0; 5 * MIB + 3];
    let target = device(bytes.len(), SectorSize::Bytes512).failing_writes(0, libc::EIO);
    let copied = copied(&bytes, &target, Before::Zeros).unwrap();
    assert_eq!(copied.zero_bytes.get(), bytes.len() as u64);
    assert_eq!(copied.digest.root(), blake3::hash(&bytes));
}

#[test]
fn a_target_that_is_too_short_is_refused_and_not_touched() {
    let target = device(MIB - 512, SectorSize::Bytes512);
    let error = copied(&content(MIB), &target, Before::Unknown).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(target.contents().iter().all(|byte| *byte == 0));
}

#[test]
fn a_disk_that_fails_at_any_place_is_told_with_that_place_and_ends_the_copy() {
    let bytes = content(70 * MIB);
    for good in [0, 1, 33, 69] {
        let target = device(bytes.len(), SectorSize::Bytes512).failing_writes(good, libc::ENOSPC);
        let error = copied(&bytes, &target, Before::Unknown).unwrap_err();
        let told = error.chain();
        assert!(told.starts_with("a target: writing bytes "), "{told}");
        assert!(error.hint().unwrap().contains("make room"), "{told}");
    }
    let target = device(bytes.len(), SectorSize::Bytes512).failing_flushes(0, libc::EIO);
    let error = copied(&bytes, &target, Before::Unknown).unwrap_err();
    assert!(error.chain().starts_with("a target: flushing"), "{}", error.chain());
}

#[test]
fn a_point_that_cannot_be_read_ends_the_copy() {
    let bytes = content(70 * MIB);
    let source = filled(&bytes, SectorSize::Bytes512).failing_reads(40, libc::EIO);
    let view = View::of_disk("a point".to_owned(), Box::new(source)).unwrap();
    let target = device(bytes.len(), SectorSize::Bytes512);
    let copied = with_watch(|watch| copy(&view, onto(&target, Before::Unknown), watch));
    let told = copied.unwrap_err().chain();
    assert!(told.starts_with("a point: reading bytes "), "{told}");
}

#[test]
fn a_byte_that_became_another_is_found_and_so_is_a_disk_that_cannot_be_read_back() {
    let bytes = content(3 * MIB);
    let target = device(bytes.len(), SectorSize::Bytes512);
    let copied = copied(&bytes, &target, Before::Unknown).unwrap();
    let mut wrong = bytes.clone();
    wrong[2 * MIB + 5] ^= 1;
    let error = with_watch(|watch| {
        verify(&copied, &reading(&filled(&wrong, SectorSize::Bytes512)), watch).unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert!(error.chain().contains("2097152..3145728"), "{}", error.chain());
    let target = target.failing_reads(1, libc::EIO);
    let error = with_watch(|watch| verify(&copied, &reading(&target), watch).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Failed);
}

#[test]
fn a_copy_that_is_told_to_stop_ends_before_its_end() {
    let bytes = content(100 * MIB);
    let target = device(bytes.len(), SectorSize::Bytes512);
    let stop = AtomicBool::new(false);
    let mut written = 0;
    let mut progress = |bytes| {
        written = bytes;
        stop.store(true, Ordering::Relaxed);
    };
    let mut watch = Watch { stop: &stop, progress: &mut progress };
    let error = copy(&view(&bytes), onto(&target, Before::Unknown), &mut watch).unwrap_err();
    assert!(error.chain().contains("stopped"), "{}", error.chain());
    assert!(written < 100 * MIB as u64);
}
