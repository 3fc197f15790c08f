//! A virtual disk's file: found from what the .vmx says, and followed through its parents to the
//! UUID that the guest sees. Data is never read.

use std::path::{Path, PathBuf};

use super::devices::{Attachment, Bus};
use super::identity::DiskUuid;
use super::vmdk::{self, Descriptor, HEAD_BYTES_MAX};
use crate::finding::Finding;
use crate::host::{FileKind, Tree};

/// More parents than VMware allows by far (32 on ESXi): a chain that goes in circles ends here.
const PARENTS_MAX: usize = 256;

/// A disk of a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Where it is attached, and what the .vmx says of it.
    pub attachment: Attachment,
    /// Its file, links followed; `None` when it is not there or is not a file of this host.
    pub path: Option<PathBuf>,
    /// The UUID that the guest sees on a SCSI controller.
    pub uuid: Option<DiskUuid>,
    /// `createType` of its descriptor.
    pub create_type: Option<String>,
    /// Its size in bytes.
    pub capacity_bytes: Option<u64>,
}

/// Why a disk's descriptor, or one of its parents', says nothing.
#[derive(Debug)]
enum Trouble {
    /// The name is one of another system's.
    Elsewhere(String),
    Missing(PathBuf),
    Unreadable(PathBuf, String),
    TooManyParents,
}

/// Reads what the files of `attachment` say. `folder` is where the .vmx is.
pub fn read(tree: &Tree, folder: &Path, attachment: Attachment) -> (Disk, Vec<Finding>) {
    let path = locate(folder, &attachment.file).filter(|path| tree.exists(path));
    let mut findings: Vec<Finding> = unusual_bus(&attachment).into_iter().collect();
    let mut disk = Disk {
        path: path.and_then(|path| tree.canonical(path)),
        uuid: None,
        create_type: None,
        capacity_bytes: None,
        attachment,
    };
    let slot = disk.attachment.slot.clone();
    match follow(tree, folder, &mut disk) {
        Err(trouble) => findings.push(trouble.finding(&slot)),
        Ok(()) if disk.uuid.is_none() => {
            let message = "its descriptor has no ddb.uuid yet".to_owned();
            let hint = "VMware writes one when the VM is powered on".to_owned();
            findings.push(Finding::warn("disk", &slot, message).hint(hint));
        }
        Ok(()) => {}
    }
    (disk, findings)
}

/// Reads the descriptor, and those of its parents until one has a UUID.
fn follow(tree: &Tree, folder: &Path, disk: &mut Disk) -> Result<(), Trouble> {
    let mut folder = folder.to_owned();
    let mut file = disk.attachment.file.clone();
    for generation in 0..PARENTS_MAX {
        let path = locate(&folder, &file).ok_or(Trouble::Elsewhere(file))?;
        let descriptor = descriptor(tree, &path)?;
        if generation == 0 {
            disk.create_type = descriptor.create_type;
            disk.capacity_bytes = Some(descriptor.capacity_bytes);
        }
        disk.uuid = descriptor.uuid;
        let Some(parent) = descriptor.parent.filter(|_| disk.uuid.is_none()) else {
            return Ok(());
        };
        folder = path.parent().unwrap_or(&folder).to_owned();
        file = parent;
    }
    Err(Trouble::TooManyParents)
}

fn descriptor(tree: &Tree, path: &Path) -> Result<Descriptor, Trouble> {
    let unreadable =
        |cause: &dyn std::fmt::Display| Trouble::Unreadable(path.to_owned(), cause.to_string());
    match tree.status(path).map(|status| status.kind) {
        None => return Err(Trouble::Missing(path.to_owned())),
        Some(FileKind::File) => {}
        // A device could block, and would be read for nothing.
        Some(_) => return Err(unreadable(&"it is not a regular file")),
    }
    let head = tree.head_if_exists(path, HEAD_BYTES_MAX + 1);
    let head = head.map_err(|error| unreadable(&cause_of(&error)))?;
    let head = head.ok_or_else(|| Trouble::Missing(path.to_owned()))?;
    vmdk::parse(&head).map_err(|error| unreadable(&error))
}

fn cause_of(error: &crate::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), ToString::to_string)
}

/// The path that a file name of VMware's means: beside `folder`, or absolute. `None` for a name of
/// a Windows drive or share.
fn locate(folder: &Path, file: &str) -> Option<PathBuf> {
    let has_drive = file.as_bytes().get(1) == Some(&b':');
    if has_drive || file.starts_with("\\\\") || file.contains('\0') {
        return None;
    }
    Some(folder.join(file.replace('\\', "/")))
}

fn unusual_bus(attachment: &Attachment) -> Option<Finding> {
    let seen = match attachment.bus {
        Bus::Scsi => return None,
        Bus::Sata | Bus::Ide => "a disk there has no VPD page 0x83 with its ddb.uuid",
        Bus::Nvme => "a disk there is known by its namespace's identity, not by its ddb.uuid",
    };
    let hint = "attach it to a SCSI controller if it is to be replicated".to_owned();
    Some(Finding::warn("disk", &attachment.slot, seen.to_owned()).hint(hint))
}

impl Trouble {
    fn finding(self, slot: &str) -> Finding {
        match self {
            Self::Elsewhere(file) => {
                let message = format!("{file} is a path of another system: its UUID is unknown");
                let hint = "run this where the VM's files are".to_owned();
                Finding::warn("disk", slot, message).hint(hint)
            }
            Self::Missing(path) => {
                let message = format!("{} is not there: its UUID is unknown", path.display());
                let hint = "run this where the VM's files are".to_owned();
                Finding::warn("disk", slot, message).hint(hint)
            }
            Self::Unreadable(path, cause) => {
                let message = format!("reading {}: {cause}", path.display());
                let hint = format!("look at it: head -c 512 {}", path.display());
                Finding::fail("disk", slot, message).hint(hint)
            }
            Self::TooManyParents => {
                let message = format!("its file has more than {PARENTS_MAX} parents");
                let hint = "consolidate its snapshots".to_owned();
                Finding::fail("disk", slot, message).hint(hint)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_beside_the_vmx_or_absolute_or_of_another_system() {
        let folder = Path::new("/vm/mt");
        let cases = [
            ("mt.vmdk", Some("/vm/mt/mt.vmdk")),
            ("../base/b.vmdk", Some("/vm/mt/../base/b.vmdk")),
            ("..\\base\\b.vmdk", Some("/vm/mt/../base/b.vmdk")),
            ("/vmfs/volumes/ds/b.vmdk", Some("/vmfs/volumes/ds/b.vmdk")),
            ("C:\\VMs\\b.vmdk", None),
            ("\\\\server\\share\\b.vmdk", None),
            ("a\0b", None),
        ];
        for (file, expected) in cases {
            assert_eq!(locate(folder, file).as_deref(), expected.map(Path::new), "{file}");
        }
    }
}
