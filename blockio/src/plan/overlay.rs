//! Which byte comes from which piece: overlapping pieces in stream order become disjoint runs in
//! disk order. Sectors play no role here.

use std::collections::BinaryHeap;

use crate::extent::Extent;
use crate::stream::{Content, Piece};
use crate::units::ByteOffset;

/// Adjacent bytes with one origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The extent on the disk.
    pub(super) extent: Extent,
    /// The position of the first byte in the arena; `None` for zeros.
    pub(super) position: Option<usize>,
}

impl Run {
    /// The run of a whole piece. Discarded extents are zeros: see [`Content::Discard`].
    fn of(piece: &Piece) -> Self {
        let position = match piece.content {
            Content::Data { position } => Some(position),
            Content::Zero | Content::Discard => None,
        };
        Self { extent: piece.extent, position }
    }

    /// The part of this run in `extent`, which lies inside it.
    pub(super) fn part(self, extent: Extent) -> Self {
        let position = self.position.map(|_| self.position_at(extent.start()));
        Self { extent, position: position.flatten() }
    }

    /// This run and the next one as one, if they are adjacent on the disk, and either adjacent in
    /// the arena or both zeros.
    fn join(self, next: Self) -> Option<Self> {
        let end = self.extent.end();
        if end != next.extent.start() || self.position_at(end) != next.position {
            return None;
        }
        let extent = self.extent.join(next.extent)?;
        Some(Self { extent, position: self.position })
    }

    /// The position in the arena of the byte for `offset`, which does not lie before this run.
    fn position_at(self, offset: ByteOffset) -> Option<usize> {
        let distance = offset.get().saturating_sub(self.extent.start().get());
        let distance = usize::try_from(distance).unwrap_or(usize::MAX);
        self.position.map(|position| position.saturating_add(distance))
    }
}

/// Lays pieces over each other, later ones on top. Holds only working memory between two calls.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// The start of each piece, and its index, in disk order.
    begins: Vec<(ByteOffset, usize)>,
    /// The pieces that began and may not have ended yet, with the last in the stream on top. A
    /// piece that ended is removed when it comes to the top, and only then.
    begun: BinaryHeap<usize>,
    /// How often the sweep looked at the top of the heap.
    #[cfg(test)]
    pub(super) looks: usize,
}

impl Overlay {
    /// Passes to `emit` what `pieces` leave on the disk: the fewest possible runs, disjoint,
    /// ascending.
    pub(super) fn runs(&mut self, pieces: &[Piece], mut emit: impl FnMut(Run)) {
        let mut pending: Option<Run> = None;
        self.sweep(pieces, |run| {
            let joined = pending.and_then(|before| before.join(run));
            if joined.is_none() {
                pending.into_iter().for_each(&mut emit);
            }
            pending = joined.or(Some(run));
        });
        pending.into_iter().for_each(emit);
    }

    /// Goes from each start of a piece to the next one. Without overlap, this gives one run per
    /// piece.
    fn sweep(&mut self, pieces: &[Piece], mut emit: impl FnMut(Run)) {
        self.begins.clear();
        let begins = pieces.iter().enumerate().map(|(index, piece)| (piece.extent.start(), index));
        self.begins.extend(begins);
        // One pass if already in order, as in most streams.
        self.begins.sort_unstable();
        self.begun.clear();
        for next in 0..self.begins.len() {
            let (from, index) = self.begins[next];
            self.begun.push(index);
            let until = self.begins.get(next + 1).map(|(start, _)| *start);
            self.advance(pieces, from, until, &mut emit);
        }
    }

    /// Emits the topmost runs from `from` up to `until`, between which no piece begins, or to the
    /// end of the last piece if there is no `until`.
    ///
    /// Every iteration except the last one of a call removes a piece: all calls together take at
    /// most two iterations per piece.
    fn advance(
        &mut self,
        pieces: &[Piece],
        mut from: ByteOffset,
        until: Option<ByteOffset>,
        emit: &mut impl FnMut(Run),
    ) {
        while let Some(top) = self.begun.peek() {
            #[cfg(test)]
            {
                self.looks += 1;
            }
            let run = Run::of(&pieces[*top]);
            let end = run.extent.end();
            let stop = until.map_or(end, |until| until.min(end));
            if let Ok(extent) = Extent::between(from, stop) {
                emit(run.part(extent));
                from = stop;
            }
            if until.is_some_and(|until| until < end) {
                return;
            }
            self.begun.pop();
        }
    }
}
