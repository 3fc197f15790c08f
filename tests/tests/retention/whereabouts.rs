//! Disks of a group that are not where they were: gone, under another path, or with another one in
//! their place. What is told of them is true, and no point is made of one that is not there.

use std::fs::{self, File};
use std::io::Write;
use std::process::Stdio;

use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{command, mtctl, run};
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::history::one_change;
use crate::{MIB, blank, disk, retention};

fn of_g(machine: &ScratchMachine, words: &[&str], code: i32, text: &str) {
    machine.mtctl(&[words, &["--group", "g"]].concat()).exits(code).says(text);
}

/// What the alarms of group g say; exit 6.
fn is_alarm(machine: &ScratchMachine, text: &str) {
    machine.mtctl(&["group", "list", "--check"]).exits(6).says(text);
    of_g(machine, &["group", "show", "--check"], 6, text);
}

fn is_no_alarm(machine: &ScratchMachine) {
    machine.mtctl(&["group", "list", "--check"]).exits(0);
    of_g(machine, &["group", "show", "--check"], 0, "");
}

#[test]
fn no_point_is_made_of_a_disk_that_is_not_there_and_recover_does_not_say_that_it_is() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let (image, away) = (blank(machine, "image.img", MIB), machine.file("away.img"));
        let stream = one_change(machine, "day1.mts");
        machine.mtctl(&["apply", &stream, "--group", "g", "--target", &image]).exits(0);
        let points = || machine.mtctl(&["points", "list", "--group", "g"]).exits(0).stdout.clone();
        let before = points();
        fs::rename(&image, &away).unwrap();
        for verb in [&["points", "create"][..], &["recover"]] {
            of_g(machine, verb, 4, "image.img is not there");
            of_g(machine, &[verb, &["--accept-target"]].concat(), 4, "image.img is not there");
        }
        assert_eq!(points(), before);
        fs::rename(&away, &image).unwrap();
        of_g(machine, &["recover"], 0, "nothing to do");
        of_g(machine, &["points", "create"], 0, "crash");
        machine.mtctl(&["group", "forget", "--group", "g", "--yes"]).exits(0);
        let disk = disk(machine, "disk.img", &[0; MIB as usize], "512");
        machine.mtctl(&["apply", &stream, "--group", "g", "--target", disk.path()]).exits(0);
        let path = disk.path().to_owned();
        drop(disk);
        for verb in [&["points", "create"][..], &["recover"]] {
            of_g(machine, verb, 4, &path);
        }
    });
}

#[test]
fn another_disk_in_the_place_of_one_and_a_file_that_was_cut_are_alarms() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let stream = one_change(machine, "day1.mts");
        let disk = disk(machine, "disk.img", &[0; MIB as usize], "512");
        machine.mtctl(&["apply", &stream, "--group", "g", "--target", disk.path()]).exits(0);
        is_no_alarm(machine);
        let (path, file) = (disk.path().to_owned(), disk.file().to_owned());
        drop(disk);
        let other = machine.file("other.img");
        fs::copy(&file, &other).unwrap();
        run("losetup", &[&path, other.to_str().unwrap()]);
        let taken = LoopDevice::attached(&path, &other);
        is_alarm(machine, "its backing file is");
        is_alarm(machine, "mtctl group retarget --group g");
        // It is another path that the disk is at now: no alarm, and that one is what is written.
        let moved = LoopDevice::attach(&["--direct-io=on"], &file);
        is_no_alarm(machine);
        let dry = ["rollback", "--group", "g", "--to", "start", "--dry-run"];
        let preview = machine.mtctl(&dry);
        preview.exits(3);
        let row = preview.stdout.lines().find(|row| row.contains("4 KiB")).unwrap();
        assert!(row.contains(moved.path()) && !row.contains(&path), "{preview:#?}");
        drop((taken, moved));
        machine.mtctl(&["group", "forget", "--group", "g", "--yes"]).exits(0);
        let image = blank(machine, "image.img", MIB);
        machine.mtctl(&["apply", &stream, "--group", "g", "--target", &image]).exits(0);
        let length = |bytes| File::options().write(true).open(&image).unwrap().set_len(bytes);
        length(MIB - 512).unwrap();
        is_alarm(machine, "it has 1048064 bytes, but the group knows 1048576");
        // A file may be longer.
        length(MIB + 512).unwrap();
        is_no_alarm(machine);
    });
}

/// At whatever moment somebody looks.
#[test]
fn a_disk_that_is_being_written_is_no_alarm() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let disk = disk(machine, "disk.img", &[0; MIB as usize], "512");
        let bytes = fs::read(one_change(machine, "day1.mts")).unwrap();
        let words = ["apply", "-", "--group", "g", "--target", disk.path()];
        machine.mtctl(&["group", "create", "--group", "g", "--target", disk.path()]).exits(0);
        let mut apply = command(mtctl(), &words);
        let mut apply = apply.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut stdin = apply.stdin.take().unwrap();
        for part in bytes.chunks(bytes.len() / 3 + 1) {
            stdin.write_all(part).unwrap();
            machine.mtctl(&["group", "list", "--check"]).does_not_say("the disk of");
        }
        drop(stdin);
        assert_eq!(apply.wait().unwrap().code(), Some(0));
        is_no_alarm(machine);
    });
}
