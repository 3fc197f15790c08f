//! The groups on this host: those on the retention volume, and those without one in /var/lib. A
//! directory is a group if it has a state, a copy of one, or a segment; a link to a group that was
//! found is not another group.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use blockio::group::{GroupPlace, GroupView, check_name};
use blockio::{Error, Result};

use crate::location::location;
use crate::retention_options::{RetentionOptions, Roots};

/// A group that was found.
pub(crate) struct Found {
    /// Its name, which is that of its directory.
    pub(crate) name: String,
    /// What is known about it, or why that cannot be read.
    pub(crate) view: Result<GroupView>,
}

/// All groups, by name.
///
/// # Errors
///
/// As [`RetentionOptions::roots`], and `Failed` if a directory cannot be read.
pub(crate) fn all(at: &RetentionOptions) -> Result<Vec<Found>> {
    let roots = at.roots()?;
    let mut found = Vec::new();
    for (name, path) in groups_in_all(&roots)? {
        let retention = roots.retention.as_ref();
        let history = retention.map(|retention| retention.join(&name));
        let history = history.filter(|history| history.is_dir());
        let place = GroupPlace { state: path, history };
        found.push(Found { view: GroupView::look(&place, &name), name });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// The hint for a group that does not exist: which groups do, if any.
pub(crate) fn hint_of_names(at: &RetentionOptions) -> String {
    let elsewhere = "mount the retention volume, or name it: --retention DIR";
    match names(at).as_deref() {
        Ok([]) | Err(_) => format!("there are no groups yet; if there should be: {elsewhere}"),
        Ok([only]) => {
            format!("the only group here is {only}; if it is on another volume: {elsewhere}")
        }
        Ok(several) => {
            let shown = several.iter().take(NAMES_SHOWN_MAX).cloned().collect::<Vec<_>>();
            let more = match several.len().checked_sub(shown.len()) {
                Some(more @ 1..) => format!(", and {more} more (mtctl group list)"),
                Some(0) | None => String::new(),
            };
            format!(
                "the groups here are {}{more}; if it is on another volume: {elsewhere}",
                shown.join(", ")
            )
        }
    }
}

/// The most names in a hint.
const NAMES_SHOWN_MAX: usize = 20;

/// The names of all groups, sorted; the groups themselves are not read.
///
/// # Errors
///
/// As [`all`].
pub(crate) fn names(at: &RetentionOptions) -> Result<Vec<String>> {
    let groups = groups_in_all(&at.roots()?)?;
    let mut names: Vec<_> = groups.into_iter().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// The directories of all groups, with their names. A group that is found under several names gets
/// that of its own directory; if only links lead to it, it gets the first of their names.
fn groups_in_all(roots: &Roots) -> Result<Vec<(String, PathBuf)>> {
    let mut groups = Vec::new();
    for root in roots.retention.iter().chain(std::iter::once(&roots.without_history)) {
        groups.extend(groups_in(root)?);
    }
    groups.sort_by_key(|(name, path)| (path.is_symlink(), name.clone()));
    let mut seen = BTreeSet::new();
    groups.retain(|(_, path)| location(path).is_none_or(|own| seen.insert(own)));
    Ok(groups)
}

/// The directories in `root` that contain anything of a group, with their names.
fn groups_in(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let reading = |error| Error::failed(format!("looking for groups in {}", root.display()), error);
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(reading(error)),
    };
    let mut groups = Vec::new();
    for entry in entries {
        let path = entry.map_err(reading)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let Some(name) = name.filter(|name| check_name(name).is_ok()) else { continue };
        // A file beside the groups belongs to somebody else.
        if path.is_file() {
            continue;
        }
        // If that cannot be determined, the caller that looks at the group reports why.
        if GroupPlace::without_history(&path).has_something().unwrap_or(true) {
            groups.push((name, path));
        }
    }
    Ok(groups)
}
