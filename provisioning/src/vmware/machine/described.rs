//! A virtual machine as its files describe it.

use std::path::PathBuf;

use crate::finding::{Finding, Status};
use crate::vmware::devices::Controller;
use crate::vmware::image::Disk;
use crate::vmware::vmx::{DuplicateKey, EnableUuid};

/// What the files of a virtual machine say, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Path of the .vmx, as it was named.
    pub path: PathBuf,
    /// The state of disk.EnableUUID.
    pub enable_uuid: EnableUuid,
    /// Whether the settings are in an encrypted row.
    pub is_encrypted: bool,
    /// The locks on its files, which show that the VM is running; with links resolved.
    pub locks: Vec<PathBuf>,
    /// The file that the VM is suspended to.
    pub suspended_to: Option<String>,
    /// Keys that several rows set.
    pub duplicate_keys: Vec<DuplicateKey>,
    /// Snapshots by name; if the .vmsd names none, the difference disks that are attached.
    pub snapshots: Vec<String>,
    /// Whether its .vmsd says that disks still need to be consolidated.
    pub needs_consolidation: bool,
    /// Controllers that are present, in the order of their addresses.
    pub controllers: Vec<Controller>,
    /// Disks that are present, in the order of their addresses.
    pub disks: Vec<Disk>,
    /// Problems, and other things worth knowing.
    pub findings: Vec<Finding>,
    /// The bytes of the .vmx with disk.EnableUUID on; `None` if nothing has to be changed.
    pub(in crate::vmware) edited: Option<Vec<u8>>,
}

impl Machine {
    /// Whether a process holds the machine's files.
    pub fn is_running(&self) -> bool {
        !self.locks.is_empty()
    }

    /// Whether nothing is wrong; there may be warnings.
    pub fn is_ready(&self) -> bool {
        self.findings.iter().all(|finding| finding.status != Status::Fail)
    }
}
