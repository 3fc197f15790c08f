//! One virtual machine, as described by its .vmx and the files around it. `survey` compares several
//! machines, and `fix` edits.

mod described;
mod findings;

use std::path::{Path, PathBuf};

use super::devices;
use super::image::{self, Disk};
use super::snapshot::{self, Snapshots};
use super::vmx::{self, Vmx};
use crate::finding::Finding;
use crate::host::Tree;
pub use described::Machine;
use system::error::{Error, Result};

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
            let hint = "open the VM in VMware's snapshot manager".to_owned();
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
