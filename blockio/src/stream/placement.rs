//! Where a payload lies in a batch's arena, so that the device takes it from there without a copy.
//!
//! Rule: the position in the arena is congruent to the offset on the device, modulo the largest
//! sector. Every whole sector of the payload is then aligned in memory as well, and goes to the
//! device by O_DIRECT as it is.

use crate::units::ByteOffset;

/// The modulus for positions and offsets, in bytes: the largest sector, and a page.
pub const ALIGNMENT: usize = 4096;

/// The first position at or after `free` where data for `offset` may lie; `None` if that leaves no
/// room for a byte below `capacity`.
#[must_use]
pub fn position_for(offset: ByteOffset, free: usize, capacity: usize) -> Option<usize> {
    // ALIGNMENT is a power of two and far below 2³²: the remainder fits.
    let wanted = (offset.get() % ALIGNMENT as u64) as usize;
    let gap = wanted.wrapping_sub(free) % ALIGNMENT;
    free.checked_add(gap).filter(|position| *position < capacity)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_is_congruent_to_its_offset_and_the_first_that_is(
            offset in any::<u64>(), free in 0_usize..100_000, capacity in 0_usize..100_000,
        ) {
            let expected = (free..capacity)
                .find(|position| *position as u64 % 4096 == offset % 4096);
            let found = position_for(ByteOffset::new(offset), free, capacity);
            prop_assert_eq!(found, expected);
        }
    }
}
