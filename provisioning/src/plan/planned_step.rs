//! One step of a plan: its state before anything is done, and what it will do.

use crate::guard::Refusal;
use crate::step::{Action, Outcome, StepId, StepReport};

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
    pub(super) fn as_wanted(id: StepId, detail: impl Into<String>) -> Self {
        Self::new(id, Standing::AsWanted(detail.into()), Vec::new())
    }

    pub(super) fn refused(id: StepId, refusal: Refusal) -> Self {
        Self::new(id, Standing::Refused(refusal), Vec::new())
    }

    pub(super) fn not_ready(
        id: StepId,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::new(id, Standing::NotReady(Refusal::new(reason, hint)), Vec::new())
    }

    /// To do if there are actions, else as wanted.
    pub(super) fn doing(id: StepId, actions: Vec<Action>, detail: impl Into<String>) -> Self {
        if actions.is_empty() {
            return Self::as_wanted(id, detail);
        }
        let words: Vec<String> = actions.iter().map(ToString::to_string).collect();
        Self::new(id, Standing::ToDo(words.join("; ")), actions)
    }

    pub(super) fn new(id: StepId, standing: Standing, actions: Vec<Action>) -> Self {
        Self { id, standing, actions, needs_reboot: false, warning: None }
    }

    pub(super) fn with_reboot(mut self) -> Self {
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
