//! Identities of disks: another disk is not rolled back, and no disk has two owners.

use std::fs;

use blockio::stream::MarkKind;
use mt_tests::change_stream::{Change, native, random_changes, volume};
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{history_is_whole, run, shell};
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use mt_tests::skip::{has_program, skipped};

use crate::{MIB, Part, after, blank, disk, holds, image, points, retention, rollback, stream};

const SIZE: u64 = 2 * MIB;

/// Applies the stream, asserts the exit code `code`, and returns stderr.
#[track_caller]
fn applied(machine: &ScratchMachine, group: &str, stream: &str, target: &str, code: i32) -> String {
    let run = machine.mtctl(&["apply", stream, "--group", group, "--target", target]);
    run.exits(code);
    run.stderr
}

/// A stream with one change followed by a mark.
fn marked(machine: &ScratchMachine, mark: &str, change: &Change) -> String {
    let parts = [Part::Change(0, change), Part::Mark(MarkKind::CrashConsistent, mark)];
    stream(machine, &format!("{mark}.mts"), vec![volume("", SIZE, "", "")], &parts)
}

#[test]
fn another_disk_at_the_same_number_is_refused_and_the_same_file_at_another_is_found() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let before = Random::new(3).bytes(SIZE as usize);
        let target = disk(machine, "target", &before, "512");
        let first = marked(machine, "one", &Change::data(MIB, vec![7; 8192]));
        applied(machine, "g", &first, target.path(), 0);
        let path = target.path().to_owned();
        let now = fs::read(target.file()).unwrap();
        drop(target);
        image(machine, "other", &now);
        run("losetup", &[&path, machine.file("other").to_str().unwrap()]);
        let other = LoopDevice::attached(&path, &machine.file("other"));
        for run in [
            rollback(machine, "start"),
            machine.mtctl(&["apply", &first, "--group", "g", "--target", &path]),
            machine.mtctl(&["commit", "--group", "g", "--yes"]),
        ] {
            run.exits(4).says("its backing file is").says("/target").says("--accept-target");
        }
        holds(other.file(), &now);
        // The file is found at its new place.
        let moved = LoopDevice::attach(&["--direct-io=on"], &machine.file("target"));
        rollback(machine, "start").exits(0).says("is the same");
        run("blockdev", &["--flushbufs", moved.path()]);
        holds(moved.file(), &before);
        holds(other.file(), &now);
        history_is_whole("g", &[]);
    });
}

#[test]
fn another_image_under_the_same_name_is_refused_until_it_is_accepted() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = image(machine, "target", &Random::new(4).bytes(SIZE as usize));
        let first = marked(machine, "one", &Change::data(MIB, vec![7; 8192]));
        let second = marked(machine, "two", &Change::data(MIB, vec![8; 8192]));
        applied(machine, "g", &first, &target, 0);
        let other = Random::new(5).bytes(SIZE as usize);
        fs::remove_file(&target).unwrap();
        image(machine, "target", &other);
        rollback(machine, "start").exits(4).says("does not hold what the group left there");
        applied(machine, "g", &second, &target, 4);
        machine.mtctl(&["commit", "--group", "g", "--yes"]).exits(4).says("--accept-target");
        holds(&target, &other);
        let accepting = ["apply", &second, "--group", "g", "--target", &target, "--accept-target"];
        machine.mtctl(&accepting).exits(0).says("using it anyway");
        rollback(machine, "one").exits(0);
        let there = other[MIB as usize..MIB as usize + 8192].to_vec();
        holds(&target, &after(&other, &[Change::data(MIB, there)]));
    });
}

#[test]
fn what_mtctl_does_to_its_disks_is_no_difference() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let mut random = Random::new(6);
        let target = image(machine, "target", &random.bytes(SIZE as usize));
        let changes = random_changes(&mut random, SIZE, 12);
        let mut held = vec![fs::read(&target).unwrap()];
        for (number, change) in changes.iter().enumerate() {
            let one = marked(machine, &format!("m{number}"), change);
            applied(machine, "g", &one, &target, 0);
            held.push(after(held.last().unwrap(), std::slice::from_ref(change)));
            if number % 3 == 2 {
                rollback(machine, &format!("m{}", number - 1)).exits(0);
                holds(&target, &held[number]);
                rollback(machine, &format!("m{number}")).exits(0);
            }
        }
        holds(&target, held.last().unwrap());
        machine.mtctl(&["points", "create", "--group", "g", "--name", "hand"]).exits(0);
        let committed = machine.mtctl(&["commit", "--group", "g", "--yes", "--json"]);
        let committed = committed.exits(0).json();
        assert_eq!(committed["not_known"].as_array().unwrap().len(), 1, "{committed}");
    });
}

