//! No space left where the record or fstab is written: an error that says so, and the old file
//! intact.

use std::fs;

use mt_tests::content::Content;
use mt_tests::program::{run, shell};
use mt_tests::scratch_machine::{FSTAB, ScratchMachine, on_a_scratch_machine};

use crate::{converges, untouched};

/// Moves the contents of `directory` to a filesystem of its own, and fills that to the last byte.
fn fill(machine: &ScratchMachine, directory: &str) {
    let at = machine.file("small");
    fs::create_dir(&at).unwrap();
    let at = at.display();
    shell(&format!(
        "mount -t tmpfs -o size=1m small {at}; cp -a {directory}/. {at}
         mount --move {at} {directory}
         dd if=/dev/zero of={directory}/filler bs=4k status=none 2>/dev/null || true
         ! echo x 2>/dev/null >{directory}/more"
    ));
}

/// Frees the space.
fn make_room(directory: &str) {
    shell(&format!("rm -f {directory}/filler {directory}/more"));
}

const STATE: &str = "/var/lib/mtctl";

#[test]
fn without_room_for_the_record_nothing_is_formatted() {
    for content in [None, Some(Content::Ext4)] {
        on_a_scratch_machine(|machine| {
            let disk = machine.disk("disk", 64);
            if let Some(content) = content {
                content.put_on(&disk);
            }
            let record = "{\"version\":1,\"formatting\":null,\"retention\":null,\"ran_once\":[]}\n";
            fs::write(format!("{STATE}/provisioning.json"), record).unwrap();
            fill(machine, STATE);
            let before = disk.sha256();
            let arguments = ["--destroy", disk.path(), "--yes"];
            let failed = machine.prepare(disk.path(), &arguments);
            failed.exits(1).says("/var/lib/mtctl/provisioning.json").says("No space left");
            untouched(machine, &disk, &before);
            let now = fs::read_to_string(format!("{STATE}/provisioning.json")).unwrap();
            assert_eq!(now, record);
            let strays = shell(&format!("ls -A {STATE}"));
            assert!(!strays.contains(".provisioning"), "{strays}");
            make_room(STATE);
            machine.prepare(disk.path(), &arguments).exits(0);
            converges(machine, &disk, "ext4");
        });
    }
}

#[test]
fn without_room_for_fstab_the_old_one_stays_whole_and_the_next_run_goes_on() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        fill(machine, "/etc");
        let failed = machine.prepare(disk.path(), &["--yes"]);
        failed.exits(1).says("writing /etc/").says("No space left");
        assert_eq!(machine.fstab(), FSTAB);
        assert_eq!(machine.mounted_at("/mnt/retention"), None);
        assert!(!shell("ls -A /etc").contains(".fstab"), "no stray file");
        make_room("/etc");
        let made = crate::tag(&disk, "UUID");
        converges(machine, &disk, "ext4");
        assert_eq!(crate::tag(&disk, "UUID"), made, "what was made is used, not made again");
    });
}

#[test]
fn a_read_only_etc_is_an_error_that_says_so() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        run("mount", &["-o", "remount,bind,ro", "/etc"]);
        let failed = machine.prepare(disk.path(), &["--yes"]);
        failed.exits(1).says("writing /etc/").says("Read-only file system");
        run("mount", &["-o", "remount,bind,rw", "/etc"]);
        converges(machine, &disk, "ext4");
    });
}

#[test]
fn a_damaged_record_stops_everything_and_stays_as_it_is() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        let before = disk.sha256();
        for damage in ["", "{\"version\":1,\"formatt", "{\"version\":9}"] {
            fs::write(format!("{STATE}/provisioning.json"), damage).unwrap();
            machine.prepare(disk.path(), &["--yes"]).exits(5).says("provisioning.json");
            let now = fs::read_to_string(format!("{STATE}/provisioning.json")).unwrap();
            assert_eq!(now, damage);
            untouched(machine, &disk, &before);
        }
    });
}
