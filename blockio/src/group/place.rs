//! Where a group is on this host: its directories, its lock, and its state file as it is read.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};

use super::view::Keeps;
use crate::journal::state::{self, GroupState};
use crate::storage::directory::Directory;
use crate::storage::{Storage, remedy};
use crate::{Error, ErrorKind, Result};

/// The longest name of a group, in bytes: it is a directory's name.
pub const GROUP_NAME_BYTES_MAX: usize = 200;

/// Where a group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory of its state and its lock.
    pub state: PathBuf,
    /// The directory of its history; none: no history is kept.
    pub history: Option<PathBuf>,
}

impl Place {
    /// A group without a history.
    #[must_use]
    pub fn without_history(state: &Path) -> Self {
        Self { state: state.to_owned(), history: None }
    }

    pub(super) fn keeps(&self) -> Keeps {
        if self.history.is_some() { Keeps::History } else { Keeps::Progress }
    }
}

/// Where the history of the group at `place` is, of which nothing is read: for who looks whether it
/// can be.
///
/// # Errors
///
/// `Failed`: a directory cannot be opened.
pub fn storage(place: &Place) -> Result<Arc<dyn Storage>> {
    let history = place.history.as_ref().unwrap_or(&place.state);
    let opened = Directory::open(&place.state, history);
    Ok(Arc::new(opened.map_err(|error| failed("opening", &place.state, error))?))
}

/// Whether `name` can be a group's: it becomes that of a directory.
///
/// # Errors
///
/// `Usage`.
pub fn check_name(name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let good = name.len() <= GROUP_NAME_BYTES_MAX
        && name.bytes().all(allowed)
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    if good {
        return Ok(());
    }
    let context = format!("\"{}\" is no name for a group", name.escape_default());
    Err(Error::new(ErrorKind::Usage, context)
        .with_hint("letters, digits, and in between - _ . are allowed, 200 at most"))
}

/// The group's, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: Flock<File>,
}

/// Makes the directories of `place` and takes the lock of the group `name`.
pub(super) fn lock(place: &Place, name: &str) -> Result<Lock> {
    for directory in std::iter::once(&place.state).chain(&place.history) {
        make_durably(directory).map_err(|error| failed("making", directory, error))?;
    }
    let path = place.state.join("lock");
    let file = File::options().create(true).append(true).open(&path);
    let file = file.map_err(|error| failed("opening", &path, error))?;
    let locked = Flock::lock(file, FlockArg::LockExclusiveNonblock);
    let file = locked.map_err(|(_, errno)| is_locked(name, &path, errno))?;
    Ok(Lock { _file: file })
}

/// Makes `directory` and what is missing above it, so that they are there after a power cut: the
/// state that is saved in it must not vanish with its name.
fn make_durably(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    make_durably(parent)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

/// What messages say that is done to the state of group `name` in `storage`.
pub(super) fn about_state(doing: &str, storage: &dyn Storage, name: &str) -> String {
    let file = storage.state_file().map(|path| format!(", {}", path.display()));
    format!("{doing} the state of group {name}{}", file.unwrap_or_default())
}

/// The state of group `name` in `storage`; the default while none was saved.
pub(super) fn read_state(storage: &dyn Storage, name: &str) -> Result<GroupState> {
    let doing = || about_state("reading", storage, name);
    let text = storage.read_state().map_err(|error| Error::failed(doing(), error))?;
    let Some(text) = text else { return Ok(GroupState::default()) };
    state::parse(&text).map_err(|problem| {
        Error::integrity(doing(), problem).with_hint(
            "the file was changed or damaged; restore it, or begin anew with another group",
        )
    })
}

fn failed(doing: &str, path: &Path, error: io::Error) -> Error {
    let remedy = remedy(&error);
    let failed = Error::failed(format!("{doing} {}", path.display()), error);
    match remedy {
        Some(hint) => failed.with_hint(format!("{hint}, and run the same command again")),
        None => failed,
    }
}

fn is_locked(name: &str, path: &Path, errno: nix::Error) -> Error {
    if errno == nix::Error::EWOULDBLOCK {
        return Error::refused(format!("group {name} is being worked on by another process"))
            .with_hint(format!("wait for it to end; `fuser {}` names it", path.display()));
    }
    failed("locking", path, errno.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_a_path_is_no_name() {
        for name in ["", ".", "..", "a/b", ".a", "-a", "a b", "a\n", &"a".repeat(201)] {
            assert_eq!(check_name(name).unwrap_err().kind(), ErrorKind::Usage, "{name:?}");
        }
        assert!(check_name("db-1_x.2").is_ok());
    }
}
