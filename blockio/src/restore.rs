//! Copies a view onto another disk or file, flushes it, and reads it back. Which view it is, and
//! whether the target may be written to, is up to the caller; `restore/reading` reads ahead.
//!
//! Order, and what a crash or an error in between leaves:
//!
//! 1. [`copy`] writes pieces of the view, in any order: the target holds some of them, and nothing
//!    on it shows that it is not a whole point;
//! 2. `copy` flushes (BARRIER 2): all of the view survives a power cut, provided the disk keeps its
//!    promises;
//! 3. [`verify`] reads all of it back, and compares it with the hashes taken from the view while
//!    copying. Only now may a file be given its name, and completion be reported.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;

use crate::device::buffer::{Arena, ArenaPool};
use crate::device::{BlockDevice, DeviceError, Flushed, Transfer, WriteBatch};
use crate::digest::{self, TreeDigest, Watch};
use crate::extent::Extent;
use crate::patience::{Limits, receive};
use crate::units::{ByteCount, SectorSize};
use crate::view::View;
use crate::{Error, ErrorKind, Result};

mod reading;

#[cfg(test)]
mod tests;

use reading::{Ahead, PIECE, Piece};

/// The longest run of adjacent zeros that is cleared in one call, in bytes: the kernel cannot be
/// interrupted in it.
const CLEAR_BYTES_MAX: u64 = 256 << 20;
const NOTHING_BYTES: NonZeroUsize = NonZeroUsize::new(4096).expect("invariant: not zero");

/// What a target held before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// A new file: it reads as zeros, and zeros that are not written take no room.
    Zeros,
    /// Unknown: zeros have to be written, deallocated where the disk supports it.
    Unknown,
}

/// Where a view is copied to.
pub struct Onto {
    /// Its name in messages.
    pub shown: String,
    /// At least as long as the view, and in use by nobody else. Everything past the view is left as
    /// it is, except the rest of the view's last sector, which becomes zeros.
    pub device: Box<dyn BlockDevice>,
    /// What it held before.
    pub before: Before,
}

/// What was copied, and is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The digest of the view, computed from the bytes that were written.
    pub digest: TreeDigest,
    /// How many bytes were not written as data because they are zeros.
    pub zero_bytes: ByteCount,
}

/// Copies all of `view`, and flushes. `watch` receives the number of bytes of the view written.
///
/// # Errors
///
/// `Refused`: the target is shorter than the view; nothing was written. All other errors leave a
/// target that holds a part of the view. `Failed`: something could not be read or written, or the
/// copy was stopped. `Integrity`: the history that the view is made of is damaged.
pub fn copy(view: &View, onto: Onto, watch: &mut Watch<'_>) -> Result<Copied> {
    let (length, room) = (view.geometry().capacity, onto.device.geometry().capacity);
    if room < length {
        let context =
            format!("{}: it has {room} bytes, and {} has {length}", onto.shown, view.shown());
        return Err(Error::refused(context).with_hint("name a larger one"));
    }
    let mut writing = Writing::new(onto)?;
    let copied = std::thread::scope(|scope| {
        // Dropped before the scope ends, also after an error: the reading threads end with it.
        let ahead = Ahead::start(scope, view, length, watch.stop)?;
        let copied = writing.write_all(&ahead, length, watch);
        if copied.is_err() {
            // The reading threads may be waiting for memory that the device holds; its error is
            // already known.
            let _ = writing.onto.device.settle();
        }
        copied
    })?;
    let _durable: Flushed = writing.flush()?;
    Ok(copied)
}

/// Reads `target` and compares it with what was `copied` to it; anything past that is not compared.
/// `target` must read from the medium, not from a copy in memory.
///
/// # Errors
///
/// `Integrity`: it holds something else. `Failed`: it could not be read, or the comparison was
/// stopped.
pub fn verify(copied: &Copied, target: &View, watch: &mut Watch<'_>) -> Result<()> {
    let findings = digest::verify(target, &copied.digest, watch)?;
    let Some(first) = findings.extents.first() else { return Ok(()) };
    let context = format!(
        "{}: {} bytes read back differently from what was written, the first in {first}",
        target.shown(),
        findings.differing
    );
    Err(Error::new(ErrorKind::Integrity, context)
        .with_hint("do not trust this disk: restore onto another one"))
}

/// A target that is being written.
struct Writing {
    onto: Onto,
    sector_size: SectorSize,
    /// The last run of zeros, not cleared yet.
    zeros: Option<Extent>,
    zero_bytes: u64,
    /// The memory of a batch without data.
    nothing: Arc<Arena>,
}

