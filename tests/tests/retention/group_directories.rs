//! The directories of groups: queries leave them and the registry unchanged, an existing name is
//! not taken, a link to a group is not the group, and no part of a group is left behind.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use blockio::stream::MarkKind;
use mt_tests::change_stream::{Change, volume};
use mt_tests::program::{Run, run};
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{MIB, Part, blank, disk, retention, stream};

const REGISTRY: &str = "/var/lib/mtctl/state-directories";

/// A stream of one volume without a name, with a point at its end.
fn marked_stream(machine: &ScratchMachine) -> String {
    let change = Change::data(4096, vec![7; 4096]);
    let parts = [Part::Change(0, &change), Part::Mark(MarkKind::CrashConsistent, "one")];
    stream(machine, "one.mts", vec![volume("", MIB, "", "")], &parts)
}

/// Makes group `name`, whose one disk is a file.
fn group(machine: &ScratchMachine, name: &str, more: &[&str]) {
    let target = blank(machine, &format!("{name}.img"), MIB);
    let stream = marked_stream(machine);
    let apply = ["apply", &stream, "--group", name, "--target", &target];
    machine.mtctl(&[&apply[..], more].concat()).exits(0);
}

fn of(machine: &ScratchMachine, verb: &str, name: &str, more: &[&str]) -> Run {
    machine.mtctl(&[&["group", verb, "--group", name][..], more].concat())
}

fn rename(machine: &ScratchMachine, from: &str, to: &str, more: &[&str]) -> Run {
    of(machine, "rename", from, &[&["--to", to][..], more].concat())
}

#[test]
fn what_only_asks_puts_nothing_down_and_makes_no_directory() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let disk = disk(machine, "disk.img", &[0; MIB as usize], "512");
        let stream = marked_stream(machine);
        machine.mtctl(&["apply", &stream, "--group", "g", "--target", disk.path()]).exits(0);
        fs::remove_file(REGISTRY).unwrap();
        let other = blank(machine, "other.img", MIB);
        let ask = |more: &[&str]| {
            for words in [
                &["group", "show"][..],
                &["group", "set", "--point-every", "5m", "--dry-run"],
                &["group", "rename", "--to", "h", "--dry-run"],
                &["group", "forget", "--dry-run"],
                &["group", "retarget", "--target", &other, "--dry-run"],
                &["points", "list"],
                &["points", "forget", "--dry-run"],
                &["points", "show", "latest"],
                &["rollback", "--to", "start", "--dry-run"],
                &["apply", &stream, "--dry-run"],
                &["journal", "check"],
                &["journal", "rebuild", "--dry-run"],
                &["digest", "--to", "latest"],
                &["history"],
            ] {
                let run = machine.mtctl(&[words, &["--group", "g"], more].concat());
                assert!(!fs::exists(REGISTRY).unwrap(), "{run:#?}");
            }
        };
        ask(&[]);
        // A state directory that does not exist, while the copy of the state does.
        let nowhere = machine.file("nowhere").display().to_string();
        ask(&["--state-dir", &nowhere]);
        assert!(!fs::exists(&nowhere).unwrap(), "a question made it");
        // The same if the disk is gone.
        drop(disk);
        ask(&[]);
    });
}

#[test]
fn a_group_is_not_renamed_onto_what_is_there_whatever_it_is() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        group(machine, "g", &[]);
        let at = |name: &str| Path::new("/mnt/retention").join(name);
        fs::write(at("file"), "mine").unwrap();
        symlink("/nowhere", at("dangling")).unwrap();
        fs::create_dir(at("empty")).unwrap();
        fs::create_dir(at("theirs")).unwrap();
        fs::write(at("theirs/notes"), "mine").unwrap();
        for dry in [&["--dry-run"][..], &[]] {
            rename(machine, "g", "file", dry)
                .exits(2)
                .says("/mnt/retention/file is not a directory");
            rename(machine, "g", "dangling", dry).exits(2).says("/mnt/retention/dangling");
            for name in ["empty", "theirs"] {
                let refused = rename(machine, "g", name, dry);
                let told = format!("/mnt/retention/{name} exists, and belongs to no group");
                refused.exits(4).says(&told).does_not_say("group show");
            }
        }
        assert!(fs::exists(at("theirs/notes")).unwrap() && fs::exists(at("empty")).unwrap());
        for verb in ["create", "show"] {
            of(machine, verb, "file", &[]).exits(2).says("/mnt/retention/file is not a directory");
        }
        // What a crash leaves before a group of that name has saved anything.
        fs::write(at("empty/lock"), "").unwrap();
        rename(machine, "g", "empty", &[]).exits(0);
        of(machine, "show", "empty", &[]).exits(0).says("g.img");
    });
}

#[test]
fn a_group_that_cannot_be_read_is_an_error_and_not_something_to_be_done() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        group(machine, "g", &[]);
        for name in ["state", "state.copy"] {
            fs::write(Path::new("/mnt/retention/g").join(name), "{").unwrap();
        }
        for dry in [&["--dry-run"][..], &[]] {
            rename(machine, "g", "h", dry).exits(5);
        }
        of(machine, "forget", "g", &["--dry-run"]).exits(5);
        of(machine, "forget", "g", &["--yes"]).exits(5);
    });
}

