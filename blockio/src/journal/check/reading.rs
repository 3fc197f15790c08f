//! What is read of the history during a check, and how far that is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::device::buffer::ArenaPool;
use crate::storage::Storage;
use crate::{Error, ErrorKind, Result};

/// The progress of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of segments so far.
    pub done: u64,
    /// Bytes in total; more may be appended meanwhile.
    pub of: u64,
}

/// The history that is read, and how much of it was.
pub(super) struct Reading<'a> {
    pub(super) storage: &'a Arc<dyn Storage>,
    pub(super) pool: ArenaPool,
    pub(super) stop: &'a AtomicBool,
    pub(super) observe: &'a mut dyn FnMut(Progress),
    /// The bytes to read, as far as the state knows.
    pub(super) of: u64,
    /// The number of records read.
    pub(super) records: u64,
    /// How many bytes were read.
    pub(super) bytes: u64,
}

impl Reading<'_> {
    /// Counts `bytes` as read.
    ///
    /// # Errors
    ///
    /// `Failed`: the check was stopped.
    pub(super) fn read(&mut self, bytes: u64) -> Result<()> {
        self.bytes += bytes;
        self.report();
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Error::new(ErrorKind::Failed, "stopped; nothing was changed")),
            false => Ok(()),
        }
    }

    /// Reports how far it is.
    pub(super) fn report(&mut self) {
        (self.observe)(Progress { done: self.bytes, of: self.of.max(self.bytes) });
    }
}
