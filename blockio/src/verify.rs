//! Decides whether a batch may be believed. A batch becomes a verified one if its checksum is that
//! of its payload, and every piece lies on a volume that the stream announced, inside the source
//! and inside the target.
//!
//! Pure. The rules of a *format* (order of records, totals) are checked by its decoder; what is
//! written where is up to `plan`. Only verified batches are written (I7).

use crate::stream::placement;
use crate::stream::{Batch, Content, Piece};
use crate::units::ByteCount;

const ALIGNMENT: u64 = placement::ALIGNMENT as u64;

/// The limits that a batch's pieces are checked against: one for each volume of the stream, in
/// order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The size of the source, if the stream states it.
    pub source: Option<ByteCount>,
    /// The size of the target; `None` if the volume is not applied here, and its pieces are
    /// skipped.
    pub target: Option<ByteCount>,
}

/// A batch that may be written. Only [`verify`] makes one.
#[derive(Debug)]
pub struct VerifiedBatch(Batch);

impl VerifiedBatch {
    /// The batch.
    #[must_use]
    pub fn batch(&self) -> &Batch {
        &self.0
    }

    /// The batch, for callers that reuse the allocation.
    #[must_use]
    pub(crate) fn into_batch(self) -> Batch {
        self.0
    }
}

/// Why a batch is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// The payload does not match its checksum.
    #[error("the payload's checksum is {found:08x}, but the stream says {expected:08x}")]
    Checksum {
        /// The checksum of the payload.
        found: u32,
        /// The checksum in the stream.
        expected: u32,
    },
    /// A piece of an unannounced volume.
    #[error("a piece of volume {index}, but the stream has {volumes}")]
    NoVolume {
        /// The volume's index.
        index: u16,
        /// The number of volumes.
        volumes: usize,
    },
    /// A piece past the end.
    #[error("a piece up to byte {end}, past the {of} of {size} bytes")]
    PastEnd {
        /// The first byte after the piece.
        end: u64,
        /// What ends there: the source, or the target.
        of: &'static str,
        /// The size of that.
        size: u64,
    },
    /// A piece whose payload is not in the arena, or not aligned for O_DIRECT.
    #[error("a piece's payload is not at its place in the batch")]
    Payload,
}

/// Verifies `batch` against `bounds`.
///
/// # Errors
///
/// What fails verification; the batch is dropped.
pub fn verify(batch: Batch, bounds: &[Bounds]) -> Result<VerifiedBatch, Unverified> {
    let payload =
        batch.arena.as_slice().get(..batch.header.payload_bytes).ok_or(Unverified::Payload)?;
    for piece in &batch.header.pieces {
        verify_piece(piece, payload.len(), bounds)?;
    }
    if let Some(expected) = batch.header.checksum {
        let found = crc32c::crc32c(payload);
        if found != expected {
            return Err(Unverified::Checksum { found, expected });
        }
    }
    Ok(VerifiedBatch(batch))
}

fn verify_piece(piece: &Piece, payload_bytes: usize, bounds: &[Bounds]) -> Result<(), Unverified> {
    let index = piece.volume.0;
    let Some(of_volume) = bounds.get(usize::from(index)) else {
        return Err(Unverified::NoVolume { index, volumes: bounds.len() });
    };
    let end = piece.extent.end().get();
    for (of, size) in [("source", of_volume.source), ("target", of_volume.target)] {
        if let Some(size) = size.map(ByteCount::get).filter(|size| end > *size) {
            return Err(Unverified::PastEnd { end, of, size });
        }
    }
    match piece.content {
        Content::Data { position } => {
            let length = usize::try_from(piece.extent.length().get()).ok();
            let is_placed = position as u64 % ALIGNMENT == piece.extent.start().get() % ALIGNMENT;
            length
                .and_then(|length| position.checked_add(length))
                .filter(|end| *end <= payload_bytes && is_placed)
                .map(|_| ())
                .ok_or(Unverified::Payload)
        }
        Content::Zero | Content::Discard => Ok(()),
    }
}
