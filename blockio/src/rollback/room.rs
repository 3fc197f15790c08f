//! Room for what a rollback overwrites: known before it begins, or nothing is overwritten. A
//! rollback that ends half way for lack of room has cost points, and leads nowhere.

use crate::assignment::Assignment;
use crate::group::GroupView;
use crate::group::keeper::{Preserve, Room};
use crate::journal::catalogue::PointId;
use crate::journal::images::Images;
use crate::journal::index::ImageIndex;
use crate::journal::retention;
use crate::remedy::{PointRemedy, Remedied};
use crate::{Error, Result};

use super::steps::Steps;

const MIB: u64 = 1 << 20;

/// What is written on the way back to a point.
pub(super) struct Way<'a> {
    /// The point.
    pub(super) to: PointId,
    /// The volumes, each with its target.
    pub(super) assignments: &'a [Assignment],
    /// The volumes that are written: the index of each among the assignments, and its number in the
    /// journal.
    pub(super) order: &'a [(usize, u32)],
    /// The images that are written.
    pub(super) images: &'a Images,
}

/// Requires room for what is overwritten; returns the points that may have to be given up for it,
/// oldest first, if that is allowed.
///
/// # Errors
///
/// `Refused`: there is no room. `Failed`: the free room of the volume cannot be determined.
pub(super) fn require(
    group: &GroupView,
    room: &Room<'_>,
    way: &Way<'_>,
    may_give_up_points: bool,
) -> Result<Vec<PointId>> {
    let Way { to, assignments, order, images } = *way;
    let steps = order.iter().flat_map(|(index, number)| {
        let assignment = &assignments[*index];
        let name = &assignment.volume;
        let volume = Preserve { name, geometry: assignment.target.geometry() };
        let images = images.of(*number).into_iter().flat_map(ImageIndex::iter);
        Steps::new(images).map(move |step| (volume, step.plan.touched))
    });
    let known = group.catalogue()?;
    let needed = room.needed(known, to, steps)?;
    let pinned = needed.pinned.filter(|_| needed.points_to_go.is_none());
    if (may_give_up_points && pinned.is_none()) || needed.points_to_go == Some(0) {
        let mut oldest = retention::in_the_order_to_go(known).take_while(|point| point.id < to);
        let oldest = oldest.by_ref().map(|point| point.id);
        // If all points that may go might not be enough, all of them may have to go.
        return Ok(oldest.take(needed.points_to_go.unwrap_or(usize::MAX)).collect());
    }
    let go = match needed.points_to_go {
        Some(1) => "the oldest point would have to be given up".to_owned(),
        Some(count) => format!("the {count} oldest points would have to be given up"),
        None => match pinned {
            Some(point) => {
                format!("{} is pinned, so no more may be given up", group.called(point))
            }
            None => "giving up all earlier points might not be enough".to_owned(),
        },
    };
    let context = format!(
        "rolling back: what it overwrites is preserved, which may take {} MiB on the retention \
         volume, where {} MiB are free: {go}; nothing was written",
        needed.bytes.div_ceil(MIB),
        needed.free_bytes / MIB,
    );
    Err(Error::refused(context).remedied(match (pinned, needed.points_to_go) {
        (Some(point), _) => PointRemedy::UnpinForRoom { group: group.name().to_owned(), point },
        (None, Some(_)) => PointRemedy::GiveUpForRoom,
        // Zeros take no room, and how many of them are overwritten is not known beforehand.
        (None, None) => PointRemedy::MakeRoom,
    }))
}
