//! A disk as the engine sees it: reads and writes of whole sectors in batches, and a flush.
//!
//! What is *not* here: which bytes to write (`plan`), in which order batches go and what a failed
//! write means for the volume (`apply`), and who may open a device (`volume`).
//!
//! Order is decided by the caller, never by the device: between two settles, operations may be
//! done in any order, so a caller settles before it writes where a write is under way.
//! A device never retries and never hides an error; after the first nothing more is asked of it.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::extent::{Extent, LbaExtent};
use crate::units::{ByteCount, ByteOffset, SectorSize};

pub mod blocking;
pub mod buffer;
mod clear;
mod disk_file;
pub mod memory;
pub mod open;
pub mod uring;

#[cfg(test)]
mod tests;

use buffer::Arena;

/// The longest single write or read, in bytes: what the kernel would split is split here.
pub const TRANSFER_BYTES_MAX: usize = 1 << 20;

/// What a disk is, measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// How long it is. An image file need not be whole sectors.
    pub capacity: ByteCount,
    /// Its logical block size: the unit of every transfer.
    pub sector_size: SectorSize,
}

/// One read or write: whole sectors between the disk and an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Where on the disk; a sector boundary.
    pub at: ByteOffset,
    /// Where in the arena; a multiple of the sector size.
    pub position: usize,
    /// How many bytes; whole sectors, at most [`TRANSFER_BYTES_MAX`]. The last one of an image file
    /// may reach past its end: what is past it is not written, and reads as zeros.
    pub length: usize,
}

impl Transfer {
    /// What of the disk it is about; none if it is nothing, or past the 64-bit range.
    #[must_use]
    pub fn extent(&self) -> Option<Extent> {
        Extent::new(self.at, ByteCount::new(self.length as u64)).ok()
    }
}

/// Writes that may be done in any order: no two of them touch the same sector.
#[derive(Debug)]
pub struct WriteBatch {
    /// The memory that `writes` point into; the device keeps it until the last of them is done.
    pub arena: Arc<Arena>,
    /// Data.
    pub writes: Vec<Transfer>,
    /// Whole sectors that read as zeros afterwards, by deallocation where the disk can do that.
    pub clears: Vec<Extent>,
}

/// Reads into one arena.
#[derive(Debug)]
pub struct ReadBatch {
    /// The memory read into.
    pub arena: Arena,
    /// Which sectors to where.
    pub reads: Vec<Transfer>,
}

/// What became of a batch whose reading was begun.
#[derive(Debug)]
pub enum Reading {
    /// It is done: this is its arena.
    Done(Arena),
    /// The device has it.
    UnderWay,
}

/// Proof that nothing is under way on a device: every write so far was reaped, none failed, and
/// short ones were finished. Only a device makes one; a flush needs it.
#[must_use = "a settled device is to be flushed, or the writes are not known to be durable"]
#[derive(Debug)]
pub struct Settled(());

#[cfg(test)]
impl Settled {
    /// Of a simulated device, which lives elsewhere.
    pub(crate) fn simulated() -> Self {
        Self(())
    }
}

/// Proof that what was settled is durable (BARRIER 2). Only a device makes one; a checkpoint needs
/// it.
#[must_use = "progress may be recorded now, and only now"]
#[derive(Debug)]
pub struct Flushed(());

#[cfg(test)]
impl Flushed {
    /// Of a simulated device, which lives elsewhere.
    pub(crate) fn simulated() -> Self {
        Self(())
    }
}

/// What was tried on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Reading an extent.
    Read(Extent),
    /// Writing an extent.
    Write(Extent),
    /// Making an extent read as zeros.
    Clear(Extent),
    /// Making writes durable.
    Flush,
}

/// A device did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{attempt}")]
pub struct DeviceError {
    /// What was asked.
    pub attempt: Attempt,
    /// What the kernel said.
    #[source]
    pub cause: io::Error,
}

