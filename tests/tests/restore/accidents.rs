//! A restore that does not finish: no file is left that looks complete, and nothing of the group is
//! touched.

use std::fs;

use mt_tests::program::{command, interrupted, mtctl, run};
use mt_tests::scratch_machine::on_a_scratch_machine;
use mt_tests::skip::{has_program, skipped};
use nix::sys::signal::Signal;

use crate::{Group, holds, restore, unfinished};

#[test]
fn a_full_filesystem_leaves_no_file_and_says_so() {
    on_a_scratch_machine(|machine| {
        let group = Group::new(machine);
        let disk = machine.disk("full", 16);
        run("mkfs.ext4", &["-q", disk.path()]);
        fs::create_dir("/mnt/full").unwrap();
        run("mount", &[disk.path(), "/mnt/full"]);
        let words = restore(&["--onto", "db=/mnt/full/db.img", "--create"]);
        let run = machine.mtctl(&words);
        run.exits(1).says("No space left on device").says("make room").says("no file was made");
        if has_program("qemu-img") {
            let words = restore(&["--onto", "db=/mnt/full/db.img", "--create"]);
            let words = [&words[..], &["--output-format", "qcow2"]].concat();
            machine.mtctl(&words).exits(1).says("no space left in /mnt/full").says("make room");
        }
        let left = fs::read_dir("/mnt/full").unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.filter(|name| name != "lost+found").count(), 0);
        mt_tests::program::run("umount", &["/mnt/full"]);
        holds(group.db.file(), &group.now[0]);
    });
}

#[test]
fn one_that_is_killed_at_any_moment_leaves_no_file_that_is_not_whole() {
    on_a_scratch_machine(|machine| {
        let group = Group::new(machine);
        let (db, log) = (format!("db={}", group.path("d.img")), format!("log={}", group.path("l")));
        let words = restore(&["--onto", &db, "--onto", &log, "--create"]);
        let (mut killed, mut whole) = (0, 0);
        let mut yields = 50;
        while whole < 2 {
            let mut command = command(mtctl(), &words);
            let run = interrupted(&mut command, Signal::SIGKILL, yields, b"");
            killed += u64::from(run.code.is_none());
            for (name, bytes) in ["d.img", "l"].iter().zip(&group.now) {
                if machine.file(name).exists() {
                    holds(machine.file(name), bytes);
                    fs::remove_file(machine.file(name)).unwrap();
                }
            }
            for part in unfinished(machine.directory()) {
                fs::remove_file(machine.file(&part)).unwrap();
            }
            whole += u64::from(run.code == Some(0));
            yields = yields * 3 / 2;
        }
        println!("killed {killed} times before it was done");
        assert!(killed > 3, "{killed}");
    });
}

#[test]
fn one_that_is_killed_beside_qemu_img_leaves_no_socket_behind_the_next_one() {
    if !has_program("qemu-img") {
        return skipped("there is no qemu-img");
    }
    on_a_scratch_machine(|machine| {
        let group = Group::new(machine);
        let sockets = || match fs::read_dir("/run/mtctl") {
            Ok(entries) => entries.count(),
            Err(_) => 0,
        };
        // The path of a socket cannot be as long as that of this directory.
        let folder = machine.file(&"x".repeat(120));
        fs::create_dir(&folder).unwrap();
        let onto = format!("db={}", group.path("d.vmdk"));
        let words = restore(&["--onto", &onto, "--create", "--output-format", "vmdk"]);
        let mut yields = 50;
        loop {
            let mut command = command(mtctl(), &words);
            command.env("TMPDIR", &folder);
            let run = interrupted(&mut command, Signal::SIGKILL, yields, b"");
            let _ = fs::remove_file(machine.file("d.vmdk"));
            if run.code == Some(0) {
                break;
            }
            assert_eq!(run.code, None, "{run:#?}");
            assert!(sockets() <= 1, "the one before left its own");
            yields = yields * 3 / 2;
        }
        assert_eq!((sockets(), fs::read_dir(&folder).unwrap().count()), (0, 0));
        for part in unfinished(machine.directory()) {
            fs::remove_file(machine.file(&part)).unwrap();
        }
    });
}

#[test]
fn one_that_is_stopped_takes_its_files_away_and_says_what_a_disk_holds() {
    on_a_scratch_machine(|machine| {
        let group = Group::new(machine);
        let db = format!("db={}", group.path("d.img"));
        let words = restore(&["--onto", &db, "--create"]);
        let mut stopped = 0;
        let mut yields = 50;
        loop {
            let mut command = command(mtctl(), &words);
            let run = interrupted(&mut command, Signal::SIGTERM, yields, b"");
            assert_eq!(unfinished(machine.directory()), [""; 0], "{run:#?}");
            if run.code == Some(0) {
                break;
            }
            // It may have been killed before it could handle the signal.
            if run.code == Some(1) {
                run.says("stopped before the end").says("no file was made");
                stopped += 1;
            }
            assert!(!machine.file("d.img").exists());
            yields = yields * 5 / 4;
        }
        println!("stopped {stopped} times");
    });
}

#[test]
fn the_disk_of_a_volume_that_is_not_restored_need_not_be_there() {
    on_a_scratch_machine(|machine| {
        let group = Group::new(machine);
        fs::rename(&group.log, group.path("away.img")).unwrap();
        let file = group.path("db-home.img");
        let db = format!("db={file}");
        machine.mtctl(&restore(&["--onto", &db, "--create"])).exits(0);
        holds(&file, &group.now[0]);
        // The one that is gone may come back: nothing else takes its place.
        let in_its_place = format!("db={}", group.log);
        let refused = machine.mtctl(&restore(&["--onto", &in_its_place, "--create"]));
        refused.exits(4).says("the group expects the disk of volume \"log\" there");
        let log = format!("log={}", group.path("log-home.img"));
        machine.mtctl(&restore(&["--onto", &log, "--create"])).exits(2).says("log.img");
        // The one that is read is held against the group as ever.
        fs::remove_file(&file).unwrap();
        fs::write(group.db.path(), vec![0x77; group.now[0].len()]).unwrap();
        let refused = machine.mtctl(&restore(&["--onto", &db, "--create"]));
        refused.exits(4).says("it does not hold what the group left there");
    });
}
