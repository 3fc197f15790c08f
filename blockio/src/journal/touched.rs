//! Which parts of a volume were preserved since the last recovery point: compressed bitmaps of
//! blocks. Only the first overwrite of a block in an epoch has a before-image to keep.

use roaring::RoaringBitmap;

use crate::extent::Extent;
use crate::journal::layout::BLOCK_BYTES;
use crate::units::ByteOffset;

const BLOCK: u64 = BLOCK_BYTES as u64;
/// How many blocks one bitmap covers: a volume of up to 16 TiB has one.
const BLOCKS_IN_ONE: u64 = 1 << 32;

/// Bitmaps are run-length optimised each time this many blocks were added: the bitmap of a volume
/// that is cleared from end to end takes 32 MiB per TiB without that, and next to nothing with it.
const OPTIMIZED_EVERY: u64 = 1 << 20;

/// The blocks of one volume that were preserved in an epoch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    maps: Vec<RoaringBitmap>,
    added: u64,
}

impl Touched {
    /// The parts of `extents` (ascending, disjoint) that were not preserved yet, as whole blocks,
    /// ascending and coalesced. Anything past `end` (the end of the volume in whole sectors) is
    /// left out.
    pub(crate) fn first_touches(&self, extents: &[Extent], end: ByteOffset) -> Vec<Extent> {
        let mut first = Vec::new();
        let mut from = 0;
        for extent in extents {
            let blocks = blocks_of(*extent);
            // The block that the previous extent ended in is not considered again.
            let start = blocks.start.max(from);
            from = blocks.end;
            self.gaps(start, blocks.end, &mut |start, until| push(&mut first, start, until));
        }
        planted!(FirstTouchOffByOne => {
            first.iter_mut().for_each(|(start, until)| *until -= u64::from(*until - *start > 1));
        });
        first.into_iter().filter_map(|(start, until)| bytes_of(start, until, end)).collect()
    }

    /// Marks `extents`, as returned by [`first_touches`](Self::first_touches), as preserved.
    pub(crate) fn insert(&mut self, extents: &[Extent]) {
        for extent in extents {
            let mut blocks = blocks_of(*extent);
            while !blocks.is_empty() {
                let until = blocks.end.min(blocks.start.saturating_add(OPTIMIZED_EVERY));
                self.each_map(blocks.start, until);
                blocks.start = until;
                self.look_for_runs();
            }
        }
    }

    /// Whether nothing was preserved.
    pub(crate) fn is_empty(&self) -> bool {
        self.maps.iter().all(RoaringBitmap::is_empty)
    }

    /// Marks `extents` (whole blocks) as not preserved after all: they will not be overwritten.
    pub(crate) fn remove(&mut self, extents: &[Extent]) {
        for extent in extents {
            let blocks = blocks_of(*extent);
            let mut start = blocks.start;
            while start < blocks.end {
                let map = start / BLOCKS_IN_ONE;
                let until = blocks.end.min((map + 1) * BLOCKS_IN_ONE);
                if let Some(bitmap) = self.maps.get_mut(map as usize) {
                    // Both are below 2³².
                    let (low, last) = (start % BLOCKS_IN_ONE, (until - 1) % BLOCKS_IN_ONE);
                    bitmap.remove_range(low as u32..=last as u32);
                }
                start = until;
            }
        }
    }

    fn look_for_runs(&mut self) {
        if self.added >= OPTIMIZED_EVERY {
            self.added = 0;
            for map in &mut self.maps {
                map.optimize();
            }
        }
    }

    fn each_map(&mut self, start: u64, end: u64) {
        let mut start = start;
        while start < end {
            let (map, low) = ((start / BLOCKS_IN_ONE) as usize, start % BLOCKS_IN_ONE);
            let until = end.min((map as u64 + 1) * BLOCKS_IN_ONE);
            if self.maps.len() <= map {
                self.maps.resize(map + 1, RoaringBitmap::new());
            }
            // Both are below 2³².
            let last = (until - 1) % BLOCKS_IN_ONE;
            self.added += self.maps[map].insert_range(low as u32..=last as u32);
            start = until;
        }
    }

