//! A disk as it was at a recovery point, or as it is, to be read by anybody at any byte: nothing is
//! moved and nothing is written. Who serves it (`nbd`), hashes it (`digest`) or lays writes over it
//! is elsewhere.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use crate::device::buffer::ArenaPool;
use crate::device::{BlockDevice, DeviceError, Geometry, ReadBatch, TRANSFER_BYTES_MAX, Transfer};
use crate::extent::Extent;
use crate::units::{ByteCount, ByteOffset};
use crate::{Error, ErrorKind, Result};

/// One piece of a disk is read at a time, of at most this many bytes.
const PIECE_BYTES: NonZeroUsize =
    NonZeroUsize::new(TRANSFER_BYTES_MAX).expect("invariant: not zero");
/// So many pieces can be on their way at once.
const PIECES: usize = 4;

/// A disk that can be read from many threads at once.
pub struct View {
    shown: String,
    geometry: Geometry,
    device: Mutex<Box<dyn BlockDevice>>,
    pool: ArenaPool,
}

/// A part of a view, and whether it is known to be zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Which part.
    pub extent: Extent,
    /// It reads as zeros, and nothing is kept for it.
    pub is_hole: bool,
}

impl View {
    /// The disk as it is, which messages call `shown`.
    ///
    /// # Errors
    ///
    /// `Failed`: no memory.
    pub fn of_disk(shown: String, device: Box<dyn BlockDevice>) -> Result<Self> {
        let pool = ArenaPool::new(PIECES, PIECE_BYTES)
            .map_err(|error| Error::failed("allocating memory for I/O", error))?;
        Ok(Self { shown, geometry: device.geometry(), device: Mutex::new(device), pool })
    }

    /// What messages call it.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// How long it is, and the sectors of the disk behind it.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Fills `buffer` with what the view holds from `at` on; neither need be whole sectors.
    ///
    /// # Errors
    ///
    /// `Usage`: not all of it is inside the view. `Failed`: it could not be read.
    pub fn read(&self, at: ByteOffset, buffer: &mut [u8]) -> Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let wanted = self.inside(at, buffer.len())?;
        let mut rest = buffer;
        let mut from = wanted.start();
        while !rest.is_empty() {
            let sector = self.geometry.sector_size.align_down(from);
            let skipped = (from.get() - sector.get()) as usize;
            let length = rest.len().min(PIECE_BYTES.get() - skipped);
            let (piece, after) = rest.split_at_mut(length);
            self.read_piece(sector, skipped, piece)?;
            rest = after;
            from = ByteOffset::new(from.get() + length as u64);
        }
        Ok(())
    }

    /// What of `extent` is known to be zeros: parts that follow each other and are all of it.
    ///
    /// # Errors
    ///
    /// `Usage`: not all of it is inside the view.
    pub fn allocation(&self, extent: Extent) -> Result<Vec<Allocation>> {
        if extent.end().get() > self.geometry.capacity.get() {
            return Err(self.outside());
        }
        Ok(vec![Allocation { extent, is_hole: false }])
    }

    fn inside(&self, at: ByteOffset, length: usize) -> Result<Extent> {
        let wanted = Extent::new(at, ByteCount::new(length as u64)).ok();
        let is_inside = |extent: &Extent| extent.end().get() <= self.geometry.capacity.get();
        wanted.filter(is_inside).ok_or_else(|| self.outside())
    }

    fn outside(&self) -> Error {
        let context = format!("{}: that is past its end", self.shown);
        Error::new(ErrorKind::Usage, context)
    }

    /// Reads the sectors from `sector` on that hold `piece`, which begins `skipped` bytes in.
    fn read_piece(&self, sector: ByteOffset, skipped: usize, piece: &mut [u8]) -> Result<()> {
        let size = self.geometry.sector_size.bytes().get() as usize;
        let length = (skipped + piece.len()).next_multiple_of(size);
        let reads = vec![Transfer { at: sector, position: 0, length }];
        let batch = ReadBatch { arena: self.pool.take(), reads };
        let mut device = self.device.lock().unwrap_or_else(PoisonError::into_inner);
        let arena = device.read_batch(batch).map_err(|error| self.failed(error))?;
        piece.copy_from_slice(&arena.as_slice()[skipped..skipped + piece.len()]);
        Ok(())
    }

    fn failed(&self, error: DeviceError) -> Error {
        Error::failed(format!("{}: {}", self.shown, error.attempt), error.cause)
    }
}
