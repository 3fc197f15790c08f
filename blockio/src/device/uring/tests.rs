//! The ring on a file: what is dropped, moved between threads, or cut short.

use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;

use super::*;
use crate::device::buffer::ArenaPool;
use crate::units::{ByteCount, ByteOffset, SectorSize};

mod clears;
mod on_pipes;

const BYTES: usize = 1 << 20;

fn pool(count: usize) -> ArenaPool {
    ArenaPool::new(count, NonZeroUsize::new(BYTES).unwrap()).unwrap()
}

fn device() -> (File, UringDevice) {
    let file = tempfile::tempfile().unwrap();
    file.set_len(BYTES as u64).unwrap();
    let capacity = ByteCount::new(BYTES as u64);
    let geometry = Geometry { capacity, sector_size: SectorSize::Bytes512 };
    let device = UringDevice::new(file.try_clone().unwrap(), geometry).unwrap();
    (file, device)
}

fn transfers(count: usize, length: usize) -> Vec<Transfer> {
    let one = |index| Transfer {
        at: ByteOffset::new((index * length) as u64),
        position: index * length,
        length,
    };
    (0..count).map(one).collect()
}

fn batch(mut arena: Arena, byte: u8) -> WriteBatch {
    arena.as_mut_slice().fill(byte);
    let writes = transfers(BYTES / 4096, 4096);
    WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() }
}

fn holds(file: &File, byte: u8) -> bool {
    let mut bytes = vec![0; BYTES];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes.iter().all(|&found| found == byte)
}

#[test]
fn a_dropped_device_has_written_everything_and_given_back_its_arenas() {
    let pool = pool(1);
    let (file, mut device) = device();
    device.write_batch(batch(pool.take().unwrap(), 7)).unwrap();
    drop(device);
    assert!(holds(&file, 7));
    drop(pool.take().unwrap());
}

#[test]
fn a_settled_device_works_on_in_another_thread() {
    let pool = pool(1);
    let (file, mut device) = device();
    device.write_batch(batch(pool.take().unwrap(), 1)).unwrap();
    let _ = device.settle().unwrap();
    let second = batch(pool.take().unwrap(), 2);
    let work = move || {
        device.write_batch(second).unwrap();
        device.settle().map(drop)
    };
    std::thread::spawn(work).join().unwrap().unwrap();
    assert!(holds(&file, 2));
}

#[test]
fn reaping_gives_arenas_back_to_who_waits_for_one() {
    let pool = pool(1);
    let (file, mut device) = device();
    for number in 0..BYTES / 4096 {
        let arena = loop {
            match pool.try_take() {
                Some(arena) => break arena,
                None => drop(device.reap().unwrap()),
            }
        };
        let mut batch = batch(arena, 9);
        batch.writes = vec![batch.writes[number]];
        device.write_batch(batch).unwrap();
    }
    let _ = device.settle().unwrap();
    assert!(holds(&file, 9));
}

#[test]
fn a_read_past_where_the_file_was_cut_says_so_and_the_device_lives_on() {
    let pool = pool(2);
    let (file, mut device) = device();
    file.set_len(4096).unwrap();
    let reads = transfers(4, 4096);
    let failure = device.read_batch(ReadBatch { arena: pool.take().unwrap(), reads }).unwrap_err();
    assert_eq!(failure.cause.kind(), io::ErrorKind::UnexpectedEof);
    let reads = transfers(1, 4096);
    assert!(device.read_batch(ReadBatch { arena: pool.take().unwrap(), reads }).is_ok());
    assert!(device.settle().is_ok());
}

#[test]
fn a_transfer_outside_of_the_disk_or_its_arena_touches_nothing_and_fails_from_then_on() {
    for (at, position, length) in [
        (BYTES as u64, 0, 512),
        (0, BYTES, 512),
        (0, 0, 0),
        (100, 0, 512),
        (0, 1, 512),
        (u64::MAX - 511, 0, 512),
    ] {
        let pool = pool(1);
        let (file, mut device) = device();
        let transfer = Transfer { at: ByteOffset::new(at), position, length };
        let mut batch = batch(pool.take().unwrap(), 3);
        batch.writes = vec![transfer];
        let failure = device.write_batch(batch).unwrap_err();
        assert_eq!(failure.cause.kind(), io::ErrorKind::InvalidInput, "{transfer:?}");
        assert!(device.settle().is_err());
        assert!(holds(&file, 0), "{transfer:?}");
    }
}

#[test]
fn a_write_that_was_done_in_part_goes_on_where_it_stopped() {
    let transfer = Transfer { at: ByteOffset::new(8192), position: 4096, length: 4096 };
    let mut operation = Operation { owner: Owner::Read(0), transfer, done: 0, address: 1 << 20 };
    operation.done += outcome(&operation, 512).unwrap();
    let request = operation.request();
    assert_eq!((request.offset, request.address, request.length), (8704, (1 << 20) + 512, 3584));
    for again in [Errno::EINTR, Errno::EAGAIN] {
        assert_eq!(outcome(&operation, -(again as i32)).unwrap(), 0);
    }
    let failure = outcome(&operation, -(Errno::EIO as i32)).unwrap_err();
    assert_eq!(failure.raw_os_error(), Some(Errno::EIO as i32));
}

