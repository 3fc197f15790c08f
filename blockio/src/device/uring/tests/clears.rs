//! Clears through the ring: many at once, beside writes, refused, failing, and before a flush. Some
//! are given their slot without the kernel being asked, so that a test decides when and how they
//! end.

use super::*;
use crate::bug::{Bug, plant};
use crate::device::uring::clearing::CLEARS_MAX;

const SECTOR: usize = 512;

fn sectors(first: usize, count: usize) -> Extent {
    let (start, length) = ((first * SECTOR) as u64, (count * SECTOR) as u64);
    Extent::new(ByteOffset::new(start), ByteCount::new(length)).unwrap()
}

fn clears(arena: &Arc<Arena>, clears: Vec<Extent>) -> WriteBatch {
    WriteBatch { arena: Arc::clone(arena), writes: Vec::new(), clears }
}

/// A device of a file of 0xEE.
fn filled() -> (File, UringDevice) {
    let (file, device) = device();
    file.write_all_at(&[0xEE; BYTES], 0).unwrap();
    (file, device)
}

fn content(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; BYTES];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Gives a clear of `extent` its slot, and asks nobody for it: `complete` is to be called for it.
fn put_aside(device: &mut UringDevice, arena: &Arc<Arena>, extent: Extent) -> usize {
    let length = extent.length().get() as usize;
    let transfer = Transfer { at: extent.start(), position: 0, length };
    let (arena, number, way) = (Arc::clone(arena), device.next_write, Way::default());
    device.next_write += 1;
    let owner = Owner::Clear { arena, number, way };
    let mut operation = Operation { owner, transfer, done: 0, address: 0 };
    device.clears.begin(&mut operation);
    let slot = device.free.pop().unwrap();
    device.slots[slot] = Some(operation);
    slot
}

fn way_of(device: &UringDevice, slot: usize) -> Way {
    match device.slots[slot].as_ref().unwrap().owner {
        Owner::Clear { way, .. } => way,
        Owner::Write(..) | Owner::Read(_) => panic!("it is no clear"),
    }
}

#[test]
fn many_clears_are_done_beside_writes_and_the_kernel_has_a_few_at_a_time() {
    let pool = pool(1);
    let (file, mut device) = filled();
    let mut arena = pool.take().unwrap();
    arena.as_mut_slice().fill(7);
    // Of every eight sectors two are cleared and four are written.
    let groups = BYTES / SECTOR / 8;
    let clears = (0..groups).map(|group| sectors(8 * group + 1, 2)).collect();
    let writes = (0..groups).map(|group| {
        let position = (8 * group + 4) * SECTOR;
        Transfer { at: ByteOffset::new(position as u64), position, length: 4 * SECTOR }
    });
    let batch = WriteBatch { arena: Arc::new(arena), writes: writes.collect(), clears };
    device.write_batch(batch).unwrap();
    assert!(device.clears.begun() <= CLEARS_MAX);
    let _ = device.settle().unwrap();
    assert_eq!((device.clears.begun(), device.clears.waiting().len()), (0, 0));
    let expected = [[0xEE; SECTOR], [0; SECTOR], [0; SECTOR], [0xEE; SECTOR]].concat();
    let expected = [expected, vec![7; 4 * SECTOR]].concat();
    assert!(content(&file).chunks(8 * SECTOR).all(|group| group == expected));
    assert!(pool.try_take().is_some());
}

#[test]
fn more_clears_than_may_wait_are_begun_all_the_same() {
    let (file, mut device) = filled();
    let arena = Arc::new(pool(1).take().unwrap());
    let every_other = (0..WAITING_MAX).map(|place| sectors(2 * place, 1));
    device.write_batch(clears(&arena, every_other.collect())).unwrap();
    let every_other = (0..CLEARS_MAX + 2).map(|place| sectors(2 * place + 1, 1));
    device.write_batch(clears(&arena, every_other.collect())).unwrap();
    assert!(device.clears.waiting().len() <= WAITING_MAX);
    let _ = device.settle().unwrap();
    let found = content(&file);
    let (first, rest) = found.split_at(2 * (CLEARS_MAX + 2) * SECTOR);
    assert!(first.iter().all(|&byte| byte == 0));
    let expected = [[0; SECTOR], [0xEE; SECTOR]].concat();
    assert!(rest.chunks(2 * SECTOR).all(|two| two == expected));
}

