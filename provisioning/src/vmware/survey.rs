//! Several virtual machines together: which of their disks share a UUID (clones of a template).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::identity::DiskUuid;
use super::image::Disk;
use super::machine::{self, Machine};
use crate::finding::Finding;
use crate::host::Tree;
use system::error::{Error, ErrorKind, Result};

const CLASH_HINT: &str = "with its VM off, give one of them a new ddb.uuid (VMware KB 2006865), or \
                          detach it: multipath would take them for one disk";

const UNKNOWN_HINT: &str = "run this where the VMs' disks can be read; or, if you know that none \
                            of them is a clone: --allow-unknown-uuids";

/// A disk of a machine, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Path of the .vmx.
    pub machine: PathBuf,
    /// `scsi0:1`.
    pub slot: String,
    /// Its file, as the .vmx names it.
    pub file: String,
}

impl Holder {
    fn new(machine: &Machine, disk: &Disk) -> Self {
        Self {
            machine: machine.path.clone(),
            slot: disk.attachment.slot.clone(),
            file: disk.attachment.file.to_string(),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) of {}", self.slot, self.file, self.machine.display())
    }
}

/// Two disks with one UUID: a host that has both attached takes them for one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The UUID.
    pub uuid: DiskUuid,
    /// The disk that was found first.
    pub first: Holder,
    /// The other disk.
    pub second: Holder,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uuid, first, second } = self;
        write!(f, "disks {first} and {second} have the same UUID {uuid}")
    }
}

/// The named machines, in that order, each once, and the clashes among all their disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The machines.
    pub machines: Vec<Machine>,
    /// Pairs of disks with the same UUID.
    pub clashes: Vec<Clash>,
    /// Disks whose UUID could not be read: it is not known what they clash with.
    pub unknown: Vec<Holder>,
}

impl Survey {
    /// Reads every .vmx in `paths`.
    ///
    /// # Errors
    /// Returns an error if one cannot be read or is not valid.
    pub fn read<P: AsRef<Path>>(tree: &Tree, paths: &[P]) -> Result<Self> {
        let mut machines = Vec::new();
        let mut seen = Vec::new();
        for path in paths.iter().map(AsRef::as_ref) {
            let real = tree.canonical(path);
            if real.is_some() && seen.contains(&real) {
                continue;
            }
            seen.push(real);
            machines.push(machine::read(tree, path)?);
        }
        let clashes = clashes(&machines);
        for machine in &mut machines {
            let own = clashes.iter().filter(|clash| clash.concerns(&machine.path));
            machine.findings.extend(own.map(Clash::finding));
        }
        let unknown = machines.iter().flat_map(|machine| {
            let disks = machine.disks.iter().filter(|disk| disk.is_unknown);
            disks.map(|disk| Holder::new(machine, disk))
        });
        let unknown = unknown.collect();
        Ok(Self { machines, clashes, unknown })
    }

    /// Whether nothing is wrong with any machine.
    pub fn is_ready(&self) -> bool {
        self.machines.iter().all(Machine::is_ready)
    }

    /// The clashes as one error of `kind`: [`ErrorKind::NotReady`] for a run that only looks (the
    /// disks do not meet a requirement, and this program cannot change that),
    /// [`ErrorKind::Refused`] for one that was to edit.
    pub fn clash_error(&self, kind: ErrorKind) -> Option<Error> {
        if self.clashes.is_empty() {
            return None;
        }
        let each: Vec<String> = self.clashes.iter().map(Clash::to_string).collect();
        let context = format!("comparing disk UUIDs: {}", each.join("; "));
        Some(Error::new(kind, context).with_hint(CLASH_HINT))
    }

    /// The refusal to edit several machines if some of their disks may be clones of others: disks
    /// that cannot be compared are not known to differ.
    pub(crate) fn unknown_error(&self) -> Option<Error> {
        if self.unknown.is_empty() || self.machines.len() < 2 {
            return None;
        }
        let each: Vec<String> = self.unknown.iter().map(Holder::to_string).collect();
        let context = format!("comparing disk UUIDs: unknown for {}", each.join("; "));
        Some(Error::refused(context).with_hint(UNKNOWN_HINT))
    }
}

impl Clash {
    fn concerns(&self, machine: &Path) -> bool {
        self.first.machine == machine || self.second.machine == machine
    }

    fn finding(&self) -> Finding {
        let hint = CLASH_HINT.to_owned();
        Finding::fail("duplicate-uuid", self.uuid.as_str(), self.to_string()).hint(hint)
    }
}

fn clashes(machines: &[Machine]) -> Vec<Clash> {
    let mut first_of: BTreeMap<&DiskUuid, (Holder, Option<&PathBuf>)> = BTreeMap::new();
    let mut clashes = Vec::new();
    for machine in machines {
        for disk in &machine.disks {
            let Some(uuid) = &disk.uuid else { continue };
            let holder = Holder::new(machine, disk);
            let Some((first, path)) = first_of.get(uuid) else {
                first_of.insert(uuid, (holder, disk.path.as_ref()));
                continue;
            };
            // One file attached to two machines is one disk that they share.
            let is_shared = first.machine != holder.machine && *path == disk.path.as_ref();
            if !is_shared {
                clashes.push(Clash { uuid: uuid.clone(), first: first.clone(), second: holder });
            }
        }
    }
    clashes
}

#[cfg(test)]
mod tests;
