//! A protection group on disk: who works on it (a lock), and what is known of its volumes (the
//! state file). Recovery points and before-images are not here.
//!
//! The state file is replaced whole: written beside, made durable, renamed, and the directory made
//! durable. A crash before the rename leaves the old state, a crash after it the new one; there is
//! no third.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::{Error, ErrorKind, Result};

pub mod state;

use state::GroupState;

/// The longest name of a group, in bytes: it is a directory's name.
pub const GROUP_NAME_BYTES_MAX: usize = 200;

/// A protection group, held by this process.
#[derive(Debug)]
pub struct Group {
    directory: PathBuf,
    name: String,
    state: GroupState,
    // Held until the group is dropped; none: it was only looked at.
    lock: Option<Flock<File>>,
}

impl Group {
    /// Takes hold of the group `name` whose directory is `directory`, which is made if it is not
    /// there.
    ///
    /// # Errors
    ///
    /// `Usage`: the name is none. `Refused`: another process holds the group. `Integrity`: the
    /// state file is not what was written. `Failed`: a file or directory cannot be made or read.
    pub fn open(directory: &Path, name: &str) -> Result<Self> {
        Self::check_name(name)?;
        make_durably(directory).map_err(|error| failed("making", directory, error))?;
        let path = directory.join("lock");
        let lock = File::options().create(true).append(true).open(&path);
        let lock = lock.map_err(|error| failed("opening", &path, error))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| locked(name, &path, errno))?;
        let state = read_state(&directory.join("state"))?;
        Ok(Self { directory: directory.to_owned(), name: name.to_owned(), state, lock: Some(lock) })
    }

    /// Looks at the group without taking hold of it: makes nothing, and no change is saved.
    ///
    /// # Errors
    ///
    /// `Usage`, `Integrity` and `Failed` as [`open`](Self::open).
    pub fn look(directory: &Path, name: &str) -> Result<Self> {
        Self::check_name(name)?;
        let state = read_state(&directory.join("state"))?;
        Ok(Self { directory: directory.to_owned(), name: name.to_owned(), state, lock: None })
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
        if self.lock.is_none() {
            return Ok(());
        }
        self.save().map_err(|error| {
            failed("writing", &self.directory.join("state"), error)
                .with_hint("what was applied is durable; make room or repair, and run it again")
        })
    }

    /// Changes what is known by `change`, for this process only: what a dry run would have made of
    /// one stream is what the next one is held against.
    pub(crate) fn suppose(&mut self, change: impl FnOnce(&mut GroupState)) {
        change(&mut self.state);
    }

    fn save(&self) -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix("state.").tempfile_in(&self.directory)?;
        file.write_all(state::print(&self.state).as_bytes())?;
        // A crash from here on leaves a temporary file, which nothing reads.
        file.as_file().sync_all()?;
        file.persist(self.directory.join("state")).map_err(|error| error.error)?;
        File::open(&self.directory)?.sync_all()
    }
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

fn read_state(path: &Path) -> Result<GroupState> {
    match fs::read_to_string(path) {
        Ok(text) => state::parse(&text).map_err(|problem| {
            Error::integrity(format!("reading {}", path.display()), problem).with_hint(
                "the file was changed or damaged; restore it, or begin anew with another group",
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(GroupState::default()),
        Err(error) => Err(failed("reading", path, error)),
    }
}

fn failed(doing: &str, path: &Path, error: io::Error) -> Error {
    Error::failed(format!("{doing} {}", path.display()), error)
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
        let mut group = Group::open(directory.path(), "g").unwrap();
        group
            .update(|state| {
                state.volumes.entry("db".to_owned()).or_default().source_bytes = Some(7);
            })
            .unwrap();
        let saved = group.state().clone();
        drop(group);
        assert_eq!(*Group::open(directory.path(), "g").unwrap().state(), saved);
        assert_eq!(saved.volumes["db"].source_bytes, Some(7));
    }

    #[test]
    fn looking_at_a_group_makes_nothing_and_saves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("g");
        let mut seen = Group::look(&place, "g").unwrap();
        seen.update(|state| drop(state.volumes.insert("db".to_owned(), Default::default())))
            .unwrap();
        assert!(!place.exists());
    }

    #[test]
    fn a_group_has_one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let first = Group::open(directory.path(), "g").unwrap();
        let second = Group::open(directory.path(), "g").unwrap_err();
        assert_eq!(second.kind(), ErrorKind::Refused);
        drop(first);
        assert!(Group::open(directory.path(), "g").is_ok());
    }

    #[test]
    fn a_state_that_was_changed_by_hand_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        Group::open(directory.path(), "g").unwrap().update(|_| {}).unwrap();
        let path = directory.path().join("state");
        let text = fs::read_to_string(&path).unwrap();
        for changed in [text.replace("\"version\":1", "\"version\": 1"), text[..9].to_owned()] {
            assert_ne!(changed, text);
            fs::write(&path, changed).unwrap();
            let refused = Group::open(directory.path(), "g").unwrap_err();
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
