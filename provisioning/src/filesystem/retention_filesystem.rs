//! The filesystems that a retention volume can have, and what each of them needs.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::host::Invocation;

/// The smallest retention volume, in bytes: below this, a filesystem is not worth having.
pub(crate) const RETENTION_BYTES_MIN: u64 = 64 << 20;
/// How much of a retention disk lies behind its filesystem, in bytes: no retained data can land
/// where RAID, ZFS or GPT have their labels at the end of a disk. Of the labels libblkid looks for,
/// the one of Promise RAID is the farthest from the end, at 1.5 MiB (docs/adr/0011).
pub const MARGIN_BYTES: u64 = 4 << 20;

/// The filesystems a retention volume can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetentionFilesystem {
    /// ext4, the default.
    Ext4,
    /// XFS.
    Xfs,
}

impl RetentionFilesystem {
    /// The one with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Ext4, Self::Xfs].into_iter().find(|filesystem| filesystem.name() == name)
    }

    /// The name used by the kernel and by blkid.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// The package that contains its tools, on every distribution.
    pub fn package(self) -> &'static str {
        match self {
            Self::Ext4 => "e2fsprogs",
            Self::Xfs => "xfsprogs",
        }
    }

    /// The program that makes one.
    pub(crate) fn mkfs_program(self) -> &'static str {
        match self {
            Self::Ext4 => "mkfs.ext4",
            Self::Xfs => "mkfs.xfs",
        }
    }

    /// Whether fsck(8) does anything for it; XFS repairs itself when it is mounted.
    pub(crate) fn is_checked_by_fsck(self) -> bool {
        self == Self::Ext4
    }

    /// The command that checks one and repairs what is safe to repair. It names the type: fsck(8)
    /// would ask libblkid, which data kept on the volume can mislead.
    pub fn check(self, device: &Path) -> Option<Invocation> {
        let check = Invocation::new(format!("fsck.{self}")).arguments(["-p"]);
        self.is_checked_by_fsck().then(|| check.argument(device.display().to_string()))
    }

    /// The smallest disk that its mkfs accepts, in bytes; mkfs.xfs(8) says 300 MiB, to which the
    /// margin is added. Checked before old signatures are wiped: a mkfs that refuses afterwards
    /// would not bring them back.
    pub fn disk_bytes_min(self) -> u64 {
        match self {
            Self::Ext4 => RETENTION_BYTES_MIN,
            Self::Xfs => (300 << 20) + MARGIN_BYTES,
        }
    }
}

impl fmt::Display for RetentionFilesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
