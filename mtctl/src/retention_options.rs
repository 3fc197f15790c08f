//! Where groups are kept: with their history on the retention volume that was named or is mounted,
//! or without history in /var/lib.

use std::path::{Path, PathBuf};

use blockio::group::GroupPlace;
use clap::Args;
use system::{Error, ErrorKind, Result, lossless_text};

use crate::location::is_mount_point;
use crate::report;
use crate::retention_mount::{self, RetentionMount, RetentionMountOption};

/// Where groups without a retention volume live.
const GROUPS: &str = "/var/lib/mtctl/groups";

/// Where history is kept.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RetentionOptions {
    /// The retention volume for this run, or none [default with --group: the one mounted at
    /// --retention-mount]
    #[arg(long, value_name = "DIR|none")]
    pub(crate) retention: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) mount: RetentionMountOption,

    /// Accept a --retention directory where nothing is mounted: for tests, on a disk of your own
    #[arg(long, requires = "retention")]
    pub(crate) retention_unmounted: bool,

    /// Where to keep the group's state, instead of RETENTION/GROUP or /var/lib/mtctl/groups/GROUP
    #[arg(long, value_name = "DIR", requires = "group")]
    pub(crate) state_dir: Option<PathBuf>,
}

impl RetentionOptions {
    /// Whether the operator asked for no history.
    pub(crate) fn is_without_history(&self) -> bool {
        self.retention.as_ref().is_some_and(|said| said.as_os_str() == "none")
    }

    /// The place of group `name`.
    ///
    /// # Errors
    ///
    /// `Usage`: the retention directory that was named does not exist, or something other than a
    /// directory is in the place of the group. `Refused`: nothing is mounted there, or none was
    /// named and the retention volume of this host is not mounted.
    pub(crate) fn place_of(&self, name: &str) -> Result<GroupPlace> {
        let Roots { retention, without_history } = self.roots()?;
        let history = retention.map(|retention| retention.join(name));
        let state = self.state_dir.clone().or_else(|| history.clone());
        let place =
            GroupPlace { state: state.unwrap_or_else(|| without_history.join(name)), history };
        for directory in place.history.iter().chain(std::iter::once(&place.state)) {
            if directory.symlink_metadata().is_ok() && !directory.is_dir() {
                let context = format!(
                    "{} is not a directory: group {name} cannot be there",
                    directory.display()
                );
                return Err(Error::new(ErrorKind::Usage, context)
                    .with_hint("name another group, or move the file away"));
            }
        }
        Ok(place)
    }

    /// The directories that contain groups.
    ///
    /// # Errors
    ///
    /// As [`place_of`](Self::place_of).
    pub(crate) fn roots(&self) -> Result<Roots> {
        let retention = match &self.retention {
            Some(none) if none.as_os_str() == "none" => None,
            Some(directory) => Some(named(directory, self.retention_unmounted)?),
            None => mounted(&self.mount.of_this_host().map_err(report::as_of_blockio)?)?,
        };
        Ok(Roots { retention, without_history: GROUPS.into() })
    }

    /// Directories that are, or may be, retention volumes: those that were named, and that of this
    /// host. Whether they are mounted is not checked.
    pub(crate) fn all_roots(&self) -> Vec<PathBuf> {
        let named = self.retention.iter().filter(|named| named.as_os_str() != "none").cloned();
        let mount = self.mount.of_this_host().ok();
        let of_host = mount.map(|mount| lossless_text::to_path(&mount.path).into_owned());
        named.chain(of_host).collect()
    }

    /// Without a group there is nothing to keep on a retention volume.
    ///
    /// # Errors
    ///
    /// `Usage`: a retention volume was named.
    pub(crate) fn check_without_group(&self) -> Result<()> {
        match &self.retention {
            Some(directory) if directory.as_os_str() != "none" => {
                let context = format!("--retention {} without --group", directory.display());
                Err(Error::new(ErrorKind::Usage, context)
                    .with_hint("name the group whose history is kept there: --group NAME"))
            }
            _ => Ok(()),
        }
    }
}

/// The directories that contain groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roots {
    /// The retention volume, if there is one.
    pub(crate) retention: Option<PathBuf>,
    /// The directory of groups that keep no history.
    pub(crate) without_history: PathBuf,
}

fn named(directory: &Path, is_unmounted_taken: bool) -> Result<PathBuf> {
    if !directory.is_dir() {
        let context = format!("{} is not a directory", directory.display());
        return Err(Error::new(ErrorKind::Usage, context)
            .with_hint("mount the retention volume first, or use --retention none"));
    }
    if is_unmounted_taken || is_mount_point(directory) {
        return Ok(directory.to_owned());
    }
    let context = format!("nothing is mounted on {}", directory.display());
    Err(Error::refused(context).with_hint(
        "history would fill another filesystem: mount the retention volume, or use \
         --retention-unmounted",
    ))
}

/// The retention volume of this host; `None` if it has none. Continuing while it is not mounted
/// would overwrite disks without history, and detach them from the history that is on it.
fn mounted(mount: &RetentionMount) -> Result<Option<PathBuf>> {
    let RetentionMount { path, said_by } = mount;
    let path = lossless_text::to_path(path);
    if is_mount_point(&path) {
        retention_mount::check_is_the_known_one(mount).map_err(report::as_of_blockio)?;
        return Ok(Some(path.into_owned()));
    }
    let Some(said_by) = said_by else { return Ok(None) };
    let at = path.display();
    let context = format!("the retention volume that {said_by} is not mounted on {at}");
    Err(Error::refused(context).with_hint(
        "`mtctl check` says why, and `mtctl prepare` mounts it; or name another directory: \
         --retention DIR, or --retention none to keep no history",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(retention: Option<&Path>, state: Option<&Path>) -> RetentionOptions {
        RetentionOptions {
            retention: retention.map(Path::to_owned),
            mount: RetentionMountOption::default(),
            retention_unmounted: true,
            state_dir: state.map(Path::to_owned),
        }
    }

    #[test]
    fn what_was_named_comes_first_then_retention_then_var() {
        let here = tempfile::tempdir().unwrap();
        let none = Some(Path::new("none"));
        let place = |retention, state| options(retention, state).place_of("g").unwrap();
        let named = place(Some(here.path()), Some(Path::new("/s")));
        assert_eq!((named.state, named.history), ("/s".into(), Some(here.path().join("g"))));
        let kept = place(Some(here.path()), None);
        assert_eq!((kept.state, kept.history.is_some()), (here.path().join("g"), true));
        let without = place(none, None);
        assert_eq!(without, GroupPlace::without_history(Path::new("/var/lib/mtctl/groups/g")));
        let missing = here.path().join("missing");
        let refused = options(Some(&missing), None).place_of("g").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Usage);
    }

    #[test]
    fn a_directory_that_is_no_mount_point_is_refused_unless_it_is_said() {
        let here = tempfile::tempdir().unwrap();
        let said = options(Some(here.path()), None);
        let unsaid = RetentionOptions { retention_unmounted: false, ..said };
        assert_eq!(unsaid.place_of("g").unwrap_err().kind(), ErrorKind::Refused);
    }
}
