//! Streams that were applied are recognised by contents and order, not by names: one that only has
//! the same name, or is older, is refused (exit 4), and no byte changes.

use std::fs;

use blockio::stream::rbd_diff::Version;
use mt_tests::change_stream::{Change, native, rbd_diff, rbd_export, svd, volume};
use mt_tests::program::{Run, mtctl, shell};
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{MIB, apply, file, holds, image, state};

const SIZE: u64 = 64 * MIB;

/// A diff between two snapshots that fills the first `length` bytes and the last sector.
fn diff(machine: &ScratchMachine, ends: (&str, &str), length: u64, fill: u8) -> String {
    let changes: Vec<_> = (0..length / MIB)
        .map(|place| Change::data(place * MIB, vec![fill; MIB as usize]))
        .chain([Change::data(SIZE - 4096, vec![fill; 4096])])
        .collect();
    let bytes = rbd_diff(Version::V1, &volume("", SIZE, ends.0, ends.1), &changes);
    let name = format!("{}-to-{}-{fill}.rbd", ends.0.len(), ends.1.len());
    file(machine, &name, &bytes)
}

struct Disk<'m> {
    machine: &'m ScratchMachine,
    path: String,
}

impl<'m> Disk<'m> {
    fn new(machine: &'m ScratchMachine) -> Self {
        Self { machine, path: image(machine, "disk", SIZE) }
    }

    fn apply(&self, stream: &str, more: &[&str]) -> Run {
        let arguments = [stream, "--group", "g", "--target", &self.path];
        apply(self.machine, &[&arguments[..], more].concat())
    }

    #[track_caller]
    fn refuses(&self, stream: &str, words: &[&str]) {
        let before = fs::read(&self.path).unwrap();
        let run = self.apply(stream, &[]);
        run.exits(4).says("hint:");
        for word in words {
            run.says(word);
        }
        assert!(fs::read(&self.path).unwrap() == before, "{stream}: something was written");
    }

    #[track_caller]
    fn leaves_out(&self, stream: &str) {
        let run = self.apply(stream, &["--json"]);
        let done = run.exits(0).json();
        assert_eq!((&done["inputs_left_out"], &done["bytes"]), (&1.into(), &0.into()), "{stream}");
        assert_eq!(done["resumed_from"], serde_json::Value::Null);
    }
}

#[test]
fn a_snapshot_that_was_made_again_under_its_name_is_not_taken_for_applied() {
    on_a_scratch_machine(|machine| {
        let disk = Disk::new(machine);
        disk.apply(&diff(machine, ("", "a"), MIB, 1), &[]).exits(0);
        let second = diff(machine, ("a", "b"), MIB, 2);
        disk.apply(&second, &[]).exits(0);
        disk.leaves_out(&second);
        disk.refuses(&diff(machine, ("a", "b"), MIB, 3), &["made again under the same name"]);
        let longer = diff(machine, ("a", "b"), 2 * MIB, 2);
        disk.refuses(&longer, &["made again under the same name"]);
    });
}

#[test]
fn a_diff_that_was_cut_short_is_not_finished_with_another_of_its_name() {
    on_a_scratch_machine(|machine| {
        let disk = Disk::new(machine);
        let whole = diff(machine, ("", "a"), 48 * MIB, 1);
        shell(&format!(
            "head -c {} {whole} | {} apply - --group g --resume --target {}",
            40 * MIB,
            mtctl().display(),
            disk.path
        ));
        assert!(state("g")["volumes"][""]["in_between"]["position"].as_u64().unwrap() > 30 * MIB);
        disk.refuses(&diff(machine, ("", "a"), 48 * MIB, 2), &["made again"]);
        let run = disk.apply(&whole, &["--json"]);
        assert!(run.exits(0).json()["resumed_from"].as_u64().unwrap() > 30 * MIB);
        let held = fs::read(&disk.path).unwrap();
        assert!(held[..48 * MIB as usize].iter().all(|byte| *byte == 1));
    });
}

#[test]
fn names_that_run_together_are_not_one_stream() {
    on_a_scratch_machine(|machine| {
        let disk = Disk::new(machine);
        disk.apply(&diff(machine, ("", "a"), MIB, 1), &[]).exits(0);
        disk.apply(&diff(machine, ("a", "b..c"), MIB, 2), &[]).exits(0);
        disk.refuses(&diff(machine, ("a..b", "c"), MIB, 3), &["begins at \"a..b\""]);
    });
}

