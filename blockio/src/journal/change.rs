//! The difference that a save makes to a group's state, if it is small compared to the whole: it is
//! appended to the existing text, and the state need not be rewritten. Pure.
//!
//! Of long lists (points, streams that were applied) a change contains only the new entries. A
//! difference that it cannot express is not a change: then the whole state is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::journal::catalogue::{Catalogue, Expired, Point, PointId};
use crate::journal::state::{Fingerprint, GroupState, VolumeState};
use crate::volume_name::VolumeName;

/// The step from the state of one generation to that of the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    generation: u64,
    /// The volumes that changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    volumes: BTreeMap<VolumeName, VolumeChange>,
    /// The change in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    journal: Option<CatalogueChange>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VolumeChange {
    /// The state without the list of applied streams, which is empty here.
    is: VolumeState,
    /// That list, if it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    applied: Option<Arc<Vec<Fingerprint>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueChange {
    next_segment: u64,
    next_record: u64,
    next_point: u64,
    session: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rolled_back_to: Option<PointId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    went_on_from: Option<PointId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rolling_back_to: Option<PointId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window_cut_to: Option<u64>,
    /// The points that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gone: Vec<PointId>,
    /// The points that are new or changed, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    points: Vec<Arc<Point>>,
    /// The list of expired points, if it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expired: Option<Vec<Expired>>,
}

/// A change that does not belong where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was appended does not continue what is before it")]
pub(crate) struct DoesNotFollow;

impl Change {
    /// The change from `before` to `after`, its next generation; `None` if it cannot be expressed.
    pub(crate) fn between(before: &GroupState, after: &GroupState) -> Option<Self> {
        let rest_is_same = before.is_same_but_for_progress(after);
        let is_next = after.generation() == before.generation().checked_add(1)?;
        if !rest_is_same || !is_next {
            return None;
        }
        let journal = match (&before.journal, &after.journal) {
            (None, None) => None,
            (Some(before), Some(after)) if before == after => None,
            (Some(before), Some(after)) => Some(CatalogueChange::between(before, after)?),
            _ => return None,
        };
        if !before.volumes.keys().all(|name| after.volumes.contains_key(name)) {
            return None;
        }
        let volumes = after.volumes.iter().filter_map(|(name, now)| {
            let then = before.volumes.get(name);
            (then != Some(now)).then(|| (name.clone(), VolumeChange::between(then, now)))
        });
        Some(Self { generation: after.generation(), volumes: volumes.collect(), journal })
    }

    /// Applies the change to `state`.
    ///
    /// # Errors
    ///
    /// `state` is not the one that this change is based on.
    pub(crate) fn apply(self, state: &mut GroupState) -> Result<(), DoesNotFollow> {
        state.begin_generation();
        if state.generation() != self.generation {
            return Err(DoesNotFollow);
        }
        for (name, VolumeChange { is, applied }) in self.volumes {
            let then = state.volumes.get(&name).map(|then| &then.applied);
            let applied = applied.or_else(|| then.cloned()).ok_or(DoesNotFollow)?;
            state.volumes.insert(name, VolumeState { applied, ..is });
        }
        match (self.journal, &mut state.journal) {
            (None, _) => Ok(()),
            (Some(change), Some(known)) => change.apply(known),
            (Some(_), None) => Err(DoesNotFollow),
        }
    }
}

impl VolumeChange {
    fn between(then: Option<&VolumeState>, now: &VolumeState) -> Self {
        let is_same = then.is_some_and(|then| then.applied == now.applied);
        let applied = (!is_same).then(|| Arc::clone(&now.applied));
        Self { is: VolumeState { applied: Arc::default(), ..now.clone() }, applied }
    }
}

impl CatalogueChange {
    fn between(before: &Catalogue, after: &Catalogue) -> Option<Self> {
        // All fields are named, so that a field added to the history cannot be forgotten here.
        let Catalogue {
            identity,
            next_segment,
            next_record,
            next_point,
            volumes,
            points,
            session,
            rolled_back_to,
            went_on_from,
            rolling_back_to,
            expired,
            window_cut_to,
        } = after;
        if before.identity != *identity || before.volumes != *volumes {
            return None;
        }
        let (gone, points) = differences(&before.points, points)?;
        Some(Self {
            next_segment: *next_segment,
            next_record: *next_record,
            next_point: *next_point,
            session: *session,
            rolled_back_to: *rolled_back_to,
            went_on_from: *went_on_from,
            rolling_back_to: *rolling_back_to,
            window_cut_to: *window_cut_to,
            gone,
            points,
            expired: (before.expired != *expired).then(|| expired.clone()),
        })
    }

