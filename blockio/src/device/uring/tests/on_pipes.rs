//! Transfers on pipes, which stay under way as long as a test likes: nothing comes, or only a part
//! of it, or there is no room.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::*;
use crate::extent::Extent;
use crate::patience::tests::SHORT;

fn on(pipe: OwnedFd) -> UringDevice {
    let capacity = ByteCount::new(BYTES as u64);
    let geometry = Geometry { capacity, sector_size: SectorSize::Bytes512 };
    let mut device = UringDevice::new(File::from(pipe), geometry).unwrap();
    device.limits = SHORT;
    device
}

/// A device whose reads complete as data is written to the pipe.
fn reading() -> (PipeWriter, UringDevice) {
    let (reader, writer) = std::io::pipe().unwrap();
    (writer, on(reader.into()))
}

/// A device whose writes complete as there is room in the pipe: at first for `room` bytes. Reads
/// from the pipe do not block. Also returns how many bytes are in it already.
fn writing(room: usize) -> (PipeReader, UringDevice, usize) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    for end in [OwnedFd::from(reader.try_clone().unwrap()), writer.try_clone().unwrap().into()] {
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    }
    let mut filled = 0;
    while let Ok(bytes) = writer.write(&[0xEE; 4096]) {
        filled += bytes;
    }
    (&reader).read_exact(&mut vec![0; room]).unwrap();
    // A ring does not wait for a file opened with O_NONBLOCK.
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader, on(writer.into()), filled - room)
}

fn reads(pool: &ArenaPool, count: usize, length: usize) -> ReadBatch {
    ReadBatch { arena: pool.take().unwrap(), reads: transfers(count, length) }
}

fn writes(pool: &ArenaPool, length: usize) -> WriteBatch {
    let mut batch = batch(pool.take().unwrap(), 7);
    batch.writes = transfers(1, length);
    batch
}

fn extent(length: u64) -> Extent {
    Extent::new(ByteOffset::ZERO, ByteCount::new(length)).unwrap()
}

/// Everything in the pipe.
fn drained(reader: &mut PipeReader) -> Vec<u8> {
    let mut all = Vec::new();
    let _nothing_more = reader.read_to_end(&mut all);
    all
}

#[test]
fn a_transfer_that_never_ends_is_an_error_with_what_it_is_and_the_device_can_be_dropped() {
    let pool = pool(1);
    let (writer, mut device) = reading();
    let reads = transfers(2, 4096);
    let failure = device.read_batch(ReadBatch { arena: pool.take().unwrap(), reads }).unwrap_err();
    assert_eq!(failure.cause.kind(), io::ErrorKind::TimedOut);
    let told = failure.cause.to_string();
    assert!(told.contains("2 transfers of a disk are under way, bytes "), "{told}");
    drop(device);
    // Memory that the kernel may still write to is never given to anybody.
    assert!(pool.try_take().is_none());
    drop(writer);
}

#[test]
fn a_short_write_is_not_taken_for_done_and_goes_on_where_it_stopped() {
    let pool = pool(1);
    let (mut reader, mut device, before) = writing(4096);
    let mut batch = writes(&pool, 8192);
    Arc::get_mut(&mut batch.arena).unwrap().as_mut_slice()[4096..8192].fill(8);
    device.write_batch(batch).unwrap();
    // The first half is in the pipe, which is full.
    assert!(device.reap().unwrap());
    let mut first = vec![0; before + 4096];
    reader.read_exact(&mut first).unwrap();
    assert!(first[before..].iter().all(|&byte| byte == 7));
    let settled = device.settle();
    assert_eq!(drained(&mut reader), [8; 4096]);
    assert!(settled.is_ok());
}

#[test]
fn a_short_read_goes_on_where_it_stopped() {
    let pool = pool(1);
    let (mut writer, mut device) = reading();
    writer.write_all(&[7; 4096]).unwrap();
    device.begin_read(reads(&pool, 1, 8192)).unwrap();
    assert!(!device.is_read());
    writer.write_all(&[8; 4096]).unwrap();
    let arena = device.finish_read().unwrap();
    let (first, second) = arena.as_slice()[..8192].split_at(4096);
    assert!(first.iter().all(|&byte| byte == 7) && second.iter().all(|&byte| byte == 8));
}

#[test]
fn a_write_that_fails_after_it_was_begun_is_told_by_all_that_is_asked_from_then_on() {
    let pool = pool(2);
    let (reader, mut device, _) = writing(0);
    let settled = device.settle().unwrap();
    device.write_batch(writes(&pool, 4096)).unwrap();
    // Data written to it now has nowhere to go.
    drop(reader);
    for told in [
        device.reap().unwrap_err(),
        device.settle().unwrap_err(),
        device.flush(settled).unwrap_err(),
        device.write_batch(writes(&pool, 512)).unwrap_err(),
    ] {
        assert_eq!(told.attempt, Attempt::Write(extent(4096)));
        assert_eq!(told.cause.raw_os_error(), Some(Errno::EPIPE as i32));
    }
}

