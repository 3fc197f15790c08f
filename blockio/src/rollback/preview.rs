//! What a rollback would do, without doing any of it. It takes the same path as the rollback
//! itself, so that it is refused, or finds damage, whenever the rollback would.

use std::sync::atomic::AtomicBool;

use super::room::{self, Way};
use super::{RollbackEvent, check, check_lengths, check_sectors, may_be_at, names, order, proof};
use crate::Result;
use crate::apply::HistorySettings;
use crate::assignment::Assignment;
use crate::group::GroupView;
use crate::group::keeper::{Room, record_pool, segment_bytes};
use crate::journal::catalogue::PointId;
use crate::journal::images::Images;
use crate::journal::index::ImageIndex;
use crate::journal::open::open_epoch;
use crate::target_check;
use crate::volume_name::VolumeName;

/// The parameters of a preview.
pub struct Asked<'a> {
    /// The group.
    pub group: &'a GroupView,
    /// Its volumes, each with its target.
    pub assignments: &'a mut [Assignment],
    /// The point to roll back to.
    pub to: PointId,
    /// As in [`RollbackJob`](super::RollbackJob).
    pub accept_target: bool,
    /// As in [`RollbackJob`](super::RollbackJob).
    pub may_give_up_points: bool,
    /// As in [`RollbackJob`](super::RollbackJob).
    pub without_undo: bool,
    /// As in [`RollbackJob`](super::RollbackJob).
    pub history: &'a HistorySettings,
    /// Compare all of the history that is needed with its checksums, as a rollback does before it
    /// writes.
    pub is_whole: bool,
}

/// What a rollback would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The volumes are at the point already, according to their content: nothing would be written.
    pub nothing_to_do: bool,
    /// For each volume, by name, how many bytes would be written.
    pub volumes: Vec<(VolumeName, u64)>,
    /// The points that would be given up because overwritten data is not kept.
    pub given_up: Vec<PointId>,
    /// The points that may have to be given up for lack of room, oldest first.
    pub for_room: Vec<PointId>,
}

/// What a rollback would do. Reads; changes nothing.
///
/// # Errors
///
/// As [`run`](super::run).
pub fn preview(
    asked: Asked<'_>,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(RollbackEvent<'_>),
) -> Result<Preview> {
    let Asked { group, assignments, to, history, .. } = asked;
    for note in target_check::check(group, assignments, asked.accept_target)? {
        observe(RollbackEvent::Notice(&note));
    }
    let (storage, pool) = (group.storage(), record_pool()?);
    let opened = open_epoch(&storage, group.state(), &pool)?;
    // A run that was cut short preserved more than was saved.
    let mut known = group.catalogue()?.clone();
    opened.describe(&mut known);
    let images = Images::since(&storage, &known, to, &pool)?;
    check_lengths(&known, &images, assignments)?;
    let names = names(&known);
    let may_be_there = may_be_at(group, &known, opened.is_empty, &images, to);
    if may_be_there && proof::hold_all(&images, &names, assignments, stop)? {
        let volumes = names.into_iter().map(|name| (name, 0)).collect();
        let (given_up, for_room) = (Vec::new(), Vec::new());
        return Ok(Preview { nothing_to_do: true, volumes, given_up, for_room });
    }
    if asked.is_whole {
        let how = (history.in_thread, group.settings().engine);
        check(&images, &pool, how, stop, observe)?;
    }
    let order = order(assignments, &names, &images)?;
    for (index, number) in &order {
        check_sectors(&assignments[*index].target, images.of(*number))?;
    }
    let (mut given_up, mut for_room) = (Vec::new(), Vec::new());
    if asked.without_undo {
        group.require_none_pinned_after(to)?;
        let later = known.recovery_points().filter(|point| point.id > to);
        given_up = later.map(|point| point.id).collect();
    } else if group.keeps_history() {
        let policy = group.settings().policy;
        let usual = segment_bytes(&*storage, &policy)?;
        let segment_bytes = history.segment_bytes.unwrap_or(usual);
        let (storage, policy, touched) = (&*storage, &policy, &opened.touched[..]);
        let way = Way { to, assignments, order: &order, images: &images };
        let room = Room { storage, policy, segment_bytes, touched };
        for_room = room::require(group, &room, &way, asked.may_give_up_points)?;
    }
    let bytes = |number| images.of(number).map_or(0, ImageIndex::bytes);
    let volumes = names.into_iter().zip(0..).map(|(name, number)| (name, bytes(number))).collect();
    Ok(Preview { nothing_to_do: false, volumes, given_up, for_room })
}
