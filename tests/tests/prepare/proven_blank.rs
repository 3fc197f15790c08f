//! Content that shows no signature is never taken for nothing: copies, volumes further in, and data
//! that `mtctl apply` wrote. Each is refused as it would be with its signature.

use std::path::Path;

use mt_tests::loop_device::LoopDevice;
use mt_tests::program::shell;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use mt_tests::skip::has_program;

use crate::{is_the_retention_volume, untouched};

/// The size of the disks, in MiB: too large to be read as a whole.
const MIB: u64 = 1024;

/// Zeros over the first 16 MiB; an earlier version read no more than that.
const WIPE: &str = "dd if=/dev/zero of=DISK bs=1M count=16 conv=fsync,notrunc status=none";

/// Name, the program that makes it, and the script that puts it on the disk.
const CONTENTS: [(&str, &str, &str); 7] = [
    ("btrfs", "mkfs.btrfs", "mkfs.btrfs -q -f DISK; WIPE"),
    ("ext4", "mkfs.ext4", "mkfs.ext4 -q -F DISK; WIPE"),
    ("ext4 of small blocks", "mkfs.ext4", "mkfs.ext4 -q -F -b 1024 DISK; WIPE"),
    ("xfs", "mkfs.xfs", "mkfs.xfs -q -f DISK; WIPE"),
    ("fat", "mkfs.vfat", "mkfs.vfat -I DISK; dd if=/dev/zero of=DISK bs=512 count=6 status=none"),
    (
        "a zapped GPT and a partition further in",
        "sgdisk",
        "sgdisk --new 1:513M:+256M DISK; mkfs.ext4 -q -F -E offset=537919488 DISK 256M; \
         sgdisk --zap-all DISK",
    ),
    (
        "a zapped GPT and a partition where no installer makes one",
        "sgdisk",
        "sgdisk --new 1:700M:+200M DISK; mkfs.ext4 -q -F -E offset=734003200 DISK 200M; \
         sgdisk --zap-all DISK",
    ),
];

fn put(disk: &LoopDevice, script: &str) {
    let script = script.replace("WIPE", WIPE).replace("DISK", disk.path());
    shell(&format!("({script}) >/dev/null; blockdev --flushbufs {}", disk.path()));
}

#[track_caller]
fn is_refused_as_unknown_content(machine: &ScratchMachine, disk: &LoopDevice, before: &str) {
    for more in [&["--yes"][..], &["--dry-run"], &["--filesystem", "xfs", "--yes"]] {
        let refused = machine.prepare(disk.path(), more);
        refused.exits(4).says("is not blank (unknown-content: not zero at byte");
        refused.says(&format!("--destroy {}", disk.path()));
        untouched(machine, disk, before);
    }
}

#[test]
fn copies_of_a_superblock_and_volumes_further_in_are_content() {
    for (name, program, script) in CONTENTS {
        if !has_program(program) {
            continue;
        }
        on_a_scratch_machine(|machine| {
            let disk = machine.disk("disk", MIB);
            put(&disk, script);
            let before = disk.sha256();
            println!("{name}: {before}");
            is_refused_as_unknown_content(machine, &disk, &before);
            println!("{name}: {}", disk.sha256());
        });
    }
}

#[test]
fn copies_are_found_also_where_the_device_does_not_tell_what_it_has_mapped() {
    for (name, program, script) in &CONTENTS[..6] {
        if !has_program(program) {
            continue;
        }
        on_a_scratch_machine(|machine| {
            let below = machine.disk("disk", MIB);
            put(&below, script);
            let before = below.sha256();
            // The file behind it is a device, which has no holes.
            let disk = LoopDevice::attach(&[], Path::new(below.path()));
            let refused = machine.prepare(disk.path(), &["--yes"]);
            refused.exits(4).says("is not blank (unknown-content: not zero at byte");
            drop(disk);
            assert_eq!(below.sha256(), before, "{name}");
        });
    }
}

#[test]
fn what_apply_wrote_without_a_group_is_content_wherever_it_is() {
    let stream = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/rbd/middle-only.rbddiff");
    for mib in [100, MIB] {
        on_a_scratch_machine(|machine| {
            let disk = machine.disk("disk", mib);
            let stream = stream.to_str().unwrap();
            machine.mtctl(&["apply", stream, "--target", disk.path()]).exits(0);
            let before = disk.sha256();
            is_refused_as_unknown_content(machine, &disk, &before);
        });
    }
}

#[test]
fn a_blank_disk_says_what_was_looked_at_and_one_byte_anywhere_that_is_mapped_is_found() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", MIB);
        let plan = machine.prepare(disk.path(), &["--dry-run"]);
        plan.exits(3)
            .says("looked at: both ends, ")
            .says("known places and 8192 samples are zero, and nothing else is mapped");
        let listed = machine.mtctl(&["disks", "--all"]);
        listed.exits(0).says(&format!("note: {}: both ends, ", disk.path()));
        let json = machine.mtctl(&["disks", "--all", "--json"]).exits(0).json();
        let disks = json["disks"].as_array().unwrap();
        let found = disks.iter().find(|one| one["path"] == disk.path()).unwrap();
        assert_eq!(found["content"]["blank"]["sampled"]["samples"], 8192, "{found}");
        assert_eq!(found["content"]["blank"]["sampled"]["mapped"]["bytes"], 0, "{found}");
        disk.write(777_777_777, b"x");
        let before = disk.sha256();
        let refused = machine.prepare(disk.path(), &["--yes"]);
        refused.exits(4).says("not zero at byte 777777777");
        untouched(machine, &disk, &before);
        // Without the holes of the file it is one byte in a billion, which samples may miss.
        shell(&format!("fallocate --dig-holes {}", disk.file().display()));
        disk.write(777_777_777, &[0]);
        machine.prepare(disk.path(), &["--yes"]).exits(0);
        is_the_retention_volume(machine, &disk, "ext4");
    });
}