#[test]
fn after_a_diff_to_the_head_only_what_is_known_to_fit_is_taken_unasked() {
    on_a_scratch_machine(|machine| {
        let disk = Disk::new(machine);
        disk.apply(&diff(machine, ("", "s1"), MIB, 1), &[]).exits(0);
        for fill in [2, 3] {
            disk.apply(&diff(machine, ("s1", ""), MIB, fill), &[]).exits(0);
        }
        let gap = diff(machine, ("s22", "s3"), MIB, 4);
        disk.refuses(&gap, &["from \"s1\" to an unnamed state", "--accept-base"]);
        disk.apply(&gap, &["--accept-base"]).exits(0).says("assuming that the volume is there");
        assert_eq!(state("g")["volumes"][""]["ends_at"], "s3");
    });
}

#[test]
fn an_svd_stream_that_is_older_than_the_last_is_refused_or_left_out() {
    on_a_scratch_machine(|machine| {
        let disk = Disk::new(machine);
        let of = |sequence: u64| {
            let byte = [sequence as u8; 512];
            file(machine, &format!("{sequence}.svd"), &svd(sequence, &[(0, &byte)]))
        };
        disk.apply(&of(10), &[]).exits(0);
        disk.apply(&of(30), &[]).exits(0);
        disk.leaves_out(&of(10));
        disk.leaves_out(&of(30));
        disk.refuses(&of(20), &["the disk has newer data", "--accept-older"]);
        assert_eq!(fs::read(&disk.path).unwrap()[0], 30);
        disk.apply(&of(20), &["--accept-older"]).exits(0);
        disk.apply(&of(40), &[]).exits(0);
        // Data appended to a file is new.
        let grown = [fs::read(of(40)).unwrap(), fs::read(of(50)).unwrap()].concat();
        disk.apply(&file(machine, "grown.svd", &grown), &[]).exits(0);
        assert_eq!(fs::read(&disk.path).unwrap()[0], 50);
    });
}

#[test]
fn a_native_stream_that_may_be_one_of_long_ago_is_refused() {
    on_a_scratch_machine(|machine| {
        let disk = Disk::new(machine);
        let of = |number: u64| {
            let change = Change::data(0, number.to_le_bytes());
            file(machine, &format!("{number}.mts"), &native(volume("", SIZE, "", ""), &[change]))
        };
        let streams: Vec<_> = (0..258).map(of).collect();
        let all: Vec<_> = streams.iter().map(String::as_str).collect();
        let (first, rest) = all.split_first().unwrap();
        disk.apply(first, rest).exits(0);
        disk.refuses(first, &["may have been applied long ago", "--accept-older"]);
        disk.leaves_out(all[257]);
        disk.apply(&of(999), &[]).exits(0);
    });
}

/// Three snapshots of a disk that became smaller, and then larger, in one file as rbd exports them.
fn export(machine: &ScratchMachine) -> (String, Vec<u8>) {
    let sizes = [4 * MIB, 2 * MIB + 100, 6 * MIB + 77];
    let changes = [
        vec![Change::data(0, vec![b'A'; 4 * MIB as usize])],
        vec![Change::data(100, vec![b'B'; 1000])],
        vec![Change::data(3 * MIB, vec![b'E'; 4096]), Change::data(5 * MIB, vec![b'C'; 1000])],
    ];
    let names = ["", "s1", "s2", "s3"];
    let diffs = (0..3).map(|at| {
        let of = volume("", sizes[at], names[at], names[at + 1]);
        rbd_diff(Version::V2, &of, &changes[at])
    });
    let mut expected = vec![0xee; 8 * MIB as usize];
    for (at, changes) in changes.iter().enumerate() {
        if at > 0 && sizes[at] > sizes[at - 1] {
            expected[sizes[at - 1] as usize..sizes[at] as usize].fill(0);
        }
        changes.iter().for_each(|change| change.apply(&mut expected));
    }
    (file(machine, "export", &rbd_export(&diffs.collect::<Vec<_>>())), expected)
}

#[test]
fn an_export_of_several_diffs_that_comes_again_is_nothing_to_do() {
    on_a_scratch_machine(|machine| {
        let (export, expected) = export(machine);
        let path = file(machine, "disk", &vec![0xee; 8 * MIB as usize]);
        let disk = Disk { machine, path };
        disk.apply(&export, &["--accept-resize"]).exits(0);
        holds(&disk.path, &expected);
        let known = state("g");
        assert_eq!(known["volumes"][""]["ends_at"], "s3");
        for _ in 0..3 {
            disk.leaves_out(&export);
            holds(&disk.path, &expected);
            assert_eq!(state("g"), known, "nothing is recorded either");
        }
    });
}

#[test]
fn a_disk_that_grows_within_one_run_has_zeros_there_also_if_no_group_knows_it() {
    on_a_scratch_machine(|machine| {
        let (export, expected) = export(machine);
        let target = file(machine, "disk", &vec![0xee; 8 * MIB as usize]);
        // The first of its diffs is written by then.
        apply(machine, &[&export, "--target", &target]).exits(1).says("--accept-resize");
        apply(machine, &[&export, "--target", &target, "--accept-resize"]).exits(0);
        holds(&target, &expected);
    });
}
