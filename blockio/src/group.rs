//! A protection group: one living thing, opened once and held. It owns the lock, its saved state
//! (`ledger`) and its history (`keeper`). Only the group saves, and each change has its own verb. A
//! [`GroupView`] is read-only.
//!
//! ```text
//! place       directories, lock, the state as it is read
//! view        what anybody may know of a group; whereabouts: where its volumes are
//! ledger      saves the state; memory is never ahead of the disk
//! keeper      opens the journal, makes records, begins epochs
//! preserve    a plan becomes one that may be written    BARRIER 1
//! checkpoint  progress and points become durable        BARRIER 3
//! undo        what a rollback and a commit change
//! forgetting  removes points on request
//! rebuilding  rebuilds the state from the segments
//! renaming    renames its directories; removal: removes all of it
//! retargeting  moves its volumes to other disks
//! exporters   who serves one of its points
//! runs        what was done to it, and by whom
//! ```

use std::sync::Arc;

use crate::assignment::Assignment;
use crate::barrier::AllFlushed;
use crate::device::buffer::ArenaPool;
use crate::journal::catalogue::{Catalogue, NewPoint, PointId, PointKind, Span};
use crate::journal::log::DurableEnd;
use crate::journal::memo::{EpochMemo, PointMemo, Targets};
use crate::journal::scan::{READER_ARENAS, WINDOW_BYTES};
use crate::journal::settings::GroupSettings;
use crate::journal::state::{InBetween, Progress};
use crate::journal::strays;
use crate::notice::Notice;
use crate::plain::Plain;
use crate::remedy::{GroupRemedy, Remedied};
use crate::target_identity::TargetIdentity;
use crate::volume_name::VolumeName;
use crate::{Error, ErrorKind, Result};

pub(crate) mod checkpoint;
mod exporters;
mod forgetting;
pub mod keeper;
mod ledger;
mod place;
pub(crate) mod preserve;
mod rebuilding;
mod removal;
mod renaming;
mod retargeting;
mod runs;
mod undo;
mod view;
mod whereabouts;

pub use exporters::{Exporter, Exporting, exporters};
use keeper::{Forecast, HistorySettings, Keeper};
use ledger::Ledger;
pub use place::{GroupPlace, check_name, storage};
pub use rebuilding::Rebuilding;
pub use renaming::{Move, Renaming};
pub use runs::{Run, RunBegin, RunEnd, RunLog, RunStream, runs};
pub(crate) use undo::Undo;
pub use view::GroupView;
pub use whereabouts::Whereabouts;

/// Proof that the progress reached is saved (BARRIER 3): only now may a sender be told that it need
/// not send it again (I3). Only a group makes one.
#[must_use = "a source is told of what became durable"]
#[derive(Debug)]
pub(crate) struct Durable(());

/// A protection group held by this process, or no group, and nothing is remembered.
pub struct Group {
    ledger: Ledger,
    keeper: Option<Box<Keeper>>,
    // The last field: the journal is closed before the lock is released.
    lock: Option<Arc<place::GroupLock>>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Group").field(&self.ledger).finish()
    }
}

impl Default for Group {
    /// No group: nothing is remembered.
    fn default() -> Self {
        Self { ledger: Ledger::rehearsing(GroupView::none()), keeper: None, lock: None }
    }
}

impl Group {
    /// Opens the group `name` at `place`, and creates its directories if they are missing.
    ///
    /// # Errors
    ///
    /// `Usage`: the name is not valid. `Refused`: another process holds the group. `Integrity`: the
    /// state file is damaged. `Failed`: a file or directory cannot be created or read.
    pub fn open(place: &GroupPlace, name: &str) -> Result<Self> {
        check_name(name)?;
        let lock = place::lock(place, name)?;
        let view = GroupView::of(storage(place)?, name, place.keeps())?;
        Ok(Self { ledger: Ledger::saving(view), keeper: None, lock: Some(Arc::new(lock)) })
    }

    /// A group for a dry run on `view`: it changes in memory, and nothing is saved or preserved.
    #[must_use]
    pub fn rehearse(view: GroupView) -> Self {
        Self { ledger: Ledger::rehearsing(view), keeper: None, lock: None }
    }

    /// The group `name` in `storage`, which nobody else uses.
    ///
    /// # Errors
    ///
    /// `Integrity` and `Failed` as [`open`](Self::open).
    #[cfg(test)]
    pub(crate) fn in_storage(
        storage: Arc<dyn crate::storage::Storage>,
        name: &str,
    ) -> Result<Self> {
        let view = GroupView::of(storage, name, place::Keeps::History)?;
        Ok(Self { ledger: Ledger::saving(view), keeper: None, lock: None })
    }