impl Attempt {
    /// The sectors of `size` that it was about; none for a flush.
    #[must_use]
    pub fn sectors(&self, size: SectorSize) -> Option<LbaExtent> {
        match self {
            Self::Read(extent) | Self::Write(extent) | Self::Clear(extent) => {
                extent.align_outward(size)?.to_sectors(size)
            }
            Self::Flush => None,
        }
    }
}

impl DeviceError {
    /// The same error once more, for a device that says it each time it is asked.
    pub(crate) fn again(&self) -> Self {
        let cause = match self.cause.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::new(self.cause.kind(), self.cause.to_string()),
        };
        Self { attempt: self.attempt, cause }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(extent) => write!(f, "reading {extent}"),
            Self::Write(extent) => write!(f, "writing {extent}"),
            Self::Clear(extent) => write!(f, "writing zeros to {extent}"),
            Self::Flush => write!(f, "flushing"),
        }
    }
}

/// A disk. One that is settled may be given to another thread, and used there.
pub trait BlockDevice: Send {
    /// Its size and sector size, as they were at open.
    fn geometry(&self) -> Geometry;

    /// What does its I/O, for people: `io_uring`, `blocking` or `memory`.
    fn engine_name(&self) -> &'static str;

    /// Reads all of `batch` and gives its arena back when the last byte is there. Writes under way
    /// go on.
    ///
    /// # Errors
    ///
    /// The first read that failed, after all of them came to an end.
    fn read_batch(&mut self, batch: ReadBatch) -> Result<Arena, DeviceError>;

    /// Begins to read `batch`, and may return before it is done. Batches come back through
    /// [`finish_read`](Self::finish_read), in the order in which they were begun.
    ///
    /// # Errors
    ///
    /// As [`read_batch`](Self::read_batch).
    fn begin_read(&mut self, batch: ReadBatch) -> Result<Reading, DeviceError> {
        self.read_batch(batch).map(Reading::Done)
    }

    /// Whether the oldest batch that is under way has been read by now.
    fn is_read(&mut self) -> bool {
        true
    }

    /// Waits for the oldest batch that is under way, and gives its arena back.
    ///
    /// # Errors
    ///
    /// The first read of it that failed, after all of them came to an end. None is under way.
    fn finish_read(&mut self) -> Result<Arena, DeviceError> {
        let (attempt, cause) = (Attempt::Flush, io::ErrorKind::InvalidInput.into());
        Err(DeviceError { attempt, cause })
    }

    /// Takes `batch` and begins it; may return before it is done. Blocks while the queue is full.
    ///
    /// Arenas of writes that are done come back only in the calls of this trait: who waits for one
    /// calls [`reap`](Self::reap).
    ///
    /// # Errors
    ///
    /// A write that failed, of this batch or an earlier one.
    fn write_batch(&mut self, batch: WriteBatch) -> Result<(), DeviceError>;

    /// Gives back the arenas of what is done. If nothing is, and something is under way, waits for
    /// it: who waits for an arena calls this, since nothing comes back by itself. Says whether
    /// something is still under way.
    ///
    /// # Errors
    ///
    /// As [`settle`](Self::settle).
    fn reap(&mut self) -> Result<bool, DeviceError>;

    /// Waits until nothing is under way; arenas are given back on the way.
    ///
    /// # Errors
    ///
    /// The first write that failed since the device was opened, each time it is asked.
    fn settle(&mut self) -> Result<Settled, DeviceError>;

    /// Makes everything settled durable: file data, and the disk's own cache.
    ///
    /// # Errors
    ///
    /// What the kernel said. What was written before is then in an unknown state: the kernel may
    /// have dropped it, and a second flush would not tell. The device stays failed.
    fn flush(&mut self, settled: Settled) -> Result<Flushed, DeviceError>;

    /// Another thread will use it from now on. Who does not say so finds its file in use for some
    /// milliseconds after all of it was closed. Nothing may be under way.
    fn hand_over(&mut self) {}
}
