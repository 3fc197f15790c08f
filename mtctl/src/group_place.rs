//! Where a group lives: with its history on the retention volume that was named or is mounted, or
//! without history in /var/lib. `blockio::group` reads it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blockio::group::{self, Group, GroupPlace, GroupView};
use blockio::notice::Notice;
use blockio::storage::Storage;
use clap::Args;
use provisioning::groups::registry;
use provisioning::host::Tree;
use system::lossless_text;
use system::{Error, ErrorKind, Result};

use crate::group_list;
use crate::retention_mount::{self, RetentionMount, RetentionMountOption};
use crate::{attention, completion, remedy, report};

/// Where groups without a retention volume live.
const GROUPS: &str = "/var/lib/mtctl/groups";

/// Where history is kept.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RetentionOptions {
    /// The retention volume for this run, or none [default with --group: what is mounted where
    /// --retention-mount says]
    #[arg(long, value_name = "DIR|none")]
    pub(crate) retention: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) mount: RetentionMountOption,

    /// Take --retention though nothing is mounted there: for tests, on a disk that is no other's
    #[arg(long, requires = "retention")]
    pub(crate) retention_unmounted: bool,

    /// Where the group's state is kept, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP
    #[arg(long, value_name = "DIR", requires = "group")]
    pub(crate) state_dir: Option<PathBuf>,
}

impl RetentionOptions {
    /// Whether the operator asked for no history.
    pub(crate) fn is_without_history(&self) -> bool {
        self.retention.as_ref().is_some_and(|said| said.as_os_str() == "none")
    }
}

/// A group that is there.
#[derive(Clone, Debug, Args)]
pub(crate) struct GroupOptions {
    /// The protection group
    #[arg(long, value_name = "NAME", add = completion::groups())]
    pub(crate) group: String,

    #[command(flatten)]
    pub(crate) at: RetentionOptions,
}

impl GroupOptions {
    /// Opens the group.
    ///
    /// # Errors
    ///
    /// `Usage`: it does not exist. Otherwise as [`Group::open`].
    pub(crate) fn open(&self) -> Result<Group> {
        let place = self.place()?;
        let group = self.hold(&place)?;
        remember_targets(&place, &self.group, group.view())?;
        Ok(group)
    }

    /// Like [`open`](Self::open), for a run that would change the group but for `--dry-run`:
    /// nothing is registered, and no directory is made.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(crate) fn open_unless_dry(&self, dry_run: bool) -> Result<Group> {
        match dry_run {
            true => self.hold(&as_far_as_there(self.place()?)),
            false => self.open(),
        }
    }

    fn hold(&self, place: &GroupPlace) -> Result<Group> {
        attention::is_about(place, &self.group);
        let mut group = Group::open(place, &self.group)?;
        warn(&group.take_notes());
        Ok(group)
    }

    /// Looks at the group; another process may be working on it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(crate) fn look(&self) -> Result<GroupView> {
        let place = self.place()?;
        attention::is_about(&place, &self.group);
        let view = GroupView::look(&place, &self.group)?;
        warn(view.notes());
        Ok(view)
    }

    /// The storage of its history; nothing is read yet.
    ///
    /// # Errors
    ///
    /// `Usage`: it does not exist. `Failed`: it cannot be opened.
    pub(crate) fn storage(&self) -> Result<Arc<dyn Storage>> {
        group::storage(&as_far_as_there(self.place()?))
    }

    /// The place of the group, which must exist there at least in part.
    ///
    /// # Errors
    ///
    /// `Usage`: it does not exist.
    pub(crate) fn place(&self) -> Result<GroupPlace> {
        group::check_name(&self.group)?;
        let place = of_group(&self.group, &self.at)?;
        if place.has_something()? {
            return Ok(place);
        }
        Err(self.is_not_there(&place))
    }

    /// The place of the group, or of what remains of it after its state is gone.
    ///
    /// # Errors
    ///
    /// `Usage`: nothing is there.
    pub(crate) fn place_with_remnants(&self) -> Result<GroupPlace> {
        group::check_name(&self.group)?;
        let place = of_group(&self.group, &self.at)?;
        if place.has_something()? || (self.at.state_dir.is_none() && place.state.is_dir()) {
            return Ok(place);
        }
        Err(self.is_not_there(&place))
    }

    fn is_not_there(&self, place: &GroupPlace) -> Error {
        let context = format!("there is no group {} in {}", self.group, place.state.display());
        Error::new(ErrorKind::Usage, context).with_hint(group_list::hint_of_names(&self.at))
    }
}

/// `place` reduced to the directories that exist: if that of the state does not, a copy of the
/// state may be with the history. Looking at a group must not make directories.
pub(crate) fn as_far_as_there(place: GroupPlace) -> GroupPlace {
    let history = place.history.filter(|history| history.is_dir());
    let state = if place.state.is_dir() { None } else { history.clone() };
    GroupPlace { state: state.unwrap_or(place.state), history }
}

