//! Runs of scenarios: power cuts at every possible place, kills, failures and stops, and checks of
//! what is left. A failing run reports its seed, and what was wrong.
#![cfg(test)]

use std::ops::Range;
use std::path::Path;

use super::chance::Chance;
use super::cuts;
use super::disk::lock;
use super::machine::{Machine, Memory, SEGMENT_BLOCKS, whole};
use super::scenario::{Contents, Scenario, Size, mark_of};
use super::world::{Operation, Shape, Snapshot, World};
use crate::ErrorKind;
use crate::journal::catalogue::{Catalogue, Point, PointId, PointKind};
use crate::journal::retention::Policy;

/// A run is told to stop after fewer events than this.
const STOPS_AFTER_MAX: usize = 12;

/// The result of checking a state: what is wrong with it.
type Verdict = Result<(), String>;

pub(super) const SMALL: Size = Size {
    shape: Shape::PLAIN,
    volumes: 1,
    blocks: 4,
    streams: 2,
    marks: 2,
    writes: 3,
    room_blocks: 512,
    goes_on: true,
    source_clock_jumps: false,
};
pub(super) const LARGE: Size =
    Size { volumes: 2, blocks: 12, marks: 3, writes: 6, room_blocks: 2048, ..SMALL };
/// Room for only a few segments: points have to be given up.
pub(super) const TIGHT: Size =
    Size { blocks: 6, marks: 4, room_blocks: 6 * SEGMENT_BLOCKS, ..SMALL };
/// More points than are kept at any age.
pub(super) const MANY_POINTS: Size = Size { marks: 8, ..SMALL };
/// The end of the first stream is its last point, and is accepted.
pub(super) const ACCEPTED: Size = Size { goes_on: false, ..SMALL };

/// What is done with the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Apply,
    ApplyAndRollBack,
    /// Also rolls back without keeping what is overwritten.
    ApplyAndBreakOff,
    ApplyAndCommitAndApply,
}

/// One run, with what was reported as durable on the way: pairs of the number of operations, and of
/// streams.
pub(super) struct Run {
    plan: Plan,
    scenario: Scenario,
    machine: Machine,
    told: Vec<(usize, u64)>,
    /// The content at points that were made by hand; each is named by its index here.
    by_hand: Vec<Contents>,
    /// The identity of the first history.
    first: [u8; 16],
    chance: Chance,
    pub(super) states: u64,
}

pub(super) fn run(
    plan: Plan,
    size: Size,
    policy: Policy,
    seed: u64,
    memory: &Memory,
) -> Result<Run, String> {
    let mut chance = Chance(seed);
    let scenario = Scenario::new(size, &mut chance);
    let machine = Machine::new(scenario.world(), policy, memory);
    let (told, by_hand, first, states) = (Vec::new(), Vec::new(), [0; 16], 0);
    let mut run = Run { plan, scenario, machine, told, by_hand, first, chance, states };
    run.play().map_err(|error| format!("seed {seed}: {error}"))?;
    Ok(run)
}

/// Whether it succeeded; if there is no room for the history, everything stops, and that is
/// correct. For a rollback this may be known beforehand.
fn is_full_at_worst(done: Verdict) -> Result<bool, String> {
    let told = ["the retention volume is full", "is pinned, so no more may be given up"];
    match done {
        Ok(()) => Ok(true),
        Err(why) if told.iter().any(|told| why.contains(told)) => Ok(false),
        Err(why) => Err(why),
    }
}

fn text(error: crate::Error) -> String {
    text_of(&error)
}

fn text_of(error: &crate::Error) -> String {
    error.chain()
}

