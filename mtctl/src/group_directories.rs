//! Checks the directories of a group before any of it is moved or removed: they must belong to it
//! and be all that it has. A change made through a link would affect another group, and a forgotten
//! half would keep the group's disks claimed.

use std::path::Path;

use blockio::group::{GroupPlace, check_name};
use blockio::storage::directory::{STATE, STATE_COPY};
use blockio::{Error, Result};
use provisioning::groups::registry;
use provisioning::host::Tree;

use crate::group_place::GroupOptions;
use crate::location::location;
use crate::other_groups::history_at;
use crate::report;

/// Checks that the directories at `place` belong to the group that `of` names, and are all that it
/// has.
///
/// # Errors
///
/// `Refused`: one is a link, or its state lies elsewhere. `Failed`: the registry cannot be read.
pub(crate) fn require_own(of: &GroupOptions, place: &GroupPlace) -> Result<()> {
    let directories = place.history.iter().chain(std::iter::once(&place.state));
    directories.into_iter().try_for_each(|directory| require_no_link(directory))?;
    place.history.as_ref().map_or(Ok(()), |history| require_one_state(place, history, &of.group))
}

fn require_no_link(directory: &Path) -> Result<()> {
    if !directory.is_symlink() {
        return Ok(());
    }
    let real = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let (shown, named) = (directory.display(), real.display());
    let beside = directory.parent().and_then(|above| above.canonicalize().ok());
    let name = real.file_name().filter(|_| real.parent() == beside.as_deref());
    let name = name.and_then(|name| name.to_str()).filter(|name| check_name(name).is_ok());
    let hint = match name {
        Some(name) => format!("it is group {name}: use --group {name}, or remove the link"),
        None => format!("move {named} itself to its place, or remove the link"),
    };
    Err(Error::refused(format!("{shown} is a link to {named}: nothing is removed through a link"))
        .with_hint(hint))
}

/// Checks that the state of group `name` with this `history` is at `place`, and that the registry
/// names no other.
fn require_one_state(place: &GroupPlace, history: &Path, name: &str) -> Result<()> {
    let stands = |directory: &Path, file| directory.join(file).symlink_metadata().is_ok();
    let is_here = stands(&place.state, STATE);
    if !is_here && !stands(history, STATE_COPY) {
        return Ok(());
    }
    let identity = history_at(&GroupPlace::without_history(history));
    let is_of_it = |directory: &Path| {
        let other = history_at(&GroupPlace::without_history(directory));
        !is_here || (identity.is_some() && identity == other)
    };
    let rows = registry::load(&Tree::directory("/")).map_err(report::as_of_blockio)?;
    let mut elsewhere = rows.into_iter().filter(|(group, directory)| {
        group == name && location(directory) != location(&place.state) && is_of_it(directory)
    });
    let shown = place.state.display();
    let with = if is_here { "as well as" } else { "and not" };
    if let Some((_, directory)) = elsewhere.next() {
        let directory = directory.display();
        let context = format!("group {name} has a state in {directory}, {with} in {shown}");
        let mut hint = format!("name the directory: --state-dir {directory}");
        if is_here {
            hint += &format!("; or, if it is only a leftover there: rm {directory}/{STATE}");
        }
        return Err(Error::refused(context).with_hint(hint));
    }
    if is_here {
        return Ok(());
    }
    let copy = history.join(STATE_COPY);
    let context =
        format!("the state of group {name} is missing from {shown}: only its copy is there");
    Err(Error::refused(context).with_hint(format!(
        "name its directory: --state-dir DIR; or, if it was lost, put the copy in its place: cp \
         {} {shown}/{STATE}",
        copy.display()
    )))
}
