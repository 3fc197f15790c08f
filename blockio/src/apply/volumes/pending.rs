//! What waits: a plan for its history (what it overwrites is read, recorded, and durable before the
//! plan is written), and a flush for its devices.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::device::buffer::Arena;
use crate::device::{Flushed, Reading};
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

/// A flush beside which writing continues.
pub(super) struct FlushBehind {
    /// It includes this many plans, counted from the first of the run.
    pub(super) plans: u64,
    /// How far each volume is.
    pub(super) volumes: Vec<OfVolume>,
}

/// The flush of one volume.
pub(super) enum OfVolume {
    /// Plans that it includes wait for their history.
    NotBegun,
    /// The device is at it.
    UnderWay,
    /// It is durable; `None` if the volume has failed, or was not opened.
    Done(Option<Flushed>),
}
