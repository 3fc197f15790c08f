//! Carries out a plan, step by step and action by action. `plan` has decided what is to be done;
//! whether it may still be done is checked again right before each irreversible action.

mod format;
mod initramfs;
mod mount;
mod progress;

use std::collections::VecDeque;

use crate::host::{FileWriteMode, Host};
use crate::observe;
use crate::packages;
use crate::plan::{self, Plan, PlannedStep};
use crate::platform;
use crate::record::{self, OnceRecord};
use crate::spec::Desired;
use crate::step::{Action, FileChange, Outcome, StepId, StepReport};
use crate::vmware;
use progress::go_on;
pub use progress::{Event, Watch};
use system::error::{Error, ErrorKind, Result};

/// The report of each step, and what went wrong.
#[derive(Debug)]
pub struct Carried {
    /// One report for each step of the plan.
    pub steps: Vec<StepReport>,
    /// The first error; the steps after it were not tried. A refusal only if nothing was changed.
    pub error: Option<Error>,
    /// Whether something was done that takes full effect only after a restart.
    pub needs_reboot: bool,
}

/// Carries out `plan`, which must not contain a refusal.
pub fn apply(host: &Host, plan: &Plan, desired: &Desired, watch: Watch<'_>) -> Carried {
    let mut steps = Vec::new();
    let mut done = Done::default();
    let mut error = check_free(host, plan).err();
    let mut rest: VecDeque<PlannedStep> = plan.steps.iter().cloned().collect();
    while let Some(step) = rest.pop_front() {
        let report = match &error {
            Some((failed, cause)) if *failed == step.id => failure(step.id, cause),
            Some((failed, _)) => not_tried(&step, *failed),
            None => match apply_step(host, &step, desired, &mut done, watch) {
                Ok(report) => {
                    error = replan(host, &step, &mut rest, desired).err();
                    report
                }
                Err(cause) => {
                    let report = failure(step.id, &cause);
                    error = Some((step.id, cause));
                    report
                }
            },
        };
        let _ = watch(&Event::StepFinished(&report));
        steps.push(report);
    }
    let error = error.map(|(_, error)| if done.actions > 0 { half_way(error) } else { error });
    Carried { steps, error, needs_reboot: done.needs_reboot }
}

/// What has been done so far.
#[derive(Debug, Default)]
struct Done {
    actions: usize,
    needs_reboot: bool,
}

/// A step, and why it cannot be taken.
type StepError = (StepId, Error);

/// Reports a busy disk that is to be formatted before anything else is changed.
fn check_free(host: &Host, plan: &Plan) -> std::result::Result<(), StepError> {
    for step in &plan.steps {
        for action in &step.actions {
            if let Action::Format(format) = action {
                host.open_device_exclusively(&format.path).map_err(|cause| (step.id, cause))?;
            }
        }
    }
    Ok(())
}

/// A refusal promises that nothing was touched; after the first change it becomes a failure.
fn half_way(error: Error) -> Error {
    if error.kind() != ErrorKind::Refused {
        return error;
    }
    let hint = error.hint().unwrap_or("run mtctl prepare again").to_owned();
    Error::failed("stopping after some changes were made", error).with_hint(hint)
}

fn replan(
    host: &Host,
    step: &PlannedStep,
    rest: &mut VecDeque<PlannedStep>,
    desired: &Desired,
) -> std::result::Result<(), StepError> {
    if step.actions.iter().any(|action| matches!(action, Action::Install { .. })) {
        let observed = observe::observe(host, desired).map_err(|cause| (step.id, cause))?;
        *rest = plan_again(&plan::plan(&observed, desired), rest)?;
    }
    Ok(())
}

/// Plans the remaining steps again: packages bring files of their own, and what was planned for a
/// missing file does not fit the file that a package has installed since. The new plan must not do
/// anything that was not agreed to: no other format, and no step where there was none.
fn plan_again(
    again: &Plan,
    rest: &VecDeque<PlannedStep>,
) -> std::result::Result<VecDeque<PlannedStep>, StepError> {
    let planned = |before: &PlannedStep| {
        let after = again.steps.iter().find(|step| step.id == before.id);
        // The new plan no longer shows that a finished step needs a restart.
        let after = after.filter(|after| after.needs_reboot || before.id != StepId::Reboot);
        after.unwrap_or(before).clone()
    };
    let again: VecDeque<PlannedStep> = rest.iter().map(planned).collect();
    for (before, after) in rest.iter().zip(&again) {
        if let plan::Standing::Refused(refusal) = &after.standing {
            return Err((after.id, refusal.clone().into()));
        }
        let is_agreed = |action: &&Action| match action {
            Action::Format(_) => before.actions.contains(action),
            _ => !before.actions.is_empty(),
        };
        if let Some(other) = after.actions.iter().find(|action| !is_agreed(action)) {
            let context = format!("the packages changed what has to be done: {other}");
            return Err((after.id, Error::refused(context).with_hint("run mtctl prepare again")));
        }
    }
    Ok(again)
}

fn not_tried(step: &PlannedStep, failed: StepId) -> StepReport {
    let mut report = step.report_undone();
    if !step.actions.is_empty() {
        report.detail = format!("not attempted, because {failed} failed");
    }
    report
}

