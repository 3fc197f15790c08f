//! Where a group is on this host: its directories, its lock, and reading its state file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::FlockArg;

use crate::device::buffer::ArenaPool;
use crate::journal::beyond;
use crate::journal::saved::{self, NotReadable, Saved};
use crate::journal::scan::{READER_ARENAS, WINDOW_BYTES};
use crate::journal::state::GroupState;
use crate::journal::strays;
use crate::notice::Notice;
use crate::remedy::{GroupRemedy, Remedied};
use crate::storage::directory::{Directory, LOCK, STATE, STATE_COPY};
use crate::storage::{StateCopy, Storage, remedy};
use crate::volume::lock_as_a_whole;
use crate::{Error, ErrorKind, Result};

/// The longest name of a group, in bytes: it is a directory's name.
pub(crate) const GROUP_NAME_BYTES_MAX: usize = 200;

/// The file of the runs since it was started, next to the state.
pub(super) const RUNS: &str = "runs";
/// The file of the runs before those; there is one.
pub(super) const RUNS_EARLIER: &str = "runs.earlier";

/// What is remembered of applied streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeps {
    /// Nothing: there is no group.
    Nothing,
    /// The progress of each volume.
    Progress,
    /// Progress, and before-images.
    History,
}

/// The directories of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPlace {
    /// The directory of its state and its lock.
    pub state: PathBuf,
    /// The directory of its history; `None` if no history is kept.
    pub history: Option<PathBuf>,
}

impl GroupPlace {
    /// A group without a history.
    #[must_use]
    pub fn without_history(state: &Path) -> Self {
        Self { state: state.to_owned(), history: None }
    }

    /// Whether anything of a group exists: its state, the second copy of it, or a segment. This
    /// includes a group whose state is lost.
    ///
    /// # Errors
    ///
    /// `Failed`: the directories cannot be read.
    pub fn has_something(&self) -> Result<bool> {
        let stands = |path: PathBuf| path.symlink_metadata().is_ok();
        let history = self.history.as_ref().unwrap_or(&self.state);
        if stands(self.state.join(STATE)) || stands(history.join(STATE_COPY)) {
            return Ok(true);
        }
        let segments = Directory::open(&self.state, history).and_then(|opened| opened.segments());
        match segments {
            Ok(segments) => Ok(!segments.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("looking into", history, error)),
        }
    }

    /// Whether it has what every group that was ever held has: something, and its lock. A directory
    /// of somebody else may contain a file with the name of a state.
    #[must_use]
    pub fn was_held(&self) -> bool {
        self.state.join(LOCK).is_file() && self.has_something().unwrap_or(true)
    }

    pub(super) fn keeps(&self) -> Keeps {
        if self.history.is_some() { Keeps::History } else { Keeps::Progress }
    }
}

/// The storage of the group at `place`, without reading it: for callers that check whether it can
/// be opened.
///
/// # Errors
///
/// `Failed`: a directory cannot be opened.
pub fn storage(place: &GroupPlace) -> Result<Arc<dyn Storage>> {
    let history = place.history.as_ref().unwrap_or(&place.state);
    let opened = Directory::open(&place.state, history);
    Ok(Arc::new(opened.map_err(|error| failed("opening", &place.state, error))?))
}

/// Checks that `name` is a valid group name: it becomes the name of a directory.
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
    let context = format!("\"{}\" is not a valid group name", name.escape_default());
    Err(Error::new(ErrorKind::Usage, context)
        .with_hint("use at most 200 letters and digits, with - _ . between them"))
}

/// The lock of a group, until it is dropped. Directories of a group that saved nothing are not left
/// behind.
#[derive(Debug)]
pub(super) struct GroupLock {
    /// Where the group is.
    pub(super) place: GroupPlace,
    /// Directories that were created for it.
    made: Vec<PathBuf>,
    _files: Vec<File>,
}