#[test]
fn batches_that_are_read_come_back_in_the_order_in_which_they_were_begun() {
    let pool = pool(4);
    let (file, mut device) = device();
    for block in 0..3 {
        file.write_all_at(&[block as u8 + 1; 4096], block * 4096).unwrap();
    }
    let read =
        |block: u64| Transfer { at: ByteOffset::new(block * 4096), position: 0, length: 4096 };
    let batch = |block| ReadBatch { arena: pool.take().unwrap(), reads: vec![read(block)] };
    assert!(matches!(device.begin_read(batch(0)).unwrap(), Reading::UnderWay));
    assert!(matches!(device.begin_read(batch(1)).unwrap(), Reading::UnderWay));
    // A batch that is waited for overtakes them.
    assert_eq!(device.read_batch(batch(2)).unwrap().as_slice()[0], 3);
    assert_eq!(device.finish_read().unwrap().as_slice()[4095], 1);
    while !device.is_read() {}
    assert_eq!(device.finish_read().unwrap().as_slice()[0], 2);
    assert_eq!(device.finish_read().unwrap_err().cause.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_batch_that_cannot_be_read_fails_when_it_is_asked_for_and_the_one_behind_it_does_not() {
    let pool = pool(2);
    let (file, mut device) = device();
    file.set_len(8192).unwrap();
    for reads in [transfers(4, 4096), transfers(2, 4096)] {
        device.begin_read(ReadBatch { arena: pool.take().unwrap(), reads }).unwrap();
    }
    let failure = device.finish_read().unwrap_err();
    assert_eq!(failure.cause.kind(), io::ErrorKind::UnexpectedEof);
    assert!(device.finish_read().is_ok());
    let _both_are_back = (pool.take().unwrap(), pool.take().unwrap());
}

#[test]
fn who_only_looks_finds_that_a_batch_is_read() {
    let pool = pool(1);
    let (_, mut device) = device();
    let reads = transfers(16, 4096);
    device.begin_read(ReadBatch { arena: pool.take().unwrap(), reads }).unwrap();
    let begun = std::time::Instant::now();
    while !device.is_read() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is never read");
        std::thread::yield_now();
    }
    device.finish_read().unwrap();
}

#[test]
fn sixteen_entries_are_told_to_the_kernel_at_once_and_fewer_when_a_batch_ends() {
    let pool = pool(2);
    let (_, mut device) = device();
    let reads = transfers(SUBMIT - 1, 4096);
    device.begin_reads(ReadBatch { arena: pool.take().unwrap(), reads }).unwrap();
    assert_eq!((device.ring.queued(), device.under_way()), (SUBMIT - 1, SUBMIT - 1));
    let reads = transfers(1, 4096);
    device.begin_reads(ReadBatch { arena: pool.take().unwrap(), reads }).unwrap();
    assert_eq!(device.ring.queued(), 0);
    drop((device.finish_read().unwrap(), device.finish_read().unwrap()));
    let reads = transfers(3, 4096);
    device.begin_read(ReadBatch { arena: pool.take().unwrap(), reads }).unwrap();
    assert_eq!(device.ring.queued(), 0);
}

#[test]
fn a_device_that_is_handed_over_holds_its_file_no_longer() {
    let pool = pool(1);
    let (file, mut device) = device();
    device.write_batch(batch(pool.take().unwrap(), 1)).unwrap();
    let _ = device.settle().unwrap();
    let held = device.ring.holds_its_file();
    device.hand_over();
    assert!(held && !device.ring.holds_its_file());
    std::thread::spawn(move || {
        device.write_batch(batch(pool.take().unwrap(), 2)).unwrap();
        device.settle().map(drop).unwrap();
    })
    .join()
    .unwrap();
    assert!(holds(&file, 2));
}

#[test]
fn a_kernel_without_memory_is_left_alone_for_a_moment() {
    let (_, mut device) = device();
    let begun = std::time::Instant::now();
    device.have_patience(Entered::Busy).unwrap();
    assert!(begun.elapsed() >= BUSY_PAUSE);
}

#[test]
fn a_flush_beside_writes_includes_those_before_it_and_no_others() {
    let pool = pool(2);
    let (_, mut device) = device();
    device.write_batch(batch(pool.take().unwrap(), 1)).unwrap();
    let before = device.next_write;
    assert!(matches!(device.begin_flush().unwrap(), Flushing::UnderWay));
    device.write_batch(batch(pool.take().unwrap(), 2)).unwrap();
    let is_early =
        |operation: &Operation| operation.owner.number().is_some_and(|number| number < before);
    let has_early = device.slots.iter().flatten().any(is_early);
    let waits = device.flushing.as_ref().is_some_and(|flush| flush.waits_for().is_some());
    assert!(waits || !has_early, "it began before what it includes was written");
    let Flushed(()) = device.finish_flush().unwrap();
    assert!(!device.slots.iter().flatten().any(is_early));
    assert!(device.finish_flush().is_err(), "none is under way any more");
    let _ = device.settle().unwrap();
}

#[test]
fn a_flush_that_was_begun_is_done_some_time_and_another_one_includes_it() {
    let pool = pool(1);
    let (_, mut device) = device();
    device.write_batch(batch(pool.take().unwrap(), 1)).unwrap();
    device.begin_flush().unwrap();
    while !device.is_flushed() {
        std::thread::yield_now();
    }
    let settled = device.settle().unwrap();
    let Flushed(()) = device.flush(settled).unwrap();
    assert!(device.flushing.is_none() && device.finish_flush().is_err());
}
