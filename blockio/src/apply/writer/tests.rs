//! The order of requests to a device that does nothing before it is waited for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::*;
use crate::ErrorKind;
use crate::device::memory::MemoryDevice;
use crate::device::{Settled, Transfer};
use crate::group::Group;
use crate::units::{ByteCount, ByteOffset, SectorSize};

mod reading_back;

const SECTOR: usize = 512;

/// A disk whose writes stay under way until it is waited for, oldest first.
struct Slow {
    disk: MemoryDevice,
    under_way: VecDeque<WriteBatch>,
    log: Log,
    forgets_writes: bool,
    /// The byte that it gets wrong, once.
    gets_wrong: Option<usize>,
    is_read: bool,
}

/// What a disk was asked to do, and what it did, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, what: &str, transfers: &[Transfer]) {
        let Some(first) = transfers.first() else { return };
        self.0.lock().unwrap().push(format!("{what} {}", first.at.get() / SECTOR as u64));
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Slow {
    fn new() -> Self {
        let capacity = ByteCount::new(64 * SECTOR as u64);
        let geometry = Geometry { capacity, sector_size: SectorSize::Bytes512 };
        Self::of(MemoryDevice::new(geometry))
    }

    fn of(disk: MemoryDevice) -> Self {
        let (under_way, log) = (VecDeque::new(), Log::default());
        Self { disk, under_way, log, forgets_writes: false, gets_wrong: None, is_read: true }
    }

    fn end_oldest(&mut self) -> std::result::Result<(), DeviceError> {
        let Some(batch) = self.under_way.pop_front() else { return Ok(()) };
        self.log.add("done", &batch.writes);
        if self.forgets_writes {
            return Ok(());
        }
        self.disk.write_batch(batch)?;
        match self.gets_wrong.take() {
            Some(at) => self.disk.write_batch(self.wrong_at(at)),
            None => Ok(()),
        }
    }

    /// The write of the sector with byte `at`, with that byte changed.
    fn wrong_at(&self, at: usize) -> WriteBatch {
        let first = at / SECTOR * SECTOR;
        let mut arena = pool().take().unwrap();
        let sector = &mut arena.as_mut_slice()[..SECTOR];
        sector.copy_from_slice(&self.disk.contents()[first..][..SECTOR]);
        sector[at - first] ^= 0xff;
        let at = ByteOffset::new(first as u64);
        let writes = vec![Transfer { at, position: 0, length: SECTOR }];
        WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() }
    }
}

impl BlockDevice for Slow {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn engine_name(&self) -> &'static str {
        "slow"
    }

    fn read_batch(&mut self, batch: ReadBatch) -> std::result::Result<Arena, DeviceError> {
        self.log.add("read", &batch.reads);
        self.disk.read_batch(batch)
    }

    fn is_read(&mut self) -> bool {
        self.is_read
    }

    fn write_batch(&mut self, batch: WriteBatch) -> std::result::Result<(), DeviceError> {
        self.log.add("write", &batch.writes);
        self.under_way.push_back(batch);
        Ok(())
    }

    fn reap(&mut self) -> std::result::Result<bool, DeviceError> {
        self.end_oldest()?;
        Ok(!self.under_way.is_empty())
    }

    fn settle(&mut self) -> std::result::Result<Settled, DeviceError> {
        while !self.under_way.is_empty() {
            self.end_oldest()?;
        }
        self.disk.settle()
    }

    fn flush(&mut self, settled: Settled) -> std::result::Result<Flushed, DeviceError> {
        self.disk.flush(settled)
    }
}

fn pool() -> ArenaPool {
    ArenaPool::new(4, NonZeroUsize::new(16 * SECTOR).unwrap()).unwrap()
}

/// The write of `count` sectors from `first` on, without a history.
fn preserved(pool: &ArenaPool, first: u64, count: usize) -> PreservedPlan {
    let mut arena = pool.take().unwrap();
    arena.as_mut_slice().fill(first as u8 + 1);
    let at = ByteOffset::new(first * SECTOR as u64);
    let write = Transfer { at, position: 0, length: count * SECTOR };
    let mut plan = WritePlan::default();
    plan.writes.push(write);
    plan.touched.push(write.extent().unwrap());
    without_history(plan, arena)
}

fn without_history(plan: WritePlan, arena: Arena) -> PreservedPlan {
    let mut group = Group::default();
    let recorded = group.recorded(plan, Arc::new(arena));
    group.wait_for(recorded).unwrap()
}

fn writer(device: Slow, reads_back: bool) -> (Writer, Log) {
    let log = device.log.clone();
    (Writer::new("disk".into(), Box::new(device), reads_back), log)
}

#[test]
fn a_write_that_overlaps_one_under_way_waits_for_it_and_another_does_not() {
    let pool = pool();
    let (mut writer, log) = writer(Slow::new(), false);
    writer.write(preserved(&pool, 0, 8)).unwrap();
    writer.write(preserved(&pool, 8, 8)).unwrap();
    assert_eq!(log.take(), ["write 0", "write 8"]);
    // The last sector of the second one.
    writer.write(preserved(&pool, 15, 1)).unwrap();
    assert_eq!(log.take(), ["done 0", "done 8", "write 15"]);
    // Writes that are done are not waited for.
    writer.write(preserved(&pool, 0, 15)).unwrap();
    assert_eq!(log.take(), ["write 0"]);
}

#[test]
fn something_is_under_way_until_it_is_reaped_or_flushed() {
    let pool = pool();
    let (mut writer, _) = writer(Slow::new(), false);
    assert!(!writer.has_something_under_way());
    for first in [0, 8] {
        writer.write(preserved(&pool, first, 1)).unwrap();
    }
    writer.reap().unwrap();
    assert!(writer.has_something_under_way());
    writer.reap().unwrap();
    assert!(!writer.has_something_under_way());
    writer.write(preserved(&pool, 0, 1)).unwrap();
    let _ = writer.flush().unwrap();
    assert!(!writer.has_something_under_way());
}

#[test]
fn what_another_volume_still_writes_from_the_same_memory_is_not_under_way_here() {
    let pool = pool();
    let (mut writer, log) = writer(Slow::new(), false);
    let preserved = preserved(&pool, 0, 1);
    let held = {
        let (plan, arena) = preserved.into_parts();
        writer.under_way.add(&arena, plan.touched);
        arena
    };
    assert!(writer.has_something_under_way());
    writer.reap().unwrap();
    assert!(!writer.has_something_under_way());
    drop(held);
    assert_eq!(log.take(), [""; 0]);
}

#[test]
fn what_is_read_back_is_waited_for_before_and_has_to_be_what_was_written() {
    let pool = pool();
    let (mut writer, log) = writer(Slow::new(), true);
    writer.write(preserved(&pool, 3, 2)).unwrap();
    assert_eq!(log.take(), ["write 3", "done 3", "read 3"]);
    let (mut writer, _) = self::writer(Slow { forgets_writes: true, ..Slow::new() }, true);
    let error = writer.write(preserved(&pool, 3, 2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
}

#[test]
fn whether_something_is_read_is_what_the_device_says() {
    for is_read in [false, true] {
        let (mut writer, _) = writer(Slow { is_read, ..Slow::new() }, false);
        assert_eq!(writer.is_read(), is_read);
    }
}
