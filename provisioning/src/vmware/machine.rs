//! One virtual machine, as described by its .vmx and the files around it. `survey` compares several
//! machines, and `fix` edits.

mod findings;

use std::path::{Path, PathBuf};

use super::devices::{self, Controller};
use super::image::{self, Disk};
use super::snapshot::{self, Snapshots};
use super::vmx::{self, DuplicateKey, EnableUuid, Vmx};
use crate::finding::{Finding, Status};
use crate::host::Tree;
use system::error::{Error, Result};

/// A virtual machine as its files describe it.
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
    pub(super) edited: Option<Vec<u8>>,
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

/// Reads the .vmx at `path`, its .vmsd, the locks beside it and the descriptors of its disks.
///
/// # Errors
/// Returns an error if the .vmx cannot be read or is not valid. Problems with the other files are
/// findings.
pub fn read(tree: &Tree, path: &Path) -> Result<Machine> {
    let bytes = tree.read(path)?;
    let vmx = vmx::parse(&bytes).map_err(|cause| {
        let hint = "VMware would refuse it too: restore it from a backup or from vmware.log";
        Error::failed(format!("reading {}", path.display()), cause).with_hint(hint)
    })?;
    // Locks and disks are beside the file itself, not beside a link to it.
    let real = tree.canonical(path).unwrap_or_else(|| path.to_owned());
    let folder = real.parent().unwrap_or(Path::new("/"));
    let (controllers, attachments) = devices::of(&vmx);
    let read_disk = |attachment| image::read(tree, folder, attachment);
    let (disks, disk_findings): (Vec<Disk>, Vec<Vec<Finding>>) =
        attachments.into_iter().map(read_disk).unzip();
    let (Snapshots { names, needs_consolidation }, snapshot_finding) =
        snapshots(tree, &real, &disks);
    let mut machine = Machine {
        path: path.to_owned(),
        enable_uuid: vmx.enable_uuid(),
        is_encrypted: vmx.is_encrypted(),
        locks: locks(tree, &real, &disks),
        suspended_to: suspended_to(&vmx),
        duplicate_keys: vmx.duplicate_keys(),
        edited: vmx.with_enable_uuid(),
        findings: Vec::new(),
        snapshots: names,
        needs_consolidation,
        controllers,
        disks,
    };
    machine.findings = findings::of(&machine);
    machine.findings.extend(snapshot_finding);
    machine.findings.extend(disk_findings.into_iter().flatten());
    Ok(machine)
}

fn suspended_to(vmx: &Vmx<'_>) -> Option<String> {
    vmx.text("checkpoint.vmState").filter(|file| !file.is_empty())
}

/// The locks that a running VM holds: `NAME.lck` beside its .vmx, its memory file and its disks (a
/// folder on Workstation and Fusion, a file on VMFS), or a hidden `.lck-*` on NFS, which does not
/// identify its owner. Parents of a disk are left out, because several clones may hold one.
fn locks(tree: &Tree, real: &Path, disks: &[Disk]) -> Vec<PathBuf> {
    let disks = disks.iter().filter_map(|disk| disk.path.clone());
    let files = [real.to_owned(), real.with_extension("vmem")].into_iter().chain(disks);
    let mut locks: Vec<PathBuf> = files.map(lock_of).filter(|lock| tree.exists(lock)).collect();
    let folder = real.parent().unwrap_or(Path::new("/"));
    let names = tree.list(folder).into_iter();
    locks.extend(names.filter(|name| name.starts_with(".lck-")).map(|name| folder.join(name)));
    locks
}

fn lock_of(file: PathBuf) -> PathBuf {
    let mut name = file.into_os_string();
    name.push(".lck");
    PathBuf::from(name)
}

fn snapshots(tree: &Tree, real: &Path, disks: &[Disk]) -> (Snapshots, Option<Finding>) {
    let path = real.with_extension("vmsd");
    let listed = match tree.read_if_exists(&path) {
        Ok(bytes) => snapshot::parse(&bytes.unwrap_or_default()).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let (mut listed, finding) = match listed {
        Ok(listed) => (listed, None),
        Err(cause) => {
            let message = format!("reading {}: {cause}", path.display());
            let hint = "look at the VM in VMware's snapshot manager".to_owned();
            (Snapshots::default(), Some(Finding::warn("snapshot", "vmsd", message).hint(hint)))
        }
    };
    if listed.names.is_empty() {
        let files = disks.iter().map(|disk| disk.attachment.file.as_str());
        let differences = files.filter(|file| snapshot::is_difference(file));
        listed.names.extend(differences.map(str::to_owned));
    }
    (listed, finding)
}

#[cfg(test)]
mod tests;
