//! A plan that waits for its history: what it overwrites is read, recorded, and durable before the
//! plan is written.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::device::Reading;
use crate::device::buffer::Arena;
use crate::group::preserve::RecordedPlan;
use crate::journal::draft::Outline;
use crate::plan::WritePlan;

/// A plan that is written once its history is durable.
pub(super) struct Pending {
    pub(super) index: usize,
    pub(super) stage: Stage,
}

/// How far its history is.
pub(super) enum Stage {
    /// The data it overwrites is being read: the records that this will become.
    Reads(Reads),
    /// Everything is recorded.
    Recorded(RecordedPlan),
}

/// The reads for a plan.
pub(super) struct Reads {
    pub(super) plan: WritePlan,
    pub(super) arena: Arc<Arena>,
    /// The reads that are not recorded yet.
    pub(super) under_way: VecDeque<(Outline, Reading)>,
    /// No more will be added.
    pub(super) is_complete: bool,
}
