//! Random places, one in each of as many equal parts as samples are wanted: no part of a disk is
//! left out, and content that fills a part is certainly hit.

use std::ops::Range;

/// Where to read: the beginnings of at most `count` blocks of `block_bytes` in `ranges`, ascending
/// if the ranges are. All blocks, if there are no more than `count`. The same `seed` gives the same
/// places. A remainder at the end of a range that is not a whole block is skipped.
pub fn samples(ranges: &[Range<u64>], block_bytes: u64, count: u32, seed: u64) -> Vec<u64> {
    let blocks = |range: &Range<u64>| range.end.saturating_sub(range.start) / block_bytes;
    let total: u64 = ranges.iter().map(blocks).sum();
    let parts = u64::from(count).min(total);
    let mut random = SplitMix64(seed);
    let mut ranges = ranges.iter();
    let mut current = ranges.next();
    // Number of blocks in the ranges before the current one.
    let mut before = 0;
    let mut chosen = Vec::new();
    for part in 0..parts {
        let (first, end) = (share(total, part, parts), share(total, part + 1, parts));
        let block = first + random.below(end - first);
        while let Some(range) = current {
            if block < before + blocks(range) {
                chosen.push(range.start + (block - before) * block_bytes);
                break;
            }
            before += blocks(range);
            current = ranges.next();
        }
    }
    chosen
}

/// Where part number `part` begins when `total` is divided into `parts`.
fn share(total: u64, part: u64, parts: u64) -> u64 {
    let at = u128::from(total) * u128::from(part) / u128::from(parts);
    u64::try_from(at).unwrap_or(total)
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014): good enough to
/// choose places, and the same on every host.
pub(super) struct SplitMix64(pub(super) u64);

impl SplitMix64 {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which must not be 0; its bias is below one in a billion for any
    /// disk.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let scaled = (u128::from(self.next()) * u128::from(bound)) >> 64;
        u64::try_from(scaled).unwrap_or(0)
    }
}