impl Run {
    fn play(&mut self) -> Verdict {
        let streams = self.scenario.streams.clone();
        for (number, stream) in streams.iter().enumerate() {
            if number == 1 && self.plan == Plan::ApplyAndCommitAndApply {
                self.machine.commit().map_err(text)?;
            }
            if !self.apply_looking_back(stream)? {
                return Ok(());
            }
            let done = lock(&self.machine.world).operations.len();
            self.told.push((done, number as u64 + 1));
            if number == 0 {
                let known = self.machine.state().map_err(text)?.journal;
                self.first = known.map_or([0; 16], |known| known.identity);
                if self.chance.below(2) == 0 && self.plan == Plan::Apply {
                    let kept = self.machine.state().map_err(text)?.journal;
                    let kept: Vec<_> = kept.iter().flat_map(|k| k.recovery_points()).collect();
                    let one = kept[self.chance.below(kept.len())].id;
                    self.machine.pin(one).map_err(text)?;
                }
            }
        }
        if self.plan == Plan::ApplyAndRollBack || self.plan == Plan::ApplyAndBreakOff {
            for _ in 0..2 {
                let to = self.some_point(&self.machine.clone())?;
                let breaks_off = self.plan == Plan::ApplyAndBreakOff && self.chance.below(3) > 0;
                let roll_back =
                    if breaks_off { Machine::rollback_without_undo } else { Machine::rollback };
                roll_back(&self.machine, to).map_err(text)?;
                self.holds(&self.machine, self.expected(&self.machine, to)?)?;
                if self.plan == Plan::ApplyAndBreakOff {
                    let streams: Vec<_> = streams.iter().map(|path| path.as_path()).collect();
                    self.machine.apply(&streams, &mut || {}).map_err(text)?;
                    self.holds(&self.machine, self.scenario.end())?;
                }
            }
        }
        Ok(())
    }

    /// Applies a stream, while a reader looks at the first point all the time.
    fn apply_looking_back(&mut self, stream: &Path) -> Result<bool, String> {
        let before = self.machine.state().map_err(text)?.journal;
        let oldest = before.and_then(|known| known.points.first().cloned());
        let views = match &oldest {
            Some(point) => self.machine.views(point.id).map_err(text)?,
            None => Vec::new(),
        };
        let expected = oldest.map(|point| self.expected(&self.machine, point.id)).transpose()?;
        let mut wrong = None;
        let applied = self
            .machine
            .apply(&[stream], &mut || {
                for (view, expected) in views.iter().zip(expected.into_iter().flatten()) {
                    match whole(view) {
                        Ok(found) if found == *expected => {}
                        Ok(_) => wrong = Some("a view changed".to_owned()),
                        // It is reported, and nothing else is read instead.
                        Err(error) if text_of(&error).contains("has expired") => {}
                        Err(error) => wrong = Some(text(error)),
                    }
                }
            })
            .map_err(text);
        let is_complete = is_full_at_worst(applied)?;
        wrong.map_or(Ok(is_complete), Err)
    }

    fn some_point(&mut self, machine: &Machine) -> Result<PointId, String> {
        let known = machine.state().map_err(text)?.journal.ok_or("no history")?;
        let ways: Vec<_> = known.ways_back().collect();
        Ok(ways[self.chance.below(ways.len())].id)
    }

    /// What `point` of the history on `machine` must hold. Points are identified by the names of
    /// their marks: a mark that not all volumes were at has no point.
    fn expected(&self, machine: &Machine, point: PointId) -> Result<&Contents, String> {
        let known = machine.state().map_err(text)?.journal.ok_or("no history")?;
        self.expected_of(&known, point)
    }

    /// What a point of the history `known` holds.
    fn expected_of(&self, known: &Catalogue, point: PointId) -> Result<&Contents, String> {
        let found = known.point(point).ok_or("no such point")?;
        let number = match found.kind {
            PointKind::Start if self.plan != Plan::ApplyAndCommitAndApply => 0,
            PointKind::Start if known.identity == self.first || self.first == [0; 16] => 0,
            // The second history begins with the accepted content: the last point of the first.
            PointKind::Start => self.scenario.size.marks as u64,
            PointKind::Crash => mark_of(found).ok_or("a name that nobody gave")?,
            PointKind::App => {
                let place = found.name.as_ref().and_then(|place| place.parse::<usize>().ok());
                let made = place.and_then(|place| self.by_hand.get(place));
                return made.ok_or_else(|| "a point that nobody made".to_owned());
            }
            PointKind::Break => return Err("nobody goes to where the history breaks off".into()),
        };
        let found = self.scenario.points.get(&number);
        found.ok_or_else(|| format!("point {point} was never made"))
    }

