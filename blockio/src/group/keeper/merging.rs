//! Merges the epochs of points that took over from others, beside the run: one copy at a time.
//!
//! Order, and what a crash in between leaves:
//!
//! 1. the state is saved with the numbers of the copy's segments reserved, and the log goes on
//!    after them: a crash leaves numbers that nobody uses;
//! 2. the copy is written and flushed: a crash leaves segments that no point has;
//! 3. the state is saved with the copy in place of its originals: a crash leaves those, which no
//!    point has any more;
//! 4. the originals are removed.
//!
//! What no point has is removed by the next open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use crate::device::buffer::ArenaPool;
use crate::group::keeper::copying::{CopyUnderWay, Copying, Merged, Reserved};
use crate::group::keeper::{Keeper, RECORD_BYTES};
use crate::group::ledger::Ledger;
use crate::journal::catalogue::{Catalogue, PointId, Span};
use crate::journal::compact::{COPY_ARENAS, Compaction, Control, Copied};
use crate::journal::layout::COPIES_FROM;
use crate::journal::retention;
use crate::journal::selector::shown;
use crate::notice::Notice;
use crate::patience::Limits;
use crate::storage::SegmentNumber;
use crate::{Error, Result};

impl Keeper {
    /// Notes that the points `merged` took over from others.
    pub(super) fn merge_later(&mut self, known: &Catalogue, merged: &[PointId]) {
        for point in merged {
            // Otherwise the first images of an hour would be copied with each of its points.
            let takes_more = retention::takes_more(known, &self.policy, *point);
            if !takes_more && !self.merging.waiting.contains(point) {
                self.merging.waiting.push_back(*point);
            }
        }
    }

    /// Reserves segments for a copy of the next point to merge, unless a copy is being written.
    /// Nobody else may write to the log until the state is saved.
    pub(in crate::group) fn reserve_merge(&mut self, known: &Catalogue) -> Option<Reserved> {
        if self.merging.copy.is_some() {
            return None;
        }
        loop {
            let point = self.merging.waiting.pop_front()?;
            // The open epoch is still being written; others may have been given up.
            let found = known.point(point).filter(|found| found.id != known.open_epoch());
            let Some(found) = found else { continue };
            let (first, _) = self.log.next_numbers();
            // At least half of a segment is used.
            let most = 2 * found.journal_bytes().div_ceil(self.segment_bytes) + 2;
            let numbers = first..first.saturating_add(most);
            self.log.skip_segments(numbers.end);
            return Some(Reserved { point, numbers });
        }
    }

    /// The number of the next segment of the log.
    pub(in crate::group) fn next_segment(&self) -> u64 {
        self.log.next_numbers().0
    }

    /// Begins the copy for which segments are reserved in the saved state.
    pub(in crate::group) fn begin_merge(&mut self, ledger: &Ledger, reserved: Reserved) {
        if let Err(error) = self.try_begin_merge(ledger, reserved) {
            self.leave_unmerged(error);
        }
    }

    fn try_begin_merge(
        &mut self,
        ledger: &Ledger,
        Reserved { point, numbers }: Reserved,
    ) -> Result<(), (String, Error)> {
        let unknown = |error| (format!("point {point}"), error);
        let known = ledger.view().catalogue().map_err(unknown)?;
        let Some(found) = known.point(point).cloned() else { return Ok(()) };
        let shown = shown(&found);
        let failed = |error| (shown.clone(), Error::failed("allocating memory for a copy", error));
        let control = Arc::new(Control::default());
        let originals = found.spans.clone();
        let compaction = Compaction {
            storage: Arc::clone(&self.storage),
            catalogue: known.clone(),
            // The memory for images may be held by whoever waits for us.
            pool: ArenaPool::new(COPY_ARENAS, RECORD_BYTES).map_err(failed)?,
            // Deliberately truncated: a salt has 64 bits.
            salt: (self.settings.random)() as u64,
            numbers: numbers.clone(),
            segment_bytes: self.segment_bytes,
            generation: ledger.view().state().generation(),
            engine: ledger.view().settings().engine,
            control: Arc::clone(&control),
        };
        let copying = match self.settings.in_thread {
            false => Copying::Done(Some(compaction.run(&found))),
            true => {
                let (outbox, result) = channel();
                let copy = move || {
                    let copied = compaction.run(&found);
                    // Whoever waits may remove what it has open.
                    drop(compaction);
                    drop(outbox.send(copied));
                };
                let thread = std::thread::Builder::new().name("merge".to_owned()).spawn(copy);
                let failed = |error| {
                    (shown.clone(), Error::failed("starting the thread that merges", error))
                };
                thread.map_err(failed)?;
                Copying::InThread(result)
            }
        };
        self.merging.copy =
            Some(CopyUnderWay { point, shown, originals, numbers, copying, control });
        Ok(())
    }

