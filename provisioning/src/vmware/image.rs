//! A virtual disk's file: located from the .vmx, and followed through its parents to the UUID that
//! the guest sees. Data is never read.

use std::path::{Path, PathBuf};

use super::devices::{Attachment, Bus};
use super::encoding::FileName;
use super::identity::DiskUuid;
use super::vmdk::{self, Descriptor, HEAD_BYTES_MAX};
use crate::finding::Finding;
use crate::host::{FileKind, Tree};

/// Far more parents than VMware allows (32 on ESXi): the limit ends a cyclic chain.
const PARENTS_MAX: usize = 256;

/// A disk of a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Where it is attached, and its properties in the .vmx.
    pub attachment: Attachment,
    /// Its file, with links resolved; `None` if it does not exist or is not a file of this host.
    pub path: Option<PathBuf>,
    /// The UUID that the guest sees on a SCSI controller.
    pub uuid: Option<DiskUuid>,
    /// Whether the files that contain the UUID, or show that it has none yet, could not be read.
    pub is_unknown: bool,
    /// `createType` of its descriptor.
    pub create_type: Option<String>,
    /// Its size in bytes.
    pub capacity_bytes: Option<u64>,
}

/// Why the descriptor of a disk or of one of its parents could not be used.
#[derive(Debug)]
enum Trouble {
    /// The name belongs to another system.
    Elsewhere(String),
    Missing(PathBuf),
    /// Two files match the name, each in another encoding.
    Ambiguous(PathBuf, PathBuf),
    Unreadable(PathBuf, String),
    TooManyParents,
}

/// Reads the files of `attachment`. `folder` is the folder of the .vmx.
pub fn read(tree: &Tree, folder: &Path, attachment: Attachment) -> (Disk, Vec<Finding>) {
    let mut findings: Vec<Finding> = unusual_bus(&attachment).into_iter().collect();
    let mut disk = Disk {
        path: locate(tree, folder, &attachment.file).ok().and_then(|path| tree.canonical(path)),
        uuid: None,
        is_unknown: false,
        create_type: None,
        capacity_bytes: None,
        attachment,
    };
    let slot = disk.attachment.slot.clone();
    match follow(tree, folder, &mut disk) {
        Err(trouble) => {
            disk.is_unknown = true;
            findings.push(trouble.finding(&slot));
        }
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
    let mut path = locate(tree, folder, &disk.attachment.file)?;
    let mut descriptor = descriptor_at(tree, &path)?;
    disk.create_type = descriptor.create_type.clone();
    disk.capacity_bytes = Some(descriptor.capacity_bytes);
    for _ in 0..PARENTS_MAX {
        disk.uuid = descriptor.uuid.clone();
        let Some(parent) = descriptor.parent.as_ref().filter(|_| disk.uuid.is_none()) else {
            return Ok(());
        };
        (path, descriptor) = parent_of(tree, &path, &descriptor, parent)?;
    }
    Err(Trouble::TooManyParents)
}

/// Finds the parent through the hint. An absolute path that leads nowhere dates from before the
/// machine was moved: then the parent is looked up beside the child, as VMware does. Another disk
/// can have its name there, so the content IDs decide.
fn parent_of(
    tree: &Tree,
    child_path: &Path,
    child: &Descriptor,
    hint: &FileName,
) -> Result<(PathBuf, Descriptor), Trouble> {
    let folder = child_path.parent().unwrap_or(Path::new("/"));
    match locate(tree, folder, hint) {
        Ok(path) => descriptor_at(tree, &path).map(|descriptor| (path, descriptor)),
        Err(trouble @ (Trouble::Missing(_) | Trouble::Elsewhere(_))) if hint.is_absolute() => {
            let beside = locate(tree, folder, &hint.last_part()).ok();
            let found = beside.and_then(|path| Some((descriptor_at(tree, &path).ok()?, path)));
            let found = found.filter(|(descriptor, _)| child.is_child_of(descriptor));
            found.map(|(descriptor, path)| (path, descriptor)).ok_or(trouble)
        }
        Err(trouble) => Err(trouble),
    }
}

/// The existing file that has one of the possible names.
fn locate(tree: &Tree, folder: &Path, file: &FileName) -> Result<PathBuf, Trouble> {
    if file.is_elsewhere() {
        return Err(Trouble::Elsewhere(file.to_string()));
    }
    let paths = file.paths(folder);
    let there: Vec<&PathBuf> = paths.iter().filter(|path| tree.exists(path)).collect();
    match there.as_slice() {
        [] => Err(Trouble::Missing(paths.into_iter().next().unwrap_or_default())),
        [one, rest @ ..] => match rest.iter().find(|o| tree.canonical(o) != tree.canonical(one)) {
            Some(other) => Err(Trouble::Ambiguous((*one).clone(), (*other).clone())),
            None => Ok((*one).clone()),
        },
    }
}

fn descriptor_at(tree: &Tree, path: &Path) -> Result<Descriptor, Trouble> {
    let unreadable =
        |cause: &dyn std::fmt::Display| Trouble::Unreadable(path.to_owned(), cause.to_string());
    match tree.status(path).map(|status| status.kind) {
        None => return Err(Trouble::Missing(path.to_owned())),
        Some(FileKind::File) => {}
        // A device could block, and has no descriptor.
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

fn unusual_bus(attachment: &Attachment) -> Option<Finding> {
    let seen = match attachment.bus {
        Bus::Scsi => return None,
        Bus::Sata | Bus::Ide => "a disk on that controller has no VPD page 0x83 with its ddb.uuid",
        Bus::Nvme => {
            "a disk on that controller is known by its namespace's identity, not by its ddb.uuid"
        }
    };
    let hint = "to replicate it, attach it to a SCSI controller".to_owned();
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
                let message = format!("{} does not exist: its UUID is unknown", path.display());
                let hint = "run this where the VM's files are".to_owned();
                Finding::warn("disk", slot, message).hint(hint)
            }
            Self::Ambiguous(one, other) => {
                let (one, other) = (one.display(), other.display());
                let message = format!("{one} and {other} both exist: its UUID is unknown");
                let hint = "both are its name in different encodings: move the wrong one away";
                Finding::warn("disk", slot, message).hint(hint)
            }
            Self::Unreadable(path, cause) => {
                let message = format!("reading {}: {cause}", path.display());
                let hint = format!("see: head -c 512 {}", path.display());
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
