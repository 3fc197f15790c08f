//! What is recorded of a run: how far each volume is, and the recovery points that were reached.
//! One change of the group's state, so that both are there after a crash, or neither.

use std::time::Instant;

use super::{Input, Session};
use crate::Result;
use crate::apply::Event;
use crate::apply::volumes::{AllFlushed, Volumes};
use crate::bug::{self, Bug};
use crate::group::Group;
use crate::group::state::{Fingerprint, GroupState, InBetween, exact};
use crate::journal::catalogue::{Catalogue, Forgotten, NewPoint, PointId, PointKind, Span};
use crate::journal::keeper::{Keeper, catalogue};
use crate::stream::{Format, Mark, MarkKind, Name, StreamHeader};

/// When something is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// The input goes on.
    OnTheWay,
    /// The input was applied to its end.
    InputComplete,
    /// The run ends, and nothing is written after this.
    AtTheEnd,
}

/// What became of a volume.
struct Update {
    name: String,
    target: String,
    target_bytes: u64,
    source_bytes: Option<u64>,
    /// The stream ended, here.
    ends_at: Option<Option<String>>,
    was_replaced: bool,
    input: Fingerprint,
    position: u64,
}

impl Session<'_> {
    /// Records how far the input was applied (BARRIER 3), and makes the points of this place.
    pub(super) fn record(&mut self, _proof: AllFlushed, when: When) -> Result<()> {
        let is_whole = self.make_points_only_if_whole(when);
        let (Some(group), Some(input)) = (&mut self.group, &mut self.input) else {
            self.summary.recovery_points += self.points.drain(..).count() as u64;
            return Ok(());
        };
        let complete = when == When::InputComplete;
        // A stream without changes has begun nothing, but the volume is at its end now.
        if !(input.is_marked || complete || input.ended.is_some()) && self.points.is_empty() {
            return Ok(());
        }
        let updates = updates(input, &mut self.volumes, when);
        let change = |state: &mut GroupState| {
            updates.iter().for_each(|update| update.make(state, when));
        };
        if self.options.dry_run {
            self.summary.recovery_points += self.points.drain(..).count() as u64;
            group.suppose(change);
            return Ok(());
        }
        if !is_whole && self.volumes.keeper().is_some() {
            self.points.clear();
        }
        let made = self.points.len() as u64;
        match self.volumes.keeper() {
            None => group.update(change)?,
            Some(keeper) => {
                record_with_history(group, keeper, &mut self.points, change)?;
                if made > 0 {
                    self.point_made = Instant::now();
                }
            }
        }
        self.points.clear();
        self.summary.recovery_points += made;
        self.tell_notes();
        Ok(())
    }

    /// A point is one of all volumes: not while one has failed, or is ahead of the others, or was
    /// left half written by another run.
    fn make_points_only_if_whole(&mut self, when: When) -> bool {
        let Some(input) = &self.input else { return true };
        let volumes = &mut self.volumes;
        let known = self.group.as_ref().map(|group| &group.state().volumes);
        let behind = input.route.iter().any(|index| {
            let volume = volumes.get(*index);
            // Who was at the end of the input before is ahead of the others until they are, too.
            let last = known.and_then(|known| known.get(volume.label())?.applied.last());
            let is_at_the_end = volume.applied_to == u64::MAX
                && when == When::InputComplete
                && last == Some(&input.fingerprint);
            let is_ahead = volume.applied_to > input.consumed && !is_at_the_end;
            // Between two marks something is recorded: what was written without being recorded is
            // from before the next mark, but after this one.
            let is_unsure = volume.unsure_from.is_some_and(|from| input.consumed <= from);
            volume.has_failed() || is_ahead || (is_unsure && !is_at_the_end)
        });
        let in_stream: Vec<_> =
            input.route.iter().map(|index| volumes.get(*index).label().to_owned()).collect();
        let others = self.group.iter().flat_map(|group| &group.state().volumes);
        let half = others
            .filter(|(name, _)| !in_stream.contains(name))
            .any(|(_, volume)| volume.in_between.as_ref().is_some_and(|between| !between.exact));
        let is_whole = !behind && !half;
        if !self.points.is_empty() && volumes.keeper().is_some() {
            if !is_whole && !self.has_told_not_whole {
                let text = "no recovery point is made here: not all volumes of the group are at it";
                (self.observe)(Event::Warning(text));
            }
            self.has_told_not_whole = !is_whole;
        }
        is_whole
    }

    /// Tells what the history has to say, and once a run what will not fit.
    pub(super) fn tell_notes(&mut self) {
        let Some(keeper) = self.volumes.keeper() else { return };
        let mut notes = keeper.take_notes();
        let known = self.group.as_ref().and_then(|group| catalogue(group).ok());
        if let Some(warning) = known.and_then(|known| keeper.forecast(known)) {
            if !std::mem::replace(&mut self.has_told_forecast, true) {
                notes.push(warning);
            }
        }
        for note in notes {
            (self.observe)(Event::Warning(&note));
        }
    }
}

