//! Recovery points: where they come from, how they are named, and when they are removed.

use std::fs;

use blockio::stream::MarkKind;
use blockio::stream::rbd_diff::Version;
use mt_tests::change_stream::{Change, random_changes, rbd_diff, svd, volume};
use mt_tests::program::{Run, command, finish, history_is_whole, mtctl, shell};
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{MIB, Part, after, blank, holds, image, points, retention, rollback, stream, timed};

const SIZE: u64 = MIB;

fn apply(machine: &ScratchMachine, stream: &str, target: &str, more: &[&str]) {
    let arguments = ["apply", stream, "--group", "g", "--target", target];
    machine.mtctl(&[&arguments[..], more].concat()).exits(0);
}

/// A stream with a mark for each (kind, name), and a change before each.
fn marked(machine: &ScratchMachine, random: &mut Random, marks: &[(MarkKind, &str)]) -> String {
    let changes: Vec<_> = marks
        .iter()
        .map(|_| Change::data(random.below(SIZE / 4096) * 4096, random.bytes(4096)))
        .collect();
    let parts: Vec<_> = changes
        .iter()
        .zip(marks)
        .flat_map(|(change, (kind, name))| [Part::Change(0, change), Part::Mark(*kind, name)])
        .collect();
    stream(machine, "marked.mts", vec![volume("", SIZE, "", "")], &parts)
}

#[test]
fn an_rbd_diff_ends_at_a_point_with_the_name_of_its_snapshot() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let mut random = Random::new(91);
        let target = blank(machine, "target.img", SIZE);
        let mut held = vec![0; SIZE as usize];
        let mut kept = Vec::new();
        for (from, to) in [("", "monday"), ("monday", "tuesday")] {
            let changes = random_changes(&mut random, SIZE, 5);
            let diff = rbd_diff(Version::V2, &volume("", SIZE, from, to), &changes);
            apply(machine, &image(machine, "diff", &diff), &target, &[]);
            held = after(&held, &changes);
            kept.push(held.clone());
        }
        let listed = points(machine);
        assert_eq!(listed.len(), 2);
        for (point, (name, held)) in listed.iter().zip(["monday", "tuesday"].iter().zip(&kept)) {
            assert_eq!((&point["name"], &point["kind"]), (&(*name).into(), &"crash".into()));
            rollback(machine, name).exits(0);
            holds(&target, held);
        }
    });
}

/// An svd stream with nothing but a mark of this name, as the driver sends it.
fn marks(name: &[u8]) -> Vec<u8> {
    let mut stream = svd(3, &[]);
    let total = stream.windows(4).position(|tag| tag == b"LODC").unwrap();
    let last = stream.windows(4).position(|tag| tag == b"TLV2").unwrap();
    let length = (name.len() as u32).to_le_bytes();
    // Its last stamp is that of the mark, whose length is in the flags.
    stream[last + 8..last + 12].copy_from_slice(&length);
    stream[last + 16..last + 24].copy_from_slice(&3_u64.to_le_bytes());
    let mark = [b"USER", &1_u32.to_le_bytes()[..], &length, name].concat();
    stream.splice(total..last, mark);
    stream
}

#[test]
fn user_marks_of_svd_are_application_consistent_points_and_streams_without_marks_one_crash_point() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target.img", SIZE);
        let plain = svd(1, &[(0, &[1; 512]), (4096, &[2; 512])]);
        let bytes = marks(b"before-upgrade");
        apply(machine, &image(machine, "plain.svd", &plain), &target, &[]);
        let listed = points(machine);
        assert_eq!(listed.len(), 1, "{listed:#?}");
        assert_eq!((&listed[0]["kind"], listed[0]["name"].is_null()), (&"crash".into(), true));
        apply(machine, &image(machine, "user.svd", &bytes), &target, &[]);
        let listed = points(machine);
        assert_eq!(listed.len(), 2, "{listed:#?}");
        let last = &listed[1];
        assert_eq!((&last["kind"], &last["name"]), (&"app".into(), &"before-upgrade".into()));
    });
}

