//! Collects the pieces of a batch, and says where its payload goes: for the formats that have no
//! batches of their own. What the pieces mean is not here.

use crate::extent::Extent;
use crate::stream::placement::position_for;
use crate::stream::{BATCH_BYTES_MAX, BATCH_PIECES_MAX, BatchHeader, Content, Piece, VolumeIndex};
use crate::units::ByteCount;

/// A batch that holds so many bytes takes no further piece: what was read is then still in the
/// processor's cache when it is written. A single piece may be longer.
pub(in crate::stream) const BATCH_BYTES_SOFT: usize = 2 << 20;

/// Where a payload goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stream) struct Place {
    /// In the arena, in bytes.
    pub(in crate::stream) position: usize,
    /// How much of it, in bytes; the rest goes to the next batch.
    pub(in crate::stream) length: usize,
}

/// The batch that is being read.
#[derive(Debug, Default)]
pub(in crate::stream) struct Collected {
    pieces: Vec<Piece>,
    filled: usize,
}

impl Collected {
    /// Where the payload for `extent` goes, or as much of it as there is room for. Asked when the
    /// batch is not full.
    pub(in crate::stream) fn place(&self, extent: Extent) -> Place {
        let position = position_for(extent.start(), self.filled, BATCH_BYTES_MAX)
            .expect("invariant: a batch is closed long before there is no room");
        let room = BATCH_BYTES_MAX - position;
        let length = usize::try_from(extent.length().get()).map_or(room, |all| all.min(room));
        Place { position, length }
    }

    /// Adds what lies at `place`, the beginning of `extent`, and gives the rest of it.
    pub(in crate::stream) fn add_data(&mut self, extent: Extent, place: Place) -> Option<Extent> {
        let position = place.position;
        self.filled = position + place.length;
        let split = extent.start().checked_add(ByteCount::new(place.length as u64));
        let parts = split.and_then(|place| extent.split_at(place));
        let (first, rest) = parts.map_or((extent, None), |(first, rest)| (first, Some(rest)));
        self.add(first, Content::Data { position });
        rest
    }

    /// Adds zeros, of any length.
    pub(in crate::stream) fn add_zero(&mut self, extent: Extent) {
        self.add(extent, Content::Zero);
    }

    fn add(&mut self, extent: Extent, content: Content) {
        self.pieces.push(Piece { volume: VolumeIndex(0), extent, content });
    }

    /// How many bytes more until the batch is full.
    pub(in crate::stream) fn wanting(&self) -> usize {
        BATCH_BYTES_SOFT.saturating_sub(self.filled)
    }

    /// Whether the batch must be closed now.
    pub(in crate::stream) fn is_full(&self) -> bool {
        self.wanting() == 0 || self.pieces.len() >= BATCH_PIECES_MAX
    }

    /// The batch, and nothing is left; none if nothing is in it.
    pub(in crate::stream) fn close(&mut self) -> Option<BatchHeader> {
        let Self { pieces, filled: payload_bytes } = std::mem::take(self);
        (!pieces.is_empty()).then_some(BatchHeader { pieces, payload_bytes, checksum: None })
    }
}
