//! Keeps the history of a group while its volumes are written: opens the journal, preserves what a
//! plan will overwrite, and begins an epoch when a recovery point is made.
//!
//! Opening does the following without asking, because nothing is lost by it. Segments of the open
//! epoch are flushed: an earlier process may have left them in a cache. An incomplete record at the
//! end is ignored: the data it preserves was never overwritten. Segments that no point has are
//! removed: they were made, or given up, just before a crash; if that is not certain for one of
//! them, opening is refused. The set of preserved blocks is rebuilt, so that applying again never
//! preserves half-new data.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::device::Geometry;
use crate::device::buffer::{Arena, ArenaPool};
use crate::extent::Extent;
use crate::journal::catalogue::{Catalogue, Forgotten, JournalVolume, PointId, Span};
use crate::journal::draft::{Draft, Outline};
use crate::journal::layout::{BLOCK_BYTES, Identity, RECORD_BYTES_MAX, RecordKind};
use crate::journal::log::{DurableEnd, End, ImagesDurable, Log, Ticket, failed};
use crate::journal::memo::{self, EpochMemo, PointMemo, Targets, VolumeMemo};
use crate::journal::open::{Opened, open_epoch};
use crate::journal::retention::{self, Policy};
use crate::journal::touched::Touched;
use crate::notice::Notice;
use crate::storage::{SegmentNumber, Storage};
use crate::units::ByteOffset;
use crate::volume_name::VolumeName;
use crate::{Error, Result};

use super::ledger::Ledger;
use super::undo::Undo;

mod copying;
mod merging;
mod room;
mod segment_size;

use copying::Merging;
pub(crate) use room::Room;
pub(crate) use segment_size::segment_bytes;

const RECORD_BYTES: NonZeroUsize =
    NonZeroUsize::new(RECORD_BYTES_MAX).expect("invariant: not zero");
/// How many records can be filled, or be on their way to the journal.
const RECORDS: usize = 6;
/// Memory for a record that describes a volume, in bytes: names are shorter.
const VOLUME_MEMO_BYTES: NonZeroUsize = NonZeroUsize::new(256 << 10).expect("invariant: not zero");
/// The room in a record for the text that begins an epoch, in bytes.
const EPOCH_TEXT_BYTES_MAX: usize = RECORD_BYTES_MAX - BLOCK_BYTES;
/// What a process needs to keep a history. How long points are kept is in the group's settings
/// ([`GroupSettings`](crate::journal::settings::GroupSettings)).
#[derive(Clone, Debug)]
pub struct HistorySettings {
    /// The length of a segment, in bytes; `None` to derive it from the size of the volume.
    pub segment_bytes: Option<u64>,
    /// Write records in a separate thread.
    pub in_thread: bool,
    /// The clock, in nanoseconds since 1970.
    pub clock: fn() -> u64,
    /// A source of random numbers that never repeat.
    pub random: fn() -> u128,
    /// Memory for records; `None` to allocate it.
    pub pool: Option<ArenaPool>,
}

impl Default for HistorySettings {
    fn default() -> Self {
        Self {
            segment_bytes: None,
            in_thread: true,
            clock: now,
            random: || uuid::Uuid::new_v4().as_u128(),
            pool: None,
        }
    }
}

/// This host's clock: nanoseconds since 1970.
#[must_use]
pub fn now() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Memory for [`RECORDS`] records.
pub(crate) fn record_pool() -> Result<ArenaPool> {
    ArenaPool::new(RECORDS, RECORD_BYTES)
        .map_err(|error| Error::failed("allocating memory for history", error))
}

