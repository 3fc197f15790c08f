//! Step `tuning`: disk timeouts and schedulers, io_uring allowed, kernel updates held on request.

use super::edit::write;
use super::planned_step::PlannedStep;
use crate::guard::Refusal;
use crate::host::Invocation;
use crate::observe::Observed;
use crate::packages::PackageManager;
use crate::platform::RedHatRelease;
use crate::spec::Desired;
use crate::step::{Action, StepId};
use crate::tuning::{
    IO_URING_SYSCTL, IO_URING_SYSCTL_FILE, KernelHold, UDEV_RULES, UDEV_RULES_FILE,
};

pub(super) fn plan(observed: &Observed, desired: &Desired) -> PlannedStep {
    let id = StepId::Tuning;
    let mut actions = udev_rules(observed);
    actions.extend(io_uring(observed));
    if desired.hold_kernel_updates {
        match kernel_hold(observed) {
            Ok(action) => actions.extend(action),
            Err(refusal) => return PlannedStep::refused(id, refusal),
        }
    }
    PlannedStep::doing(id, actions, "disk time-outs, schedulers and io_uring are set")
}

/// The rules for future boots and hot-plugged disks, and the same values for the present disks set
/// directly: triggering udev events would make every other rule process customers' disks again.
fn udev_rules(observed: &Observed) -> Vec<Action> {
    let mut actions: Vec<Action> =
        write(observed, UDEV_RULES_FILE, UDEV_RULES.to_owned()).into_iter().collect();
    if observed.platform.is_image {
        return actions;
    }
    if !actions.is_empty() && observed.storage.has_udev {
        actions.push(Action::Run {
            invocation: Invocation::new("udevadm").arguments(["control", "--reload"]),
            purpose: "udev reads the rules".to_owned(),
        });
    }
    let differs =
        observed.attributes.iter().filter(|attribute| attribute.value != attribute.wanted);
    actions.extend(differs.map(|attribute| Action::SetAttribute {
        path: attribute.path.clone(),
        before: attribute.value.clone(),
        after: attribute.wanted.clone(),
    }));
    actions
}

/// Only if it is disabled for everybody: elsewhere our file would allow less than before. An
/// image's kernel cannot be asked; release 9 and later disable it, and distributions that only
/// resemble them do not.
fn io_uring(observed: &Observed) -> Vec<Action> {
    let distribution = &observed.platform.distribution;
    let is_off = if observed.platform.is_image {
        !matches!(distribution.id.as_str(), "fedora" | "amzn")
            && distribution.red_hat_release() >= Some(RedHatRelease::Nine)
    } else {
        observed.io_uring_disabled == Some(2)
    };
    let is_ours = observed.file(IO_URING_SYSCTL_FILE).is_some();
    if !is_off && !is_ours {
        return Vec::new();
    }
    let file = write(observed, IO_URING_SYSCTL_FILE, IO_URING_SYSCTL.to_owned());
    let mut actions: Vec<Action> = file.into_iter().collect();
    if is_off && !observed.platform.is_image {
        actions.push(Action::SetAttribute {
            path: "/proc/sys/kernel/io_uring_disabled".into(),
            before: "2".to_owned(),
            after: "1".to_owned(),
        });
    }
    actions
}

/// How this distribution can hold kernel updates.
pub(crate) fn hold_of(observed: &Observed) -> Option<KernelHold> {
    match observed.packages.manager? {
        PackageManager::Dnf => Some(KernelHold::Dnf),
        PackageManager::Yum => Some(KernelHold::Yum),
        PackageManager::Apt => Some(KernelHold::Apt),
    }
}

fn kernel_hold(observed: &Observed) -> Result<Option<Action>, Refusal> {
    let Some(hold) = hold_of(observed) else { return Ok(None) };
    let text = observed.file(hold.file()).unwrap_or_default();
    let after = hold.held(text).map_err(|error| {
        let hint = format!("edit {}, or --skip tuning", hold.file());
        Refusal::new(format!("{}: {error}", hold.file()), hint)
    })?;
    Ok(write(observed, hold.file(), after))
}