#[test]
fn one_disk_is_one_volume_of_its_group() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target", SIZE);
        let first = marked(machine, "one", &Change::data(MIB, vec![7; 8192]));
        applied(machine, "g", &first, &target, 0);
        let named = native(volume("db", SIZE, "", ""), &[Change::data(0, vec![9; 4096])]);
        let named = image(machine, "named.mts", &named);
        let map = format!("db={target}");
        let run = machine.mtctl(&["apply", &named, "--group", "g", "--map", &map]);
        run.exits(4).says("as the unnamed volume").says("--target DEVICE");
        rollback(machine, "start").exits(0);
        holds(&target, &vec![0; SIZE as usize]);
    });
}

#[test]
fn a_disk_of_another_group_is_refused_and_release_leads_on() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target", SIZE);
        let first = marked(machine, "one", &Change::data(MIB, vec![7; 8192]));
        let second = marked(machine, "two", &Change::data(MIB, vec![8; 8192]));
        applied(machine, "g", &first, &target, 0);
        let held = fs::read(&target).unwrap();
        assert!(applied(machine, "typo", &second, &target, 4).contains("belongs to group g"));
        machine.mtctl(&["apply", &second, "--target", &target]).exits(4).says("--group g");
        let link = machine.file("link");
        fs::hard_link(&target, &link).unwrap();
        applied(machine, "typo", &second, link.to_str().unwrap(), 4);
        holds(&target, &held);
        let release = ["group", "release", "--group", "g", "--yes", "--json"];
        let released = machine.mtctl(&release).exits(0).json();
        assert_eq!(released["dropped_points"], 1, "{released}");
        machine.mtctl(&["commit", "--group", "g", "--yes"]).exits(2);
        applied(machine, "other", &second, &target, 0);
        applied(machine, "g", &first, &target, 4);
    });
}

#[test]
fn where_two_groups_wrote_one_disk_neither_goes_back_unasked_and_both_can_be_put_right() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target", SIZE);
        let first = marked(machine, "one", &Change::data(MIB, vec![7; 8192]));
        let second = marked(machine, "two", &Change::data(MIB, vec![8; 8192]));
        applied(machine, "g", &first, &target, 0);
        let held = fs::read(&target).unwrap();
        // As if nobody had checked for the group.
        let (known, away) = ("/mnt/retention/g", machine.file("away"));
        shell(&format!("cp -a {known} {}; rm -r {known}", away.display()));
        applied(machine, "typo", &second, &target, 0);
        shell(&format!("cp -a {} {known}", away.display()));
        let both = fs::read(&target).unwrap();
        for group in ["g", "typo"] {
            let words = ["rollback", "--group", group, "--to", "start", "--yes"];
            let run = machine.mtctl(&words);
            run.exits(4).says("is not in this history").says("group release");
            let run = machine.mtctl(&["commit", "--group", group, "--yes"]);
            run.exits(4).says("is not in this history");
            let run = machine.mtctl(&["digest", "--group", group, "--to", "start"]);
            run.exits(0)
                .says("is not in this history")
                .says("what is read may be that group's data");
        }
        holds(&target, &both);
        let back = ["rollback", "--group", "typo", "--to", "start", "--yes", "--accept-target"];
        machine.mtctl(&back).exits(0).says("using it anyway");
        machine.mtctl(&["group", "release", "--group", "typo", "--yes"]).exits(0);
        holds(&target, &held);
        rollback(machine, "start").exits(0);
        holds(&target, &vec![0; SIZE as usize]);
    });
}

