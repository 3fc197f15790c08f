//! The result of a comparison: how much was compared, and where the two sides differ.

use crate::extent::Extent;
use crate::units::ByteCount;

/// How many ranges are kept; any others are only counted. They take 16 MiB of memory.
const KEPT_MAX: usize = 1 << 20;

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// The lengths of the two sides.
    pub lengths: (ByteCount, ByteCount),
    /// How many bytes from the beginning were compared.
    pub compared: ByteCount,
    /// The ranges that differ, in order, joined where they touch: the first 1 048 576 of them.
    pub extents: Vec<Extent>,
    /// How many ranges there are.
    pub extent_count: u64,
    /// The number of bytes in them.
    pub differing: ByteCount,
    last: Option<Extent>,
}

impl Findings {
    pub(super) fn of(one: ByteCount, other: ByteCount, compared: ByteCount) -> Self {
        Self {
            lengths: (one, other),
            compared,
            extents: Vec::new(),
            extent_count: 0,
            differing: ByteCount::new(0),
            last: None,
        }
    }

    pub(super) fn with_lengths(self, one: ByteCount, other: ByteCount) -> Self {
        Self { lengths: (one, other), ..self }
    }

    /// Whether both sides have the same length and the same bytes.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.lengths.0 == self.lengths.1 && self.extent_count == 0
    }

    /// Adds a range that lies after all others.
    pub(super) fn add(&mut self, extent: Extent) {
        let length = extent.length().get();
        self.differing = ByteCount::new(self.differing.get().saturating_add(length));
        let joined = self
            .last
            .filter(|last| last.end() == extent.start())
            .and_then(|last| Extent::between(last.start(), extent.end()).ok());
        if joined.is_none() {
            self.extent_count += 1;
        }
        let whole = joined.unwrap_or(extent);
        self.last = Some(whole);
        let index = (self.extent_count - 1) as usize;
        if let Some(kept) = self.extents.get_mut(index) {
            *kept = whole;
        } else if index < KEPT_MAX {
            self.extents.push(whole);
        }
    }
}
