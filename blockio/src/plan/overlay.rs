//! Which byte comes from which piece: overlapping pieces in the order of a stream become disjoint
//! runs in the order of the disk. Sectors are not known here.

use std::collections::BinaryHeap;

use crate::extent::Extent;
use crate::stream::{Content, Piece};
use crate::units::ByteOffset;

/// Neighbouring bytes that come from one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Where on the disk.
    pub(super) extent: Extent,
    /// Where in the arena the first byte is; none: zeros.
    pub(super) position: Option<usize>,
}

impl Run {
    /// The run of a whole piece. Discarded is zero: see [`Content::Discard`].
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

    /// This run and the one that follows as one, if they are neighbours on the disk, and in the
    /// arena or both zeros.
    fn join(self, next: Self) -> Option<Self> {
        let end = self.extent.end();
        if end != next.extent.start() || self.position_at(end) != next.position {
            return None;
        }
        let extent = self.extent.join(next.extent)?;
        Some(Self { extent, position: self.position })
    }

    /// Where in the arena the byte for `offset` is, which does not lie before this run.
    fn position_at(self, offset: ByteOffset) -> Option<usize> {
        let distance = offset.get().saturating_sub(self.extent.start().get());
        let distance = usize::try_from(distance).unwrap_or(usize::MAX);
        self.position.map(|position| position.saturating_add(distance))
    }
}

/// Lays pieces over each other, the later on top. Holds only working memory between two calls.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// Where each piece begins, and which it is: by place.
    begins: Vec<(ByteOffset, usize)>,
    /// The pieces that began and may not have ended yet; the latest of the stream on top. One that
    /// ended is removed when it comes to the top, and only then.
    begun: BinaryHeap<usize>,
    /// How often the sweep looked at the top of the heap.
    #[cfg(test)]
    pub(super) looks: usize,
}

impl Overlay {
    /// Gives what `pieces` leave on the disk: as few runs as there can be, disjoint, ascending.
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

    /// From each place where a piece begins to the next one. Without overlap, one run a piece.
    fn sweep(&mut self, pieces: &[Piece], mut emit: impl FnMut(Run)) {
        self.begins.clear();
        let begins = pieces.iter().enumerate().map(|(index, piece)| (piece.extent.start(), index));
        self.begins.extend(begins);
        // Already in order, as most streams are: one pass.
        self.begins.sort_unstable();
        self.begun.clear();
        for next in 0..self.begins.len() {
            let (from, index) = self.begins[next];
            self.begun.push(index);
            let until = self.begins.get(next + 1).map(|(start, _)| *start);
            self.advance(pieces, from, until, &mut emit);
        }
    }

    /// Gives the topmost runs from `from` up to `until`, between which no piece begins; to the end
    /// of the last piece if there is no `until`.
    ///
    /// Every turn but the last one of a call removes a piece: all calls together take at most two
    /// turns a piece.
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
