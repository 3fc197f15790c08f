//! What will be written: the pieces of a verified batch for one volume become disjoint transfers of
//! whole sectors, in LBA order; where pieces overlap the last one wins. Pure: no device, no
//! payload.
//!
//! Edges that are not whole sectors become [`Patch`]es, which `apply` reads, changes and writes.

use crate::device::Transfer;
use crate::extent::Extent;
use crate::stream::Piece;
use crate::units::{ByteOffset, Lba, SectorSize};

mod overlay;
mod sectors;
#[cfg(test)]
mod tests;

use overlay::Overlay;

/// What to do to one volume for one batch. Its parts are disjoint, and may be done in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WritePlan {
    /// Whole sectors from the batch's arena, in LBA order. Neighbours both on the disk and in the
    /// arena are joined, and none is longer than
    /// [`TRANSFER_BYTES_MAX`](crate::device::TRANSFER_BYTES_MAX).
    pub writes: Vec<Transfer>,
    /// Whole sectors that become zeros, in LBA order.
    pub clears: Vec<Extent>,
    /// Sectors of which a part changes, in LBA order; at most one patch per sector.
    pub patches: Vec<Patch>,
    /// Every sector that changes, as whole sectors, in LBA order, coalesced: the following batch is
    /// compared with it, and before-images are kept of it.
    pub touched: Vec<Extent>,
}

/// How much is cleared in one step, in bytes. A stream needs only a few bytes for an extent of
/// terabytes: in steps of this size, before-images are preserved and the operator's stop is
/// noticed.
pub(crate) const CLEAR_STEP_BYTES: u64 = 128 << 20;

/// The steps in which `extent` is cleared, which end at multiples of [`CLEAR_STEP_BYTES`].
pub(crate) fn clear_steps(extent: Extent) -> impl Iterator<Item = Extent> {
    let mut rest = Some(extent);
    std::iter::from_fn(move || {
        let now = rest.take()?;
        let end = (now.start().get() / CLEAR_STEP_BYTES + 1).saturating_mul(CLEAR_STEP_BYTES);
        let split = now.split_at(ByteOffset::new(end));
        rest = split.map(|(_, after)| after);
        Some(split.map_or(now, |(first, _)| first))
    })
}

impl WritePlan {
    /// Takes out the clears that are longer than a step: they are done after the rest of the plan.
    pub(crate) fn take_long_clears(&mut self) -> Vec<Extent> {
        let is_long = |clear: &Extent| clear.length().get() > CLEAR_STEP_BYTES;
        if !self.clears.iter().any(is_long) {
            return Vec::new();
        }
        let clears = std::mem::take(&mut self.clears).into_iter();
        let (long, short): (Vec<_>, Vec<_>) = clears.partition(is_long);
        self.clears = short;
        let mut left = Vec::with_capacity(self.touched.len());
        let mut clears = long.iter().peekable();
        for touched in self.touched.drain(..) {
            let mut rest = Some(touched);
            while let (Some(now), Some(clear)) = (rest, clears.peek()) {
                if clear.start() >= now.end() {
                    break;
                }
                let edges = now.subtract(**clear);
                left.extend(edges.before);
                rest = edges.after;
                clears.next();
            }
            left.extend(rest);
        }
        self.touched = left;
        long
    }
}

/// A sector of which a part changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The sector.
    pub sector: Lba,
    /// The changes: disjoint, ascending.
    pub changes: Vec<Change>,
}

/// A part of a sector that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The first byte within the sector.
    pub within: usize,
    /// How many bytes; never the whole sector.
    pub length: usize,
    /// Position of the new bytes in the batch's arena; `None` for zeros.
    pub position: Option<usize>,
}

impl Patch {
    /// Whether the changes replace every byte of the sector, which then need not be read first.
    #[must_use]
    pub fn covers(&self, size: SectorSize) -> bool {
        // They are disjoint and inside the sector, so their lengths add up to at most its own.
        let changed: usize = self.changes.iter().map(|change| change.length).sum();
        changed as u64 == size.bytes().get()
    }
}

/// Plans batch after batch with the same working memory.
#[derive(Debug, Default)]
pub struct Planner(Overlay);

impl Planner {
    /// As [`plan`], into an existing plan, whose vectors keep their allocation.
    pub fn plan_into(&mut self, pieces: &[Piece], size: SectorSize, plan: &mut WritePlan) {
        plan.clear();
        self.0.runs(pieces, |run| plan.add(run, size));
    }
}

/// Plans `pieces` (of one volume, in the order of the stream) for sectors of `size`, in O(n log n)
/// however they overlap.
///
/// The pieces are those of a verified batch: inside the volume, their data inside the arena, at
/// positions congruent to their offsets. Other pieces do not make it panic: a position past the
/// address space saturates, and so lies in no arena; the `touched` extent in the last, incomplete
/// sector of the 64-bit range ends at 2⁶⁴ - 1. Only the size of a plan relies on verification: it
/// has a transfer for each [`TRANSFER_BYTES_MAX`](crate::device::TRANSFER_BYTES_MAX) of data.
#[must_use]
pub fn plan(pieces: &[Piece], size: SectorSize) -> WritePlan {
    let mut plan = WritePlan::default();
    Planner::default().plan_into(pieces, size, &mut plan);
    plan
}
