//! What a run reports to its group: the progress of each volume, and the recovery points that were
//! reached.

use std::time::{Duration, Instant};

use super::place::CheckpointPlace;
use super::{Input, Session};
use crate::Result;
use crate::apply::ApplyEvent;
use crate::apply::admission::is_chained;
use crate::apply::volumes::{Applied, Volumes};
use crate::barrier::AllFlushed;
use crate::group::Durable;
use crate::group::checkpoint::{Ends, Reached, When};
use crate::group::keeper::Forecast;
use crate::journal::catalogue::NewPoint;
use crate::journal::state::{Head, exact};
use crate::notice::Notice;
use crate::stream::{Format, VolumeHeader};

/// How often the forecast of the retention volume is made while a run goes on.
const FORECAST_EVERY: Duration = Duration::from_secs(1);

impl Session<'_> {
    /// Records that the input was applied up to `place`, beside which more was begun. Points are
    /// made where everything waits, and not here.
    pub(super) fn record_behind(
        &mut self,
        flushed: AllFlushed,
        place: CheckpointPlace,
    ) -> Result<()> {
        let place = match &self.input {
            Some(input) if planted!(CheckpointPastItsPlace) => place_of(input),
            _ => place,
        };
        self.save(flushed, &place, When::OnTheWay, &[])?;
        self.tell_notes(When::OnTheWay);
        Ok(())
    }

    /// Saves that the input was applied up to `place`, with `points` there (BARRIER 3), and tells
    /// the source.
    fn save(
        &mut self,
        flushed: AllFlushed,
        place: &CheckpointPlace,
        when: When,
        points: &[NewPoint],
    ) -> Result<()> {
        let Some(input) = &mut self.input else { return Ok(()) };
        // Nothing is written after the last checkpoint of the run.
        let is_last = match when {
            When::OnTheWay => false,
            When::InputComplete => self.is_last_input,
            When::AtTheEnd => true,
        };
        let mut reached = reached(input, place, &mut self.volumes, when, is_last);
        let accepts_older = self.options.accept_older;
        reached.iter_mut().for_each(|one| one.accepts_older = accepts_older);
        let durable = self.group.checkpoint(flushed, &reached, when, points)?;
        self.tell_source(&durable, place.consumed);
        Ok(())
    }

    /// Records how far the input was applied (BARRIER 3), and makes the points at this position.
    pub(super) fn record(&mut self, flushed: AllFlushed, when: When) -> Result<()> {
        let is_whole = self.make_points_only_if_whole(when);
        self.begin_history_of_points(is_whole)?;
        let passed = self.points.len() as u64;
        let Some(input) = self.input.as_mut().filter(|_| self.group.view().remembers()) else {
            self.points.clear();
            self.summary.recovery_points += passed;
            return Ok(());
        };
        let complete = when == When::InputComplete;
        // What a run before recorded is further than the ends of streams that are passed again.
        let is_passed_again = input.consumed <= input.resumed && self.points.is_empty();
        if is_passed_again && !(input.is_marked || complete) {
            input.ended = None;
            return Ok(());
        }
        // A stream without changes has begun nothing, but the volume is at its end now.
        if !(input.is_marked || complete || input.ended.is_some()) && self.points.is_empty() {
            return Ok(());
        }
        let has_history = self.group.has_history_open();
        if !is_whole && has_history {
            self.points.clear();
        }
        let made = self.points.len() as u64;
        let place = place_of(input);
        // They stay in the list until they are saved: what is recorded at the end of the run must
        // not be past a mark without its point.
        let points = self.points.clone();
        self.save(flushed, &place, when, &points)?;
        if made > 0 && has_history {
            self.point_made = Instant::now();
        }
        self.points.clear();
        self.summary.recovery_points += made;
        self.tell_notes(when);
        Ok(())
    }

    /// A point may be the first thing of a history: of a stream that changes nothing.
    fn begin_history_of_points(&mut self, is_whole: bool) -> Result<()> {
        if self.points.is_empty() || !is_whole || self.input.is_none() {
            return Ok(());
        }
        let targets = self.targets();
        self.group.begin_history(&targets)
    }

    /// Tells the source up to where it may forget: everything durable on all volumes, including one
    /// that failed and needs the rest another time.
    fn tell_source(&mut self, _proof: &Durable, consumed: u64) {
        let Some(input) = &self.input else { return };
        let volumes = &mut self.volumes;
        let applied = input.route.iter().map(|index| volumes.get(*index).applied).min();
        let reached = applied.and_then(Applied::position).unwrap_or(consumed);
        self.source.durable(reached.min(consumed));
    }

    /// A point covers all volumes: none is made while one has failed, or is ahead of the others, or
    /// was left half written by another run.
    pub(super) fn make_points_only_if_whole(&mut self, when: When) -> bool {
        let Some(input) = &self.input else { return true };
        let volumes = &mut self.volumes;
        let known = &self.group.view().state().volumes;
        let behind = input.route.iter().any(|index| {
            let volume = volumes.get(*index);
            // A volume that already was at the end of this input is ahead of the others until they
            // are there as well.
            let last = known.get(volume.name()).and_then(|known| known.applied.last());
            let is_at_the_end = volume.applied == Applied::All
                && when == When::InputComplete
                && last == Some(&input.fingerprint);
            let is_ahead = volume.applied > Applied::UpTo(input.consumed) && !is_at_the_end;
            // Something is recorded between any two marks: unrecorded writes are from before the
            // next mark, but after this one.
            let is_unsure = volume.unsure_from.is_some_and(|from| input.consumed <= from);
            volume.has_failed() || is_ahead || (is_unsure && !is_at_the_end)
        });
        let in_stream: Vec<_> =
            input.route.iter().map(|index| volumes.get(*index).name().to_owned()).collect();
        let half = known
            .iter()
            .filter(|(name, _)| !in_stream.contains(name))
            .any(|(_, volume)| volume.in_between.as_ref().is_some_and(|between| !between.exact));
        let is_whole = !behind && !half;
        if !self.points.is_empty() && self.group.has_history_open() {
            if !is_whole && !self.has_told_not_whole {
                (self.observe)(ApplyEvent::Notice(&Notice::NotAllVolumesAtMark));
            }
            self.has_told_not_whole = !is_whole;
        }
        is_whole
    }

    /// Reports the notices of the history, and a window that does not fit.
    pub(super) fn tell_notes(&mut self, when: When) {
        let mut notes = self.group.take_notes();
        notes.extend(self.news_of_the_window(when));
        for note in notes {
            (self.observe)(ApplyEvent::Notice(&note));
        }
    }

    /// The notice that the window does not fit: again when the forecast has changed by half. It
    /// takes all points to make one, so one a second is enough while the run goes on.
    fn news_of_the_window(&mut self, when: When) -> Option<Notice> {
        let is_recent = self.forecast_made.is_some_and(|made| made.elapsed() < FORECAST_EVERY);
        if when == When::OnTheWay && is_recent {
            return None;
        }
        self.forecast_made = Some(Instant::now());
        let Forecast { held, wanted } = self.group.forecast()?;
        is_news(self.told_forecast, held).then(|| {
            self.told_forecast = Some(held);
            Notice::WindowDoesNotFit { held, wanted }
        })
    }
}