#[test]
fn a_clear_does_not_wait_for_a_write_and_one_of_a_part_of_a_sector_does() {
    let pool = pool(2);
    for (cut, expected) in [(0, Errno::ESPIPE as i32), (100, 0)] {
        let (reader, mut device, _) = writing(0);
        let capacity = ByteCount::new((BYTES - cut) as u64);
        let geometry = Geometry { capacity, ..device.geometry() };
        device.disk = DiskFile::new(device.disk.file().try_clone().unwrap(), geometry).unwrap();
        device.write_batch(writes(&pool, 4096)).unwrap();
        let last = Transfer { at: ByteOffset::new((BYTES - 512) as u64), position: 0, length: 512 };
        let (arena, clears) = (Arc::new(pool.take().unwrap()), vec![extent_of(last)]);
        // The write does not end. A pipe fails the clear, or it is never attempted.
        let began = device.write_batch(WriteBatch { arena, writes: Vec::new(), clears });
        let failure = began.and_then(|()| device.settle().map(drop)).unwrap_err();
        assert_eq!(failure.attempt, Attempt::Clear(extent_of(last)));
        match cut {
            0 => assert_eq!(failure.cause.raw_os_error(), Some(expected)),
            _ => assert_eq!(failure.cause.kind(), io::ErrorKind::TimedOut),
        }
        // Which ends the write.
        drop(reader);
    }
}

#[test]
fn what_is_under_way_is_waited_for_before_a_flush() {
    let pool = pool(1);
    let (_reader, mut device, _) = writing(0);
    let settled = device.settle().unwrap();
    device.write_batch(writes(&pool, 4096)).unwrap();
    let failure = device.flush(settled).unwrap_err();
    assert_eq!(failure.cause.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn reaping_waits_for_something_and_says_that_more_is_under_way() {
    let pool = pool(1);
    let (_reader, mut device, _) = writing(0);
    device.write_batch(writes(&pool, 4096)).unwrap();
    assert!(device.patience.is_none());
    assert!(device.reap().unwrap());
    assert!(device.patience.is_some(), "it did not wait");
}

#[test]
fn who_looks_once_finds_what_came_and_nothing_before_it_came() {
    let pool = pool(1);
    let (mut writer, mut device) = reading();
    device.begin_read(reads(&pool, 1, 4096)).unwrap();
    assert!(!device.is_read());
    writer.write_all(&[7; 4096]).unwrap();
    let begun = std::time::Instant::now();
    loop {
        let before = device.under_way();
        let is_read = device.is_read();
        // Completions that the check itself reaped are included in its answer.
        assert_eq!(is_read, device.under_way() == 0, "{before} were under way");
        if is_read {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "it is never read");
        std::thread::yield_now();
    }
    assert_eq!(device.finish_read().unwrap().as_slice()[4095], 7);
}

#[test]
fn where_asking_fails_a_batch_counts_as_read_and_taking_it_says_why() {
    let pool = pool(1);
    let (writer, mut device) = reading();
    device.begin_read(reads(&pool, 1, 4096)).unwrap();
    let asked = std::thread::scope(|scope| {
        let device = &mut device;
        let ask = move || {
            // Kernels before 6.1 let any thread enter a ring.
            let is_refused = !device.ring.is_of_this_thread();
            is_refused.then(|| (device.is_read(), device.finish_read().map(drop)))
        };
        scope.spawn(ask).join().unwrap()
    });
    if let Some((is_read, taken)) = asked {
        assert!(is_read);
        assert!(taken.unwrap_err().cause.to_string().contains("handed to another thread"));
    }
    drop(writer);
}

#[test]
fn patience_begins_when_nothing_comes_of_a_wait_and_ends_when_something_does() {
    let pool = pool(1);
    let (mut writer, mut device) = reading();
    device.begin_reads(reads(&pool, 2, 4096)).unwrap();
    // The kernel takes the queued entries: that is progress.
    device.wait(1).unwrap();
    assert!(device.patience.is_none());
    // A check is not a wait.
    device.wait(0).unwrap();
    assert!(device.patience.is_none());
    device.wait(1).unwrap();
    assert!(device.patience.is_some());
    // One of the two is done.
    writer.write_all(&[7; 4096]).unwrap();
    device.wait(1).unwrap();
    assert_eq!(device.under_way(), 1);
    assert!(device.patience.is_none());
}

#[test]
fn a_part_that_came_is_progress_and_what_has_to_be_tried_again_is_none() {
    let pool = pool(1);
    let (_writer, mut device) = reading();
    device.begin_reads(reads(&pool, 1, 4096)).unwrap();
    let slot = device.slots.iter().position(Option::is_some).unwrap();
    // Completed by hand, so nothing is submitted: the queue is dropped with the ring.
    assert!(!device.complete(slot, -(Errno::EAGAIN as i32)));
    assert!(device.complete(slot, 512));
    assert!(device.complete(slot, 4096 - 512));
    assert_eq!((device.under_way(), device.reading[0].left), (0, 0));
}

#[test]
fn a_device_whose_flush_beside_it_failed_stays_failed() {
    // A pipe cannot be flushed.
    let (_writer, mut device) = reading();
    device.begin_flush().unwrap();
    let failure = device.finish_flush().unwrap_err();
    assert_eq!(
        (failure.attempt, failure.cause.raw_os_error()),
        (Attempt::Flush, Some(libc::EINVAL))
    );
    assert!(device.settle().is_err() && device.begin_flush().is_err());
}

#[test]
fn a_flush_does_not_begin_while_a_write_that_it_includes_is_under_way() {
    let pool = pool(1);
    let (mut reader, mut device, _) = writing(0);
    device.write_batch(writes(&pool, 4096)).unwrap();
    device.begin_flush().unwrap();
    assert!(!device.is_flushed());
    assert!(device.flushing.as_ref().is_some_and(|flush| flush.waits_for().is_some()));
    drop(drained(&mut reader));
    // What comes of it: a pipe cannot be flushed.
    assert_eq!(device.finish_flush().unwrap_err().cause.raw_os_error(), Some(libc::EINVAL));
}
