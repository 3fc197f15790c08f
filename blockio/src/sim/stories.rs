//! Stories that the runs of `tests` do not cover: what somebody does to a group behind the
//! program's back, and how the program must respond. Each is told for a seed.
#![cfg(test)]

use std::sync::Arc;

use super::chance::Chance;
use super::disk::lock;
use super::machine::{Machine, Memory, SEGMENT_BLOCKS, keep_all, thinning, whole};
use super::runs::{LARGE, SMALL, killed};
use super::scenario::{Contents, Scenario, Size, mark_of};

use super::world::{BLOCK_BYTES, Block, DiskId, Operation, Snapshot, World};
use super::{left_out, streams};
use crate::ErrorKind;
use crate::journal::catalogue::{Point, PointId, PointKind};
use crate::journal::state::GroupState;
use crate::recover::{self, Recovery};

/// The result of a story: what is wrong.
pub(super) type Verdict = Result<(), String>;

/// A story, to be told for a seed.
pub(super) type Story = fn(u64, &Memory) -> Verdict;

/// Defines stories by name, with a test of each.
macro_rules! stories {
    ($($story:ident,)*) => {
        pub(super) const STORIES: &[(&str, $crate::sim::stories::Story)] =
            &[$((stringify!($story), $story)),*];

        mod told {
            $(
                #[test]
                fn $story() {
                    $crate::sim::stories::tell(super::$story);
                }
            )*
        }
    };
}
pub(super) use stories;

stories! {
    a_run_after_a_rollback_is_killed,
    a_state_is_put_back,
    a_state_is_put_back_in_the_middle,
    a_copy_is_lost,
    a_byte_rots,
    bytes_rot_and_points_are_thinned,
    a_volume_is_written_by_somebody_else,
    a_save_fails,
    operations_fail_one_after_the_other,
    many_volumes_are_thinned_in_little_room,
    points_are_forgotten_by_hand,
}

/// How many seeds each story is told for: more with MTCTL_SIM_SEEDS.
const SEEDS: u64 = 40;

/// The requested number of seeds.
pub(super) fn seeds(usual: u64) -> u64 {
    let asked = std::env::var("MTCTL_SIM_SEEDS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(usual)
}

/// Tells one story for all seeds.
pub(super) fn tell(story: Story) {
    let memory = Memory::new();
    for seed in 1..=seeds(SEEDS) {
        story(seed, &memory).map_err(|wrong| format!("seed {seed}: {wrong}")).unwrap();
    }
}

/// Tells all of them for one seed.
pub(super) fn told(seed: u64, memory: &Memory) -> Verdict {
    STORIES.iter().chain(streams::STORIES).chain(left_out::STORIES).try_for_each(|(name, story)| {
        story(seed, memory).map_err(|wrong| format!("seed {seed}, {name}: {wrong}"))
    })
}

pub(super) fn text(error: crate::Error) -> String {
    error.chain()
}

pub(super) fn require(is_so: bool, wrong: impl Into<String>) -> Verdict {
    is_so.then_some(()).ok_or_else(|| wrong.into())
}

/// The content of the volumes at `point`.
pub(super) fn held_at<'a>(scenario: &'a Scenario, point: &Point) -> Option<&'a Contents> {
    match point.kind {
        PointKind::Start => scenario.points.get(&0),
        PointKind::Crash | PointKind::App => scenario.points.get(&mark_of(point)?),
        PointKind::Break => None,
    }
}

/// A machine after all streams of a scenario were applied.
pub(super) fn applied(scenario: &Scenario, memory: &Memory) -> Result<Machine, String> {
    let machine = Machine::new(scenario.world(), keep_all(), memory);
    for stream in &scenario.streams {
        machine.apply(&[stream], &mut || {}).map_err(text)?;
    }
    Ok(machine)
}

/// The machine after `change` to everything on it.
pub(super) fn changed(machine: &Machine, change: impl FnOnce(&mut Snapshot)) -> Machine {
    let (mut now, room) = {
        let world = lock(&machine.world);
        (world.now.clone(), world.room_blocks)
    };
    change(&mut now);
    machine.on(World::from_snapshot(now, room))
}

