//! A writer on a disk that does what it is given when it is waited for, as rings do, not before.

use std::sync::Arc;

use super::*;
use crate::ErrorKind;
use crate::device::memory::MemoryDevice;
use crate::device::{Settled, Transfer};
use crate::group::Group;
use crate::plan::{Change, Patch};
use crate::units::{ByteCount, ByteOffset, Lba, SectorSize};

/// A disk that keeps writes to itself until it is waited for; the byte of its disk that it gets
/// wrong, if there is one.
struct Lazy {
    disk: MemoryDevice,
    kept: Vec<WriteBatch>,
    gets_wrong: Option<usize>,
}

impl Lazy {
    fn do_first(&mut self) -> std::result::Result<(), DeviceError> {
        if self.kept.is_empty() {
            return Ok(());
        }
        self.disk.write_batch(self.kept.remove(0))?;
        let Some(at) = self.gets_wrong.take() else { return Ok(()) };
        let sector = at / 512 * 512;
        let mut arena = pool_of(512).take().unwrap();
        arena.as_mut_slice().copy_from_slice(&self.disk.contents()[sector..][..512]);
        arena.as_mut_slice()[at - sector] ^= 0xff;
        let at = ByteOffset::new(sector as u64);
        let writes = vec![Transfer { at, position: 0, length: 512 }];
        self.disk.write_batch(WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() })
    }
}

impl BlockDevice for Lazy {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn engine_name(&self) -> &'static str {
        "lazy"
    }

    fn read_batch(&mut self, batch: ReadBatch) -> std::result::Result<Arena, DeviceError> {
        self.disk.read_batch(batch)
    }

    fn write_batch(&mut self, batch: WriteBatch) -> std::result::Result<(), DeviceError> {
        self.kept.push(batch);
        Ok(())
    }

    fn reap(&mut self) -> std::result::Result<bool, DeviceError> {
        self.do_first()?;
        Ok(!self.kept.is_empty())
    }

    fn settle(&mut self) -> std::result::Result<Settled, DeviceError> {
        while !self.kept.is_empty() {
            self.do_first()?;
        }
        self.disk.settle()
    }

    fn flush(&mut self, settled: Settled) -> std::result::Result<Flushed, DeviceError> {
        self.disk.flush(settled)
    }
}

fn pool_of(bytes: usize) -> ArenaPool {
    ArenaPool::new(1, NonZeroUsize::new(bytes).unwrap()).unwrap()
}

/// A writer to a lazy disk of 8192 bytes, and what is there.
fn writer(reads_back: bool, gets_wrong: Option<usize>) -> (Writer, MemoryDevice) {
    let capacity = ByteCount::new(8192);
    let disk = MemoryDevice::new(Geometry { capacity, sector_size: SectorSize::Bytes512 });
    let look = disk.clone();
    let device = Box::new(Lazy { disk, kept: Vec::new(), gets_wrong });
    (Writer::new("db on disk".to_owned(), device, reads_back), look)
}

fn extent(start: u64, length: u64) -> Extent {
    Extent::new(ByteOffset::new(start), ByteCount::new(length)).unwrap()
}

/// 1024 bytes of `fill` at `at`.
fn whole(at: u64, fill: u8) -> PreservedPlan {
    let writes = vec![Transfer { at: ByteOffset::new(at), position: 0, length: 1024 }];
    let touched = vec![extent(at, 1024)];
    preserved(WritePlan { writes, touched, ..WritePlan::default() }, fill)
}

/// Two bytes of `fill` at the beginning of sector 3.
fn part(fill: u8) -> PreservedPlan {
    let changes = vec![Change { within: 0, length: 2, position: Some(0) }];
    let patches = vec![Patch { sector: Lba::new(3), changes }];
    preserved(WritePlan { patches, touched: vec![extent(1536, 512)], ..WritePlan::default() }, fill)
}

/// No history is wanted of it.
fn preserved(plan: WritePlan, fill: u8) -> PreservedPlan {
    let mut arena = pool_of(1024).take().unwrap();
    arena.as_mut_slice().fill(fill);
    let mut group = Group::default();
    let recorded = group.recorded(plan, Arc::new(arena));
    group.wait_for(recorded).unwrap()
}

