//! A copy of merged epochs that is being written, and what becomes of it. Which point is next, and
//! what is saved when, is decided by `merging`.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::journal::catalogue::{Catalogue, PointId, Span};
use crate::journal::compact::Copied;
use crate::storage::SegmentNumber;
use crate::{Error, ErrorKind, Result};

/// How often the stop flag is checked while a copy is waited for.
const STEP: Duration = Duration::from_millis(100);

/// The points to merge, and the copy that is being written.
#[derive(Default)]
pub(super) struct Merging {
    pub(super) waiting: VecDeque<PointId>,
    pub(super) copy: Option<CopyUnderWay>,
}

/// A copy that is being written.
pub(super) struct CopyUnderWay {
    pub(super) point: PointId,
    pub(super) shown: String,
    pub(super) originals: Vec<Span>,
    pub(super) numbers: Range<u64>,
    pub(super) copying: Copying,
    pub(super) stop: Arc<AtomicBool>,
}

pub(super) enum Copying {
    /// It is written, in the caller's thread.
    Done(Option<Result<Copied>>),
    /// A thread writes it.
    InThread { result: Receiver<Result<Copied>>, thread: Option<JoinHandle<()>> },
}

/// The numbers of the segments of a copy: to be in the saved state before the copy begins.
#[must_use = "the state is to be saved, then the merge begins"]
pub(in crate::group) struct Reserved {
    pub(super) point: PointId,
    pub(super) numbers: Range<u64>,
}

/// A copy that is durable.
pub(in crate::group) struct Merged {
    pub(super) point: PointId,
    pub(super) originals: Vec<Span>,
    pub(super) copy: Vec<Span>,
}

impl Merged {
    /// Puts the copy in the place of its originals, if the point still has just those; returns the
    /// segments that no point needs any more once that is saved: the originals, or the copy. In the
    /// same save, the point may take over more, or be taken over itself.
    pub(in crate::group) fn put_into(&self, catalogue: &mut Catalogue) -> Vec<SegmentNumber> {
        let mut points = catalogue.points.iter_mut();
        let found = points.find(|one| one.id == self.point && one.spans == self.originals);
        match found {
            Some(point) => {
                Arc::make_mut(point).spans.clone_from(&self.copy);
                segments(&self.originals)
            }
            None => segments(&self.copy),
        }
    }
}

pub(super) fn segments(of: &[Span]) -> Vec<SegmentNumber> {
    of.iter().map(|span| span.segment).collect()
}

impl Copying {
    /// The result, if there is one by now.
    pub(super) fn poll(&mut self) -> Option<Result<Copied>> {
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
    pub(super) fn wait(&mut self, stop: &AtomicBool, wanted: &AtomicBool) {
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
    pub(super) fn end(&mut self) {
        if let Self::InThread { thread, .. } = self {
            let _ = thread.take().map(JoinHandle::join);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::catalogue::{NewPoint, PointKind};

    fn span(segment: u64) -> Span {
        Span { segment: SegmentNumber(segment), bytes: 10, first_record: 1, next_record: 2 }
    }

    /// The points 0 to 3, with the segments 1 to 3, of which the first three points have one each.
    fn catalogue() -> Catalogue {
        let mut catalogue = Catalogue::new([7; 16], 1);
        for number in 1..=3 {
            let new = NewPoint { time: number, kind: PointKind::Crash, name: None };
            catalogue.seal(vec![span(number)], new, 100);
        }
        catalogue
    }

    fn copy_of(originals: &[u64]) -> Merged {
        let originals = originals.iter().copied().map(span).collect();
        Merged { point: PointId(1), originals, copy: vec![span(9)] }
    }

    #[test]
    fn a_copy_takes_the_place_of_its_originals_whatever_the_point_takes_over_then() {
        let mut catalogue = catalogue();
        let unneeded = copy_of(&[2]).put_into(&mut catalogue);
        let forgotten = catalogue.forget(&[PointId(2)]);
        assert_eq!((unneeded, forgotten.unneeded), (vec![SegmentNumber(2)], vec![]));
        assert_eq!(catalogue.point(PointId(1)).unwrap().spans, [span(9), span(3)]);
    }

    #[test]
    fn a_copy_of_what_a_point_has_no_more_is_unneeded_itself() {
        let mut catalogue = catalogue();
        let _ = catalogue.forget(&[PointId(2)]);
        let before = catalogue.clone();
        assert_eq!(copy_of(&[2]).put_into(&mut catalogue), [SegmentNumber(9)]);
        assert_eq!(catalogue, before);
    }
}
