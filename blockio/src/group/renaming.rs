//! Renaming a group, which renames its directories.
//!
//! Usually there is one directory, and one rename(2) does it: after a crash the group has the old
//! name or the new one. If its state is kept apart from its history and both are named after it,
//! the history goes first. A crash between the two leaves the state under the old name and the
//! history under the new one: the same renaming then recognises that both belong to one group, and
//! continues.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::place::{self, GroupLock, GroupPlace, check_name};
use super::runs::{RunBegin, RunLog};
use crate::journal::state_text;
use crate::remedy::{GroupRemedy, Remedied};
use crate::storage::StateCopy;
use crate::storage::Storage;
use crate::storage::directory::{Directory, LOCK};
use crate::{Error, ErrorKind, Result};

/// The steps to rename a group; it is held meanwhile.
#[derive(Debug)]
pub struct Renaming {
    now: GroupPlace,
    to: String,
    moves: Vec<Move>,
    /// What a renaming that was cut short left under the old name.
    left: Vec<PathBuf>,
    lock: Arc<GroupLock>,
}

/// A directory of a group, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Its current path.
    pub from: PathBuf,
    /// Its new path.
    pub to: PathBuf,
}

impl Renaming {
    /// Takes the lock of the group called `from.0` at `from.1`, which is to be called `to.0` and be
    /// at `to.1`. Nothing is changed yet. A directory that is the same in both stays.
    ///
    /// # Errors
    ///
    /// `Usage`: the new name is not valid, or is the old one. `Refused`: something of that name
    /// exists already, or the group is in use. `Failed`: a directory cannot be read.
    pub fn of(from: (&str, &GroupPlace), to: (&str, &GroupPlace)) -> Result<Self> {
        check_name(to.0)?;
        if from.0 == to.0 {
            let context = format!("renaming group {}: that is its name already", from.0);
            return Err(Error::new(ErrorKind::Usage, context).with_hint("choose another name"));
        }
        let pairs = pairs(from.1, to.1);
        let mut now = from.1.clone();
        let (mut moves, mut left) = (Vec::new(), Vec::new());
        for pair in pairs {
            if pair.to.symlink_metadata().is_ok() && !pair.to.is_dir() {
                return Err(not_a_groups(&pair.to));
            }
            match (holds_something(&pair.from)?, holds_something(&pair.to)?) {
                (true, true) => return Err(is_there(to.0, &pair.to)),
                (true, false) if is_somebodys(&pair.to) => return Err(not_a_groups(&pair.to)),
                (true, false) => moves.push(pair),
                (false, true) => {
                    let replaced = |path: &mut PathBuf| {
                        if *path == pair.from {
                            path.clone_from(&pair.to);
                        }
                    };
                    replaced(&mut now.state);
                    now.history.iter_mut().for_each(replaced);
                    left.push(pair.from);
                }
                (false, false) => {}
            }
        }
        if !left.is_empty() && !is_one_group(&now)? {
            return Err(is_there(to.0, now.history.as_ref().unwrap_or(&now.state)));
        }
        // A missing directory is not created just for this.
        let history = now.history.clone().filter(|history| history.is_dir());
        let state = if now.state.is_dir() { None } else { history.clone() };
        let held = GroupPlace { state: state.unwrap_or_else(|| now.state.clone()), history };
        let lock = place::lock(&held, from.0)?;
        Ok(Self { now, to: to.0.to_owned(), moves, left, lock: Arc::new(lock) })
    }

    /// The current place of the group.
    #[must_use]
    pub fn now(&self) -> &GroupPlace {
        &self.now
    }

    /// The moves, in order.
    #[must_use]
    pub fn moves(&self) -> &[Move] {
        &self.moves
    }

    /// [`Group::begin_run`](super::Group::begin_run), for the group that is moved.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn begin_run(&self, begin: &RunBegin) -> io::Result<Option<RunLog>> {
        RunLog::begin(&self.lock, begin).map(Some)
    }

    /// Moves the directories. Readers that have the history open continue to read it.
    ///
    /// # Errors
    ///
    /// `Refused`: somebody begins a group of the new name. `Failed`: a directory could not be
    /// moved; the same renaming continues it.
    pub fn run(self) -> Result<()> {
        for Move { from, to } in &self.moves {
            remove_if_empty(to, &self.to)?;
            let doing = || format!("moving {} to {}", from.display(), to.display());
            move_to_nothing(from, to).map_err(|error| Error::failed(doing(), error))?;
            // The next one is moved only when this move is durable: a crash then leaves an order
            // that can be recognised.
            sync_parent(to).map_err(|error| Error::failed(doing(), error))?;
        }
        self.left.iter().try_for_each(|left| remove_if_empty(left, &self.to))
    }
}

