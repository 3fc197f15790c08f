//! Consent given to an earlier run is not valid forever: data that came to a disk after an
//! accident, copies of it, and other paths to it belong to somebody.

use mt_tests::content::Content;
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{run, shell};
use mt_tests::scratch_machine::on_a_scratch_machine;

use crate::{converges, scripted, untouched};

/// Numbers of events in a run that destroys an ext4, as `scripted_prepare` prints them.
const INTENT_RECORDED: &str = "2";
const MADE_NOT_RECORDED: &str = "4";

#[test]
fn content_whose_destruction_was_stopped_needs_the_agreement_again() {
    for accident in ["stop", "kill"] {
        on_a_scratch_machine(|machine| {
            let disk = machine.disk("disk", 64);
            Content::Ext4.put_on(&disk);
            scripted(disk.path(), "ext4", &["destroy", accident, INTENT_RECORDED])
                .says("the intent is recorded");
            shell(&format!(
                "mkdir -p /mnt/by-hand && mount {} /mnt/by-hand && echo new >/mnt/by-hand/file && \
                 umount /mnt/by-hand && rmdir /mnt/by-hand",
                disk.path()
            ));
            let before = disk.sha256();
            machine.prepare(disk.path(), &["--yes"]).exits(4).says("is not blank");
            untouched(machine, &disk, &before);
        });
    }
}

#[test]
fn a_volume_that_was_mounted_since_the_crash_is_kept_with_what_is_on_it() {
    for filesystem in ["ext4", "xfs"] {
        on_a_scratch_machine(|machine| {
            let disk = machine.disk("disk", 304);
            Content::Ext4.put_on(&disk);
            let first = scripted(disk.path(), filesystem, &["destroy", "kill", MADE_NOT_RECORDED]);
            first.says("the filesystem is made, not recorded");
            shell(&format!(
                "mkdir -p /mnt/retention && mount {} /mnt/retention && \
                 echo journal >/mnt/retention/segment && umount /mnt/retention",
                disk.path()
            ));
            converges(machine, &disk, filesystem);
            assert_eq!(run("cat", &["/mnt/retention/segment"]).trim(), "journal");
        });
    }
}

#[test]
fn a_second_way_to_a_mounted_disk_is_refused_even_with_destroy() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        Content::Ext4.put_on(&disk);
        let second = LoopDevice::attach(&[], disk.file());
        shell(&format!("mkdir -p /mnt/by-hand && mount -o ro {} /mnt/by-hand", disk.path()));
        let before = disk.sha256();
        let destroy = ["--destroy", second.path(), "--yes"];
        machine.prepare(second.path(), &destroy).exits(4).says("two ways to one disk");
        untouched(machine, &disk, &before);
        shell("umount /mnt/by-hand && rmdir /mnt/by-hand");
    });
}

#[test]
fn a_copy_of_the_retention_volume_is_told_whether_it_is_mounted_or_not() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        converges(machine, &disk, "ext4");
        let copy = machine.disk("copy", 64);
        shell(&format!("dd if={} of={} bs=1M status=none", disk.path(), copy.path()));
        let more = ["--only", "retention", "--yes"];
        machine.mtctl(&[&["prepare"][..], &more].concat()).exits(4).says("both carry");
        shell("umount /mnt/retention");
        machine.mtctl(&[&["prepare"][..], &more].concat()).exits(4).says("both carry");
        drop(disk);
        machine.mtctl(&[&["prepare"][..], &more].concat()).exits(4).says("a copy?");
        // There is no udev here, and libblkid's cache would make mount use the detached disk.
        shell("rm -rf /run/blkid");
        machine.prepare(copy.path(), &["--yes"]).exits(0);
        machine.mtctl(&[&["prepare"][..], &more].concat()).exits(0).says("0 changed");
    });
}
