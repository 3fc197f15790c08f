//! --destroy: permitted for exactly the disk that is named again, and leaves nothing of the old
//! contents.

use mt_tests::content::Content;
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::run;
use mt_tests::scratch_machine::on_a_scratch_machine;

use crate::{is_the_retention_volume, untouched};

/// Asserts that the filesystem's own checker finds nothing, and that no other signature is left.
#[track_caller]
fn is_clean_and_alone(disk: &LoopDevice, filesystem: &str) {
    run("umount", &["/mnt/retention"]);
    match filesystem {
        "xfs" => drop(run("xfs_repair", &["-n", disk.path()])),
        _ => drop(run("e2fsck", &["-f", "-n", disk.path()])),
    }
    let found = run("wipefs", &["--noheadings", "--output", "TYPE", disk.path()]);
    assert_eq!(found.split_whitespace().collect::<Vec<_>>(), [filesystem]);
}

#[test]
fn the_disk_that_is_named_again_is_formatted_whatever_is_on_it() {
    for content in Content::ALL {
        on_a_scratch_machine(|machine| {
            let Some(disk) = content.on_a_disk(machine) else { return };
            let destroy = ["--destroy", disk.path(), "--yes"];
            machine.prepare(disk.path(), &destroy).exits(0).says("1 changed");
            is_the_retention_volume(machine, &disk, "ext4");
            // Repeated, it has no effect, because there is no foreign content any more.
            std::fs::write("/mnt/retention/kept", "x").unwrap();
            machine.prepare(disk.path(), &destroy).exits(0).says("0 changed");
            assert!(std::path::Path::new("/mnt/retention/kept").exists());
            is_clean_and_alone(&disk, "ext4");
        });
    }
}

#[test]
fn a_disk_becomes_xfs_whatever_was_on_it() {
    for content in [Content::Xfs, Content::Gpt, Content::Lvm] {
        on_a_scratch_machine(|machine| {
            let disk = machine.disk("target", 320);
            content.put_on(&disk);
            let destroy = ["--filesystem", "xfs", "--destroy", disk.path(), "--yes"];
            machine.prepare(disk.path(), &destroy).exits(0).says("1 changed");
            is_the_retention_volume(machine, &disk, "xfs");
            is_clean_and_alone(&disk, "xfs");
        });
    }
}

#[test]
fn what_would_be_destroyed_is_said_before() {
    on_a_scratch_machine(|machine| {
        let Some(disk) = Content::Ext4.on_a_disk(machine) else { return };
        let before = disk.sha256();
        let shown = machine.prepare(disk.path(), &["--destroy", disk.path()]);
        shown.exits(3).says("DESTROY THE CONTENT (ext4 signature)").says(disk.path());
        untouched(machine, &disk, &before);
    });
}

#[test]
fn destruction_of_another_disk_than_the_retention_disk_is_refused() {
    on_a_scratch_machine(|machine| {
        let Some(disk) = Content::Ext4.on_a_disk(machine) else { return };
        let Some(other) = Content::Swap.on_a_disk(machine) else { return };
        let before = (disk.sha256(), other.sha256());
        let arguments = ["--destroy", other.path(), "--yes"];
        let said = format!("--destroy names {}, but the retention disk is", other.path());
        machine.prepare(disk.path(), &arguments).exits(4).says(&said);
        assert_eq!(other.sha256(), before.1);
        untouched(machine, &disk, &before.0);
    });
}

#[test]
fn a_link_to_the_disk_names_it_as_well() {
    on_a_scratch_machine(|machine| {
        let Some(disk) = Content::Ext4.on_a_disk(machine) else { return };
        let link = machine.file("link");
        std::os::unix::fs::symlink(disk.path(), &link).unwrap();
        let link = link.to_str().unwrap();
        machine.prepare(link, &["--destroy", disk.path(), "--yes"]).exits(0);
        is_the_retention_volume(machine, &disk, "ext4");
    });
}
