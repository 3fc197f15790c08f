//! Findings about the attached disks: ids, clones, disk.EnableUUID, number of disks.

use super::{Finding, Status};
use crate::disk::{Disk, DiskKind};
use crate::observe::Observed;
use crate::plan::enable_uuid;
use crate::plan::identities::{ENABLE_UUID_HINT, id_hint, shared, without_id};
use crate::spec::Desired;

/// The most disks that one master target takes.
const DISKS_MAX: usize = 60;

pub(super) fn check(observed: &Observed, desired: &Desired) -> Vec<Finding> {
    let mut findings = scsi_ids(observed);
    findings.push(duplicate_ids(observed, desired));
    findings.push(enable_uuid(observed));
    findings.push(disk_count(observed, desired));
    findings
}

fn scsi_ids(observed: &Observed) -> Vec<Finding> {
    let id = "scsi-ids";
    let disks = &observed.disks;
    let nameless: Vec<Finding> = without_id(disks)
        .map(|disk| {
            let message = disk.problem.clone().unwrap_or_else(|| "reports no SCSI id".to_owned());
            let path = disk.path.display().to_string();
            Finding::fail(id, &path, message).hint(id_hint(disk, &observed.platform))
        })
        .collect();
    if !nameless.is_empty() {
        return nameless;
    }
    let count = disks.iter().filter(|disk| disk.scsi_address.is_some()).count();
    let message = format!("{count} SCSI disks, each with its own id");
    let status = if count == 0 { Status::Skip } else { Status::Pass };
    vec![Finding::new(id, status, "SCSI disks", if count == 0 { "none".into() } else { message })]
}

fn duplicate_ids(observed: &Observed, desired: &Desired) -> Finding {
    let id = "duplicate-ids";
    let Some((one, other)) = shared(&observed.disks, desired.multipath) else {
        return Finding::pass(id, "disks", "no two disks share an id");
    };
    let subject = format!("{} {}", one.path.display(), other.path.display());
    let wwid = one.wwid.as_ref().map(ToString::to_string).unwrap_or_default();
    Finding::fail(id, &subject, format!("both are {wwid}: clones of one template, or two paths"))
        .hint("clones: detach one of them; two paths: mtctl prepare --multipath require")
}

fn enable_uuid(observed: &Observed) -> Finding {
    let (id, subject) = ("enable-uuid", "disk.EnableUUID");
    match enable_uuid::in_effect(observed) {
        Some(true) => Finding::pass(id, subject, "in effect: every virtual disk reports its id"),
        Some(false) => {
            Finding::fail(id, subject, "off, at least for some disks").hint(ENABLE_UUID_HINT)
        }
        None => Finding::skip(id, subject, "no VMware SCSI disks"),
    }
}

/// The retention disk does not count: it belongs to the master target itself.
fn disk_count(observed: &Observed, desired: &Desired) -> Finding {
    let id = "disk-count";
    let retention = observed.retention_disk(desired).map(|disk| disk.name.as_str());
    let is_one = |disk: &&Disk| disk.kind == DiskKind::Multipath || disk.multipath.is_none();
    let is_counted = |disk: &&Disk| {
        disk.is_attached_disk() && is_one(disk) && Some(disk.name.as_str()) != retention
    };
    let count = observed.disks.iter().filter(is_counted).count();
    let message = format!("{count} attached; at most {DISKS_MAX} are supported");
    if count <= DISKS_MAX {
        return Finding::pass(id, "attached disks", message);
    }
    Finding::fail(id, "attached disks", message).hint("use a second master target")
}
