//! What brings the volumes of a group out of in-between: decided here, done by `rollback`, or by
//! applying the stream again.

use crate::group::GroupView;
use crate::journal::catalogue::PointId;

/// What it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing: every volume holds exactly what its checkpoint says.
    AtCheckpoint,
    /// A rollback was begun and not finished: it is to be finished.
    FinishRollback(PointId),
    /// A run was cut short: what was written after its checkpoint is not known. Back to the
    /// point that it began at: the last one, or the one of a rollback before it; applying the
    /// same stream again would do as well.
    BackTo(PointId),
    /// The same, and there is no history: only applying the same stream again helps.
    ApplyAgain,
}

/// What `group` needs.
#[must_use]
pub fn needed(group: &GroupView) -> Recovery {
    let state = group.state();
    if let Some(to) = group.rolling_back_to() {
        return Recovery::FinishRollback(to);
    }
    let is_half = state
        .volumes
        .values()
        .filter_map(|volume| volume.in_between.as_ref())
        .any(|between| !between.exact);
    match (is_half, &state.journal) {
        (false, _) => Recovery::AtCheckpoint,
        (true, Some(known)) if planted!(RecoverGoesForward) => Recovery::BackTo(known.open_epoch()),
        (true, Some(known)) => Recovery::BackTo(known.came_from()),
        (true, None) => Recovery::ApplyAgain,
    }
}
