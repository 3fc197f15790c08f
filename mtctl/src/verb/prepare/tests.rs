//! When `mtctl prepare` only looks, and its exit codes in these cases.

use clap::Parser;
use provisioning::guard::Refusal;
use provisioning::plan::PlannedStep;
use provisioning::step::Action;

use super::*;
use crate::cli::{Cli, Command};

fn arguments(typed: &[&str]) -> Arguments {
    let typed = ["mtctl", "prepare"].iter().chain(typed);
    match Cli::try_parse_from(typed).unwrap().command {
        Command::Prepare(arguments) => arguments,
        other => panic!("{other:?}"),
    }
}

fn step(standing: Standing, actions: Vec<Action>) -> PlannedStep {
    let id = StepId::Platform;
    PlannedStep { id, standing, actions, needs_reboot: false, warning: None }
}

#[test]
fn a_plan_that_nobody_reads_is_a_failure_and_not_taken_for_done() {
    let closed = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
    assert_eq!(report::failure(&plan_not_shown(closed).into()), Exit::Failed);
}

#[test]
fn nothing_is_changed_unless_somebody_agrees_or_can_be_asked() {
    let rows: [(&[&str], bool, Option<WhyDry>); 7] = [
        (&[], true, None),
        (&[], false, Some(WhyDry::NobodyToAsk)),
        (&["--json"], true, Some(WhyDry::NobodyToAsk)),
        (&["--yes"], false, None),
        (&["--yes", "--json"], false, None),
        (&["--dry-run"], true, Some(WhyDry::Asked)),
        (&["--recorded", "x.json", "--yes"], true, Some(WhyDry::Recorded)),
    ];
    for (typed, has_terminal, expected) in rows {
        assert_eq!(why_dry(&arguments(typed), has_terminal), expected, "{typed:?} {has_terminal}");
    }
}

#[test]
fn what_is_to_do_and_what_cannot_be_mended_exit_alike() {
    let refusal = || Refusal::new("too old", "a newer one");
    let as_wanted = step(Standing::AsWanted("fine".into()), Vec::new());
    let not_ready = step(Standing::NotReady(refusal()), Vec::new());
    let refused = step(Standing::Refused(refusal()), Vec::new());
    let to_do = step(Standing::ToDo("x".into()), vec![Action::MakeDirectory("/x".into())]);
    let rows = [
        (vec![as_wanted.clone()], Exit::Done),
        (vec![not_ready.clone(), as_wanted], Exit::NotReady),
        (vec![to_do.clone(), not_ready], Exit::NotReady),
        (vec![to_do, refused], Exit::Refused),
    ];
    for (steps, expected) in rows {
        let plan = Plan { steps };
        assert_eq!(exit_undone(&plan), expected, "{plan:?}");
    }
}
