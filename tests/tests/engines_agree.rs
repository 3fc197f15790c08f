//! Whatever is done to a disk, the three engines leave the same bytes, equal to those of a plain
//! array: on files in memory and on ext4, with and without a partial last sector, and on loop
//! devices with sectors of 512 and of 4096 bytes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use blockio::device::Engine;
use blockio::device::Geometry;
use blockio::device::memory::MemoryDevice;
use blockio::device::open::open as open_device;
use blockio::units::{ByteCount, SectorSize};
use mt_tests::disk_plan::{Change, Step, pool, read_all, run};
use mt_tests::loop_device::LoopDevice;
use mt_tests::scratch_machine::{scratch_directory, take_turn};
use mt_tests::skip::skipped;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

const CAPACITY: u64 = 3 << 20;

fn changes() -> impl Strategy<Value = Change> {
    let sectors = prop_oneof![8 => 1_u64..4, 4 => 1_u64..300, 1 => Just(2048_u64)];
    // The last sector is at the end of the disk, which must be hit often.
    let first = prop_oneof![4 => any::<u64>(), 1 => 6136_u64..=6144, 1 => 760_u64..=768];
    (first, sectors, prop::bool::weighted(0.25)).prop_map(|(first, sectors, is_clear)| Change {
        first,
        sectors,
        is_clear,
    })
}

/// Batches smaller and larger than the depth of the queue.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![3 => 0_usize..8, 1 => 100_usize..200]
        .prop_flat_map(|count| prop::collection::vec(changes(), count));
    prop::collection::vec(step, 1..6)
}

fn open(path: &Path, flags: i32) -> File {
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).unwrap()
}

/// Runs random steps on both engines over `path`; it must hold the same as memory, and keep its
/// length.
fn agree(path: &Path, geometry: Geometry, flags: i32) {
    let cases = ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() };
    let pool = pool();
    let capacity = geometry.capacity.get() as usize;
    let same = |steps: Vec<Step>| {
        let mut expected = vec![0; capacity];
        let mut memory = MemoryDevice::new(geometry);
        run(&mut memory, &pool, &mut expected, &steps)?;
        prop_assert!(memory.contents() == expected, "the memory engine differs");
        for engine in [Engine::Blocking, Engine::Uring] {
            // Opened twice: a dropped device must release a disk that only one process may hold.
            drop(open_device(open(path, flags), geometry, engine).unwrap());
            let mut device = open_device(open(path, flags), geometry, engine).unwrap();
            let mut before = vec![0xEE; capacity];
            open(path, 0).write_all_at(&before, 0)?;
            open(path, 0).sync_all()?;
            run(&mut *device, &pool, &mut before, &steps)?;
            let name = device.engine_name();
            prop_assert!(read_all(&mut *device, &pool)? == before, "{name} has wrong bytes");
            drop(device);
            let mut found = vec![0; capacity];
            open(path, 0).read_exact_at(&mut found, 0)?;
            prop_assert!(found == before, "{name} wrote something else");
            let length = std::io::Seek::seek(&mut open(path, 0), std::io::SeekFrom::End(0))?;
            prop_assert_eq!(length, geometry.capacity.get());
        }
        Ok(())
    };
    TestRunner::new(cases).run(&steps(), same).unwrap();
}

fn agree_on_files_in(directory: &Path, flags: i32) {
    for (sector_size, more) in [
        (SectorSize::Bytes512, 0),
        (SectorSize::Bytes512, 300),
        (SectorSize::Bytes512, 1024 + 7),
        (SectorSize::Bytes4096, 512),
    ] {
        let file = tempfile::NamedTempFile::new_in(directory).unwrap();
        file.as_file().set_len(CAPACITY + more).unwrap();
        let capacity = ByteCount::new(CAPACITY + more);
        agree(file.path(), Geometry { capacity, sector_size }, flags);
    }
}

#[test]
fn engines_agree_on_files_in_memory() {
    let directory = scratch_directory();
    agree_on_files_in(directory.path(), libc::O_DIRECT);
    agree_on_files_in(directory.path(), 0);
}

#[test]
fn engines_agree_on_files_on_a_disk() {
    // The build directory is on a disk, usually with ext4 or xfs.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    agree_on_files_in(directory.path(), libc::O_DIRECT);
}

#[test]
fn engines_agree_on_loop_devices_with_both_sizes_of_sectors() {
    if !nix::unistd::geteuid().is_root() {
        return skipped("loop devices need root");
    }
    let _turn = take_turn();
    let directory = scratch_directory();
    for (bytes, sector_size) in [("512", SectorSize::Bytes512), ("4096", SectorSize::Bytes4096)] {
        let file = directory.path().join(bytes);
        File::create(&file).unwrap().set_len(CAPACITY).unwrap();
        let options = ["--direct-io=on", "--sector-size", bytes];
        let disk = LoopDevice::attach(&options, &file);
        let geometry = Geometry { capacity: ByteCount::new(CAPACITY), sector_size };
        agree(Path::new(disk.path()), geometry, libc::O_DIRECT | libc::O_EXCL);
    }
}
