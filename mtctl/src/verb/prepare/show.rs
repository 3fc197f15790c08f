//! A plan and a report for people: files as unified diffs, everything else as sentences.

use std::io::Write;

use anstyle::Style;
use provisioning::plan::{Plan, PlannedStep, Standing};
use provisioning::step::{Action, FileChange, Outcome, Report};

use crate::output::{DIM, GREEN, RED, YELLOW, coloured, wrapped};

/// Width of the columns to the left of a step's text.
const INDENT: usize = 26;

/// Why nothing may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhyDry {
    /// The operator asked for a dry run.
    Asked,
    /// The host is a recorded one.
    Recorded,
    /// Nobody has agreed, and nobody can be asked.
    NobodyToAsk,
}

/// Prints every step and what it will do.
pub(super) fn plan(out: &mut impl Write, plan: &Plan) -> std::io::Result<()> {
    for step in &plan.steps {
        planned(out, step)?;
        if let Some(warning) = &step.warning {
            row(out, "warning", YELLOW, step.id.name(), warning)?;
        }
    }
    Ok(())
}

fn planned(out: &mut impl Write, step: &PlannedStep) -> std::io::Result<()> {
    match &step.standing {
        Standing::AsWanted(detail) => row(out, "ok", GREEN, step.id.name(), detail),
        Standing::ToDo(_) => {
            let count = step.actions.len();
            let noun = if count == 1 { "change" } else { "changes" };
            let text = format!("{count} {noun}:");
            row(out, "to do", YELLOW, step.id.name(), &text)?;
            step.actions.iter().try_for_each(|one| action(out, one))
        }
        Standing::Refused(refusal) => {
            row(out, "REFUSED", RED, step.id.name(), &refusal.reason)?;
            hint(out, &refusal.hint)
        }
        Standing::NotReady(refusal) => {
            row(out, "NOT READY", RED, step.id.name(), &refusal.reason)?;
            hint(out, &refusal.hint)
        }
    }
}

fn row(
    out: &mut impl Write,
    word: &str,
    style: Style,
    id: &str,
    text: &str,
) -> std::io::Result<()> {
    let word = coloured(&format!("{word:9}"), style);
    writeln!(out, "{word} {id:14}  {}", wrapped(text, INDENT))
}

fn hint(out: &mut impl Write, hint: &str) -> std::io::Result<()> {
    // Further left than the text it belongs to, so that a command in it is more likely to fit on
    // one line.
    writeln!(out, "{:10}-> {}", "", wrapped(hint, 13))
}

fn action(out: &mut impl Write, action: &Action) -> std::io::Result<()> {
    writeln!(out, "  - {}", wrapped(&action.to_string(), 4))?;
    match action {
        Action::WriteFile(change) | Action::FixVmx(change) => diff(out, change),
        Action::SetAttribute { .. }
        | Action::Install { .. }
        | Action::Run { .. }
        | Action::NoteInitramfsDue
        | Action::RebuildInitramfs(_)
        | Action::Format(_)
        | Action::Adopt(_)
        | Action::MakeDirectory(_)
        | Action::Mount { .. }
        | Action::RunOnce { .. } => Ok(()),
    }
}

fn diff(out: &mut impl Write, change: &FileChange) -> std::io::Result<()> {
    for line in change.unified_diff().lines() {
        let style = match line.as_bytes().first() {
            Some(b'+') => GREEN,
            Some(b'-') => RED,
            _ => DIM,
        };
        writeln!(out, "      {}", coloured(line, style))?;
    }
    Ok(())
}

/// Prints the end of a run that changes nothing; a refusal is reported elsewhere.
pub(super) fn summary(
    out: &mut impl Write,
    plan: &Plan,
    why_dry: Option<WhyDry>,
) -> std::io::Result<()> {
    if plan.is_refused() {
        return Ok(());
    }
    writeln!(out)?;
    if plan.is_empty() && plan.is_not_ready() {
        return writeln!(out, "Not ready, but there is nothing that mtctl can change: 0 changed.");
    }
    if plan.is_empty() {
        return writeln!(out, "Nothing to do: 0 changed.");
    }
    match why_dry {
        Some(WhyDry::NobodyToAsk) => {
            let why = "not run on a terminal and without --yes";
            writeln!(out, "Dry run ({why}): nothing was touched. To do it, add --yes.")
        }
        Some(WhyDry::Recorded) => writeln!(out, "Dry run (a recorded host): nothing was touched."),
        Some(WhyDry::Asked) | None => writeln!(out, "Dry run: nothing was touched."),
    }
}

/// Prints what was done.
pub(super) fn report(out: &mut impl Write, report: &Report) -> std::io::Result<()> {
    writeln!(out)?;
    for step in &report.steps {
        let (word, style) = match step.outcome {
            Outcome::Unchanged => ("unchanged", DIM),
            Outcome::Changed => ("changed", GREEN),
            Outcome::Refused => ("REFUSED", RED),
            Outcome::Failed => ("FAILED", RED),
        };
        // The changes are listed above, in the plan.
        let detail = if step.outcome == Outcome::Changed { "as planned" } else { &step.detail };
        row(out, word, style, step.id.name(), detail)?;
    }
    let reboot = if report.reboot_required { " A restart is required: reboot" } else { "" };
    writeln!(out, "\n{} changed.{reboot}", report.changed)
}
