//! What becomes of points as they get older: the program goes on while it merges what led back to
//! them, and ends.

use std::time::Duration;

use mt_tests::change_stream::{Change, volume};
use mt_tests::program::{self, Run, command, finish};
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{MIB, after, blank, holds, points, retention, rollback, timed};

const MINUTE: u64 = 60;

/// Runs the program, and ends it after so long, which no run of these needs.
fn within(limit: Duration, arguments: &[&str]) -> Run {
    let limit = format!("{}", limit.as_secs());
    let program = program::mtctl().to_str().unwrap();
    finish(&mut command("timeout", &[&["-k", "5", &limit, program][..], arguments].concat()))
}

/// Marks four times an hour with `of_hour` before each, and then two hours of next to nothing.
fn hours(machine: &ScratchMachine, size: u64, of_hour: &[Change]) -> (String, Vec<u8>) {
    let mut parts = Vec::new();
    for quarter in 0..4 {
        let changes = of_hour.iter().map(|change| {
            let byte = quarter as u8 + 1;
            Change::data(change.start, vec![byte; change.length() as usize])
        });
        parts.push((quarter * 15 * MINUTE, changes.collect::<Vec<_>>()));
    }
    for quarter in 4..14 {
        parts.push((quarter * 15 * MINUTE, vec![Change::data(0, vec![quarter as u8 + 1; 4096])]));
    }
    let stream = timed(machine, "hours.mts", vec![volume("", size, "", "")], &parts);
    let held = after(&vec![0; size as usize], &parts[0].1);
    (stream, held)
}

#[test]
fn an_hour_of_large_changes_is_thinned_and_the_run_ends() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 512);
        let size = 32 * MIB;
        let target = blank(machine, "target.img", size);
        let change = Change::data(4096, vec![0; 28 * MIB as usize]);
        let (stream, first) = hours(machine, size, &[change]);
        let arguments = ["apply", &stream, "--group", "g", "--target", &target];
        within(Duration::from_secs(120), &arguments).exits(0);
        let listed = points(machine);
        assert!(listed.len() < 14, "{listed:#?}");
        let oldest = listed.iter().find(|point| point["id"] == 1).unwrap();
        assert!(oldest["journal_bytes"].as_u64().unwrap() < 60 * MIB, "{oldest:#?}");
        rollback(machine, "1").exits(0);
        holds(&target, &first);
    });
}
