//! Where a path leads, whatever its name: to which file or disk, and in which directory. Nothing is
//! opened.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

/// How many layers of disks made of disks are followed.
const LAYERS_MAX: usize = 16;

/// The identity of a file or directory, whatever its name: filesystem and inode.
pub(crate) type Location = (u64, u64);

/// The identity of what exists at `path`, if anything does.
pub(crate) fn location(path: &Path) -> Option<Location> {
    path.metadata().ok().map(|found| (found.dev(), found.ino()))
}

/// Whether data written to one disk or file appears on the other: they are the same, or are
/// ultimately made of the same file.
pub(crate) fn is_one(one: &Path, other: &Path) -> bool {
    made_of(one).intersection(&made_of(other)).next().is_some()
}

/// Identities of the disk at `path` and of the files that it is, or is ultimately made of.
pub(crate) fn made_of(path: &Path) -> BTreeSet<(bool, u64, u64)> {
    let files = files_behind(path).into_iter();
    let files = files.filter_map(|file| file.metadata().ok());
    let files = files.map(|found| (false, found.dev(), found.ino()));
    let disk = path.metadata().ok().filter(|found| found.file_type().is_block_device());
    files.chain(disk.map(|found| (true, found.rdev(), 0))).collect()
}

/// The file that `target` is, or the files that the disk is ultimately made of.
pub(crate) fn files_behind(target: &Path) -> Vec<PathBuf> {
    files_below(target, LAYERS_MAX)
}

fn files_below(target: &Path, layers: usize) -> Vec<PathBuf> {
    let Ok(metadata) = target.metadata() else { return Vec::new() };
    if metadata.is_file() {
        return vec![target.to_owned()];
    }
    if !metadata.file_type().is_block_device() || layers == 0 {
        return Vec::new();
    }
    let number = metadata.rdev();
    let directory = PathBuf::from(format!("/sys/dev/block/{}:{}", major(number), minor(number)));
    if let Ok(file) = fs::read_to_string(directory.join("loop/backing_file")) {
        return files_below(Path::new(file.trim_end_matches('\n')), layers - 1);
    }
    let below = fs::read_dir(directory.join("slaves")).into_iter().flatten().flatten();
    let nodes = below.map(|entry| Path::new("/dev").join(entry.file_name()));
    nodes.flat_map(|node| files_below(&node, layers - 1)).collect()
}

/// The directory that contains `path`.
pub(crate) fn directory_of(path: &Path) -> &Path {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    directory.unwrap_or(Path::new("."))
}

/// Whether `path` is a mount point, that is, on another file system than its parent.
pub(crate) fn is_mount_point(path: &Path) -> bool {
    // A relative path of one component has no parent, and one that ends in `..` has the wrong one.
    let Ok(path) = path.canonicalize() else { return false };
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
    let above = path.parent().and_then(device);
    device(&path).is_some_and(|own| above.is_some_and(|above| above != own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_told_from_a_directory() {
        assert!(is_mount_point(Path::new("/proc")));
        assert!(is_mount_point(Path::new("/proc/self/..")));
        assert!(!is_mount_point(Path::new("/proc/self/fd")));
        assert!(!is_mount_point(Path::new("src")));
        assert!(!is_mount_point(Path::new("/no/such/directory")));
    }
}
