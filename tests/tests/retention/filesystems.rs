//! Filesystems in use, point after point: each is byte-identical after the disk is rolled back to
//! the point, and clean for its own checker.

use std::fs;
use std::path::PathBuf;

use blockio::stream::MarkKind;
use mt_tests::change_stream::{difference, volume};
use mt_tests::program::{run, shell};
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use mt_tests::skip::has_program;

use crate::{MIB, Part, points, retention, rollback, stream};

/// What is done in the mounted filesystem during an epoch.
fn script(number: usize) -> String {
    format!(
        "mkdir -p d{number}; for n in $(seq 30); do echo {number}.$n >d{number}/$n; done
         head -c 300000 /dev/urandom >large{number}
         [ {number} -lt 2 ] || {{ rm -f large$(({number} - 2)); mv d$(({number} - 1)) m{number}; }}
         [ {number} -lt 4 ] || rm -r m$(({number} - 2))
         dd if=/dev/urandom of=grows bs=4096 seek={number} count=20 conv=notrunc status=none
         sync"
    )
}

fn follows(machine: &ScratchMachine, mkfs: &str, mib: u64, epochs: usize, check: fn(&str)) {
    let _retention = retention(machine, 1024);
    let source = machine.disk("source", mib);
    let target = machine.disk("target", mib);
    let blank = machine.file("blank");
    shell(&format!(
        "{mkfs} {}; mkdir -p /mnt/source; truncate -s {mib}M {}",
        source.path(),
        blank.display()
    ));
    let mut copies: Vec<PathBuf> = Vec::new();
    for number in 0..epochs {
        let copy = machine.file(&format!("copy-{number}"));
        let keep = format!(
            "blockdev --flushbufs {}; cp --sparse=always {} {}",
            source.path(),
            source.file().display(),
            copy.display()
        );
        run("mount", &[source.path(), "/mnt/source"]);
        shell(&format!("cd /mnt/source; {}", script(number)));
        run("umount", &["/mnt/source"]);
        shell(&keep);
        let before = copies.last().unwrap_or(&blank);
        let changes = difference(before, &copy);
        let mut parts: Vec<_> = changes.iter().map(|change| Part::Change(0, change)).collect();
        let name = format!("e{number}");
        parts.push(Part::Mark(MarkKind::ApplicationConsistent, &name));
        let from = if number == 0 { String::new() } else { format!("s{}", number - 1) };
        let of = volume("", mib * MIB, &from, &format!("s{number}"));
        let stream = stream(machine, "delta.mts", vec![of], &parts);
        machine
            .mtctl(&["apply", &stream, "--group", "g", "--target", target.path()])
            .exits(0)
            .does_not_say("was given up");
        copies.push(copy);
    }
    assert_eq!(points(machine).len(), epochs);
    let mut left: Vec<_> = (0..epochs).collect();
    let mut random = Random::new(81);
    while !left.is_empty() {
        let number = left.swap_remove(random.below(left.len() as u64) as usize);
        rollback(machine, &format!("e{number}")).exits(0);
        target.sha256();
        assert_eq!(difference(&copies[number], target.file()), [], "point e{number}");
        check(target.path());
    }
    rollback(machine, "start").exits(0);
    target.sha256();
    assert_eq!(difference(&blank, target.file()), []);
    assert!(fs::metadata("/mnt/retention/g/state").is_ok());
}

#[test]
fn an_ext4_in_use_comes_back_to_each_of_twenty_points_in_any_order() {
    if !has_program("mkfs.ext4") {
        return;
    }
    on_a_scratch_machine(|machine| {
        follows(machine, "mkfs.ext4 -q -F", 16, 20, |disk| drop(run("e2fsck", &["-fn", disk])));
    });
}

#[test]
fn an_xfs_in_use_comes_back_to_each_of_five_points_in_any_order() {
    if !has_program("mkfs.xfs") {
        return;
    }
    on_a_scratch_machine(|machine| {
        follows(machine, "mkfs.xfs -q -f", 300, 5, |disk| drop(run("xfs_repair", &["-n", disk])));
    });
}
