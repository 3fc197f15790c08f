//! What the operator wants, resolved from flags and configuration; the host is not observed here.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use uuid::Uuid;

use crate::filesystem::RetentionFilesystem;
use crate::multipath::MultipathPolicy;
use crate::scsi::wwid::Wwid;
use crate::step::StepId;
use system::error::Result;

/// Where the retention volume is mounted unless the operator says otherwise.
pub const RETENTION_MOUNT_DEFAULT: &str = "/mnt/retention";

/// A disk as the operator names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskName {
    /// A device node, or a link to one.
    Path(PathBuf),
    /// A WWID in any of the usual spellings.
    Wwid(Wwid),
}

impl DiskName {
    /// Parses an absolute path or a WWID.
    ///
    /// # Errors
    /// Returns [`crate::ErrorKind::Usage`] if it is neither.
    pub fn parse(typed: &str) -> Result<Self> {
        if typed.starts_with('/') {
            return Ok(Self::Path(PathBuf::from(typed)));
        }
        Wwid::parse_operator(typed).map(Self::Wwid)
    }
}

impl fmt::Display for DiskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Wwid(wwid) => write!(f, "{wwid}"),
        }
    }
}

/// The set of rules that applies to the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// What replication needs.
    #[default]
    Generic,
    /// In addition, the requirements of the vendor's procedure: a VMware machine, kernel updates
    /// held.
    Asr,
}

/// Everything that `plan` needs to know besides the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Desired {
    /// The disk to become the retention volume; if `None`, it is chosen only if exactly one blank
    /// disk exists.
    pub retention_disk: Option<DiskName>,
    /// Where the retention volume is mounted.
    pub retention_mount: PathBuf,
    /// Its filesystem; `None` means ext4 for a new one and any supported one that exists.
    pub filesystem: Option<RetentionFilesystem>,
    /// The disk whose content may be destroyed; it must be the retention disk.
    pub destroy: Option<DiskName>,
    /// The multipath policy.
    pub multipath: MultipathPolicy,
    /// The set of rules.
    pub profile: Profile,
    /// Whether kernel updates are held back.
    pub hold_kernel_updates: bool,
    /// Only these steps, if not empty.
    pub only: BTreeSet<StepId>,
    /// Not these steps.
    pub skip: BTreeSet<StepId>,
    /// The configuration file of this virtual machine, if it can be reached.
    pub vmx: Option<PathBuf>,
    /// The UUID of a new retention filesystem. It is drawn before planning, so that the plan that
    /// is shown is the plan that is carried out.
    pub new_filesystem_uuid: Uuid,
}

impl Default for Desired {
    fn default() -> Self {
        Self {
            retention_disk: None,
            retention_mount: PathBuf::from(RETENTION_MOUNT_DEFAULT),
            filesystem: None,
            destroy: None,
            multipath: MultipathPolicy::Auto,
            profile: Profile::Generic,
            hold_kernel_updates: false,
            only: BTreeSet::new(),
            skip: BTreeSet::new(),
            vmx: None,
            new_filesystem_uuid: Uuid::new_v4(),
        }
    }
}

impl Desired {
    /// Whether `step` is to be planned.
    pub fn includes(&self, step: StepId) -> bool {
        (self.only.is_empty() || self.only.contains(&step)) && !self.skip.contains(&step)
    }

    /// Every path that names a disk, so that links can be resolved when the host is observed.
    pub(crate) fn named_paths(&self) -> impl Iterator<Item = &Path> {
        [&self.retention_disk, &self.destroy].into_iter().flatten().filter_map(|name| match name {
            DiskName::Path(path) => Some(path.as_path()),
            DiskName::Wwid(_) => None,
        })
    }
}
