//! Turns what is observed and what is desired into what has to be done: a value, made without
//! touching anything. Printing it is the dry run; `apply` carries it out.

pub(crate) mod enable_uuid;
pub(crate) mod identities;
pub(crate) mod multipath;
pub(crate) mod packages;
pub(crate) mod platform;
mod separation;
pub(crate) mod tuning;

use crate::guard::Refusal;
use crate::observe::Observed;
use crate::record::OnceRecord;
use crate::retention;
use crate::spec::Desired;
use crate::step::{Action, FileChange, Outcome, StepId, StepReport};

/// The state of a step before anything is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As wanted; in words.
    AsWanted(String),
    /// There is something to do; in words.
    ToDo(String),
    /// A guard refuses: then no step of the plan is taken.
    Refused(Refusal),
    /// Not as required, and this program cannot change it; other steps are taken nevertheless.
    NotReady(Refusal),
}

/// A step, its standing, and what it will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    /// The step.
    pub id: StepId,
    /// Its state before anything is done.
    pub standing: Standing,
    /// What it will do, in order; empty unless there is something to do.
    pub actions: Vec<Action>,
    /// Whether its actions take full effect only after a restart.
    pub needs_reboot: bool,
    /// Something that could be better, in words; it prevents nothing.
    pub warning: Option<String>,
}

impl PlannedStep {
    fn as_wanted(id: StepId, detail: impl Into<String>) -> Self {
        Self::new(id, Standing::AsWanted(detail.into()), Vec::new())
    }

    fn refused(id: StepId, refusal: Refusal) -> Self {
        Self::new(id, Standing::Refused(refusal), Vec::new())
    }

    fn not_ready(id: StepId, reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(id, Standing::NotReady(Refusal::new(reason, hint)), Vec::new())
    }

    /// To do if there are actions, else as wanted.
    fn doing(id: StepId, actions: Vec<Action>, detail: impl Into<String>) -> Self {
        if actions.is_empty() {
            return Self::as_wanted(id, detail);
        }
        let words: Vec<String> = actions.iter().map(ToString::to_string).collect();
        Self::new(id, Standing::ToDo(words.join("; ")), actions)
    }

    fn new(id: StepId, standing: Standing, actions: Vec<Action>) -> Self {
        Self { id, standing, actions, needs_reboot: false, warning: None }
    }

    fn with_reboot(mut self) -> Self {
        self.needs_reboot = !self.actions.is_empty();
        self
    }

    /// The report of this step if none of it is carried out.
    pub fn report_undone(&self) -> StepReport {
        let (outcome, mut detail) = match &self.standing {
            Standing::AsWanted(detail) => (Outcome::Unchanged, detail.clone()),
            Standing::ToDo(detail) => (Outcome::Unchanged, format!("not done: {detail}")),
            Standing::Refused(refusal) => (Outcome::Refused, said(refusal)),
            Standing::NotReady(refusal) => (Outcome::Failed, said(refusal)),
        };
        if let Some(warning) = &self.warning {
            detail.push_str(&format!("; warning: {warning}"));
        }
        StepReport { id: self.id, outcome, detail }
    }
}

/// A refusal and its hint as one detail.
pub fn said(refusal: &Refusal) -> String {
    format!("{}; hint: {}", refusal.reason, refusal.hint)
}

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
        step.standing = Standing::AsWanted("needed before all of it is in effect: reboot".into());
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

/// The action that gives the file at `path` the contents `after`, unless it already has them. A
/// missing file is equivalent to an empty one.
fn write(observed: &Observed, path: &str, after: String) -> Option<Action> {
    let before = observed.file(path).map(str::to_owned);
    if before.as_deref().unwrap_or_default() == after {
        return None;
    }
    Some(Action::WriteFile(FileChange { path: path.into(), before, after }))
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
        let detail = format!("{} to run at the image's first boot", actions.len());
        return PlannedStep::as_wanted(id, detail);
    }
    let detail = match observed.custom_changes.len() {
        0 => "none".to_owned(),
        count => format!("{count} ran once already"),
    };
    PlannedStep::doing(id, actions, detail)
}
