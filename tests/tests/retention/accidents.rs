//! Failures of the retention volume and of the disks: nothing is lost, and the same command
//! continues once they are repaired.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use blockio::stream::MarkKind;
use mt_tests::change_stream::{Become, Change, native, random_changes, volume};
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{Run, command, mtctl, run, shell};
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{MIB, Part, after, blank, disk, holds, image, points, retention, rollback, stream};

pub(crate) const SIZE: u64 = 4 * MIB;

/// A stream of epochs, and the contents of the disk at the end of each.
pub(crate) struct Epochs {
    pub(crate) stream: String,
    pub(crate) held: Vec<Vec<u8>>,
}

/// `count` epochs, each of which changes all of a blank disk of `size` and ends with a mark.
pub(crate) fn epochs(
    machine: &ScratchMachine,
    random: &mut Random,
    size: u64,
    count: usize,
) -> Epochs {
    let mut held = vec![vec![0; size as usize]];
    let all: Vec<_> = (0..count).map(|_| Change::data(0, random.bytes(size as usize))).collect();
    let names: Vec<_> = (1..=count).map(|number| format!("e{number}")).collect();
    let mut parts = Vec::new();
    for (change, name) in all.iter().zip(&names) {
        parts.extend([Part::Change(0, change), Part::Mark(MarkKind::CrashConsistent, name)]);
        held.push(after(&held[held.len() - 1], std::slice::from_ref(change)));
    }
    let stream = stream(machine, "epochs.mts", vec![volume("", size, "", "")], &parts);
    Epochs { stream, held }
}

pub(crate) fn apply(machine: &ScratchMachine, stream: &str, target: &str) -> Run {
    machine.mtctl(&["apply", stream, "--group", "g", "--target", target])
}

fn names_of(machine: &ScratchMachine) -> Vec<String> {
    let named = |point: &serde_json::Value| point["name"].as_str().unwrap().to_owned();
    points(machine).iter().map(named).collect()
}

/// Asserts that every point that is kept has its original contents.
#[track_caller]
pub(crate) fn all_points_hold(machine: &ScratchMachine, target: &str, epochs: &Epochs) {
    for point in points(machine) {
        rollback(machine, &point["id"].to_string()).exits(0);
        let number: usize = point["name"].as_str().unwrap()[1..].parse().unwrap();
        holds(target, &epochs.held[number]);
    }
}

pub(crate) fn segments() -> Vec<String> {
    let mut found: Vec<_> = fs::read_dir("/mnt/retention/g")
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|path| path.contains("/segment-"))
        .collect();
    found.sort();
    found
}

fn enlarge(retention: &LoopDevice, mib: u64) {
    fs::File::options().write(true).open(retention.file()).unwrap().set_len(mib * MIB).unwrap();
    run("umount", &["/mnt/retention"]);
    run("losetup", &["--set-capacity", retention.path()]);
    shell(&format!("e2fsck -fp {0} || [ $? = 1 ]; resize2fs {0}", retention.path()));
    run("mount", &[retention.path(), "/mnt/retention"]);
}

#[test]
fn a_full_journal_gives_up_its_oldest_points_with_a_warning_and_an_alarm() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let epochs = epochs(machine, &mut Random::new(61), SIZE, 20);
        let target = blank(machine, "target.img", SIZE);
        let run = apply(machine, &epochs.stream, &target);
        run.exits(0).says("the retention volume is full").says("was given up");
        holds(&target, &epochs.held[20]);
        let kept = names_of(machine);
        assert!(kept.len() >= 4 && kept.len() < 20, "{kept:?}");
        let newest: Vec<_> = (21 - kept.len()..=20).map(|number| format!("e{number}")).collect();
        assert_eq!(kept, newest);
        machine.mtctl(&["points", "list", "--group", "g"]).exits(0).says("ALARM");
        rollback(machine, "e1").exits(2).says("expired");
        all_points_hold(machine, &target, &epochs);
    });
}

