//! A disk as it was at a recovery point, or as it is now, readable by anybody at any byte: nothing
//! is moved and nothing is written. Serving it (`nbd`), hashing it (`digest`) and laying writes
//! over it happen elsewhere.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::device::buffer::{Arena, ArenaPool};
use crate::device::shared::Shared;
use crate::device::{BlockDevice, DeviceError, Geometry, ReadBatch, TRANSFER_BYTES_MAX, Transfer};
use crate::extent::Extent;
use crate::journal::catalogue::PointId;
use crate::journal::images::Found;
use crate::journal::index::ImageLocation;
use crate::storage::Storage;
use crate::units::{ByteCount, ByteOffset};
use crate::{Error, ErrorKind, Result};

mod history;

use history::History;

/// The largest piece of a disk that is read at a time, in bytes.
const PIECE_BYTES: NonZeroUsize =
    NonZeroUsize::new(TRANSFER_BYTES_MAX).expect("invariant: not zero");
/// How many pieces can be under way simultaneously.
const PIECES: usize = 4;

/// A disk that can be read from many threads simultaneously.
pub struct View {
    shown: String,
    disk: Shared,
    past: Option<Past>,
    pool: ArenaPool,
}

/// What a view of a recovery point needs besides the disk.
struct Past {
    /// The name of the volume in the group.
    name: String,
    history: Arc<History>,
}

/// The images since a recovery point, for the views of all volumes of a group.
pub struct PointHistory {
    history: Arc<History>,
}

impl PointHistory {
    /// Opens the images kept since `point` in `storage`. Nothing is written; a run on the group may
    /// continue.
    ///
    /// # Errors
    ///
    /// `Usage`: the point is not kept. `Integrity`: the history is damaged. `Failed`: it cannot be
    /// read.
    pub fn open(storage: Arc<dyn Storage>, point: PointId) -> Result<Self> {
        let pool = pool()?;
        Self::open_with(storage, point, pool)
    }

    /// As [`open`](Self::open), using `pool`, with arenas of at least 1 MiB.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(storage: Arc<dyn Storage>, point: PointId, pool: ArenaPool) -> Result<Self> {
        let history = History::open(storage, point, pool)?;
        Ok(Self { history: Arc::new(history) })
    }

    /// How many bytes of the volume `name` were overwritten since the point, as far as is durable
    /// by now.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    #[cfg(test)]
    pub(crate) fn overwritten_bytes(&self, name: &str) -> Result<u64> {
        self.history.follow()?;
        Ok(self.history.of(name, |index| index.bytes()).unwrap_or_default())
    }
}

fn pool() -> Result<ArenaPool> {
    ArenaPool::new(PIECES, PIECE_BYTES)
        .map_err(|error| Error::failed("allocating memory for I/O", error))
}

/// A part of a view, and whether it is known to be zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The part.
    pub extent: Extent,
    /// Whether it reads as zeros and nothing is kept for it.
    pub is_hole: bool,
}

impl View {
    /// The disk as it is now, called `shown` in messages.
    ///
    /// # Errors
    ///
    /// `Failed`: no memory.
    pub fn of_disk(shown: String, device: Box<dyn BlockDevice>) -> Result<Self> {
        Ok(Self::with(shown, device, None, pool()?))
    }

    /// Volume `name` of a group as it was at the point of `history`; `device` is its disk, which
    /// may be written meanwhile.
    ///
    /// # Errors
    ///
    /// `Refused`: the size of the disk has changed. `Failed`: no memory.
    pub fn of_point(
        shown: String,
        device: Box<dyn BlockDevice>,
        history: &PointHistory,
        name: &str,
    ) -> Result<Self> {
        Self::of_point_with(shown, device, history, name, pool()?)
    }

