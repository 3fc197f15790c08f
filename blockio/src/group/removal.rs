//! Forgetting a group: nothing of it is left.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Group;
use super::exporters;
use super::place::{self, GroupPlace, RUNS, RUNS_EARLIER};
use super::renaming::sync_parent;
use crate::Result;
use crate::storage::directory::{LOCK, MAKING, STATE, STATE_COPY, is_kept_by_rebuild};

impl Group {
    /// Releases the disks and drops the history of the group, which is at `place`, and removes all
    /// that it has there. A directory that is not named after the group stays. Returns the
    /// directories that contain something else.
    ///
    /// First the group is [`release`](Self::release)d: a crash after that leaves a group without
    /// disks. Then the copies of its state are removed: with one of them left it is a group without
    /// disks, and without both there is no group. The lock is removed last: until then nobody can
    /// begin a group of this name. Removing the group again removes whatever a crash left.
    ///
    /// # Errors
    ///
    /// As [`release`](Self::release). `Failed`: a file cannot be removed.
    pub fn remove(mut self, place: &GroupPlace) -> Result<Vec<PathBuf>> {
        if place.has_something()? {
            self.release()?;
        }
        let name = self.view().name().to_owned();
        let mut directories: Vec<&Path> = vec![&place.state];
        directories.extend(place.history.as_deref().filter(|history| *history != place.state));
        for directory in &directories {
            let removing = |error| place::failed("removing the contents of", directory, error);
            for file in [MAKING, STATE_COPY, STATE, RUNS, RUNS_EARLIER] {
                remove(&directory.join(file)).map_err(removing)?;
            }
            // Those exports end by themselves, because their points are gone.
            let exports = exporters::files(directory).map_err(removing)?;
            let kept = of_rebuilds(directory).map_err(removing)?;
            let all = exports.iter().chain(&kept);
            all.into_iter().try_for_each(|file| remove(file)).map_err(removing)?;
            fs::File::open(directory).and_then(|opened| opened.sync_all()).map_err(removing)?;
        }
        let mut left = Vec::new();
        for directory in directories {
            let removing = |error| place::failed("removing", directory, error);
            remove(&directory.join(LOCK)).map_err(removing)?;
            let is_own = directory.file_name().is_some_and(|own| *own == *name);
            let is_gone = is_own && remove_directory(directory).map_err(removing)?;
            if !is_gone && directory.read_dir().map_err(removing)?.next().is_some() {
                left.push(directory.to_owned());
            }
        }
        Ok(left)
    }
}

/// The states that rebuilds kept in `directory`. What is no file was somebody's, and only moved.
fn of_rebuilds(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in directory.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        let kept = |of: &str| name.to_str().is_some_and(|name| is_kept_by_rebuild(name, of));
        if [STATE, STATE_COPY].into_iter().any(kept) && entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Removes the directory and returns true; leaves one that is not empty.
fn remove_directory(directory: &Path) -> io::Result<bool> {
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        Err(error) => Err(error),
        Ok(()) => sync_parent(directory).map(|()| true),
    }
}
