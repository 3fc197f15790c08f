//! The same deltas applied by qemu-img and by mtctl give the same disks.

use std::fmt::Write;
use std::fs;

use blockio::stream::rbd_diff::Version;
use mt_tests::change_stream::{Become, Change, native, random_changes, rbd_diff, svd, volume};
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{run, shell};
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use mt_tests::skip::has_program;

use crate::{MIB, after, apply, disk, file, holds};

/// A whole number of sectors, and of nothing larger.
const SIZE: u64 = 5 * MIB + 3 * 4096;

/// Applies `changes` to the image `base` as qemu does: to an overlay, which is then committed. A
/// discard is written as zeros, because the effect of qemu's own in an overlay depends on its
/// clusters.
fn commit_by_qemu(machine: &ScratchMachine, base: &str, changes: &[Change]) {
    let overlay = machine.file("overlay.qcow2");
    let overlay = overlay.to_str().unwrap();
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", overlay]);
    let mut script = String::new();
    for (index, change) in changes.iter().enumerate() {
        let (start, length) = (change.start, change.length());
        match &change.becomes {
            Become::Data(bytes) => {
                let data = file(machine, &format!("data-{index}"), bytes);
                writeln!(script, "write -q -s {data} {start} {length}").unwrap();
            }
            Become::Zero(_) | Become::Discard(_) => {
                writeln!(script, "write -q -z {start} {length}").unwrap();
            }
        }
    }
    let script = file(machine, "script", script.as_bytes());
    let said = shell(&format!("qemu-io -f qcow2 {overlay} <{script}"));
    assert!(!said.contains("fail") && !said.contains("rror"), "{said}");
    run("qemu-img", &["commit", "-q", overlay]);
}

/// Applies `changes` in every format to targets of every kind, and compares with `expected`.
#[track_caller]
fn every_way_gives(
    machine: &ScratchMachine,
    base: &[u8],
    changes: &[Change],
    expected: &[u8],
    seed: u64,
) {
    let of = volume("", SIZE, "", "");
    let streams = [
        ("native", native(of.clone(), changes)),
        ("rbd-diff-v1", rbd_diff(Version::V1, &of, changes)),
        ("rbd-diff-v2", rbd_diff(Version::V2, &of, changes)),
    ];
    for (name, stream) in streams {
        println!("{name}, seed {seed}");
        let stream = file(machine, "stream", &stream);
        for sector in ["512", "4096"] {
            let target = disk(machine, "target", base, sector);
            apply(machine, &[&stream, "--target", target.path(), "--verify"]).exits(0);
            is(&target, expected);
        }
        let target = file(machine, "target", base);
        apply(machine, &[&stream, "--target", &target]).exits(0);
        holds(&target, expected);
    }
}

#[track_caller]
fn is(target: &LoopDevice, expected: &[u8]) {
    target.sha256();
    holds(target.file(), expected);
}

#[test]
fn qemu_img_and_mtctl_make_the_same_disk_of_the_same_delta() {
    if !has_program("qemu-img") || !has_program("qemu-io") {
        return;
    }
    on_a_scratch_machine(|machine| {
        for seed in [1, 2] {
            let mut random = Random::new(seed);
            let base = random.bytes(SIZE as usize);
            let changes = random_changes(&mut random, SIZE, 40);
            let by_qemu = file(machine, "by-qemu", &base);
            commit_by_qemu(machine, &by_qemu, &changes);
            let expected = fs::read(&by_qemu).unwrap();
            // The model agrees with qemu, so the other cases may use it alone.
            holds(&by_qemu, &after(&base, &changes));
            every_way_gives(machine, &base, &changes, &expected, seed);
        }
    });
}

#[test]
fn changes_within_one_sector_and_over_each_other_end_as_the_last_one_says() {
    on_a_scratch_machine(|machine| {
        let base = Random::new(3).bytes(SIZE as usize);
        let at = |start, bytes: &[u8]| Change::data(start, bytes);
        let zero = |start, length| Change { start, becomes: Become::Zero(length) };
        let discard = |start, length| Change { start, becomes: Become::Discard(length) };
        let changes = [
            at(4095, b"ab"),
            at(4096, b"c"),
            zero(4097, 1),
            at(8192, &[7; 8192]),
            zero(9000, 5000),
            at(10_000, b"within zeros"),
            discard(10_003, 4),
            at(511, &[9; 514]),
            at(512, &[8; 512]),
            at(SIZE - 1, b"z"),
            at(0, b"a"),
            discard(MIB - 1, 2 * MIB + 2),
            at(2 * MIB, b"in the middle of what is gone"),
        ];
        let expected = after(&base, &changes);
        assert_eq!(&expected[4095..4098], b"ac\0");
        every_way_gives(machine, &base, &changes, &expected, 3);
    });
}

#[test]
fn a_directory_of_svd_streams_is_applied_in_the_order_of_their_sequence_numbers() {
    on_a_scratch_machine(|machine| {
        let base = Random::new(4).bytes(MIB as usize);
        let directory = machine.file("streams");
        fs::create_dir(&directory).unwrap();
        // Their order by name is different.
        fs::write(directory.join("a"), svd(30, &[(513, b"third"), (90_000, &[3; 70_000])]))
            .unwrap();
        fs::write(directory.join("b"), svd(10, &[(513, b"first1"), (0, &[1; 512])])).unwrap();
        fs::write(directory.join("c"), svd(20, &[(513, b"second2")])).unwrap();
        let changes = [
            Change::data(513, b"first1"),
            Change::data(0, [1; 512]),
            Change::data(513, b"second2"),
            Change::data(513, b"third"),
            Change::data(90_000, [3; 70_000]),
        ];
        let expected = after(&base, &changes);
        for sector in ["512", "4096"] {
            // Another file, because a disk belongs to one group.
            let target = disk(machine, &format!("target-{sector}"), &base, sector);
            let streams = directory.to_str().unwrap();
            let arguments = [streams, "--target", target.path(), "--group", sector];
            // Streams already applied are left out: an older one must not overwrite a newer one.
            for (extents, left_out) in [(5, 0), (0, 3)] {
                let run = apply(machine, &[&arguments[..], &["--json"]].concat());
                let done = run.exits(0).json();
                assert_eq!(
                    (&done["extents"], &done["inputs_left_out"]),
                    (&extents.into(), &left_out.into())
                );
                is(&target, &expected);
            }
        }
    });
}

#[test]
fn a_raw_image_makes_the_target_equal_with_zeros_where_it_has_holes() {
    on_a_scratch_machine(|machine| {
        let mut random = Random::new(5);
        let base = random.bytes(SIZE as usize);
        let source = machine.file("source.raw");
        shell(&format!("truncate -s {SIZE} {}", source.display()));
        let some = file(machine, "some", &random.bytes(700_001));
        let seek = 2 * MIB + 4096;
        let copy = format!(
            "dd if={some} of={} bs=1M oflag=seek_bytes seek={seek} conv=notrunc status=none",
            source.display()
        );
        shell(&copy);
        let expected = fs::read(&source).unwrap();
        let source = source.to_str().unwrap();
        for sector in ["512", "4096"] {
            let target = disk(machine, "target", &base, sector);
            let run = apply(
                machine,
                &[source, "--format", "raw", "--target", target.path(), "--verify", "--json"],
            );
            let json = run.exits(0).json();
            is(&target, &expected);
            let written = json["bytes"].as_u64().unwrap();
            assert!((700_001..MIB).contains(&written), "{json}");
            assert_eq!(written + json["zero_bytes"].as_u64().unwrap(), SIZE);
        }
    });
}