    /// As [`of_point`](Self::of_point), using `pool`, with arenas of at least 1 MiB.
    ///
    /// # Errors
    ///
    /// As [`of_point`](Self::of_point).
    pub(crate) fn of_point_with(
        shown: String,
        device: Box<dyn BlockDevice>,
        history: &PointHistory,
        name: &str,
        pool: ArenaPool,
    ) -> Result<Self> {
        let then = history.history.capacity(name);
        let now = device.geometry().capacity;
        if let Some(then) = then.filter(|then| now < *then) {
            let context = format!("{shown}: it has {now} bytes, but had {then}");
            return Err(Error::refused(context).with_hint("attach the disk that was written"));
        }
        let past = Past { name: name.to_owned(), history: Arc::clone(&history.history) };
        Ok(Self::with(shown, device, Some(past), pool))
    }

    fn with(
        shown: String,
        device: Box<dyn BlockDevice>,
        past: Option<Past>,
        pool: ArenaPool,
    ) -> Self {
        Self { shown, disk: Shared::new(device), past, pool }
    }

    /// Its name in messages.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Its length, and the sector size of the disk behind it.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    /// Fills `buffer` with the view's content from `at` on; neither need be aligned to sectors.
    ///
    /// # Errors
    ///
    /// `Usage`: part of it is outside the view. `Failed`: it could not be read.
    pub fn read(&self, at: ByteOffset, buffer: &mut [u8]) -> Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let wanted = self.inside(at, buffer.len())?;
        let mut rest = buffer;
        let mut from = wanted.start();
        while !rest.is_empty() {
            let sector = self.geometry().sector_size.align_down(from);
            let skipped = (from.get() - sector.get()) as usize;
            let length = rest.len().min(PIECE_BYTES.get() - skipped);
            let (piece, after) = rest.split_at_mut(length);
            self.read_piece(sector, skipped, piece)?;
            rest = after;
            from = ByteOffset::new(from.get() + length as u64);
        }
        Ok(())
    }

    /// The parts of `extent`, each with whether it is known to be zeros: adjacent parts that cover
    /// all of it.
    ///
    /// # Errors
    ///
    /// `Usage`: part of it is outside the view.
    pub fn allocation(&self, extent: Extent) -> Result<Vec<Allocation>> {
        if extent.end().get() > self.geometry().capacity.get() {
            return Err(self.outside());
        }
        let Some(past) = &self.past else { return Ok(vec![Allocation { extent, is_hole: false }]) };
        let images = past.history.of(&past.name, |index| index.images_of(extent));
        let mut parts: Vec<Allocation> = Vec::new();
        let mut from = extent.start();
        for image in images.unwrap_or_default() {
            push(&mut parts, from, image.extent.start(), false);
            push(
                &mut parts,
                image.extent.start(),
                image.extent.end(),
                image.place == ImageLocation::Zeros,
            );
            from = image.extent.end();
        }
        push(&mut parts, from, extent.end(), false);
        Ok(parts)
    }

    /// Why the point of this view is no longer kept. `None` while it is kept, while that cannot be
    /// determined, and for a disk as it is now.
    #[must_use]
    pub fn gone(&self) -> Option<Error> {
        self.past.as_ref()?.history.gone()
    }

    fn inside(&self, at: ByteOffset, length: usize) -> Result<Extent> {
        let wanted = Extent::new(at, ByteCount::new(length as u64)).ok();
        let is_inside = |extent: &Extent| extent.end().get() <= self.geometry().capacity.get();
        wanted.filter(is_inside).ok_or_else(|| self.outside())
    }

    fn outside(&self) -> Error {
        let context = format!("{}: that is past its end", self.shown);
        Error::new(ErrorKind::Usage, context)
    }

    /// Reads the sectors from `sector` on that hold `piece`, which begins `skipped` bytes into
    /// them.
    fn read_piece(&self, sector: ByteOffset, skipped: usize, piece: &mut [u8]) -> Result<()> {
        let start = ByteOffset::new(sector.get() + skipped as u64);
        let wanted = self.inside(start, piece.len())?;
        let mut images = self.images_of(wanted);
        if !are_all_of(images.iter().map(Found::extent), wanted) {
            // The arena is given back before images are read, which takes some of the same memory.
            let arena = self.read_disk(sector, skipped + piece.len(), self.pool.take()?)?;
            piece.copy_from_slice(&arena.as_slice()[skipped..skipped + piece.len()]);
            drop(arena);
            images = self.images_by_now(wanted)?;
        }
        self.lay_over(&images, wanted, piece)
    }

    /// Reads `wanted` into `arena`, which is not of this view's memory and has room for all the
    /// sectors that hold it; returns the arena, and where in it the bytes begin.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(crate) fn read_into(&self, wanted: Extent, mut arena: Arena) -> Result<(Arena, usize)> {
        let length = wanted.length().get() as usize;
        let wanted = self.inside(wanted.start(), length)?;
        let sector = self.geometry().sector_size.align_down(wanted.start());
        let skipped = (wanted.start().get() - sector.get()) as usize;
        let mut images = self.images_of(wanted);
        if !are_all_of(images.iter().map(Found::extent), wanted) {
            arena = self.read_disk(sector, skipped + length, arena)?;
            images = self.images_by_now(wanted)?;
        }
        self.lay_over(&images, wanted, &mut arena.as_mut_slice()[skipped..skipped + length])?;
        Ok((arena, skipped))
    }

    /// The images of `wanted`.
    fn images_of(&self, wanted: Extent) -> Vec<Found> {
        let past = self.past.as_ref();
        past.map_or_else(Vec::new, |past| past.history.found(&past.name, wanted))
    }

    /// The images of `wanted` once the disk was read: one that was added in between is found.
    fn images_by_now(&self, wanted: Extent) -> Result<Vec<Found>> {
        self.past.as_ref().map_or(Ok(()), |past| past.history.follow())?;
        Ok(self.images_of(wanted))
    }

    /// Reads `images` of `wanted` over `piece`, the content of the disk.
    fn lay_over(&self, images: &[Found], wanted: Extent, piece: &mut [u8]) -> Result<()> {
        for found in images {
            let from = (found.extent().start().get() - wanted.start().get()) as usize;
            let until = (found.extent().end().get() - wanted.start().get()) as usize;
            found.read(&mut piece[from..until], &self.pool)?;
        }
        Ok(())
    }

    /// Reads the sectors from `sector` on that hold `length` bytes into `arena`.
    fn read_disk(&self, sector: ByteOffset, length: usize, arena: Arena) -> Result<Arena> {
        let size = self.geometry().sector_size.bytes().get() as usize;
        let total = length.next_multiple_of(size);
        let reads = (0..total).step_by(TRANSFER_BYTES_MAX).map(|position| Transfer {
            at: ByteOffset::new(sector.get() + position as u64),
            position,
            length: (total - position).min(TRANSFER_BYTES_MAX),
        });
        let batch = ReadBatch { arena, reads: reads.collect() };
        self.disk.read_batch(batch).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: DeviceError) -> Error {
        Error::failed(format!("{}: {}", self.shown, error.attempt), error.cause)
    }
}

/// Whether `parts` of `extent`, which are disjoint, are all of it.
fn are_all_of(parts: impl Iterator<Item = Extent>, extent: Extent) -> bool {
    parts.map(|part| part.length().get()).sum::<u64>() == extent.length().get()
}

fn push(parts: &mut Vec<Allocation>, from: ByteOffset, until: ByteOffset, is_hole: bool) {
    let Ok(extent) = Extent::between(from, until) else { return };
    match parts.last_mut() {
        Some(last) if last.is_hole == is_hole => {
            last.extent = last.extent.join(extent).unwrap_or(last.extent);
        }
        _ => parts.push(Allocation { extent, is_hole }),
    }
}

#[cfg(test)]
mod tests;
