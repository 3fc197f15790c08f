//! A volume with its target, before it is restored and after.

use std::path::{Path, PathBuf};

use blockio::view::View;
use blockio::volume::Target;
use blockio::volume_name::VolumeName;

use crate::restore_targets::Destination;

/// One volume and its target.
pub(super) struct Pair {
    /// The name of the volume in the group.
    pub(super) name: VolumeName,
    /// The volume at the point.
    pub(super) view: View,
    /// Where it goes.
    pub(super) destination: Destination,
    /// Held from the beginning; `None` if a file is to be made.
    pub(super) held: Option<Target>,
}

impl Pair {
    /// The path of the target.
    pub(super) fn path(&self) -> &Path {
        self.destination.path()
    }

    /// The length of the volume, in bytes.
    pub(super) fn length(&self) -> u64 {
        self.view.geometry().capacity.get()
    }
}

/// A volume that was restored completely.
pub(super) struct Restored {
    /// Its name in the group.
    pub(super) name: VolumeName,
    /// The path of its copy.
    pub(super) path: PathBuf,
    /// Size of the disk.
    pub(super) bytes: u64,
    /// How much was not written as data because it is zero; `None` for images made by qemu-img.
    pub(super) zero_bytes: Option<u64>,
    /// Its BLAKE3.
    pub(super) digest: String,
    /// How long it took, including reading back or comparing.
    pub(super) seconds: f64,
}