#[test]
fn pinned_points_stay_and_the_same_command_goes_on_when_there_is_room_again() {
    on_a_scratch_machine(|machine| {
        let retention = retention(machine, 64);
        let mut random = Random::new(62);
        let target = blank(machine, "target.img", SIZE);
        let all = epochs(machine, &mut random, SIZE, 24);
        let first = Change::data(0, all.held[1].clone());
        let parts = [Part::Change(0, &first), Part::Mark(MarkKind::CrashConsistent, "e1")];
        let begin = stream(machine, "begin.mts", vec![volume("", SIZE, "", "")], &parts);
        apply(machine, &begin, &target).exits(0);
        machine.mtctl(&["points", "pin", "e1", "--group", "g"]).exits(0);
        machine.mtctl(&["points", "pin", "start", "--group", "g"]).exits(0);
        let stopped = apply(machine, &all.stream, &target);
        stopped.exits(1).says("hint").does_not_say("panicked");
        let kept = names_of(machine);
        assert!(kept.contains(&"e1".to_owned()) && kept.len() < 24, "{kept:?}");
        // Again: it hardly gets further, and nothing is lost.
        apply(machine, &all.stream, &target).exits(1);
        assert!(names_of(machine).starts_with(&kept), "{kept:?}");
        enlarge(&retention, 512);
        apply(machine, &all.stream, &target).exits(0);
        holds(&target, &all.held[24]);
        // A mark that could not become a point for lack of space does so now.
        let expected: Vec<_> = ["e1".to_owned()]
            .into_iter()
            .chain((1..=24).map(|number| format!("e{number}")))
            .collect();
        assert_eq!(names_of(machine), expected);
        all_points_hold(machine, &target, &all);
    });
}

#[test]
fn an_epoch_that_alone_does_not_fit_stops_and_nothing_is_lost() {
    on_a_scratch_machine(|machine| {
        let retention = retention(machine, 64);
        let mut random = Random::new(63);
        let large = 96 * MIB;
        let base = random.bytes(large as usize);
        let target = image(machine, "target.img", &base);
        let changes: Vec<_> =
            (0..large).step_by(1 << 20).map(|at| Change::data(at, random.bytes(1 << 20))).collect();
        let stream = image(machine, "s.rbd", &unmarked(&changes, large));
        let run = apply(machine, &stream, &target);
        run.exits(1).says("retention").says("hint").does_not_say("panicked");
        // Without a mark there is no other point, only the open epoch.
        apply(machine, &stream, &target).exits(1);
        // The data that is rolled back was preserved already, so no more space is needed.
        rollback(machine, "start").exits(0);
        holds(&target, &base);
        enlarge(&retention, 512);
        apply(machine, &stream, &target).exits(0);
        holds(&target, &after(&base, &changes));
        rollback(machine, "start").exits(0);
        holds(&target, &base);
    });
}

/// An rbd diff of `changes`.
fn unmarked(changes: &[Change], size: u64) -> Vec<u8> {
    use blockio::stream::rbd_diff::Version;
    mt_tests::change_stream::rbd_diff(Version::V1, &volume("", size, "", "snap"), changes)
}

#[test]
fn a_volume_that_somebody_else_filled_stops_it_and_nothing_is_lost() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let epochs = epochs(machine, &mut Random::new(64), SIZE, 5);
        let target = blank(machine, "target.img", SIZE);
        shell("fallocate -l 4M /mnt/retention/first; cat /dev/zero >/mnt/retention/other || true");
        let run = apply(machine, &epochs.stream, &target);
        run.exits(1).says("hint").does_not_say("panicked");
        holds(&target, &epochs.held[0]);
        shell("rm /mnt/retention/other");
        apply(machine, &epochs.stream, &target).exits(0);
        holds(&target, &epochs.held[5]);
        all_points_hold(machine, &target, &epochs);
        assert!(fs::exists("/mnt/retention/first").unwrap());
    });
}

#[test]
fn a_retention_volume_that_was_unmounted_between_two_runs_is_missed() {
    on_a_scratch_machine(|machine| {
        let retention = retention(machine, 128);
        let epochs = epochs(machine, &mut Random::new(65), SIZE, 5);
        let target = blank(machine, "target.img", SIZE);
        apply(machine, &epochs.stream, &target).exits(0);
        run("umount", &["-l", "/mnt/retention"]);
        let directory = ["--retention", "/mnt/retention"];
        let arguments = ["apply", &epochs.stream, "--group", "g", "--target", &target];
        machine.mtctl(&[&arguments[..], &directory].concat()).exits(4).says("nothing is mounted");
        rollback(machine, "e1").exits(2).says("there is no group g");
        machine.mtctl(&["points", "list", "--group", "g"]).exits(2);
        assert_eq!(fs::read_dir("/mnt/retention").unwrap().count(), 0);
        holds(&target, &epochs.held[5]);
        run("mount", &[retention.path(), "/mnt/retention"]);
        all_points_hold(machine, &target, &epochs);
    });
}

