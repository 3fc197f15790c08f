//! Merges the epochs of points that took over from others, beside the run: one copy at a time.
//!
//! Order, and what a crash in between leaves:
//!
//! 1. the state is saved with the numbers of the copy's segments reserved, and the log goes on after
//!    them: a crash leaves numbers that nobody uses;
//! 2. the copy is written and flushed: a crash leaves segments that no point has;
//! 3. the state is saved with the copy in place of its originals: a crash leaves those, which no
//!    point has any more;
//! 4. the originals are removed.
//!
//! What no point has is removed by the next open.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::device::buffer::ArenaPool;
use crate::group::keeper::Keeper;
use crate::group::ledger::Ledger;
use crate::journal::catalogue::{Catalogue, PointId, Span};
use crate::journal::compact::{COPY_ARENAS, Compaction, Copied};
use crate::journal::layout::RECORD_BYTES_MAX;
use crate::journal::retention;
use crate::journal::selector::shown;
use crate::notice::Notice;
use crate::storage::SegmentNumber;
use crate::{Error, ErrorKind, Result};

const RECORD_BYTES: NonZeroUsize =
    NonZeroUsize::new(RECORD_BYTES_MAX).expect("invariant: not zero");
/// How often the stop flag is checked while a copy is waited for.
const STEP: Duration = Duration::from_millis(100);

/// The points to merge, and the copy that is being written.
#[derive(Default)]
pub(super) struct Merging {
    waiting: VecDeque<PointId>,
    copy: Option<CopyUnderWay>,
}

/// A copy that is being written.
struct CopyUnderWay {
    point: PointId,
    shown: String,
    originals: Vec<Span>,
    numbers: Range<u64>,
    copying: Copying,
    stop: Arc<AtomicBool>,
}

enum Copying {
    /// It is written, in the caller's thread.
    Done(Option<Result<Copied>>),
    /// A thread writes it.
    InThread { result: Receiver<Result<Copied>>, thread: Option<JoinHandle<()>> },
}

/// The numbers of the segments of a copy: to be in the saved state before the copy begins.
#[must_use = "the state is to be saved, then the merge begins"]
pub(in crate::group) struct Reserved {
    point: PointId,
    numbers: Range<u64>,
}

/// A copy that is durable.
pub(in crate::group) struct Merged {
    point: PointId,
    originals: Vec<Span>,
    copy: Vec<Span>,
}

impl Merged {
    /// Puts the copy in the place of its originals, if the point still has just those.
    pub(in crate::group) fn put_into(&self, catalogue: &mut Catalogue) {
        let mut points = catalogue.points.iter_mut();
        let found = points.find(|one| one.id == self.point && one.spans == self.originals);
        if let Some(point) = found {
            Arc::make_mut(point).spans.clone_from(&self.copy);
        }
    }

    /// The segments that no point of the saved `catalogue` has: the originals, or the copy.
    fn unneeded(&self, catalogue: &Catalogue) -> Vec<SegmentNumber> {
        let has =
            |spans: &[Span]| catalogue.point(self.point).is_some_and(|one| one.spans == spans);
        // If the point does not have the copy, it was given up, or took over more meanwhile.
        segments(if has(&self.copy) { &self.originals } else { &self.copy })
    }
}

fn segments(of: &[Span]) -> Vec<SegmentNumber> {
    of.iter().map(|span| span.segment).collect()
}

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
    pub(in crate::group) fn merged(&mut self) -> Option<Merged> {
        let result = self.merging.copy.as_mut()?.copying.poll()?;
        let CopyUnderWay { point, shown, originals, .. } = self.merging.copy.take()?;
        match result {
            Ok(Copied::Spans(copy)) => {
                planted!(OriginalsRemovedBeforeState => {
                    self.remove(&segments(&originals));
                });
                Some(Merged { point, originals, copy })
            }
            Ok(Copied::NotWorthIt | Copied::Stopped) => None,
            Err(error) => {
                self.leave_unmerged((shown, error));
                None
            }
        }
    }

    /// Removes what no point has any more, now that the state is saved.
    pub(in crate::group) fn remove_merged(&mut self, known: &Catalogue, merged: &Merged) {
        let unneeded = merged.unneeded(known);
        self.remove(&unneeded);
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
            if let Some(merged) = self.merged() {
                ledger.save(|state| {
                    state.journal.iter_mut().for_each(|known| merged.put_into(known));
                })?;
                self.remove_merged(ledger.view().catalogue()?, &merged);
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

impl Copying {
    /// The result, if there is one by now.
    fn poll(&mut self) -> Option<Result<Copied>> {
        match self {
            Self::Done(result) => result.take(),
            Self::InThread { result, .. } => match result.try_recv() {
                Ok(result) => Some(result),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => {
                    Some(Err(Error::new(ErrorKind::Failed, "the thread that merges has ended")))
                }
            },
        }
    }

    /// Waits until there is a result. If `wanted` is set meanwhile, the copy is to stop.
    fn wait(&mut self, stop: &AtomicBool, wanted: &AtomicBool) {
        let Self::InThread { result, .. } = self else { return };
        loop {
            if wanted.load(Ordering::Relaxed) {
                stop.store(true, Ordering::Relaxed);
            }
            match result.recv_timeout(STEP) {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(found) => {
                    self.end();
                    *self = Self::Done(Some(found));
                    return;
                }
            }
        }
    }

    /// Waits for the thread.
    fn end(&mut self) {
        if let Self::InThread { thread, .. } = self {
            let _ = thread.take().map(JoinHandle::join);
        }
    }
}