#[test]
fn points_are_made_pinned_and_listed_by_hand() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let mut random = Random::new(92);
        let target = blank(machine, "target.img", SIZE);
        let one = marked(machine, &mut random, &[(MarkKind::CrashConsistent, "")]);
        machine.mtctl(&["points", "create", "--group", "g"]).exits(2);
        apply(machine, &one, &target, &[]);
        let arguments =
            ["points", "create", "--group", "g", "--kind", "app", "--name", "mine", "--json"];
        let made = machine.mtctl(&arguments).exits(0).json();
        let held = fs::read(&target).unwrap();
        let mine = &made["points"][0];
        assert_eq!(
            (&mine["id"], &mine["name"], &mine["kind"]),
            (&2.into(), &"mine".into(), &"app".into())
        );
        assert!(mine["time"].as_str().unwrap().ends_with('Z'));
        assert!(mine["journal_bytes"].as_u64().is_some());
        assert_eq!(mine["pinned"], false);
        machine.mtctl(&["points", "pin", "mine", "--group", "g"]).exits(0).says("pinned");
        let is_pinned = || {
            let listed = points(machine);
            listed.iter().find(|point| point["name"] == "mine").unwrap()["pinned"].clone()
        };
        assert_eq!(is_pinned(), true);
        let two = marked(machine, &mut random, &[(MarkKind::CrashConsistent, "later")]);
        apply(machine, &two, &target, &[]);
        rollback(machine, "latest-app").exits(0).says("mine");
        holds(&target, &held);
        machine.mtctl(&["points", "unpin", "2", "--group", "g"]).exits(0);
        assert_eq!(is_pinned(), false);
        let listed = machine.mtctl(&["points", "list", "--group", "g"]);
        listed.exits(0).says("ID").says("mine").says("rolled back to point 2");
    });
}

/// Runs `mtctl` in a central European time zone, which is one hour ahead of UTC in winter.
fn in_europe(arguments: &[&str]) -> Run {
    let zone = "CET-1CEST,M3.5.0,M10.5.0/3";
    finish(command(mtctl(), &[arguments, &["--group", "g"]].concat()).env("TZ", zone))
}

#[test]
fn a_point_is_found_by_a_time_as_people_type_it_and_listed_by_the_local_clock() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target.img", SIZE);
        // At 22:13:21 UTC and the seconds after it, on 14 November 2023; the second one two hours
        // later.
        let changes = |fill| vec![Change::data(0, vec![fill; 4096])];
        let parts = [(1, changes(1)), (7201, changes(2))];
        let stream = timed(machine, "timed.mts", vec![volume("", SIZE, "", "")], &parts);
        apply(machine, &stream, &target, &[]);
        for (typed, expected) in [
            ("2023-11-14T22:13:21Z", 1),
            ("2023-11-14 23:13:21", 1),
            ("2023-11-15 01:13", 1),
            ("2023-11-16", 2),
            ("today", 2),
            ("1h ago", 2),
        ] {
            let shown = in_europe(&["points", "show", typed, "--json"]);
            assert_eq!(shown.exits(0).json()["points"][0]["id"], expected, "{typed}");
        }
        in_europe(&["points", "show", "2023-11-14"]).exits(2).says("at or before 2023-11-14 (");
        for typed in ["2023-13-45", "yesterday noon", "2x ago"] {
            let rollback = ["rollback", "--to", typed, "--yes"];
            in_europe(&rollback).exits(2).says("is neither a time").says("2h ago");
        }
        in_europe(&["points", "list", "--local"]).exits(0).says("2023-11-15T01:13:21+01:00");
        in_europe(&["points", "show", "2", "--local"]).exits(0).says("2023-11-15T01:13:21+01:00");
        let listed = in_europe(&["points", "list", "--local", "--json"]);
        assert_eq!(listed.exits(0).json()["points"][1]["time"], "2023-11-15T00:13:21Z");
    });
}

