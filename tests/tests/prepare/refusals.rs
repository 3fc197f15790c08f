//! Disks that `prepare` must leave alone: exit code 4, the holder named, every byte unchanged.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;

use mt_tests::content::Content;
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{run, shell};
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use mt_tests::skip::skipped;

use crate::{tag, untouched};

/// Asserts that it is refused with and without --yes, and with --destroy: no option overrides the
/// refusal.
#[track_caller]
fn is_refused_whatever_is_said(machine: &ScratchMachine, disk: &LoopDevice, reason: &str) {
    let before = disk.sha256();
    for more in [&["--yes"][..], &["--dry-run"], &["--destroy", disk.path(), "--yes"]] {
        machine.prepare(disk.path(), more).exits(4).says(reason).says("nothing was touched");
        assert_eq!(disk.sha256(), before, "{more:?}");
    }
}

#[test]
fn a_disk_with_content_of_any_kind_is_refused_by_the_name_of_what_is_on_it() {
    for content in Content::ALL {
        on_a_scratch_machine(|machine| {
            let Some(disk) = content.on_a_disk(machine) else { return };
            let before = disk.sha256();
            for more in [&["--yes"][..], &["--dry-run"], &["--filesystem", "xfs", "--yes"]] {
                let refused = machine.prepare(disk.path(), more);
                refused.exits(4).says("is not blank").says(content.said());
                refused.says(&format!("--destroy {}", disk.path()));
                untouched(machine, &disk, &before);
            }
            let report = machine.prepare(disk.path(), &["--yes", "--json"]).exits(4).json();
            assert_eq!(report["changed"], 0, "{report}");
            assert_eq!(report["steps"][0]["outcome"], "refused", "{report}");
            untouched(machine, &disk, &before);
        });
    }
}

#[test]
fn a_disk_with_fat_is_refused_for_retention_and_so_is_fat_as_its_filesystem() {
    on_a_scratch_machine(|machine| {
        let Some(disk) = Content::Vfat.on_a_disk(machine) else { return };
        let before = disk.sha256();
        machine.prepare(disk.path(), &["--yes"]).exits(4).says("vfat");
        machine.prepare(disk.path(), &["--filesystem", "vfat", "--yes"]).exits(2).says("vfat");
        machine.prepare(disk.path(), &["--filesystem", "fat32", "--yes"]).exits(2);
        untouched(machine, &disk, &before);
    });
}

#[test]
fn a_foreign_mount_at_the_retention_directory_is_refused() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("blank", 64);
        let before = disk.sha256();
        shell("mkdir /mnt/retention; mount -t tmpfs scratch /mnt/retention");
        machine.prepare(disk.path(), &["--yes"]).exits(4).says("is a tmpfs mount of scratch");
        run("umount", &["/mnt/retention"]);
        untouched(machine, &disk, &before);
        let other = machine.disk("other", 64);
        shell(&format!("mkfs.ext4 -q {0}; mount -o ro {0} /mnt/retention", other.path()));
        let refused = machine.prepare(disk.path(), &["--yes"]);
        let said = format!("is mounted from {}, not from {}", other.path(), disk.path());
        refused.exits(4).says(&said);
        run("umount", &["/mnt/retention"]);
        untouched(machine, &disk, &before);
    });
}

#[test]
fn a_mounted_disk_is_refused_also_when_its_destruction_is_agreed_to() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("mounted", 64);
        run("mkfs.ext4", &["-q", disk.path()]);
        shell(&format!("mkdir /mnt/elsewhere; mount -o ro {} /mnt/elsewhere", disk.path()));
        is_refused_whatever_is_said(machine, &disk, "mounted:/mnt/elsewhere");
    });
}

#[test]
fn a_disk_that_carries_a_part_of_the_system_is_refused() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("home", 64);
        run("mkfs.ext4", &["-q", disk.path()]);
        run("mount", &["-o", "ro", disk.path(), "/home"]);
        is_refused_whatever_is_said(machine, &disk, "carries the running system (mounted:/home)");
    });
}

#[test]
fn the_root_disk_is_refused() {
    on_a_scratch_machine(|machine| {
        let source = run("findmnt", &["-n", "-o", "SOURCE", "--target", "/usr"]);
        let source = source.trim();
        if !source.starts_with("/dev/") {
            return skipped("the root filesystem is on no disk");
        }
        let parent = run("lsblk", &["-n", "-d", "-o", "PKNAME", source]);
        let disk = match parent.trim() {
            "" => source.to_owned(),
            parent => format!("/dev/{parent}"),
        };
        // Never --yes and --destroy here: a failing guard must not cost the machine.
        for more in [&["--dry-run"][..], &["--dry-run", "--destroy", &disk]] {
            machine.prepare(&disk, more).exits(4).says("carries the running system");
        }
    });
}

#[test]
fn a_disk_that_is_swapped_on_is_refused() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("swap", 64);
        run("mkswap", &[disk.path()]);
        run("swapon", &[disk.path()]);
        let refused: Vec<_> = [&["--yes"][..], &["--destroy", disk.path(), "--yes"]]
            .iter()
            .map(|more| machine.prepare(disk.path(), more))
            .collect();
        run("swapoff", &[disk.path()]);
        for one in refused {
            one.exits(4).says("swap").says("nothing was touched");
        }
        assert_eq!(tag(&disk, "TYPE"), "swap");
    });
}

#[test]
fn a_disk_under_another_loop_device_is_refused() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("below", 64);
        let above = LoopDevice::attach(&[], std::path::Path::new(disk.path()));
        is_refused_whatever_is_said(machine, &disk, &format!("loop:{}", above.name()));
        drop(above);
        machine.prepare(disk.path(), &["--yes"]).exits(0);
    });
}

