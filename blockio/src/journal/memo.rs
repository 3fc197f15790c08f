//! What the journal itself records of its group, in the texts of records: with it, the state can be
//! rebuilt from the segments alone. Pure. docs/format/retention-journal-v2.md is the authority.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::journal::catalogue::{JournalVolume, NewPoint, Point, PointId, PointKind};
use crate::journal::settings::GroupSettings;
use crate::journal::state::{GroupState, Progress, VolumeState};
use crate::target_identity::TargetIdentity;
use crate::volume_name::VolumeName;
use crate::{Error, Result};

/// The beginning of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EpochMemo {
    /// 2; a text without it is of version 1, and contains only the progress.
    format: u32,
    /// The points that the epoch leads back to: several if nothing was written between them, with
    /// the epoch's own last. Empty in a history of version 1.
    pub points: Vec<PointMemo>,
    /// The volumes that the history has by now.
    pub volumes: Vec<VolumeMemo>,
    /// What identifies the targets of all volumes of the group; absent in earlier versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: Targets,
    /// The last histories that were committed before this one, as in the state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// The settings of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<GroupSettings>,
    /// The progress of the volumes.
    pub progress: Progress,
    /// The points after this one, up to the epoch's own, are given up: a rollback to it without
    /// undo began here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gives_up_after: Option<PointId>,
    /// The number of the record in the log; a copy has the same number.
    pub begins_at: u64,
}

/// A point in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PointMemo {
    /// Its number.
    pub id: PointId,
    /// When the source was in this state: nanoseconds since 1970.
    pub time: u64,
    /// When it was made here.
    pub taken: u64,
    /// Its kind.
    pub kind: PointKind,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A volume in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VolumeMemo {
    /// Its number in the records.
    pub number: u32,
    /// Its description.
    #[serde(rename = "volume")]
    pub is: JournalVolume,
    /// What identifies its target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// A target in the journal, including that of a volume of which nothing was overwritten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetMemo {
    /// As in the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// As in the state.
    pub target_bytes: u64,
    /// As in the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<TargetIdentity>,
}

/// The targets of a group, by its volumes.
pub(crate) type Targets = BTreeMap<VolumeName, TargetMemo>;

/// The end of a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CopyMemo {
    /// The point that the copy leads from, which was the next one when the copy was made.
    pub until: PointId,
}

const FORMAT: u32 = 2;

impl Default for EpochMemo {
    fn default() -> Self {
        Self::new(&GroupState::default(), Vec::new())
    }
}

impl PointMemo {
    /// The memo of a point that will be made as `id`.
    pub(crate) fn of_new(id: PointId, new: &NewPoint, taken: u64) -> Self {
        Self { id, time: new.time, taken, kind: new.kind, name: new.name.clone() }
    }

    /// The memo of an existing point.
    pub(crate) fn of(point: &Point) -> Self {
        let Point { id, time, taken, kind, .. } = *point;
        Self { id, time, taken, kind, name: point.name.clone() }
    }
}

impl EpochMemo {
    /// The memo of an epoch that begins in a group with `state`, and leads back to `points`.
    pub(crate) fn new(state: &GroupState, points: Vec<PointMemo>) -> Self {
        let volumes = state.journal.iter().flat_map(|known| &known.volumes).zip(0..);
        let volumes = volumes.map(|(volume, number)| VolumeMemo::of(number, volume, state));
        Self {
            format: FORMAT,
            points,
            volumes: volumes.collect(),
            targets: targets(state),
            dropped: state.dropped().to_vec(),
            settings: state.settings,
            progress: state.progress(),
            gives_up_after: None,
            begins_at: 0,
        }
    }

    /// The same, for the beginning of a rollback to `to` without undo: the volumes will have the
    /// progress `then`.
    pub(crate) fn giving_up_after(self, to: PointId, then: &Progress) -> Self {
        Self { progress: then.clone(), gives_up_after: Some(to), ..self }
    }

    /// The same, as the record `number` of the log.
    pub(crate) fn as_record(&self, number: u64) -> Self {
        Self { begins_at: number, ..self.clone() }
    }

    /// Its text as the record `number` of the log if that fits into `room` bytes, otherwise without
    /// the targets: their absence is reported where they are needed.
    ///
    /// # Errors
    ///
    /// As [`text`].
    pub(crate) fn text_of_record(&self, number: u64, room: usize) -> Result<String> {
        let whole = text(&self.as_record(number))?;
        match whole.len() <= room {
            true => Ok(whole),
            false => text(&Self { targets: Targets::new(), ..self.as_record(number) }),
        }
    }

    /// Parses `text`; `None` if it is not a memo.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let told = serde_json::from_str(text).ok().filter(|memo: &Self| memo.format == FORMAT);
        told.or_else(|| {
            let volumes: BTreeMap<_, _> = serde_json::from_str(text).ok()?;
            Some(Self { progress: Progress(volumes), ..Self::default() })
        })
    }
}

