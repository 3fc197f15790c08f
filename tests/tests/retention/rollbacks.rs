//! Rollbacks to a recovery point, and then to another one.

use std::fs;

use blockio::stream::MarkKind;
use blockio::stream::rbd_diff::Version;
use mt_tests::change_stream::{Change, random_changes, rbd_diff, volume};
use mt_tests::program::{command, history_is_whole, mtctl, shell};
use mt_tests::random::Random;
use mt_tests::scratch_machine::on_a_scratch_machine;
use mt_tests::terminal::Terminal;

use crate::accidents::{apply, epochs};
use crate::{MIB, Part, after, blank, holds, image, points, retention, rollback, stream};

const SIZE: u64 = 4 * MIB;

#[test]
fn a_question_that_is_not_answered_with_yes_is_no_success_and_touches_nothing() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target.img", MIB);
        let change = Change::data(0, vec![7; 4096]);
        let parts = [Part::Change(0, &change), Part::Mark(MarkKind::CrashConsistent, "a")];
        let one = stream(machine, "one.mts", vec![volume("", MIB, "", "")], &parts);
        machine.mtctl(&["apply", &one, "--group", "g", "--target", &target]).exits(0);
        let held = fs::read(&target).unwrap();
        for verb in [&["rollback", "--to", "start"][..], &["commit"], &["group", "release"]] {
            for answer in ["no", "", "y"] {
                let words = [verb, &["--group", "g"]].concat();
                let mut terminal = Terminal::start(&mut command(mtctl(), &words));
                terminal.wait_for("Type yes: ");
                terminal.answer(answer);
                let (code, said) = terminal.finish();
                assert_eq!(code, Some(4), "{words:?} {answer:?}: {said}");
                assert!(said.contains("nothing was touched"), "{said}");
            }
        }
        holds(&target, &held);
        assert_eq!(points(machine).len(), 1);
    });
}

#[test]
fn a_dry_run_of_a_rollback_says_by_its_exit_code_whether_there_is_something_to_do() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target.img", MIB);
        let changes = [Change::data(0, vec![7; 4096]), Change::data(8192, vec![8; 4096])];
        let mark = |name| Part::Mark(MarkKind::CrashConsistent, name);
        let parts =
            [Part::Change(0, &changes[0]), mark("a"), Part::Change(0, &changes[1]), mark("b")];
        let one = stream(machine, "one.mts", vec![volume("", MIB, "", "")], &parts);
        machine.mtctl(&["apply", &one, "--group", "g", "--target", &target]).exits(0);
        let held = fs::read(&target).unwrap();
        let run = |more: &[&str]| {
            machine.mtctl(&[&["rollback", "--group", "g", "--to", "a"], more].concat())
        };
        run(&["--dry-run"]).exits(3).says("4 KiB");
        run(&["--dry-run", "--without-undo"]).exits(3).says("given up: 1 point after it: point 2");
        let preview = run(&["--dry-run", "--json"]).exits(3).json();
        holds(&target, &held);
        let done = run(&["--yes", "--json"]).exits(0).json();
        let bytes = |of: &serde_json::Value, field: &str| of[field].as_u64().unwrap();
        let looked_at = bytes(&done, "bytes") + bytes(&done, "bytes_already_right");
        assert_eq!(bytes(&preview["volumes"][0], "bytes"), looked_at);
        assert_eq!((&preview["nothing_to_do"], &preview["dry_run"]), (&false.into(), &true.into()));
        let again = run(&["--dry-run", "--json"]).exits(0).json();
        assert_eq!(
            (&again["nothing_to_do"], &again["volumes"][0]["bytes"]),
            (&true.into(), &0.into())
        );
        // Nothing is asked, and no points are reported as given up.
        let without = run(&["--without-undo"]);
        without.exits(0).says("nothing to do").does_not_say("given up: ");
        assert_eq!(points(machine).len(), 2);
        // A manual point, with nothing written since the one before it.
        machine.mtctl(&["rollback", "--group", "g", "--to", "b", "--yes"]).exits(0);
        machine.mtctl(&["points", "create", "--group", "g", "--name", "by-hand"]).exits(0);
        let back = ["rollback", "--group", "g", "--to", "b"];
        machine.mtctl(&[&back[..], &["--dry-run"]].concat()).exits(0).says("nothing to do");
        machine.mtctl(&back).exits(0).says("nothing to do");
    });
}

