//! Which protection groups write to a disk: what their states name is compared with it by WWID, by
//! device number, and by the file behind a loop device.

use std::path::Path;

use super::uses::{DeviceNumber, Kernel};
use super::{Disk, DiskIdentity, Use};
use crate::groups::{Claim, Groups};
use crate::host::{FileKind, Host};
use crate::scsi::wwid::Wwid;

const LINKS: &str = "/dev/disk/by-id";

/// The claims of all groups, resolved on this machine.
pub(super) struct Claims<'g> {
    known: Vec<Known<'g>>,
}

/// A claim, and what it may mean on this machine: anything that matches belongs to the group.
struct Known<'g> {
    claim: &'g Claim,
    wwid: Option<Wwid>,
    numbers: Vec<DeviceNumber>,
    file: Option<((u32, u32), u64)>,
}

impl<'g> Claims<'g> {
    pub(super) fn look_up(host: &Host, groups: &'g Groups) -> Self {
        if groups.claims.is_empty() {
            return Self { known: Vec::new() };
        }
        // A disk whose pages cannot be read may still have a link that names it.
        let links = host.machine().list(LINKS).into_iter().filter_map(|name| {
            let status = host.machine().status(format!("{LINKS}/{name}"))?;
            Some((Wwid::parse_operator(&name).ok()?, status.device_number))
        });
        let links: Vec<(Wwid, DeviceNumber)> = links.collect();
        let known = groups.claims.iter().map(|claim| {
            let status =
                claim.target.starts_with('/').then(|| host.machine().status(&claim.target));
            let status = status.flatten();
            let is_file = status.filter(|status| status.kind == FileKind::File);
            let device = status.filter(|status| status.kind == FileKind::BlockDevice);
            let is_identity = !claim.target.starts_with('/') || claim.target.starts_with(LINKS);
            let wwid = Wwid::parse_operator(&claim.target).ok().filter(|_| is_identity);
            let linked = links.iter().filter(|(link, _)| wwid.as_ref() == Some(link));
            let numbers = device.map(|device| device.device_number);
            Known {
                claim,
                numbers: linked.map(|(_, number)| *number).chain(numbers).collect(),
                file: is_file.map(|file| file.location),
                wwid,
            }
        });
        Self { known: known.collect() }
    }

    /// The groups that write to `disk`, to a part of it, or to what it is made of or made into.
    pub(super) fn uses_of(&self, kernel: &Kernel, disk: &Disk) -> Vec<Use> {
        if self.known.is_empty() {
            return Vec::new();
        }
        let related = kernel.related(&disk.name);
        let is_meant = |known: &&Known<'_>| {
            let by_wwid = known.wwid.is_some() && known.wwid == disk.wwid;
            let by_number = known.numbers.iter().any(|number| related.contains(number));
            let by_path = Path::new(&known.claim.target) == disk.path;
            let by_file = match (&disk.known_by, known.file) {
                (Some(DiskIdentity::BackingFile { location, inode }), Some(file)) => {
                    file == (*location, *inode)
                }
                _ => false,
            };
            by_wwid || by_number || by_path || by_file
        };
        let mut uses = Vec::new();
        for known in self.known.iter().filter(is_meant) {
            let Claim { group, state, .. } = known.claim;
            let one = Use::Group { name: group.clone(), state: state.clone() };
            if !uses.contains(&one) {
                uses.push(one);
            }
        }
        uses
    }
}
