//! `mtctl digest` and `mtctl verify` on real loop devices and image files, against b3sum and cmp:
//! what they find, what they refuse, and that they write nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{Run, command, finish, run, shell};
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use mt_tests::skip::has_program;
use nix::fcntl::OFlag;

const MIB: usize = 1 << 20;

fn content(seed: u64, length: usize) -> Vec<u8> {
    Random::new(seed).bytes(length)
}

/// Creates a file on the machine, and returns its path.
fn file(machine: &ScratchMachine, name: &str, bytes: &[u8]) -> String {
    let path = machine.file(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn disk(machine: &ScratchMachine, name: &str, bytes: &[u8], sector: &str) -> LoopDevice {
    let path = file(machine, name, bytes);
    LoopDevice::attach(&["--sector-size", sector], Path::new(&path))
}

#[track_caller]
fn digest(machine: &ScratchMachine, device: &str) -> Run {
    machine.mtctl(&["digest", device])
}

#[track_caller]
fn verify(machine: &ScratchMachine, device: &str, against: &str) -> Run {
    machine.mtctl(&["verify", device, "--against", against])
}

/// Start and length of the ranges, in bytes.
#[track_caller]
fn ranges(machine: &ScratchMachine, device: &str, against: &str) -> Vec<(u64, u64)> {
    let run = machine.mtctl(&["verify", device, "--against", against, "--json"]);
    let json = run.json();
    let number = |range: &serde_json::Value, key: &str| range[key].as_u64().unwrap();
    let ranges = json["ranges"].as_array().unwrap();
    assert_eq!(json["range_count"], ranges.len());
    assert_eq!(json["equal"].as_bool().unwrap(), run.code == Some(0), "{run:#?}");
    ranges.iter().map(|range| (number(range, "start"), number(range, "length_bytes"))).collect()
}

/// The sectors in which cmp(1) finds different bytes.
fn sectors_of_cmp(one: &str, other: &str, sector: u64) -> BTreeSet<u64> {
    let run = finish(&mut command("cmp", &["-l", one, other]));
    let lines = run.stdout.lines().map(|line| line.split_whitespace().next().unwrap());
    lines.map(|place| (place.parse::<u64>().unwrap() - 1) / sector).collect()
}

#[test]
fn the_digest_is_what_b3sum_prints_and_nothing_is_written() {
    if !has_program("b3sum") {
        return;
    }
    on_a_scratch_machine(|machine| {
        let disk = disk(machine, "disk", &content(1, 9 * MIB + 512), "512");
        let before = disk.sha256();
        let printed = digest(machine, disk.path());
        assert_eq!(printed.exits(0).stdout, run("b3sum", &[disk.path()]));
        assert_eq!(disk.sha256(), before);
        for length in [1, 511, MIB, MIB + 1, 5 * MIB - 700] {
            let image = file(machine, "image", &content(2, length));
            let printed = digest(machine, &image);
            assert_eq!(printed.exits(0).stdout, run("b3sum", &[&image]), "{length} bytes");
        }
    });
}

#[test]
fn a_sparse_image_has_the_digest_of_its_zeros() {
    if !has_program("b3sum") {
        return;
    }
    on_a_scratch_machine(|machine| {
        let image = machine.file("image");
        File::create(&image).unwrap().set_len(70 * MIB as u64 + 3).unwrap();
        let image = image.to_str().unwrap();
        assert_eq!(digest(machine, image).exits(0).stdout, run("b3sum", &[image]));
    });
}

#[test]
fn a_kept_digest_tells_the_part_of_a_disk_that_changed() {
    on_a_scratch_machine(|machine| {
        let disk = disk(machine, "disk", &content(3, 8 * MIB), "512");
        let kept = machine.file("kept.digest");
        let kept = kept.to_str().unwrap();
        machine.mtctl(&["digest", disk.path(), "--output", kept]).exits(0);
        verify(machine, disk.path(), kept).exits(0).says("equals");
        disk.write(3 * MIB as u64 + 77, b"x");
        let run = verify(machine, disk.path(), kept);
        run.exits(5).says("3145728..4194304 6144..8192 1 MiB").says("1 range");
        assert_eq!(ranges(machine, disk.path(), kept), [(3 << 20, 1 << 20)]);
        // The same file may be written again, and then verifies.
        machine.mtctl(&["digest", disk.path(), "--output", kept, "--leaf", "64K"]).exits(0);
        verify(machine, disk.path(), kept).exits(0);
    });
}

#[test]
fn disks_and_images_are_compared_to_the_sector_as_cmp_does() {
    on_a_scratch_machine(|machine| {
        for sector in [512_u64, 4096] {
            let bytes = content(4, 6 * MIB);
            let mut changed = bytes.clone();
            let mut random = Random::new(sector);
            for _ in 0..40 {
                changed[random.below(bytes.len() as u64) as usize] ^= 0x10;
            }
            changed[MIB - 1] ^= 1;
            changed[MIB] ^= 1;
            let disk = disk(machine, "disk", &bytes, &sector.to_string());
            let image = file(machine, "image", &changed);
            let found = ranges(machine, disk.path(), &image);
            let sectors: BTreeSet<u64> = found
                .iter()
                .flat_map(|(start, length)| start / sector..(start + length) / sector)
                .collect();
            assert_eq!(sectors, sectors_of_cmp(disk.path(), &image, sector));
            assert!(found.iter().all(|(start, length)| (start | length) % sector == 0));
            let many = found.len() - 20;
            verify(machine, disk.path(), &image).exits(5).says(&format!("and {many} more"));
            fs::write(&image, &bytes).unwrap();
            verify(machine, disk.path(), &image).exits(0);
        }
    });
}

#[test]
fn a_larger_disk_is_not_the_same_and_no_byte_is_blamed() {
    on_a_scratch_machine(|machine| {
        let bytes = content(5, 3 * MIB);
        let small = file(machine, "small", &bytes[..2 * MIB + 512]);
        let large = disk(machine, "large", &bytes, "512");
        let kept = machine.file("kept.digest");
        let kept = kept.to_str().unwrap();
        machine.mtctl(&["digest", &small, "--output", kept]).exits(0);
        for against in [&small, kept] {
            let run = verify(machine, large.path(), against);
            run.exits(5).says("the first 2097664 bytes").says("no byte differs");
            assert_eq!(ranges(machine, large.path(), against), []);
        }
        large.write(2 * MIB as u64 + 600, b"beyond the shorter one");
        verify(machine, large.path(), kept).exits(5).says("no byte differs");
    });
}

#[test]
fn a_read_only_disk_and_a_read_only_image_are_read() {
    on_a_scratch_machine(|machine| {
        let bytes = content(6, MIB + 512);
        let image = file(machine, "image", &bytes);
        let backing = file(machine, "disk", &bytes);
        let disk = LoopDevice::attach(&["--read-only"], Path::new(&backing));
        verify(machine, disk.path(), &image).exits(0);
        let odd = file(machine, "odd", &bytes[..MIB + 7]);
        shell(&format!("mount --bind {odd} {odd}; mount -o remount,bind,ro {odd}"));
        let error = OpenOptions::new().write(true).open(&odd).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        let printed = digest(machine, &odd);
        printed.exits(0);
        run("umount", &[&odd]);
        assert_eq!(digest(machine, &odd).stdout, printed.stdout);
    });
}

#[test]
fn a_disk_in_use_is_refused_on_either_side_with_a_way_out() {
    on_a_scratch_machine(|machine| {
        let used = machine.disk("used", 16);
        let image = file(machine, "image", &[0; 16 * MIB]);
        run("mkfs.ext4", &["-q", used.path()]);
        run("mount", &["-o", "ro", used.path(), "/mnt"]);
        for refused in [
            digest(machine, used.path()),
            verify(machine, used.path(), &image),
            verify(machine, &image, used.path()),
        ] {
            refused.exits(4).says("it is mounted at /mnt").says("--group GROUP --to POINT");
            assert_eq!(refused.stdout, "");
        }
        run("umount", &["/mnt"]);
        let flags = OFlag::O_EXCL.bits();
        let held = OpenOptions::new().read(true).custom_flags(flags).open(used.path()).unwrap();
        digest(machine, used.path()).exits(4).says("has it open exclusively");
        drop(held);
        digest(machine, used.path()).exits(0);
        let behind = used.file().to_str().unwrap();
        digest(machine, behind).exits(4).says("it is behind the loop device");
    });
}

/// Writes to `path`, ignoring all guards, again and again until `work` is done.
fn while_written_to(path: &str, work: impl FnOnce() -> Run) -> Run {
    let (stop, (begun, begins)) = (AtomicBool::new(false), mpsc::channel());
    let mut target = OpenOptions::new().write(true).open(path).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                target.seek(SeekFrom::Start(4096)).unwrap();
                target.write_all(&[1; 4096]).unwrap();
                target.sync_all().unwrap();
                let _ = begun.send(());
            }
        });
        begins.recv().unwrap();
        let done = work();
        stop.store(true, Ordering::Relaxed);
        done
    })
}

#[test]
fn what_is_written_to_meanwhile_is_refused_although_nobody_claimed_it() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        let image = file(machine, "image", &vec![0; 64 * MIB]);
        for path in [disk.path(), &image] {
            let refused = while_written_to(path, || digest(machine, path));
            refused.exits(4).says("something wrote to it meanwhile");
            assert_eq!(refused.stdout, "");
            digest(machine, path).exits(0);
        }
    });
}

#[test]
fn pages_that_wait_to_be_written_are_no_write_of_anybody() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 16);
        let mut node = OpenOptions::new().write(true).open(disk.path()).unwrap();
        node.write_all(&content(7, 8 * MIB)).unwrap();
        let run = digest(machine, disk.path());
        drop(node);
        assert_eq!(run.exits(0).stdout, digest(machine, disk.path()).stdout);
    });
}
