//! What happens to points as they get older: the program keeps running while it merges their
//! history, and ends.

use std::time::Duration;

use mt_tests::change_stream::{Change, volume};
use mt_tests::program::{self, Run, command, finish, shell};
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{MIB, after, blank, holds, points, retention, rollback, timed};

const MINUTE: u64 = 60;

/// Runs the program, and ends it after `limit`, which no run here needs.
fn within(limit: Duration, arguments: &[&str]) -> Run {
    let limit = format!("{}", limit.as_secs());
    let program = program::mtctl().to_str().unwrap();
    finish(&mut command("timeout", &[&["-k", "5", &limit, program][..], arguments].concat()))
}

/// Marks four times an hour with `of_hour` before each, followed by two hours with almost no
/// changes.
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

/// Marks every five minutes from `first` on, each after a change of 128 KiB.
fn marks(machine: &ScratchMachine, first: u64, count: u64) -> String {
    let parts: Vec<_> = (first..first + count)
        .map(|mark| {
            let byte = mark as u8 + 1;
            (mark * 5 * MINUTE, vec![Change::data(0, vec![byte; 128 << 10])])
        })
        .collect();
    timed(machine, &format!("marks-{first}.mts"), vec![volume("", MIB, "", "")], &parts)
}

#[test]
fn a_rotten_byte_of_an_old_epoch_is_told_and_what_is_new_is_taken() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 512);
        let target = blank(machine, "target.img", MIB);
        let apply = |stream: &str| {
            let arguments = ["apply", stream, "--group", "g", "--target", &target];
            within(Duration::from_secs(120), &arguments)
        };
        apply(&marks(machine, 0, 6)).exits(0);
        // The second epoch, of point 1; the first is that of the start.
        let path = "/mnt/retention/g/segment-0000000000000002";
        shell(&format!("printf X | dd of={path} bs=1 seek=50000 conv=notrunc status=none"));
        for round in 1..4 {
            let run = apply(&marks(machine, round * 30, 30));
            run.exits(0);
            if round == 1 {
                run.says("is left unmerged").says("damaged");
            }
        }
        holds(&target, &after(&vec![0; MIB as usize], &[Change::data(0, vec![120; 128 << 10])]));
        rollback(machine, "latest").exits(0);
    });
}

#[test]
fn too_few_open_files_are_no_damage() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 512);
        let target = blank(machine, "target.img", MIB);
        let stream = marks(machine, 0, 60);
        let long = ["--retention-window", "1000h", "--keep-all", "1000h"];
        let arguments = ["apply", &stream, "--group", "g", "--target", &target];
        machine.mtctl(&[&arguments[..], &long].concat()).exits(0);
        let program = program::mtctl().to_str().unwrap();
        for verb in [
            &["digest", "--group", "g", "--to", "1"][..],
            &["rollback", "--group", "g", "--to", "1", "--yes"],
        ] {
            let arguments = [&["--nofile=40:40", program][..], verb].concat();
            finish(&mut command("prlimit", &arguments)).exits(1).says("ulimit -n");
        }
        rollback(machine, "1").exits(0);
    });
}

#[test]
fn points_whose_room_somebody_holds_are_not_given_up_one_after_the_other() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 96);
        let size = 16 * MIB;
        let target = blank(machine, "target.img", size);
        let whole = |first: u64, count: u64| {
            let parts: Vec<_> = (first..first + count)
                .map(|mark| {
                    let bytes = Random::new(mark).bytes(8 * MIB as usize);
                    (mark * 5 * MINUTE, vec![Change::data(0, bytes)])
                })
                .collect();
            let name = format!("whole-{first}.mts");
            let stream = timed(machine, &name, vec![volume("", size, "", "")], &parts);
            machine.mtctl(&["apply", &stream, "--group", "g", "--target", &target])
        };
        whole(0, 5).exits(0);
        let before = points(machine).len();
        let segments = std::fs::read_dir("/mnt/retention/g").unwrap();
        let held: Vec<_> =
            segments.map(|entry| std::fs::File::open(entry.unwrap().path()).unwrap()).collect();
        let run = whole(5, 6);
        run.exits(1).says("another process has its segments open");
        let left = points(machine);
        let kept = left.iter().filter(|point| point["id"].as_u64().unwrap() <= 5).count();
        assert!(kept + 1 >= before, "{before} before: {left:#?}");
        drop(held);
        let again = machine.file("whole-5.mts");
        let again = again.to_str().unwrap();
        machine.mtctl(&["apply", again, "--group", "g", "--target", &target]).exits(0);
    });
}
