//! The history of a group in its log of runs, including runs that failed or were killed.

use std::process::Stdio;

use blockio::stream::MarkKind;
use mt_tests::change_stream::{Change, volume};
use mt_tests::program;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use serde_json::Value;

use crate::{MIB, Part, blank, retention, stream};

fn runs(machine: &ScratchMachine) -> Vec<Value> {
    let told = machine.mtctl(&["history", "--group", "g", "--json"]);
    told.exits(0).json()["runs"].as_array().unwrap().clone()
}

pub(crate) fn one_change(machine: &ScratchMachine, name: &str) -> String {
    let change = Change::data(8192, vec![1; 4096]);
    let parts = [Part::Change(0, &change), Part::Mark(MarkKind::CrashConsistent, "one")];
    stream(machine, name, vec![volume("", MIB, "", "")], &parts)
}

#[test]
fn verbs_that_change_a_group_are_told_with_streams_points_and_results() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target.img", MIB);
        machine.mtctl(&["history"]).exits(0).says("nothing is recorded");
        let stream = one_change(machine, "day1.mts");
        let group = ["--group", "g"];
        let run = |words: &[&str]| machine.mtctl(&[words, &group].concat());
        run(&["apply", &stream, "--target", &target, "--dry-run"]);
        run(&["apply", &stream, "--target", &target]).exits(0);
        run(&["points", "create", "--name", "by-hand"]).exits(0);
        run(&["points", "pin", "by-hand"]).exits(0);
        run(&["points", "unpin", "by-hand"]).exits(0);
        run(&["group", "set", "--point-every", "5m"]).exits(0);
        run(&["rollback", "--to", "one", "--yes"]).exits(0);
        run(&["commit", "--yes"]).exits(0);
        run(&["group", "release", "--yes"]).exits(0);
        let told = runs(machine);
        let verbs: Vec<_> = told.iter().map(|run| run["verb"].as_str().unwrap()).collect();
        let expected = [
            "apply",
            "points create",
            "points pin",
            "points unpin",
            "group set",
            "rollback",
            "commit",
            "group release",
        ];
        assert_eq!(verbs, expected);
        for run in &told {
            assert_eq!((&run["state"], &run["exit_code"]), (&"ended".into(), &0.into()), "{run}");
            assert!(run["user"].is_string() && run["process"].is_u64(), "{run}");
        }
        let [apply, rollback] = [0, 5].map(|index| &told[index]);
        assert_eq!(apply["streams"][0]["path"], stream.as_str());
        assert!(apply["streams"][0]["identity"].as_str().unwrap().starts_with("native"));
        assert_eq!(apply["bytes"], 4096);
        assert_eq!(apply["disks"][0], target.as_str());
        assert!(rollback["point"].as_str().unwrap().contains("one"), "{rollback}");
        let table = run(&["history"]);
        table.exits(0).says("apply day1.mts").says("done, 4 KiB").says("--point-every 5m");
        assert!(table.stdout.lines().all(|line| line.chars().count() <= 100), "{table:#?}");
        machine.mtctl(&["history", "--last", "1", "--retention", "none"]).exits(0);
        run(&["history", "--last", "1"]).exits(0).does_not_say("commit").says("group release");
    });
}

#[test]
fn a_run_that_was_killed_did_not_end_and_one_that_failed_says_why() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target.img", MIB);
        let words = ["apply", "-", "--group", "g", "--target", &target];
        let mut command = program::command(program::mtctl(), &words);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // There is no such group until the run has begun.
        let has_begun = || machine.mtctl(&["history", "--group", "g"]).code == Some(0);
        while !has_begun() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        assert_eq!(runs(machine)[0]["state"], "running");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(runs(machine)[0]["state"], "did-not-end");
        // The last byte belongs to the checksum of the end.
        let stream = one_change(machine, "day1.mts");
        let mut bytes = std::fs::read(&stream).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        let torn = crate::image(machine, "torn.mts", &bytes);
        machine.mtctl(&["apply", &torn, "--group", "g", "--target", &target]).exits(5);
        let told = runs(machine);
        assert_eq!((told.len(), &told[1]["exit_code"]), (2, &5.into()));
        assert!(told[1]["error"].as_str().unwrap().contains("torn.mts"), "{}", told[1]);
        machine
            .mtctl(&["history", "--group", "g"])
            .exits(0)
            .says("apply standard input")
            .says("DID NOT END")
            .says("exit 5");
        machine.mtctl(&["history", "--group", "gg"]).exits(2).says("the only group here is g");
    });
}

#[test]
fn a_point_that_was_read_is_told_with_where_it_went_and_who_it_was() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target.img", MIB);
        let stream = one_change(machine, "day1.mts");
        machine.mtctl(&["apply", &stream, "--group", "g", "--target", &target]).exits(0);
        let copy = machine.file("copy.img").display().to_string();
        let restore = ["restore", "--group", "g", "--to", "one", "--create", "--onto"];
        let words = [&restore[..], &[&copy, "--dry-run"]].concat();
        machine.mtctl(&words).exits(3);
        let words = [&restore[..], &[&copy]].concat();
        let mut command = program::command(program::mtctl(), &words);
        program::finish(command.env("SUDO_USER", "daemon")).exits(0);
        let export = ["export", "--group", "g", "--to", "one", "--run", "exit 7"];
        machine.mtctl(&export).exits(7);
        let told = runs(machine);
        let [_, restore, export] = &told[..] else { panic!("{told:?}") };
        assert_eq!((&restore["verb"], &restore["bytes"]), (&"restore".into(), &MIB.into()));
        assert_eq!(restore["detail"], format!("onto {copy}"));
        assert_eq!((&restore["user"], &restore["sudo_user"]), (&"daemon".into(), &"daemon".into()));
        assert_eq!((&restore["user_id"], &restore["state"]), (&0.into(), &"ended".into()));
        assert_eq!((&export["verb"], &export["exit_code"]), (&"export".into(), &7.into()));
        assert_eq!((&export["sudo_user"], &told[0]["sudo_user"]), (&Value::Null, &Value::Null));
        assert!(restore.get("login_user_id").is_some(), "{restore}");
        // If nothing can be recorded, the point is restored nevertheless.
        program::run("mount", &["-o", "remount,ro", "/mnt/retention"]);
        std::fs::remove_file(&copy).unwrap();
        machine.mtctl(&words).exits(0).says("could not be recorded");
        assert_eq!(runs(machine).len(), 3);
    });
}

#[test]
fn what_is_to_be_applied_again_is_named_by_its_file() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target.img", MIB);
        let bytes = std::fs::read(one_change(machine, "day1.mts")).unwrap();
        let half = crate::image(machine, "half.mts", &bytes[..bytes.len() - 1]);
        machine.mtctl(&["apply", &half, "--group", "g", "--target", &target]).exits(5);
        let named = format!("stream again ({half})");
        let change = Change::data(0, vec![2; 4096]);
        let other = stream(
            machine,
            "day2.mts",
            vec![volume("", MIB, "a", "b")],
            &[Part::Change(0, &change)],
        );
        machine.mtctl(&["apply", &other, "--group", "g"]).exits(4).says(&named);
        let recovered = machine.mtctl(&["recover", "--group", "g", "--yes"]);
        recovered.exits(0).says(&half);
    });
}