    fn holds(&self, machine: &Machine, expected: &Contents) -> Verdict {
        match machine.contents() == *expected {
            true => Ok(()),
            false => Err("the volumes hold something else".to_owned()),
        }
    }

    fn reads(&self, machine: &Machine, known: &Catalogue, point: PointId) -> Verdict {
        let found = machine.at(point).map_err(|error| format!("point {point}: {}", text(error)))?;
        let expected = self.expected_of(known, point)?;
        // Compared as a whole first: it is equal a million times, and comparing byte by byte is
        // slow.
        if found == *expected {
            return Ok(());
        }
        let pairs = found.iter().flatten().zip(expected.iter().flatten());
        match pairs.enumerate().find(|(_, (one, other))| one != other) {
            None => Ok(()),
            Some((byte, _)) => Err(format!("point {point} has wrong bytes from byte {byte} on")),
        }
    }

    /// Checks what must hold whatever was left: points read as they were, and what was reported is
    /// there.
    fn look(&mut self, machine: &Machine, done: usize) -> Verdict {
        let state = machine.state().map_err(text)?;
        let told = self.told.iter().rev().find(|(operations, _)| *operations <= done);
        if let (Some((_, streams)), Plan::Apply) = (told, self.plan) {
            let known = state.volumes.get("v0").map_or(0, |volume| volume.applied.len() as u64);
            if known < *streams {
                return Err(format!("{streams} streams were told as durable, and {known} are"));
            }
        }
        let Some(known) = state.journal else { return Ok(()) };
        if let Some(to) = known.rolled_back_to {
            self.holds(machine, self.expected_of(&known, to)?)?;
        }
        let ways: Vec<_> = known.ways_back().collect();
        let one = self.chance.below(ways.len());
        for point in [0, one].iter().take(if one == 0 { 1 } else { 2 }) {
            self.reads(machine, &known, ways[*point].id)?;
        }
        Ok(())
    }

    /// Makes a point by hand, if allowed: it holds what the volumes do.
    fn make_a_point(&mut self, machine: &Machine) -> Verdict {
        let name = self.by_hand.len().to_string();
        self.by_hand.push(machine.contents());
        match machine.point(name) {
            Ok(_) => Ok(()),
            // In the middle of a stream, or of a rollback; or before anything was applied.
            Err(error) if matches!(error.kind(), ErrorKind::Refused | ErrorKind::Usage) => Ok(()),
            Err(error) => is_full_at_worst(Err(text(error))).map(drop),
        }
    }

    /// Checks that what an operator can do next leads to the right result.
    fn go_on(&mut self, machine: &Machine) -> Verdict {
        if self.chance.below(4) == 0 {
            self.make_a_point(machine)?;
        }
        let state = machine.state().map_err(text)?;
        let is_rolling = state.journal.as_ref().is_some_and(|k| k.rolling_back_to.is_some());
        let was_rolled = state.journal.as_ref().is_some_and(|k| k.rolled_back_to.is_some());
        let goes_on = !was_rolled || self.plan == Plan::ApplyAndBreakOff;
        let may_apply = !is_rolling && goes_on && self.plan != Plan::ApplyAndCommitAndApply;
        if may_apply && self.chance.below(3) > 0 {
            let streams: Vec<_> = self.scenario.streams.iter().map(|p| p.as_path()).collect();
            if is_full_at_worst(machine.apply(&streams, &mut || {}).map_err(text))? {
                self.holds(machine, self.scenario.end())?;
            }
        } else if state.journal.is_some() {
            let to = self.some_point(machine)?;
            let breaks_off = self.plan == Plan::ApplyAndBreakOff && self.chance.below(2) == 0;
            let roll_back =
                if breaks_off { Machine::rollback_without_undo } else { Machine::rollback };
            if is_full_at_worst(roll_back(machine, to).map_err(text))? {
                self.holds(machine, self.expected(machine, to)?)?;
            }
        }
        let known = machine.state().map_err(text)?.journal;
        if let Some(known) = &known {
            known.ways_back().try_for_each(|point| self.reads(machine, known, point.id))?;
        }
        super::machine::is_whole(machine)
    }