    /// What led back to the point stays as it was: that is no reason to refuse new data.
    fn leave_unmerged(&mut self, (point, error): (String, Error)) {
        self.notes.push(Notice::LeftUnmerged { point, why: error.chain() });
    }

    /// The copy, once it is durable: to be put into the state by the next save.
    pub(in crate::group) fn merged(&mut self, known: &Catalogue) -> Option<Merged> {
        let result = self.merging.copy.as_mut()?.copying.poll()?;
        let CopyUnderWay { point, shown, originals, .. } = self.merging.copy.take()?;
        match result {
            Ok(Copied::Spans(copy)) => {
                planted!(OriginalsRemovedBeforeState => {
                    self.remove(&super::copying::segments(&originals));
                });
                Some(Merged { point, originals, copy })
            }
            Ok(Copied::NotWorthIt | Copied::Stopped) => None,
            // Of a point that was given up meanwhile, segments are gone.
            Err(_) if known.point(point).is_none_or(|one| one.spans != originals) => None,
            Err(error) => {
                self.leave_unmerged((shown, error));
                None
            }
        }
    }

    /// Merges for lack of room: what waits for it, and once in a process also what earlier ones
    /// that were cut short have left. Returns false if there is nothing to merge.
    ///
    /// # Errors
    ///
    /// As [`merge_all`](Self::merge_all).
    pub(super) fn merge_for_room(&mut self, ledger: &mut Ledger) -> Result<bool> {
        if !std::mem::replace(&mut self.merging.has_looked_at_all, true) {
            let all = ledger.view().catalogue()?.all();
            // A copy is all that its point has.
            let took_over = all.filter(|point| {
                let is_copy = |span: &Span| span.first_record >= COPIES_FROM;
                point.spans.len() > 1 && !point.spans.iter().all(is_copy)
            });
            let found: Vec<_> = took_over.map(|point| point.id).collect();
            let waiting = &mut self.merging.waiting;
            waiting.extend(found.iter().filter(|id| !waiting.contains(id)).collect::<Vec<_>>());
        }
        if self.merging.waiting.is_empty() && self.merging.copy.is_none() {
            return Ok(false);
        }
        self.merge_all(ledger, &AtomicBool::new(false)).map(|()| true)
    }

    /// Merges all points that wait for it; `stop` ends that, and loses nothing.
    ///
    /// # Errors
    ///
    /// `Failed`: the state cannot be saved.
    pub(in crate::group) fn merge_all(
        &mut self,
        ledger: &mut Ledger,
        stop: &AtomicBool,
    ) -> Result<()> {
        loop {
            if let Some(reserved) = self.reserve_merge(ledger.view().catalogue()?) {
                // With all that the log has before those numbers: nobody looks for it there later.
                let end = self.durable_end(ledger.view().catalogue()?.open_epoch())?;
                ledger.save(|state| {
                    state.journal.iter_mut().for_each(|known| end.describe(known));
                })?;
                self.begin_merge(ledger, reserved);
            }
            let Some(copy) = &mut self.merging.copy else { return Ok(()) };
            copy.copying.wait(&copy.control, stop, Limits::USUAL);
            if let Some(merged) = self.merged(ledger.view().catalogue()?) {
                let mut unneeded = Vec::new();
                ledger.save(|state| {
                    unneeded.extend(state.journal.as_mut().map(|known| merged.put_into(known)));
                })?;
                self.remove(&unneeded.concat());
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }

    /// Ends a copy that is being written, and removes it.
    pub(super) fn abandon_merge(&mut self) {
        let Some(mut copy) = self.merging.copy.take() else { return };
        copy.copying.wait(&copy.control, &AtomicBool::new(true), Limits::USUAL);
        let numbers: Vec<_> = copy.numbers.map(SegmentNumber).collect();
        self.remove(&numbers);
    }
}
