//! What a device may still be writing: so that nothing touches it before it is done.

use std::sync::{Arc, Weak};

use crate::device::buffer::Arena;
use crate::extent::{Extent, overlaps};

/// The extents that were handed to a device and may not be done. A batch is under way as long as
/// somebody holds its arena.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Vec<(Weak<Arena>, Vec<Extent>)>);

impl UnderWay {
    /// `touched` (ascending, apart from each other) is written from `arena`.
    pub(crate) fn add(&mut self, arena: &Arc<Arena>, touched: Vec<Extent>) {
        self.0.push((Arc::downgrade(arena), touched));
    }

    /// Whether something under way touches one of `touched` (ascending, apart from each other).
    pub(crate) fn touches(&mut self, touched: &[Extent]) -> bool {
        self.forget_what_is_done();
        self.0.iter().any(|(_, earlier)| overlaps(earlier, touched))
    }

    /// Whether nothing is under way.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.forget_what_is_done();
        self.0.is_empty()
    }

    fn forget_what_is_done(&mut self) {
        self.0.retain(|(arena, _)| arena.strong_count() > 0);
    }

    /// Nothing is under way any more.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