#[test]
fn every_point_of_a_stream_is_reached_in_any_order_until_the_commit() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 256);
        let mut random = Random::new(41);
        let mut held = random.bytes(SIZE as usize);
        let target = image(machine, "target.img", &held);
        let start = held.clone();
        let all: Vec<_> = (0..8).map(|_| random_changes(&mut random, SIZE, 12)).collect();
        let mut parts = Vec::new();
        let mut kept = Vec::new();
        for changes in &all {
            parts.extend(changes.iter().map(|change| Part::Change(0, change)));
            parts.push(Part::Mark(MarkKind::CrashConsistent, ""));
            held = after(&held, changes);
            kept.push(held.clone());
        }
        let stream = stream(machine, "s.mts", vec![volume("", SIZE, "", "")], &parts);
        machine.mtctl(&["apply", &stream, "--group", "g", "--target", &target]).exits(0);
        holds(&target, &held);
        let listed = points(machine);
        assert_eq!(listed.len(), 8, "{listed:#?}");
        for _ in 0..24 {
            let number = random.below(9);
            match number {
                0 => rollback(machine, "start").exits(0),
                id => rollback(machine, &id.to_string()).exits(0),
            };
            let expected = if number == 0 { &start } else { &kept[number as usize - 1] };
            holds(&target, expected);
            assert_eq!(points(machine).len(), 8);
            history_is_whole("g", &[]);
        }
        rollback(machine, "3").exits(0);
        machine.mtctl(&["commit", "--group", "g", "--yes"]).exits(0);
        holds(&target, &kept[2]);
        assert_eq!(points(machine).len(), 0);
    });
}

#[test]
fn a_stream_goes_on_from_the_point_that_was_rolled_back_to() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 256);
        let mut random = Random::new(42);
        let target = blank(machine, "target.img", SIZE);
        let first = random_changes(&mut random, SIZE, 20);
        let second = random_changes(&mut random, SIZE, 20);
        let mut parts: Vec<_> = first.iter().map(|change| Part::Change(0, change)).collect();
        parts.push(Part::Mark(MarkKind::ApplicationConsistent, "half"));
        parts.extend(second.iter().map(|change| Part::Change(0, change)));
        let stream = stream(machine, "s.mts", vec![volume("", SIZE, "", "")], &parts);
        let half = after(&vec![0; SIZE as usize], &first);
        let whole = after(&half, &second);
        let apply = || machine.mtctl(&["apply", &stream, "--group", "g", "--target", &target]);
        apply().exits(0);
        holds(&target, &whole);
        rollback(machine, "latest-app").exits(0).says("point 1 \"half\"");
        holds(&target, &half);
        rollback(machine, "half").exits(0).says("nothing to do");
        apply().exits(0).says("resumed after byte");
        holds(&target, &whole);
        rollback(machine, "start").exits(0);
        holds(&target, &vec![0; SIZE as usize]);
        apply().exits(0);
        holds(&target, &whole);
    });
}

#[test]
fn every_point_can_be_looked_at_without_going_there() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 256);
        let mut random = Random::new(43);
        let mut held = random.bytes(SIZE as usize);
        let target = image(machine, "target.img", &held);
        let all: Vec<_> = (0..5).map(|_| random_changes(&mut random, SIZE, 12)).collect();
        let mut kept = vec![("start".to_owned(), image(machine, "start.img", &held))];
        let mut parts = Vec::new();
        for (number, changes) in all.iter().enumerate() {
            parts.extend(changes.iter().map(|change| Part::Change(0, change)));
            parts.push(Part::Mark(MarkKind::CrashConsistent, ""));
            held = after(&held, changes);
            let copy = image(machine, &format!("copy{number}.img"), &held);
            kept.push(((number + 1).to_string(), copy));
        }
        let stream = stream(machine, "s.mts", vec![volume("", SIZE, "", "")], &parts);
        machine.mtctl(&["apply", &stream, "--group", "g", "--target", &target]).exits(0);
        let looks_right = || {
            for (point, copy) in &kept {
                let point = ["verify", "--group", "g", "--to", point, "--against", copy];
                machine.mtctl(&point).exits(0);
            }
        };
        looks_right();
        let other = ["verify", "--group", "g", "--to", "2", "--against", &kept[1].1];
        machine.mtctl(&other).exits(5);
        rollback(machine, "2").exits(0);
        looks_right();
    });
}

