//! What brings the volumes of a group out of the in-between state: decided here, and done by
//! `rollback` or by applying the stream again.

use crate::group::GroupView;
use crate::journal::catalogue::PointId;

/// What recovery requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing: every volume holds exactly what its checkpoint says.
    AtCheckpoint,
    /// A rollback was begun and not finished: finish it.
    FinishRollback(PointId),
    /// A run was cut short, and what it wrote after its checkpoint is unknown. Roll back to the
    /// point that it began at: the last one, or the destination of a rollback before it. Applying
    /// the same stream again would also do.
    BackTo(PointId),
    /// A run was cut short, and there is no history: only applying the same stream again helps.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::Group;
    use crate::journal::catalogue::Catalogue;
    use crate::journal::state::{GroupState, InBetween, VolumeState};

    #[test]
    fn an_interrupted_run_is_rolled_back_and_one_that_ended_in_order_is_not() {
        let mut group = Group::in_storage(crate::sim::storage(8), "g").unwrap();
        let mut of = |exact, change: fn(&mut GroupState)| {
            let input = serde_json::from_str("\"native, one\"").unwrap();
            let (position, unordered, content) = (7, false, None);
            let in_between = InBetween { input, position, exact, unordered, content };
            let volume = VolumeState { in_between: Some(in_between), ..VolumeState::default() };
            group
                .overwrite(|state| {
                    state.volumes.insert("a".into(), VolumeState::default());
                    state.volumes.insert("b".into(), volume);
                    change(state);
                })
                .unwrap();
            needed(group.view())
        };
        let with_history: fn(&mut GroupState) = |state| {
            state.journal = Some(Catalogue::new([7; 16], 0));
        };
        assert_eq!(of(true, |_| {}), Recovery::AtCheckpoint);
        assert_eq!(of(false, |_| {}), Recovery::ApplyAgain);
        assert_eq!(of(true, with_history), Recovery::AtCheckpoint);
        assert_eq!(of(false, with_history), Recovery::BackTo(PointId(0)));
        let rolling: fn(&mut GroupState) = |state| {
            let known = Catalogue::new([7; 16], 0);
            state.journal = Some(Catalogue { rolling_back_to: Some(PointId(0)), ..known });
        };
        assert_eq!(of(true, rolling), Recovery::FinishRollback(PointId(0)));
    }
}
