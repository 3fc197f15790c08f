//! How many bytes a leaf covers, and which.

use crate::extent::Extent;
use crate::units::{ByteCount, ByteOffset};
use crate::{Error, ErrorKind, Result};

/// How many bytes of a disk one leaf of its digest covers: a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafSize(u64);

impl LeafSize {
    /// 64 KiB.
    pub(crate) const MIN: Self = Self(64 << 10);
    /// 64 MiB.
    pub const MAX: Self = Self(64 << 20);
    /// 1 MiB.
    pub const DEFAULT: Self = Self(1 << 20);

    /// `bytes` as a leaf size, if that is valid.
    ///
    /// # Errors
    ///
    /// `Usage`: not a power of two, or not between `MIN` and [`MAX`](Self::MAX).
    pub fn new(bytes: u64) -> Result<Self> {
        if bytes.is_power_of_two() && (Self::MIN.0..=Self::MAX.0).contains(&bytes) {
            return Ok(Self(bytes));
        }
        let context = format!("a leaf of {bytes} bytes: it is no power of two from 64K to 64M");
        Err(Error::new(ErrorKind::Usage, context).with_hint("1M is the usual size"))
    }

    /// The size as a number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of leaves of a disk of `length` bytes.
    #[must_use]
    pub(crate) const fn leaves_of(self, length: ByteCount) -> u64 {
        length.get().div_ceil(self.0)
    }

    /// The part of a disk of `length` bytes that leaf `index` covers; `None` after the last leaf.
    #[must_use]
    pub fn extent(self, index: u64, length: ByteCount) -> Option<Extent> {
        let start = index.checked_mul(self.0)?;
        let end = start.saturating_add(self.0).min(length.get());
        Extent::between(ByteOffset::new(start), ByteOffset::new(end)).ok()
    }
}
