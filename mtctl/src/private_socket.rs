//! A place for a socket that only processes told by this run can find: a directory of its own,
//! which is removed at the end of the run. A directory left by a killed run is removed by the next
//! one.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use blockio::{Error, Result};
use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

/// Short, because the path of a socket must be; emptied when the host starts.
const ROOT: &str = "/run/mtctl";
const PREFIX: &str = "socket.";

/// The directory; removed on drop.
pub(crate) struct PrivateSocket {
    directory: TempDir,
    /// A lock which shows that the run is alive.
    _held: Option<Flock<File>>,
}

impl PrivateSocket {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// `Failed`: there is no place for it.
    pub(crate) fn new() -> Result<Self> {
        if nix::unistd::geteuid().is_root() {
            return Self::below(Path::new(ROOT));
        }
        // Other users have no directory at a fixed path that nobody else could take.
        let root = std::env::temp_dir();
        let directory = in_directory(&root)?;
        Ok(Self { directory, _held: None })
    }

    fn below(root: &Path) -> Result<Self> {
        let failed = |cause| Error::failed(format!("making {}", root.display()), cause);
        DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(failed)?;
        // So that a cleanup finds no directory that has been made but is not yet locked.
        let turn = hold(root, FlockArg::LockExclusive)?;
        remove_left(root);
        let directory = in_directory(root)?;
        let held = hold(directory.path(), FlockArg::LockExclusiveNonblock)?;
        drop(turn);
        Ok(Self { directory, _held: Some(held) })
    }

    /// The path for the socket.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("nbd")
    }
}

fn in_directory(root: &Path) -> Result<TempDir> {
    let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(root);
    let doing = || format!("making a directory for a socket in {}", root.display());
    made.map_err(|cause| Error::failed(doing(), cause))
}

fn hold(directory: &Path, how: FlockArg) -> Result<Flock<File>> {
    let failed = || format!("locking {}", directory.display());
    let file = File::open(directory).map_err(|cause| Error::failed(failed(), cause))?;
    Flock::lock(file, how).map_err(|(_, cause)| Error::failed(failed(), cause))
}

/// Removes the directories in `root` whose runs are no longer alive. One that cannot be removed
/// does no harm.
fn remove_left(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let is_one = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        if !is_one || hold(&entry.path(), FlockArg::LockExclusiveNonblock).is_err() {
            continue;
        }
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::debug!(%error, "the directory of a socket could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_left_that_was_killed_is_removed_and_what_a_living_one_has_stays() {
        let here = tempfile::tempdir().unwrap();
        let root = here.path().join("run");
        let living = PrivateSocket::below(&root).unwrap();
        let (left, other) = (root.join("socket.left"), root.join("other"));
        for directory in [&left, &other] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("nbd"), "").unwrap();
        }
        let next = PrivateSocket::below(&root).unwrap();
        assert!(!left.exists() && other.exists());
        assert!(living.path().parent().unwrap().exists());
        drop((living, next));
        let names = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["other"]);
    }
}