#[test]
fn a_retention_volume_that_is_unmounted_during_a_run_stops_it_and_nothing_is_written_below() {
    on_a_scratch_machine(|machine| {
        let retention = retention(machine, 128);
        let mut random = Random::new(66);
        let epochs = epochs(machine, &mut random, SIZE, 6);
        let bytes = fs::read(&epochs.stream).unwrap();
        let target = blank(machine, "target.img", SIZE);
        let mut child = command(mtctl(), &["apply", "-", "--group", "g", "--target", &target])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&bytes[..bytes.len() / 2]).unwrap();
        // The pipe holds little: whatever was read was applied, or is about to be.
        while !fs::exists("/mnt/retention/g/segment-0000000000000002").unwrap() {
            assert!(child.try_wait().unwrap().is_none());
            std::thread::yield_now();
        }
        run("umount", &["-l", "/mnt/retention"]);
        let _ = stdin.write_all(&bytes[bytes.len() / 2..]);
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("was unmounted or moved"), "{said}");
        assert_eq!(fs::read_dir("/mnt/retention").unwrap().count(), 0);
        run("mount", &[retention.path(), "/mnt/retention"]);
        apply(machine, &epochs.stream, &target).exits(0);
        holds(&target, &epochs.held[6]);
        assert_eq!(names_of(machine), ["e1", "e2", "e3", "e4", "e5", "e6"]);
        all_points_hold(machine, &target, &epochs);
    });
}

#[test]
fn two_at_once_on_one_group_are_kept_apart() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let epochs = epochs(machine, &mut Random::new(67), SIZE, 3);
        let bytes = fs::read(&epochs.stream).unwrap();
        let target = blank(machine, "target.img", SIZE);
        let mut child = command(mtctl(), &["apply", "-", "--group", "g", "--target", &target])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&bytes[..bytes.len() / 2]).unwrap();
        while !fs::exists("/mnt/retention/g/segment-0000000000000001").unwrap() {
            std::thread::yield_now();
        }
        apply(machine, &epochs.stream, &target).exits(4);
        rollback(machine, "start").exits(4);
        for verb in ["recover", "commit"] {
            machine.mtctl(&[verb, "--group", "g", "--yes"]).exits(4);
        }
        machine.mtctl(&["points", "create", "--group", "g"]).exits(4);
        machine.mtctl(&["points", "list", "--group", "g"]).exits(0);
        stdin.write_all(&bytes[bytes.len() / 2..]).unwrap();
        drop(stdin);
        assert!(child.wait().unwrap().success());
        all_points_hold(machine, &target, &epochs);
    });
}

/// Flips a byte in the payload of the second record of `segment`.
fn damage(segment: &str) {
    let mut bytes = fs::read(segment).unwrap();
    let at = 4096 + bytes[4096..].windows(7).rposition(|tag| tag == b"MTJRECO").unwrap() + 9000;
    bytes[at] ^= 1;
    fs::write(segment, bytes).unwrap();
}

/// The state of the group, except for its generation and journal session.
fn known() -> serde_json::Value {
    let text = fs::read_to_string("/mnt/retention/g/state").unwrap();
    let known = blockio::journal::state_text::parse(&text).unwrap();
    let mut known = serde_json::to_value(known).unwrap();
    known["journal"]["session"].take();
    known["generation"].take();
    known
}

#[test]
fn a_damaged_record_that_is_needed_refuses_the_rollback_and_touches_nothing() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let mut random = Random::new(68);
        let base = random.bytes(SIZE as usize);
        let target = image(machine, "target.img", &base);
        let epochs = epochs(machine, &mut random, SIZE, 4);
        apply(machine, &epochs.stream, &target).exits(0);
        let state = known();
        // Segment 2 leads from e2 back to e1; e2 and later points do not need it.
        damage(&segments()[1]);
        rollback(machine, "e1").exits(5).does_not_say("panicked");
        rollback(machine, "start").exits(5);
        holds(&target, &epochs.held[4]);
        assert_eq!(known(), state);
        rollback(machine, "e2").exits(0);
        holds(&target, &epochs.held[2]);
    });
}

