//! Findings that are what a step of `prepare` says.

use crate::finding::Finding;
use crate::observe::Observed;
use crate::plan::{self, Standing};
use crate::spec::Desired;
use crate::step::StepId;

/// A finding for a step of `prepare`: passes if the step has nothing to do.
pub(super) fn by_plan(
    id: &'static str,
    step: StepId,
    subject: &str,
    observed: &Observed,
    desired: &Desired,
) -> Finding {
    let planned = plan::plan_step(step, observed, desired);
    match planned.standing {
        Standing::AsWanted(detail) => Finding::pass(id, subject, detail),
        Standing::ToDo(_) => {
            let count = planned.actions.len();
            let noun = if count == 1 { "change is" } else { "changes are" };
            let first = planned.actions.first().map(ToString::to_string).unwrap_or_default();
            let more = if count > 1 { ", …" } else { "" };
            Finding::fail(id, subject, format!("{count} {noun} missing: {first}{more}"))
                .hint(format!("mtctl prepare --only {step}"))
        }
        Standing::Refused(refusal) | Standing::NotReady(refusal) => {
            Finding::fail(id, subject, refusal.reason).hint(refusal.hint)
        }
    }
}