#[test]
fn clears_refused_at_the_same_time_are_all_asked_for_in_the_next_way() {
    let (file, mut device) = filled();
    let arena = Arc::new(pool(1).take().unwrap());
    let slots = [0, 8, 16].map(|first| put_aside(&mut device, &arena, sectors(first, 4)));
    let refused = -(Errno::EOPNOTSUPP as i32);
    // Both are refused the same way; what is found for the first is not skipped for the second.
    for slot in &slots[..2] {
        assert!(device.complete(*slot, refused));
        assert_eq!(way_of(&device, *slot), Way::ZeroRange);
    }
    // The third is refused when zeros that the kernel makes have been refused as well.
    device.clears = Clears::asking_by(Way::Written, device.clears.begun());
    assert!(device.complete(slots[2], refused));
    assert_eq!(way_of(&device, slots[2]), Way::Written);
    device.write_batch(clears(&arena, vec![sectors(24, 8)])).unwrap();
    let _ = device.settle().unwrap();
    let found = content(&file);
    for (place, sector) in found.chunks(SECTOR).enumerate() {
        let is_cleared = [0..4, 8..12, 16..20, 24..32].iter().any(|range| range.contains(&place));
        assert_eq!(sector, if is_cleared { [0; SECTOR] } else { [0xEE; SECTOR] }, "{place}");
    }
}

#[test]
fn zeros_are_written_a_mebibyte_at_a_time_if_nothing_else_is_left() {
    let (file, mut device) = filled();
    let arena = Arc::new(pool(1).take().unwrap());
    device.clears = Clears::asking_by(Way::Written, 0);
    device.write_batch(clears(&arena, vec![sectors(1, BYTES / SECTOR - 2)])).unwrap();
    let _ = device.settle().unwrap();
    let found = content(&file);
    let (first, rest) = found.split_at(SECTOR);
    let (middle, last) = rest.split_at(BYTES - 2 * SECTOR);
    assert!(first.iter().chain(last).all(|&byte| byte == 0xEE));
    assert!(middle.iter().all(|&byte| byte == 0));
    let long = Transfer { at: ByteOffset::ZERO, position: 0, length: 5 << 20 };
    let owner = Owner::Clear { arena, number: 0, way: Way::Written };
    let operation = Operation { owner, transfer: long, done: 4 << 20, address: 4096 };
    let request = operation.request();
    assert_eq!((request.offset, request.address, request.length), (4 << 20, 4096, 1 << 20));
}

#[test]
fn a_short_clear_of_a_disk_is_a_write_of_zeros() {
    let (file, mut device) = filled();
    let disk = DiskFile::new(file.try_clone().unwrap(), device.geometry()).unwrap();
    device.disk = disk.taken_for_disk();
    let arena = Arc::new(pool(1).take().unwrap());
    // 126 and 2 sectors are short, 128 are not.
    let all = vec![sectors(0, 126), sectors(128, 128), sectors(300, 2)];
    device.write_batch(clears(&arena, all)).unwrap();
    assert!(device.clears.begun() <= 1);
    let _ = device.settle().unwrap();
    let found = content(&file);
    for (place, sector) in found.chunks(SECTOR).enumerate() {
        let is_cleared = [0..126, 128..256, 300..302].iter().any(|range| range.contains(&place));
        assert_eq!(sector, if is_cleared { [0; SECTOR] } else { [0xEE; SECTOR] }, "{place}");
    }
    // The clears have holes, and the writes have none.
    let blocks = std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap());
    assert!((BYTES / 512 - 128) as u64 <= blocks, "{blocks}");
}

#[test]
fn a_file_that_refuses_every_fallocate_gets_written_zeros() {
    // What is neither a file nor a disk: ENODEV, and writes succeed.
    let file = File::options().read(true).write(true).open("/dev/null").unwrap();
    let capacity = ByteCount::new(BYTES as u64);
    let geometry = Geometry { capacity, sector_size: SectorSize::Bytes512 };
    let mut device = UringDevice::new(file, geometry).unwrap();
    let arena = Arc::new(pool(1).take().unwrap());
    let many = (0..20).map(|place| sectors(2 * place, 1)).collect();
    device.write_batch(clears(&arena, many)).unwrap();
    let _ = device.settle().unwrap();
    assert!(device.clears.asks_by(Way::Written));
    assert_eq!(Arc::strong_count(&arena), 1);
}

