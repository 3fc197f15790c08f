//! The directories in which groups keep their state outside a mounted retention volume and
//! /var/lib/mtctl/groups, so that the states are found again: /var/lib/mtctl/state-directories. One
//! row for each, with the group's name and the path. Only renaming or forgetting a group removes a
//! row: a missing directory may be on a volume that is not mounted.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::FlockArg;

use crate::host::{FileWriteMode, Tree, lock_file};
use system::error::{Error, ErrorKind, Result};

/// Where groups without a retention volume live.
pub const GROUPS_PATH: &str = "/var/lib/mtctl/groups";
/// Path of the registry.
pub(crate) const REGISTRY_PATH: &str = "/var/lib/mtctl/state-directories";
/// Locked while the registry is replaced.
const LOCK_PATH: &str = "/var/lib/mtctl/state-directories.lock";

/// The registered groups, with the directory of their state.
///
/// # Errors
/// Returns an error if the registry exists and cannot be read.
pub fn load(tree: &Tree) -> Result<Vec<(String, PathBuf)>> {
    let bytes = tree.read_if_exists(REGISTRY_PATH)?.unwrap_or_default();
    let row = |row: &[u8]| {
        let space = row.iter().position(|byte| *byte == b' ')?;
        let name = String::from_utf8(row[..space].to_vec()).ok()?;
        let path = PathBuf::from(OsStr::from_bytes(&row[space + 1..]));
        path.is_absolute().then_some((name, path))
    };
    // A row without its newline was cut off and would name another directory.
    let is_whole = bytes.last().is_none_or(|last| *last == b'\n');
    let rows = bytes.split(|byte| *byte == b'\n').filter(|row| !row.is_empty());
    let rows: Option<Vec<_>> = rows.map(row).collect();
    rows.filter(|_| is_whole).ok_or_else(|| {
        Error::new(
            ErrorKind::Integrity,
            format!("reading {REGISTRY_PATH}: a row is not a name and a path, or is truncated"),
        )
        .with_hint(
            "a row is: NAME /PATH; correct the file, or move it away if no such group is left",
        )
    })
}

/// Registers `directory`, which must be absolute, as the place of the state of `group`. Durable
/// before it returns, so that no state is ever unknown to the registry: a crash right after it
/// leaves a row for a directory without a state, which means nothing. A directory belongs to one
/// group: a row with the same directory and another group is removed.
///
/// # Errors
/// Returns an error if the registry cannot be read or written, or cannot represent the path.
pub fn remember(tree: &Tree, group: &str, directory: &Path) -> Result<()> {
    let row = (group.to_owned(), directory.to_owned());
    if directory.starts_with(GROUPS_PATH) || load(tree)?.contains(&row) {
        return Ok(());
    }
    if !directory.is_absolute() || directory.as_os_str().as_bytes().contains(&b'\n') {
        let context = format!("{} cannot be the path of a group's state", directory.display());
        return Err(Error::new(ErrorKind::Usage, context)
            .with_hint("name a directory by a path without line breaks: --state-dir /PATH"));
    }
    change(tree, |rows| {
        rows.retain(|(_, known)| known != directory);
        rows.push(row);
    })
}

/// Removes the row of `directory`, in which the state of `group` was.
///
/// # Errors
/// Returns an error if the registry cannot be read or written.
pub fn forget(tree: &Tree, group: &str, directory: &Path) -> Result<()> {
    let row = (group.to_owned(), directory.to_owned());
    if !load(tree)?.contains(&row) {
        return Ok(());
    }
    change(tree, |rows| rows.retain(|known| *known != row))
}

/// Replaces the registry with the rows that `change` leaves; after a crash either the old or the
/// new registry is there.
fn change(tree: &Tree, change: impl FnOnce(&mut Vec<(String, PathBuf)>)) -> Result<()> {
    let failed = |cause| Error::failed(format!("locking {LOCK_PATH}"), cause);
    let lock = tree.open_lock_file(LOCK_PATH, true)?;
    let locked = lock.as_ref().map(|file| lock_file(file, FlockArg::LockExclusive));
    locked.transpose().map_err(failed)?;
    tree.remove_unfinished(REGISTRY_PATH)?;
    let mut rows = load(tree)?;
    change(&mut rows);
    let mut bytes = Vec::new();
    for (group, directory) in &rows {
        bytes.extend_from_slice(group.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(directory.as_os_str().as_bytes());
        bytes.push(b'\n');
    }
    tree.replace(REGISTRY_PATH, &bytes, FileWriteMode::Exactly(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_put_down_once_whatever_its_bytes() {
        let root = tempfile::tempdir().unwrap();
        let tree = Tree::directory(root.path());
        let odd = Path::new(OsStr::from_bytes(b"/srv/a b/\xff"));
        for _ in 0..2 {
            remember(&tree, "web", odd).unwrap();
            remember(&tree, "db", Path::new("/srv/db")).unwrap();
            remember(&tree, "db", &Path::new(GROUPS_PATH).join("db")).unwrap();
        }
        let known = [("web".to_owned(), odd.to_owned()), ("db".to_owned(), "/srv/db".into())];
        assert_eq!(load(&tree).unwrap(), known);
        assert!(remember(&tree, "x", Path::new("/a\nb")).is_err());
        assert!(remember(&tree, "x", Path::new("a")).is_err());
    }

    #[test]
    fn a_group_that_is_renamed_keeps_its_directory_and_one_that_is_forgotten_has_none() {
        let root = tempfile::tempdir().unwrap();
        let tree = Tree::directory(root.path());
        let (own, other) = (Path::new("/srv/web"), Path::new("/srv/db"));
        remember(&tree, "web", own).unwrap();
        remember(&tree, "db", other).unwrap();
        remember(&tree, "shop", own).unwrap();
        assert_eq!(
            load(&tree).unwrap(),
            [("db".into(), other.into()), ("shop".into(), own.into())]
        );
        // Another group, or another directory: nothing is removed.
        forget(&tree, "web", own).unwrap();
        forget(&tree, "shop", other).unwrap();
        assert_eq!(load(&tree).unwrap().len(), 2);
        forget(&tree, "shop", own).unwrap();
        assert_eq!(load(&tree).unwrap(), [("db".to_owned(), other.to_owned())]);
    }

    #[test]
    fn what_a_killed_writer_left_goes_with_the_next_change() {
        let root = tempfile::tempdir().unwrap();
        let tree = Tree::directory(root.path());
        remember(&tree, "web", Path::new("/srv/web")).unwrap();
        let left = "/var/lib/mtctl/.state-directories.mtctl-a1B2c3";
        let others = "/var/lib/mtctl/.provisioning.json.mtctl-a1B2c3";
        for file in [left, others] {
            tree.replace(file, b"web /srv", FileWriteMode::Keep).unwrap();
        }
        // Who changes nothing has not locked it.
        remember(&tree, "web", Path::new("/srv/web")).unwrap();
        assert!(tree.exists(left));
        remember(&tree, "db", Path::new("/srv/db")).unwrap();
        assert!(!tree.exists(left) && tree.exists(others));
        assert_eq!(load(&tree).unwrap().len(), 2);
    }

    #[test]
    fn a_row_that_is_none_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let tree = Tree::directory(root.path());
        for text in ["web\n", "web relative\n", "\u{0}\n", "web /srv/a\ndb /srv"] {
            tree.replace(REGISTRY_PATH, text.as_bytes(), FileWriteMode::Keep).unwrap();
            assert!(load(&tree).is_err(), "{text:?}");
        }
    }
}
