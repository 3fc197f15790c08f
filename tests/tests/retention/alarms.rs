//! What is an alarm of a group, and what is not: exit 6 of `group show --check`, and of `list`.

use std::fs;

use mt_tests::program::Run;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::history::one_change;
use crate::{MIB, blank, disk, retention};

/// Asserts the exit code of `show` and `list`, and returns the run of `show`.
fn checks(machine: &ScratchMachine, of: &[&str], code: i32) -> Run {
    let all = &of[2..];
    machine.mtctl(&[&["group", "list", "--check"], all].concat()).exits(code);
    let shown = machine.mtctl(&[&["group", "show", "--check"], of].concat());
    shown.exits(code);
    shown
}

#[test]
fn a_disk_that_is_missing_is_an_alarm_until_the_group_is_committed() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let stream = one_change(machine, "day1.mts");
        let of = ["--group", "g"];
        let disk = disk(machine, "disk.img", &[0; MIB as usize], "512");
        machine.mtctl(&["apply", &stream, "--group", "g", "--target", disk.path()]).exits(0);
        checks(machine, &of, 0);
        let path = disk.path().to_owned();
        drop(disk);
        let told = checks(machine, &of, 6);
        told.says("the disk of the unnamed volume is missing")
            .says(&path)
            .says("mtctl group retarget --group g");
        machine.mtctl(&["group", "forget", "--group", "g", "--yes"]).exits(0);
        let image = blank(machine, "image.img", MIB);
        machine.mtctl(&["apply", &stream, "--group", "g", "--target", &image]).exits(0);
        let away = machine.file("away.img");
        fs::rename(&image, &away).unwrap();
        checks(machine, &of, 6).says("image.img is not there");
        fs::rename(&away, &image).unwrap();
        checks(machine, &of, 0);
        machine.mtctl(&["commit", "--group", "g", "--yes"]).exits(0);
        // The disk goes home.
        fs::remove_file(&image).unwrap();
        checks(machine, &of, 0);
    });
}

#[test]
fn that_no_history_is_kept_is_an_alarm_unless_it_was_said() {
    on_a_scratch_machine(|machine| {
        let stream = one_change(machine, "day1.mts");
        let [target, other, third] = ["a.img", "b.img", "c.img"].map(|n| blank(machine, n, MIB));
        let apply = |group: &str, target: &str, more: &[&str]| {
            let words = ["apply", &stream, "--group", group, "--target", target];
            machine.mtctl(&[&words[..], more].concat()).exits(0);
        };
        let none = ["--retention", "none"];
        apply("said", &target, &none);
        checks(machine, &["--group", "said"], 0).says("no history is kept, as requested");
        let create = ["group", "create", "--group", "made", "--target", &third];
        machine.mtctl(&[&create[..], &none].concat()).exits(0);
        checks(machine, &["--group", "made"], 0);
        apply("unsaid", &other, &[]);
        let hint = "mtctl group set --group unsaid --retention none";
        checks(machine, &["--group", "unsaid"], 6).says(hint);
        let words: Vec<_> = hint.split(' ').skip(1).collect();
        machine.mtctl(&words).exits(0).says("--retention");
        checks(machine, &["--group", "unsaid"], 0);
    });
}
