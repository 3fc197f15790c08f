//! What a plan would write that its disk holds already: found by comparing, and left out of the
//! plan. Pure.

use crate::device::Transfer;
use crate::device::buffer::Arena;
use crate::extent::{Extent, overlaps};
use crate::journal::draft::is_zeros;
use crate::journal::layout::BLOCK_BYTES;
use crate::plan::WritePlan;
use crate::units::ByteOffset;

/// The part of `extent` (which begins at a block), from its first to its last block that differ
/// from what `plan` writes there; `held` is its content now. Blocks that `plan` writes in part
/// count as different: the rest of it may be another plan's.
///
/// Blocks between two that differ are not compared. If all of it differs, as usual, two
/// comparisons are all that this costs.
pub(super) fn differing(
    plan: &WritePlan,
    arena: &Arena,
    extent: Extent,
    held: &[u8],
) -> Option<Extent> {
    let start = extent.start().get();
    let at = |block: usize| start + (block * BLOCK_BYTES) as u64;
    let mut blocks = held.chunks(BLOCK_BYTES).enumerate();
    let differs = |(block, held): &(usize, &[u8])| !holds(plan, arena, at(*block), held);
    let (first, _) = blocks.by_ref().find(differs)?;
    let last = blocks.rev().find(differs).map_or(first, |(block, _)| block);
    let last = if planted!(LastThatDiffersLeftOut) { last.max(first + 1) - 1 } else { last };
    let until = at(last + 1).min(extent.end().get());
    Extent::between(ByteOffset::new(at(first)), ByteOffset::new(until)).ok()
}

/// Whether `plan` writes exactly `held` from `at` on.
fn holds(plan: &WritePlan, arena: &Arena, at: u64, held: &[u8]) -> bool {
    let (mut at, mut held) = (at, held);
    while !held.is_empty() {
        let length = match written_at(plan, arena, at) {
            Some(Written::Data(bytes)) => {
                let length = bytes.len().min(held.len());
                if bytes[..length] != held[..length] {
                    return false;
                }
                length
            }
            Some(Written::Zeros(length)) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX).min(held.len());
                if !is_zeros(&held[..length]) {
                    return false;
                }
                length
            }
            None => return false,
        };
        held = &held[length..];
        at += length as u64;
    }
    true
}

enum Written<'a> {
    Data(&'a [u8]),
    Zeros(u64),
}

/// What `plan` writes from `at` on, as far as one of its parts goes.
fn written_at<'a>(plan: &WritePlan, arena: &'a Arena, at: u64) -> Option<Written<'a>> {
    let after = plan.writes.partition_point(|one| one.at.get() <= at);
    if let Some(one) = after.checked_sub(1).map(|place| plan.writes[place]) {
        let within = usize::try_from(at - one.at.get()).unwrap_or(usize::MAX);
        if within < one.length {
            return arena
                .as_slice()
                .get(one.position + within..one.position + one.length)
                .map(Written::Data);
        }
    }
    let after = plan.clears.partition_point(|clear| clear.start().get() <= at);
    let clear = plan.clears[after.checked_sub(1)?];
    let rest = clear.end().get().checked_sub(at).filter(|rest| *rest > 0)?;
    Some(Written::Zeros(rest))
}

/// Takes `alike` (ascending, disjoint; touched by no patch) out of `plan`.
pub(super) fn leave_out(plan: &mut WritePlan, alike: &[Extent]) {
    if alike.is_empty() || !overlaps(&plan.touched, alike) {
        return;
    }
    plan.touched = without(&plan.touched, alike);
    plan.clears = without(&plan.clears, alike);
    let writes = plan.writes.iter().flat_map(|one| {
        let (start, length) = (one.at.get(), one.length as u64);
        let extent = Extent::between(one.at, ByteOffset::new(start + length)).into_iter();
        let parts: Vec<_> = extent.flat_map(|extent| without(&[extent], alike)).collect();
        parts.into_iter().map(move |part| Transfer {
            at: part.start(),
            position: one.position + (part.start().get() - start) as usize,
            length: part.length().get() as usize,
        })
    });
    plan.writes = writes.collect();
}

