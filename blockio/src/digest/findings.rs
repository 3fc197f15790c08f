//! What a comparison found: how much was compared, and where the two sides differ.

use crate::extent::Extent;
use crate::units::ByteCount;

/// So many ranges are kept; more are counted. It is 16 MiB of memory.
const KEPT_MAX: usize = 1 << 20;

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// How long the two sides are.
    pub lengths: (ByteCount, ByteCount),
    /// So much from the beginning was compared.
    pub compared: ByteCount,
    /// The ranges that differ, in order, joined where they touch: the first 1 048 576 of them.
    pub extents: Vec<Extent>,
    /// How many ranges there are.
    pub extent_count: u64,
    /// How many bytes are in them.
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

    /// Same length, and the same bytes.
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
