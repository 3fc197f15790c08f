//! A disk as the engine sees it: reads and writes of whole sectors in batches, and a flush.
//!
//! What is *not* here: which bytes to write (`plan`), in which order batches go and what a failed
//! write means for the volume (`apply`), and who may open a device (`volume`).
//!
//! Order is decided by the caller, never by the device: between two settles, operations may
//! complete in any order, so a caller settles before it writes to a range that has a write under
//! way. A device never retries and never hides an error; after the first nothing more is asked of
//! it.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::extent::{Extent, LbaExtent};
use crate::units::{ByteCount, ByteOffset, SectorSize};

pub mod blocking;
pub mod buffer;
mod clear;
mod disk_file;
mod engine;
pub mod memory;
pub mod open;
pub(crate) mod shared;
pub mod uring;

#[cfg(test)]
mod tests;

use buffer::Arena;
pub use engine::Engine;

/// The longest single write or read, in bytes: anything the kernel would split is split here.
pub const TRANSFER_BYTES_MAX: usize = 1 << 20;
/// How much a disk takes undivided, in bytes. Most take 128 segments of memory, and a segment is a
/// page unless pages happen to be neighbours; the kernel divides what is longer. Whoever is held to
/// a rate by a control group is charged for the second part twice.
pub(crate) const UNDIVIDED_BYTES_MAX: usize = 512 << 10;

/// Measured properties of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Its length. The length of an image file need not be a multiple of the sector size.
    pub capacity: ByteCount,
    /// Its logical block size: the unit of every transfer.
    pub sector_size: SectorSize,
}

/// One read or write: whole sectors between the disk and an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Offset on the disk; a sector boundary.
    pub at: ByteOffset,
    /// Position in the arena; a multiple of the sector size.
    pub position: usize,
    /// Length in bytes; whole sectors, at most [`TRANSFER_BYTES_MAX`]. The last transfer of an
    /// image file may reach past its end: the part past the end is not written, and reads as zeros.
    pub length: usize,
}

impl Transfer {
    /// The extent of the disk it covers; `None` if it is empty, or past the 64-bit range.
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
    /// The data to write.
    pub writes: Vec<Transfer>,
    /// Whole sectors to be read as zeros afterwards, deallocated where the disk supports it.
    pub clears: Vec<Extent>,
}

/// Reads into one arena.
#[derive(Debug)]
pub struct ReadBatch {
    /// The memory to read into.
    pub arena: Arena,
    /// Which sectors go where.
    pub reads: Vec<Transfer>,
}

/// The state of a batch after [`begin_read`](BlockDevice::begin_read).
#[derive(Debug)]
pub enum Reading {
    /// It is done: this is its arena.
    Done(Arena),
    /// It is still under way in the device.
    UnderWay,
}

/// The state of a flush after [`begin_flush`](BlockDevice::begin_flush).
#[derive(Debug)]
pub enum Flushing {
    /// It is done.
    Done(Flushed),
    /// It is still under way in the device.
    UnderWay,
}

/// Proof that nothing is under way on a device: every write so far was reaped, none failed, and
/// short writes were finished. Only a device makes one; a flush needs it.
#[must_use = "a settled device is to be flushed, or the writes are not known to be durable"]
#[derive(Debug)]
pub struct Settled(());

#[cfg(test)]
impl Settled {
    /// Proof for a simulated device, which lives in another module.
    pub(crate) fn simulated() -> Self {
        Self(())
    }
}

/// Proof that the settled writes are durable (BARRIER 2). Only a device makes one; a checkpoint
/// needs it.
#[must_use = "progress may be recorded now, and only now"]
#[derive(Debug)]
pub struct Flushed(());

#[cfg(test)]
impl Flushed {
    /// Proof for a simulated device, which lives in another module.
    pub(crate) fn simulated() -> Self {
        Self(())
    }
}

/// The operation that was attempted on a device.
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

/// A device operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("{attempt}")]
pub struct DeviceError {
    /// The operation.
    pub attempt: Attempt,
    /// The kernel's error.
    #[source]
    pub cause: io::Error,
}

