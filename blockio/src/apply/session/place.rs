//! A position in the input being applied, and what a checkpoint there has to record.

use crate::apply::Summary;
use crate::journal::state::Consumed;

/// A position in the input being applied.
pub(super) struct CheckpointPlace {
    /// The byte of the input.
    pub(super) consumed: u64,
    /// What the input holds up to there, if that is tracked.
    pub(super) content: Option<Consumed>,
}

/// A checkpoint beside which the run continues.
pub(super) struct CheckpointBehind {
    pub(super) place: CheckpointPlace,
    /// What was done up to its position.
    pub(super) summary: Summary,
}
