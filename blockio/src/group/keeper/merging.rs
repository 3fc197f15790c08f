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

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use crate::device::buffer::ArenaPool;
use crate::group::keeper::Keeper;
use crate::group::keeper::copying::{CopyUnderWay, Copying, Merged, Reserved};
use crate::group::ledger::Ledger;
use crate::journal::catalogue::{Catalogue, PointId};
use crate::journal::compact::{COPY_ARENAS, Compaction, Copied};
use crate::journal::layout::RECORD_BYTES_MAX;
use crate::journal::retention;
use crate::journal::selector::shown;
use crate::notice::Notice;
use crate::storage::SegmentNumber;
use crate::{Error, Result};

const RECORD_BYTES: NonZeroUsize =
    NonZeroUsize::new(RECORD_BYTES_MAX).expect("invariant: not zero");
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
        let stop = Arc::new(AtomicBool::new(false));
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
            stop: Arc::clone(&stop),
        };
        let copying = match self.settings.in_thread {
            false => Copying::Done(Some(compaction.run(&found))),
            true => {
                let (outbox, result) = channel();
                let copy = move || drop(outbox.send(compaction.run(&found)));
                let thread = std::thread::Builder::new().name("merge".to_owned()).spawn(copy);
                let failed = |error| {
                    (shown.clone(), Error::failed("starting the thread that merges", error))
                };
                Copying::InThread { result, thread: Some(thread.map_err(failed)?) }
            }
        };
        self.merging.copy = Some(CopyUnderWay { point, shown, originals, numbers, copying, stop });
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
                let next = reserved.numbers.end;
                ledger.save(|state| {
                    state.journal.iter_mut().for_each(|known| known.next_segment = next);
                })?;
                self.begin_merge(ledger, reserved);
            }
            let Some(copy) = &mut self.merging.copy else { return Ok(()) };
            copy.copying.wait(&copy.stop, stop);
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
        copy.stop.store(true, Ordering::Relaxed);
        copy.copying.end();
        let numbers: Vec<_> = copy.numbers.map(SegmentNumber).collect();
        self.remove(&numbers);
    }
}
