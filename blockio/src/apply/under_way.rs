//! What a device may still be writing, so that nothing touches it before it is done.

use std::sync::{Arc, Weak};

use crate::device::buffer::Arena;
use crate::extent::{Extent, overlaps};

/// The extents that were handed to a device and may not be done. A batch is under way as long as
/// its arena is referenced.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Vec<(Weak<Arena>, Vec<Extent>)>);

impl UnderWay {
    /// Adds `touched` (ascending, disjoint), which is being written from `arena`.
    pub(crate) fn add(&mut self, arena: &Arc<Arena>, touched: Vec<Extent>) {
        self.0.push((Arc::downgrade(arena), touched));
    }

    /// Whether something under way touches one of `touched` (ascending, disjoint).
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

    /// Forgets everything: nothing is under way any more.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::device::buffer::ArenaPool;
    use crate::units::{ByteCount, ByteOffset};

    #[test]
    fn what_is_written_is_under_way_until_nobody_holds_its_memory() {
        let pool = ArenaPool::new(1, NonZeroUsize::new(512).unwrap()).unwrap();
        let of = |start| vec![Extent::new(ByteOffset::new(start), ByteCount::new(512)).unwrap()];
        let (mut under_way, arena) = (UnderWay::default(), Arc::new(pool.take().unwrap()));
        assert!(under_way.is_empty());
        under_way.add(&arena, of(512));
        assert!(!under_way.is_empty());
        assert!(under_way.touches(&of(512)) && !under_way.touches(&of(1024)));
        drop(arena);
        assert!(!under_way.touches(&of(512)) && under_way.is_empty());
    }
}