#[test]
fn a_link_to_a_group_is_no_second_group_and_nothing_is_removed_through_it() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        group(machine, "g", &[]);
        symlink("g", "/mnt/retention/alias").unwrap();
        let listed = machine.mtctl(&["group", "list", "--json"]).exits(0).json();
        assert_eq!(listed["groups"].as_array().unwrap().len(), 1, "{listed}");
        assert_eq!(listed["groups"][0]["group"], "g");
        let named = "/mnt/retention/alias is a link to /mnt/retention/g";
        for run in [
            of(machine, "forget", "alias", &["--yes"]),
            of(machine, "release", "alias", &["--yes"]),
            rename(machine, "alias", "h", &[]),
        ] {
            run.exits(4).says(named).says("--group g");
        }
        of(machine, "forget", "g", &["--dry-run"]).exits(3).says("1 recovery point");
        // A group that lies elsewhere is listed by its link.
        let moved = Path::new("/mnt/retention/.moved");
        fs::rename("/mnt/retention/g", moved).unwrap();
        fs::remove_file("/mnt/retention/alias").unwrap();
        symlink(moved, "/mnt/retention/g").unwrap();
        machine.mtctl(&["group", "list"]).exits(0).says("g ");
        of(machine, "forget", "g", &["--yes"]).exits(4).says("move /mnt/retention/.moved");
        assert!(fs::exists(moved.join("state")).unwrap());
    });
}

#[test]
fn a_group_whose_state_lies_elsewhere_is_not_renamed_or_forgotten_by_half() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let apart = machine.file("apart").display().to_string();
        let there = ["--state-dir", &apart];
        group(machine, "g", &there);
        let registry = fs::read_to_string(REGISTRY).unwrap();
        assert!(registry.contains(&format!("g {apart}\n")), "{registry}");
        let target = blank(machine, "other.img", MIB);
        for dry in [&["--dry-run"][..], &[]] {
            rename(machine, "g", "h", dry).exits(4).says(&format!("--state-dir {apart}"));
        }
        for run in [
            of(machine, "forget", "g", &["--dry-run"]),
            of(machine, "forget", "g", &["--yes"]),
            of(machine, "release", "g", &["--yes"]),
            of(machine, "retarget", "g", &["--target", &target, "--dry-run"]),
        ] {
            run.exits(4).says(&format!("--state-dir {apart}"));
        }
        // Likewise if nothing says where it is.
        fs::remove_file(REGISTRY).unwrap();
        rename(machine, "g", "h", &[]).exits(4).says("--state-dir DIR");
        let nowhere = machine.file("nowhere").display().to_string();
        rename(machine, "g", "h", &["--state-dir", &nowhere]).exits(4).says("--state-dir DIR");
        rename(machine, "g", "h", &there).exits(0);
        of(machine, "forget", "h", &[&there[..], &["--yes"]].concat()).exits(0);
        assert!(!fs::exists("/mnt/retention/h").unwrap());
        // A state that is lost, and is not elsewhere, is restored from its copy.
        group(machine, "g", &[]);
        fs::remove_file("/mnt/retention/g/state").unwrap();
        rename(machine, "g", "h", &[]).exits(4).says("cp ");
        fs::copy("/mnt/retention/g/state.copy", "/mnt/retention/g/state").unwrap();
        rename(machine, "g", "h", &[]).exits(0);
    });
}

#[test]
fn a_group_that_is_forgotten_leaves_nothing_that_a_rebuild_kept() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        group(machine, "g", &[]);
        for _ in 0..3 {
            machine.mtctl(&["journal", "rebuild", "--group", "g", "--yes"]).exits(0);
        }
        let kept = Path::new("/mnt/retention/g/state.before-rebuild-3");
        assert!(kept.exists());
        // What somebody put there stays, and is told.
        fs::write("/mnt/retention/g/state.before-rebuild-mine", "").unwrap();
        fs::create_dir("/mnt/retention/g/state.before-rebuild-7").unwrap();
        let told = of(machine, "forget", "g", &["--yes"]);
        told.exits(0).says("it also contains state.before-rebuild-7, state.before-rebuild-mine");
        group(machine, "h", &[]);
        machine.mtctl(&["journal", "rebuild", "--group", "h", "--yes"]).exits(0);
        of(machine, "forget", "h", &["--yes"]).exits(0).does_not_say("stays:");
        assert!(!fs::exists("/mnt/retention/h").unwrap());
    });
}

/// The disk of a group that its name alone does not find.
#[test]
fn what_is_told_to_give_a_disk_up_can_be_typed() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let other = machine.disk("other", 64);
        run("mkfs.ext4", &["-q", other.path()]);
        fs::create_dir("/mnt/other").unwrap();
        run("mount", &[other.path(), "/mnt/other"]);
        let unmounted = machine.file("unmounted").display().to_string();
        fs::create_dir(&unmounted).unwrap();
        let mounted = ["--retention", "/mnt/other"];
        let unmounted = ["--retention", &unmounted, "--retention-unmounted"];
        let stream = marked_stream(machine);
        // An image is found beside the group that would have it; a disk wherever its group is.
        for (name, at, own) in
            [("x2", &mounted[..], &[][..]), ("x3", &unmounted, &unmounted), ("x4", &[], &[])]
        {
            group(machine, name, at);
            let target = machine.file(&format!("{name}.img")).display().to_string();
            let apply = ["apply", &stream, "--group", "z", "--target", &target];
            let named = [&["--group", name][..], at].concat().join(" ");
            let release = format!("mtctl group release {named}");
            let refused = machine.mtctl(&[&apply[..], own].concat());
            refused.exits(4).says(&format!("use that group: {named};")).says(&release);
            let words: Vec<_> = release.split(' ').skip(1).chain(["--yes"]).collect();
            machine.mtctl(&words).exits(0);
            machine.mtctl(&[&apply[..], own].concat()).exits(0);
            let forget = ["group", "forget", "--group", "z", "--yes"];
            machine.mtctl(&[&forget[..], own].concat()).exits(0);
        }
        run("umount", &["/mnt/other"]);
    });
}
