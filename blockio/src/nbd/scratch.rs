//! A layer above a view that takes writes and is thrown away: nothing of it reaches the disk below,
//! and nothing of it outlives the process. How writes arrive is not here.
//!
//! Written data is in an unnamed sparse file, at the same offset as on the disk. Two sets record
//! which blocks the layer has: those with bytes in the file, and those that are zeros. A block is
//! in at most one of them, and only after its bytes are in the file: what a failed write left there
//! is never read, except where the layer already had the block.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use nix::fcntl::{FallocateFlags, fallocate};
use roaring::RoaringTreemap;

use crate::extent::Extent;
use crate::units::{ByteCount, ByteOffset};
use crate::view::{Allocation, View};
use crate::{Error, ErrorKind, Result};

/// The unit of tracking: bytes of a block that nobody wrote are copied from below once.
const BLOCK_BYTES: u64 = 4096;
const ZEROS: [u8; BLOCK_BYTES as usize] = [0; BLOCK_BYTES as usize];

/// A writable layer, usable by many threads simultaneously: a write is seen by every read that
/// begins after it, and by none in part.
pub struct Scratch {
    file: File,
    capacity: u64,
    blocks: RwLock<Blocks>,
}

/// The blocks that the layer has, by number; no block is in both sets.
#[derive(Default)]
struct Blocks {
    data: RoaringTreemap,
    zeros: RoaringTreemap,
}

/// The source of the bytes of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Below,
    File,
    Zeros,
}

/// Adjacent bytes with one source.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: u64,
    end: u64,
    source: Source,
}

impl Scratch {
    /// An empty layer above `view`. Written data takes up room in `directory`.
    ///
    /// # Errors
    ///
    /// `Failed`: no file can be made there, or not of that length.
    pub fn new(directory: &Path, view: &View) -> Result<Self> {
        let capacity = view.geometry().capacity.get();
        let made = tempfile::tempfile_in(directory).and_then(|file| {
            file.set_len(capacity)?;
            Ok(file)
        });
        let file = made.map_err(|error| {
            let context = format!("making a file for writes in {}", directory.display());
            Error::failed(context, error).with_hint("choose a directory on a local file system")
        })?;
        Ok(Self { file, capacity, blocks: RwLock::default() })
    }

    /// Fills `buffer` with what was written from `at` on, and with the content of `below`
    /// elsewhere.
    ///
    /// # Errors
    ///
    /// `Usage`: part of it is outside. `Failed`: it could not be read.
    pub fn read(&self, below: &View, at: ByteOffset, buffer: &mut [u8]) -> Result<()> {
        let end = self.end_inside(at, buffer.len() as u64)?;
        let blocks = self.blocks.read().unwrap_or_else(PoisonError::into_inner);
        self.read_merged(&blocks, below, at.get()..end, buffer)
    }

    /// Writes `data` at `at`.
    ///
    /// # Errors
    ///
    /// `Usage`: part of it is outside. `Failed`: there is no room, or `below` could not be read;
    /// then some of `data` may be written.
    pub fn write(&self, below: &View, at: ByteOffset, data: &[u8]) -> Result<()> {
        self.end_inside(at, data.len() as u64)?;
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        self.write_locked(&mut blocks, below, at.get(), data)
    }

