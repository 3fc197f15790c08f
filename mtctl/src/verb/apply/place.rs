//! Where a group's state lives: what was named, else the retention volume, else /var/lib.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use blockio::{Error, ErrorKind, Result};

/// Where `mtctl prepare` mounts the retention volume.
const RETENTION: &str = "/mnt/retention";
/// Where groups live that have no retention volume.
const GROUPS: &str = "/var/lib/mtctl/groups";

/// The directory of group `name`.
///
/// # Errors
///
/// `Usage`: the retention directory that was named is not there.
pub(super) fn of_group(
    name: &str,
    state_dir: Option<&Path>,
    retention: Option<&Path>,
) -> Result<PathBuf> {
    if let Some(directory) = state_dir {
        return Ok(directory.to_owned());
    }
    let retention = match retention {
        Some(none) if none.as_os_str() == "none" => None,
        Some(directory) if directory.is_dir() => Some(directory),
        Some(directory) => {
            let context = format!("{} is no directory", directory.display());
            return Err(Error::new(ErrorKind::Usage, context)
                .with_hint("mount the retention volume first, or say --retention none"));
        }
        None => Some(Path::new(RETENTION)).filter(|path| is_mount_point(path)),
    };
    Ok(retention.unwrap_or(Path::new(GROUPS)).join(name))
}

/// Without a group there is nothing to keep on a retention volume.
///
/// # Errors
///
/// `Usage`: a retention volume was named.
pub(super) fn check_without_group(retention: Option<&Path>) -> Result<()> {
    match retention {
        Some(directory) if directory.as_os_str() != "none" => {
            let context = format!("--retention {} without --group", directory.display());
            Err(Error::new(ErrorKind::Usage, context)
                .with_hint("name the group whose history is to be kept there: --group NAME"))
        }
        _ => Ok(()),
    }
}

/// What a target without a WWID is known by: where it is.
pub(super) fn of_target(path: &Path) -> String {
    path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Whether something is mounted on `path`: it lies on another file system than its parent.
fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
    let above = path.parent().and_then(device);
    device(path).is_some_and(|own| above.is_some_and(|above| above != own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_named_comes_first_then_retention_then_var() {
        let here = tempfile::tempdir().unwrap();
        let place = |state, retention| of_group("g", state, retention);
        assert_eq!(place(Some(Path::new("/s")), Some(here.path())).unwrap(), Path::new("/s"));
        assert_eq!(place(None, Some(here.path())).unwrap(), here.path().join("g"));
        assert_eq!(
            place(None, Some(Path::new("none"))).unwrap(),
            Path::new("/var/lib/mtctl/groups/g")
        );
        let missing = here.path().join("missing");
        assert_eq!(place(None, Some(&missing)).unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn a_mount_point_is_told_from_a_directory() {
        assert!(is_mount_point(Path::new("/proc")));
        assert!(!is_mount_point(Path::new("/proc/self/fd")));
        assert!(!is_mount_point(Path::new("/no/such/directory")));
    }
}