/// Makes `points`, and changes the state by `change`: at once.
///
/// Before it, the segment of the new epoch is durable; a crash between the two leaves a segment of
/// no point, and `points` stay where they are: what is recorded at the end of the run must not be
/// past a mark without its point. After it, segments of points that are no more are removed; a
/// crash before that leaves them to the next open.
fn record_with_history(
    group: &mut Group,
    keeper: &mut Keeper,
    points: &mut Vec<NewPoint>,
    change: impl Fn(&mut GroupState),
) -> Result<()> {
    let mut ended = None;
    if !points.is_empty() {
        let mut next = group.state().clone();
        change(&mut next);
        let last = catalogue(group)?.next_point + points.len() as u64 - 1;
        ended = Some(keeper.begin_epoch(group, PointId(last), &next.progress())?);
    }
    let points = std::mem::take(points);
    let mut forgotten = Forgotten::default();
    let is_early = bug::is_planted(Bug::UnlinkBeforeState);
    if is_early {
        let mut early = catalogue(group)?.clone();
        seal(&mut early, keeper, points.clone(), ended.clone());
        let due = keeper.due(&early);
        keeper.remove(&early.forget(&due).unneeded);
    }
    group.update(|state| {
        change(state);
        let Some(catalogue) = &mut state.journal else { return };
        seal(catalogue, keeper, points, ended);
        forgotten = catalogue.forget(&keeper.due(catalogue));
        keeper.note_window(catalogue);
    })?;
    keeper.clean_up(group, &forgotten)
}

fn seal(
    catalogue: &mut Catalogue,
    keeper: &Keeper,
    points: Vec<NewPoint>,
    ended: Option<Vec<Span>>,
) {
    // Between several points of one place there is nothing.
    let mut spans = ended.unwrap_or_default();
    for point in points {
        catalogue.seal(std::mem::take(&mut spans), point, keeper.now());
    }
    catalogue.go_on();
    keeper.describe(catalogue);
}

/// What becomes of the volumes of `input`.
fn updates(input: &mut Input, volumes: &mut Volumes, when: When) -> Vec<Update> {
    let ended = input.ended.take().is_some();
    let mut updates = Vec::new();
    for (index, header) in input.route.iter().zip(&input.header.volumes) {
        let volume = volumes.get(*index);
        if volume.has_failed() {
            continue;
        }
        volume.applied_to = volume.applied_to.max(input.consumed);
        if volume.applied_to == u64::MAX {
            continue;
        }
        updates.push(Update {
            name: volume.label().to_owned(),
            target: volume.identity().to_owned(),
            target_bytes: volume.capacity().get(),
            source_bytes: header.size.map(crate::units::ByteCount::get),
            ends_at: ended.then(|| header.to.as_ref().map(exact)),
            was_replaced: when == When::InputComplete && input.header.format == Format::Raw,
            input: input.fingerprint.clone(),
            position: volume.applied_to,
        });
    }
    updates
}

impl Update {
    fn make(&self, state: &mut GroupState, when: When) {
        let known = state.volumes.entry(self.name.clone()).or_default();
        known.target = Some(self.target.clone());
        known.target_bytes = self.target_bytes;
        known.source_bytes = self.source_bytes.or(known.source_bytes);
        if let Some(ends_at) = &self.ends_at {
            known.ends_at = ends_at.clone();
        }
        if self.was_replaced {
            // It replaced all that was there: what was applied before may come again.
            known.applied.clear();
        }
        let (input, position) = (self.input.clone(), self.position);
        match when {
            When::InputComplete => known.complete(input),
            When::OnTheWay | When::AtTheEnd => {
                let exact = when == When::AtTheEnd;
                known.in_between = Some(InBetween { input, position, exact });
            }
        }
    }
}

/// The point of a mark.
pub(super) fn of_mark(mark: Mark) -> NewPoint {
    let kind = match mark.kind {
        MarkKind::CrashConsistent => PointKind::Crash,
        MarkKind::ApplicationConsistent => PointKind::App,
    };
    NewPoint { time: mark.time.0, kind, name: mark.name.as_ref().map(exact) }
}

/// The point that a stream without marks ends at: named as the snapshot is, if all its volumes have
/// the same.
pub(super) fn of_end(header: &StreamHeader, now: u64) -> NewPoint {
    let mut names = header.volumes.iter().map(|volume| volume.to.as_ref());
    let first: Option<&Name> = names.next().flatten();
    let name = first.filter(|_| names.all(|name| name == first)).map(exact);
    NewPoint { time: now, kind: PointKind::Crash, name }
}
