//! Step `lvm`: keeps LVM, software RAID and udisks off the attached disks, and leaves the host's
//! own volumes and arrays alone.

use super::edit::write;
use super::packages;
use super::planned_step::PlannedStep;
use crate::fstab::FSTAB_PATH;
use crate::guard::Refusal;
use crate::host::Invocation;
use crate::lvm::{self, DeviceSelection, LOCAL_FILE, MAIN_FILE};
use crate::md;
use crate::observe::Observed;
use crate::platform::{Family, RedHatRelease};
use crate::spec::Desired;
use crate::step::{Action, StepId};

pub(super) fn plan(observed: &Observed, desired: &Desired) -> PlannedStep {
    let id = StepId::Lvm;
    let changes = [lvm_change(observed, desired), raid_change(observed, desired)];
    match changes.into_iter().collect::<Result<Vec<_>, _>>() {
        Ok(found) => {
            let writes: Vec<Action> = found.into_iter().flatten().collect();
            let warning = warning(observed).filter(|_| !writes.is_empty());
            let actions = with_initramfs(observed, writes);
            let detail = "LVM and RAID leave the attached disks alone";
            PlannedStep { warning, ..PlannedStep::doing(id, actions, detail).with_reboot() }
        }
        Err(refusal) => PlannedStep::refused(id, refusal),
    }
}

fn lvm_change(observed: &Observed, desired: &Desired) -> Result<Option<Action>, Refusal> {
    if !observed.storage.has_lvm && !packages::will_install(observed, desired, &["lvm2"]) {
        return Ok(None);
    }
    let selection = match observed.storage.lvm_devices_file {
        Some(_) if uses_devices_file(observed)? => DeviceSelection::DevicesFile,
        Some(_) | None => DeviceSelection::Filter,
    };
    let own = observed.storage.own_lvm.as_ref().map_err(Clone::clone)?;
    let text = observed.file(LOCAL_FILE).unwrap_or_default();
    let after = lvm::with_guard(text, selection, own).map_err(|error| {
        Refusal::new(error.to_string(), format!("edit {LOCAL_FILE}, or --skip lvm"))
    })?;
    Ok(write(observed, LOCAL_FILE, after))
}

/// Path of mdadm's configuration on this distribution.
pub(crate) fn mdadm_file(family: Family) -> &'static str {
    match family {
        Family::Debian => "/etc/mdadm/mdadm.conf",
        Family::RedHat | Family::Unknown => "/etc/mdadm.conf",
    }
}

fn raid_change(observed: &Observed, desired: &Desired) -> Result<Option<Action>, Refusal> {
    if !observed.storage.has_mdadm && !packages::will_install(observed, desired, &["mdadm"]) {
        return Ok(None);
    }
    let path = mdadm_file(observed.platform.distribution.family);
    let Some(own) = &observed.storage.own_arrays else {
        let reason = "one of this host's own arrays did not report its UUID";
        return Err(Refusal::new(reason, "see: mdadm --detail --scan; or --skip lvm"));
    };
    let text = observed.file(path).unwrap_or_default();
    let after = md::with_auto_off(text, own)
        .map_err(|error| Refusal::new(error.to_string(), format!("edit {path}, or --skip lvm")))?;
    Ok(write(observed, path, after))
}

/// The initramfs contains copies of lvmlocal.conf and mdadm.conf, and scans disks first. A rebuild
/// that failed or did not happen stays due until one succeeds. An image's initramfs is rebuilt by
/// the image's own kernel: there the rebuild is only recorded as due.
fn with_initramfs(observed: &Observed, writes: Vec<Action>) -> Vec<Action> {
    let Some(rebuild) = rebuild(observed).filter(|_| observed.storage.has_initramfs_tool) else {
        return writes;
    };
    let is_due = observed.record.initramfs_due;
    let note = (!is_due && !writes.is_empty()).then_some(Action::NoteInitramfsDue);
    let is_wanted = !observed.platform.is_image && (is_due || !writes.is_empty());
    let rebuild = is_wanted.then_some(Action::RebuildInitramfs(rebuild));
    note.into_iter().chain(writes).chain(rebuild).collect()
}

fn rebuild(observed: &Observed) -> Option<Invocation> {
    let distribution = &observed.platform.distribution;
    Some(match (distribution.family, distribution.red_hat_release()) {
        (Family::Debian, _) => Invocation::new("update-initramfs").arguments(["-u", "-k", "all"]),
        // The dracut of release 6 (004) cannot rebuild for all kernels: this rebuilds for the
        // running one.
        (Family::RedHat, Some(RedHatRelease::Six)) => Invocation::new("dracut").argument("--force"),
        (Family::RedHat, _) => Invocation::new("dracut").arguments(["--force", "--regenerate-all"]),
        (Family::Unknown, _) => return None,
    })
}

/// What the operator loses through this step.
fn warning(observed: &Observed) -> Option<String> {
    let groups: Vec<&str> =
        observed.storage.foreign_volume_groups.iter().map(String::as_str).collect();
    (!groups.is_empty()).then(|| {
        format!(
            "volume groups that are active but not the system's own will be excluded: {}; to keep \
             one, name one of its volumes in {FSTAB_PATH}",
            groups.join(" ")
        )
    })
}

/// Whether LVM reads its devices file: lvmlocal.conf overrides lvm.conf, which overrides the
/// default that this release's LVM was built with.
fn uses_devices_file(observed: &Observed) -> Result<bool, Refusal> {
    let mut said = None;
    for path in [MAIN_FILE, LOCAL_FILE] {
        let text = observed.file(path).unwrap_or_default();
        let word = lvm::configuration::last_value(text, "devices/use_devicesfile");
        let word = word.map_err(|error| {
            Refusal::new(format!("{path}: {error}"), format!("edit {path}, or --skip lvm"))
        })?;
        said = word.or(said);
    }
    let is_default = observed.platform.distribution.is_red_hat_nine_or_newer();
    let is_no = |word: &str| ["0", "n", "no", "off", "false"].contains(&word);
    Ok(said.map_or(is_default, |word| !is_no(&word.to_ascii_lowercase())))
}
