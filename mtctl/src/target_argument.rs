//! A target as typed: a path, or the WWID of a disk. Finds the disk of this host and records what
//! it was at that time; `blockio::volume` opens and compares it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use blockio::target_identity::{KnownAs, TargetIdentity};
use blockio::units::ByteCount;
use blockio::volume::{Expected, TargetRequest};
use provisioning::disk::DiskKind;
use provisioning::disk::inventory::{self, IdentifiedDisk};
use provisioning::host::{FileKind, FileStatus, Host};
use provisioning::scsi::wwid::Wwid;
use system::{Error, ErrorKind, Result};

use crate::location::made_of;

const LIST: &str = "mtctl disks --all lists all disks";

/// A target as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TargetArgument {
    /// A device node, a link to one, or an image file.
    Path(PathBuf),
    /// A WWID in any of the usual spellings.
    Wwid(Wwid),
}

impl FromStr for TargetArgument {
    type Err = Error;

    /// After `wwid:` comes a WWID. Without it, text that parses as a WWID is one, and everything
    /// else is a path; text that contains a `/` is always a path.
    fn from_str(typed: &str) -> Result<Self> {
        if let Some(wwid) = typed.strip_prefix("wwid:") {
            return Wwid::parse_operator(wwid).map(Self::Wwid);
        }
        if typed.is_empty() {
            let context = "reading the name of a target: it is empty";
            return Err(Error::new(ErrorKind::Usage, context).with_hint(LIST));
        }
        let wwid = Wwid::parse_operator(typed).ok().filter(|_| !typed.contains('/'));
        Ok(wwid.map_or_else(|| Self::Path(PathBuf::from(typed)), Self::Wwid))
    }
}

/// A target that was found on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NamedTarget {
    /// What to open, and the properties it must still have then.
    pub request: TargetRequest,
    /// The WWID of the disk; `None` for image files, and for disks without a WWID.
    pub identity: Option<String>,
    /// The serial number of a disk without a WWID.
    pub serial: Option<String>,
    /// The file behind a loop device.
    pub backing_file: Option<String>,
}

impl NamedTarget {
    /// The identity that a group records for it.
    pub(crate) fn known_as(&self) -> KnownAs {
        let name = self.identity.clone();
        let name = name.unwrap_or_else(|| path_in_full(&self.request.path));
        KnownAs { name, serial: self.serial.clone(), backing_file: self.backing_file.clone() }
    }
}

/// How a target without a WWID is identified: by its path.
fn path_in_full(path: &Path) -> String {
    path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// The current path of a disk that a group knows by the path `known` and by `identity`: a kernel
/// name may belong to another disk the next day. `None` if nothing identifies the disk, or if it is
/// still there.
pub(crate) fn moved(known: &Path, identity: &TargetIdentity) -> Option<PathBuf> {
    if identity.serial.is_none() && identity.backing_file.is_none() {
        return None;
    }
    let is_it = |disk: &&IdentifiedDisk| {
        disk.serial == identity.serial && disk.backing_file == identity.backing_file
    };
    let disks = inventory::identified(&Host::running());
    let mut found = disks.iter().filter(is_it).peekable();
    let first = found.peek().map(|disk| disk.path.clone());
    let is_there = found.any(|disk| disk.path == known);
    first.filter(|_| !is_there)
}

/// Looks up all `targets`, in order, on the running host.
///
/// # Errors
///
/// As [`resolve_on`].
pub(crate) fn resolve<'a>(
    targets: impl IntoIterator<Item = &'a TargetArgument>,
) -> Result<Vec<NamedTarget>> {
    let found = resolve_on(&Host::running(), targets)?;
    // Two loop devices of one file, or a map of one: data written to one appears on the other.
    let mut taken = BTreeMap::new();
    for path in found.iter().map(|one| one.request.path.as_path()) {
        for part in made_of(path) {
            if let Some(other) = taken.insert(part, path) {
                return Err(named_twice(path, other));
            }
        }
    }
    Ok(found)
}