fn targets(state: &GroupState) -> Targets {
    state.volumes.iter().map(|(name, volume)| (name.clone(), TargetMemo::of(volume))).collect()
}

impl TargetMemo {
    fn of(volume: &VolumeState) -> Self {
        let VolumeState { target, target_bytes, identity, .. } = volume.clone();
        Self { target, target_bytes, identity }
    }
}

impl VolumeMemo {
    /// The memo of the volume `number` of the history.
    pub(crate) fn of(number: u32, volume: &JournalVolume, state: &GroupState) -> Self {
        let target = state.volumes.get(&volume.name).and_then(|known| known.target.clone());
        Self { number, is: volume.clone(), target }
    }
}

impl GroupState {
    /// Sets the volumes to `progress`, and the identities of known targets to `targets`.
    pub(crate) fn come_to(&mut self, progress: &Progress, targets: &Targets) {
        for name in progress.0.keys() {
            self.volumes.entry(name.clone()).or_default();
        }
        self.go_back(progress);
        self.know(targets);
    }

    /// Adds a volume that has begun, if it has the next free number.
    pub(crate) fn begin_volume(&mut self, VolumeMemo { number, is, target }: VolumeMemo) {
        let Some(catalogue) = &mut self.journal else { return };
        if number as usize != catalogue.volumes.len() {
            return;
        }
        let known = self.volumes.entry(is.name.clone()).or_default();
        if known.target.is_none() {
            (known.target, known.target_bytes) = (target, is.capacity_bytes);
        }
        catalogue.volumes.push(is);
    }

    /// Sets the targets of its volumes.
    pub(crate) fn know(&mut self, targets: &Targets) {
        for (name, TargetMemo { target, target_bytes, identity }) in targets {
            let volume = self.volumes.entry(name.clone()).or_default();
            volume.target.clone_from(target);
            volume.target_bytes = *target_bytes;
            volume.identity.clone_from(identity);
        }
    }
}

/// `memo` as the text of a record.
///
/// # Errors
///
/// `Failed`: it cannot be serialised; this does not happen for the contents of a memo.
pub(crate) fn text<T: Serialize>(memo: &T) -> Result<String> {
    serde_json::to_string(memo)
        .map_err(|error| Error::failed("recording where the volumes are", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_of_today_and_of_version_1_is_read() {
        let mut state = GroupState::default();
        state.volumes.entry("format".into()).or_default().ends_at = Some("s1".to_owned());
        let start = NewPoint { time: 1, kind: PointKind::Start, name: None };
        let memo = EpochMemo::new(&state, vec![PointMemo::of_new(PointId(0), &start, 2)]);
        let written = text(&memo).unwrap();
        assert_eq!(EpochMemo::parse(&written), Some(memo.clone()));
        // As in version 1, even with a volume that has the name of a current field.
        let old = text(&memo.progress).unwrap();
        let read = EpochMemo::parse(&old).unwrap();
        assert_eq!((read.progress, read.points), (memo.progress, vec![]));
        assert_eq!(EpochMemo::parse("{}").unwrap().progress, Progress::default());
        assert_eq!(EpochMemo::parse("[]"), None);
        assert_eq!(EpochMemo::parse("{\"format\":3}"), None);
    }

    #[test]
    fn targets_are_in_the_record_of_an_epoch_as_far_as_there_is_room() {
        let mut state = GroupState::default();
        let volume = state.volumes.entry("db".into()).or_default();
        (volume.target, volume.target_bytes) = (Some("disk".to_owned()), 9);
        let memo = EpochMemo::new(&state, Vec::new());
        let target =
            TargetMemo { target: Some("disk".to_owned()), target_bytes: 9, identity: None };
        assert_eq!(memo.targets, [("db".into(), target)].into());
        let whole = text(&memo.as_record(5)).unwrap();
        assert_eq!(memo.text_of_record(5, whole.len()).unwrap(), whole);
        let less = memo.text_of_record(5, whole.len() - 1).unwrap();
        let expected = EpochMemo { targets: Targets::new(), ..memo.as_record(5) };
        assert_eq!(EpochMemo::parse(&less), Some(expected));
    }

    #[test]
    fn where_points_are_given_up_the_volumes_will_be_as_far_as_the_rollback_brings_them() {
        let mut state = GroupState::default();
        let then = state.progress();
        state.volumes.entry("db".into()).or_default().ends_at = Some("s1".to_owned());
        let memo = EpochMemo::new(&state, Vec::new());
        assert_ne!(memo.progress, then);
        let broken = memo.clone().giving_up_after(PointId(3), &then);
        assert_eq!(broken, EpochMemo { progress: then, gives_up_after: Some(PointId(3)), ..memo });
    }
}