#[test]
fn there_may_be_more_points_than_a_login_shell_may_open_files() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let mut random = Random::new(46);
        let before = random.bytes(MIB as usize);
        let target = image(machine, "target.img", &before);
        let all: Vec<_> = (0..80).map(|_| random_changes(&mut random, MIB, 1)).collect();
        let points = all.iter().flat_map(|changes| {
            let parts = changes.iter().map(|change| Part::Change(0, change));
            parts.chain([Part::Mark(MarkKind::CrashConsistent, "")])
        });
        let parts: Vec<_> = points.collect();
        let stream = stream(machine, "s.mts", vec![volume("", MIB, "", "")], &parts);
        machine.mtctl(&["apply", &stream, "--group", "g", "--target", &target]).exits(0);
        let mtctl = mtctl().display();
        shell(&format!("ulimit -Sn 40; {mtctl} rollback --group g --to start --yes"));
        holds(&target, &before);
    });
}

#[test]
fn a_rollback_that_finds_no_room_is_refused_before_it_begins_and_costs_no_point() {
    on_a_scratch_machine(|machine| {
        const LARGE: u64 = 16 * MIB;
        let _retention = retention(machine, 96);
        let mut random = Random::new(46);
        let epochs = epochs(machine, &mut random, LARGE, 3);
        let target = blank(machine, "target.img", LARGE);
        apply(machine, &epochs.stream, &target).exits(0);
        // The free space is enough for a part of the disk.
        shell(
            "fallocate -l $(($(df -B1 --output=avail /mnt/retention | tail -1) - (17 << 20))) \
               /mnt/retention/other",
        );
        let refused = rollback(machine, "e2");
        refused.exits(4).says("2 oldest points would have to be given up").says("--give-up-points");
        holds(&target, &epochs.held[3]);
        assert_eq!(points(machine).len(), 3);
        // Nothing before it frees as much as is missing.
        rollback(machine, "start").exits(4).says("might not be enough").says("enlarge");
        holds(&target, &epochs.held[3]);
        assert_eq!(points(machine).len(), 3);
        // Points that are removed for the last records are reported as well.
        let given_up = ["rollback", "--group", "g", "--to", "e2", "--yes", "--give-up-points"];
        machine.mtctl(&given_up).exits(0).says("was given up");
        holds(&target, &epochs.held[2]);
        // Its history exists, including the overwritten data.
        rollback(machine, "e3").exits(0);
        holds(&target, &epochs.held[3]);
        history_is_whole("g", &[]);
    });
}

#[test]
fn a_rollback_that_keeps_nothing_needs_no_room_and_gives_up_the_points_after_it() {
    on_a_scratch_machine(|machine| {
        const LARGE: u64 = 16 * MIB;
        let _retention = retention(machine, 200);
        let epochs = epochs(machine, &mut Random::new(48), LARGE, 3);
        let target = blank(machine, "target.img", LARGE);
        apply(machine, &epochs.stream, &target).exits(0);
        shell(
            "fallocate -l $(($(df -B1 --output=avail /mnt/retention | tail -1) - (1 << 20))) \
               /mnt/retention/other",
        );
        rollback(machine, "e2").exits(4).says("--without-undo");
        let pin = |verb| {
            machine.mtctl(&["points", verb, "e3", "--group", "g"]).exits(0);
        };
        pin("pin");
        let breaks_off = ["rollback", "--group", "g", "--to", "e2", "--yes", "--without-undo"];
        machine.mtctl(&breaks_off).exits(4).says("is pinned");
        holds(&target, &epochs.held[3]);
        pin("unpin");
        let json = [&breaks_off[..], &["--json"]].concat();
        assert_eq!(machine.mtctl(&json).exits(0).json()["given_up_points"], 1);
        holds(&target, &epochs.held[2]);
        let listed = || -> Vec<_> {
            let of = |point: &serde_json::Value| point["name"].as_str().unwrap().to_owned();
            points(machine).iter().map(of).collect()
        };
        assert_eq!(listed(), ["e1", "e2"]);
        rollback(machine, "e3").says("e3").does_not_say("the disks are at");
        history_is_whole("g", &[]);
        // Rebuilt from the segments, the state knows this as well, and asks for the rollback again.
        shell("rm /mnt/retention/g/state /mnt/retention/g/state.copy /mnt/retention/other");
        machine.mtctl(&["journal", "rebuild", "--group", "g", "--yes"]).exits(0);
        assert_eq!(listed(), ["e1", "e2"]);
        machine.mtctl(&["recover", "--group", "g", "--yes"]).exits(0);
        holds(&target, &epochs.held[2]);
        // The history continues from there.
        apply(machine, &epochs.stream, &target).exits(0);
        holds(&target, &epochs.held[3]);
        assert_eq!(listed(), ["e1", "e2", "e3"]);
        for (to, held) in [("e1", 1), ("e3", 3), ("e2", 2)] {
            rollback(machine, to).exits(0);
            holds(&target, &epochs.held[held]);
        }
        history_is_whole("g", &[]);
    });
}

