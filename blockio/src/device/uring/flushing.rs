//! A flush beside transfers: in a thread of its own, because fdatasync(2) blocks, and because only
//! the writes before it have to be done, whatever was begun since.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::Builder;

use crate::patience::{Limits, receive};

/// A flush that was begun.
#[derive(Debug)]
pub(super) enum FlushUnderWay {
    /// Writes with numbers below this one have to be done first.
    AfterWrites(u64),
    /// The kernel is at it; the thread sends the result once it has closed the disk.
    InThread(Receiver<io::Result<()>>),
    /// It has ended.
    Done(io::Result<()>),
}

impl FlushUnderWay {
    /// A flush of the writes with numbers below `first_other`.
    pub(super) fn of_writes_before(first_other: u64) -> Self {
        Self::AfterWrites(first_other)
    }

    /// The number below which writes have to be done before it begins; `None` once it has begun.
    pub(super) fn waits_for(&self) -> Option<u64> {
        match self {
            Self::AfterWrites(first_other) => Some(*first_other),
            Self::InThread(_) | Self::Done(_) => None,
        }
    }

    /// Begins it, unless it was begun. Every write that it includes is done. Unless `may_wait`, it
    /// is begun by a later call if there is no thread for it.
    pub(super) fn begin(&mut self, file: &File, may_wait: bool) {
        if self.waits_for().is_none() {
            return;
        }
        let begun = file.try_clone().and_then(|file| {
            let (outbox, result) = channel();
            let flush = move || {
                let flushed = file.sync_data();
                drop(file);
                drop(outbox.send(flushed));
            };
            Builder::new().name("flush".to_owned()).spawn(flush).map(|_| result)
        });
        *self = match begun {
            Ok(result) => Self::InThread(result),
            Err(_) if !may_wait => return,
            // Without a thread everything waits for it, which is only slower.
            Err(_) => Self::Done(file.sync_data()),
        };
    }

    /// Whether it has ended.
    pub(super) fn is_done(&mut self) -> bool {
        if let Self::InThread(result) = self {
            match result.try_recv() {
                Ok(ended) => *self = Self::Done(ended),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => *self = Self::Done(Err(thread_ended())),
            }
        }
        matches!(self, Self::Done(_))
    }

    /// Waits until it ends, and returns its result. It has begun. A disk that does not answer
    /// within `limits` is left to its thread.
    pub(super) fn wait(self, limits: Limits) -> io::Result<()> {
        match self {
            Self::AfterWrites(_) => Err(io::ErrorKind::InvalidInput.into()),
            Self::InThread(result) => {
                receive(&result, limits, "a flush")?.unwrap_or_else(|| Err(thread_ended()))
            }
            Self::Done(ended) => ended,
        }
    }
}

fn thread_ended() -> io::Error {
    io::Error::other("the thread that flushes ended")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flush_that_never_ends_is_given_up() {
        let limits =
            Limits { longest: Duration::from_millis(1), at_the_end: Duration::from_millis(1) };
        let (held, result) = channel();
        let mut flush = FlushUnderWay::InThread(result);
        assert!(!flush.is_done());
        let error = flush.wait(limits).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(held);
    }

    #[test]
    fn a_thread_that_ended_without_a_result_is_no_flush() {
        let (outbox, result) = channel();
        drop(outbox);
        let mut flush = FlushUnderWay::InThread(result);
        assert!(flush.is_done());
        assert!(flush.wait(Limits::USUAL).is_err());
    }
}
