//! Whichever engine writes, the same bytes are written.

use std::fs;

use mt_tests::change_stream::{native_of, random_changes, volume};
use mt_tests::program::{command, finish, mtctl};
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use mt_tests::skip::skipped;

use crate::{MIB, after, apply, disk, file, holds};

const SIZE: u64 = 3 * MIB;
const WARNING: &str = "io_uring is not permitted: using blocking I/O";

/// Applies to two disks with `run`, which is passed the words after `apply`, and checks the result.
#[track_caller]
fn writes_what_it_should(machine: &ScratchMachine, run: impl FnOnce(&[&str])) {
    let mut random = Random::new(41);
    let base = random.bytes(SIZE as usize);
    let changes = [random_changes(&mut random, SIZE, 60), random_changes(&mut random, SIZE, 60)];
    let volumes = vec![volume("a", SIZE, "", ""), volume("b", SIZE, "", "")];
    let mixed: Vec<_> =
        changes[0].iter().zip(&changes[1]).flat_map(|(a, b)| [(0, a), (1, b)]).collect();
    let stream = file(machine, "stream", &native_of(volumes, &mixed));
    let disks = [disk(machine, "a", &base, "512"), disk(machine, "b", &base, "4096")];
    let maps = [format!("a={}", disks[0].path()), format!("b={}", disks[1].path())];
    run(&[&stream, "--map", &maps[0], "--map", &maps[1], "--verify"]);
    for (disk, changes) in disks.iter().zip(&changes) {
        disk.sha256();
        holds(disk.file(), &after(&base, changes));
    }
}

#[test]
fn both_engines_write_the_same_bytes() {
    if fs::read_to_string("/proc/sys/kernel/io_uring_disabled").is_ok_and(|it| it.trim() != "0") {
        return skipped("io_uring is disabled on this host");
    }
    on_a_scratch_machine(|machine| {
        for engine in ["uring", "blocking", "auto"] {
            writes_what_it_should(machine, |arguments| {
                let run = apply(machine, &[arguments, &["--engine", engine]].concat());
                run.exits(0).does_not_say(WARNING);
            });
        }
    });
}

#[test]
fn where_io_uring_is_refused_one_warning_is_given_and_the_same_bytes_are_written() {
    on_a_scratch_machine(|machine| {
        for errno in ["EPERM", "ENOSYS"] {
            writes_what_it_should(machine, |arguments| {
                let program = [errno, mtctl().to_str().unwrap(), "apply"];
                let words = [&program, arguments].concat();
                let run = finish(&mut command(env!("CARGO_BIN_EXE_refuse_io_uring"), &words));
                run.exits(0);
                assert_eq!(run.stderr.matches(WARNING).count(), 1, "{run:#?}");
            });
        }
    });
}
