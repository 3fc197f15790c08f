//! Exports of a group that run while something is done that takes their points away: they are
//! named before it is, and end by themselves after it.

use blockio::group::{self, Place};
use blockio::journal::catalogue::PointId;

use crate::attention;

/// Says which exports of the group at `place` end, as their points go.
pub(crate) fn tell_of_those(place: &Place, whose_point_goes: impl Fn(PointId) -> bool) {
    // Nothing depends on it: where it cannot be seen, nothing is said.
    let open = group::exporters(place).unwrap_or_default();
    for one in open.iter().filter(|one| whose_point_goes(one.point)) {
        attention::warn(format!(
            "point {} is served by process {} at {}: that export ends when the point is \
             gone",
            one.point, one.process, one.address
        ));
    }
}