/// Checks that every point in the machine's state reads as it was, or is refused.
pub(super) fn no_point_reads_otherwise(machine: &Machine, scenario: &Scenario) -> Verdict {
    let known = machine.state().map_err(text)?.journal;
    for point in known.iter().flat_map(|known| known.ways_back()) {
        let views = match machine.views(point.id) {
            Ok(views) => views,
            Err(error) if error.kind() == ErrorKind::Integrity => continue,
            Err(error) => return Err(text(error)),
        };
        let expected = held_at(scenario, point).ok_or("a point that was never made")?;
        for (view, expected) in views.iter().zip(expected) {
            match whole(view) {
                Ok(found) => {
                    require(found == *expected, format!("point {} has wrong bytes", point.id))?;
                }
                Err(error) => require(error.kind() == ErrorKind::Integrity, text(error))?,
            }
        }
    }
    Ok(())
}

/// Recovery from in-between leads back to where the volumes were, not to a point that was left
/// behind on purpose.
fn a_run_after_a_rollback_is_killed(seed: u64, memory: &Memory) -> Verdict {
    let size = Size { marks: 3, writes: 6, blocks: 8, ..SMALL };
    let scenario = Scenario::new(size, &mut Chance(seed));
    let machine = Machine::new(scenario.world(), keep_all(), memory);
    machine.apply(&[&scenario.streams[0]], &mut || {}).map_err(text)?;
    let left_behind = machine.state().map_err(text)?.journal.ok_or("no history")?.open_epoch();
    machine.rollback(PointId(1)).map_err(text)?;
    let held = machine.contents();
    let from = lock(&machine.world).operations.len();
    machine.apply(&[&scenario.streams[0]], &mut || {}).map_err(text)?;
    let world = lock(&machine.world).clone();
    let mut back = 0;
    for done in from..world.operations.len() {
        let machine = machine.on(killed(&world, done));
        let needed = recover::needed(machine.group().map_err(text)?.view());
        let Recovery::BackTo(to) = needed else { continue };
        let known = machine.state().map_err(text)?.journal.ok_or("no history")?;
        // If a point was made since, recovery goes back to that one.
        if known.open_epoch() > left_behind {
            continue;
        }
        require(to == PointId(1), format!("killed after operation {done}: it goes to {to}"))?;
        machine.rollback(to).map_err(text)?;
        require(machine.contents() == held, format!("killed after operation {done}"))?;
        back += 1;
    }
    require(back > 0, "nothing was in-between")
}

/// Both copies of the state are replaced by those of an earlier time: this is refused, or nothing
/// is lost, reused, or reads differently.
fn a_state_is_put_back(seed: u64, memory: &Memory) -> Verdict {
    let mut chance = Chance(seed);
    let scenario = Scenario::new(SMALL, &mut chance);
    let machine = applied(&scenario, memory)?;
    // Roll back, and continue from there; the state that is put back may still have the points
    // given up.
    let roll_back = match chance.below(2) {
        0 => Machine::rollback,
        _ => Machine::rollback_without_undo,
    };
    roll_back(&machine, PointId(1)).map_err(text)?;
    if chance.below(2) == 0 {
        let all: Vec<_> = scenario.streams.iter().map(|path| path.as_path()).collect();
        machine.apply(&all, &mut || {}).map_err(text)?;
    }
    let ids = |state: &GroupState| {
        let known = state.journal.iter().flat_map(|known| &known.points);
        known.map(|point| point.id).collect::<Vec<_>>()
    };
    let there = ids(&machine.state().map_err(text)?);
    let world = lock(&machine.world).clone();
    let mut earlier = Snapshot::default();
    let mut refused = 0;
    for operation in &world.operations {
        match operation {
            Operation::State(copy, text) => earlier.replace_state(*copy, text),
            Operation::AppendState(copy, text) => earlier.append_state(*copy, text),
            _ => continue,
        }
        let [Some(first), Some(_)] = &earlier.state else { continue };
        let both = [Some(Arc::clone(first)), Some(Arc::clone(first))];
        let machine = changed(&machine, |now| now.state = both);
        match machine.state() {
            Err(error) => {
                require(error.kind() == ErrorKind::Integrity, text(error))?;
                refused += 1;
            }
            Ok(state) => {
                let points = ids(&state);
                require(points == there, format!("{points:?} are there, and not {there:?}"))?;
                no_point_reads_otherwise(&machine, &scenario)?;
                let known = state.journal.ok_or("no history")?;
                let ways: Vec<_> = known.ways_back().collect();
                let to = ways[chance.below(ways.len())];
                machine.rollback(to.id).map_err(text)?;
                let is_there = Some(&machine.contents()) == held_at(&scenario, to);
                require(is_there, format!("a rollback to point {} leads elsewhere", to.id))?;
            }
        }
    }
    require(refused > 0, "no state of them was too old")
}

