//! The volumes of a group as they were at a recovery point, for the verbs that only read. Another
//! process may continue to write to the disks meanwhile.

use blockio::device::Engine;
use blockio::device::open::open;
use blockio::group::GroupView;
use blockio::journal::catalogue::Point;
use blockio::journal::selector::{self, Selector};
use blockio::retarget;
use blockio::view::{PointHistory, View};
use blockio::volume_name::VolumeName;
use blockio::{Error, ErrorKind, volume};

use crate::attention;
use crate::group_place::GroupOptions;
use crate::group_targets::{self, Volumes};
use crate::other_groups::OtherGroups;

/// A volume at a point.
pub(crate) struct PointView {
    /// Its name in the group.
    pub(crate) name: VolumeName,
    /// Its bytes.
    pub(crate) view: View,
}

/// The volumes of `group`, which `of` names, at the point that `to` selects, together with that
/// point; only `wanted` if some are given: the disks of the others need not exist. Warns if another
/// group has one of the disks as well.
///
/// # Errors
///
/// `Usage`: there is no such point or volume. `Refused`: a disk is not what it was. `Integrity`,
/// `Failed`: the history is damaged, or a disk or the history cannot be read.
pub(crate) fn at<'a>(
    of: &GroupOptions,
    group: &'a GroupView,
    to: &Selector,
    wanted: Volumes<'_>,
) -> anyhow::Result<(&'a Point, Vec<PointView>)> {
    let point = selector::find(group.catalogue()?, to)?;
    let shown = selector::shown(point);
    let history = PointHistory::open(group.storage(), point.id)?;
    let mut views = Vec::new();
    let others = OtherGroups::than(&of.group, Some(&of.place()?))?;
    for (name, named) in group_targets::named(group, wanted)? {
        if let Some(note) = others.warning(&named) {
            attention::warn(note);
        }
        let target = volume::open_to_look(&named.request)?;
        let path = target.path().display().to_string();
        let geometry = target.geometry();
        // A view requests one read at a time for each client, which has a device of its own: a ring
        // would not be faster.
        let device = open(target.into_file(), geometry, Engine::Blocking)?;
        let called = format!("{path} {}", retarget::at_point(group, &name, &shown));
        let view = View::of_point(called, device, &history, name.as_str())?;
        views.push(PointView { name, view });
    }
    group_targets::warn_unless_as_left(group, wanted);
    if views.is_empty() {
        let wanted = wanted.and_then(|wanted| wanted.first());
        return Err(none_of(group, wanted.copied().unwrap_or_default()).into());
    }
    Ok((point, views))
}

/// Why there is nothing to read for the volume `wanted`.
fn none_of(group: &GroupView, wanted: &str) -> Error {
    let shown = VolumeName::from(wanted).in_words();
    if group.state().volumes.contains_key(wanted) {
        let context = format!("group {} does not know the disk of {shown}", group.name());
        return Error::new(ErrorKind::Usage, context)
            .with_hint("its state was rebuilt: name the disk again with the next stream");
    }
    let context = format!("group {} does not have {shown}", group.name());
    let names = VolumeName::listed(group.state().volumes.keys());
    Error::new(ErrorKind::Usage, context).with_hint(format!("its volumes are: {names}"))
}