#[test]
fn a_name_that_means_something_else_is_not_given_and_one_out_of_a_stream_is_found_by_its_number() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target.img", SIZE);
        let (crash, hostile) = (MarkKind::CrashConsistent, "a\u{1b}[2J\nb");
        let marks = [(crash, "latest"), (crash, hostile), (crash, "7")];
        let stream = marked(machine, &mut Random::new(93), &marks);
        apply(machine, &stream, &target, &[]);
        for name in ["", "7", "latest", "latest-app", "start", "a\nb", &"n".repeat(201)] {
            machine.mtctl(&["points", "create", "--group", "g", "--name", name]).exits(2);
        }
        assert_eq!(points(machine).len(), 3);
        let id = |typed: &str| {
            let shown = machine.mtctl(&["points", "show", typed, "--group", "g", "--json"]);
            shown.exits(0).json()["points"][0]["id"].clone()
        };
        assert_eq!((id("latest"), id("name:latest"), id("id:1")), (3.into(), 1.into(), 1.into()));
        assert_eq!((id("2"), id("name:7")), (2.into(), 3.into()));
        machine.mtctl(&["points", "list", "--group", "g"]).exits(0).says("a\\u{1b}[2J\\nb");
        machine.mtctl(&["points", "pin", "0", "--group", "g"]).exits(0).says("start");
        machine.mtctl(&["points", "unpin", "start", "--group", "g"]).exits(0).says("start");
    });
}

#[test]
fn points_stay_by_count_beside_the_window_and_go_by_hand_when_that_is_asked() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let target = blank(machine, "target.img", SIZE);
        // From 22:13 on 14 November, one every hour: 2, 26 and 50 are the last ones of their days.
        let change = |hour: u64| vec![Change::data(hour % 16 * 4096, vec![hour as u8; 4096])];
        let parts: Vec<_> = (0..=60).map(|hour| (hour * 3600, change(hour))).collect();
        let stream = timed(machine, "timed.mts", vec![volume("", SIZE, "", "")], &parts);
        apply(machine, &stream, &target, &["--keep-daily", "4", "--keep-last", "2"]);
        let ids = |listed: &[serde_json::Value]| -> Vec<u64> {
            listed.iter().map(|point| point["id"].as_u64().unwrap()).collect()
        };
        let of_the_window: Vec<_> = (36..=61).collect();
        assert_eq!(ids(&points(machine)), [&[2, 26][..], &of_the_window].concat());
        let on = |words: &[&str]| machine.mtctl(&[words, &["--group", "g"]].concat());
        on(&["group", "show"]).exits(0).says("--keep-daily 4").says("--keep-weekly none");
        on(&["points", "forget", "--dry-run"]).exits(0).says("nothing to do");
        on(&["group", "set", "--keep-daily", "none"]).exits(0).says("--keep-daily");
        let due = on(&["points", "forget", "--dry-run", "--json"]).exits(3).json();
        assert_eq!(ids(due["points"].as_array().unwrap()), [2, 26]);
        assert_eq!(points(machine).len(), 28);
        on(&["points", "forget"]).exits(2).says("--yes");
        on(&["points", "forget", "--yes"]).exits(0).says("forgotten: 2 points");
        assert_eq!(ids(&points(machine)), of_the_window);
        on(&["points", "pin", "41"]).exits(0);
        for (point, why) in [("41", "is pinned"), ("latest", "is the newest one")] {
            on(&["points", "forget", "40", point, "--yes"]).exits(4).says(why);
        }
        on(&["points", "forget", "40", "id:39", "--yes"]).exits(0).says("forgotten: 2 points");
        assert_eq!(points(machine).len(), 24);
        on(&["points", "show", "40"]).exits(2).says("has expired, or was given up");
        history_is_whole("g", &[]);
        rollback(machine, "38").exits(0);
        rollback(machine, "36").exits(0);
    });
}

