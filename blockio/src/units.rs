//! Typed arithmetic on bytes and sectors: a place is not a length, a byte is not a sector, and
//! nothing wraps around. Ranges are in `extent`, not here.
//!
//! Every operation that may leave the 64-bit range returns an `Option`; bytes and sectors meet only
//! in the methods of [`SectorSize`].

use std::fmt;

/// The size of a device's logical block (LBA unit), as SCSI READ CAPACITY and
/// `queue/logical_block_size` report it. Only the two sizes that disks have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SectorSize {
    /// 512 bytes: 512n and 512e disks, and what virtual disks show by default.
    Bytes512,
    /// 4096 bytes: 4Kn disks.
    Bytes4096,
}

/// A logical block size that is not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sectors of {0} bytes are not supported, only 512 and 4096")]
pub struct UnsupportedSectorSize(pub u64);

/// Defines a place and its length type: places differ by lengths, lengths add up.
macro_rules! place_and_length {
    ($place:ident: $place_doc:literal, $length:ident: $length_doc:literal) => {
        #[doc = $place_doc]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $place(u64);

        #[doc = $length_doc]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $length(u64);

        impl $place {
            /// The first place of a volume.
            pub const ZERO: Self = Self(0);

            /// The place with this number.
            #[must_use]
            #[inline]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The bare number, for formats and system calls.
            #[must_use]
            #[inline]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The place `length` further on; `None` past 2⁶⁴ - 1.
            #[must_use]
            #[inline]
            pub fn checked_add(self, length: $length) -> Option<Self> {
                self.0.checked_add(length.0).map(Self)
            }

            /// The place `length` before; `None` before zero.
            #[must_use]
            #[inline]
            pub fn checked_sub(self, length: $length) -> Option<Self> {
                self.0.checked_sub(length.0).map(Self)
            }
        }

        impl $length {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// A length of `number`.
            #[must_use]
            #[inline]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The bare number, for formats and system calls.
            #[must_use]
            #[inline]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// Whether the length is zero.
            #[must_use]
            #[inline]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// The sum; `None` past 2⁶⁴ - 1.
            #[must_use]
            #[inline]
            pub fn checked_add(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).map(Self)
            }

            /// The difference; `None` below zero.
            #[must_use]
            #[inline]
            pub fn checked_sub(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map(Self)
            }
        }

        impl fmt::Display for $place {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Display for $length {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

place_and_length!(
    ByteOffset: "A place on a volume, in bytes from its beginning.",
    ByteCount: "A length in bytes."
);
place_and_length!(
    Lba: "The index of a sector of a volume. How many bytes that is, [`SectorSize`] knows.",
    SectorCount: "A length in sectors."
);

impl SectorSize {
    /// The size in bytes.
    #[must_use]
    #[inline]
    pub const fn bytes(self) -> ByteCount {
        ByteCount(1 << self.shift())
    }

    /// Where sector `lba` begins; `None` past 2⁶⁴ - 1.
    #[must_use]
    #[inline]
    pub fn offset_of(self, lba: Lba) -> Option<ByteOffset> {
        lba.0.checked_mul(self.bytes().0).map(ByteOffset)
    }

    /// The sector that begins at `offset`; `None` if `offset` is not a sector boundary.
    #[must_use]
    #[inline]
    pub(crate) fn lba_at(self, offset: ByteOffset) -> Option<Lba> {
        (offset.0 & self.mask() == 0).then(|| self.lba_containing(offset))
    }

    /// The sector that the byte at `offset` belongs to.
    #[must_use]
    #[inline]
    pub(crate) const fn lba_containing(self, offset: ByteOffset) -> Lba {
        Lba(offset.0 >> self.shift())
    }

    /// The last sector boundary at or before `offset`.
    #[must_use]
    #[inline]
    pub(crate) const fn align_down(self, offset: ByteOffset) -> ByteOffset {
        ByteOffset(offset.0 & !self.mask())
    }

    /// The first sector boundary at or after `offset`; `None` past 2⁶⁴ - 1.
    #[must_use]
    #[inline]
    pub(crate) fn align_up(self, offset: ByteOffset) -> Option<ByteOffset> {
        let boundary = self.align_down(offset);
        if boundary == offset {
            return Some(offset);
        }
        boundary.checked_add(self.bytes())
    }

    const fn shift(self) -> u32 {
        match self {
            Self::Bytes512 => 9,
            Self::Bytes4096 => 12,
        }
    }

    const fn mask(self) -> u64 {
        self.bytes().0 - 1
    }
}

impl TryFrom<u64> for SectorSize {
    type Error = UnsupportedSectorSize;

    fn try_from(bytes: u64) -> Result<Self, Self::Error> {
        match bytes {
            512 => Ok(Self::Bytes512),
            4096 => Ok(Self::Bytes4096),
            other => Err(UnsupportedSectorSize(other)),
        }
    }
}

/// A duration for people.
#[must_use]
pub fn in_hours(duration: std::time::Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: [SectorSize; 2] = [SectorSize::Bytes512, SectorSize::Bytes4096];

    #[test]
    fn only_the_two_sizes_that_disks_have_are_sector_sizes() {
        for (bytes, size) in [(512, BOTH[0]), (4096, BOTH[1])] {
            assert_eq!(SectorSize::try_from(bytes), Ok(size));
            assert_eq!(size.bytes().get(), bytes);
        }
        for bytes in [0, 1, 511, 513, 520, 2048, 4104, 8192, u64::MAX] {
            let refused = SectorSize::try_from(bytes);
            assert_eq!(refused, Err(UnsupportedSectorSize(bytes)));
        }
    }

    #[test]
    fn nothing_wraps_around_at_either_end() {
        let top = ByteOffset::new(u64::MAX);
        assert_eq!(top.checked_add(ByteCount::new(1)), None);
        assert_eq!(top.checked_add(ByteCount::ZERO), Some(top));
        assert_eq!(ByteOffset::ZERO.checked_sub(ByteCount::new(1)), None);
        let most = SectorCount::new(u64::MAX);
        assert_eq!(most.checked_add(SectorCount::new(1)), None);
        assert_eq!(SectorCount::ZERO.checked_sub(SectorCount::new(1)), None);
    }

    #[test]
    fn sectors_past_the_last_byte_have_no_offset() {
        for size in BOTH {
            let first_outside = u64::MAX / size.bytes().get() + 1;
            assert_eq!(size.offset_of(Lba::new(first_outside)), None);
            assert!(size.offset_of(Lba::new(first_outside - 1)).is_some());
            assert_eq!(size.align_up(ByteOffset::new(u64::MAX)), None);
        }
    }

    #[test]
    fn a_place_and_a_length_print_as_their_number() {
        assert_eq!(format!("{:>5}|{}", Lba::new(42), ByteCount::new(7)), "   42|7");
    }

    fn sizes() -> impl Strategy<Value = SectorSize> {
        prop_oneof![Just(SectorSize::Bytes512), Just(SectorSize::Bytes4096)]
    }

    proptest! {
        #[test]
        fn alignment_is_what_division_says(size in sizes(), number in any::<u64>()) {
            let (offset, bytes) = (ByteOffset::new(number), size.bytes().get());
            prop_assert_eq!(size.align_down(offset).get(), number / bytes * bytes);
            let up = number.div_ceil(bytes).checked_mul(bytes).map(ByteOffset::new);
            prop_assert_eq!(size.align_up(offset), up);
            prop_assert_eq!(size.lba_containing(offset).get(), number / bytes);
            prop_assert_eq!(size.lba_at(offset).is_some(), number % bytes == 0);
        }

        #[test]
        fn an_lba_survives_the_way_to_bytes_and_back(size in sizes(), number in any::<u64>()) {
            let lba = Lba::new(number);
            if let Some(offset) = size.offset_of(lba) {
                prop_assert_eq!(size.lba_at(offset), Some(lba));
                prop_assert_eq!(size.lba_containing(offset), lba);
            }
        }

        #[test]
        fn adding_and_taking_away_are_inverse(place in any::<u64>(), length in any::<u64>()) {
            let (start, length) = (Lba::new(place), SectorCount::new(length));
            if let Some(end) = start.checked_add(length) {
                prop_assert_eq!(end.checked_sub(length), Some(start));
            }
        }
    }
}