fn failure(id: StepId, error: &Error) -> StepReport {
    let outcome =
        if error.kind() == ErrorKind::Refused { Outcome::Refused } else { Outcome::Failed };
    let mut detail = error.chain();
    if let Some(hint) = error.hint() {
        detail.push_str(&format!("; hint: {hint}"));
    }
    StepReport { id, outcome, detail }
}

fn apply_step(
    host: &Host,
    step: &PlannedStep,
    desired: &Desired,
    so_far: &mut Done,
    watch: Watch<'_>,
) -> Result<StepReport> {
    if step.actions.is_empty() {
        return Ok(step.report_undone());
    }
    go_on(watch(&Event::StepStarted(step.id)))?;
    if step.needs_reboot {
        remember_reboot(host)?;
        so_far.needs_reboot = true;
    }
    let mut done = Vec::new();
    for action in &step.actions {
        go_on(watch(&Event::ActionStarted(action)))?;
        tracing::info!(step = %step.id, action = %action, "doing");
        carry_out(host, action, desired, watch)?;
        so_far.actions += 1;
        done.push(action.to_string());
        go_on(watch(&Event::ActionFinished(action)))?;
    }
    let warning = step.warning.iter().map(|warning| format!("warning: {warning}"));
    let detail = done.into_iter().chain(warning).collect::<Vec<_>>().join("; ");
    Ok(StepReport { id: step.id, outcome: Outcome::Changed, detail })
}

/// Makes a later run in the same boot still report that a restart is needed. Stored before the
/// first change, because a crash after that change must not lose it.
fn remember_reboot(host: &Host) -> Result<()> {
    let mut record = record::load(host)?;
    record.reboot_pending = platform::boot_id(host);
    record::store(host, &record)
}

fn carry_out(host: &Host, action: &Action, desired: &Desired, watch: Watch<'_>) -> Result<()> {
    match action {
        Action::WriteFile(change) => write_file(host, change),
        Action::FixVmx(change) => {
            let survey = vmware::survey::Survey::read(host.machine(), &[&change.path])?;
            let refused = vmware::fix::UnknownUuids::Refused;
            vmware::fix::run(host.machine(), &survey, refused).map(|_| ())
        }
        Action::SetAttribute { path, after, .. } => host.machine().write_attribute(path, after),
        Action::Install { manager, packages, root } => {
            let commands = packages::install_commands(*manager, packages, root);
            commands.iter().try_for_each(|command| install(host, command, watch))
        }
        Action::Run { invocation, .. } => host.change(invocation, &mut |_| {}).map(|_| ()),
        Action::NoteInitramfsDue => initramfs::note_due(host),
        Action::RebuildInitramfs(invocation) => initramfs::rebuild(host, invocation),
        Action::Format(format) => format::format(host, format, desired, watch),
        Action::Adopt(volume) => format::adopt(host, volume),
        Action::MakeDirectory(path) => host.system().create_directories(path),
        Action::Mount { mount_point, filesystem, uuid, device } => {
            let volume = mount::Volume { mount_point, filesystem: *filesystem, uuid, device };
            mount::mount(host, &volume, watch)
        }
        Action::RunOnce { path, sha256 } => run_once(host, path, sha256, watch),
    }
}

/// A crash leaves the old file or the new one, never a mixture.
fn write_file(host: &Host, change: &FileChange) -> Result<()> {
    let found = host.system().text_if_exists(&change.path)?;
    if found != change.before {
        let context = format!("{} changed since the plan was made", change.path.display());
        return Err(Error::refused(context).with_hint("run mtctl prepare again"));
    }
    host.system().replace_text(&change.path, &change.after, FileWriteMode::Keep)
}

fn install(host: &Host, command: &crate::host::Invocation, watch: Watch<'_>) -> Result<()> {
    let installed = host.change(command, &mut |line| {
        let _ = watch(&Event::Line(line));
    });
    installed.map(|_| ()).map_err(|cause| {
        let hint = "make the package repositories reachable and run it again, or continue without \
                    them: mtctl prepare --skip packages";
        Error::failed("installing packages", cause).with_hint(hint)
    })
}

/// Records the script after it ran: a crash in between runs it again, and such scripts have to
/// tolerate that. The other order would silently lose a change.
fn run_once(host: &Host, path: &std::path::Path, sha256: &str, watch: Watch<'_>) -> Result<()> {
    let command = crate::host::Invocation::new(system::lossless_text::of_path(path));
    let ran = host.change(&command, &mut |line| {
        let _ = watch(&Event::Line(line));
    });
    ran.map_err(|error| {
        error.with_hint("fix the script and run mtctl prepare again: it is not recorded as run")
    })?;
    let flow = watch(&Event::Reached("the change ran, not recorded"));
    let mut record = record::load(host)?;
    let name = system::lossless_text::of_path(path.file_name().unwrap_or_default().as_ref());
    record.ran_once.retain(|once| once.name != name);
    record.ran_once.push(OnceRecord { name, sha256: sha256.to_owned() });
    record::store(host, &record)?;
    // Not earlier: stopping before the run is recorded would run the script twice.
    go_on(flow)
}

#[cfg(test)]
mod tests;