/// `extents` without `taken`; both are ascending and disjoint.
fn without(extents: &[Extent], taken: &[Extent]) -> Vec<Extent> {
    let mut left = Vec::with_capacity(extents.len());
    for extent in extents {
        let mut rest = Some(*extent);
        let first = taken.partition_point(|one| one.end() <= extent.start());
        for one in &taken[first..] {
            let Some(now) = rest.filter(|_| one.start() < extent.end()) else { break };
            let parts = now.subtract(*one);
            left.extend(parts.before);
            rest = parts.after;
        }
        left.extend(rest);
    }
    left
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::device::buffer::ArenaPool;

    const BLOCK: u64 = BLOCK_BYTES as u64;

    fn between(start: u64, end: u64) -> Extent {
        Extent::between(ByteOffset::new(start), ByteOffset::new(end)).unwrap()
    }

    fn blocks(start: u64, end: u64) -> Extent {
        between(start * BLOCK, end * BLOCK)
    }

    fn write(at: u64, position: usize, length: u64) -> Transfer {
        Transfer { at: ByteOffset::new(at), position, length: length as usize }
    }

    /// Writes blocks 8 to 11 with the bytes 1, 2 and 3, and clears 11 to 13.
    fn plan() -> (WritePlan, Arena) {
        let pool = ArenaPool::new(1, NonZeroUsize::new(3 * BLOCK_BYTES).unwrap()).unwrap();
        let mut arena = pool.take().unwrap();
        for (block, byte) in arena.as_mut_slice().chunks_mut(BLOCK_BYTES).zip(1..) {
            block.fill(byte);
        }
        let writes = vec![write(8 * BLOCK, 0, 3 * BLOCK)];
        let (clears, touched) = (vec![blocks(11, 13)], vec![blocks(8, 13)]);
        (WritePlan { writes, clears, touched, ..WritePlan::default() }, arena)
    }

    fn of(bytes: &[u8]) -> Vec<u8> {
        bytes.iter().flat_map(|byte| [*byte; BLOCK_BYTES]).collect()
    }

    #[test]
    fn what_differs_goes_from_the_first_block_to_the_last() {
        let (plan, arena) = plan();
        let found = |held: &[u8]| differing(&plan, &arena, blocks(8, 13), &of(held));
        assert_eq!(found(&[1, 2, 3, 0, 0]), None);
        assert_eq!(found(&[9, 2, 3, 0, 0]), Some(blocks(8, 9)));
        assert_eq!(found(&[1, 2, 3, 0, 9]), Some(blocks(12, 13)));
        assert_eq!(found(&[1, 9, 3, 9, 0]), Some(blocks(9, 12)));
        assert_eq!(found(&[9; 5]), Some(blocks(8, 13)));
        let mut last_byte = of(&[1, 2, 3, 0, 0]);
        *last_byte.last_mut().unwrap() = 1;
        assert_eq!(differing(&plan, &arena, blocks(8, 13), &last_byte), Some(blocks(12, 13)));
    }

    #[test]
    fn a_block_of_which_only_a_part_is_written_differs() {
        let (mut plan, arena) = plan();
        plan.writes[0].length -= 512;
        let held = of(&[1, 2, 3, 0, 0]);
        assert_eq!(differing(&plan, &arena, blocks(8, 13), &held), Some(blocks(10, 11)));
        // Sectors of several writes make a whole block.
        plan.writes.push(write(11 * BLOCK - 512, 3 * BLOCK_BYTES - 512, 512));
        assert_eq!(differing(&plan, &arena, blocks(8, 13), &held), None);
        // The end of a volume that is not whole blocks.
        let end = between(8 * BLOCK, 8 * BLOCK + 512);
        assert_eq!(differing(&plan, &arena, end, &[1; 512]), None);
        assert_eq!(differing(&plan, &arena, end, &[2; 512]), Some(end));
        // Before the first write, and after the last.
        assert_eq!(differing(&plan, &arena, blocks(7, 8), &of(&[0])), Some(blocks(7, 8)));
        assert_eq!(differing(&plan, &arena, blocks(13, 14), &of(&[0])), Some(blocks(13, 14)));
    }

    #[test]
    fn what_is_left_out_is_neither_written_nor_cleared_and_the_rest_is() {
        let (mut plan, _) = plan();
        leave_out(&mut plan, &[]);
        assert_eq!(plan.touched, [blocks(8, 13)]);
        leave_out(&mut plan, &[blocks(9, 10), blocks(12, 13)]);
        let position = 2 * BLOCK_BYTES;
        let left = [write(8 * BLOCK, 0, BLOCK), write(10 * BLOCK, position, BLOCK)];
        assert_eq!((&plan.writes[..], &plan.clears[..]), (&left[..], &[blocks(11, 12)][..]));
        assert_eq!(plan.touched, [blocks(8, 9), blocks(10, 12)]);
        leave_out(&mut plan, &[blocks(8, 12)]);
        assert_eq!(plan, WritePlan::default());
    }
}
