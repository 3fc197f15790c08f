//! What every engine promises of a disk, on an image that is not whole sectors.

use std::fs::{File, OpenOptions};
use std::num::NonZeroUsize;
use std::path::Path;

use super::*;
use crate::device::blocking::BlockingDevice;
use crate::device::buffer::ArenaPool;
use crate::device::memory::MemoryDevice;
use crate::device::uring::UringDevice;

const SECTOR: usize = 512;
/// Five sectors, and a part of one.
const BYTES: usize = 5 * SECTOR + 100;
const ARENA_BYTES: usize = 8 * SECTOR;

fn geometry() -> Geometry {
    let capacity = ByteCount::new(BYTES as u64);
    Geometry { capacity, sector_size: SectorSize::Bytes512 }
}

fn pool() -> ArenaPool {
    ArenaPool::new(2, NonZeroUsize::new(ARENA_BYTES).unwrap()).unwrap()
}

fn image(directory: &Path, name: &str) -> File {
    let path = directory.join(name);
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap();
    file.set_len(BYTES as u64).unwrap();
    file
}

/// One device of each engine, on images of zeros in `directory`.
fn engines(directory: &Path) -> [(&'static str, Box<dyn BlockDevice>); 3] {
    let uring = UringDevice::new(image(directory, "uring"), geometry()).unwrap();
    let blocking = BlockingDevice::new(image(directory, "blocking"), geometry()).unwrap();
    [
        ("io_uring", Box::new(uring)),
        ("blocking", Box::new(blocking)),
        ("memory", Box::new(MemoryDevice::new(geometry()))),
    ]
}

/// `count` sectors from sector `first` on, from the beginning of an arena.
fn sectors(first: usize, count: usize) -> Transfer {
    let at = ByteOffset::new((first * SECTOR) as u64);
    Transfer { at, position: 0, length: count * SECTOR }
}

fn extent(first: usize, count: usize) -> Extent {
    sectors(first, count).extent().unwrap()
}

fn write(device: &mut dyn BlockDevice, pool: &ArenaPool, at: Transfer, byte: u8) {
    let mut arena = pool.take().unwrap();
    arena.as_mut_slice().fill(byte);
    let batch = WriteBatch { arena: Arc::new(arena), writes: vec![at], clears: Vec::new() };
    device.write_batch(batch).unwrap();
}

fn clears(pool: &ArenaPool, extent: Extent) -> WriteBatch {
    let arena = Arc::new(pool.take().unwrap());
    WriteBatch { arena, writes: Vec::new(), clears: vec![extent] }
}

/// All six sectors, the last of which reads as zeros past the end.
fn content(device: &mut dyn BlockDevice, pool: &ArenaPool) -> Vec<u8> {
    let _ = device.settle().unwrap();
    let mut arena = pool.take().unwrap();
    arena.as_mut_slice().fill(0x55);
    let batch = ReadBatch { arena, reads: vec![sectors(0, 6)] };
    device.read_batch(batch).unwrap().as_slice()[..6 * SECTOR].to_vec()
}

/// Six sectors of these bytes, as they read back: the last one ends with the image.
fn filled(bytes: [u8; 6]) -> Vec<u8> {
    let mut all: Vec<u8> = bytes.iter().flat_map(|&byte| [byte; SECTOR]).collect();
    all[BYTES..].fill(0);
    all
}

#[test]
fn every_engine_says_which_it_is() {
    let directory = tempfile::tempdir().unwrap();
    for (name, device) in engines(directory.path()) {
        assert_eq!(device.engine_name(), name);
        assert_eq!(device.geometry(), geometry());
    }
}

#[test]
fn the_last_sector_is_written_and_read_as_far_as_it_is_inside() {
    // With whole sectors before it, alone, and whole sectors up to it.
    for (at, expected) in [
        (sectors(3, 3), [1, 1, 1, 2, 2, 2]),
        (sectors(5, 1), [1, 1, 1, 1, 1, 2]),
        (sectors(3, 2), [1, 1, 1, 2, 2, 1]),
    ] {
        let (directory, pool) = (tempfile::tempdir().unwrap(), pool());
        for (name, mut device) in engines(directory.path()) {
            write(device.as_mut(), &pool, sectors(0, 6), 1);
            write(device.as_mut(), &pool, at, 2);
            assert!(content(device.as_mut(), &pool) == filled(expected), "{name}: {at:?}");
            // Alone, and not at the beginning of its arena.
            let last = Transfer { position: SECTOR, ..sectors(5, 1) };
            let batch = ReadBatch { arena: pool.take().unwrap(), reads: vec![last] };
            let arena = device.read_batch(batch).unwrap();
            assert_eq!(arena.as_slice()[SECTOR..2 * SECTOR], filled(expected)[5 * SECTOR..]);
        }
        for name in ["uring", "blocking"] {
            let bytes = std::fs::read(directory.path().join(name)).unwrap();
            assert!(bytes == filled(expected)[..BYTES], "{name} has {} bytes", bytes.len());
        }
    }
}

#[test]
fn a_clear_makes_zeros_of_what_it_names_and_of_nothing_else() {
    for (cleared, expected) in [
        (extent(1, 2), [1, 0, 0, 1, 1, 1]),
        (extent(3, 2), [1, 1, 1, 0, 0, 1]),
        (extent(4, 2), [1, 1, 1, 1, 0, 0]),
        (extent(5, 1), [1, 1, 1, 1, 1, 0]),
    ] {
        let (directory, pool) = (tempfile::tempdir().unwrap(), pool());
        for (name, mut device) in engines(directory.path()) {
            write(device.as_mut(), &pool, sectors(0, 6), 1);
            device.write_batch(clears(&pool, cleared)).unwrap();
            assert!(content(device.as_mut(), &pool) == filled(expected), "{name}: {cleared}");
        }
        for name in ["uring", "blocking"] {
            let bytes = std::fs::read(directory.path().join(name)).unwrap();
            assert!(bytes == filled(expected)[..BYTES], "{name} has {} bytes", bytes.len());
        }
    }
}

#[test]
fn a_clear_of_no_whole_sectors_or_past_the_end_is_refused_and_touches_nothing() {
    let bytes = |start, end| Extent::between(ByteOffset::new(start), ByteOffset::new(end)).unwrap();
    let end = BYTES as u64;
    for refused in [bytes(0, 100), bytes(100, 512), bytes(2560, end), extent(5, 2), extent(6, 1)] {
        let (directory, pool) = (tempfile::tempdir().unwrap(), pool());
        for (name, mut device) in engines(directory.path()) {
            write(device.as_mut(), &pool, sectors(0, 6), 1);
            assert!(content(device.as_mut(), &pool) == filled([1; 6]), "{name}");
            let failure = device.write_batch(clears(&pool, refused)).unwrap_err();
            assert_eq!(failure.cause.kind(), io::ErrorKind::InvalidInput, "{name}: {refused}");
            assert_eq!(failure.attempt, Attempt::Clear(refused), "{name}");
        }
        for name in ["uring", "blocking"] {
            let found = std::fs::read(directory.path().join(name)).unwrap();
            assert!(found == [1; BYTES], "{name}: {refused}");
        }
    }
}

#[test]
fn a_device_that_failed_says_so_whatever_it_is_asked_and_writes_nothing_more() {
    let (directory, pool) = (tempfile::tempdir().unwrap(), pool());
    for (name, mut device) in engines(directory.path()) {
        let settled = device.settle().unwrap();
        let beyond = extent(6, 1);
        let first = device.write_batch(clears(&pool, beyond)).unwrap_err().attempt;
        let mut batch = clears(&pool, extent(0, 1));
        batch.writes.push(sectors(1, 1));
        assert_eq!(device.write_batch(batch).unwrap_err().attempt, first, "{name}");
        assert_eq!(device.reap().unwrap_err().attempt, first, "{name}");
        assert_eq!(device.settle().unwrap_err().attempt, first, "{name}");
        // A proof from before the failure is no longer valid.
        assert_eq!(device.flush(settled).unwrap_err().attempt, first, "{name}");
        let batch = ReadBatch { arena: pool.take().unwrap(), reads: vec![sectors(0, 6)] };
        assert_eq!(device.read_batch(batch).unwrap().as_slice()[..6 * SECTOR], filled([0; 6]));
    }
}

#[test]
fn where_nothing_is_under_way_nothing_is_waited_for() {
    let (directory, pool) = (tempfile::tempdir().unwrap(), pool());
    for (name, mut device) in engines(directory.path()) {
        write(device.as_mut(), &pool, sectors(0, 6), 1);
        let settled = device.settle().unwrap();
        let begun = std::time::Instant::now();
        assert!(!device.reap().unwrap(), "{name}");
        // An engine that waited would take a second.
        assert!(begun.elapsed() < crate::patience::STEP, "{name}");
        assert!(device.is_read(), "{name}");
        let failure = device.finish_read().unwrap_err();
        assert_eq!(failure.cause.kind(), io::ErrorKind::InvalidInput, "{name}");
        let _ = device.flush(settled).unwrap();
    }
}

#[test]
fn an_attempt_is_about_whole_sectors_and_a_flush_about_none() {
    let size = SectorSize::Bytes512;
    let part = Extent::between(ByteOffset::new(100), ByteOffset::new(1025)).unwrap();
    for attempt in [Attempt::Read(part), Attempt::Write(part), Attempt::Clear(part)] {
        assert_eq!(attempt.sectors(size), extent(0, 3).to_sectors(size), "{attempt}");
    }
    assert_eq!(Attempt::Flush.sectors(size), None);
}

#[test]
fn a_transfer_is_about_its_bytes_unless_there_are_none() {
    let transfer = Transfer { at: ByteOffset::new(512), position: 4096, length: 1024 };
    let expected = Extent::between(ByteOffset::new(512), ByteOffset::new(1536)).unwrap();
    assert_eq!(transfer.extent(), Some(expected));
    assert_eq!(Transfer { length: 0, ..transfer }.extent(), None);
    assert_eq!(Transfer { at: ByteOffset::new(u64::MAX), ..transfer }.extent(), None);
}