#[test]
fn a_clear_that_fails_names_its_extent_and_those_that_wait_are_not_begun() {
    let (file, mut device) = filled();
    let arena = Arc::new(pool(1).take().unwrap());
    let slots = [0, 8, 16, 24].map(|first| put_aside(&mut device, &arena, sectors(first, 4)));
    device.write_batch(clears(&arena, vec![sectors(32, 4)])).unwrap();
    assert_eq!(device.clears.waiting().len(), 1);
    assert!(device.complete(slots[1], -(Errno::EIO as i32)));
    for slot in [0, 2, 3] {
        device.complete(slots[slot], 0);
    }
    let failure = device.settle().unwrap_err();
    assert_eq!(failure.attempt, Attempt::Clear(sectors(8, 4)));
    assert_eq!(failure.cause.raw_os_error(), Some(libc::EIO));
    assert!(device.write_batch(clears(&arena, vec![sectors(0, 1)])).is_err());
    assert_eq!(Arc::strong_count(&arena), 1);
    assert!(content(&file).iter().all(|&byte| byte == 0xEE));
}

#[test]
fn a_file_that_is_open_for_reading_fails_a_clear_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    std::fs::write(&path, [7; 4096]).unwrap();
    let geometry = Geometry { capacity: ByteCount::new(4096), sector_size: SectorSize::Bytes512 };
    let mut device = UringDevice::new(File::open(&path).unwrap(), geometry).unwrap();
    let arena = Arc::new(pool(1).take().unwrap());
    let _ = device.write_batch(clears(&arena, vec![sectors(1, 2)]));
    let failure = device.settle().unwrap_err();
    assert_eq!(failure.attempt, Attempt::Clear(sectors(1, 2)));
    assert_eq!(failure.cause.raw_os_error(), Some(libc::EBADF));
}

#[test]
fn an_interrupted_clear_is_asked_for_again_in_the_same_way() {
    let (file, mut device) = filled();
    let arena = Arc::new(pool(1).take().unwrap());
    let slot = put_aside(&mut device, &arena, sectors(0, BYTES / SECTOR));
    assert!(!device.complete(slot, -(Errno::EINTR as i32)));
    assert_eq!(way_of(&device, slot), Way::PunchHole);
    let _ = device.settle().unwrap();
    assert!(holds(&file, 0));
}

/// Whether a flush waits for a clear begun before it, in a slot or without one, and for no other.
fn a_flush_includes_a_clear() -> bool {
    let (_, mut device) = filled();
    let arena = Arc::new(pool(1).take().unwrap());
    let slots = [0, 8, 16, 24].map(|first| put_aside(&mut device, &arena, sectors(first, 4)));
    device.write_batch(clears(&arena, vec![sectors(32, 4)])).unwrap();
    device.begin_flush().unwrap();
    let waits_for_slots = device.has_writes_to_flush();
    device.write_batch(clears(&arena, vec![sectors(40, 4)])).unwrap();
    // Two of the slots are taken by those that waited; the first of these is included.
    for slot in slots {
        device.complete(slot, 0);
    }
    let begun = device.clears.begun();
    let waits_for_waiting = device.has_writes_to_flush();
    let flushed = device.finish_flush().is_ok();
    let _ = device.settle().unwrap();
    assert!(flushed && begun == 2 && !device.has_writes_to_flush());
    waits_for_slots && waits_for_waiting
}

#[test]
fn a_flush_includes_the_clears_begun_before_it() {
    assert!(a_flush_includes_a_clear());
    plant(Some(Bug::FlushBeforeClear));
    let holds = a_flush_includes_a_clear();
    plant(None);
    assert!(!holds, "one that begins before them is not noticed");
}

#[test]
fn the_memory_of_a_batch_is_held_until_its_last_clear_is_done() {
    let (_, mut device) = filled();
    let other = Arc::new(pool(1).take().unwrap());
    let slots = [0, 8, 16, 24].map(|first| put_aside(&mut device, &other, sectors(first, 4)));
    let pool = pool(1);
    let arena = Arc::new(pool.take().unwrap());
    device.write_batch(clears(&arena, vec![sectors(32, 4), sectors(40, 4)])).unwrap();
    // This is how a writer knows what is under way.
    let held = Arc::downgrade(&arena);
    drop(arena);
    assert_eq!(held.strong_count(), 2);
    for slot in slots {
        device.complete(slot, 0);
    }
    assert_eq!(held.strong_count(), 2, "they have a slot now");
    let _ = device.settle().unwrap();
    assert!(held.upgrade().is_none() && pool.try_take().is_some());
}