/// Keeps the history of one group.
pub(super) struct Keeper {
    storage: Arc<dyn Storage>,
    log: Log,
    pool: ArenaPool,
    settings: HistorySettings,
    policy: Policy,
    segment_bytes: u64,
    touched: Vec<Touched>,
    /// Whether nothing was overwritten since the last point.
    is_epoch_empty: bool,
    /// A rollback without undo is under way: the data it overwrites leads to no point.
    keeps_nothing: bool,
    /// What is merged after points were forgotten.
    merging: Merging,
    /// Whether the history begins with this process.
    is_new: bool,
    notes: Vec<Notice>,
    /// The newest point that was examined for a jump of the clock; `None` once one was reported.
    noted: Option<PointId>,
}

impl Keeper {
    /// Opens the journal of the group with the state in `ledger`, or begins one.
    ///
    /// # Errors
    ///
    /// `Integrity`: part of it is missing or damaged. `Failed`: it cannot be read or flushed.
    pub(super) fn open(ledger: &mut Ledger, settings: HistorySettings) -> Result<Self> {
        let storage = ledger.view().storage();
        let pool = settings.pool.clone().map_or_else(record_pool, Ok)?;
        let random = settings.random;
        let start = ledger.view().state().next_start();
        let begin = || Catalogue {
            session: 1,
            ..Catalogue::beginning_with(start, new_identity(random), (settings.clock)())
        };
        let has_history = ledger.view().state().journal.is_some();
        if !has_history {
            // The history is saved with the first thing in it; that it begins is saved before its
            // first segment.
            ledger.prepare(|state| state.journal = Some(begin()));
        }
        // Nothing is written before the state is known to belong to the history.
        let opened = open_epoch(&storage, ledger.view().state(), &pool)?;
        // Before anything else, the new session is saved: a concurrent reader of a point then
        // continues with what this session writes, and with nothing of the previous session that
        // this one ignores (`view::history`). Nobody reads a history that is only begun.
        if has_history {
            ledger.save(|state| {
                state.journal.iter_mut().for_each(|known| known.session += 1);
            })?;
        }
        let catalogue = ledger.view().catalogue()?;
        let Opened { spans, next_segment, next_record, touched, is_empty, strays, mut notes } =
            opened;
        for stray in strays {
            storage
                .remove_segment(stray)
                .map_err(failed(&*storage, "removing a segment of no point"))?;
            notes.push(Notice::StrayRemoved(stray));
        }
        // The previous process reserved room that it did not use. Records of this process go into
        // another segment, so that room would be held for nothing.
        for span in &spans {
            if let Err(error) = storage.shorten_segment(span.segment, span.bytes) {
                let (segment, why) = (span.segment, error.to_string());
                notes.push(Notice::SpareRoomKept { segment, why });
            }
        }
        let (identity, epoch) = (catalogue.identity, catalogue.open_epoch());
        let engine = ledger.view().settings().engine;
        let end = End { identity, epoch, next_segment, next_record, spans, engine };
        // Deliberately truncated: a salt has 64 bits.
        let salt = (settings.random)() as u64;
        let log = Log::new(Arc::clone(&storage), end, salt, settings.in_thread)?;
        let policy = ledger.view().settings().policy;
        let usual = segment_bytes(&*storage, &policy)?;
        let segment_bytes = settings.segment_bytes.unwrap_or(usual);
        Ok(Self {
            storage,
            log,
            pool,
            settings,
            policy,
            segment_bytes,
            touched,
            is_epoch_empty: is_empty,
            keeps_nothing: false,
            merging: Merging::default(),
            is_new: !has_history,
            notes,
            noted: Some(epoch),
        })
    }

    /// Sets the policy by which points are kept from now on.
    pub(super) fn follow(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Memory for records.
    pub(super) fn pool(&self) -> ArenaPool {
        self.pool.clone()
    }

    /// The notices for the operator since the last call.
    pub(super) fn take_notes(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notes)
    }

    /// Whether nothing was overwritten since the last point, so that the volumes are at it.
    pub(super) fn is_epoch_empty(&self) -> bool {
        self.is_epoch_empty
    }

