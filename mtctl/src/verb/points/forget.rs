//! `mtctl points forget`: removes points, by the group's policy or by name, after showing them and
//! asking.

use std::io::Write;

use blockio::group::GroupView;
use blockio::journal::catalogue::{Point, PointId};
use blockio::journal::selector::{self, Selector};
use clap::Args;
use serde::Serialize;

use super::show::{self, JsonPoint};
use crate::attention;
use crate::completion;
use crate::document;
use crate::exit::Exit;
use crate::group_place::{self, GroupOptions};
use crate::{open_exports, output, own_run, question};

const EXAMPLES: &str = "\
Examples:
  mtctl points forget --group web --dry-run     what the settings no longer keep
  mtctl points forget --group web --yes         drop it now, and not with the next point
  mtctl points forget 3 before-upgrade --group web

The settings of a group are changed with mtctl group set. Pinned points, the newest one, and the one
that the disks were rolled back to stay. Earlier points that are kept can still be reached.";

/// What was typed after `mtctl points forget`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Forget {
    /// Which points [default: those that the settings of the group no longer keep]
    #[arg(value_name = "POINT", add = completion::points())]
    points: Vec<Selector>,

    #[command(flatten)]
    of: GroupOptions,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Show what would be dropped, and change nothing; exit 3 if something would
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Stable: fields are added, never changed.
#[derive(Serialize)]
struct Json<'a> {
    points: Vec<JsonPoint<'a>>,
    dry_run: bool,
}

/// Forgets the points.
pub(super) fn run(arguments: &Forget) -> anyhow::Result<Exit> {
    if arguments.dry_run {
        let group = arguments.of.look()?;
        let ids = meant(&group, arguments)?;
        print(&group, &ids, arguments)?;
        return Ok(if ids.is_empty() { Exit::Done } else { Exit::NotReady });
    }
    let mut group = arguments.of.open()?;
    let ids = meant(group.view(), arguments)?;
    let before = group.view().clone();
    if ids.is_empty() {
        print(&before, &ids, arguments)?;
        return Ok(Exit::Done);
    }
    group_place::require_history(group.view())?;
    if !arguments.json {
        print(&before, &ids, arguments)?;
    }
    let count = output::counted(ids.len() as u64, "point");
    open_exports::tell_of_those(&arguments.of.place()?, |point| ids.contains(&point));
    question::require_yes(&format!("Forget {count}? This cannot be undone."), arguments.yes)?;
    group.open_history(blockio::apply::HistorySettings::default())?;
    let points: Vec<_> = ids.iter().map(ToString::to_string).collect();
    let run = own_run::at(group.view(), "points forget", &points.join(" "));
    own_run::begins(group.begin_run(&run));
    group.forget(&ids)?;
    attention::warn_of(&group.take_notes());
    if arguments.json {
        print(&before, &ids, arguments)?;
    } else {
        let mut out = output::stdout();
        writeln!(out, "forgotten: {count}")?;
        out.flush()?;
    }
    Ok(Exit::Done)
}

/// The points to be removed, ascending.
fn meant(group: &GroupView, arguments: &Forget) -> anyhow::Result<Vec<PointId>> {
    if arguments.points.is_empty() {
        return Ok(group.due()?);
    }
    let known = group.catalogue()?;
    let found = arguments.points.iter().map(|point| Ok(selector::find(known, point)?.id));
    let mut ids = found.collect::<anyhow::Result<Vec<_>>>()?;
    ids.sort_unstable();
    ids.dedup();
    group.require_may_go(&ids)?;
    Ok(ids)
}

fn print(group: &GroupView, ids: &[PointId], arguments: &Forget) -> anyhow::Result<()> {
    let known = group.catalogue()?;
    let points: Vec<&Point> = ids.iter().filter_map(|id| known.point(*id)).collect();
    let mut out = output::stdout();
    if arguments.json {
        let points = points.into_iter().map(show::json).collect();
        document::print(&mut out, &Json { points, dry_run: arguments.dry_run })?;
    } else if points.is_empty() {
        writeln!(out, "nothing to do: there is no point to drop")?;
    } else {
        show::table(&mut out, &points, &None)?;
    }
    Ok(out.flush()?)
}
