//! Half-open ranges of a volume, in bytes ([`Extent`]) and in sectors ([`LbaExtent`]): split,
//! intersect, subtract, join, align. What an extent holds (data, zero, discarded) is not here.
//!
//! An extent is never empty and its end fits into 64 bits, by construction: a holder need not check
//! again. All operations are on values and allocate nothing.

use std::fmt;

use crate::units::{ByteCount, ByteOffset, Lba, SectorCount, SectorSize};

#[cfg(test)]
mod tests;

/// Why two numbers do not make an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtentError {
    /// It is empty: the length is zero, or it ends where it starts.
    #[error("an extent of zero length at {start}")]
    Empty {
        /// Where it would start.
        start: u64,
    },
    /// It ends past 2⁶⁴ - 1.
    #[error("an extent of length {length} at {start} ends past the 64-bit range")]
    Overflow {
        /// Where it would start.
        start: u64,
        /// How long it would be.
        length: u64,
    },
    /// It ends before it starts.
    #[error("an extent from {start} back to {end}")]
    Reversed {
        /// Where it would start.
        start: u64,
        /// Where it would end.
        end: u64,
    },
}

/// What is left of an extent after removing another: nothing, one piece, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remainder<E> {
    /// The piece before the removed part.
    pub before: Option<E>,
    /// The piece after the removed part.
    pub after: Option<E>,
}

/// Defines a range over a place and its length (`units`).
macro_rules! extent {
    ($extent:ident: $doc:literal, $place:ident, $length:ident, $unit:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $extent {
            // Invariant: start < end. Ordered by start, then by end: the order of the fields.
            start: $place,
            end: $place,
        }

        impl $extent {
            /// The extent of `length` starting at `start`.
            ///
            /// # Errors
            ///
            /// [`ExtentError::Empty`] and [`ExtentError::Overflow`].
            #[inline]
            pub fn new(start: $place, length: $length) -> Result<Self, ExtentError> {
                let Some(end) = start.checked_add(length) else {
                    let (start, length) = (start.get(), length.get());
                    return Err(ExtentError::Overflow { start, length });
                };
                Self::between(start, end)
            }

            /// The extent from `start` to `end`, exclusive.
            ///
            /// # Errors
            ///
            /// [`ExtentError::Empty`] and [`ExtentError::Reversed`].
            #[inline]
            pub fn between(start: $place, end: $place) -> Result<Self, ExtentError> {
                let (from, to) = (start.get(), end.get());
                match from.cmp(&to) {
                    std::cmp::Ordering::Less => Ok(Self { start, end }),
                    std::cmp::Ordering::Equal => Err(ExtentError::Empty { start: from }),
                    std::cmp::Ordering::Greater => {
                        Err(ExtentError::Reversed { start: from, end: to })
                    }
                }
            }

            /// The first place inside.
            #[must_use]
            #[inline]
            pub const fn start(self) -> $place {
                self.start
            }

            /// The first place after it.
            #[must_use]
            #[inline]
            pub const fn end(self) -> $place {
                self.end
            }

            /// Its length; never zero.
            #[must_use]
            #[inline]
            pub const fn length(self) -> $length {
                $length::new(self.end.get() - self.start.get())
            }

            /// Whether `place` is inside.
            #[must_use]
            #[inline]
            pub fn contains(self, place: $place) -> bool {
                self.start <= place && place < self.end
            }

            /// Whether all of `other` is inside.
            #[must_use]
            #[inline]
            pub fn covers(self, other: Self) -> bool {
                self.start <= other.start && other.end <= self.end
            }

            /// Whether the two share a place.
            #[must_use]
            #[inline]
            pub fn overlaps(self, other: Self) -> bool {
                self.start < other.end && other.start < self.end
            }

            /// The part that is in both.
            #[must_use]
            #[inline]
            pub fn intersect(self, other: Self) -> Option<Self> {
                Self::between(self.start.max(other.start), self.end.min(other.end)).ok()
            }

            /// The part of this extent that is not in `other`.
            #[must_use]
            #[inline]
            pub fn subtract(self, other: Self) -> Remainder<Self> {
                Remainder {
                    before: Self::between(self.start, self.end.min(other.start)).ok(),
                    after: Self::between(self.start.max(other.end), self.end).ok(),
                }
            }

            /// The parts before and from `place`; `None` unless both are non-empty.
            #[must_use]
            #[inline]
            pub fn split_at(self, place: $place) -> Option<(Self, Self)> {
                let first = Self::between(self.start, place).ok()?;
                let second = Self::between(place, self.end).ok()?;
                Some((first, second))
            }

            /// Both as one; `None` if there is a gap between them.
            #[must_use]
            #[inline]
            pub fn join(self, other: Self) -> Option<Self> {
                let touch = self.start <= other.end && other.start <= self.end;
                touch.then(|| Self {
                    start: self.start.min(other.start),
                    end: self.end.max(other.end),
                })
            }

            /// Sorts `extents` and joins those that overlap or touch, in place: the fewest extents
            /// that hold the same places. The vector keeps its allocation; no other is made.
            pub fn coalesce(extents: &mut Vec<Self>) {
                extents.sort_unstable();
                extents.dedup_by(|next, kept| {
                    let joined = kept.join(*next);
                    *kept = joined.unwrap_or(*kept);
                    joined.is_some()
                });
            }
        }

        /// As Rust writes a half-open range, prefixed with the unit.
        impl fmt::Display for $extent {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($unit, " {}..{}"), self.start, self.end)
            }
        }
    };
}