impl Attempt {
    /// The sectors of `size` that it covers; `None` for a flush.
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
    /// A copy of this error, for a device that reports it each time it is asked.
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

/// A disk. A settled one may be moved to another thread and used there.
pub trait BlockDevice: Send {
    /// Its size and sector size, as they were at open.
    fn geometry(&self) -> Geometry;

    /// The name of its I/O engine, for people: `io_uring`, `blocking` or `memory`.
    fn engine_name(&self) -> &'static str;

    /// Another device for the same disk, with `engine`, to read from at the same time; `None` if
    /// there is no such thing. What is written through one is not ordered with the other.
    fn another(&self, _: Engine) -> Option<Box<dyn BlockDevice>> {
        None
    }

    /// Reads all of `batch` and returns its arena when the last byte has arrived. Writes under way
    /// continue.
    ///
    /// # Errors
    ///
    /// The first read that failed, after all reads have ended.
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

    /// Whether the oldest batch under way has been read.
    fn is_read(&mut self) -> bool {
        true
    }

    /// Waits for the oldest batch under way, and returns its arena.
    ///
    /// # Errors
    ///
    /// The first of its reads that failed, after all of them have ended. Also an error if no batch
    /// is under way.
    fn finish_read(&mut self) -> Result<Arena, DeviceError> {
        let (attempt, cause) = (Attempt::Flush, io::ErrorKind::InvalidInput.into());
        Err(DeviceError { attempt, cause })
    }

    /// Takes `batch` and begins to write it; may return before it is done. Blocks while the queue
    /// is full.
    ///
    /// Arenas of finished writes come back only in calls of this trait: a caller that waits for one
    /// calls [`reap`](Self::reap).
    ///
    /// # Errors
    ///
    /// A write that failed, of this batch or an earlier one.
    fn write_batch(&mut self, batch: WriteBatch) -> Result<(), DeviceError>;

    /// Gives back the arenas of finished writes. If none is finished and one is under way, waits
    /// for it: a caller that waits for an arena calls this, because none comes back by itself.
    /// Returns whether something is still under way.
    ///
    /// # Errors
    ///
    /// As [`settle`](Self::settle).
    fn reap(&mut self) -> Result<bool, DeviceError>;

    /// As [`reap`](Self::reap), but does not wait.
    ///
    /// # Errors
    ///
    /// As [`settle`](Self::settle).
    fn collect(&mut self) -> Result<bool, DeviceError> {
        self.reap()
    }

    /// Waits until nothing is under way, and gives back the arenas.
    ///
    /// # Errors
    ///
    /// The first write that failed since the device was opened, each time this is called.
    fn settle(&mut self) -> Result<Settled, DeviceError>;

    /// Makes all settled writes durable: file data, and the disk's own cache.
    ///
    /// # Errors
    ///
    /// The kernel's error. Everything written before is then in an unknown state: the kernel may
    /// have dropped it, and a second flush would not report that. The device stays failed.
    fn flush(&mut self, settled: Settled) -> Result<Flushed, DeviceError>;

    /// Begins to make durable what was written before this call, and may return before it is done.
    /// What is written from now on may or may not be durable then. There is one flush at a time,
    /// and [`flush`](Self::flush) includes it.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    fn begin_flush(&mut self) -> Result<Flushing, DeviceError> {
        let settled = self.settle()?;
        self.flush(settled).map(Flushing::Done)
    }

    /// Whether the flush under way has been done.
    fn is_flushed(&mut self) -> bool {
        true
    }

    /// Waits for the flush under way.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush). Also an error if no flush is under way.
    fn finish_flush(&mut self) -> Result<Flushed, DeviceError> {
        let (attempt, cause) = (Attempt::Flush, io::ErrorKind::InvalidInput.into());
        Err(DeviceError { attempt, cause })
    }

    /// Announces that another thread will use the device from now on. Without this call, the file
    /// stays in use for some milliseconds after everything was closed. Nothing may be under way.
    fn hand_over(&mut self) {}
}
