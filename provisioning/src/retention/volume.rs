//! The filesystem that is, or will be, the retention volume, and the disks that carry it.

use crate::disk::{Disk, Use};
use crate::filesystem::RetentionFilesystem;
use crate::observe::Observed;

/// The filesystem that is, or will be, the retention volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) uuid: String,
    pub(super) filesystem: RetentionFilesystem,
}

/// The disks that carry the filesystem with this UUID.
pub(super) fn carriers<'a>(observed: &'a Observed, uuid: &str) -> Vec<&'a Disk> {
    let carries = |disk: &&Disk| disk.signature.carries(uuid).is_some() && !is_path_of_a_map(disk);
    observed.disks.iter().filter(carries).collect()
}

/// Whether the disk is a path to a multipath map, which is listed itself.
pub(super) fn is_path_of_a_map(disk: &Disk) -> bool {
    disk.used_by.iter().any(|one| matches!(one, Use::MultipathPath(_)))
}
