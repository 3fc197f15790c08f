//! Step `scsi-ids`: every SCSI disk has an id, and no two disks share one.

use super::planned_step::PlannedStep;
use crate::disk::{Disk, DiskKind, IdentitySource};
use crate::guard::Refusal;
use crate::multipath::MultipathPolicy;
use crate::observe::Observed;
use crate::platform::{Hypervisor, Platform};
use crate::spec::Desired;
use crate::step::StepId;

pub(super) fn plan(observed: &Observed, desired: &Desired) -> PlannedStep {
    let id = StepId::ScsiIds;
    if let Some((one, other)) = shared(&observed.disks, desired.multipath) {
        let reason = format!(
            "{} and {} have the same WWID: clones of one template, or two paths to one disk",
            one.path.display(),
            other.path.display()
        );
        let hint = "clones: detach one, or give its VMDK a new ddb.uuid; paths: --multipath \
                    require; or, if you know better: --skip scsi-ids";
        return PlannedStep::refused(id, Refusal::new(reason, hint));
    }
    let nameless: Vec<&Disk> = without_id(&observed.disks).collect();
    if let Some(first) = nameless.first() {
        let paths: Vec<String> =
            nameless.iter().map(|disk| disk.path.display().to_string()).collect();
        let reason = format!("no SCSI id: {}", paths.join(" "));
        // If disks of several kinds are affected, prefer VMware's: one setting fixes them all.
        let disk = nameless.iter().find(|disk| disk.is_vmware_virtual()).unwrap_or(first);
        return PlannedStep::not_ready(id, reason, id_hint(disk, &observed.platform));
    }
    let count = observed.disks.iter().filter(|disk| disk.kind == DiskKind::Scsi).count();
    PlannedStep::as_wanted(
        id,
        match count {
            0 => "no SCSI disks".to_owned(),
            count => format!("{count} SCSI disks, each with its own id"),
        },
    )
}

/// What to do about VMware disks without an id.
pub(crate) const ENABLE_UUID_HINT: &str =
    "power the VM off and set disk.EnableUUID = \"TRUE\": mtctl vmx --fix FILE.vmx";

/// What to do about a disk without an id, depending on the disk and on the hypervisor.
pub(crate) fn id_hint(disk: &Disk, platform: &Platform) -> &'static str {
    if disk.is_vmware_virtual() {
        return ENABLE_UUID_HINT;
    }
    match platform.hypervisor() {
        Hypervisor::Kvm => {
            "power the VM off and give the disk a WWN or a serial number of its own: <wwn> or \
             <serial> of libvirt, wwn= or serial= of QEMU"
        }
        Hypervisor::HyperV => {
            "power the VM off and attach the disk to a SCSI controller, as a VHDX, which has an id"
        }
        Hypervisor::VmWare | Hypervisor::NoneKnown => {
            "see what the disk reports: sg_inq --page=0x83 DISK; attach it without the bridge or \
             controller that hides its id"
        }
    }
}

/// SCSI disks that report no id at all.
pub(crate) fn without_id(disks: &[Disk]) -> impl Iterator<Item = &Disk> {
    disks.iter().filter(|disk| disk.kind == DiskKind::Scsi && disk.identity == IdentitySource::None)
}

/// Two VMware virtual disks on one adapter are two disks, whatever they report and whatever map
/// multipathd has made of them: a virtual disk is attached to an adapter only once.
fn are_copies(one: &Disk, other: &Disk) -> bool {
    let is_virtual = |disk: &Disk| disk.vendor.as_deref().is_some_and(|v| v.starts_with("VMware"));
    let adapter = |disk: &Disk| {
        disk.scsi_address.as_ref().and_then(|text| text.split(':').next().map(str::to_owned))
    };
    is_virtual(one) && is_virtual(other) && adapter(one).is_some() && adapter(one) == adapter(other)
}

/// Two disks with one WWID that are not paths of one map. Under a policy that makes maps of paths,
/// two disks that are in no map yet may be paths of a future map.
pub(crate) fn shared(disks: &[Disk], policy: MultipathPolicy) -> Option<(&Disk, &Disk)> {
    let is_one_map = |a: &Disk, b: &Disk| a.multipath.is_some() && a.multipath == b.multipath;
    let may_be_paths = |a: &Disk, b: &Disk| {
        policy == MultipathPolicy::Require && a.multipath.is_none() && b.multipath.is_none()
    };
    disks.iter().enumerate().find_map(|(index, one)| {
        let rest = &disks[index + 1..];
        let twin = rest.iter().find(|other| {
            one.wwid.is_some()
                && one.wwid == other.wwid
                && (are_copies(one, other)
                    || (!is_one_map(one, other) && !may_be_paths(one, other)))
        });
        twin.map(|other| (one, other))
    })
}