/// A process is killed anywhere, and both copies are replaced by those of any earlier time: this is
/// refused, or nothing reads differently, and a rollback is possible.
fn a_state_is_put_back_in_the_middle(seed: u64, memory: &Memory) -> Verdict {
    let mut chance = Chance(seed);
    let scenario = Scenario::new(Size { blocks: 6, ..LARGE }, &mut chance);
    let machine = applied(&scenario, memory)?;
    let world = lock(&machine.world).clone();
    for _ in 0..16 {
        let done = chance.below(world.operations.len()) + 1;
        let killed = machine.on(killed(&world, done));
        let mut earlier = Snapshot::default();
        for operation in &world.operations[..done] {
            match operation {
                Operation::State(copy, text) => earlier.replace_state(*copy, text),
                Operation::AppendState(copy, text) => earlier.append_state(*copy, text),
                _ => continue,
            }
            let [Some(first), _] = &earlier.state else { continue };
            let both = [Some(Arc::clone(first)), Some(Arc::clone(first))];
            let machine = changed(&killed, |now| now.state = both);
            let generation = machine.state().map(|state| state.generation()).ok();
            let told =
                |wrong| format!("killed after operation {done}, state {generation:?}: {wrong}");
            is_refused_or_right(&machine, &scenario, &mut chance).map_err(told)?;
        }
    }
    Ok(())
}

/// Checks that the machine's state is refused; or that each of its points reads as it was, and a
/// rollback is possible.
fn is_refused_or_right(machine: &Machine, scenario: &Scenario, chance: &mut Chance) -> Verdict {
    let known = match machine.state() {
        Ok(state) => state.journal,
        Err(error) => return require(error.kind() == ErrorKind::Integrity, text(error)),
    };
    let Some(known) = known else {
        // Nothing was overwritten by it.
        let is_untouched = machine.contents() == scenario.points[&0];
        return require(is_untouched, "what was overwritten is forgotten");
    };
    no_point_reads_otherwise(machine, scenario)?;
    let ways: Vec<_> = known.ways_back().collect();
    let to = ways[chance.below(ways.len())];
    let back = match machine.rollback(to.id) {
        // The state says that the volumes are at rest, but a later run has written to them.
        Err(error) if error.kind() == ErrorKind::Refused => machine.rollback_accepting(to.id),
        back => back,
    };
    match back {
        Ok(()) => {
            let is_there = Some(&machine.contents()) == held_at(scenario, to);
            require(is_there, format!("a rollback to point {} leads elsewhere", to.id))
        }
        Err(error) => require(error.kind() == ErrorKind::Integrity, text(error)),
    }
}

/// One copy is lost, or replaced by one of an earlier time: the other one has everything that was
/// reported. A save that is torn in both copies is refused.
fn a_copy_is_lost(seed: u64, memory: &Memory) -> Verdict {
    let scenario = Scenario::new(SMALL, &mut Chance(seed));
    let machine = applied(&scenario, memory)?;
    let whole = machine.state().map_err(text)?;
    let first = lock(&machine.world).operations.iter().find_map(|operation| match operation {
        Operation::State(_, text) => Some(Arc::clone(text)),
        _ => None,
    });
    for copy in [0, 1] {
        for instead in [None, first.clone()] {
            let told = format!("copy {copy} is {instead:?}");
            let machine = changed(&machine, |now| now.state[copy] = instead);
            let found = machine.state().map_err(text)?;
            require(found == whole, format!("the state is another one: {told}"))?;
            no_point_reads_otherwise(&machine, &scenario)?;
        }
    }
    let torn = |copy: &Option<Arc<str>>| {
        copy.as_deref().map(|text| format!("{text}{{\"generation\":").into())
    };
    let both = changed(&machine, |now| now.state = [torn(&now.state[0]), torn(&now.state[1])]);
    require(both.state().is_err(), "what is torn in both copies is believed")
}