    /// Loses both copies of the state: the rebuilt state has every point that the state had, and
    /// each reads as it was; a rollback leads to it.
    fn lose_the_state(&mut self, machine: &Machine) -> Verdict {
        let Some(had) = machine.state().map_err(text)?.journal else { return Ok(()) };
        if had.points.iter().all(|point| point.spans.is_empty()) {
            // Nothing was overwritten yet, and only the state has the beginning.
            return Ok(());
        }
        machine.rebuild().map_err(text)?;
        let has = machine.state().map_err(text)?.journal.ok_or("no history")?;
        if has.open_epoch() != had.open_epoch() {
            let (has, had) = (has.open_epoch(), had.open_epoch());
            return Err(format!("the last point is {has}, and was {had}"));
        }
        for point in had.all() {
            let again = has.point(point.id).ok_or_else(|| format!("point {} is lost", point.id))?;
            let told = |one: &Point| (one.time, one.kind, one.name.clone());
            if told(again) != told(point) {
                return Err(format!("point {} is another one: {again:?}", point.id));
            }
        }
        for point in has.ways_back() {
            self.reads(machine, &has, point.id)?;
        }
        let to = self.some_point(machine)?;
        if is_full_at_worst(machine.rollback(to).map_err(text))? {
            self.holds(machine, self.expected(machine, to)?)?;
        }
        super::machine::is_whole(machine)
    }

    /// Cuts the power everywhere; continues from one state in `every`, and cuts it there again.
    pub(super) fn cut(&mut self, every: usize) -> Verdict {
        let world = lock(&self.machine.world).clone();
        let mut chance = self.chance;
        let mut verdict = Ok(());
        cuts::visit(&world, 0, &mut chance, &mut |done, left| {
            self.states += 1;
            verdict = self.one_state(done, left, every);
            verdict = std::mem::replace(&mut verdict, Ok(()))
                .map_err(|wrong| format!("cut after operation {done}: {wrong}"));
            verdict.is_ok()
        });
        verdict
    }

    fn one_state(&mut self, done: usize, left: Snapshot, every: usize) -> Verdict {
        let machine = self.machine.after(left.clone(), true);
        self.look(&machine, done)?;
        if self.chance.below(every) != 0 {
            return Ok(());
        }
        if self.chance.below(4) == 0 {
            self.lose_the_state(&self.machine.after(left.clone(), true))
                .map_err(|wrong| format!("without its state: {wrong}"))?;
        }
        let machine = self.machine.after(left, false);
        self.go_on(&machine).map_err(|wrong| format!("going on: {wrong}"))?;
        self.cut_again(&machine, 0)
    }

    /// Cuts the power while `machine` continued, after its operation `from`.
    fn cut_again(&mut self, machine: &Machine, from: usize) -> Verdict {
        let world = lock(&machine.world).clone();
        let mut chance = self.chance;
        self.chance.any();
        let mut verdict = Ok(());
        cuts::visit(&world, from, &mut chance, &mut |done, left| {
            self.states += 1;
            let machine = self.machine.after(left, true);
            verdict = self.look(&machine, 0);
            if verdict.is_ok() && self.chance.below(16) == 0 {
                verdict = self.go_on(&machine).map_err(|wrong| format!("going on: {wrong}"));
            }
            verdict = std::mem::replace(&mut verdict, Ok(()))
                .map_err(|wrong| format!("cut again after operation {done}: {wrong}"));
            verdict.is_ok()
        });
        verdict
    }