#[test]
fn points_that_go_for_the_end_of_a_short_rollback_are_told_as_well() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let epochs = epochs(machine, &mut Random::new(47), SIZE, 3);
        let target = blank(machine, "target.img", SIZE);
        apply(machine, &epochs.stream, &target).exits(0);
        shell(
            "fallocate -l $(($(df -B1 --output=avail /mnt/retention | tail -1) - (8 << 20))) \
               /mnt/retention/other",
        );
        let given_up = ["rollback", "--group", "g", "--to", "e2", "--yes", "--give-up-points"];
        let run = machine.mtctl(&given_up);
        holds(&target, &epochs.held[2]);
        let gone = 3 - points(machine).len();
        assert!(gone > 0, "there was room: {}", run.stderr);
        // And the start, which is not in the list of points.
        run.exits(0);
        assert_eq!(run.stderr.matches("was given up").count(), gone + 1, "{}", run.stderr);
    });
}

#[test]
fn a_disk_that_is_shorter_than_it_was_is_not_said_to_be_at_a_point() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target.img", 4 * MIB);
        let change = Change::data(3 * MIB, vec![7; 4096]);
        let parts = [Part::Change(0, &change), Part::Mark(MarkKind::CrashConsistent, "a")];
        let one = stream(machine, "one.mts", vec![volume("", 4 * MIB, "", "")], &parts);
        machine.mtctl(&["apply", &one, "--group", "g", "--target", &target]).exits(0);
        let cut = fs::OpenOptions::new().write(true).open(&target).unwrap();
        cut.set_len(2 * MIB).unwrap();
        for to in ["a", "start"] {
            for more in [&["--dry-run"][..], &["--yes"], &["--without-undo", "--yes"]] {
                let words = ["rollback", "--group", "g", "--to", to, "--accept-target"];
                let run = machine.mtctl(&[&words[..], more].concat());
                run.exits(4).says("it has 2097152 bytes, but had 4194304");
            }
        }
        assert_eq!(fs::metadata(&target).unwrap().len(), 2 * MIB);
    });
}

#[test]
fn a_history_that_begins_with_a_stream_without_changes_is_whole_and_leads_to_its_start() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target.img", MIB);
        let change = Change::data(0, vec![7; 4096]);
        for (name, from, to, changes) in [("1", "", "s1", &[][..]), ("2", "s1", "s2", &[change])] {
            let path = machine.file(name).display().to_string();
            fs::write(&path, rbd_diff(Version::V1, &volume("", MIB, from, to), changes)).unwrap();
            machine.mtctl(&["apply", &path, "--group", "g", "--target", &target]).exits(0);
            machine.mtctl(&["journal", "check", "--group", "g"]).exits(0);
        }
        machine.mtctl(&["journal", "rebuild", "--group", "g", "--yes"]).exits(0);
        let back = ["rollback", "--group", "g", "--to", "start", "--yes", "--accept-target"];
        machine.mtctl(&back).exits(0);
        holds(&target, &vec![0; MIB as usize]);
    });
}
