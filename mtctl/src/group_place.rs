//! The group that a verb is about, as it was named: it is found, opened or looked at, and where its
//! state is gets registered. `blockio::group` reads it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use blockio::group::{self, Group, GroupPlace, GroupView};
use blockio::storage::Storage;
use clap::Args;
use provisioning::groups::registry;
use provisioning::host::Tree;
use system::{Error, ErrorKind, Result};

use crate::group_list;
use crate::retention_options::RetentionOptions;
use crate::{attention, completion};

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
        attention::set_group(place, &self.group);
        let mut group = Group::open(place, &self.group)?;
        attention::warn_of(&group.take_notes());
        Ok(group)
    }

    /// Looks at the group; another process may be working on it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(crate) fn look(&self) -> Result<GroupView> {
        let place = self.place()?;
        attention::set_group(&place, &self.group);
        let view = GroupView::look(&place, &self.group)?;
        attention::warn_of(view.notes());
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
        let place = self.at.place_of(&self.group)?;
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
        let place = self.at.place_of(&self.group)?;
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
        of_registry(error, format!("registering where the state of group {name} is"))
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
    registry::forget(&Tree::directory("/"), name, &directory).map_err(|error| {
        of_registry(error, format!("removing the state of {name} from the registry"))
    })
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

/// Checks that `group` keeps history.
///
/// # Errors
///
/// `Usage`: it does not.
pub(crate) fn require_history(group: &GroupView) -> Result<()> {
    if group.keeps_history() {
        return Ok(());
    }
    let context = format!("group {} is on no retention volume", group.name());
    Err(Error::new(ErrorKind::Usage, context)
        .with_hint("mount it (mtctl check says what is missing), or name it: --retention DIR"))
}