#[test]
fn within_a_stream_that_is_not_in_the_order_of_the_writes_no_point_is_made() {
    on_a_scratch_machine(|machine| {
        const LARGE: u64 = 4 * MIB;
        let _retention = retention(machine, 64);
        let mut random = Random::new(97);
        let changes: Vec<_> =
            (0..64).map(|n| Change::data(n * 65536, random.bytes(65536))).collect();
        let diff =
            image(machine, "diff", &rbd_diff(Version::V1, &volume("", LARGE, "", "s"), &changes));
        let target = blank(machine, "target.img", LARGE);
        let timed = |input: &str| {
            let group = ["--group", "g", "--point-every", "1s"];
            let words = [&["apply", input, "--target", &target], &group[..]].concat();
            machine.mtctl(&words)
        };
        // None could be made on a timer.
        timed(&diff).exits(4).says("not in the order of the source's writes").says("none");
        let whole = machine.file("whole.mts").to_str().unwrap().to_owned();
        let convert = ["stream", "convert", &diff, "--to", "native", "--output", &whole];
        machine.mtctl(&convert).exits(0);
        timed(&whole).exits(4).says("not in the order of the source's writes");
        // Nor manually, if a run stopped in the middle.
        let bytes = fs::read(&whole).unwrap();
        fs::write(machine.file("cut.mts"), &bytes[..bytes.len() - 8192]).unwrap();
        let cut = machine.file("cut.mts").display().to_string();
        let piped = format!(
            "cat {cut} | {} apply - --resume --group g --target {target} || true",
            mtctl().display()
        );
        shell(&piped);
        machine.mtctl(&["points", "create", "--group", "g"]).exits(4).says("never finished");
        apply(machine, &whole, &target, &[]);
        machine.mtctl(&["points", "create", "--group", "g"]).exits(0);
        holds(&target, &after(&vec![0; LARGE as usize], &changes));
    });
}

#[test]
fn diffs_that_are_joined_make_a_point_each_dated_when_they_were_applied() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let mut random = Random::new(98);
        let diff = |name: &str, from: &str, to: &str, bytes: Vec<u8>| {
            let volume = volume("", SIZE, from, to);
            image(machine, name, &rbd_diff(Version::V1, &volume, &[Change::data(0, bytes)]))
        };
        let (one, two) = (random.bytes(8192), random.bytes(4096));
        let inputs = [diff("a", "", "s1", one.clone()), diff("b", "s1", "s2", two.clone())];
        let joined = machine.file("joined.mts").display().to_string();
        let words = ["stream", "convert", &inputs[0], &inputs[1], "--to", "native"];
        machine.mtctl(&[&words[..], &["--output", &joined]].concat()).exits(0).says("2 marks");
        let target = blank(machine, "target.img", SIZE);
        apply(machine, &joined, &target, &[]);
        let listed = points(machine);
        let names: Vec<_> = listed.iter().map(|point| point["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["s1", "s2"]);
        for point in &listed {
            assert!(!point["time"].as_str().unwrap().starts_with("1970"), "{point}");
        }
        rollback(machine, "s1").exits(0);
        rollback(machine, "s2").exits(0);
        let changes = [Change::data(0, one), Change::data(0, two)];
        holds(&target, &after(&vec![0; SIZE as usize], &changes));
    });
}

#[test]
fn what_is_ambiguous_or_expired_or_never_was_is_refused() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let mut random = Random::new(93);
        let target = blank(machine, "target.img", SIZE);
        let marks = [
            (MarkKind::CrashConsistent, "old"),
            (MarkKind::CrashConsistent, "same"),
            (MarkKind::CrashConsistent, "same"),
            (MarkKind::CrashConsistent, "pinned"),
        ];
        apply(machine, &marked(machine, &mut random, &marks), &target, &[]);
        rollback(machine, "same").exits(2).says("ambiguous");
        rollback(machine, "never").exits(2).says("there is no recovery point");
        rollback(machine, "99").exits(2);
        rollback(machine, "latest-app").exits(2);
        machine.mtctl(&["points", "pin", "pinned", "--group", "g"]).exits(0);
        // The marks are a second apart; points older than the oldest of them are removed.
        let last = marked(
            machine,
            &mut random,
            &[
                (MarkKind::CrashConsistent, "a"),
                (MarkKind::CrashConsistent, "b"),
                (MarkKind::CrashConsistent, "c"),
                (MarkKind::CrashConsistent, "d"),
                (MarkKind::CrashConsistent, "new"),
            ],
        );
        let short = ["--retention-window", "1s", "--keep-all", "1s"];
        machine.mtctl(&[&["group", "set", "--group", "g"][..], &short].concat()).exits(0);
        apply(machine, &last, &target, &[]);
        let names: Vec<_> = points(machine).iter().map(|point| point["name"].clone()).collect();
        assert!(names.contains(&"pinned".into()), "{names:?}");
        assert!(names.contains(&"new".into()) && !names.contains(&"old".into()), "{names:?}");
        rollback(machine, "old").exits(2).says("has expired");
        rollback(machine, "1").exits(2).says("expired");
        rollback(machine, "1999-01-01T00:00:00Z").exits(2);
    });
}

