//! Output: JSON for programs, words for people, and no changes in a dry run.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mt_tests::change_stream::{Become, Change, native, volume};
use mt_tests::program::{command, finish, mtctl, shell};
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use mt_tests::skip::has_program;
use mt_tests::terminal::Terminal;

use crate::{MIB, after, apply, file, holds, image, state_path};

fn changes() -> [Change; 3] {
    [
        Change::data(0, [1; 4096]),
        Change { start: 8192, becomes: Become::Zero(1000) },
        Change { start: 20_000, becomes: Become::Discard(24) },
    ]
}

fn stream(machine: &ScratchMachine) -> String {
    file(machine, "stream", &native(volume("", MIB, "", ""), &changes()))
}

fn expected() -> Vec<u8> {
    after(&vec![0; MIB as usize], &changes())
}

/// The names in the JSON that the documentation shows for `mtctl apply --json`.
fn documented() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating/replicate.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, json) = text.split_once("```json\n").unwrap();
    let (json, _) = json.split_once("```").unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    json.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_json_is_what_the_document_says() {
    on_a_scratch_machine(|machine| {
        let (stream, target) = (stream(machine), image(machine, "target", MIB));
        let onto = |more: &[&str]| {
            apply(
                machine,
                &[&[&stream, "--target", &target, "--group", "g", "--json"], more].concat(),
            )
        };
        for (more, code) in [(&["--dry-run"][..], 3), (&["--verify"], 0)] {
            let json = onto(more).exits(code).json();
            let names: BTreeSet<_> = json.as_object().unwrap().keys().cloned().collect();
            assert_eq!(names, documented());
            assert_eq!(json["bytes"], 4096);
            assert_eq!(json["extents"], 3);
            assert_eq!(json["zero_bytes"], 1024);
            assert_eq!(json["recovery_points"], 1);
            assert_eq!(json["resumed_from"], serde_json::Value::Null);
            assert_eq!(json["inputs_left_out"], 0);
            assert_eq!(json["complete"], true);
            assert_eq!(json["dry_run"], code == 3);
            assert_eq!(json["failed_volumes"], serde_json::json!([]));
            assert!(json["seconds"].as_f64().unwrap() > 0.0);
        }
        let json = onto(&[]).exits(0).json();
        assert_eq!((&json["inputs_left_out"], &json["bytes"]), (&1.into(), &0.into()));
        onto(&["--dry-run"]).exits(0);
    });
}

#[test]
fn a_dry_run_reads_everything_and_writes_nothing() {
    on_a_scratch_machine(|machine| {
        let (stream, target) = (stream(machine), image(machine, "target", MIB));
        let dry = [&stream, "--target", &target, "--group", "g", "--dry-run"];
        apply(machine, &dry).exits(3).says("would apply 4 KiB in 3 extents");
        holds(&target, &vec![0; MIB as usize]);
        assert!(!Path::new(&state_path("g")).exists());
        apply(machine, &dry[..5]).exits(0).says("applied 4 KiB in 3 extents");
        holds(&target, &expected());
    });
}

#[test]
fn nobody_who_reads_what_is_said_keeps_nothing_from_being_written() {
    on_a_scratch_machine(|machine| {
        let (stream, program) = (stream(machine), mtctl().display());
        for (name, ending, json) in
            [("closed", ">&-", ""), ("gone", "| true", ""), ("gone-json", "| true", "--json")]
        {
            let target = image(machine, name, MIB);
            let script = format!(
                "set -o pipefail; {program} apply {stream} --target {target} --group {name} \
                 {json} {ending}"
            );
            let run = finish(&mut command("bash", &["-c", &script]));
            run.does_not_say("panicked");
            assert!(matches!(run.code, Some(0 | 1)), "{run:#?}");
            holds(&target, &expected());
        }
    });
}

#[test]
fn a_user_without_rights_is_told_so_and_may_write_into_an_image_of_their_own() {
    if !has_program("setpriv") {
        return;
    }
    on_a_scratch_machine(|machine| {
        // In a place that this user can read: the build directory may be accessible to root only.
        let program = machine.file("mtctl");
        fs::copy(mtctl(), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let stream = stream(machine);
        let disk = machine.disk("disk", 1);
        let before = disk.sha256();
        let as_nobody = |more: &[&str]| {
            let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
            let words = [program.to_str().unwrap(), "apply", stream.as_str()];
            finish(&mut command("setpriv", &[&nobody[..], &words, more].concat()))
        };
        let run = as_nobody(&["--target", disk.path()]);
        run.says("Permission denied").says(disk.path()).says("root").does_not_say("panicked");
        assert!(matches!(run.code, Some(1 | 4)), "{run:#?}");
        assert_eq!(disk.sha256(), before);
        let target = image(machine, "image", MIB);
        shell(&format!("chown 65534:65534 {target}"));
        let run = as_nobody(&["--target", &target, "--group", "g"]);
        run.exits(1).says("/var/lib/mtctl").says("Permission denied");
        as_nobody(&["--target", &target]).exits(0);
        holds(&target, &expected());
    });
}

#[test]
fn on_a_terminal_rate_and_time_left_are_shown_and_then_the_result_in_words() {
    on_a_scratch_machine(|machine| {
        let (stream, target) = (stream(machine), image(machine, "target", MIB));
        let arguments = ["apply", &stream, "--target", &target];
        let terminal = Terminal::start(&mut command(mtctl(), &arguments));
        let (code, said) = terminal.finish();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("iB/s") && said.contains("s left"), "{said}");
        assert!(said.contains("applied 4 KiB in 3 extents, 1 KiB of zeros"), "{said}");
        holds(&target, &expected());
    });
}
