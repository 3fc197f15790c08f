//! A reader of a point sees the same bytes whatever else happens: runs that begin and end, new
//! segments, points that are removed, epochs that are merged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mt_tests::change_stream::{Change, volume};
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{MIB, blank, points, retention, timed};

const SIZE: u64 = MIB;
/// How often a point is read; each read costs more as the history grows. MTCTL_LOOKS=1000 reads a
/// thousand times.
fn looks() -> u64 {
    let asked = std::env::var("MTCTL_LOOKS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(60)
}

/// A stream of random changes with a mark after every few, `every_seconds` apart.
fn busy(machine: &ScratchMachine, number: u64, marks: u64, every_seconds: u64) -> String {
    let mut random = Random::new(7000 + number);
    let mut change = || {
        let length = 4096 * (1 + random.below(8));
        Change::data(random.below((SIZE - length) / 512) * 512, random.bytes(length as usize))
    };
    let parts: Vec<_> = (0..marks)
        .map(|mark| {
            let time = (number * marks + mark) * every_seconds;
            (time, (0..4).map(|_| change()).collect::<Vec<_>>())
        })
        .collect();
    timed(machine, &format!("busy-{number}.mts"), vec![volume("", SIZE, "", "")], &parts)
}

/// Stops the readers on drop, even if a run failed.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The digest of a point, or the error.
fn digest(machine: &ScratchMachine, point: &str) -> Result<String, String> {
    let run = machine.mtctl(&["digest", "--group", "g", "--to", point, "--json"]);
    match run.code {
        Some(0) => Ok(run.json()["root"].as_str().unwrap().to_owned()),
        _ => Err(run.stderr),
    }
}

/// Reads points again and again while runs with `policy` follow each other, and reports any that
/// differed from their contents when nothing else was happening.
fn look_beside(machine: &ScratchMachine, marks: u64, every_seconds: u64, policy: &[&str]) {
    let target = blank(machine, "target.img", SIZE);
    let apply = |number| {
        let stream = busy(machine, number, marks, every_seconds);
        let arguments = ["apply", &stream, "--group", "g", "--target", &target];
        machine.mtctl(&[&arguments[..], policy].concat()).exits(0);
        std::fs::remove_file(stream).unwrap();
    };
    apply(0);
    let kept: Vec<_> = points(machine).iter().rev().take(3).map(|p| p["id"].to_string()).collect();
    for point in &kept {
        machine.mtctl(&["points", "pin", point, "--group", "g"]).exits(0);
    }
    let was: BTreeMap<_, _> = kept.iter().map(|p| (p, digest(machine, p).unwrap())).collect();
    let (is_done, looked) = (AtomicBool::new(false), AtomicU64::new(0));
    let wrong = std::thread::scope(|scope| {
        let look = || {
            let mut wrong = Vec::new();
            while !is_done.load(Ordering::Relaxed) {
                let number = looked.fetch_add(1, Ordering::Relaxed);
                let point = &kept[number as usize % kept.len()];
                match digest(machine, point) {
                    Ok(found) if found == was[point] => {}
                    found => wrong.push((number, point, found)),
                }
            }
            wrong
        };
        let lookers = [scope.spawn(look), scope.spawn(look)];
        let end = End(&is_done);
        for number in 1.. {
            apply(number);
            if looked.load(Ordering::Relaxed) >= looks() {
                break;
            }
        }
        drop(end);
        lookers.map(|looker| looker.join().unwrap()).concat()
    });
    let looked = looked.into_inner();
    println!("{looked} looks at {} points beside the runs, {} wrong", kept.len(), wrong.len());
    assert!(wrong.is_empty(), "{} of {looked}: {:#?}", wrong.len(), &wrong[..wrong.len().min(3)]);
}

#[test]
fn digests_of_points_beside_runs_are_what_they_were() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 1024);
        let policy = ["--retention-window", "1000h", "--keep-all", "1000h"];
        look_beside(machine, 4, 1, &policy);
    });
}

#[test]
fn digests_of_points_while_others_are_thinned_and_expire_are_what_they_were() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 256);
        let policy = ["--retention-window", "10h", "--keep-all", "30m"];
        look_beside(machine, 12, 15 * 60, &policy);
    });
}