impl Drop for GroupLock {
    /// The lock is still held: a process that opened its file meanwhile finds that the file is
    /// unlinked. A crash in between leaves an empty directory, which is not a group.
    fn drop(&mut self) {
        if self.made.is_empty() || self.place.has_something().unwrap_or(true) {
            return;
        }
        for runs in [RUNS, RUNS_EARLIER] {
            let _ = fs::remove_file(self.place.state.join(runs));
        }
        for directory in &self.made {
            let _ = fs::remove_file(directory.join(LOCK));
            // A directory that somebody put something else into stays.
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Creates the directories of `place` and takes both locks of the group `name`: next to its
/// history, and next to its state. So two processes also exclude each other if they name different
/// directories for the state of one history, or different histories of one state.
pub(super) fn lock(place: &GroupPlace, name: &str) -> Result<GroupLock> {
    let mut lock = GroupLock { place: place.clone(), made: Vec::new(), _files: Vec::new() };
    let mut seen = Vec::new();
    for directory in place.history.iter().chain(std::iter::once(&place.state)) {
        if !directory.is_dir() {
            make_durably(directory).map_err(|error| failed("making", directory, error))?;
            lock.made.push(directory.to_owned());
        }
        let path = directory.join(LOCK);
        // If there is a pipe in its place, do not wait for it.
        let mut options = File::options();
        let file = options.create(true).append(true).custom_flags(libc::O_NONBLOCK).open(&path);
        let file = match file {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(is_gone(name)),
            opened => opened.map_err(|error| failed("opening", &path, error))?,
        };
        // Both may be the same directory, by different paths.
        let which = file.metadata().map_err(|error| failed("looking at", &path, error))?;
        let which = (which.dev(), which.ino());
        if seen.contains(&which) {
            continue;
        }
        seen.push(which);
        lock_as_a_whole(&file, FlockArg::LockExclusiveNonblock)
            .map_err(|errno| is_locked(name, &path, errno))?;
        // Between opening the file and locking it, the group was renamed or forgotten, or had
        // nothing and was cleaned up: anybody who comes now finds another lock, or none.
        if !path.metadata().is_ok_and(|found| (found.dev(), found.ino()) == which) {
            return Err(is_gone(name));
        }
        lock._files.push(file);
    }
    remove_leftovers(place)?;
    Ok(lock)
}

fn is_gone(name: &str) -> Error {
    let context = format!("locking group {name}: it was moved or removed meanwhile");
    Error::refused(context).remedied(GroupRemedy::List)
}

/// Removes what crashes left of states being written: nobody else can be writing one now.
fn remove_leftovers(place: &GroupPlace) -> Result<()> {
    let history = place.history.as_ref().unwrap_or(&place.state);
    Directory::open(&place.state, history)
        .and_then(|directory| directory.remove_leftovers())
        .map_err(|error| failed("clearing up in", &place.state, error))
}

/// Creates `directory` and its missing parents durably: after a power cut, the state that is saved
/// in it must not vanish with its name.
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

/// The operation `doing` on the state of group `name`, or on `file`, a copy of it, for messages.
pub(super) fn about_state(doing: &str, name: &str, file: Option<&str>) -> String {
    let file = file.map(|file| format!(", {file}"));
    format!("{doing} the state of group {name}{}", file.unwrap_or_default())
}

/// The state of group `name` in `storage`, checked not to be older than its history, with what its
/// journal records beyond it, and the notices about its copies; the default if none was saved.
pub(super) fn read_state(
    storage: &Arc<dyn Storage>,
    name: &str,
) -> Result<(GroupState, Vec<Notice>)> {
    let stamp = || storage.state_stamp().ok();
    for _ in 1..LOOKS_MAX {
        let before = stamp();
        let read = try_to_read_state(storage, name);
        // Somebody may have saved, and removed segments, during the check.
        let is_plain = read.as_ref().is_ok_and(|(_, notes)| notes.is_empty());
        if is_plain || stamp() == before {
            return read;
        }
    }
    try_to_read_state(storage, name)
}

/// How often in a row the state may be replaced while it is read.
const LOOKS_MAX: usize = 100;

fn try_to_read_state(storage: &Arc<dyn Storage>, name: &str) -> Result<(GroupState, Vec<Notice>)> {
    let doing = || {
        let file = storage.state_file(StateCopy::First).map(|file| file.display().to_string());
        about_state("reading", name, file.as_deref())
    };
    // Listed before the state is read: the state is then at least of the generation of every
    // segment listed.
    let there = storage.segments().map_err(|error| with_remedy(doing(), error))?;
    let remedy = |is_untouched| GroupRemedy::RebuildState { group: name.to_owned(), is_untouched };
    match saved::read(storage.as_ref()) {
        Ok(Some(Saved { state, mut notes })) => {
            if state.journal.is_none() && there.is_empty() {
                return Ok((state, notes));
            }
            let pool = ArenaPool::new(READER_ARENAS, WINDOW_BYTES)
                .map_err(|error| Error::failed("allocating memory for reading", error))?;
            let state = beyond::take_in(storage, state, &there, &pool)?;
            let fits = strays::require_none_newer(storage, &state, &there, &pool);
            fits.map_err(|error| match error.kind() {
                ErrorKind::Integrity => error.remedied(remedy(true)),
                _ => error,
            })?;
            notes.extend(strays::not_there(storage, &state, &pool)?);
            Ok((state, notes))
        }
        Ok(None) => {
            if there.is_empty() {
                return Ok((GroupState::default(), Vec::new()));
            }
            let context = format!(
                "{} is missing, although {} segments of a history are there",
                doing(),
                there.len()
            );
            Err(Error::new(ErrorKind::Integrity, context).remedied(remedy(false)))
        }
        Err(NotReadable::Failed { file, cause }) => {
            Err(with_remedy(about_state("reading", name, Some(&file)), cause))
        }
        // The problem names its files.
        Err(problem) => {
            Err(Error::integrity(about_state("reading", name, None), problem)
                .remedied(remedy(false)))
        }
    }
}

pub(super) fn failed(doing: &str, path: &Path, error: io::Error) -> Error {
    with_remedy(format!("{doing} {}", path.display()), error)
}

fn with_remedy(doing: String, error: io::Error) -> Error {
    let remedy = remedy(&error);
    let failed = Error::failed(doing, error);
    match remedy {
        Some(hint) => failed.with_hint(format!("{hint}, and run the same command again")),
        None => failed,
    }
}

fn is_locked(name: &str, path: &Path, errno: nix::Error) -> Error {
    if errno == nix::Error::EWOULDBLOCK {
        return Error::refused(format!("another process is working on group {name}"))
            .with_hint(format!("wait until it ends; `fuser {}` names it", path.display()));
    }
    failed("locking", path, errno.into())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_name_that_is_a_path_is_no_name() {
        for name in ["", ".", "..", "a/b", ".a", "-a", "a b", "a\n", &"a".repeat(201)] {
            assert_eq!(check_name(name).unwrap_err().kind(), ErrorKind::Usage, "{name:?}");
        }
        assert!(check_name("db-1_x.2").is_ok());
    }

    #[test]
    fn of_a_group_something_is_there_in_either_directory() {
        let here = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let of = |part: &str| here.path().join(name).join(part);
            let (state, history) = (of("state"), of("history"));
            [&state, &history].iter().for_each(|path| fs::create_dir_all(path).unwrap());
            GroupPlace { state, history: Some(history) }
        };
        let history = |place: &GroupPlace| place.history.clone().unwrap();
        let nothing = place("nothing");
        assert!(!nothing.has_something().unwrap());
        fs::write(history(&nothing).join(LOCK), "").unwrap();
        assert!(!nothing.has_something().unwrap());
        let (one, other, third) = (place("one"), place("other"), place("third"));
        fs::write(one.state.join(STATE), "").unwrap();
        fs::write(history(&other).join(STATE_COPY), "").unwrap();
        fs::write(history(&third).join("segment-0000000000000001"), "").unwrap();
        for there in [one, other, third] {
            assert!(there.has_something().unwrap(), "{there:?}");
        }
        let nowhere = GroupPlace::without_history(&here.path().join("nowhere"));
        assert!(!nowhere.has_something().unwrap(), "it was never made");
        fs::write(here.path().join("file"), "").unwrap();
        let no_directory = GroupPlace::without_history(&here.path().join("file"));
        assert_eq!(no_directory.has_something().unwrap_err().kind(), ErrorKind::Failed);
    }

    #[test]
    fn directories_are_made_with_what_is_missing_above_them_or_it_is_said() {
        let here = tempfile::tempdir().unwrap();
        let deep = here.path().join("a/b/c");
        make_durably(&deep).unwrap();
        assert!(deep.is_dir());
        make_durably(&deep).unwrap();
        fs::write(here.path().join("file"), "").unwrap();
        let below = make_durably(&here.path().join("file/below")).unwrap_err();
        assert_eq!(below.kind(), io::ErrorKind::NotADirectory);
        // A directory that somebody else makes meanwhile counts as made.
        make_durably(&here.path().join("file")).unwrap();
    }

    #[test]
    fn taking_hold_of_a_group_removes_what_a_crash_left_of_its_states() {
        let here = tempfile::tempdir().unwrap();
        let left = here.path().join("state.abcdef");
        fs::write(&left, "").unwrap();
        let place = GroupPlace::without_history(here.path());
        let held = lock(&place, "g").unwrap();
        assert!(!left.exists());
        // A process that cannot get the lock removes nothing: the file may be in use.
        fs::write(&left, "").unwrap();
        assert_eq!(lock(&place, "g").unwrap_err().kind(), ErrorKind::Refused);
        assert!(left.exists());
        drop(held);
    }

    #[test]
    fn of_a_group_that_was_taken_hold_of_and_never_saved_nothing_is_left() {
        let here = tempfile::tempdir().unwrap();
        let of = |name: &str| here.path().join(name);
        let place = GroupPlace { state: of("state"), history: Some(of("history")) };
        drop(lock(&place, "g").unwrap());
        assert!(!of("state").exists() && !of("history").exists());
        // Nor of a lock that another process tried to get.
        let held = lock(&place, "g").unwrap();
        assert_eq!(lock(&place, "g").unwrap_err().kind(), ErrorKind::Refused);
        assert!(of("state").join(LOCK).exists(), "the lock of whoever holds it is gone");
        drop(held);
        // Directories that existed before stay, and so do those with something of a group.
        fs::create_dir(of("state")).unwrap();
        let held = lock(&place, "g").unwrap();
        fs::write(of("history").join(STATE_COPY), "").unwrap();
        drop(held);
        assert!(of("state").is_dir() && of("history").is_dir());
    }

    #[test]
    fn a_lock_that_comes_and_goes_with_its_directory_is_never_two_peoples() {
        let here = tempfile::tempdir().unwrap();
        let place = GroupPlace::without_history(&here.path().join("g"));
        let (inside, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let take_often = || {
            for _ in 0..200 {
                let held = match lock(&place, "g") {
                    Ok(held) => held,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
                        continue;
                    }
                };
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two have it");
                taken.fetch_add(1, Ordering::SeqCst);
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(held);
            }
        };
        std::thread::scope(|scope| {
            let _ = [(); 3].map(|()| scope.spawn(take_often));
        });
        assert!(taken.into_inner() > 0);
    }

    #[test]
    fn messages_name_the_group_and_the_file_of_its_state() {
        assert_eq!(about_state("reading", "g", None), "reading the state of group g");
        let of_file = about_state("reading", "g", Some("/a/state"));
        assert_eq!(of_file, "reading the state of group g, /a/state");
    }
}
