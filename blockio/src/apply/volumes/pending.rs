//! What waits: a plan for its history (what it overwrites is read, recorded, and durable before the
//! plan is written), and a flush for its devices.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::device::buffer::Arena;
use crate::device::{Flushed, Reading};
use crate::extent::Extent;
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
    /// What becomes of the parts of the plan that the disk holds already.
    pub(super) alike: Alike,
    /// Those that were found, ascending.
    pub(super) left_out: Vec<Extent>,
    /// The reads that are not recorded yet.
    pub(super) under_way: VecDeque<(Outline, Reading)>,
    /// No more will be added.
    pub(super) is_complete: bool,
}

/// What becomes of the parts of a plan that its disk holds already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alike {
    /// They are preserved and written like the others.
    Written,
    /// If they are read to be preserved, they are neither preserved nor written. What is preserved
    /// already was perhaps written by a run whose flush failed: it may be right in a cache only,
    /// and is written again.
    LeftOut,
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