    fn gaps(&self, start: u64, end: u64, emit: &mut impl FnMut(u64, u64)) {
        let mut start = start;
        while start < end {
            let map = start / BLOCKS_IN_ONE;
            let until = end.min((map + 1) * BLOCKS_IN_ONE);
            match self.maps.get(map as usize) {
                None => emit(start, until),
                Some(bitmap) => gaps_in(bitmap, map * BLOCKS_IN_ONE, start, until, emit),
            }
            start = until;
        }
    }
}

/// The runs of `start..end` that are not in `bitmap`, whose first bit is block `base`.
fn gaps_in(
    bitmap: &RoaringBitmap,
    base: u64,
    start: u64,
    end: u64,
    emit: &mut impl FnMut(u64, u64),
) {
    // Below 2³²: they are inside this bitmap.
    let (low, last) = ((start - base) as u32, (end - 1 - base) as u32);
    let set = bitmap.range_cardinality(low..=last);
    if set == end - start {
        return;
    }
    if set == 0 {
        emit(start, end);
        return;
    }
    let mut from = start;
    for bit in bitmap.range(low..=last) {
        let block = base + u64::from(bit);
        if from < block {
            emit(from, block);
        }
        from = block + 1;
    }
    if from < end {
        emit(from, end);
    }
}

fn push(first: &mut Vec<(u64, u64)>, start: u64, until: u64) {
    match first.last_mut() {
        Some(last) if last.1 == start => last.1 = until,
        _ => first.push((start, until)),
    }
}

fn blocks_of(extent: Extent) -> std::ops::Range<u64> {
    extent.start().get() / BLOCK..extent.end().get().div_ceil(BLOCK)
}