/// The directories of a group and their destinations, the history first; each once.
fn pairs(from: &GroupPlace, to: &GroupPlace) -> Vec<Move> {
    let histories = from.history.clone().zip(to.history.clone());
    let states = (from.state.clone(), to.state.clone());
    let mut pairs: Vec<Move> = Vec::new();
    for (from, to) in histories.into_iter().chain(std::iter::once(states)) {
        if from != to && pairs.iter().all(|pair| pair.from != from) {
            pairs.push(Move { from, to });
        }
    }
    pairs
}

/// Whether `directory` contains more than a lock.
fn holds_something(directory: &Path) -> Result<bool> {
    let looking = |error| place::failed("looking into", directory, error);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries.map_err(looking)?,
    };
    for entry in entries {
        if entry.map_err(looking)?.file_name() != LOCK {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the state and the history at `place` belong to one group: each has a copy of the state,
/// and both are equal or name the same history.
fn is_one_group(place: &GroupPlace) -> Result<bool> {
    let Some(history) = &place.history else { return Ok(false) };
    let reading = |error| place::failed("reading the state in", &place.state, error);
    let directory = Directory::open(&place.state, history).map_err(reading)?;
    let [state, copy] = StateCopy::BOTH.map(|copy| directory.read_state(copy));
    let (Some(state), Some(copy)) = (state.map_err(reading)?, copy.map_err(reading)?) else {
        return Ok(false);
    };
    let history_of = |text: &str| {
        let known = state_text::parse(text).ok()?.journal?;
        Some(known.identity)
    };
    let histories = (history_of(&state), history_of(&copy));
    Ok(state == copy || (histories.0.is_some() && histories.0 == histories.1))
}

/// Whether `directory`, which contains at most a lock, is something else than the remains of a
/// group that never saved anything: a directory without a lock may be a mount point.
fn is_somebodys(directory: &Path) -> bool {
    directory.symlink_metadata().is_ok() && !directory.join(LOCK).exists()
}

/// Moves `from` to `to`, which must not exist. Some filesystems do not support such a move; there,
/// an empty directory that somebody makes at this moment is replaced, but nothing else.
fn move_to_nothing(from: &Path, to: &Path) -> io::Result<()> {
    let (here, only) = (nix::fcntl::AT_FDCWD, nix::fcntl::RenameFlags::RENAME_NOREPLACE);
    match nix::fcntl::renameat2(here, from, here, to, only) {
        Err(nix::Error::EINVAL | nix::Error::ENOSYS) => fs::rename(from, to),
        moved => Ok(moved?),
    }
}

fn is_there(name: &str, at: &Path) -> Error {
    if !GroupPlace::without_history(at).has_something().unwrap_or(true) {
        return not_a_groups(at);
    }
    Error::refused(format!("there is a group {name} already, in {}", at.display()))
        .remedied(GroupRemedy::SeeOrChooseName { group: name.to_owned() })
}

fn not_a_groups(at: &Path) -> Error {
    Error::refused(format!("{} exists, and belongs to no group", at.display()))
        .with_hint("choose another name, or remove it if nobody needs it")
}

/// Removes `directory`, which contains at most a lock, if nobody holds that.
pub(super) fn remove_if_empty(directory: &Path, name: &str) -> Result<()> {
    if !directory.is_dir() {
        return Ok(());
    }
    let lock = place::lock(&GroupPlace::without_history(directory), name)?;
    let removing = |error| place::failed("removing", directory, error);
    // A process that comes between these two makes its own lock, and the directory stays.
    fs::remove_file(directory.join(LOCK)).map_err(removing)?;
    fs::remove_dir(directory).map_err(removing)?;
    drop(lock);
    sync_parent(directory).map_err(removing)
}

/// Makes the name of `path` durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
