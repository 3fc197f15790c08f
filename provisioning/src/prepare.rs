//! `prepare` from beginning to end: lock, observe, plan; and, once agreed to, apply, observe and
//! plan again. The command does the showing and asking.

use nix::fcntl::FlockArg;

use crate::apply::{self, Carried, Watch};
use crate::host::{Host, lock_file};
use crate::observe::{self, Observed};
use crate::plan::{self, Plan};
use crate::spec::Desired;
use crate::step::{Outcome, Report};
use system::error::{Error, ErrorKind, Result};

/// A run that makes changes holds this lock exclusively; a run that only looks shares it.
const LOCK_PATH: &str = "/var/lib/mtctl/prepare.lock";

/// An observed host, and the plan for it.
pub struct Preparation<'h> {
    host: &'h Host,
    desired: Desired,
    observed: Observed,
    plan: Plan,
    _lock: Option<std::fs::File>,
}

/// Whether changes will follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Only the plan is wanted: nothing is created, not even a lock file.
    Look,
    /// The plan may be carried out.
    Change,
}

/// The result of a run, and the error that ended it early.
#[derive(Debug)]
pub struct Finished {
    /// The report for the operator.
    pub report: Report,
    /// The first error.
    pub error: Option<Error>,
}

impl<'h> Preparation<'h> {
    /// Takes the lock, observes the host, and makes the plan.
    ///
    /// # Errors
    /// Returns [`ErrorKind::Refused`] if another run holds the lock; otherwise fails as observing
    /// does.
    pub fn begin(host: &'h Host, desired: Desired, purpose: Purpose) -> Result<Self> {
        if purpose == Purpose::Change {
            check_permitted(host)?;
        }
        let lock = lock(host, purpose)?;
        let observed = observe::observe(host, &desired)?;
        let plan = plan::plan(&observed, &desired);
        Ok(Self { host, desired, observed, plan, _lock: lock })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The observed host.
    pub fn observed(&self) -> &Observed {
        &self.observed
    }

    /// The report of a run that changes nothing.
    pub fn report_undone(&self) -> Report {
        let steps = self.plan.steps.iter().map(plan::PlannedStep::report_undone).collect();
        Report { changed: 0, steps, reboot_required: self.needs_reboot() }
    }

    fn needs_reboot(&self) -> bool {
        self.observed.reboot_requested || self.plan.steps.iter().any(|step| step.needs_reboot)
    }

    /// Carries the plan out, then observes and plans again: a second plan that is not empty is a
    /// failure, even if each step worked.
    pub fn carry_out(self, watch: Watch<'_>) -> Finished {
        if self.plan.is_refused() || self.plan.is_empty() {
            return Finished { report: self.report_undone(), error: None };
        }
        let carried = apply::apply(self.host, &self.plan, &self.desired, watch);
        let reboot_required = carried.needs_reboot || self.observed.reboot_requested;
        let Carried { steps, mut error, .. } = carried;
        if error.is_none() {
            error = self.verify().err();
        }
        let changed = steps.iter().filter(|step| step.outcome == Outcome::Changed).count();
        Finished { report: Report { changed, steps, reboot_required }, error }
    }

    fn verify(&self) -> Result<()> {
        let observed = observe::observe(self.host, &self.desired)?;
        let again = plan::plan(&observed, &self.desired);
        let Some(step) = again.steps.iter().find(|step| {
            !step.actions.is_empty() || matches!(step.standing, plan::Standing::Refused(_))
        }) else {
            return Ok(());
        };
        let context = format!("verifying: {} is not as planned", step.id);
        let still = step.report_undone().detail;
        Err(Error::new(ErrorKind::Failed, context)
            .caused_by(still)
            .with_hint("something else changes this host; run mtctl prepare again and compare"))
    }
}

/// Changing the running host requires root; a mounted image may belong to anybody.
fn check_permitted(host: &Host) -> Result<()> {
    if !host.is_live() || host.image().is_some() || nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::refused("preparing this host needs root").with_hint("run it as root, or with sudo"))
}

fn lock(host: &Host, purpose: Purpose) -> Result<Option<std::fs::File>> {
    let create = purpose == Purpose::Change;
    let Some(file) = host.system().open_lock_file(LOCK_PATH, create)? else { return Ok(None) };
    let how = match purpose {
        Purpose::Look => FlockArg::LockSharedNonblock,
        Purpose::Change => FlockArg::LockExclusiveNonblock,
    };
    lock_file(&file, how).map_err(|cause| {
        Error::refused("another mtctl prepare is running")
            .caused_by(cause)
            .with_hint(format!("wait for it; find it with: fuser -v {LOCK_PATH}"))
    })?;
    Ok(Some(file))
}