impl Writing {
    fn new(onto: Onto) -> Result<Self> {
        let sector_size = onto.device.geometry().sector_size;
        let nothing = ArenaPool::new(1, NOTHING_BYTES)
            .map_err(|error| Error::failed("allocating memory for I/O", error))?;
        let nothing = Arc::new(nothing.take()?);
        Ok(Self { onto, sector_size, zeros: None, zero_bytes: 0, nothing })
    }

    fn write_all(
        &mut self,
        ahead: &Ahead,
        length: ByteCount,
        watch: &mut Watch<'_>,
    ) -> Result<Copied> {
        let count = PIECE.leaves_of(length);
        let mut leaves = vec![None; count as usize];
        let mut done = 0;
        while let Some(piece) = self.next(ahead)? {
            let piece = piece?;
            leaves[piece.index as usize] = Some(piece.leaf);
            done += piece.extent.length().get();
            self.write(piece)?;
            (watch.progress)(done);
        }
        self.clear_zeros()?;
        let leaves: Vec<_> = leaves.into_iter().flatten().collect();
        // A reading thread that was stopped early reports it in a piece; the number of leaves is
        // checked anyway.
        let digest = TreeDigest::of_leaves(length, PIECE, leaves)?;
        Ok(Copied { digest, zero_bytes: ByteCount::new(self.zero_bytes) })
    }

    /// The next piece, in any order. While none is ready, gets memory back from the device: nobody
    /// else returns it to the reading threads.
    fn next(&mut self, ahead: &Ahead) -> Result<Option<Result<Piece>>> {
        loop {
            match ahead.pieces.try_recv() {
                Ok(piece) => return Ok(Some(piece)),
                Err(TryRecvError::Disconnected) => return Ok(None),
                Err(TryRecvError::Empty) => {}
            }
            if !self.onto.device.reap().map_err(|error| self.failed(error))? {
                return receive(&ahead.pieces, Limits::USUAL, "a piece of the recovery point")
                    .map_err(|error| Error::failed("reading the recovery point", error));
            }
        }
    }

    fn write(&mut self, piece: Piece) -> Result<()> {
        let Piece { extent, data, arena, .. } = piece;
        let runs: Vec<Extent> = match self.onto.before {
            Before::Zeros => data,
            Before::Unknown if data.is_empty() => return self.add_zeros(extent),
            // Each clearing is a call, which costs more than writing a short run.
            Before::Unknown => vec![extent],
        };
        let written: u64 = runs.iter().map(|run| run.length().get()).sum();
        self.zero_bytes += extent.length().get() - written;
        if runs.is_empty() {
            return Ok(());
        }
        let writes = runs.iter().map(|run| self.transfer(extent, *run)).collect();
        let batch = WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() };
        self.onto.device.write_batch(batch).map_err(|error| self.failed(error))
    }

    /// The transfer for `run`, a part of the piece at `piece`. Past the end of the view, the
    /// piece's memory is zeros.
    fn transfer(&self, piece: Extent, run: Extent) -> Transfer {
        let position = (run.start().get() - piece.start().get()) as usize;
        let sector = self.sector_size.bytes().get() as usize;
        let length = (run.length().get() as usize).next_multiple_of(sector);
        Transfer { at: run.start(), position, length }
    }

    /// Adds the zeros of `extent`, on a target whose content is unknown.
    fn add_zeros(&mut self, extent: Extent) -> Result<()> {
        self.zero_bytes += extent.length().get();
        let joined = self.zeros.and_then(|zeros| zeros.join(extent));
        let joined = joined.filter(|joined| joined.length().get() <= CLEAR_BYTES_MAX);
        if joined.is_none() {
            self.clear_zeros()?;
        }
        self.zeros = Some(joined.unwrap_or(extent));
        Ok(())
    }

    fn clear_zeros(&mut self) -> Result<()> {
        let Some(zeros) = self.zeros.take() else { return Ok(()) };
        let clears = zeros.align_outward(self.sector_size).into_iter().collect();
        let batch = WriteBatch { arena: Arc::clone(&self.nothing), writes: Vec::new(), clears };
        self.onto.device.write_batch(batch).map_err(|error| self.failed(error))
    }

    fn flush(&mut self) -> Result<Flushed> {
        let device = &mut self.onto.device;
        device
            .settle()
            .and_then(|settled| device.flush(settled))
            .map_err(|error| self.failed(error))
    }

    fn failed(&self, error: DeviceError) -> Error {
        let place = error.attempt.sectors(self.sector_size);
        let place = place.map_or_else(String::new, |sectors| format!(" ({sectors})"));
        let hint = match error.cause.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => "make room, or restore to another place",
            Some(libc::EFBIG) => "this filesystem takes no file of that size: name another place",
            _ => "look at the kernel's log; restore again, or onto another disk",
        };
        let context = format!("{}: {}{place}", self.onto.shown, error.attempt);
        Error::failed(context, error.cause).with_hint(hint)
    }
}
