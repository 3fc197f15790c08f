//! What `prepare` makes of a blank disk, and that it does so only once.

use std::fs;

use mt_tests::program::{run, shell};
use mt_tests::scratch_machine::on_a_scratch_machine;

use crate::{is_the_retention_volume, untouched};

fn size_in_mib(filesystem: &str) -> u64 {
    if filesystem == "xfs" { 320 } else { 64 }
}

#[test]
fn a_blank_disk_becomes_the_retention_volume_once() {
    for filesystem in ["ext4", "xfs"] {
        on_a_scratch_machine(|machine| {
            let disk = machine.disk("blank", size_in_mib(filesystem));
            let arguments = ["--filesystem", filesystem, "--yes", "--json"];
            let first = machine.prepare(disk.path(), &arguments).exits(0).json();
            assert_eq!(first["changed"], 1, "{first}");
            assert_eq!(first["steps"][0]["outcome"], "changed", "{first}");
            assert_eq!(first["reboot_required"], false, "{first}");
            is_the_retention_volume(machine, &disk, filesystem);
            fs::write("/mnt/retention/kept", "over the second run").unwrap();
            let second = machine.prepare(disk.path(), &arguments).exits(0).json();
            assert_eq!(second["changed"], 0, "{second}");
            assert_eq!(second["steps"][0]["outcome"], "unchanged", "{second}");
            is_the_retention_volume(machine, &disk, filesystem);
            let kept = fs::read_to_string("/mnt/retention/kept").unwrap();
            assert_eq!(kept, "over the second run");
        });
    }
}

#[test]
fn ext4_is_what_it_becomes_unless_asked_otherwise() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("blank", 64);
        machine.prepare(disk.path(), &["--yes"]).exits(0).says("1 changed");
        is_the_retention_volume(machine, &disk, "ext4");
    });
}

#[test]
fn the_next_boot_mounts_it_by_fstab_and_prepare_mounts_it_again_too() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("blank", 64);
        machine.prepare(disk.path(), &["--yes"]).exits(0);
        run("umount", &["/mnt/retention"]);
        assert_eq!(machine.mounted_at("/mnt/retention"), None);
        run("mount", &["--all"]);
        is_the_retention_volume(machine, &disk, "ext4");
        run("umount", &["/mnt/retention"]);
        machine.prepare(disk.path(), &["--yes"]).exits(0).says("1 changed");
        is_the_retention_volume(machine, &disk, "ext4");
        // Found again by its row, without being named.
        run("umount", &["/mnt/retention"]);
        machine.mtctl(&["prepare", "--only", "retention", "--yes"]).exits(0).says("1 changed");
        is_the_retention_volume(machine, &disk, "ext4");
    });
}

#[test]
fn a_dry_run_exits_3_before_and_0_after_and_changes_nothing() {
    // Without a terminal and without --yes, every run is a dry run.
    for dry in [&["--dry-run"][..], &[][..], &["--json"][..]] {
        on_a_scratch_machine(|machine| {
            let disk = machine.disk("blank", 64);
            let before = disk.sha256();
            machine.prepare(disk.path(), dry).exits(3).says("format the blank disk");
            untouched(machine, &disk, &before);
            let left = fs::read_dir("/var/lib/mtctl").unwrap().count();
            assert_eq!((left, fs::read_dir("/mnt").unwrap().count()), (0, 0));
            machine.prepare(disk.path(), &["--yes"]).exits(0);
            // No hash here, because a mounted ext4 initialises its tables in the background.
            machine.prepare(disk.path(), dry).exits(0);
            is_the_retention_volume(machine, &disk, "ext4");
        });
    }
}

#[test]
fn another_mount_point_is_made_and_its_old_row_replaced_when_it_moves() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("blank", 64);
        let there = ["--yes", "--retention-mount", "/mnt/a b/ret"];
        machine.prepare(disk.path(), &there).exits(0);
        assert_eq!(machine.mounted_at("/mnt/a\\040b/ret").as_deref(), Some(disk.path()));
        machine.prepare(disk.path(), &there).exits(0).says("0 changed");
        assert_eq!(machine.fstab().matches("x-mtctl").count(), 1);
    });
}

#[test]
fn the_record_and_the_row_are_readable_by_those_who_may() {
    use std::os::unix::fs::PermissionsExt;
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("blank", 64);
        shell("chmod 640 /etc/fstab");
        machine.prepare(disk.path(), &["--yes"]).exits(0);
        let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode("/etc/fstab"), 0o640, "the mode of fstab is the operator's");
        // `check` reads it without root.
        assert_eq!(mode("/var/lib/mtctl/provisioning.json"), 0o644);
        let record = fs::read_to_string("/var/lib/mtctl/provisioning.json").unwrap();
        assert!(record.contains("\"formatting\": null"), "{record}");
    });
}
