//! Exports of a group that are running while a verb removes their points: they are named before the
//! removal, and end by themselves after it.

use blockio::group::{self, GroupPlace};
use blockio::journal::catalogue::PointId;

use crate::attention;

/// Warns which exports of the group at `place` will end because their points are removed.
pub(crate) fn tell_of_those(place: &GroupPlace, whose_point_goes: impl Fn(PointId) -> bool) {
    // Nothing depends on this: if it cannot be determined, there is no warning.
    let open = group::exporters(place).unwrap_or_default();
    for one in open.iter().filter(|one| whose_point_goes(one.point)) {
        attention::warn(format!(
            "point {} is served by process {} at {}: that export will end with the point",
            one.point, one.process, one.address
        ));
    }
}