/// Prints what an operator should know about a group.
pub(crate) fn warn(notes: &[Notice]) {
    notes.iter().map(remedy::told).for_each(attention::warn);
}

/// The place of group `name`.
///
/// # Errors
///
/// `Usage`: the retention directory that was named does not exist, or something other than a
/// directory is in the place of the group. `Refused`: nothing is mounted there, or none was named
/// and the retention volume of this host is not mounted.
pub(crate) fn of_group(name: &str, at: &RetentionOptions) -> Result<GroupPlace> {
    let Roots { retention, without_history } = roots(at)?;
    let history = retention.map(|retention| retention.join(name));
    let state = at.state_dir.clone().or_else(|| history.clone());
    let place = GroupPlace { state: state.unwrap_or_else(|| without_history.join(name)), history };
    for directory in place.history.iter().chain(std::iter::once(&place.state)) {
        if directory.symlink_metadata().is_ok() && !directory.is_dir() {
            let context = format!(
                "{} is no directory: group {name} is not there, and cannot be",
                directory.display()
            );
            return Err(Error::new(ErrorKind::Usage, context)
                .with_hint("name another group, or move away what is there"));
        }
    }
    Ok(place)
}

/// The directories that contain groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roots {
    /// The retention volume, if there is one.
    pub(crate) retention: Option<PathBuf>,
    /// The directory of groups that keep no history.
    pub(crate) without_history: PathBuf,
}

/// The directories that contain groups.
///
/// # Errors
///
/// As [`of_group`].
pub(crate) fn roots(at: &RetentionOptions) -> Result<Roots> {
    let retention = match &at.retention {
        Some(none) if none.as_os_str() == "none" => None,
        Some(directory) => Some(named(directory, at.retention_unmounted)?),
        None => mounted(&at.mount.of_this_host().map_err(report::as_of_blockio)?)?,
    };
    Ok(Roots { retention, without_history: GROUPS.into() })
}

/// Registers the place of the state of group `name`, so that `prepare` stays off its `targets`, and
/// a state apart from its history is found again. Targets that are image files need no
/// registration, because `prepare` cannot format them.
///
/// # Errors
///
/// `Failed`: the registry cannot be written. `Usage`: it cannot represent the path.
pub(crate) fn remember<'a>(
    place: &GroupPlace,
    name: &str,
    mut targets: impl Iterator<Item = &'a str>,
) -> Result<()> {
    let is_apart = place.history.as_ref() != Some(&place.state);
    if !is_apart && targets.all(|target| Path::new(target).is_file()) {
        return Ok(());
    }
    let failed = |error| Error::failed(format!("finding {}", place.state.display()), error);
    let directory = registered(place).map_err(failed)?;
    registry::remember(&Tree::directory("/"), name, &directory).map_err(|error| {
        of_registry(error, format!("putting down where the state of group {name} is"))
    })
}

/// Reverts [`remember`]: group `name` has no state at `place`.
///
/// # Errors
///
/// `Failed`: the registry cannot be written.
pub(crate) fn forget_state(place: &GroupPlace, name: &str) -> Result<()> {
    let failed = |error| Error::failed(format!("finding {}", place.state.display()), error);
    let directory = registered(place).map_err(failed)?;
    registry::forget(&Tree::directory("/"), name, &directory)
        .map_err(|error| of_registry(error, format!("forgetting where the state of {name} was")))
}

/// The directory of the state in the form used by the registry; it need not exist yet.
fn registered(place: &GroupPlace) -> std::io::Result<PathBuf> {
    let directory = std::path::absolute(&place.state)?;
    let beside = || {
        let parent = directory.parent()?.canonicalize().ok()?;
        Some(parent.join(directory.file_name()?))
    };
    Ok(directory.canonicalize().ok().or_else(beside).unwrap_or(directory))
}

fn of_registry(error: system::Error, context: String) -> Error {
    let kind = match error.kind() {
        system::ErrorKind::Usage => ErrorKind::Usage,
        _ => ErrorKind::Failed,
    };
    let hint = error.hint().map(str::to_owned);
    let ours = Error::new(kind, context).caused_by(error);
    match hint {
        Some(hint) => ours.with_hint(hint),
        None => ours,
    }
}

/// [`remember`] with the current targets of the group.
pub(crate) fn remember_targets(place: &GroupPlace, name: &str, group: &GroupView) -> Result<()> {
    let volumes = group.state().volumes.values();
    remember(place, name, volumes.filter_map(|volume| volume.target.as_deref()))
}