    /// The group's state as it was last saved.
    #[must_use]
    pub fn view(&self) -> &GroupView {
        self.ledger.view()
    }

    /// The settings to use if none were ever set: saved together with the first save. A group
    /// created by the first stream applied to it exists with these settings, or not at all.
    pub fn begin_with(&mut self, settings: GroupSettings) {
        if self.view().state().settings.is_none() {
            self.ledger.prepare(|state| state.settings = Some(settings));
        }
    }

    /// Creates the group with `settings` and with volumes that go to `assignments`. It is saved
    /// immediately and in one step, so the group exists with all of that, or not at all.
    ///
    /// # Errors
    ///
    /// `Failed`: it could not be saved.
    pub fn create(&mut self, settings: GroupSettings, assignments: &[Assignment]) -> Result<()> {
        self.ledger.save(|state| {
            state.settings = Some(settings);
            for one in assignments {
                let known = state.volumes.entry(one.volume.clone()).or_default();
                known.target = Some(one.identity.name.clone());
                known.target_bytes = one.target.geometry().capacity.get();
                known.identity = Some(one.target_identity());
            }
        })
    }

    /// Replaces the settings. Points that the new settings no longer keep expire with the next
    /// checkpoint.
    ///
    /// # Errors
    ///
    /// `Failed`: it could not be saved.
    pub fn set(&mut self, settings: GroupSettings) -> Result<()> {
        self.ledger.save(|state| state.settings = Some(settings))?;
        if let Some(keeper) = &mut self.keeper {
            keeper.follow(settings.policy);
        }
        Ok(())
    }

    /// Opens the group's journal, or begins one; does nothing if it keeps no history, or is only
    /// rehearsed. Until then nothing can be preserved, and no point can be made.
    ///
    /// # Errors
    ///
    /// `Integrity`: part of it is missing or damaged. `Failed`: it cannot be read or flushed.
    pub fn open_history(&mut self, settings: HistorySettings) -> Result<()> {
        if self.view().keeps_history() && !self.ledger.is_rehearsal() && self.keeper.is_none() {
            self.keeper = Some(Box::new(Keeper::open(&mut self.ledger, settings)?));
        }
        Ok(())
    }

    /// Whether overwritten data is preserved from now on.
    #[must_use]
    pub(crate) fn has_history_open(&self) -> bool {
        self.keeper.is_some()
    }

    /// Whether nothing was overwritten since the last point, so that the volumes are at it.
    pub(crate) fn is_epoch_empty(&self) -> bool {
        self.keeper.as_ref().is_some_and(|keeper| keeper.is_epoch_empty())
    }

    /// The history including everything that is durable by now; the saved state may lag behind.
    ///
    /// # Errors
    ///
    /// `Usage`: it has none. `Failed`: a record could not be written.
    pub(crate) fn catalogue_now(&mut self) -> Result<Catalogue> {
        let mut now = self.view().catalogue()?.clone();
        if let Some(keeper) = &mut self.keeper {
            keeper.durable_end(now.open_epoch())?.describe(&mut now);
        }
        Ok(now)
    }

    /// Memory for records.
    ///
    /// # Errors
    ///
    /// `Failed`: it cannot be allocated.
    pub(crate) fn record_pool(&self) -> Result<ArenaPool> {
        self.keeper.as_ref().map_or_else(keeper::record_pool, |keeper| Ok(keeper.pool()))
    }

    /// The notices for the operator since the last call.
    pub fn take_notes(&mut self) -> Vec<Notice> {
        let mut notes = self.ledger.take_notes();
        notes.extend(self.keeper.iter_mut().flat_map(|keeper| keeper.take_notes()));
        notes
    }

    /// How long a window the retention volume can hold, if that is less than the wanted window.
    pub(crate) fn forecast(&self) -> Option<Forecast> {
        self.keeper.as_ref()?.forecast(self.view().catalogue().ok()?)
    }

    /// Begins the first epoch of a history that has none yet: its start is what the volumes hold
    /// now. `targets` are those that the state does not have yet.
    ///
    /// # Errors
    ///
    /// `Failed`: the journal cannot be written.
    pub(crate) fn begin_history(&mut self, targets: &Targets) -> Result<()> {
        match &mut self.keeper {
            None => Ok(()),
            Some(keeper) => keeper.begin_if_new(&mut self.ledger, targets),
        }
    }

