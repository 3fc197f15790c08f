//! A copy of merged epochs that is being written, and what becomes of it. Which point is next, and
//! what is saved when, is decided by `merging`.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use crate::journal::catalogue::{Catalogue, PointId, Span};
use crate::journal::compact::{Control, Copied};
use crate::patience::{Limits, Patience};
use crate::storage::SegmentNumber;
use crate::{Error, ErrorKind, Result};

/// How often the stop flag is checked while a copy is waited for.
const STEP: Duration = Duration::from_millis(100);

/// The points to merge, and the copy that is being written.
#[derive(Default)]
pub(super) struct Merging {
    pub(super) waiting: VecDeque<PointId>,
    pub(super) copy: Option<CopyUnderWay>,
    /// Whether all points were looked at for lack of room.
    pub(super) has_looked_at_all: bool,
}

/// A copy that is being written.
pub(super) struct CopyUnderWay {
    pub(super) point: PointId,
    pub(super) shown: String,
    pub(super) originals: Vec<Span>,
    pub(super) numbers: Range<u64>,
    pub(super) copying: Copying,
    pub(super) control: Arc<Control>,
}

/// Who writes a copy.
pub(super) enum Copying {
    /// It is written; the result, until it is taken.
    Done(Option<Result<Copied>>),
    /// A thread.
    InThread(Receiver<Result<Copied>>),
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
            Self::InThread(result) => match result.try_recv() {
                Ok(result) => Some(result),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(Err(thread_ended())),
            },
        }
    }

    /// Waits until there is a result: at the latest when nothing was copied within `limits`. If
    /// `stop` is set meanwhile, the copy is to stop.
    pub(super) fn wait(&mut self, control: &Control, stop: &AtomicBool, limits: Limits) {
        let Self::InThread(result) = self else { return };
        let (mut patience, mut copied) = (Patience::new(limits), control.records());
        let ended = loop {
            if stop.load(Ordering::Relaxed) {
                control.stop();
            }
            if control.records() != copied {
                (patience, copied) = (Patience::new(limits), control.records());
            }
            match result.recv_timeout(STEP) {
                Ok(ended) => break ended,
                Err(RecvTimeoutError::Disconnected) => break Err(thread_ended()),
                Err(RecvTimeoutError::Timeout) => {
                    // Its thread is left alone: it hangs in the kernel, or in a disk.
                    let text = || "the copy of merged history".to_owned();
                    if let Err(error) = patience.go_on(text) {
                        break Err(Error::failed("merging history", error));
                    }
                }
            }
        };
        *self = Self::Done(Some(ended));
    }
}

fn thread_ended() -> Error {
    Error::new(ErrorKind::Failed, "the thread that merges history has ended")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

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

    #[test]
    fn a_copy_that_no_longer_gets_on_is_not_waited_for_for_ever() {
        let limits =
            Limits { longest: Duration::from_millis(1), at_the_end: Duration::from_millis(1) };
        let (held, result) = channel();
        let mut copying = Copying::InThread(result);
        assert!(copying.poll().is_none());
        copying.wait(&Control::default(), &AtomicBool::new(false), limits);
        assert!(matches!(copying.poll(), Some(Err(_))));
        drop(held);
    }

    #[test]
    fn a_copy_whose_run_is_to_stop_is_told_so() {
        let (outbox, result) = channel();
        let (control, mut copying) = (Control::default(), Copying::InThread(result));
        outbox.send(Ok(Copied::Stopped)).unwrap();
        copying.wait(&control, &AtomicBool::new(true), Limits::USUAL);
        assert!(control.is_stopped());
        assert!(matches!(copying.poll(), Some(Ok(Copied::Stopped))));
        assert!(copying.poll().is_none());
    }
}