fn named(directory: &Path, is_unmounted_taken: bool) -> Result<PathBuf> {
    if !directory.is_dir() {
        let context = format!("{} is no directory", directory.display());
        return Err(Error::new(ErrorKind::Usage, context)
            .with_hint("mount the retention volume first, or say --retention none"));
    }
    if is_unmounted_taken || is_mount_point(directory) {
        return Ok(directory.to_owned());
    }
    let context = format!("nothing is mounted on {}", directory.display());
    Err(Error::refused(context).with_hint(
        "what is kept there would fill another filesystem: mount the retention volume, \
         or say --retention-unmounted",
    ))
}

/// The retention volume of this host; `None` if it has none. Continuing while it is not mounted
/// would overwrite disks without history, and detach them from the history that is on it.
fn mounted(mount: &RetentionMount) -> Result<Option<PathBuf>> {
    let RetentionMount { path, said_by } = mount;
    let path = lossless_text::to_path(path);
    if is_mount_point(&path) {
        retention_mount::check_is_the_known_one(mount).map_err(report::as_of_blockio)?;
        return Ok(Some(path.into_owned()));
    }
    let Some(said_by) = said_by else { return Ok(None) };
    let at = path.display();
    let context = format!("the retention volume that {said_by} is not mounted on {at}");
    Err(Error::refused(context).with_hint(
        "`mtctl check` says why, `mtctl prepare` checks and mounts it; or name another place: \
         --retention DIR, or --retention none to keep no history",
    ))
}

/// Without a group there is nothing to keep on a retention volume.
///
/// # Errors
///
/// `Usage`: a retention volume was named.
pub(crate) fn check_without_group(retention: Option<&Path>) -> Result<()> {
    match retention {
        Some(directory) if directory.as_os_str() != "none" => {
            let context = format!("--retention {} without --group", directory.display());
            Err(Error::new(ErrorKind::Usage, context)
                .with_hint("name the group whose history is to be kept there: --group NAME"))
        }
        _ => Ok(()),
    }
}

/// How a target without a WWID is identified: by its path.
pub(crate) fn of_target(path: &Path) -> String {
    path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Directories that are, or may be, retention volumes: those that were named, and that of this
/// host. Whether they are mounted is not checked.
pub(crate) fn retention_roots(at: &RetentionOptions) -> Vec<PathBuf> {
    let named = at.retention.iter().filter(|named| named.as_os_str() != "none").cloned();
    let mount = at.mount.of_this_host().ok();
    let of_host = mount.map(|mount| lossless_text::to_path(&mount.path).into_owned());
    named.chain(of_host).collect()
}

/// Whether `path` is a mount point, that is, on another file system than its parent.
pub(crate) fn is_mount_point(path: &Path) -> bool {
    // A relative path of one component has no parent, and one that ends in `..` has the wrong one.
    let Ok(path) = path.canonicalize() else { return false };
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
    let above = path.parent().and_then(device);
    device(&path).is_some_and(|own| above.is_some_and(|above| above != own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(retention: Option<&Path>, state: Option<&Path>) -> RetentionOptions {
        RetentionOptions {
            retention: retention.map(Path::to_owned),
            mount: RetentionMountOption::default(),
            retention_unmounted: true,
            state_dir: state.map(Path::to_owned),
        }
    }

    #[test]
    fn what_was_named_comes_first_then_retention_then_var() {
        let here = tempfile::tempdir().unwrap();
        let none = Some(Path::new("none"));
        let place = |retention, state| of_group("g", &options(retention, state)).unwrap();
        let named = place(Some(here.path()), Some(Path::new("/s")));
        assert_eq!((named.state, named.history), ("/s".into(), Some(here.path().join("g"))));
        let kept = place(Some(here.path()), None);
        assert_eq!((kept.state, kept.history.is_some()), (here.path().join("g"), true));
        let without = place(none, None);
        assert_eq!(without, GroupPlace::without_history(Path::new("/var/lib/mtctl/groups/g")));
        let missing = here.path().join("missing");
        let refused = of_group("g", &options(Some(&missing), None)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Usage);
    }

    #[test]
    fn a_directory_that_is_no_mount_point_is_refused_unless_it_is_said() {
        let here = tempfile::tempdir().unwrap();
        let said = options(Some(here.path()), None);
        let unsaid = RetentionOptions { retention_unmounted: false, ..said };
        assert_eq!(of_group("g", &unsaid).unwrap_err().kind(), ErrorKind::Refused);
    }

    #[test]
    fn a_mount_point_is_told_from_a_directory() {
        assert!(is_mount_point(Path::new("/proc")));
        assert!(is_mount_point(Path::new("/proc/self/..")));
        assert!(!is_mount_point(Path::new("/proc/self/fd")));
        assert!(!is_mount_point(Path::new("src")));
        assert!(!is_mount_point(Path::new("/no/such/directory")));
    }
}
