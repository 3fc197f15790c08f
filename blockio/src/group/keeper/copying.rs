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
    /// Puts the copy in the place of its originals, if the point still has just those.
    pub(in crate::group) fn put_into(&self, catalogue: &mut Catalogue) {
        let mut points = catalogue.points.iter_mut();
        let found = points.find(|one| one.id == self.point && one.spans == self.originals);
        if let Some(point) = found {
            Arc::make_mut(point).spans.clone_from(&self.copy);
        }
    }

    /// The segments that no point of the saved `catalogue` has: the originals, or the copy.
    pub(super) fn unneeded(&self, catalogue: &Catalogue) -> Vec<SegmentNumber> {
        let has =
            |spans: &[Span]| catalogue.point(self.point).is_some_and(|one| one.spans == spans);
        // If the point does not have the copy, it was given up, or took over more meanwhile.
        segments(if has(&self.copy) { &self.originals } else { &self.copy })
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