extent!(
    Extent: "A half-open range of bytes of a volume.",
    ByteOffset, ByteCount, "bytes"
);
extent!(
    LbaExtent: "A half-open range of sectors of a volume.",
    Lba, SectorCount, "sectors"
);

/// Whether the two lists share a byte. Each list is ascending and disjoint, as
/// [`coalesce`](Extent::coalesce) leaves it. O(n + m).
#[must_use]
pub fn overlaps(these: &[Extent], those: &[Extent]) -> bool {
    let (mut these, mut those) = (these.iter().peekable(), those.iter().peekable());
    while let (Some(this), Some(that)) = (these.peek(), those.peek()) {
        if this.overlaps(**that) {
            return true;
        }
        // The one that ends first cannot overlap anything further.
        if this.end() <= that.end() {
            these.next()
        } else {
            those.next()
        };
    }
    false
}

impl Extent {
    /// The smallest extent of whole sectors that covers this one; `None` if its end would leave the
    /// 64-bit range.
    #[must_use]
    #[inline]
    pub(crate) fn align_outward(self, size: SectorSize) -> Option<Self> {
        Some(Self { start: size.align_down(self.start), end: size.align_up(self.end)? })
    }

    /// The largest extent of whole sectors inside this one; `None` if it contains no whole sector.
    #[must_use]
    #[inline]
    pub(crate) fn align_inward(self, size: SectorSize) -> Option<Self> {
        Self::between(size.align_up(self.start)?, size.align_down(self.end)).ok()
    }

    /// The same range in sectors; `None` unless both ends are sector boundaries.
    #[must_use]
    #[inline]
    pub(crate) fn to_sectors(self, size: SectorSize) -> Option<LbaExtent> {
        let (start, end) = (size.lba_at(self.start)?, size.lba_at(self.end)?);
        Some(LbaExtent { start, end })
    }
}

impl LbaExtent {
    /// The same range in bytes; `None` if it leaves the 64-bit range.
    #[must_use]
    #[inline]
    pub fn to_bytes(self, size: SectorSize) -> Option<Extent> {
        let (start, end) = (size.offset_of(self.start)?, size.offset_of(self.end)?);
        Some(Extent { start, end })
    }
}
