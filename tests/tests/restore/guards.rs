//! Targets onto which a point is not restored: exit 4 or 2, and no byte touched.

use std::fs;

use mt_tests::change_stream::{Change, native, volume};
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::run;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{Group, MIB, restore, unfinished};

/// Asserts that a restore of db onto `target` exits with `code`, prints `text`, and touches
/// nothing.
#[track_caller]
fn is_refused(machine: &ScratchMachine, target: &str, more: &[&str], code: i32, text: &str) {
    let before = fs::read(target).ok();
    let onto = format!("db={target}");
    for how in [&["--yes"][..], &["--dry-run"]] {
        let words = restore(&[&["--onto", &onto], more, how].concat());
        machine.mtctl(&words).exits(code).says(text).says("hint:");
        assert!(fs::read(target).ok() == before, "{target} is not as it was");
    }
}

#[test]
fn the_groups_own_disk_and_that_of_another_group_are_refused() {
    on_a_scratch_machine(|machine| {
        let group = Group::new(machine);
        is_refused(machine, group.db.path(), &[], 4, "is the disk of volume \"db\" of this group");
        // The file behind it, and the image of the other volume.
        is_refused(machine, group.db.file().to_str().unwrap(), &[], 4, "of this group");
        is_refused(machine, &group.log, &[], 4, "is the disk of volume \"log\" of this group");
        let other = machine.disk("other", 32);
        let stream = machine.file("other.mts");
        let change = Change::data(0, vec![1; 512]);
        fs::write(&stream, native(volume("", 32 * MIB, "", ""), &[change])).unwrap();
        let stream = stream.to_str().unwrap();
        machine.mtctl(&["apply", stream, "--group", "o", "--target", other.path()]).exits(0);
        is_refused(machine, other.path(), &[], 4, "belongs to group o");
    });
}

/// The result would not be the point, because somebody else wrote to the disk that it is read from.
#[test]
fn a_disk_that_is_not_as_the_group_left_it_is_not_restored_from_unless_that_is_said() {
    on_a_scratch_machine(|machine| {
        let group = Group::new(machine);
        let onto = group.path("home.img");
        fs::write(&onto, vec![1; 24 * MIB as usize]).unwrap();
        let all = vec![0x77; 24 * MIB as usize];
        fs::write(group.db.path(), all).unwrap();
        is_refused(machine, &onto, &[], 4, "it does not hold what the group left there");
        let said = ["--onto", &format!("db={onto}"), "--yes", "--accept-target"];
        machine.mtctl(&restore(&said)).exits(0).says("may be the data of another disk");
    });
}

#[test]
fn what_is_in_use_or_too_small_or_ours_is_refused() {
    on_a_scratch_machine(|machine| {
        let group = Group::new(machine);
        let mounted = machine.disk("mounted", 32);
        run("mkfs.ext4", &["-q", mounted.path()]);
        fs::create_dir("/mnt/used").unwrap();
        // Read-only, so that the filesystem writes nothing to it.
        run("mount", &["-o", "ro", mounted.path(), "/mnt/used"]);
        is_refused(machine, mounted.path(), &[], 4, "it is mounted at /mnt/used");
        run("umount", &["/mnt/used"]);
        let small = machine.disk("small", 23);
        is_refused(machine, small.path(), &[], 4, "but the volume has 25165824");
        let short = group.path("short.img");
        fs::write(&short, vec![1; 512]).unwrap();
        is_refused(machine, &short, &["--create"], 4, "but the volume has 25165824");
        let inside = "/mnt/retention/home.img";
        is_refused(machine, inside, &["--create"], 4, "where mtctl keeps states and history");
        fs::write(inside, vec![1; 512]).unwrap();
        let behind = LoopDevice::attach(&[], inside.as_ref());
        is_refused(machine, behind.path(), &[], 4, "where mtctl keeps states and history");
        drop(behind);
        fs::remove_file(inside).unwrap();
    });
}

#[test]
fn what_is_not_there_is_no_target_unless_a_file_may_be_made_for_it() {
    on_a_scratch_machine(|machine| {
        let group = Group::new(machine);
        let file = group.path("new.img");
        is_refused(machine, &file, &[], 2, "there is no such disk or file");
        is_refused(machine, &group.path("no/new.img"), &["--create"], 2, "is not a directory");
        is_refused(machine, "/dev/no-such-disk", &["--create"], 4, "a file in /dev");
        let link = group.path("link.img");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        is_refused(machine, &link, &[], 2, "there is no such disk or file");
        is_refused(machine, &link, &["--create"], 4, "it is a link to");
        let (db, log) = (format!("db={file}"), format!("log={file}"));
        let twice = restore(&["--onto", &db, "--onto", &log, "--create"]);
        machine.mtctl(&twice).exits(2).says("is named for two new files");
        let nobodys = restore(&["--onto", &file, "--create"]);
        machine.mtctl(&nobodys).exits(2).says("with one of: db, log");
        assert!(!machine.file("new.img").exists());
    });
}

#[test]
fn a_dry_run_says_what_would_be_written_and_a_disk_is_asked_for() {
    on_a_scratch_machine(|machine| {
        let group = Group::new(machine);
        let disk = machine.disk("new", 32);
        let (db, log) = (format!("db={}", disk.path()), format!("log={}", group.path("new.img")));
        let onto = ["--onto", &db, "--onto", &log, "--create"];
        let dry = machine.mtctl(&restore(&[&onto[..], &["--dry-run"]].concat()));
        dry.exits(3).says("a new file").says("is overwritten").says(disk.path());
        let dry = machine.mtctl(&restore(&[&onto[..], &["--dry-run", "--json"]].concat()));
        let told = dry.exits(3).json();
        assert_eq!(told["dry_run"], true, "{told}");
        assert_eq!(told["volumes"][0]["is_new"], false, "{told}");
        assert_eq!(told["volumes"][1]["is_new"], true, "{told}");
        machine.mtctl(&restore(&onto)).exits(2).says("there is no terminal to ask on");
        assert!(fs::read(disk.file()).unwrap().iter().all(|byte| *byte == 0));
        assert!(!machine.file("new.img").exists() && unfinished(machine.directory()).is_empty());
    });
}
