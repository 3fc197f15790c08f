//! `mtctl commit`: accepts the disks of a group as they are, and drops its history.
//! `blockio::commit` proves that they are at a recovery point.

use std::io::Write;
use std::sync::atomic::AtomicBool;

use blockio::apply::HistorySettings;
use blockio::assignment::Assignment;
use blockio::commit::{self, Proof, Volume};
use blockio::device::Engine;
use blockio::group::{Group, GroupView};
use blockio::journal::catalogue::{Catalogue, PointId};
use blockio::journal::selector;
use blockio::target_check;
use clap::Args;
use system::size;

use crate::attention;
use crate::byte_progress::ByteProgress;
use crate::document;
use crate::exit::Exit;
use crate::group_place::GroupOptions;
use crate::other_groups::OtherGroups;
use crate::policy_options::PolicyOptions;
use crate::{group_targets, open_exports, output, own_run, question};

const EXAMPLES: &str = "\
Examples:
  mtctl commit --group web
  mtctl commit --group web --yes

The disks must be at a recovery point: the last one, with nothing written since, or the one that
they were rolled back to. They are compared with the history before it is dropped. A commit cannot
be undone.";

/// What was typed after `mtctl commit`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    of: GroupOptions,

    #[command(flatten)]
    policy: PolicyOptions,

    /// Accept disks that may not be the group's, are not as it left them, or also belong to another
    /// group
    #[arg(long)]
    accept_target: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

const QUESTION: &str = "Accept the disks as they are? This cannot be undone.";

/// Commits the group.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut group = arguments.of.open()?;
    if commit::is_done(&mut group)? {
        return nothing_to_do(&group, arguments);
    }
    let points = group.view().catalogue()?.recovery_points().count();
    let bytes = group.view().state().journal.as_ref().map_or(0, Catalogue::journal_bytes);
    arguments.policy.settle(&mut group, None)?;
    let proof = commit::where_it_is(&mut group, HistorySettings::default())?;
    let id = proof.point();
    let shown = shown(group.view(), id);
    if !arguments.json {
        let text = format!(
            "the disks are at {shown}; the commit drops {} of history and {}",
            size::binary(bytes),
            output::counted(points as u64, "recovery point")
        );
        let mut out = output::stdout();
        writeln!(out, "{}", output::wrapped(&text, 2))?;
        out.flush()?;
    }
    open_exports::tell_of_those(&arguments.of.place()?, |_| true);
    question::require_yes(QUESTION, arguments.yes)?;
    let proven = prove(group.view(), proof, arguments)?;
    own_run::begins(group.begin_run(&own_run::at(group.view(), "commit", &shown)));
    group.commit()?;
    let mut out = output::stdout();
    if arguments.json {
        let done = serde_json::json!({
            "point": id.0,
            "dropped_points": points,
            "compared_bytes": proven.compared_bytes,
            "not_known": proven.not_known,
        });
        document::print(&mut out, &done)?;
    } else {
        writeln!(out, "committed: the history of group {} was dropped", group.view().name())?;
        for text in &proven.not_known {
            writeln!(out, "{}", output::wrapped(&format!("not known: {text}"), 2))?;
        }
        out.flush()?;
    }
    Ok(Exit::Done)
}

fn nothing_to_do(group: &Group, arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut out = output::stdout();
    if arguments.json {
        let nothing = serde_json::json!({
            "point": null, "dropped_points": 0, "compared_bytes": 0, "not_known": [],
        });
        document::print(&mut out, &nothing)?;
    } else {
        let name = group.view().name();
        let text = format!("nothing to do: group {name} was already committed");
        writeln!(out, "{}", output::wrapped(&text, 2))?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn shown(group: &GroupView, id: PointId) -> String {
    let point = group.state().journal.as_ref().and_then(|known| known.point(id));
    point.map_or_else(|| format!("point {id}"), selector::shown)
}

/// What was proved, and what could not be.
struct Proven {
    compared_bytes: u64,
    not_known: Vec<String>,
}

/// Checks that the disks belong to the group and to nobody else, and hold what the history says, as
/// far as it goes back.
fn prove(group: &GroupView, proof: Proof, arguments: &Arguments) -> anyhow::Result<Proven> {
    let stop = crate::stop::flag()?;
    let accept = arguments.accept_target;
    let mut assignments = match (group_targets::open(group, &arguments.of, accept), proof) {
        // Nothing has to be compared with the history, and the machines may have their disks back
        // by now.
        (Err(error), Proof::NothingWritten(_)) if accept => {
            let not_known = vec![format!("the disks could not be inspected: {error:#}")];
            return Ok(Proven { compared_bytes: 0, not_known });
        }
        (opened, _) => opened?,
    };
    let all = assignments.as_mut_slice();
    let notes = match proof {
        // Everything that was overwritten is compared below, which proves more than samples.
        Proof::RolledBack(_) => target_check::check_kind(group, all, accept)?,
        Proof::NothingWritten(_) => target_check::check(group, all, accept)?,
    };
    attention::warn_of(&notes);
    let mut compared_bytes = 0;
    let mut not_known = Vec::new();
    match proof {
        Proof::RolledBack(point) => {
            compared_bytes = compare(group, point, assignments, &stop)?;
            not_known.push(
                "blocks not overwritten since the point were not compared: nothing else should \
                 have written to them"
                    .to_owned(),
            );
        }
        Proof::NothingWritten(_) if !group.state().knows_content() => not_known.push(
            "this group wrote nothing since the point; the content of the disks at that time is \
             not known and was not compared (only `mtctl verify` can)"
                .to_owned(),
        ),
        Proof::NothingWritten(_) => not_known.push(
            "this group wrote nothing since the point, and samples of the disks match; only \
             `mtctl verify` compares everything"
                .to_owned(),
        ),
    }
    let others = OtherGroups::than(&arguments.of.group, Some(&arguments.of.place()?))?;
    let unreadable = others.unreadable();
    if unreadable > 0 {
        not_known.push(format!(
            "{} of other groups cannot be read; those groups may also have these disks",
            output::counted(unreadable as u64, "state")
        ));
    }
    Ok(Proven { compared_bytes, not_known })
}

/// Compares, and returns the number of bytes compared.
fn compare(
    group: &GroupView,
    point: PointId,
    assignments: Vec<Assignment>,
    stop: &AtomicBool,
) -> anyhow::Result<u64> {
    let mut volumes = Vec::new();
    for mut assignment in assignments {
        let device = assignment.target.open(Engine::Auto)?;
        let name = assignment.volume;
        volumes.push(Volume { name, device });
    }
    let (mut progress, mut compared): (Option<ByteProgress>, u64) = (None, 0);
    commit::compare(group, point, &mut volumes, stop, &mut |done, of| {
        compared = done;
        progress.get_or_insert_with(|| ByteProgress::new(Some(of))).at(done);
    })?;
    Ok(compared)
}
