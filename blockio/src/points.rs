//! Recovery points that people make and keep: one where the volumes are now, pins, and the end of
//! a history. What streams make is `apply`'s.

use crate::apply::Settings;
use crate::group::Group;
use crate::group::state::{GroupState, InBetween};
use crate::journal::catalogue::{NewPoint, PointId, PointKind};
use crate::journal::keeper::{Keeper, catalogue};
use crate::{Error, ErrorKind, Result};

/// Makes a point of what the volumes of `group` hold now; gives its number, and what the operator
/// should know.
///
/// # Errors
///
/// `Usage`: the group has no volumes. `Refused`: the volumes are between two states of their
/// source. `Integrity`, `Failed`: the history is damaged, or could not be written.
pub fn create(
    group: &mut Group,
    kind: PointKind,
    name: Option<String>,
    history: Settings,
) -> Result<(PointId, Vec<String>)> {
    if group.state().volumes.is_empty() {
        let context = format!("group {} has no volumes", group.name());
        return Err(Error::new(ErrorKind::Usage, context)
            .with_hint("apply a stream first: what it leaves can be made a point"));
    }
    are_in_one_state(group)?;
    let mut keeper = Keeper::open(group, history)?;
    keeper.begin_if_new(group)?;
    let point = PointId(catalogue(group)?.next_point);
    let progress = group.state().progress();
    // The segment of the new epoch first, then the state: a crash in between leaves a segment of no
    // point, which is removed at the next open.
    let spans = keeper.begin_epoch(group, point, &progress)?;
    // Nothing expires by this: how long points are kept is said to `apply`, and not known here.
    group.update(|state| {
        let Some(catalogue) = &mut state.journal else { return };
        let new = NewPoint { time: keeper.now(), kind, name };
        catalogue.seal(spans, new, keeper.now());
        keeper.describe(catalogue);
    })?;
    Ok((point, keeper.take_notes()))
}

/// The volumes hold one state of their source.
fn are_in_one_state(group: &Group) -> Result<()> {
    is_not_rolling_back(group)?;
    let half = group.state().volumes.iter().find_map(|(name, volume)| {
        let between = volume.in_between.as_ref()?;
        (!is_a_state(between)).then_some((name, between))
    });
    match half {
        None => Ok(()),
        Some((name, between)) => Err(Error::refused(format!(
            "making a recovery point: stream {} was begun on volume \"{name}\" and not finished",
            between.input
        ))
        .with_hint("apply it to its end, or go back: mtctl recover")),
    }
}

/// In the middle of a stream, only one in the order of the writes leaves a state of the source.
fn is_a_state(between: &InBetween) -> bool {
    between.exact && between.input.to_string().starts_with("native")
}

/// No rollback was begun and not finished.
///
/// # Errors
///
/// `Refused`.
pub fn is_not_rolling_back(group: &Group) -> Result<()> {
    let to = group.state().journal.as_ref().and_then(|known| known.rolling_back_to);
    to.map_or(Ok(()), |to| {
        let name = group.name();
        Err(Error::refused(format!("a rollback of group {name} to point {to} is not finished"))
            .with_hint(format!(
                "finish it: mtctl rollback --group {name} --to {to}; or go to another point"
            )))
    })
}

/// Pins a point, or lets it go.
///
/// # Errors
///
/// `Failed`: the state could not be saved.
pub fn pin(group: &mut Group, id: PointId, pinned: bool) -> Result<()> {
    group.update(|state: &mut GroupState| {
        let points = state.journal.iter_mut().flat_map(|known| &mut known.points);
        points.filter(|point| point.id == id).for_each(|point| point.pinned = pinned);
    })
}
