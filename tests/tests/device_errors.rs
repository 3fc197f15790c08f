//! Disks that fail: full file systems, missing media, disks that are shared or cut short. Both
//! engines report what was attempted and the kernel's error, and report it again every time they
//! are asked.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use blockio::device::Engine;
use blockio::device::buffer::ArenaPool;
use blockio::device::open::open;
use blockio::device::{Attempt, BlockDevice, DeviceError, Geometry, Transfer, WriteBatch};
use blockio::extent::Extent;
use blockio::units::{ByteCount, ByteOffset, SectorSize};
use mt_tests::disk_plan::pool;
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::run;
use mt_tests::scratch_machine::{scratch_directory, take_turn};
use mt_tests::skip::skipped;

const MIB: u64 = 1 << 20;
const ENGINES: [Engine; 2] = [Engine::Blocking, Engine::Uring];

fn device(path: &Path, capacity: u64, engine: Engine) -> Box<dyn BlockDevice> {
    let flags = libc::O_DIRECT;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).unwrap();
    let geometry =
        Geometry { capacity: ByteCount::new(capacity), sector_size: SectorSize::Bytes512 };
    open(file, geometry, engine).unwrap()
}

/// One MiB of data for each of these MiBs.
fn batch(pool: &ArenaPool, places: &[u64]) -> WriteBatch {
    let mut arena = pool.take().unwrap();
    arena.as_mut_slice().fill(5);
    let one =
        |mib: &u64| Transfer { at: ByteOffset::new(mib * MIB), position: 0, length: MIB as usize };
    let writes = places.iter().map(one).collect();
    WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() }
}

/// Writes MiB by MiB until the first failure, which must then be reported again and again.
fn first_failure(device: &mut dyn BlockDevice, pool: &ArenaPool, mib: u64) -> DeviceError {
    let failure = (0..mib).find_map(|place| {
        device.write_batch(batch(pool, &[place])).and_then(|()| device.settle().map(drop)).err()
    });
    let failure = failure.expect("a failure");
    for _ in 0..2 {
        let again = device.settle().map(drop).unwrap_err();
        assert_eq!(again.to_string(), failure.to_string());
        assert_eq!(again.cause.raw_os_error(), failure.cause.raw_os_error());
        let again = device.write_batch(batch(pool, &[0])).unwrap_err();
        assert_eq!(again.attempt, failure.attempt);
    }
    failure
}

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        skipped("mounts and loop devices need root");
    }
    is_root
}

/// A file system that is unmounted on drop.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = nix::mount::umount(&self.0);
    }
}

#[test]
fn a_full_file_system_is_named_with_the_extent_that_did_not_fit() {
    if !is_root() {
        return;
    }
    let _turn = take_turn();
    let directory = scratch_directory();
    let mountpoint = directory.path().join("small");
    std::fs::create_dir(&mountpoint).unwrap();
    run("mount", &["-t", "tmpfs", "-o", "size=3m", "none", mountpoint.to_str().unwrap()]);
    let _mounted = Mounted(mountpoint.clone());
    for engine in ENGINES {
        let path = mountpoint.join("image");
        File::create(&path).unwrap().set_len(8 * MIB).unwrap();
        let pool = pool();
        let mut device = device(&path, 8 * MIB, engine);
        let failure = first_failure(&mut *device, &pool, 8);
        assert_eq!(failure.cause.raw_os_error(), Some(libc::ENOSPC), "{failure:?}");
        let third = Extent::new(ByteOffset::new(3 * MIB), ByteCount::new(MIB)).unwrap();
        assert_eq!(failure.attempt, Attempt::Write(third));
        assert_eq!(failure.to_string(), "writing bytes 3145728..4194304");
    }
}

#[test]
fn a_disk_that_lost_its_medium_fails_with_the_place_and_what_the_kernel_said() {
    if !is_root() {
        return;
    }
    let _turn = take_turn();
    let directory = scratch_directory();
    let mountpoint = directory.path().join("small");
    std::fs::create_dir(&mountpoint).unwrap();
    run("mount", &["-t", "tmpfs", "-o", "size=3m", "none", mountpoint.to_str().unwrap()]);
    let _mounted = Mounted(mountpoint.clone());
    for engine in ENGINES {
        // The loop device promises 8 MiB, but there is less space behind it.
        let file = mountpoint.join("behind");
        File::create(&file).unwrap().set_len(8 * MIB).unwrap();
        let disk = LoopDevice::attach(&["--direct-io=on"], &file);
        let pool = pool();
        let mut device = device(Path::new(disk.path()), 8 * MIB, engine);
        let failure = first_failure(&mut *device, &pool, 8);
        let errno = failure.cause.raw_os_error();
        assert!([Some(libc::EIO), Some(libc::ENOSPC)].contains(&errno), "{failure:?}");
        assert!(matches!(failure.attempt, Attempt::Write(_)), "{failure:?}");
    }
}

#[test]
fn a_failure_among_many_transfers_under_way_loses_no_arena_and_hides_nothing() {
    if !is_root() {
        return;
    }
    let _turn = take_turn();
    let directory = scratch_directory();
    let file = directory.path().join("image");
    File::create(&file).unwrap().set_len(8 * MIB).unwrap();
    let disk = LoopDevice::attach(&["--direct-io=on"], &file);
    for engine in ENGINES {
        let pool = pool();
        // Opened as longer than it is: the write past its end fails, the others succeed.
        let mut device = device(Path::new(disk.path()), 16 * MIB, engine);
        let begun = device.write_batch(batch(&pool, &[0, 1, 12, 2, 3]));
        let failure = begun.and_then(|()| device.settle().map(drop)).unwrap_err();
        let beyond = Extent::new(ByteOffset::new(12 * MIB), ByteCount::new(MIB)).unwrap();
        assert_eq!(failure.attempt, Attempt::Write(beyond));
        drop(device);
        // All three can be taken: no operation holds any of them.
        let arenas = [pool.take().unwrap(), pool.take().unwrap(), pool.take().unwrap()];
        assert_eq!(arenas.len(), 3);
    }
}