#[test]
fn a_partition_is_no_disk_and_a_disk_with_a_mounted_partition_is_in_use() {
    on_a_scratch_machine(|machine| {
        let Some(disk) = Content::Mbr.on_a_disk(machine) else { return };
        run("partx", &["--add", disk.path()]);
        let part = format!("{}p1", disk.path());
        run("mkfs.ext4", &["-q", &part]);
        let before = disk.sha256();
        for more in [&["--yes"][..], &["--destroy", &part, "--yes"]] {
            machine.prepare(&part, more).exits(4).says("part of a disk").says("a whole disk");
            untouched(machine, &disk, &before);
        }
        shell(&format!("mkdir /mnt/part; mount -o ro {part} /mnt/part"));
        is_refused_whatever_is_said(machine, &disk, "mounted:/mnt/part");
        run("umount", &["/mnt/part"]);
        run("partx", &["--delete", disk.path()]);
    });
}

#[test]
fn a_disk_without_capacity_is_refused() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("nothing", 0);
        for more in [&["--yes"][..], &["--dry-run"], &["--destroy", disk.path(), "--yes"]] {
            machine.prepare(disk.path(), more).exits(4).says("has no capacity (0 bytes)");
        }
        let compressed = std::path::Path::new("/sys/block/zram0/size");
        if std::fs::read_to_string(compressed).is_ok_and(|size| size.trim() == "0") {
            machine.prepare("/dev/zram0", &["--dry-run"]).exits(4).says("is memory, not a disk");
        }
    });
}

#[test]
fn a_disk_smaller_than_64_mib_is_refused_and_one_of_64_mib_is_not() {
    on_a_scratch_machine(|machine| {
        let small = LoopDevice::new(&machine.file("small"), (64 << 20) - 512);
        is_refused_whatever_is_said(machine, &small, "is too small for retention");
        let enough = machine.disk("enough", 64);
        machine.prepare(enough.path(), &["--yes"]).exits(0);
    });
}

#[test]
fn a_disk_too_small_for_xfs_is_refused_before_anything_is_wiped() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("small", 100);
        run("mkfs.ext4", &["-q", disk.path()]);
        let before = disk.sha256();
        let xfs = ["--filesystem", "xfs", "--destroy", disk.path(), "--yes"];
        machine.prepare(disk.path(), &xfs).exits(4).says("too small for");
        untouched(machine, &disk, &before);
    });
}

#[test]
fn a_read_only_disk_is_refused() {
    on_a_scratch_machine(|machine| {
        let blank = machine.disk("blank", 64);
        let file = blank.file().to_owned();
        drop(blank);
        let disk = LoopDevice::attach(&["--read-only"], &file);
        is_refused_whatever_is_said(machine, &disk, "is read-only");
    });
}

#[test]
fn a_disk_that_another_process_holds_exclusively_is_refused() {
    on_a_scratch_machine(|machine| {
        for content in [false, true] {
            let disk = machine.disk("held", 64);
            let mut more = vec!["--yes"];
            if content {
                run("mkfs.ext4", &["-q", disk.path()]);
                more.extend(["--destroy", disk.path()]);
            }
            let before = disk.sha256();
            let holder = OpenOptions::new()
                .read(true)
                .custom_flags(nix::fcntl::OFlag::O_EXCL.bits())
                .open(disk.path())
                .unwrap();
            machine.prepare(disk.path(), &more).exits(4).says("holder:kernel");
            untouched(machine, &disk, &before);
            drop(holder);
            machine.prepare(disk.path(), &more).exits(0);
            run("umount", &["/mnt/retention"]);
            shell("rm /var/lib/mtctl/*; sed -i '/x-mtctl/d' /etc/fstab");
        }
    });
}

#[test]
fn loop_devices_are_never_chosen_without_being_named() {
    on_a_scratch_machine(|machine| {
        let disks = [machine.disk("one", 64), machine.disk("two", 64)];
        // Never --yes: a blank disk of this host would be formatted.
        let run = machine.mtctl(&["prepare", "--only", "retention", "--dry-run"]);
        assert!(matches!(run.code, Some(3 | 4)), "{run:#?}");
        run.says("--retention-disk");
        for disk in disks {
            run.does_not_say(&format!("{} ", disk.path()));
            run.does_not_say(&format!("{},", disk.path()));
        }
    });
}

#[test]
fn a_second_disk_does_not_take_the_place_of_the_retention_volume_that_is_there() {
    on_a_scratch_machine(|machine| {
        let first = machine.disk("first", 64);
        machine.prepare(first.path(), &["--yes"]).exits(0);
        let second = machine.disk("second", 64);
        let before = second.sha256();
        machine.prepare(second.path(), &["--yes"]).exits(4).says("is mounted from");
        run("umount", &["/mnt/retention"]);
        machine.prepare(second.path(), &["--yes"]).exits(4).says("is already the retention volume");
        assert_eq!(second.sha256(), before);
    });
}

#[test]
fn rows_of_others_for_the_same_directory_are_refused_and_stay() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("blank", 64);
        let before = disk.sha256();
        let row = "/dev/mapper/old /mnt/retention ext4 rw 0 0\n";
        let fstab = format!("{}{row}", machine.fstab());
        std::fs::write("/etc/fstab", &fstab).unwrap();
        machine.prepare(disk.path(), &["--yes"]).exits(4).says("not written by mtctl");
        assert_eq!(machine.fstab(), fstab);
        assert_eq!(disk.sha256(), before);
    });
}
