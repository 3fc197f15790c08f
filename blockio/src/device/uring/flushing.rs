//! A flush beside transfers: in a thread of its own, because fdatasync(2) blocks, and because only
//! the writes before it have to be done, whatever was begun since.

use std::fs::File;
use std::io;
use std::thread::{Builder, JoinHandle};

/// A flush that was begun.
#[derive(Debug)]
pub(super) enum FlushUnderWay {
    /// Writes with numbers below this one have to be done first.
    AfterWrites(u64),
    /// The kernel is at it.
    InThread(JoinHandle<io::Result<()>>),
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
            Builder::new().name("flush".to_owned()).spawn(move || file.sync_data())
        });
        *self = match begun {
            Ok(thread) => Self::InThread(thread),
            Err(_) if !may_wait => return,
            // Without a thread everything waits for it, which is only slower.
            Err(_) => Self::Done(file.sync_data()),
        };
    }

    /// Whether it has ended.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::AfterWrites(_) => false,
            Self::InThread(thread) => thread.is_finished(),
            Self::Done(_) => true,
        }
    }

    /// Waits until it ends, and returns its result. It has begun.
    pub(super) fn wait(self) -> io::Result<()> {
        match self {
            Self::AfterWrites(_) => Err(io::ErrorKind::InvalidInput.into()),
            Self::InThread(thread) => {
                let ended = thread.join();
                ended.unwrap_or_else(|_| Err(io::Error::other("the thread that flushes ended")))
            }
            Self::Done(ended) => ended,
        }
    }
}