fn bytes_of(start: u64, until: u64, end: ByteOffset) -> Option<Extent> {
    let until = until.saturating_mul(BLOCK).min(end.get());
    Extent::between(ByteOffset::new(start.saturating_mul(BLOCK)), ByteOffset::new(until)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const END: ByteOffset = ByteOffset::new(1 << 50);

    fn between(start: u64, end: u64) -> Extent {
        Extent::between(ByteOffset::new(start), ByteOffset::new(end)).unwrap()
    }

    #[test]
    fn a_block_is_touched_first_only_once() {
        let mut touched = Touched::default();
        let first = touched.first_touches(&[between(512, 1024), between(1536, 9000)], END);
        assert_eq!(first, [between(0, 12288)]);
        touched.insert(&first);
        assert_eq!(touched.first_touches(&[between(0, 12288)], END), []);
        assert_eq!(touched.first_touches(&[between(8192, 20480)], END), [between(12288, 20480)]);
    }

    #[test]
    fn the_last_block_ends_where_the_volume_ends() {
        let touched = Touched::default();
        let end = ByteOffset::new(4096 + 512);
        assert_eq!(touched.first_touches(&[between(4096, 4608)], end), [between(4096, 4608)]);
    }

    #[test]
    fn blocks_past_sixteen_tebibytes_are_remembered_too() {
        let mut touched = Touched::default();
        let edge = BLOCKS_IN_ONE * BLOCK;
        let over = [between(edge - 4096, edge + 4096)];
        touched.insert(&touched.first_touches(&over, END));
        assert_eq!(touched.first_touches(&over, END), []);
        assert_eq!(touched.first_touches(&[between(edge, edge + 8192)], END).len(), 1);
    }

    #[test]
    fn two_tebibytes_that_are_touched_from_end_to_end_take_little_memory() {
        let mut touched = Touched::default();
        let whole = [between(0, 2 << 40)];
        touched.insert(&touched.first_touches(&whole, END));
        assert_eq!(touched.first_touches(&whole, END), []);
        let bytes: usize = touched.maps.iter().map(RoaringBitmap::serialized_size).sum();
        assert!(bytes < 1 << 20, "{bytes} bytes");
    }

    #[test]
    fn what_was_added_counts_up_to_where_runs_are_looked_for() {
        let mut touched = Touched::default();
        touched.insert(&[between(0, (OPTIMIZED_EVERY - 1) * BLOCK)]);
        assert_eq!(touched.added, OPTIMIZED_EVERY - 1);
        // Blocks that were set before are not added.
        touched.insert(&[between(0, BLOCK)]);
        assert_eq!(touched.added, OPTIMIZED_EVERY - 1);
        let next = OPTIMIZED_EVERY * BLOCK;
        touched.insert(&[between(next, next + BLOCK)]);
        assert_eq!(touched.added, 0);
    }

    #[test]
    fn blocks_before_and_behind_sixteen_tebibytes_are_told_apart() {
        let mut touched = Touched::default();
        let edge = BLOCKS_IN_ONE * BLOCK;
        let at = |from: u64, until: u64| between(edge + from * BLOCK, edge + until * BLOCK);
        touched.insert(&[at(2, 4), at(6, 7)]);
        assert_eq!(touched.first_touches(&[between(2 * BLOCK, 4 * BLOCK)], END).len(), 1);
        let gaps = touched.first_touches(&[at(1, 9)], END);
        assert_eq!(gaps, [at(1, 2), at(4, 6), at(7, 9)]);
        assert_eq!(touched.first_touches(&[at(2, 4)], END), []);
        assert_eq!(touched.first_touches(&[at(3, 7)], END), [at(4, 6)]);
        let whole = [between(edge - BLOCK, edge + BLOCK)];
        assert_eq!(touched.first_touches(&whole, END), whole);
    }

    #[test]
    fn what_is_not_overwritten_after_all_is_touched_first_again() {
        let mut touched = Touched::default();
        let edge = BLOCKS_IN_ONE * BLOCK;
        let at = |from: u64, until: u64| {
            between(edge - 4 * BLOCK + from * BLOCK, edge - 4 * BLOCK + until * BLOCK)
        };
        touched.insert(&[at(0, 8)]);
        touched.remove(&[at(1, 2), at(3, 6)]);
        assert_eq!(touched.first_touches(&[at(0, 8)], END), [at(1, 2), at(3, 6)]);
        // Nothing was ever inserted there.
        touched.remove(&[between(4 * edge, 4 * edge + BLOCK)]);
        assert_eq!(touched.first_touches(&[at(0, 1)], END), []);
    }

    #[test]
    fn a_gap_is_never_empty() {
        let bitmap: RoaringBitmap = [2, 3, 6].into_iter().collect();
        let gaps = |start, end| {
            let mut found = Vec::new();
            gaps_in(&bitmap, 100, start, end, &mut |from, until| found.push((from, until)));
            found
        };
        assert_eq!(gaps(102, 107), [(104, 106)]);
        assert_eq!(gaps(101, 108), [(101, 102), (104, 106), (107, 108)]);
        assert_eq!(gaps(102, 104), []);
        assert_eq!(gaps(104, 106), [(104, 106)]);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set_of_blocks(
            rounds in prop::collection::vec(
                prop::collection::vec((0_u64..64, 1_u64..8), 1..5), 1..8)
        ) {
            let mut touched = Touched::default();
            let mut model = std::collections::BTreeSet::new();
            for round in rounds {
                let mut extents: Vec<_> =
                    round.iter().map(|(at, n)| between(at * 4096, (at + n) * 4096)).collect();
                Extent::coalesce(&mut extents);
                let first = touched.first_touches(&extents, END);
                let blocks: std::collections::BTreeSet<_> =
                    extents.iter().flat_map(|one| blocks_of(*one)).collect();
                let expected: Vec<_> = blocks.difference(&model).copied().collect();
                let found: Vec<_> = first.iter().flat_map(|one| blocks_of(*one)).collect();
                prop_assert_eq!(found, expected);
                touched.insert(&first);
                model.extend(blocks);
            }
        }
    }
}
