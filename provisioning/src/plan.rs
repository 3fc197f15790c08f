//! Turns what is observed and what is desired into what has to be done: a value, made without
//! touching anything. Printing it is the dry run; `apply` carries it out.

mod edit;
pub(crate) mod enable_uuid;
pub(crate) mod identities;
pub(crate) mod multipath;
pub(crate) mod packages;
mod planned_step;
pub(crate) mod platform;
mod separation;
pub(crate) mod tuning;

use crate::observe::Observed;
use crate::record::OnceRecord;
use crate::retention;
use crate::spec::Desired;
use crate::step::{Action, StepId};
pub use planned_step::{PlannedStep, Standing, said};

/// Everything that has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The requested steps, in order.
    pub steps: Vec<PlannedStep>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(|step| step.actions.is_empty())
    }

    /// Whether a guard refuses: then nothing may be done at all.
    pub fn is_refused(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.standing, Standing::Refused(_)))
    }

    /// Whether something is not as required and cannot be changed by this program.
    pub fn is_not_ready(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.standing, Standing::NotReady(_)))
    }
}

/// Makes the plan.
pub fn plan(observed: &Observed, desired: &Desired) -> Plan {
    let wanted = StepId::ALL.into_iter().filter(|id| desired.includes(*id));
    let mut steps: Vec<PlannedStep> =
        wanted.clone().map(|id| plan_step(id, observed, desired)).collect();
    if observed.platform.is_image {
        steps.iter_mut().for_each(|step| step.needs_reboot = false);
    }
    let needs_reboot = observed.reboot_requested || steps.iter().any(|step| step.needs_reboot);
    if let Some(step) = steps.iter_mut().find(|step| step.id == StepId::Reboot && needs_reboot) {
        step.standing = Standing::AsWanted("needed before everything takes effect: reboot".into());
        step.needs_reboot = true;
    }
    Plan { steps }
}

pub(crate) fn plan_step(id: StepId, observed: &Observed, desired: &Desired) -> PlannedStep {
    match id {
        StepId::Platform => platform::plan(observed, desired),
        StepId::ScsiIds => identities::plan(observed, desired),
        StepId::EnableUuid => enable_uuid::plan(observed),
        StepId::Packages => packages::plan(observed, desired),
        StepId::Filesystems => packages::plan_filesystems(observed, desired),
        StepId::Multipath => multipath::plan(observed, desired),
        StepId::Lvm => separation::plan(observed, desired),
        StepId::Retention => plan_retention(observed, desired),
        StepId::Tuning => tuning::plan(observed, desired),
        StepId::CustomChanges => plan_custom_changes(observed),
        StepId::Reboot => PlannedStep::as_wanted(id, "not needed"),
    }
}

fn plan_retention(observed: &Observed, desired: &Desired) -> PlannedStep {
    match retention::plan(observed, desired) {
        Ok(actions) => {
            let good = format!("in place at {}", desired.retention_mount.display());
            let warning = retention::warning(observed, desired, &actions);
            PlannedStep { warning, ..PlannedStep::doing(StepId::Retention, actions, good) }
        }
        Err(refusal) => PlannedStep::refused(StepId::Retention, refusal),
    }
}

fn plan_custom_changes(observed: &Observed) -> PlannedStep {
    let id = StepId::CustomChanges;
    if let Some(change) = observed.custom_changes.iter().find(|change| !change.is_executable) {
        let path = observed.outside_path(&change.path);
        let path = path.display();
        let reason = format!("{path} is not executable");
        return PlannedStep::not_ready(id, reason, format!("chmod +x {path}, or move it away"));
    }
    let has_run = |once: &OnceRecord| observed.record.ran_once.contains(once);
    let due = observed.custom_changes.iter().filter(|change| {
        !has_run(&OnceRecord { name: change.name.clone(), sha256: change.sha256.clone() })
    });
    let actions: Vec<Action> = due
        .map(|change| Action::RunOnce { path: change.path.clone(), sha256: change.sha256.clone() })
        .collect();
    if observed.platform.is_image && !actions.is_empty() {
        let detail = format!("{} will run at the image's first boot", actions.len());
        return PlannedStep::as_wanted(id, detail);
    }
    let detail = match observed.custom_changes.len() {
        0 => "none".to_owned(),
        count => format!("{count} ran already"),
    };
    PlannedStep::doing(id, actions, detail)
}
