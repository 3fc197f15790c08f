//! `mtctl recover`: brings disks that are in-between back to a state that their group knows.
//! `blockio::recover` decides what that takes.

use std::io::Write;

use blockio::group::{GroupView, Whereabouts};
use blockio::journal::catalogue::PointId;
use blockio::journal::selector;
use blockio::recover::{Recovery, needed};
use clap::Args;

use crate::alarms;
use crate::document;
use crate::exit::Exit;
use crate::group_place::GroupOptions;
use crate::policy_options::PolicyOptions;
use crate::undo_options::UndoOptions;
use crate::verb::rollback::{self, How};
use crate::{group_targets, open_exports, output, question};

const EXAMPLES: &str = "\
Examples:
  mtctl recover --group web
  mtctl recover --group web --yes

After a crash, applying the same stream again continues where it stopped, without recover. This verb
does the opposite: it goes back to the last recovery point, or finishes an interrupted rollback.";

const WITHIN_A_STREAM: &str = "apply it again to continue; to apply another one instead: mtctl \
                               apply --accept-unfinished";

const APPLY_AGAIN: &str = "it continues where it stopped; if it is lost, replace everything with a \
                           raw image: mtctl apply --format raw --accept-unfinished";

/// What was typed after `mtctl recover`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    of: GroupOptions,

    #[command(flatten)]
    policy: PolicyOptions,

    /// Accept disks that may not be the group's, or also belong to another group
    #[arg(long)]
    accept_target: bool,

    #[command(flatten)]
    undo: UndoOptions,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Recovers the disks.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let group = arguments.of.open()?;
    let (id, why): (PointId, &str) = match needed(group.view()) {
        Recovery::AtCheckpoint => {
            group_targets::require_as_left(group.view(), arguments.accept_target)?;
            let mut out = output::stdout();
            if arguments.json {
                let within = match group.view().whereabouts() {
                    Whereabouts::WithinStream(volumes) => volumes,
                    _ => Vec::new(),
                };
                let nothing = serde_json::json!({
                    "complete": true, "bytes": 0, "within_a_stream": within
                });
                document::print(&mut out, &nothing)?;
            } else {
                writeln!(out, "nothing to do: the disks are in a known state")?;
                if let Whereabouts::WithinStream(_) = group.view().whereabouts() {
                    writeln!(out, "{}", output::wrapped(&within_a_stream(group.view()), 2))?;
                }
                out.flush()?;
            }
            return Ok(Exit::Done);
        }
        Recovery::FinishRollback(id) => (id, "a rollback was cut short"),
        Recovery::BackTo(id) => (id, "a run was cut short"),
        Recovery::ApplyAgain => {
            let context = format!("group {} has no history to roll back with", group.view().name());
            let files = alarms::begun_files(group.view());
            let hint = format!("apply the same stream again{files}: {APPLY_AGAIN}");
            return Err(system::Error::refused(context).with_hint(hint).into());
        }
    };
    let point = group.view().catalogue()?.point(id);
    let shown = point.map_or_else(|| format!("point {id}"), selector::shown);
    let accept_target = arguments.accept_target;
    let assignments = group_targets::open(group.view(), &arguments.of, accept_target)?;
    let cost = arguments.undo.cost(group.view().catalogue()?, id);
    let undo = arguments.undo;
    open_exports::tell_of_those(&arguments.of.place()?, |point| undo.takes(point, id));
    question::require_yes(&format!("{why}: go back to {shown}{cost}?"), arguments.yes)?;
    let how = How {
        verb: "recover",
        policy: &arguments.policy,
        accept_target,
        undo: arguments.undo,
        json: arguments.json,
    };
    rollback::carry_out(group, assignments, id, &shown, &how)
}

fn within_a_stream(group: &GroupView) -> String {
    let files = alarms::begun_files(group);
    format!("they are in the middle of a stream{files}: {WITHIN_A_STREAM}")
}