    /// Makes a point by hand of what the volumes hold now, and returns its number.
    ///
    /// # Errors
    ///
    /// `Usage`: the group has no volumes, or no history. `Refused`: the volumes are between two
    /// states of their source. `Failed`: it could not be saved.
    pub fn point(&mut self, kind: PointKind, name: Option<String>) -> Result<PointId> {
        self.require_one_state()?;
        self.begin_history(&Targets::new())?;
        let point = PointId(self.view().catalogue()?.next_point);
        let Some(keeper) = &mut self.keeper else { return Err(not_open()) };
        let now = keeper.now();
        let new = NewPoint { time: now, kind, name };
        let memo = PointMemo::of_new(point, &new, now);
        let memo = EpochMemo::new(self.ledger.view().state(), vec![memo]);
        // First the segment of the new epoch, then the state: a crash in between leaves a point
        // that only the journal has, and that every reader of the state takes in (`beyond`).
        let spans = keeper.begin_epoch(&mut self.ledger, point, &memo)?;
        let end = keeper.durable_end(point)?;
        // Nothing expires here: points expire with the checkpoints of `apply`.
        self.ledger.save(|state| {
            let Some(catalogue) = &mut state.journal else { return };
            catalogue.seal(spans, new, now);
            end.describe(catalogue);
        })?;
        Ok(point)
    }

    /// Requires that the volumes hold one state of their source.
    fn require_one_state(&self) -> Result<()> {
        if self.view().state().volumes.is_empty() {
            let context = format!("group {} has no volumes", self.view().name());
            return Err(Error::new(ErrorKind::Usage, context)
                .with_hint("apply a stream first; then a point can be made"));
        }
        self.view().require_no_rollback()?;
        let half = self.view().state().volumes.iter().find_map(|(name, volume)| {
            let between = volume.in_between.as_ref()?;
            (!is_a_state(between)).then_some((name, between))
        });
        match half {
            None => Ok(()),
            Some((name, between)) => Err(Error::refused(format!(
                "making a recovery point: stream {} was begun on volume \"{}\" and never finished",
                between.input,
                Plain(name)
            ))
            .remedied(GroupRemedy::ApplyAgainOrRecover { group: self.view().name().to_owned() })),
        }
    }

    /// Pins or unpins a point.
    ///
    /// # Errors
    ///
    /// `Failed`: it could not be saved.
    pub fn pin(&mut self, id: PointId, pinned: bool) -> Result<()> {
        self.ledger.save(|state| {
            let points = state.journal.iter_mut().flat_map(|known| &mut known.points);
            let meant = points.filter(|point| point.id == id);
            meant.for_each(|point| Arc::make_mut(point).pinned = pinned);
        })
    }

    /// Marks the volumes as in-between, on their way to point `to`, where their progress is `then`;
    /// the content of the volumes in `written` is unknown from now on.
    ///
    /// Without undo, first the journal records that later points are given up, then the state does:
    /// a crash in between leaves a rollback that was begun, and nothing was overwritten.
    ///
    /// # Errors
    ///
    /// `Refused`: a point that would be given up is pinned. `Failed`: it could not be saved.
    pub(crate) fn begin_rollback(
        &mut self,
        to: PointId,
        written: &[VolumeName],
        undo: Undo,
        then: &Progress,
    ) -> Result<()> {
        self.begin_history(&Targets::new())?;
        let broken_off = match undo {
            Undo::Kept => None,
            Undo::NotKept => self.break_off(to, then)?,
        };
        let at = broken_off.as_ref().map(|(at, ..)| *at);
        let end = self.durable_end(at)?;
        self.keeper.iter_mut().for_each(|keeper| keeper.keep(undo));
        self.ledger.save(|state| {
            let volumes = state.volumes.iter_mut().filter(|(name, _)| written.contains(name));
            for identity in volumes.filter_map(|(_, volume)| volume.identity.as_mut()) {
                identity.content = None;
            }
            let Some(catalogue) = &mut state.journal else { return };
            if let Some((_, spans, now)) = broken_off {
                catalogue.break_off(to, spans, now);
            }
            catalogue.rolling_back_to = Some(to);
            catalogue.rolled_back_to = None;
            if let Some(end) = end {
                end.describe(catalogue);
            }
        })
    }

    /// Where the journal ends, in the epoch just begun or in the open one; `None` if no journal is
    /// kept.
    fn durable_end(&mut self, begun: Option<PointId>) -> Result<Option<DurableEnd>> {
        let Some(keeper) = &mut self.keeper else { return Ok(None) };
        let epoch = begun.map_or_else(|| Ok(self.ledger.view().catalogue()?.open_epoch()), Ok);
        keeper.durable_end(epoch?).map(Some)
    }

