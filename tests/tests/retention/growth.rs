//! Sources that grow between two streams: what their volumes held before comes back.

use std::fs;

use blockio::stream::MarkKind;
use mt_tests::change_stream::{Change, random_changes, volume};
use mt_tests::program::history_is_whole;
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{MIB, Part, after, image, retention, rollback, stream};

/// What the volume held at each point, in the order of their names, as long as it was then.
struct Grown {
    target: String,
    kept: Vec<(String, Vec<u8>)>,
}

/// Applies a stream of a source of `old` bytes, and two of one that has grown, by `by` bytes each
/// time.
fn grown(
    machine: &ScratchMachine,
    random: &mut Random,
    (old, by): (u64, u64),
    engine: &str,
) -> Grown {
    let mut held = random.bytes(old as usize);
    let target = image(machine, "target.img", &held);
    let mut kept = Vec::new();
    for (number, size) in [old, old + by, old + 2 * by].into_iter().enumerate() {
        let before = held.len() as u64;
        held.resize(size as usize, 0);
        let mut all: Vec<Vec<Change>> = (0..2).map(|_| random_changes(random, size, 6)).collect();
        // Across the old end, or at the end.
        let end = before.min(size - 512);
        let near = Change::data(end - 700, random.bytes((size - end + 700).min(5632) as usize));
        all[number % 2].push(near);
        let names: Vec<String> = (0..2).map(|mark| format!("s{number}m{mark}")).collect();
        let mut parts = Vec::new();
        for (changes, name) in all.iter().zip(&names) {
            parts.extend(changes.iter().map(|change| Part::Change(0, change)));
            parts.push(Part::Mark(MarkKind::CrashConsistent, name));
            held = after(&held, changes);
            kept.push((name.clone(), held.clone()));
        }
        let name = format!("stream-{number}");
        let stream = stream(machine, &name, vec![volume("", size, "", "")], &parts);
        let words = ["apply", &stream, "--group", "g", "--engine", engine, "--accept-resize"];
        let first = ["--target", &target, "--keep-last", "100"];
        let more = if number == 0 { &first[..] } else { &[] };
        machine.mtctl(&[&words[..], more].concat()).exits(0);
    }
    Grown { target, kept }
}

/// Asserts that a view of point `name` and a rollback to it agree, and that it holds `expected`.
#[track_caller]
fn comes_back(machine: &ScratchMachine, grown: &Grown, name: &str, expected: &[u8]) {
    let seen = machine.mtctl(&["digest", "--group", "g", "--to", name]).exits(0).stdout.clone();
    rollback(machine, name).exits(0);
    let found = fs::read(&grown.target).unwrap();
    let first = found.iter().zip(expected).position(|(one, other)| one != other);
    assert_eq!(first, None, "{name}: the first byte that differs");
    let digest = blake3::hash(&found).to_hex().to_string();
    assert!(seen.contains(&digest), "{name}: a view of it differs from the disk: {seen}");
}

#[test]
fn every_point_comes_back_from_before_and_after_a_source_grew_within_a_block() {
    for (number, (old, by)) in
        [(1536, 4096), (1, 4095), (2048, 512), (3584, 100_000), (0, 4096)].into_iter().enumerate()
    {
        on_a_scratch_machine(|machine| {
            let _retention = retention(machine, 128);
            let mut random = Random::new(50 + number as u64);
            let engine = if number % 2 == 0 { "blocking" } else { "auto" };
            let grown = grown(machine, &mut random, (MIB + old, by), engine);
            for _ in 0..6 {
                let (name, expected) = &grown.kept[random.below(6) as usize];
                comes_back(machine, &grown, name, expected);
            }
            let (name, expected) = &grown.kept[5];
            comes_back(machine, &grown, name, expected);
            // Their images are merged.
            let some = ["points", "forget", "s0m1", "s1m0", "--group", "g", "--yes"];
            machine.mtctl(&some).exits(0);
            history_is_whole("g", &[]);
            for name in ["s0m0", "s2m1", "s1m1", "s0m0", "s2m0"] {
                let (_, expected) = grown.kept.iter().find(|(known, _)| known == name).unwrap();
                comes_back(machine, &grown, name, expected);
            }
        });
    }
}
