//! Step `multipath`: the policy is configured if multipath-tools are or will be installed.

mod undone;

use super::identities::id_hint;
use super::{PlannedStep, packages};
use crate::disk::{Disk, DiskKind};
use crate::guard::Refusal;
use crate::host::Invocation;
use crate::multipath::{self, MAIN_FILE, MultipathGeneration, MultipathPolicy, OwnDisks};
use crate::observe::Observed;
use crate::platform::RedHatRelease;
use crate::retention;
use crate::spec::Desired;
use crate::step::{Action, FileChange, StepId};

pub(super) fn plan(observed: &Observed, desired: &Desired) -> PlannedStep {
    let id = StepId::Multipath;
    let policy = desired.multipath;
    let names = ["device-mapper-multipath", "multipath-tools"];
    let comes = packages::will_install(observed, desired, &names);
    if !observed.storage.has_multipath && !comes {
        return match policy {
            MultipathPolicy::Require => PlannedStep::not_ready(
                id,
                "multipath-tools are not installed, but --multipath require needs them",
                "mtctl prepare --only packages",
            ),
            MultipathPolicy::Off | MultipathPolicy::Auto => {
                PlannedStep::as_wanted(id, format!("policy {policy}: multipath is not installed"))
            }
        };
    }
    let own = own_disks(observed, desired);
    let undone = undone::of(observed, policy, generation(observed), &own);
    match (actions(observed, desired, &own), undone) {
        (Ok(_), Some(undone)) => PlannedStep::not_ready(id, undone.reason, undone.hint),
        (Ok(actions), None) => {
            let needs_reboot = policy == MultipathPolicy::Off && has_foreign_map(observed);
            let step = PlannedStep::doing(id, actions, format!("policy {policy}"));
            if needs_reboot { step.with_reboot() } else { step }
        }
        (Err(refusal), _) => PlannedStep::refused(id, refusal),
    }
}

fn actions(observed: &Observed, desired: &Desired, own: &OwnDisks) -> Result<Vec<Action>, Refusal> {
    let policy = desired.multipath;
    let generation = generation(observed);
    if policy == MultipathPolicy::Require {
        check_system_named(observed)?;
    }
    let text = multipath::policy_text(policy, generation, own)
        .map_err(|error| Refusal::new(error.to_string(), "--skip multipath"))?;
    let file = generation.file();
    let mut changes = Vec::new();
    if file != MAIN_FILE && observed.file(MAIN_FILE).is_none() {
        changes.push((MAIN_FILE, multipath::minimal_main_file()));
    }
    if let Some(present) = observed.file(file).filter(|text| !multipath::is_ours(text)) {
        let reason = format!("{file} ({} bytes) was not written by mtctl", present.len());
        return Err(Refusal::new(reason, format!("move it away, or --skip multipath: {file}")));
    }
    changes.push((file, text));
    let mut actions: Vec<Action> = changes
        .into_iter()
        .filter(|(path, after)| observed.file(path) != Some(after))
        .map(|(path, after)| {
            let before = observed.file(path).map(str::to_owned);
            Action::WriteFile(FileChange { path: path.into(), before, after })
        })
        .collect();
    if !actions.is_empty() && observed.platform.has_systemd && !observed.platform.is_image {
        actions.push(Action::Run { invocation: take_effect(policy), purpose: purpose(policy) });
    }
    Ok(actions)
}

/// The host's own disks. They include the retention volume, mounted or not and whichever steps are
/// taken, and the disk that this plan turns into the retention volume.
fn own_disks(observed: &Observed, desired: &Desired) -> OwnDisks {
    let uuid = retention::known_uuid(observed);
    let is_known = |disk: &&Disk| uuid.is_some() && disk.signature.uuid == uuid;
    let known = observed.disks.iter().filter(is_known);
    let to_come = Some(desired)
        .filter(|desired| desired.includes(StepId::Retention))
        .and_then(|desired| retention::planned_disk(observed, desired))
        .into_iter();
    let named = known.chain(to_come).filter_map(|disk| observed.storage.if_own.get(&disk.name));
    named.cloned().fold(observed.storage.own_disks.clone(), OwnDisks::with)
}

/// The system's plain SCSI disks are excluded by their WWIDs: a disk that has none now and gets one
/// through disk.EnableUUID would be claimed at the next boot.
fn check_system_named(observed: &Observed) -> Result<(), Refusal> {
    let is_nameless = |disk: &&Disk| {
        let own = observed.storage.if_own.get(&disk.name);
        disk.is_system()
            && disk.kind == DiskKind::Scsi
            && disk.multipath.is_none()
            && own.is_none_or(|own| own.plain.is_empty())
    };
    let Some(disk) = observed.disks.iter().find(is_nameless) else { return Ok(()) };
    let reason = format!(
        "{} holds the system and reports no WWID: --multipath require could not leave it alone",
        disk.path.display()
    );
    Err(Refusal::new(reason, id_hint(disk, &observed.platform)))
}

/// Makes a running daemon read the new policy; with policy off, a stopped daemon stays stopped.
fn take_effect(policy: MultipathPolicy) -> Invocation {
    let systemctl = Invocation::new("systemctl");
    match policy {
        MultipathPolicy::Off => {
            systemctl.arguments(["try-reload-or-restart", "multipathd.service"])
        }
        MultipathPolicy::Auto | MultipathPolicy::Require => {
            systemctl.arguments(["reload-or-restart", "multipathd.service"])
        }
    }
}

fn purpose(policy: MultipathPolicy) -> String {
    format!("multipathd adopts policy {policy}")
}

fn has_foreign_map(observed: &Observed) -> bool {
    let own = &observed.storage.own_disks.mapped;
    observed.disks.iter().any(|disk| {
        disk.multipath.as_ref().is_some_and(|name| own.iter().all(|map| map.name != *name))
    })
}

pub(crate) fn generation(observed: &Observed) -> MultipathGeneration {
    match observed.platform.distribution.red_hat_release() {
        Some(RedHatRelease::Six) => MultipathGeneration::MainFileOnly,
        Some(RedHatRelease::Seven) => MultipathGeneration::YesNo,
        Some(RedHatRelease::Eight | RedHatRelease::Nine | RedHatRelease::Ten) | None => {
            MultipathGeneration::Named
        }
    }
}
