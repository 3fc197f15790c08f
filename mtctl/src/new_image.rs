//! An image file that gets its name only when it is complete: made under a temporary name, and
//! filled by somebody who is given that path. The caller is responsible for its contents.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{
    BPF_FS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC, DEVPTS_SUPER_MAGIC,
    FsType, PROC_SUPER_MAGIC, SECURITYFS_MAGIC, SYSFS_MAGIC, TRACEFS_MAGIC, statfs,
};
use nix::sys::statvfs::FsFlags;
use system::replacement::Replacement;
use system::{Error, ErrorKind, Result};

use crate::location::{directory_of, is_mount_point};

/// Filesystems whose files represent kernel objects.
const OF_THE_KERNEL: [FsType; 9] = [
    BPF_FS_MAGIC,
    CGROUP_SUPER_MAGIC,
    CGROUP2_SUPER_MAGIC,
    DEBUGFS_MAGIC,
    DEVPTS_SUPER_MAGIC,
    PROC_SUPER_MAGIC,
    SECURITYFS_MAGIC,
    SYSFS_MAGIC,
    TRACEFS_MAGIC,
];

/// The prefix of its temporary name; random letters follow.
pub(crate) const PREFIX: &str = ".mtctl-part.";

/// An image that is being made, in its final directory. Only its owner can read it, because it is
/// somebody's disk. Dropping this removes the file; if the process is killed, it remains under a
/// name that begins with `.mtctl-part.`.
pub(crate) struct NewImage {
    part: Replacement<'static>,
    path: PathBuf,
}

impl NewImage {
    /// Begins an image for `path`, of `length` bytes that read as zeros and take no space.
    ///
    /// # Errors
    ///
    /// `Failed`: the filesystem does not support it.
    pub(crate) fn begin(path: &Path, length: u64) -> Result<Self> {
        let failed = |cause| Error::failed(format!("making {}", path.display()), cause);
        let mut part = Replacement::begin(directory_of(path), PREFIX, 0o600).map_err(failed)?;
        part.file().set_len(length).map_err(failed)?;
        Ok(Self { part, path: path.to_owned() })
    }

    /// Its path until it is finished.
    pub(crate) fn part(&self) -> &Path {
        self.part.path()
    }

    /// Gives the image its name, durably, after flushing its contents: a crash before the rename
    /// leaves no file of that name, and a crash after it the complete file.
    ///
    /// # Errors
    ///
    /// `Failed`: a file of that name exists by now, which is kept; or the filesystem does not
    /// support it.
    pub(crate) fn finish(self) -> Result<()> {
        let Self { part, path } = self;
        let failed = || format!("renaming {} into place", path.display());
        // Opened again, because others may have replaced the file behind the original handle.
        let filled = File::open(part.path()).and_then(|file| file.sync_all());
        filled.map_err(|cause| Error::failed(failed(), cause))?;
        part.take_free_name(&path).map_err(|cause| Error::failed(failed(), cause))
    }
}

/// Checks that a file can be made at `path`: nothing exists there, and its directory does.
///
/// # Errors
///
/// `Usage`: its directory does not exist, or takes no files. `Refused`: something exists there; or
/// it is in /dev, where it is most likely the mistyped name of a disk.
pub(crate) fn check(path: &Path) -> Result<()> {
    let directory = directory_of(path);
    let making = format!("making {}", path.display());
    if !directory.is_dir() {
        let context = format!("{making}: {} is not a directory", directory.display());
        return Err(Error::new(ErrorKind::Usage, context).with_hint("create the directory first"));
    }
    if let Some(why) = holds_no_files(directory) {
        let context = format!("{making}: {} {why}", directory.display());
        return Err(Error::new(ErrorKind::Usage, context)
            .with_hint("name a file on a filesystem with room for it"));
    }
    if let Ok(target) = path.read_link() {
        let context = format!("{making}: it is a link to {}", target.display());
        return Err(Error::refused(context)
            .with_hint("name the file itself, or remove the link: nothing is made through one"));
    }
    if path.symlink_metadata().is_ok() {
        return Err(
            Error::refused(format!("{making}: it already exists")).with_hint("name a new file")
        );
    }
    let device = |path: &Path| path.metadata().map(|found| found.dev()).ok();
    let devices = Path::new("/dev");
    if is_mount_point(devices) && device(directory) == device(devices) {
        return Err(Error::refused(format!("{making}: it would be a file in /dev"))
            .with_hint("mtctl disks lists the disks; put an image file on a filesystem"));
    }
    Ok(())
}

/// Why no file can be made in `directory`, if that is so.
fn holds_no_files(directory: &Path) -> Option<&'static str> {
    let found = statfs(directory).ok()?;
    if found.flags().contains(FsFlags::ST_RDONLY) {
        return Some("is on a filesystem that is mounted read-only");
    }
    let is_of_the_kernel = OF_THE_KERNEL.contains(&found.filesystem_type());
    is_of_the_kernel.then_some("is a filesystem of the kernel and cannot hold files")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn an_image_has_its_name_when_it_is_finished_and_not_before() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("db.img");
        check(&path).unwrap();
        let image = NewImage::begin(&path, 8192).unwrap();
        assert!(image.part().starts_with(here.path()) && !path.exists());
        image.finish().unwrap();
        let found = path.metadata().unwrap();
        assert_eq!((found.len(), found.permissions().mode() & 0o777), (8192, 0o600));
        assert_eq!(names(here.path()), ["db.img"]);
    }

    #[test]
    fn an_image_that_is_given_up_leaves_nothing() {
        let here = tempfile::tempdir().unwrap();
        drop(NewImage::begin(&here.path().join("db.img"), 8192).unwrap());
        assert_eq!(names(here.path()), [""; 0]);
    }

    #[test]
    fn what_came_to_be_there_meanwhile_stays() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("db.img");
        let image = NewImage::begin(&path, 8192).unwrap();
        fs::write(&path, "somebody's").unwrap();
        assert_eq!(image.finish().unwrap_err().kind(), ErrorKind::Failed);
        assert_eq!(fs::read(&path).unwrap(), b"somebody's");
        assert_eq!(check(&path).unwrap_err().kind(), ErrorKind::Refused);
    }

    #[test]
    fn a_file_is_made_in_a_directory_that_is_there_and_not_among_the_devices() {
        let kind = |path: &str| check(Path::new(path)).unwrap_err().kind();
        assert_eq!(kind("/no/such/directory/db.img"), ErrorKind::Usage);
        assert_eq!(kind("/proc/db.img"), ErrorKind::Usage);
        assert_eq!(kind("/proc/1/db.img"), ErrorKind::Usage);
        if is_mount_point(Path::new("/dev")) {
            assert_eq!(kind("/dev/no-such-disk"), ErrorKind::Refused);
        }
    }
}
