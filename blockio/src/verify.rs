//! May we believe it? A batch becomes a verified one: its checksum is that of its payload, every
//! piece lies on a volume that the stream announced, inside the source and inside the target.
//!
//! Pure. What a *format* says (order of records, totals) its decoder has checked; what is to be
//! written where is `plan`'s. Nothing is written that did not come out of here (I7).

use crate::stream::placement;
use crate::stream::{Batch, Content, Piece};
use crate::units::ByteCount;

const ALIGNMENT: u64 = placement::ALIGNMENT as u64;

/// What a batch's pieces are held against: one for each volume of the stream, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The size of the source, where the stream says it.
    pub source: Option<ByteCount>,
    /// The size of the target; none: the volume is not applied here, and its pieces are left out.
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

    /// The batch, for who takes its memory along.
    #[must_use]
    pub fn into_batch(self) -> Batch {
        self.0
    }
}

/// Why a batch is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// The payload is not what was sent.
    #[error("the payload's checksum is {found:08x}, and the stream says {expected:08x}")]
    Checksum {
        /// What the payload has.
        found: u32,
        /// What the stream says.
        expected: u32,
    },
    /// A piece of a volume that was not announced.
    #[error("a piece of volume {index}, and the stream has {volumes}")]
    NoVolume {
        /// The volume's index.
        index: u16,
        /// How many there are.
        volumes: usize,
    },
    /// A piece past the end.
    #[error("a piece up to byte {end}, past the {of} of {size} bytes")]
    PastEnd {
        /// The first byte after the piece.
        end: u64,
        /// Of what: the source, the target.
        of: &'static str,
        /// How long that is.
        size: u64,
    },
    /// A piece whose payload is not in the arena, or not where O_DIRECT can take it from.
    #[error("a piece's payload does not lie where it must in the batch")]
    Payload,
}

/// Verifies `batch` against `bounds`.
///
/// # Errors
///
/// What cannot be believed; the batch is dropped.
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
