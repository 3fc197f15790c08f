//! Lost paths of multipath maps, as reported by device-mapper and the SCSI layer.

use std::collections::BTreeMap;

use crate::disk::{Disk, DiskKind};
use crate::host::{Host, Invocation};
use crate::multipath::status;

/// The kernel's names of disks that are paths of a map and cannot be used now, each with the
/// reason. device-mapper is asked only if there is a map.
pub(super) fn lost(host: &Host, disks: &[Disk]) -> BTreeMap<String, String> {
    if !disks.iter().any(|disk| disk.kind == DiskKind::Multipath) {
        return BTreeMap::new();
    }
    let ask =
        Invocation::new("dmsetup").arguments(["status", "--target", "multipath", "--noflush"]);
    let failed = status::failed_paths(&host.ask_checked(&ask).unwrap_or_default());
    let is_path = |disk: &&Disk| disk.multipath.is_some() && disk.kind != DiskKind::Multipath;
    let fault = |disk: &Disk| {
        let state = host.machine().attribute(format!("/sys/block/{}/device/state", disk.name));
        let state = state.filter(|state| !matches!(state.as_str(), "running" | "live"));
        let has_failed = failed.contains(&disk.device_number);
        let why = state.or_else(|| has_failed.then(|| "failed".to_owned()))?;
        Some((disk.name.clone(), why))
    };
    disks.iter().filter(is_path).filter_map(fault).collect()
}