#[test]
fn verify_waits_for_what_it_wrote_and_finds_it() {
    let (mut writer, look) = writer(true, None);
    writer.write(whole(4096, 5)).unwrap();
    assert!(!writer.has_something_under_way());
    assert_eq!(look.contents()[4096..5120], [5; 1024]);
    writer.write(part(6)).unwrap();
    assert_eq!(look.contents()[1536..1539], [6, 6, 0]);
}

#[test]
fn verify_notices_a_byte_that_is_other_than_written() {
    for at in [4096, 5119] {
        let (mut writer, _) = writer(true, Some(at));
        let differs = writer.write(whole(4096, 5)).unwrap_err();
        assert_eq!(differs.kind(), ErrorKind::Integrity);
        assert!(differs.to_string().contains("db on disk: bytes 4096..5120"), "{differs}");
    }
    // Of a sector that changes in part all is compared.
    let (mut writer, _) = writer(true, Some(2047));
    let differs = writer.write(part(6)).unwrap_err();
    assert_eq!(differs.kind(), ErrorKind::Integrity);
    assert!(differs.hint().is_some_and(|hint| hint.contains("do not trust")), "{differs:?}");
}

#[test]
fn nothing_is_read_back_that_nobody_asked_for() {
    let (mut writer, look) = writer(false, Some(4096));
    writer.write(whole(4096, 5)).unwrap();
    assert_eq!(look.contents()[4096], 0, "it was waited for");
    assert!(writer.has_something_under_way());
    writer.reap().unwrap();
    assert!(!writer.has_something_under_way());
    assert_eq!(look.contents()[4097], 5);
}

#[test]
fn a_sector_that_is_being_written_is_waited_for_before_it_is_changed() {
    let (mut writer, look) = writer(false, None);
    writer.write(whole(1024, 5)).unwrap();
    writer.write(whole(4096, 5)).unwrap();
    assert_eq!(look.contents()[1024], 0, "another place was waited for");
    // It is read to be changed in part: what was written before must be there.
    writer.write(part(6)).unwrap();
    let _ = writer.flush().unwrap();
    assert_eq!(look.contents()[1536..1539], [6, 6, 5]);
    assert!(!writer.has_something_under_way());
}

#[test]
fn a_flush_of_a_write_that_failed_fails() {
    let capacity = ByteCount::new(8192);
    let disk = MemoryDevice::new(Geometry { capacity, sector_size: SectorSize::Bytes512 });
    let disk = disk.failing_writes(0, libc::EIO);
    let device = Box::new(Lazy { disk, kept: Vec::new(), gets_wrong: None });
    let mut writer = Writer::new("db on disk".to_owned(), device, false);
    writer.write(whole(4096, 5)).unwrap();
    let failed = writer.flush().unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Failed);
    assert!(failed.to_string().contains("writing bytes 4096..5120"), "{failed}");
}

#[test]
fn more_sectors_that_change_in_part_than_memory_holds_are_all_changed() {
    let count = 1100;
    let capacity = ByteCount::new(count * 512);
    let mut disk = MemoryDevice::new(Geometry { capacity, sector_size: SectorSize::Bytes512 });
    let look = disk.clone();
    let mut arena = pool_of(512).take().unwrap();
    arena.as_mut_slice().fill(9);
    let writes = vec![Transfer { at: ByteOffset::new(512), position: 0, length: 512 }];
    disk.write_batch(WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() }).unwrap();
    let device = Box::new(Lazy { disk, kept: Vec::new(), gets_wrong: None });
    let mut writer = Writer::new("db on disk".to_owned(), device, false);
    // Sector n begins with byte n of the batch.
    let patch = |number: u64| {
        let change = Change { within: 0, length: 1, position: Some(number as usize % 1024) };
        Patch { sector: Lba::new(number), changes: vec![change] }
    };
    let patches = (0..count).map(patch).collect();
    let plan = WritePlan { patches, touched: vec![extent(0, count * 512)], ..WritePlan::default() };
    let mut arena = pool_of(1024).take().unwrap();
    for (number, byte) in arena.as_mut_slice().iter_mut().enumerate() {
        *byte = number as u8;
    }
    let mut group = Group::default();
    let recorded = group.recorded(plan, Arc::new(arena));
    writer.write(group.wait_for(recorded).unwrap()).unwrap();
    let _ = writer.flush().unwrap();
    let now = look.contents();
    for (number, sector) in now.chunks(512).enumerate() {
        let rest = if number == 1 { 9 } else { 0 };
        assert_eq!((sector[0], sector[511]), (number as u8, rest), "sector {number}");
    }
}