    /// The parts of `touched` (whole sectors, ascending, coalesced) of a volume that were not
    /// preserved in this epoch, as outlines of the records that they will take. They count as
    /// preserved from now on, so each outline has to be [`record`](Self::record)ed, or left out
    /// ([`leave_out`](Self::leave_out)), or nothing more may be written to the volume.
    pub(super) fn outline(
        &mut self,
        ledger: &mut Ledger,
        volume: &Preserve<'_>,
        touched: &[Extent],
    ) -> Result<Vec<Outline>> {
        if self.keeps_nothing {
            return Ok(Vec::new());
        }
        let number = self.volume_number(ledger, volume)?;
        let first = self.touched[number as usize].first_touches(touched, end_of(volume));
        if first.is_empty() {
            return Ok(Vec::new());
        }
        self.is_epoch_empty = false;
        self.touched[number as usize].insert(&first);
        Ok(Outline::of(number, &first, self.segment_bytes / 2))
    }

    /// Counts `extents` of volume `number` as not preserved after all: they are not overwritten,
    /// and are in no record.
    pub(super) fn leave_out(&mut self, number: u32, extents: &[Extent]) {
        planted!(LeftOutCountsAsPreserved => { return });
        if let Some(touched) = self.touched.get_mut(number as usize) {
            touched.remove(extents);
        }
        self.is_epoch_empty = self.touched.iter().all(Touched::is_empty);
    }

    /// Begins to record the images that were read into `arena` as in `outline`.
    pub(super) fn record(
        &mut self,
        ledger: &mut Ledger,
        outline: Outline,
        arena: Arena,
    ) -> Result<()> {
        let draft = Draft::of_images(outline, arena, self.log.stamp());
        self.submit(ledger, draft).map(drop)
    }

    /// A ticket for everything recorded so far: the preserved data may be overwritten once it is
    /// durable.
    pub(super) fn recorded(&self) -> Ticket {
        self.log.submitted()
    }