/// A byte of a finished epoch rots: no view shows it, and a rollback that needs it touches nothing.
fn a_byte_rots(seed: u64, memory: &Memory) -> Verdict {
    let mut chance = Chance(seed);
    let scenario = Scenario::new(LARGE, &mut chance);
    let machine = applied(&scenario, memory)?;
    let known = machine.state().map_err(text)?.journal.ok_or("no history")?;
    let (_, over) = known.points.split_last().ok_or("no points")?;
    let spans: Vec<_> = over.iter().flat_map(|point| &point.spans).collect();
    for _ in 0..8 {
        let span = spans[chance.below(spans.len())];
        let block = chance.below(span.bytes as usize / BLOCK_BYTES);
        let byte = chance.below(BLOCK_BYTES);
        let machine = changed(&machine, |now| {
            let blocks = now.disks.get_mut(&DiskId::Segment(span.segment.0));
            let rotten: Option<&mut Block> = blocks.and_then(|blocks| blocks.get_mut(block));
            if let Some(rotten) = rotten {
                Arc::make_mut(rotten)[byte] ^= 0x40;
            }
        });
        no_point_reads_otherwise(&machine, &scenario)?;
        for point in known.ways_back() {
            let machine = changed(&machine, |_| {});
            let before = machine.contents();
            match machine.rollback(point.id) {
                Ok(()) => {
                    let is_there = Some(&machine.contents()) == held_at(&scenario, point);
                    require(is_there, format!("a rollback to point {} is wrong", point.id))?;
                }
                Err(error) => {
                    require(error.kind() == ErrorKind::Integrity, text(error))?;
                    let state = machine.state().map_err(text)?.journal;
                    let is_begun = state.is_some_and(|known| known.rolling_back_to.is_some());
                    let is_as_it_was = machine.contents() == before && !is_begun;
                    require(is_as_it_was, "what cannot be done was begun")?;
                }
            }
        }
    }
    Ok(())
}

/// Bytes of old epochs rot before these are merged: new data is applied anyway, and no point reads
/// differently, even if the process is killed then.
fn bytes_rot_and_points_are_thinned(seed: u64, memory: &Memory) -> Verdict {
    let mut chance = Chance(seed);
    let size = Size { marks: 8, streams: 3, ..LARGE };
    let scenario = Scenario::new(size, &mut chance);
    let machine = Machine::new(scenario.world(), thinning(), memory);
    machine.apply(&[&scenario.streams[0]], &mut || {}).map_err(text)?;
    let known = machine.state().map_err(text)?.journal.ok_or("no history")?;
    let (_, over) = known.points.split_last().ok_or("no points")?;
    let spans = over.iter().flat_map(|point| &point.spans);
    let rotten: Vec<_> = spans.filter(|_| chance.below(2) == 0).collect();
    let machine = changed(&machine, |now| {
        for span in rotten {
            let block = chance.below(span.bytes as usize / BLOCK_BYTES);
            let blocks = now.disks.get_mut(&DiskId::Segment(span.segment.0));
            if let Some(rotten) = blocks.and_then(|blocks| blocks.get_mut(block)) {
                Arc::make_mut(rotten)[chance.below(BLOCK_BYTES)] ^= 0x40;
            }
        }
    });
    for stream in &scenario.streams[1..] {
        machine.apply(&[stream], &mut || {}).map_err(text)?;
    }
    require(machine.contents() == *scenario.end(), "what is new was not applied")?;
    let world = lock(&machine.world).clone();
    for done in 0..=world.operations.len() {
        let machine = machine.on(killed(&world, done));
        no_point_reads_otherwise(&machine, &scenario)
            .map_err(|wrong| format!("killed after operation {done}: {wrong}"))?;
    }
    Ok(())
}

/// The volumes are committed at a point, but were changed since then: that is refused.
fn a_volume_is_written_by_somebody_else(seed: u64, memory: &Memory) -> Verdict {
    let scenario = Scenario::new(SMALL, &mut Chance(seed));
    let machine = applied(&scenario, memory)?;
    machine.rollback(PointId(1)).map_err(text)?;
    let written = changed(&machine, |now| {
        let blocks = now.disks.get_mut(&DiskId::Volume(0)).into_iter().flatten();
        blocks.for_each(|block| Arc::make_mut(block)[7] ^= 1);
    });
    let refused = written.commit().err().ok_or("what is not at the point was accepted")?;
    require(refused.kind() == ErrorKind::Integrity, text(refused))?;
    machine.commit().map_err(text)
}

/// A process that survives a failed save has the same state in memory as on the disk, and no more.
fn a_save_fails(seed: u64, memory: &Memory) -> Verdict {
    let scenario = Scenario::new(SMALL, &mut Chance(seed));
    let machine = applied(&scenario, memory)?;
    let mut group = machine.group().map_err(text)?;
    let before = machine.state().map_err(text)?;
    {
        let mut world = lock(&machine.world);
        world.fails = world.done..world.done + 1;
    }
    require(group.pin(PointId(1), true).is_err(), "the save did not fail")?;
    machine.is_repaired();
    let known = |state: &crate::journal::state::GroupState| state.journal.clone();
    require(known(group.view().state()) == known(&before), "memory is ahead of the disk")
}

