//! Files in the places where mtctl keeps states and history are valid neither as targets nor as
//! outputs: exit 4, every byte unchanged.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use mt_tests::change_stream::{Change, native, volume};
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{history_is_whole, run};
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{MIB, blank, image, retention};

fn stream(machine: &ScratchMachine, name: &str) -> String {
    let change = Change::data(4096, vec![7; 4096]);
    image(machine, name, &native(volume("", MIB, "", ""), &[change]))
}

#[track_caller]
fn is_refused(machine: &ScratchMachine, target: &str, more: &[&str]) {
    let before = fs::read(target).unwrap();
    let stream = stream(machine, "refused.mts");
    for group in [&["--group", "other"][..], &[], &["--dry-run"]] {
        // A retention directory belongs to a group.
        if group != ["--group", "other"] && !more.is_empty() && more[1] != "none" {
            continue;
        }
        let arguments = [&["apply", &stream, "--target", target], group, more].concat();
        machine.mtctl(&arguments).exits(4).says("where mtctl keeps").says("hint:");
        assert_eq!(fs::read(target).unwrap(), before, "{target} {group:?}");
    }
}

#[test]
fn nothing_on_the_retention_volume_is_a_target_by_any_name() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target", MIB);
        let first = stream(machine, "first.mts");
        machine.mtctl(&["apply", &first, "--group", "g", "--target", &target]).exits(0);
        let beside = "/mnt/retention/disk.img";
        fs::File::create(beside).unwrap().set_len(2 * MIB).unwrap();
        let mut segments = fs::read_dir("/mnt/retention/g").unwrap().map(|e| e.unwrap().path());
        let segment = segments.find(|path| path.display().to_string().contains("segment")).unwrap();
        let link = machine.file("link");
        symlink(beside, &link).unwrap();
        fs::create_dir("/mnt/again").unwrap();
        run("mount", &["--bind", "/mnt/retention/g", "/mnt/again"]);
        let again = format!("/mnt/again/{}", segment.file_name().unwrap().to_str().unwrap());
        for target in [beside, segment.to_str().unwrap(), link.to_str().unwrap(), &again] {
            is_refused(machine, target, &[]);
            is_refused(machine, target, &["--retention", "none"]);
        }
        let disk = LoopDevice::attach(&[], beside.as_ref());
        is_refused(machine, disk.path(), &[]);
        drop(disk);
        run("umount", &["/mnt/again"]);
        history_is_whole("g", &[]);
    });
}

#[test]
fn nothing_in_a_directory_with_a_groups_state_is_a_target() {
    on_a_scratch_machine(|machine| {
        let (keep, kept) = (machine.file("keep"), machine.file("state-of-g"));
        fs::create_dir_all(&keep).unwrap();
        let (keep, kept) = (keep.to_str().unwrap(), kept.to_str().unwrap());
        let disk = machine.disk("target", 1);
        let first = stream(machine, "first.mts");
        let at = ["--retention", keep, "--retention-unmounted", "--state-dir", kept];
        let apply = ["apply", &first, "--group", "g", "--target", disk.path()];
        machine.mtctl(&[&apply[..], &at].concat()).exits(0);
        let beside = format!("{kept}/disk.img");
        fs::write(&beside, vec![0; MIB as usize]).unwrap();
        is_refused(machine, &beside, &[]);
        let inside = format!("{keep}/g/disk.img");
        fs::write(&inside, vec![0; MIB as usize]).unwrap();
        is_refused(machine, &inside, &["--retention", keep, "--retention-unmounted"]);
        let without = blank(machine, "without", MIB);
        let none = ["--retention", "none"];
        let apply = ["apply", &first, "--group", "w", "--target", &without];
        machine.mtctl(&[&apply[..], &none].concat()).exits(0);
        let hard = machine.file("hard");
        let inside = machine.file("state/groups/w/disk.img");
        fs::write(&inside, vec![0; MIB as usize]).unwrap();
        fs::hard_link(&inside, &hard).unwrap();
        is_refused(machine, "/var/lib/mtctl/groups/w/disk.img", &[]);
        is_refused(machine, hard.to_str().unwrap(), &[]);
    });
}

/// What lies in /var/lib/mtctl, with its bytes.
fn kept() -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::from("/var/lib/mtctl")];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            found.push((path.clone(), fs::read(&path).ok()));
            pending.extend(Some(path).filter(|path| path.is_dir()));
        }
    }
    found.sort();
    found
}

#[test]
fn no_output_is_put_among_what_mtctl_keeps_of_this_host() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let disk = machine.disk("target", 1);
        let first = stream(machine, "first.mts");
        machine.mtctl(&["apply", &first, "--group", "g", "--target", disk.path()]).exits(0);
        machine.mtctl(&["points", "create", "--group", "g", "--name", "p"]).exits(0);
        let own = Path::new("/var/lib/mtctl");
        let (directory, link) = (machine.file("directory"), machine.file("link"));
        symlink(own, &directory).unwrap();
        let digest = image(machine, "digest", b"");
        machine.mtctl(&["digest", &first, "--output", &digest]).exits(0);
        fs::copy(&digest, own.join("digest")).unwrap();
        symlink(own.join("digest"), &link).unwrap();
        fs::write(own.join("prepare.lock"), "").unwrap();
        fs::create_dir(own.join("groups")).unwrap();
        let before = kept();
        let refused = |words: &[&str]| {
            machine.mtctl(words).exits(4).says("where mtctl keeps").says("hint:");
            assert!(kept() == before, "{words:?}");
        };
        let merged = format!("db={first}");
        let names = ["new", "digest", "prepare.lock", "state-directories", "groups/new"];
        let paths = names.iter().map(|name| own.join(name));
        for path in paths.chain([directory.join("new"), directory.join("digest"), link]) {
            let path = path.to_str().unwrap();
            let onto = format!("={path}");
            refused(&["digest", &first, "--output", path]);
            refused(&["disks", "--record", path]);
            for force in [&[][..], &["--force", path]] {
                let convert = ["stream", "convert", &first, "--to", "rbd-diff-v1"];
                refused(&[&convert[..], &["--output", path], force].concat());
                refused(&[&["stream", "merge", &merged, "--output", path], force].concat());
            }
            let export = ["export", "--group", "g", "--to", "p", "--run", "true"];
            refused(&[&export[..], &["--pid-file", path]].concat());
            refused(&[&export[..], &["--socket", path]].concat());
            if !Path::new(path).exists() {
                refused(&["restore", "--group", "g", "--to", "p", "--onto", &onto, "--create"]);
            }
        }
    });
}
