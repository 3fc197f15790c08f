//! Promises that a small run shows to hold, and that break when the corresponding bug is planted.
//! Anything that takes chance and many runs to find is in `tests`.
#![cfg(test)]

use std::sync::Arc;

use super::chance::Chance;
use super::disk::lock;
use super::machine::{Machine, Memory, keep_all};
use super::runs::SMALL;
use super::scenario::Scenario;
use super::stories::{applied, changed, points_are_forgotten_by_hand};
use super::world::{BLOCK_BYTES, DiskId};
use crate::ErrorKind;
use crate::bug::{self, Bug};
use crate::journal::catalogue::PointId;

/// A scenario, and a machine after all of it was applied.
fn after_all(memory: &Memory) -> (Scenario, Machine) {
    let scenario = Scenario::new(SMALL, &mut Chance(1));
    let machine = applied(&scenario, memory).unwrap();
    (scenario, machine)
}

/// Whether `holds` returns true with `bug`.
fn holds_with(bug: Bug, holds: impl Fn() -> bool) -> bool {
    bug::plant(Some(bug));
    let is_so = holds();
    bug::plant(None);
    is_so
}

#[test]
fn a_rollback_checks_all_that_it_needs_before_it_writes() {
    let (_scenario, machine) = after_all(&Memory::new());
    let known = machine.state().unwrap().journal.unwrap();
    let (_, over) = known.points.split_last().unwrap();
    let blocks = over.iter().flat_map(|point| &point.spans).flat_map(|span| {
        (0..span.bytes as usize / BLOCK_BYTES).map(|block| (span.segment.0, block))
    });
    let blocks: Vec<_> = blocks.collect();
    let mut refused = 0;
    // Whichever block is rotten: no rollback is begun that cannot be finished.
    let mut holds = || {
        blocks.iter().all(|(segment, block)| {
            let machine = changed(&machine, |now| {
                let blocks = now.disks.get_mut(&DiskId::Segment(*segment)).unwrap();
                Arc::make_mut(&mut blocks[*block])[100] ^= 0x40;
            });
            let before = machine.contents();
            if machine.rollback(PointId(0)).is_ok() {
                return true;
            }
            refused += 1;
            let known = machine.state().unwrap().journal.unwrap();
            machine.contents() == before && known.rolling_back_to.is_none()
        })
    };
    assert!(holds());
    bug::plant(Some(Bug::RollbackDoesNotCheckFirst));
    let is_so = holds();
    bug::plant(None);
    assert!(!is_so && refused > 0, "a rollback that does not check is not noticed");
}

#[test]
fn a_commit_compares_the_volumes_with_the_history() {
    let (_scenario, machine) = after_all(&Memory::new());
    machine.rollback(PointId(1)).unwrap();
    let holds = || {
        let written = changed(&machine, |now| {
            let blocks = now.disks.get_mut(&DiskId::Volume(0)).into_iter().flatten();
            blocks.for_each(|block| Arc::make_mut(block)[7] ^= 1);
        });
        written.commit().is_err_and(|error| error.kind() == ErrorKind::Integrity)
    };
    assert!(holds());
    assert!(!holds_with(Bug::CommitComparesNothing, holds), "one that compares nothing is not");
    machine.commit().unwrap();
}

#[test]
fn an_operation_that_failed_is_never_told_as_done() {
    let (memory, scenario) = (Memory::new(), Scenario::new(SMALL, &mut Chance(1)));
    let streams: Vec<_> = scenario.streams.iter().map(|path| path.as_path()).collect();
    // Whether everything was reported as done although operation `at` failed, and how many
    // operations there were.
    let failing = |at: usize| {
        let machine = Machine::new(scenario.world(), keep_all(), &memory);
        lock(&machine.world).fails = at..at + 1;
        let is_done = machine.apply(&streams, &mut || {}).is_ok();
        (is_done, lock(&machine.world).done)
    };
    let (is_done, total) = failing(usize::MAX - 1);
    assert!(is_done && total > 0);
    let holds = || !(0..total).any(|at| failing(at).0);
    assert!(holds());
    assert!(!holds_with(Bug::FailedWriteIgnored, holds), "one that is ignored is not noticed");
}

#[test]
fn segments_go_after_the_state_that_forgets_their_points() {
    let memory = Memory::new();
    let holds = || (1..=8).all(|seed| points_are_forgotten_by_hand(seed, &memory).is_ok());
    assert!(holds());
    assert!(!holds_with(Bug::UnlinkBeforeState, holds), "segments that go first are not noticed");
}
