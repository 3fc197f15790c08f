//! Reading back, on a disk that does its writes when it is waited for, and not before.

use super::*;
use crate::plan::{Change, Patch};
use crate::units::Lba;

fn pool_of(bytes: usize) -> ArenaPool {
    ArenaPool::new(1, NonZeroUsize::new(bytes).unwrap()).unwrap()
}

/// A writer to a slow disk of 8192 bytes, and a handle to look at the disk.
fn writer(reads_back: bool, gets_wrong: Option<usize>) -> (Writer, MemoryDevice) {
    let capacity = ByteCount::new(8192);
    let disk = MemoryDevice::new(Geometry { capacity, sector_size: SectorSize::Bytes512 });
    let look = disk.clone();
    let device = Box::new(Slow { gets_wrong, ..Slow::of(disk) });
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

/// `plan`, without a history.
fn preserved(plan: WritePlan, fill: u8) -> PreservedPlan {
    let mut arena = pool_of(1024).take().unwrap();
    arena.as_mut_slice().fill(fill);
    without_history(plan, arena)
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
    // A sector that changes in part is compared as a whole.
    let (mut writer, _) = writer(true, Some(2047));
    let differs = writer.write(part(6)).unwrap_err();
    assert_eq!(differs.kind(), ErrorKind::Integrity);
    assert!(differs.hint().is_some_and(|hint| hint.contains("do not trust")), "{differs:?}");
}

#[test]
fn nothing_is_read_back_that_nobody_asked_for() {
    let (mut writer, look) = writer(false, Some(4096));
    writer.write(whole(4096, 5)).unwrap();
    assert_eq!(look.contents()[4096], 0, "waiting for it");
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
    // The sector is read to be changed in part: earlier writes must be done.
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
    let device = Box::new(Slow::of(disk));
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
    let device = Box::new(Slow::of(disk));
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
    writer.write(without_history(plan, arena)).unwrap();
    let _ = writer.flush().unwrap();
    let now = look.contents();
    for (number, sector) in now.chunks(512).enumerate() {
        let rest = if number == 1 { 9 } else { 0 };
        assert_eq!((sector[0], sector[511]), (number as u8, rest), "sector {number}");
    }
}