/// One operation, or two or three in a row, fail anywhere: each point reads as it was, and the same
/// streams lead on.
fn operations_fail_one_after_the_other(seed: u64, memory: &Memory) -> Verdict {
    let scenario = Scenario::new(SMALL, &mut Chance(seed));
    let total = lock(&applied(&scenario, memory)?.world).done;
    // All places, over some seeds.
    for at in (seed as usize % 10..total).step_by(10) {
        for count in 1..=3 {
            let machine = Machine::new(scenario.world(), keep_all(), memory);
            lock(&machine.world).fails = at..at + count;
            let streams: Vec<_> = scenario.streams.iter().map(|path| path.as_path()).collect();
            let _ = machine.apply(&streams, &mut || {});
            machine.is_repaired();
            let told = |wrong| format!("{count} operations failed, from {at} on: {wrong}");
            no_point_reads_otherwise(&machine, &scenario).map_err(told)?;
            machine.apply(&streams, &mut || {}).map_err(text).map_err(told)?;
            let is_there = machine.contents() == *scenario.end();
            require(is_there, "it leads elsewhere").map_err(told)?;
            no_point_reads_otherwise(&machine, &scenario).map_err(told)?;
        }
    }
    Ok(())
}

/// More volumes than memory for records, and the memory comes back late; points expire by age, and
/// are given up for lack of room: the remaining ones read as they were, wherever the process is
/// killed.
fn many_volumes_are_thinned_in_little_room(seed: u64, memory: &Memory) -> Verdict {
    let mut chance = Chance(seed);
    let room_blocks = (16 + chance.below(16)) * SEGMENT_BLOCKS;
    let size = Size { volumes: 12, blocks: 3, marks: 8, writes: 12, room_blocks, ..SMALL };
    let scenario = Scenario::new(size, &mut chance);
    let machine = Machine::new(scenario.world(), thinning(), memory);
    for stream in &scenario.streams {
        machine.apply(&[stream], &mut || {}).map_err(text)?;
    }
    require(machine.contents() == *scenario.end(), "it leads elsewhere")?;
    let world = lock(&machine.world).clone();
    for done in (chance.below(20)..world.operations.len()).step_by(20) {
        let machine = machine.on(killed(&world, done));
        no_point_reads_otherwise(&machine, &scenario)
            .map_err(|wrong| format!("killed after operation {done}: {wrong}"))?;
    }
    let known = machine.state().map_err(text)?.journal.ok_or("no history")?;
    let made = scenario.points.len();
    require(known.ways_back().count() < made, "no point went")?;
    super::machine::is_whole(&machine)
}

/// Points are forgotten by hand, and the process is killed anywhere: all points in the state are
/// intact.
pub(super) fn points_are_forgotten_by_hand(seed: u64, memory: &Memory) -> Verdict {
    let mut chance = Chance(seed);
    let scenario = Scenario::new(Size { marks: 6, ..SMALL }, &mut chance);
    let machine = applied(&scenario, memory)?;
    let known = machine.state().map_err(text)?.journal.ok_or("no history")?;
    let (_, older) = known.points.split_last().ok_or("no points")?;
    let mut ids: Vec<_> = older.iter().map(|point| point.id).collect();
    ids.retain(|_| chance.below(2) == 0);
    let from = lock(&machine.world).operations.len();
    machine.forget(&ids).map_err(text)?;
    let world = lock(&machine.world).clone();
    for done in from..=world.operations.len() {
        let machine = machine.on(killed(&world, done));
        let known = machine.state().map_err(text)?.journal.ok_or("no history")?;
        for point in known.ways_back() {
            let expected = held_at(&scenario, point).ok_or("a point that was never made")?;
            let found = machine.at(point.id).map_err(text);
            let found = found.map_err(|wrong| format!("killed after operation {done}: {wrong}"))?;
            require(found == *expected, format!("point {} has wrong bytes", point.id))?;
        }
    }
    let left = machine.state().map_err(text)?.journal.ok_or("no history")?;
    require(ids.iter().all(|id| left.point(*id).is_none()), "a point is still there")?;
    super::machine::is_whole(&machine)
}