/// Looks up all `targets`, in order, on `host`. A path that is not a disk is judged when it is
/// opened.
///
/// # Errors
///
/// [`ErrorKind::Usage`] if no disk has a WWID, or two of the arguments mean the same target;
/// [`ErrorKind::Refused`] if several disks have a WWID.
pub(crate) fn resolve_on<'a>(
    host: &Host,
    targets: impl IntoIterator<Item = &'a TargetArgument>,
) -> Result<Vec<NamedTarget>> {
    let disks = inventory::identified(host);
    let found = targets.into_iter().map(|target| match target {
        TargetArgument::Wwid(wwid) => {
            disk_of_wwid(&disks, wwid).map(|disk| named(&disk.path, disk))
        }
        TargetArgument::Path(path) => of_path(host, &disks, path),
    });
    let found: Vec<NamedTarget> = found.collect::<Result<_>>()?;
    for (index, one) in found.iter().enumerate() {
        if let Some(other) = found[..index].iter().find(|other| is_same(host, one, other)) {
            return Err(named_twice(&one.request.path, &other.request.path));
        }
    }
    Ok(found)
}

fn of_path(host: &Host, disks: &[IdentifiedDisk], path: &Path) -> Result<NamedTarget> {
    let status = status(host, path).filter(|one| one.kind == FileKind::BlockDevice);
    let number = status.map(|status| status.device_number);
    let Some(disk) = disks.iter().find(|disk| Some(disk.device_number) == number) else {
        let request = TargetRequest { path: path.to_owned(), expected: Expected::default() };
        return Ok(NamedTarget { request, ..NamedTarget::default() });
    };
    if let Some(wwid) = &disk.wwid {
        check_not_shared(disks, wwid)?;
    }
    Ok(named(path, disk))
}

/// The status of `path`, which is relative to the current directory, as usual.
fn status(host: &Host, path: &Path) -> Option<FileStatus> {
    host.machine().status(std::path::absolute(path).ok()?)
}

fn named(path: &Path, disk: &IdentifiedDisk) -> NamedTarget {
    // The code that opens the disk reports a size of zero better.
    let size = (disk.size_bytes > 0).then(|| ByteCount::new(disk.size_bytes));
    let expected = Expected { size, disk_sequence: disk.diskseq };
    let request = TargetRequest { path: path.to_owned(), expected };
    let IdentifiedDisk { serial, backing_file, .. } = disk.clone();
    let identity = disk.wwid.as_ref().map(ToString::to_string);
    NamedTarget { request, identity, serial, backing_file }
}

fn disk_of_wwid<'a>(disks: &'a [IdentifiedDisk], wwid: &Wwid) -> Result<&'a IdentifiedDisk> {
    check_not_shared(disks, wwid)?;
    with_wwid(disks, wwid).first().copied().ok_or_else(|| {
        let context = format!("looking for the target wwid:{wwid}: no disk has this WWID");
        Error::new(ErrorKind::Usage, context)
            .with_hint(format!("{LIST}; for a file of this name: ./{wwid}"))
    })
}

/// The disks with this WWID; a multipath map stands for its paths.
fn with_wwid<'a>(disks: &'a [IdentifiedDisk], wwid: &Wwid) -> Vec<&'a IdentifiedDisk> {
    let found = disks.iter().filter(|disk| disk.wwid.as_ref() == Some(wwid));
    let (maps, others): (Vec<_>, Vec<_>) = found.partition(|disk| disk.kind == DiskKind::Multipath);
    if maps.is_empty() { others } else { maps }
}

/// Refuses if two nodes lead to one disk, because holding one of them does not protect the other;
/// or if two disks have the same WWID, because nobody could distinguish them another day.
fn check_not_shared(disks: &[IdentifiedDisk], wwid: &Wwid) -> Result<()> {
    let [one, other, ..] = with_wwid(disks, wwid)[..] else { return Ok(()) };
    let reason = format!(
        "{} and {} have the same WWID {wwid}: two ways to one disk, or clones of one template",
        one.path.display(),
        other.path.display()
    );
    Err(Error::refused(reason)
        .with_hint("two paths: mtctl prepare --multipath require; clones: detach one"))
}

fn is_same(host: &Host, one: &NamedTarget, other: &NamedTarget) -> bool {
    let what = |target: &NamedTarget| {
        let status = status(host, &target.request.path)?;
        let is_device = status.kind == FileKind::BlockDevice;
        Some((is_device, if is_device { (status.device_number, 0) } else { status.location }))
    };
    one.request.path == other.request.path || what(one).is_some_and(|one| Some(one) == what(other))
}

fn named_twice(one: &Path, other: &Path) -> Error {
    let (one, other) = (one.display(), other.display());
    let context = format!("looking up the targets: {other} and {one} are the same");
    Error::new(ErrorKind::Usage, context).with_hint("each volume needs a target of its own")
}

#[cfg(test)]
mod tests;