#[test]
fn a_missing_segment_refuses_everything_that_needs_it() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let mut random = Random::new(69);
        let base = random.bytes(SIZE as usize);
        let target = image(machine, "target.img", &base);
        let epochs = epochs(machine, &mut random, SIZE, 4);
        apply(machine, &epochs.stream, &target).exits(0);
        fs::remove_file(&segments()[1]).unwrap();
        rollback(machine, "e1").exits(5).says("segment 2");
        holds(&target, &epochs.held[4]);
        rollback(machine, "e3").exits(0);
        holds(&target, &epochs.held[3]);
        // Without the end of its journal, nothing more is written.
        let last = segments().pop().unwrap();
        fs::remove_file(last).unwrap();
        apply(machine, &epochs.stream, &target).exits(5);
        rollback(machine, "e4").exits(5);
        holds(&target, &epochs.held[3]);
    });
}

#[test]
fn files_of_others_in_the_directory_are_left_alone() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let epochs = epochs(machine, &mut Random::new(70), SIZE, 3);
        let target = blank(machine, "target.img", SIZE);
        fs::create_dir("/mnt/retention/g").unwrap();
        let others =
            ["segment-", "segment-1.old", "segment-x", "segment-0000000000000001~", "notes"];
        for name in others {
            fs::write(format!("/mnt/retention/g/{name}"), name).unwrap();
        }
        apply(machine, &epochs.stream, &target).exits(0);
        all_points_hold(machine, &target, &epochs);
        machine.mtctl(&["commit", "--group", "g", "--yes"]).exits(0);
        for name in others {
            assert_eq!(fs::read_to_string(format!("/mnt/retention/g/{name}")).unwrap(), name);
        }
    });
}

/// A disk of [`SIZE`] backed by only half of that space, in a file system at /mnt/small.
fn small_disk() -> LoopDevice {
    shell("mkdir -p /mnt/small; mount -t tmpfs -o size=2m none /mnt/small");
    let path = std::path::Path::new("/mnt/small/behind");
    fs::File::create(path).unwrap().set_len(SIZE).unwrap();
    LoopDevice::attach(&["--direct-io=on"], path)
}

#[test]
fn a_disk_that_fails_makes_no_point_that_is_not_one_of_all_and_comes_after() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 256);
        let mut random = Random::new(71);
        let zeros = vec![0; SIZE as usize];
        let (log, db) = (small_disk(), disk(machine, "db", &zeros, "512"));
        let maps = [format!("log={}", log.path()), format!("db={}", db.path())];
        let names = ["e1", "e2", "e3", "e4"];
        let part = SIZE / 4;
        let mut held = [zeros.clone(), zeros.clone()];
        let mut kept = vec![held.clone()];
        let mut all = Vec::new();
        for number in 0..4 {
            let one = [0, 1].map(|_| Change::data(number * part, random.bytes(part as usize)));
            (0..2).for_each(|at| held[at] = after(&held[at], std::slice::from_ref(&one[at])));
            kept.push(held.clone());
            all.push(one);
        }
        let mut parts = Vec::new();
        for (one, name) in all.iter().zip(names) {
            parts.extend([Part::Change(0, &one[0]), Part::Change(1, &one[1])]);
            parts.push(Part::Mark(MarkKind::CrashConsistent, name));
        }
        let volumes = vec![volume("log", SIZE, "", ""), volume("db", SIZE, "", "")];
        let stream = stream(machine, "s.mts", volumes, &parts);
        let arguments = ["apply", &stream, "--map", &maps[0], "--map", &maps[1], "--group", "g"];
        let failed = machine.mtctl(&arguments);
        failed.exits(1).says("log on");
        let told = failed.stderr.matches("no recovery point is made here").count();
        assert_eq!(told, 1, "of two marks that were missed: {}", failed.stderr);
        db.sha256();
        holds(db.file(), &held[1]);
        let before = names_of(machine);
        assert!(!before.contains(&"e4".to_owned()), "{before:?}");
        shell("mount -o remount,size=30m /mnt/small");
        machine.mtctl(&arguments).exits(0);
        log.sha256();
        holds(log.file(), &held[0]);
        let after = names_of(machine);
        assert!(after.ends_with(&["e4".to_owned()]), "at the end all are there: {after:?}");
        for name in &after {
            rollback(machine, name).exits(0);
            let number: usize = name[1..].parse().unwrap();
            for (disk, expected) in [&log, &db].into_iter().zip(&kept[number]) {
                disk.sha256();
                holds(disk.file(), expected);
            }
        }
        rollback(machine, "start").exits(0);
        db.sha256();
        holds(db.file(), &zeros);
        drop(log);
        shell("umount /mnt/small");
    });
}