#[test]
fn an_image_that_moved_to_a_disk_of_longer_sectors_goes_back_and_on() {
    on_a_scratch_machine(|machine| {
        if !has_program("mkfs.xfs") {
            return skipped("there is no mkfs.xfs, and ext4 passes such reads on by its cache");
        }
        let _retention = retention(machine, 64);
        let place = |sector: &str| {
            let path = machine.file(&format!("fs-{sector}"));
            fs::File::create(&path).unwrap().set_len(320 * MIB).unwrap();
            let disk = LoopDevice::attach(&["--direct-io=on", "--sector-size", sector], &path);
            run("mkfs.xfs", &["-q", "-s", &format!("size={sector}"), disk.path()]);
            fs::create_dir_all("/mnt/images").unwrap();
            run("mount", &[disk.path(), "/mnt/images"]);
            disk
        };
        let short = place("512");
        let target = "/mnt/images/disk.img";
        let mut random = Random::new(8);
        // Its end is not a whole sector of the other disk.
        let size = SIZE + 512;
        let before = random.bytes(size as usize);
        fs::write(target, &before).unwrap();
        let changes = [Change::data(size - 512, random.bytes(512)), Change::data(512, [1; 1536])];
        let marked = |name: &str, change| {
            let parts = [Part::Change(0, change), Part::Mark(MarkKind::CrashConsistent, name)];
            stream(machine, name, vec![volume("", size, "", "")], &parts)
        };
        let [one, two] = [marked("one", &changes[0]), marked("two", &changes[1])];
        applied(machine, "g", &one, target, 0);
        let kept = image(machine, "kept", &fs::read(target).unwrap());
        run("umount", &["/mnt/images"]);
        let long = place("4096");
        shell(&format!("cp {kept} {target}"));
        applied(machine, "g", &two, target, 0);
        rollback(machine, "one").exits(0);
        holds(target, &after(&before, &changes[..1]));
        rollback(machine, "start").exits(0);
        holds(target, &before);
        history_is_whole("g", &[]);
        run("umount", &["/mnt/images"]);
        drop((short, long));
    });
}

#[test]
fn after_a_commit_in_the_middle_of_a_stream_another_one_is_taken_when_that_is_said() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target", SIZE);
        let changes = [Change::data(0, vec![1; 4096]), Change::data(4096, vec![2; 4096])];
        let mark = |name| Part::Mark(MarkKind::CrashConsistent, name);
        let parts = [Part::Change(0, &changes[0]), mark("m1"), Part::Change(0, &changes[1])];
        let begun = stream(machine, "begun.mts", vec![volume("", SIZE, "", "")], &parts);
        applied(machine, "g", &begun, &target, 0);
        rollback(machine, "m1").exits(0);
        machine.mtctl(&["commit", "--group", "g", "--yes"]).exits(0);
        let other = marked(machine, "other", &Change::data(8192, vec![3; 4096]));
        let refused = applied(machine, "g", &other, &target, 4);
        assert!(refused.contains("--accept-unfinished"), "{refused}");
        machine.mtctl(&["recover", "--group", "g"]).exits(0);
        let arguments = ["apply", &other, "--group", "g", "--target", &target];
        let accepting = [&arguments[..], &["--accept-unfinished"]].concat();
        machine.mtctl(&accepting).exits(0).says("it is abandoned");
        let now = [changes[0].clone(), Change::data(8192, vec![3; 4096])];
        holds(&target, &after(&vec![0; SIZE as usize], &now));
        assert_eq!(points(machine).len(), 1);
        let next = marked(machine, "next", &Change::data(0, vec![4; 4096]));
        applied(machine, "g", &next, &target, 0);
    });
}

/// Data written to one appears on the other, so their points would each be half of the truth.
#[test]
fn two_loop_devices_of_one_file_are_no_two_disks() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let file = image(machine, "target", &Random::new(6).bytes(SIZE as usize));
        let before = fs::read(&file).unwrap();
        let [one, other] = [(); 2].map(|()| LoopDevice::attach(&[], file.as_ref()));
        let changes = [Change::data(0, vec![1; 4096]), Change::data(0, vec![2; 4096])];
        let parts = [Part::Change(0, &changes[0]), Part::Change(1, &changes[1])];
        let volumes = vec![volume("a", SIZE, "", ""), volume("b", SIZE, "", "")];
        let stream = stream(machine, "both.mts", volumes, &parts);
        let maps = [format!("a={}", one.path()), format!("b={}", other.path())];
        let onto = ["--group", "g", "--map", &maps[0], "--map", &maps[1]];
        machine.mtctl(&[&["apply", &stream][..], &onto].concat()).exits(2).says("are the same");
        machine.mtctl(&[&["group", "create"][..], &onto].concat()).exits(2).says("are the same");
        holds(&file, &before);
        drop([one, other]);
    });
}

#[test]
fn the_file_behind_a_disk_of_a_group_is_no_other_groups_target() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let before = Random::new(8).bytes(SIZE as usize);
        let target = disk(machine, "target", &before, "512");
        let file = target.file().to_str().unwrap().to_owned();
        let first = marked(machine, "one", &Change::data(MIB, vec![7; 8192]));
        applied(machine, "g", &first, target.path(), 0);
        drop(target);
        let held = fs::read(&file).unwrap();
        let second = marked(machine, "two", &Change::data(0, vec![8; 8192]));
        let told = applied(machine, "other", &second, &file, 4);
        assert!(told.contains("belongs to group g"), "{told}");
        holds(&file, &held);
    });
}