    /// Records in the journal that the points after `to` are given up, and returns what the state
    /// needs to record the same. `None` if a rollback that was cut short has already given them up.
    fn break_off(
        &mut self,
        to: PointId,
        then: &Progress,
    ) -> Result<Option<(PointId, Vec<Span>, u64)>> {
        self.view().require_none_pinned_after(to)?;
        let known = self.ledger.view().catalogue()?;
        let later: Vec<_> = known.points_after(to).map(|point| point.kind).collect();
        let (at, new) = (PointId(known.next_point), known.break_after(to));
        let Some(keeper) = &mut self.keeper else { return Err(not_open()) };
        if later == [PointKind::Break] && keeper.is_epoch_empty() {
            return Ok(None);
        }
        let now = keeper.now();
        let memo =
            EpochMemo::new(self.ledger.view().state(), vec![PointMemo::of_new(at, &new, now)]);
        let memo =
            if planted!(BreakNotInTheJournal) { memo } else { memo.giving_up_after(to, then) };
        Ok(Some((at, keeper.break_off(&mut self.ledger, at, &memo)?, now)))
    }

    /// Marks the volumes as being at point `to`, with progress `then`; the volumes that were
    /// written are known by `identities` from now on.
    ///
    /// # Errors
    ///
    /// `Failed`: it could not be saved; the same rollback continues.
    pub(crate) fn end_rollback(
        &mut self,
        _proof: AllFlushed,
        to: PointId,
        then: &Progress,
        identities: Vec<(VolumeName, TargetIdentity)>,
    ) -> Result<Durable> {
        let end = self.durable_end(None)?;
        self.keeper.iter_mut().for_each(|keeper| keeper.keep(Undo::Kept));
        self.ledger.save(|state| {
            state.go_back(then);
            for (name, identity) in identities {
                if let Some(volume) = state.volumes.get_mut(&name) {
                    volume.identity = Some(identity);
                }
            }
            let Some(catalogue) = &mut state.journal else { return };
            catalogue.rolling_back_to = None;
            catalogue.rolled_back_to = Some(to);
            catalogue.went_on_from = None;
            if let Some(end) = end {
                end.describe(catalogue);
            }
        })?;
        Ok(Durable(()))
    }

    /// Accepts the volumes as they are, and drops the history. Proving that they are at a point is
    /// the job of `commit`.
    ///
    /// First the state is saved without the history, then the segments are removed: a crash in
    /// between leaves segments of no history, which the next commit, or the next history, removes.
    ///
    /// # Errors
    ///
    /// `Failed`: the state could not be saved, or a segment could not be removed.
    pub fn commit(&mut self) -> Result<()> {
        self.ledger.save(|state| {
            state.drop_history();
            // Volumes on which a stream was begun are exactly at one of its marks: that stream can
            // be continued, and nothing else fits.
            let begun = state.volumes.values_mut().filter_map(|volume| volume.in_between.as_mut());
            begun.for_each(|between| between.exact = true);
        })?;
        self.keeper = None;
        self.remove_what_was_dropped()
    }

    /// Removes what is left of dropped histories.
    ///
    /// # Errors
    ///
    /// `Integrity`: a segment belongs to another history. `Failed`: one could not be removed.
    pub(crate) fn remove_what_was_dropped(&self) -> Result<()> {
        let doing = "removing the segments of the history";
        let storage = self.view().storage();
        let all = storage.segments().map_err(|error| Error::failed(doing, error))?;
        let pool = ArenaPool::new(READER_ARENAS, WINDOW_BYTES)
            .map_err(|error| Error::failed(doing, error))?;
        strays::require_all_may_go(&storage, self.view().state(), &all, &pool)?;
        for number in all {
            storage.remove_segment(number).map_err(|error| Error::failed(doing, error))?;
        }
        Ok(())
    }

    /// Releases its disks: nothing about them is remembered, and there is no history. The settings
    /// stay. The next stream starts over.
    ///
    /// A crash on the way leaves what a crash in [`commit`](Self::commit) leaves.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub fn release(&mut self) -> Result<()> {
        self.ledger.save(|state| {
            state.drop_history();
            state.volumes.clear();
        })?;
        self.keeper = None;
        self.remove_what_was_dropped()
    }

    /// Changes the saved state arbitrarily: for tests of the consequences.
    #[cfg(test)]
    pub(crate) fn overwrite(
        &mut self,
        change: impl FnOnce(&mut crate::journal::state::GroupState),
    ) -> Result<()> {
        self.ledger.save(change)
    }
}

/// Whether `between` is a state of the source: in the middle of a stream, only a stream in write
/// order leaves one.
fn is_a_state(between: &InBetween) -> bool {
    between.exact && !between.unordered && between.input.to_string().starts_with("native")
}

fn not_open() -> Error {
    Error::new(ErrorKind::Usage, "this group keeps no history").remedied(GroupRemedy::KeepHistory)
}

#[cfg(test)]
mod tests;