#[test]
fn a_disk_that_fails_during_a_rollback_is_told_once_with_its_cause_and_the_same_command_goes_on() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let disk = small_disk();
        // The space of its contents is freed, and taken by somebody else.
        let half = (SIZE / 4) as usize;
        let held = Change::data(0, Random::new(72).bytes(half));
        let gone = Change { start: 0, becomes: Become::Discard(SIZE / 4) };
        let parts = [
            Part::Change(0, &held),
            Part::Mark(MarkKind::CrashConsistent, "held"),
            Part::Change(0, &gone),
            Part::Mark(MarkKind::CrashConsistent, "gone"),
        ];
        let stream = stream(machine, "s.mts", vec![volume("", SIZE, "", "")], &parts);
        apply(machine, &stream, disk.path()).exits(0);
        shell("cat /dev/zero >/mnt/small/other || true");
        let failed = rollback(machine, "held");
        failed.exits(1).says("run the same command again");
        let first = failed.stderr.lines().find(|line| line.contains("error")).unwrap();
        assert_eq!(first.matches(disk.path()).count(), 1, "{first}");
        assert_eq!(first.matches("error").count(), 1, "{first}");
        shell("rm /mnt/small/other");
        rollback(machine, "held").exits(0);
        disk.sha256();
        holds(disk.file(), &after(&vec![0; SIZE as usize], &[held]));
        drop(disk);
        shell("umount /mnt/small");
    });
}

#[test]
fn a_journal_that_is_full_in_the_middle_of_a_batch_of_two_volumes_is_not_taken_for_a_state() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 67);
        let mut random = Random::new(72);
        let large = 64 * MIB;
        let bases = [0, 1].map(|_| random.bytes(large as usize));
        let targets = [image(machine, "a", &bases[0]), image(machine, "b", &bases[1])];
        let maps = [format!("a={}", targets[0]), format!("b={}", targets[1])];
        let changes: Vec<_> = (0..large)
            .step_by(32 << 10)
            .map(|at| Change::data(at, random.bytes(32 << 10)))
            .collect();
        let both: Vec<_> = changes.iter().flat_map(|one| [(0, one), (1, one)]).collect();
        let volumes = vec![volume("a", large, "", ""), volume("b", large, "", "")];
        let parts: Vec<_> = both.iter().map(|(index, one)| Part::Change(*index, one)).collect();
        let stream = stream(machine, "s.mts", volumes, &parts);
        machine
            .mtctl(&["apply", &stream, "--map", &maps[0], "--map", &maps[1], "--group", "g"])
            .exits(1);
        let found = targets.each_ref().map(|target| fs::read(target).unwrap());
        let reached = [0, 1].map(|at| {
            (0..changes.len())
                .take_while(|number| {
                    let range = number << 15..(number + 1) << 15;
                    found[at][range.clone()] != bases[at][range]
                })
                .count()
        });
        assert_ne!(reached[0], reached[1], "it was full between two batches; take another size");
        let state = fs::read_to_string("/mnt/retention/g/state").unwrap();
        let state = blockio::journal::state_text::parse(&state).unwrap();
        let state = serde_json::to_string(&state).unwrap();
        assert!(
            !state.contains("\"exact\":true"),
            "{reached:?} is no state of the source: {state}"
        );
        assert_ne!(machine.mtctl(&["points", "create", "--group", "g"]).code, Some(0));
        machine.mtctl(&["recover", "--group", "g", "--yes"]).exits(0);
        rollback(machine, "start").exits(0);
        for (target, base) in targets.iter().zip(&bases) {
            holds(target, base);
        }
    });
}

#[test]
fn many_small_applies_do_not_fill_the_journal_with_room_that_nobody_uses() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let mut random = Random::new(73);
        let target = blank(machine, "target.img", SIZE);
        for _ in 0..40 {
            let stream = native(volume("", SIZE, "", ""), &random_changes(&mut random, SIZE, 2));
            let stream = image(machine, "s.mts", &stream);
            apply(machine, &stream, &target).exits(0).does_not_say("was given up");
        }
        assert_eq!(points(machine).len(), 40);
    });
}