    /// Makes `extent` read as zeros; whole blocks of it give their room back.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn zero(&self, below: &View, extent: Extent) -> Result<()> {
        let (start, end) = (extent.start().get(), extent.end().get());
        self.end_inside(extent.start(), extent.length().get())?;
        let first = start.div_ceil(BLOCK_BYTES);
        // The last block of a disk may be short, and still counts as whole.
        let after =
            if end == self.capacity { end.div_ceil(BLOCK_BYTES) } else { end / BLOCK_BYTES };
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        if first >= after {
            return self.zero_inside_blocks(&mut blocks, below, start, end);
        }
        self.zero_inside_blocks(&mut blocks, below, start, first * BLOCK_BYTES)?;
        self.zero_inside_blocks(&mut blocks, below, after * BLOCK_BYTES, end)?;
        blocks.zeros.insert_range(first..after);
        blocks.data.remove_range(first..after);
        self.give_back(first * BLOCK_BYTES, (after - first) * BLOCK_BYTES);
        Ok(())
    }

    /// The parts of `extent`, each with whether it is known to be zeros: adjacent parts that cover
    /// all of it.
    ///
    /// # Errors
    ///
    /// `Usage`: part of it is outside. `Failed`: `below` cannot report it.
    pub fn allocation(&self, below: &View, extent: Extent) -> Result<Vec<Allocation>> {
        self.end_inside(extent.start(), extent.length().get())?;
        let blocks = self.blocks.read().unwrap_or_else(PoisonError::into_inner);
        let mut parts = Vec::new();
        for run in blocks.runs(extent.start().get(), extent.end().get()) {
            let extent = run.extent();
            match run.source {
                Source::Below => parts.extend(below.allocation(extent)?),
                Source::File => parts.push(Allocation { extent, is_hole: false }),
                Source::Zeros => parts.push(Allocation { extent, is_hole: true }),
            }
        }
        Ok(parts)
    }

    fn end_inside(&self, at: ByteOffset, length: u64) -> Result<u64> {
        let end = at.checked_add(ByteCount::new(length)).map(ByteOffset::get);
        end.filter(|end| *end <= self.capacity)
            .ok_or_else(|| Error::new(ErrorKind::Usage, "accessing the scratch layer past its end"))
    }

    fn read_merged(
        &self,
        blocks: &Blocks,
        below: &View,
        range: std::ops::Range<u64>,
        buffer: &mut [u8],
    ) -> Result<()> {
        for run in blocks.runs(range.start, range.end) {
            let inside = (run.start - range.start) as usize..(run.end - range.start) as usize;
            let piece = &mut buffer[inside];
            match run.source {
                Source::Below => below.read(ByteOffset::new(run.start), piece)?,
                Source::Zeros => piece.fill(0),
                Source::File => self
                    .file
                    .read_exact_at(piece, run.start)
                    .map_err(|error| Error::failed("reading the scratch layer", error))?,
            }
        }
        Ok(())
    }

    fn write_locked(&self, blocks: &mut Blocks, below: &View, at: u64, data: &[u8]) -> Result<()> {
        let (mut at, mut rest) = (at, data);
        while !rest.is_empty() {
            let end = at + rest.len() as u64;
            let whole_end =
                if end == self.capacity { end } else { end / BLOCK_BYTES * BLOCK_BYTES };
            let length = if at % BLOCK_BYTES == 0 && whole_end > at {
                self.write_whole(blocks, at, &rest[..(whole_end - at) as usize])?
            } else {
                let length = (BLOCK_BYTES - at % BLOCK_BYTES).min(rest.len() as u64) as usize;
                self.write_part(blocks, below, at, &rest[..length])?
            };
            at += length as u64;
            rest = &rest[length..];
        }
        Ok(())
    }

    /// Writes whole blocks; returns the number of bytes.
    fn write_whole(&self, blocks: &mut Blocks, at: u64, data: &[u8]) -> Result<usize> {
        self.write_file(at, data)?;
        let numbers = at / BLOCK_BYTES..(at + data.len() as u64).div_ceil(BLOCK_BYTES);
        blocks.data.insert_range(numbers.clone());
        blocks.zeros.remove_range(numbers);
        Ok(data.len())
    }

    /// Writes into one block, which the layer has afterwards; returns the number of bytes.
    fn write_part(&self, blocks: &mut Blocks, below: &View, at: u64, data: &[u8]) -> Result<usize> {
        if blocks.data.contains(at / BLOCK_BYTES) {
            self.write_file(at, data)?;
            return Ok(data.len());
        }
        let start = at / BLOCK_BYTES * BLOCK_BYTES;
        let end = (start + BLOCK_BYTES).min(self.capacity);
        let mut block = vec![0; (end - start) as usize];
        self.read_merged(blocks, below, start..end, &mut block)?;
        block[(at - start) as usize..][..data.len()].copy_from_slice(data);
        self.write_whole(blocks, start, &block)?;
        Ok(data.len())
    }

    fn write_file(&self, at: u64, data: &[u8]) -> Result<()> {
        self.file
            .write_all_at(data, at)
            .map_err(|error| Error::failed("writing to the scratch layer", error))
    }

    /// Writes zeros from `start` to `end`, which may be equal, with no whole blocks between them.
    fn zero_inside_blocks(
        &self,
        blocks: &mut Blocks,
        below: &View,
        start: u64,
        end: u64,
    ) -> Result<()> {
        let mut at = start;
        while at < end {
            let length = (BLOCK_BYTES - at % BLOCK_BYTES).min(end - at);
            // A block of zeros stays one: nothing needs to be stored for it.
            if !blocks.zeros.contains(at / BLOCK_BYTES) {
                self.write_part(blocks, below, at, &ZEROS[..length as usize])?;
            }
            at += length;
        }
        Ok(())
    }

    /// Frees the room of blocks that are zeros now. Their bytes in the file are not read again: if
    /// this fails, only room is lost.
    fn give_back(&self, start: u64, length: u64) {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let place = (i64::try_from(start), i64::try_from(length));
        let (Ok(start), Ok(length)) = place else { return };
        if let Err(error) = fallocate(&self.file, flags, start, length) {
            let error = io::Error::from(error);
            tracing::debug!(%error, "freeing space in the scratch layer failed");
        }
    }
}

impl Blocks {
    fn source(&self, block: u64) -> Source {
        if self.data.contains(block) {
            Source::File
        } else if self.zeros.contains(block) {
            Source::Zeros
        } else {
            Source::Below
        }
    }

    /// The bytes from `start` to `end`, in the fewest possible runs.
    fn runs(&self, start: u64, end: u64) -> Vec<Run> {
        if self.data.is_empty() && self.zeros.is_empty() && start < end {
            return vec![Run { start, end, source: Source::Below }];
        }
        let mut runs: Vec<Run> = Vec::new();
        let mut at = start;
        while at < end {
            let block = at / BLOCK_BYTES;
            let next = block.saturating_add(1).saturating_mul(BLOCK_BYTES).min(end);
            let source = self.source(block);
            match runs.last_mut() {
                Some(last) if last.source == source => last.end = next,
                Some(_) | None => runs.push(Run { start: at, end: next, source }),
            }
            at = next;
        }
        runs
    }
}

impl Run {
    fn extent(self) -> Extent {
        Extent::between(ByteOffset::new(self.start), ByteOffset::new(self.end))
            .expect("invariant: a run is not empty")
    }
}

#[cfg(test)]
mod tests;
