//! Collects the pieces of a batch, and assigns places to its payload: for the formats that have no
//! batches of their own. The meaning of the pieces is not here.

use crate::extent::Extent;
use crate::stream::placement::position_for;
use crate::stream::{BATCH_BYTES_MAX, BATCH_PIECES_MAX, BatchHeader, Content, Piece, VolumeIndex};
use crate::units::ByteCount;

/// A batch with this many bytes takes no further piece, so that data is still in the processor's
/// cache when it is written. A single piece may be longer.
pub(in crate::stream) const BATCH_BYTES_SOFT: usize = 2 << 20;

/// Where a payload goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stream) struct PayloadSlot {
    /// Position in the arena, in bytes.
    pub(in crate::stream) position: usize,
    /// How many bytes go there; the rest goes to the next batch.
    pub(in crate::stream) length: usize,
}

/// The batch being read.
#[derive(Debug, Default)]
pub(in crate::stream) struct Collected {
    pieces: Vec<Piece>,
    filled: usize,
}

impl Collected {
    /// The place for the payload of `extent`, or for as much of it as there is room for. Call this
    /// only while the batch is not full.
    pub(in crate::stream) fn place(&self, extent: Extent) -> PayloadSlot {
        let position = position_for(extent.start(), self.filled, BATCH_BYTES_MAX)
            .expect("invariant: a batch is closed long before there is no room");
        let room = BATCH_BYTES_MAX - position;
        let length = usize::try_from(extent.length().get()).map_or(room, |all| all.min(room));
        PayloadSlot { position, length }
    }

    /// Adds the data at `place`, which is the beginning of `extent`, and returns the rest of the
    /// extent.
    pub(in crate::stream) fn add_data(
        &mut self,
        extent: Extent,
        place: PayloadSlot,
    ) -> Option<Extent> {
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

    /// How many more bytes it takes until the batch is full.
    pub(in crate::stream) fn wanting(&self) -> usize {
        BATCH_BYTES_SOFT.saturating_sub(self.filled)
    }

    /// Whether the batch must be closed now.
    pub(in crate::stream) fn is_full(&self) -> bool {
        self.wanting() == 0 || self.pieces.len() >= BATCH_PIECES_MAX
    }

    /// Whether nothing was collected.
    pub(in crate::stream) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Returns the batch, and starts an empty one; `None` if it is empty.
    pub(in crate::stream) fn close(&mut self) -> Option<BatchHeader> {
        let Self { pieces, filled: payload_bytes } = std::mem::take(self);
        (!pieces.is_empty()).then_some(BatchHeader { pieces, payload_bytes, checksum: None })
    }
}