/// The current position.
pub(super) fn place_of(input: &Input) -> CheckpointPlace {
    CheckpointPlace { consumed: input.consumed, content: input.content.clone() }
}

/// Whether it is worth reporting that the volume holds `held`, after `told` was reported.
fn is_news(told: Option<Duration>, held: Duration) -> bool {
    told.is_none_or(|told| held <= told / 2 || held >= told + told / 2)
}

/// The progress of the volumes of `input` at `place`.
fn reached(
    input: &mut Input,
    place: &CheckpointPlace,
    volumes: &mut Volumes,
    when: When,
    is_last: bool,
) -> Vec<Reached> {
    let ended = input.ended.take().is_some();
    let mut all = Vec::new();
    for (index, header) in input.route.iter().zip(&input.header.volumes) {
        let volume = volumes.get(*index);
        if volume.has_failed() {
            continue;
        }
        volume.applied = volume.applied.max(Applied::UpTo(place.consumed));
        let Some(position) = volume.applied.position() else { continue };
        let content = [&place.content, &volume.applied_content].into_iter().flatten();
        let content = content.into_iter().find(|content| content.bytes == position);
        volume.applied_content = content.cloned();
        let source_bytes = header.size.filter(|_| !is_to_be_cleared(input, *index));
        all.push(Reached {
            volume: volume.name().to_owned(),
            target: volume.identity().to_owned(),
            target_bytes: volume.capacity().get(),
            identity: volume.target_identity(is_last),
            source_bytes: source_bytes.map(crate::units::ByteCount::get),
            ends: ended.then(|| ends(input.header.format, header)),
            order: input.order,
            accepts_older: false,
            was_replaced: when == When::InputComplete && input.header.format == Format::Raw,
            input: input.fingerprint.clone(),
            position,
            is_in_write_order: input.header.is_in_write_order,
            content: volume.applied_content.clone(),
        });
    }
    all
}

/// Whether the source has grown, and the added part is not cleared yet. Its size is recorded once
/// that is cleared: a crash before that leaves the old size, and the run that resumes clears it
/// again.
fn is_to_be_cleared(input: &Input, volume: usize) -> bool {
    let is_grown = input.grown.iter().any(|(index, _)| *index == volume);
    is_grown && !planted!(GrowthRecordedBeforeCleared)
}

/// The end of a stream with `header` for a volume.
pub(super) fn ends(format: Format, header: &VolumeHeader) -> Ends {
    let at = header.to.as_ref().map(exact);
    let is_head = at.is_none() && is_chained(format, header);
    let head = is_head.then(|| Head { since: header.from.as_ref().map(exact) });
    Ends { at, head }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_volume_holds_is_told_again_when_it_has_changed_by_half() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        assert!(is_news(None, hours(20)));
        for (held, expected) in [(20, false), (11, false), (10, true), (29, false), (30, true)] {
            assert_eq!(is_news(Some(hours(20)), hours(held)), expected, "{held}");
        }
    }
}