    fn apply(self, known: &mut Catalogue) -> Result<(), DoesNotFollow> {
        let Self {
            next_segment,
            next_record,
            next_point,
            session,
            rolled_back_to,
            went_on_from,
            rolling_back_to,
            window_cut_to,
            gone,
            points,
            expired,
        } = self;
        known.next_segment = next_segment;
        known.next_record = next_record;
        known.next_point = next_point;
        known.session = session;
        known.rolled_back_to = rolled_back_to;
        known.went_on_from = went_on_from;
        known.rolling_back_to = rolling_back_to;
        known.window_cut_to = window_cut_to;
        known.expired = expired.unwrap_or_else(|| std::mem::take(&mut known.expired));
        for id in gone {
            let at = known.points.binary_search_by_key(&id, |point| point.id);
            known.points.remove(at.map_err(|_| DoesNotFollow)?);
        }
        for point in points {
            match known.points.binary_search_by_key(&point.id, |known| known.id) {
                Ok(at) => known.points[at] = point,
                Err(at) if at == known.points.len() => known.points.push(point),
                Err(_) => return Err(DoesNotFollow),
            }
        }
        if known.points.is_empty() { Err(DoesNotFollow) } else { Ok(()) }
    }
}

/// The points that are gone between `before` and `after`, and those that are new or changed; `None`
/// if a new one is not the last.
fn differences(
    before: &[Arc<Point>],
    after: &[Arc<Point>],
) -> Option<(Vec<PointId>, Vec<Arc<Point>>)> {
    let (mut gone, mut changed) = (Vec::new(), Vec::new());
    let mut then = before.iter().peekable();
    for now in after {
        while let Some(point) = then.next_if(|point| point.id < now.id) {
            gone.push(point.id);
        }
        match then.next_if(|point| point.id == now.id) {
            // Unchanged points are shared, so most need no full comparison.
            Some(point) if point == now => continue,
            Some(_) => {}
            None if then.peek().is_some() => return None,
            None => {}
        }
        changed.push(Arc::clone(now));
    }
    gone.extend(then.map(|point| point.id));
    Some((gone, changed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::catalogue::{NewPoint, PointKind};

    /// A state with the points 0 to `last`.
    fn state(last: u64) -> GroupState {
        let mut known = Catalogue::new([7; 16], 1);
        for time in 1..=last {
            known.seal(Vec::new(), NewPoint { time, kind: PointKind::Crash, name: None }, time);
        }
        let mut state = GroupState::default();
        state.journal = Some(known);
        state
    }

    /// The state after `state`, with `change`.
    fn after(state: &GroupState, change: impl FnOnce(&mut Catalogue)) -> GroupState {
        let mut after = state.clone();
        after.begin_generation();
        change(after.journal.as_mut().unwrap());
        after
    }

    fn json(change: &Change) -> serde_json::Value {
        serde_json::to_value(change).unwrap()
    }

    #[test]
    fn a_history_that_is_as_it_was_is_not_in_the_change() {
        let before = state(3);
        let same = Change::between(&before, &after(&before, |_| {})).unwrap();
        assert_eq!(json(&same), serde_json::json!({ "generation": 1 }));
    }

    #[test]
    fn points_that_are_gone_are_in_the_change_by_number_and_others_not_at_all() {
        let before = state(4);
        let now = after(&before, |known| drop(known.forget(&[PointId(1), PointId(3)])));
        let change = Change::between(&before, &now).unwrap();
        let told = &json(&change)["journal"];
        assert_eq!(told["gone"], serde_json::json!([1, 3]));
        assert_eq!(told["points"], serde_json::Value::Null);
        let mut read = before.clone();
        change.apply(&mut read).unwrap();
        assert_eq!(read, now);
    }

    #[test]
    fn a_point_that_is_new_and_not_the_last_is_more_than_a_change_can_say() {
        let now = state(3);
        let before = after(&now, |known| known.points.retain(|point| point.id != PointId(1)));
        let now = after(&after(&now, |_| {}), |_| {});
        assert_eq!(Change::between(&before, &now), None);
    }

    #[test]
    fn a_point_in_the_middle_that_is_not_there_does_not_follow() {
        let before = state(3);
        let pinned = after(&before, |known| Arc::make_mut(&mut known.points[1]).pinned = true);
        let change = Change::between(&before, &pinned).unwrap();
        let mut other = before.clone();
        other.journal.as_mut().unwrap().points.remove(1);
        assert_eq!(change.clone().apply(&mut other), Err(DoesNotFollow));
        let mut same = before;
        change.apply(&mut same).unwrap();
        assert_eq!(same, pinned);
    }
}
