//! Who serves a point of a group: each exporter has a file next to the history, and holds it
//! locked. The kernel releases the lock however the process ends, so a killed exporter is never
//! taken for one that still serves.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::FlockArg;
use serde::{Deserialize, Serialize};

use super::place::GroupPlace;
use crate::journal::catalogue::PointId;
use crate::volume::lock_as_a_whole;

/// The prefix of their file names; a random part follows.
const EXPORT: &str = "export-";
/// More than is ever written, in bytes: a larger file is not ours.
const EXPORT_BYTES_MAX: u64 = 64 << 10;
/// How often a new file may be mistaken for one that was left behind.
const ATTEMPTS_MAX: usize = 10;

/// A process that serves a point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exporter {
    /// Its process ID.
    pub process: u32,
    /// The point.
    pub point: PointId,
    /// The address for clients.
    pub address: String,
}

/// The announcement that this process serves a point, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Exporting {
    /// Held open: the group may be renamed meanwhile.
    directory: File,
    name: OsString,
    _locked: File,
}

impl Exporting {
    /// Announces the export to the callers of [`exporters`] for the group at `place`.
    ///
    /// # Errors
    ///
    /// The kernel's error: on a volume mounted read-only, for example, the export cannot be
    /// announced.
    pub fn begin(place: &GroupPlace, exporter: &Exporter) -> io::Result<Self> {
        let text = serde_json::to_string(exporter).map_err(io::Error::other)?;
        let opened = File::open(directory(place))?;
        for _ in 0..ATTEMPTS_MAX {
            let make =
                |path: &Path| File::options().write(true).create_new(true).mode(0o644).open(path);
            let made = tempfile::Builder::new().prefix(EXPORT).make_in(directory(place), make)?;
            lock_as_a_whole(made.as_file(), FlockArg::LockExclusive)?;
            // Before it was locked, another process may have mistaken it for one that was left
            // behind.
            if made.as_file().metadata()?.nlink() == 0 {
                continue;
            }
            made.as_file().write_all(text.as_bytes())?;
            let (_locked, path) = made.keep().map_err(|error| error.error)?;
            let name = path.file_name().unwrap_or_default().to_owned();
            return Ok(Self { directory: opened, name, _locked });
        }
        Err(io::Error::other("another process kept taking it for a leftover"))
    }

    /// The current path of the directory with the announcement: it has another name if the group
    /// was renamed meanwhile. `None` once it is gone.
    #[must_use]
    pub fn directory(&self) -> Option<PathBuf> {
        let path = fs::read_link(self.inside()).ok()?;
        let (open, named) = (self.directory.metadata().ok()?, path.metadata().ok()?);
        ((open.dev(), open.ino()) == (named.dev(), named.ino())).then_some(path)
    }

    /// A path to the directory that stays valid when the directory is renamed.
    fn inside(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.directory.as_raw_fd()))
    }
}

impl Drop for Exporting {
    fn drop(&mut self) {
        match fs::remove_file(self.inside().join(&self.name)) {
            // It was removed when the group was forgotten.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::debug!(%error, "leaving behind the file that records an export");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// The processes that serve a point of the group at `place` now. Files of killed processes are
/// removed, if possible.
///
/// # Errors
///
/// The kernel's error.
pub fn exporters(place: &GroupPlace) -> io::Result<Vec<Exporter>> {
    let mut found = Vec::new();
    for path in files(directory(place))? {
        found.extend(exporter(&path)?);
    }
    found.sort_by_key(|one| (one.point, one.process));
    Ok(found)
}

/// The announcement files in `directory`.
pub(super) fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(EXPORT));
        if is_ours && entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn directory(place: &GroupPlace) -> &Path {
    place.history.as_ref().unwrap_or(&place.state)
}

/// The holder of the file at `path`. `None` if it is no longer held, or if the holder has not
/// written its entry yet: that one will see the group in its new state.
fn exporter(path: &Path) -> io::Result<Option<Exporter>> {
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match lock_as_a_whole(&file, FlockArg::LockSharedNonblock) {
        Err(nix::Error::EWOULDBLOCK) => {}
        Err(error) => return Err(error.into()),
        Ok(()) => {
            // It was left behind; on a read-only volume it stays.
            let _ = fs::remove_file(path);
            return Ok(None);
        }
    }
    let mut text = Vec::new();
    file.take(EXPORT_BYTES_MAX).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, GroupPlace) {
        let here = tempfile::tempdir().unwrap();
        let place = GroupPlace { state: "/nowhere".into(), history: Some(here.path().to_owned()) };
        (here, place)
    }

    fn serving(point: u64) -> Exporter {
        Exporter { process: 7, point: PointId(point), address: "/run/web.sock".to_owned() }
    }

    #[test]
    fn who_serves_is_told_until_it_ends() {
        let (_here, place) = place();
        let second = Exporting::begin(&place, &serving(2)).unwrap();
        let first = Exporting::begin(&place, &serving(1)).unwrap();
        assert_eq!(exporters(&place).unwrap(), [serving(1), serving(2)]);
        drop(first);
        assert_eq!(exporters(&place).unwrap(), [serving(2)]);
        drop(second);
        assert_eq!(exporters(&place).unwrap(), []);
    }

    #[test]
    fn what_a_killed_one_left_is_removed_and_told_of_nobody() {
        let (here, place) = place();
        let left = here.path().join("export-killed");
        fs::write(&left, serde_json::to_string(&serving(1)).unwrap()).unwrap();
        let pipe = here.path().join("export-pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        fs::write(here.path().join("segment-0000000000000001"), "").unwrap();
        assert_eq!(exporters(&place).unwrap(), []);
        assert!(!left.exists() && pipe.exists(), "only what is ours is removed");
        assert!(here.path().join("segment-0000000000000001").exists());
    }

    #[test]
    fn one_that_has_not_said_yet_who_it_is_stays() {
        let (here, place) = place();
        let path = here.path().join("export-new");
        let file = File::create(&path).unwrap();
        lock_as_a_whole(&file, FlockArg::LockExclusive).unwrap();
        assert_eq!(exporters(&place).unwrap(), []);
        assert!(path.exists());
    }
}
