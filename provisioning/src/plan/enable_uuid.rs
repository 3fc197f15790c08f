//! Step `enable-uuid`: disk.EnableUUID is in effect, or is set in the .vmx file that was named.

use super::identities::{ENABLE_UUID_HINT, without_id};
use super::planned_step::PlannedStep;
use crate::disk::{Disk, DiskKind};
use crate::observe::Observed;
use crate::step::{Action, FileChange, StepId};
use crate::vmware::vmx;
use system::lossless_text;

pub(super) fn plan(observed: &Observed) -> PlannedStep {
    let id = StepId::EnableUuid;
    if let Some((path, bytes)) = &observed.vmx {
        let parsed = match vmx::parse(bytes) {
            Ok(parsed) => parsed,
            Err(error) => {
                let reason = format!("reading {}: {error}", path.display());
                return PlannedStep::not_ready(id, reason, "name the .vmx of this machine");
            }
        };
        let Some(after) = parsed.with_enable_uuid() else {
            return PlannedStep::as_wanted(id, format!("on in {}", path.display()));
        };
        let before = Some(lossless_text::from_bytes(bytes.as_slice()));
        let after = lossless_text::from_bytes(after);
        let change = FileChange { path: path.clone(), before, after };
        return PlannedStep::doing(id, vec![Action::FixVmx(change)], "").with_reboot();
    }
    match in_effect(observed) {
        Some(true) => PlannedStep::as_wanted(id, "in effect: every virtual disk reports its id"),
        Some(false) => PlannedStep::not_ready(id, "disk.EnableUUID is off", ENABLE_UUID_HINT),
        None => PlannedStep::as_wanted(id, "does not apply: no VMware SCSI disks"),
    }
}

/// Whether disk.EnableUUID is in effect in the guest: `None` without VMware SCSI disks.
pub(crate) fn in_effect(observed: &Observed) -> Option<bool> {
    let mut disks = observed.disks.iter().filter(|disk| is_vmware_scsi(disk)).peekable();
    disks.peek()?;
    let nameless: Vec<&str> = without_id(&observed.disks).map(|disk| disk.name.as_str()).collect();
    Some(!disks.any(|disk| nameless.contains(&disk.name.as_str())))
}

fn is_vmware_scsi(disk: &Disk) -> bool {
    disk.kind == DiskKind::Scsi
        && disk.vendor.as_deref().is_some_and(|vendor| vendor.starts_with("VMware"))
}
