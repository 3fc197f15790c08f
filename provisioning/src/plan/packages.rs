//! Steps `packages` and `filesystems`: missing packages are installed; gaps in kernel support are
//! reported.

use super::planned_step::PlannedStep;
use crate::filesystem::RetentionFilesystem;
use crate::observe::Observed;
use crate::packages;
use crate::platform::Family;
use crate::spec::Desired;
use crate::step::{Action, StepId};

pub(super) fn plan(observed: &Observed, desired: &Desired) -> PlannedStep {
    let id = StepId::Packages;
    let missing = missing(observed, desired);
    if missing.is_empty() {
        let detail = match observed.platform.distribution.family {
            Family::Unknown => "unknown for this distribution",
            Family::Debian | Family::RedHat => "all installed",
        };
        return PlannedStep::as_wanted(id, detail);
    }
    let Some(manager) = observed.packages.manager else {
        let reason = format!("found no package tool; missing: {}", missing.join(" "));
        return PlannedStep::not_ready(id, reason, "install them by hand, or --skip packages");
    };
    let root = observed.packages.root.clone();
    let install = Action::Install { manager, packages: missing, root };
    PlannedStep::doing(id, vec![install], "")
}

/// Wanted packages that are not installed.
pub(crate) fn missing(observed: &Observed, desired: &Desired) -> Vec<String> {
    let wanted = packages::wanted_names(&observed.platform, desired.multipath);
    let is_missing = |name: &&str| !observed.packages.installed.contains(*name);
    wanted.into_iter().filter(is_missing).map(str::to_owned).collect()
}

/// Whether this plan installs one of `names`: then the later steps are planned as if it were
/// installed, because the host would not match the plan afterwards otherwise.
pub(crate) fn will_install(observed: &Observed, desired: &Desired, names: &[&str]) -> bool {
    desired.includes(StepId::Packages)
        && missing(observed, desired).iter().any(|missing| names.contains(&missing.as_str()))
}

pub(super) fn plan_filesystems(observed: &Observed, desired: &Desired) -> PlannedStep {
    let id = StepId::Filesystems;
    let needed = desired.filesystem.unwrap_or(RetentionFilesystem::Ext4).name();
    let in_kernel = |name: &str| observed.filesystems.get(name).is_some_and(|one| one.kernel);
    if !in_kernel(needed) && !observed.platform.is_image {
        let reason = format!("this kernel has no {needed}, the retention filesystem");
        return PlannedStep::not_ready(id, reason, "--filesystem ext4 or xfs, whichever it has");
    }
    let lacking: Vec<&str> = observed
        .filesystems
        .iter()
        .filter(|(_, support)| !support.kernel)
        .map(|(name, _)| name.as_str())
        .collect();
    let detail = match lacking.as_slice() {
        [] => "all supported by the kernel".to_owned(),
        names => {
            format!("not in this kernel, so their contents cannot be read: {}", names.join(" "))
        }
    };
    PlannedStep::as_wanted(id, detail)
}