#[test]
fn a_commit_is_refused_between_points_and_leaves_nothing_when_it_is_done() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let mut random = Random::new(94);
        let target = blank(machine, "target.img", SIZE);
        let marks = [(MarkKind::CrashConsistent, "a"), (MarkKind::CrashConsistent, "b")];
        let whole = fs::read(marked(machine, &mut random, &marks)).unwrap();
        // Cut after the second change: the disk is past a, and not at b.
        let cut = image(machine, "cut.mts", &whole[..whole.len() - 60]);
        let run = machine.mtctl(&["apply", &cut, "--group", "g", "--target", &target]);
        run.exits(5);
        let commit = || machine.mtctl(&["commit", "--group", "g", "--yes"]);
        let listed = points(machine);
        if listed.len() == 1 {
            commit().exits(4).says("not at a recovery point");
        }
        apply(machine, &image(machine, "whole.mts", &whole), &target, &[]);
        commit().exits(0);
        assert_eq!(points(machine), [] as [serde_json::Value; 0]);
        let used: u64 = shell("du -sk /mnt/retention/g | cut -f1").trim().parse().unwrap();
        assert!(used < 1024, "{used} KiB");
        commit().exits(0).says("nothing to do");
        // The numbers 1 and 2 are never used again.
        let next = [(MarkKind::CrashConsistent, "c")];
        apply(machine, &marked(machine, &mut random, &next), &target, &["--accept-base"]);
        let ids: Vec<_> = points(machine).iter().map(|one| one["id"].as_u64().unwrap()).collect();
        assert_eq!(ids, [4]);
        let show = ["points", "show", "2", "--group", "g"];
        machine.mtctl(&show).exits(2).says("point 2 has expired, or was given up");
        rollback(machine, "start").exits(0).says("the disks are at start");
        machine.mtctl(&["group", "list"]).exits(0).says("at start");
    });
}

#[test]
fn a_commit_after_a_rollback_finds_what_somebody_else_wrote() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let mut random = Random::new(95);
        let target = blank(machine, "target.img", SIZE);
        let changes: Vec<_> = (0..3).map(|_| Change::data(8192, random.bytes(4096))).collect();
        let names = ["a", "b", "c"];
        let parts: Vec<_> = changes
            .iter()
            .zip(names)
            .flat_map(|(one, name)| {
                [Part::Change(0, one), Part::Mark(MarkKind::CrashConsistent, name)]
            })
            .collect();
        let stream = stream(machine, "s.mts", vec![volume("", SIZE, "", "")], &parts);
        apply(machine, &stream, &target, &[]);
        rollback(machine, "a").exits(0);
        shell(&format!("printf X | dd of={target} bs=1 seek=9000 conv=notrunc status=none"));
        let commit = || machine.mtctl(&["commit", "--group", "g", "--yes"]);
        commit().exits(5).says("not at the point");
        assert_eq!(points(machine).len(), 3);
        rollback(machine, "b").exits(4).says("does not hold what the group left there");
        let again = ["rollback", "--group", "g", "--to", "b", "--yes", "--accept-target"];
        machine.mtctl(&again).exits(0);
        rollback(machine, "a").exits(0);
        holds(&target, &after(&vec![0; SIZE as usize], &changes[..1]));
        commit().exits(0);
    });
}

#[test]
fn a_point_made_by_hand_ends_no_other() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let mut random = Random::new(97);
        let target = blank(machine, "target.img", SIZE);
        // Their marks are years old, and so older than any window except this one.
        let crash = MarkKind::CrashConsistent;
        let stream = marked(machine, &mut random, &[(crash, "one"), (crash, "two")]);
        let long = ["--retention-window", "1000000h", "--keep-all", "1000000h"];
        apply(machine, &stream, &target, &long);
        machine.mtctl(&["points", "create", "--group", "g", "--name", "three"]).exits(0);
        let listed = points(machine);
        let names: Vec<_> = listed.iter().map(|point| point["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["one", "two", "three"]);
    });
}