    /// The number of `volume` in the records. A new number is saved before any record uses it:
    /// whoever opens the journal after a crash must know whose images they are.
    ///
    /// First the state, then the journal, which records it as well: a crash in between leaves a
    /// volume of which nothing was preserved yet.
    fn volume_number(&mut self, ledger: &mut Ledger, volume: &Preserve<'_>) -> Result<u32> {
        let known =
            ledger.view().catalogue()?.volumes.iter().position(|known| known.name == *volume.name);
        let mut number = known.and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX);
        if known.is_none() {
            ledger.save(|state| {
                let Some(catalogue) = &mut state.journal else { return };
                number = catalogue.number_volume(volume.name, || JournalVolume {
                    name: volume.name.clone(),
                    sector_bytes: volume.geometry.sector_size.bytes().get(),
                    capacity_bytes: volume.geometry.capacity.get(),
                });
            })?;
            self.begin_volume(ledger, number)?;
        }
        let needed = number as usize + 1;
        if self.touched.len() < needed {
            self.touched.resize_with(needed, Touched::default);
        }
        Ok(number)
    }

    /// Describes volume `number` in the journal, before the journal has any of its images.
    fn begin_volume(&mut self, ledger: &mut Ledger, number: u32) -> Result<()> {
        let state = ledger.view().state();
        let Some(volume) = ledger.view().catalogue()?.volumes.get(number as usize) else {
            return Ok(());
        };
        let text = memo::text(&VolumeMemo::of(number, volume, state))?;
        // Uses its own memory: the caller may hold all the memory for images.
        let arena = ArenaPool::new(1, VOLUME_MEMO_BYTES)
            .and_then(|pool| pool.take().map_err(std::io::Error::other));
        let arena = arena.map_err(|error| Error::failed("allocating memory for history", error))?;
        let draft = Draft::of_text(RecordKind::VolumeBegins, &text, arena, self.log.stamp())?;
        self.submit(ledger, draft).map(drop)
    }

    fn submit(&mut self, ledger: &mut Ledger, draft: Draft) -> Result<Ticket> {
        if !self.log.has_room(draft.record_bytes()) {
            let epoch = ledger.view().catalogue()?.open_epoch();
            self.begin_segment(ledger, epoch)?;
        }
        self.log.submit(draft)
    }

    /// The proof for everything up to `ticket`, if it is durable by now.
    pub(super) fn poll(&mut self, ticket: Ticket) -> Result<Option<ImagesDurable>> {
        self.log.poll(ticket)
    }

    /// Waits until everything up to `ticket` is durable.
    pub(super) fn wait(&mut self, ticket: Ticket) -> Result<ImagesDurable> {
        self.log.wait(ticket)
    }

    /// Begins the epoch that leads back to `point`, with the group as in `memo`.
    ///
    /// The caller then saves the state with the point. A crash before that leaves the point only in
    /// the journal, where every reader of the state takes it in (`beyond`).
    pub(super) fn begin_epoch(
        &mut self,
        ledger: &mut Ledger,
        point: PointId,
        memo: &EpochMemo,
    ) -> Result<Vec<Span>> {
        let (spans, draft) = self.end_epoch(memo)?;
        // The current segment ends with the epoch.
        self.begin_segment(ledger, point)?;
        self.submit_beginning(draft)?;
        Ok(spans)
    }

    /// Begins the epoch of a rollback without undo, which leads back to no point of the source: the
    /// history breaks off here, as in `memo`.
    ///
    /// The caller then saves the state without the points that are given up. A crash before that
    /// leaves it to the journal alone to record that (`beyond`).
    pub(super) fn break_off(
        &mut self,
        ledger: &mut Ledger,
        at: PointId,
        memo: &EpochMemo,
    ) -> Result<Vec<Span>> {
        let (spans, draft) = self.end_epoch(memo)?;
        let needed = BLOCK_BYTES + draft.record_bytes();
        let generation = ledger.view().state().generation();
        // A small segment, taken from the room that is left free for the state: a rollback often
        // goes without undo for lack of room, and no point has to be given up for this.
        self.log
            .begin_segment(at, needed as u64, generation)
            .map_err(failed(&*self.storage, "making a segment"))?;
        self.submit_beginning(draft)?;
        Ok(spans)
    }

    /// Sets whether overwritten data is kept from now on.
    pub(super) fn keep(&mut self, undo: Undo) {
        self.keeps_nothing = undo == Undo::NotKept;
    }

    /// Makes the ending epoch durable; returns its spans, and the record that begins the next one.
    fn end_epoch(&mut self, memo: &EpochMemo) -> Result<(Vec<Span>, Draft)> {
        let ended = self.log.submitted();
        let _ = self.log.wait(ended)?;
        let spans = self.log.spans();
        let (_, number) = self.log.next_numbers();
        let text = memo.text_of_record(number, EPOCH_TEXT_BYTES_MAX)?;
        let arena = self.pool.take()?;
        let draft = Draft::of_text(RecordKind::EpochBegins, &text, arena, self.log.stamp())?;
        Ok((spans, draft))
    }

    fn submit_beginning(&mut self, draft: Draft) -> Result<()> {
        let begun = self.log.submit(draft)?;
        let _ = self.log.wait(begun)?;
        self.touched.iter_mut().for_each(|touched| *touched = Touched::default());
        self.is_epoch_empty = true;
        Ok(())
    }

    /// Begins the first epoch of a history that has none yet.
    pub(super) fn begin_if_new(&mut self, ledger: &mut Ledger, targets: &Targets) -> Result<()> {
        if !self.log.spans().is_empty() {
            return Ok(());
        }
        if self.is_new {
            ledger.save_beginning()?;
        }
        let known = ledger.view().catalogue()?;
        let first = known.open_epoch();
        let start = known.all().next_back().map(PointMemo::of).into_iter().collect();
        let mut state = ledger.view().state().clone();
        state.know(targets);
        let memo = EpochMemo::new(&state, start);
        self.begin_epoch(ledger, first, &memo).map(drop)
    }

    /// How long a window the volume can hold, if that is less than the wanted window.
    pub(super) fn forecast(&self, catalogue: &Catalogue) -> Option<Forecast> {
        let space = self.storage.space().ok()?;
        let limit = self.policy.journal_bytes_max.unwrap_or(u64::MAX);
        let capacity = space.free_bytes.saturating_add(catalogue.journal_bytes()).min(limit);
        let held = retention::forecast(catalogue, &self.policy, capacity)?;
        let wanted = self.policy.window;
        (held < wanted).then_some(Forecast { held, wanted })
    }

    /// A window that was cut for lack of room is whole again once points reach that far. A jump
    /// between the two newest points is reported once.
    pub(super) fn note_window(&mut self, catalogue: &mut Catalogue) {
        let newest = catalogue.open_epoch();
        if self.noted.is_some_and(|noted| noted != newest) {
            let jump = retention::jump(catalogue, &self.policy);
            self.noted = if jump.is_none() { Some(newest) } else { None };
            self.notes.extend(jump);
        }
        let is_cut = catalogue.window_cut_to.is_some();
        if is_cut && retention::reach(catalogue, &self.policy) >= self.policy.window {
            catalogue.window_cut_to = None;
        }
    }

    /// Where the log ends, in `epoch`, once all of it is durable: the part that a state may record.
    ///
    /// # Errors
    ///
    /// `Failed`: a record could not be written.
    pub(super) fn durable_end(&mut self, epoch: PointId) -> Result<DurableEnd> {
        self.log.durable_end(epoch)
    }

    /// As [`durable_end`](Self::durable_end), for what is durable by now.
    ///
    /// # Errors
    ///
    /// As [`durable_end`](Self::durable_end).
    pub(super) fn durable_end_so_far(&mut self, epoch: PointId) -> Result<DurableEnd> {
        self.log.durable_end_so_far(epoch)
    }

    /// Cleans up after points were forgotten and the state was saved without them. What led back to
    /// them is merged later.
    pub(super) fn clean_up(&mut self, known: &Catalogue, forgotten: &Forgotten) {
        self.remove(&forgotten.unneeded);
        self.merge_later(known, &forgotten.merged);
    }

    /// Removes segments that the saved state no longer has. One that cannot be removed now is
    /// removed at the next open.
    pub(super) fn remove(&mut self, segments: &[SegmentNumber]) {
        for number in segments {
            if let Err(error) = self.storage.remove_segment(*number) {
                let (segment, why) = (*number, error.to_string());
                self.notes.push(Notice::NotRemoved { segment, why });
            }
        }
    }

    /// The points that expire now by their age.
    pub(super) fn due(&self, catalogue: &Catalogue) -> Vec<PointId> {
        retention::due(catalogue, &self.policy)
    }

    /// This host's clock.
    pub(super) fn now(&self) -> u64 {
        (self.settings.clock)()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.abandon_merge();
    }
}

/// The forecast for a retention volume that is too small for the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forecast {
    /// The window it can hold, at the rate at which the disks change.
    pub(crate) held: Duration,
    /// The window wanted.
    pub(crate) wanted: Duration,
}

/// A volume to preserve parts of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preserve<'a> {
    /// Its name in the group.
    pub(crate) name: &'a VolumeName,
    /// The geometry of its disk.
    pub(crate) geometry: Geometry,
}

/// The end of its last sector.
fn end_of(volume: &Preserve<'_>) -> ByteOffset {
    let capacity = ByteOffset::new(volume.geometry.capacity.get());
    volume.geometry.sector_size.align_up(capacity).unwrap_or(capacity)
}

fn new_identity(random: fn() -> u128) -> Identity {
    random().to_le_bytes()
}
