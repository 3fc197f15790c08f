//! A protection group: who works on it (a lock), and what is known of it (its state, which is
//! replaced whole). How that is kept is `storage`'s, what is in its history `journal`'s.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};

use crate::bug::{self, Bug};
use crate::storage::directory::Directory;
use crate::storage::{Storage, remedy};
use crate::{Error, ErrorKind, Result};

pub mod state;

use state::GroupState;

/// The longest name of a group, in bytes: it is a directory's name.
pub const GROUP_NAME_BYTES_MAX: usize = 200;

/// A protection group, held by this process.
pub struct Group {
    name: String,
    state: GroupState,
    storage: Arc<dyn Storage>,
    access: Access,
    keeps_history: bool,
}

/// What may be done with a group.
enum Access {
    /// It is ours until it is dropped.
    Held { _lock: Option<Flock<File>> },
    /// It was looked at: nothing is saved.
    Looked,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("name", &self.name).field("state", &self.state).finish()
    }
}

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
}

impl Group {
    /// Takes hold of the group `name` at `place`, whose directories are made if they are not there.
    ///
    /// # Errors
    ///
    /// `Usage`: the name is none. `Refused`: another process holds the group. `Integrity`: the
    /// state file is not what was written. `Failed`: a file or directory cannot be made or read.
    pub fn open(place: &Place, name: &str) -> Result<Self> {
        Self::check_name(name)?;
        for directory in std::iter::once(&place.state).chain(&place.history) {
            make_durably(directory).map_err(|error| failed("making", directory, error))?;
        }
        let path = place.state.join("lock");
        let lock = File::options().create(true).append(true).open(&path);
        let lock = lock.map_err(|error| failed("opening", &path, error))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| locked(name, &path, errno))?;
        let access = Access::Held { _lock: Some(lock) };
        Self::of(storage(place)?, place.history.is_some(), name, access)
    }

    /// Looks at the group without taking hold of it: makes nothing, and no change is saved.
    ///
    /// # Errors
    ///
    /// `Usage`, `Integrity` and `Failed` as [`open`](Self::open).
    pub fn look(place: &Place, name: &str) -> Result<Self> {
        Self::check_name(name)?;
        if !place.state.is_dir() {
            let storage: Arc<dyn Storage> = Arc::new(crate::storage::Nothing);
            return Self::of(storage, place.history.is_some(), name, Access::Looked);
        }
        let there = |path: &PathBuf| path.is_dir();
        let place = Place { history: place.history.clone().filter(there), ..place.clone() };
        Self::of(storage(&place)?, place.history.is_some(), name, Access::Looked)
    }

    /// The group `name` in `storage`, which is nobody else's.
    ///
    /// # Errors
    ///
    /// `Integrity` and `Failed` as [`open`](Self::open).
    pub fn in_storage(storage: Arc<dyn Storage>, name: &str) -> Result<Self> {
        Self::of(storage, true, name, Access::Held { _lock: None })
    }

    fn of(
        storage: Arc<dyn Storage>,
        keeps_history: bool,
        name: &str,
        access: Access,
    ) -> Result<Self> {
        let state = read_state(storage.as_ref(), name)?;
        Ok(Self { name: name.to_owned(), state, storage, access, keeps_history })
    }

    /// Whether what is overwritten is kept.
    #[must_use]
    pub fn keeps_history(&self) -> bool {
        self.keeps_history
    }

    /// Where its history is kept.
    #[must_use]
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage)
    }

    /// Whether `name` can be a group's: it becomes that of a directory.
    ///
    /// # Errors
    ///
    /// `Usage`.
    pub fn check_name(name: &str) -> Result<()> {
        check_name(name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is known of its volumes, as it was last saved or changed.
    pub fn state(&self) -> &GroupState {
        &self.state
    }

    /// Changes the state by `change` and makes it durable.
    ///
    /// # Errors
    ///
    /// `Failed`: the file cannot be written. The state in memory is then ahead of the one on disk,
    /// which is older and true.
    pub fn update(&mut self, change: impl FnOnce(&mut GroupState)) -> Result<()> {
        change(&mut self.state);
        match self.access {
            Access::Looked => Ok(()),
            Access::Held { .. } if bug::is_planted(Bug::NoBarrier3) => Ok(()),
            Access::Held { .. } => {
                self.storage.replace_state(&state::print(&self.state)).map_err(|error| {
                    let doing = about_state("writing", self.storage.as_ref(), &self.name);
                    let hint = format!(
                        "what was applied is durable; {}, and run the same command again",
                        remedy(&error).unwrap_or("make room or repair")
                    );
                    Error::failed(doing, error).with_hint(hint)
                })
            }
        }
    }

    /// Changes what is known by `change`, and does not save it: what a dry run would have made of
    /// one stream is what the next one is held against; what is saved with the next update.
    pub(crate) fn suppose(&mut self, change: impl FnOnce(&mut GroupState)) {
        change(&mut self.state);
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

fn about_state(doing: &str, storage: &dyn Storage, name: &str) -> String {
    let file = storage.state_file().map(|path| format!(", {}", path.display()));
    format!("{doing} the state of group {name}{}", file.unwrap_or_default())
}

fn read_state(storage: &dyn Storage, name: &str) -> Result<GroupState> {
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

fn locked(name: &str, path: &Path, errno: nix::Error) -> Error {
    if errno == nix::Error::EWOULDBLOCK {
        return Error::refused(format!("group {name} is being worked on by another process"))
            .with_hint(format!("wait for it to end; `fuser {}` names it", path.display()));
    }
    failed("locking", path, errno.into())
}

fn check_name(name: &str) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_there_at_the_next_open() {
        let directory = tempfile::tempdir().unwrap();
        let mut group = Group::open(&Place::without_history(directory.path()), "g").unwrap();
        group
            .update(|state| {
                state.volumes.entry("db".to_owned()).or_default().source_bytes = Some(7);
            })
            .unwrap();
        let saved = group.state().clone();
        drop(group);
        assert_eq!(
            *Group::open(&Place::without_history(directory.path()), "g").unwrap().state(),
            saved
        );
        assert_eq!(saved.volumes["db"].source_bytes, Some(7));
    }

    #[test]
    fn looking_at_a_group_makes_nothing_and_saves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("g");
        let mut seen = Group::look(&Place::without_history(&place), "g").unwrap();
        seen.update(|state| drop(state.volumes.insert("db".to_owned(), Default::default())))
            .unwrap();
        assert!(!place.exists());
    }

    #[test]
    fn a_group_has_one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let first = Group::open(&Place::without_history(directory.path()), "g").unwrap();
        let second = Group::open(&Place::without_history(directory.path()), "g").unwrap_err();
        assert_eq!(second.kind(), ErrorKind::Refused);
        drop(first);
        assert!(Group::open(&Place::without_history(directory.path()), "g").is_ok());
    }

    #[test]
    fn a_state_that_was_changed_by_hand_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        Group::open(&Place::without_history(directory.path()), "g")
            .unwrap()
            .update(|_| {})
            .unwrap();
        let path = directory.path().join("state");
        let text = fs::read_to_string(&path).unwrap();
        for changed in [text.replace("\"version\":1", "\"version\": 1"), text[..9].to_owned()] {
            assert_ne!(changed, text);
            fs::write(&path, changed).unwrap();
            let refused = Group::open(&Place::without_history(directory.path()), "g").unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Integrity);
        }
    }

    #[test]
    fn a_name_that_is_a_path_is_no_name() {
        for name in ["", ".", "..", "a/b", ".a", "-a", "a b", "a\n", &"a".repeat(201)] {
            assert_eq!(check_name(name).unwrap_err().kind(), ErrorKind::Usage, "{name:?}");
        }
        assert!(check_name("db-1_x.2").is_ok());
    }
}