    /// Kills the process at some places: its caches stay, another process continues, and then the
    /// power is cut.
    pub(super) fn kill(&mut self, kills: usize) -> Verdict {
        let world = lock(&self.machine.world).clone();
        for _ in 0..kills {
            let done = 1 + self.chance.below(world.operations.len());
            let machine = self.machine.on(killed(&world, done));
            let told = |wrong| format!("killed after operation {done}: {wrong}");
            self.look(&machine, done).map_err(told)?;
            self.go_on(&machine).map_err(told)?;
            self.cut_again(&machine, done).map_err(told)?;
        }
        Ok(())
    }

    /// Makes writes and flushes, or reads, fail at some places; then everything is repaired, and
    /// the run continues.
    pub(super) fn fail(&mut self, times: usize) -> Verdict {
        let (total, reads) = {
            let world = lock(&self.machine.world);
            (world.done, world.reads)
        };
        for _ in 0..times {
            let mut world = self.scenario.world();
            let is_read = self.chance.below(3) == 0;
            let at = self.chance.below(if is_read { reads } else { total });
            let failed = failures(at, &mut self.chance);
            let told = match is_read {
                true => &mut world.reads_fail,
                false => &mut world.fails,
            };
            told.clone_from(&failed);
            let what = if is_read { "reads" } else { "operations" };
            let told = |wrong| format!("{what} {failed:?} failed: {wrong}");
            let machine = self.machine.on(world);
            let streams: Vec<_> = self.scenario.streams.iter().map(|p| p.as_path()).collect();
            // It may succeed as well, if the last failure is behind it.
            let _ = machine.apply(&streams, &mut || {});
            machine.is_repaired();
            self.look(&machine, 0).map_err(told)?;
            self.go_on(&machine).map_err(told)?;
            self.cut_again(&machine, 0).map_err(told)?;
        }
        Ok(())
    }

    /// Tells the run to stop, at some places, and continues.
    pub(super) fn stop(&mut self, times: usize) -> Verdict {
        let streams = self.scenario.streams.clone();
        let streams: Vec<_> = streams.iter().map(|path| path.as_path()).collect();
        for _ in 0..times {
            let machine = self.machine.on(self.scenario.world());
            let after = self.chance.below(STOPS_AFTER_MAX);
            let told = |wrong| format!("stopped after {after} events: {wrong}");
            is_full_at_worst(machine.apply_stopping(&streams, after).map_err(text))
                .map_err(told)?;
            self.look(&machine, 0).map_err(told)?;
            self.go_on(&machine).map_err(told)?;
            self.cut_again(&machine, 0).map_err(told)?;
        }
        Ok(())
    }
}

/// One, some, or all operations from `at` on.
pub(super) fn failures(at: usize, chance: &mut Chance) -> Range<usize> {
    let count = match chance.below(3) {
        0 => 1,
        1 => 2 + chance.below(6),
        _ => usize::MAX - at,
    };
    at..at + count
}

/// The world left by a process that was killed after `done` operations.
pub(super) fn killed(world: &World, done: usize) -> World {
    let mut now = world.start.clone();
    for operation in &world.operations[..done] {
        match operation {
            Operation::Write { disk, block, content } => {
                if let Some(blocks) = now.disks.get_mut(disk) {
                    blocks[*block] = content.clone();
                }
            }
            Operation::Flush { .. } => {}
            Operation::Create { disk, content } => drop(now.disks.insert(*disk, content.clone())),
            Operation::Remove(disk) => now.garbage.extend(now.disks.remove(disk)),
            Operation::State(copy, text) => now.replace_state(*copy, text),
            Operation::AppendState(copy, text) => now.append_state(*copy, text),
        }
    }
    let (start, operations) = (world.start.clone(), world.operations[..done].to_vec());
    World { start, now, operations, room_blocks: world.room_blocks, ..World::default() }
}
