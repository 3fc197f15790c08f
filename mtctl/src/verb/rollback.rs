//! `mtctl rollback`: shows what will change, asks, and brings the disks of a group back to a
//! recovery point. `blockio::rollback` does the work.

use std::io::Write;
use std::time::Instant;

use blockio::apply::HistorySettings;
use blockio::assignment::Assignment;
use blockio::group::{Group, GroupView};
use blockio::journal::catalogue::PointId;
use blockio::journal::selector::{self, Selector};
use blockio::rollback::{self, Asked, Ending, Preview, RollbackEvent, RollbackJob};
use blockio::volume_name::VolumeName;
use clap::Args;
use serde::Serialize;
use system::size;

use crate::attention;
use crate::byte_progress::ByteProgress;
use crate::completion;
use crate::document;
use crate::exit::Exit;
use crate::group_place::GroupOptions;
use crate::policy_options::PolicyOptions;
use crate::undo_options::UndoOptions;
use crate::{group_targets, open_exports, output, own_run, question, remedy};

const EXAMPLES: &str = "\
Examples:
  mtctl rollback --group web --to latest-app
  mtctl rollback --group web --to before-upgrade --yes
  mtctl rollback --group web --to 2026-11-22T03:00:00Z --dry-run     what would be written

What gets overwritten is kept, so that until the commit you can roll back to any other point,
earlier or later, except with --without-undo. If it is interrupted, the same command continues.";

/// What was typed after `mtctl rollback`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    of: GroupOptions,

    /// The destination: a number, a name, a time, latest, latest-app, or start
    #[arg(long, value_name = "POINT", add = completion::points())]
    to: Selector,

    #[command(flatten)]
    policy: PolicyOptions,

    /// Accept disks that may not be the group's, are not as it left them, or also belong to another
    /// group
    #[arg(long)]
    accept_target: bool,

    #[command(flatten)]
    undo: UndoOptions,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Show what would be written, and write nothing; exit 3 if something would be
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was done. Stable: fields are added, never changed.
#[derive(Serialize)]
struct Json {
    point: u64,
    /// How many were written.
    bytes: u64,
    /// How many were not written, because the disks held them.
    bytes_already_right: u64,
    seconds: f64,
    complete: bool,
    given_up_points: u64,
}

/// What would be done. Stable: fields are added, never changed.
#[derive(Serialize)]
struct JsonPreview<'a> {
    point: u64,
    volumes: Vec<JsonVolume<'a>>,
    given_up_points: u64,
    points_for_room: Vec<u64>,
    nothing_to_do: bool,
    dry_run: bool,
}

#[derive(Serialize)]
struct JsonVolume<'a> {
    volume: &'a VolumeName,
    bytes: u64,
}

/// Rolls back the disks.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let Arguments { of, policy, accept_target, undo, json, dry_run, .. } = arguments;
    let mut group = of.open_unless_dry(*dry_run)?;
    let point = selector::find(group.view().catalogue()?, &arguments.to)?;
    let (id, shown) = (point.id, selector::shown(point));
    policy.settle(&mut group, None)?;
    let mut assignments = group_targets::open(group.view(), of, *accept_target)?;
    // With JSON, a rollback prints only its result.
    let mut nothing_to_do = false;
    if *dry_run || !json {
        let preview = preview(group.view(), &mut assignments, id, arguments)?;
        nothing_to_do = preview.nothing_to_do;
        match json {
            true => print_preview(id, &preview)?,
            false => show_preview(group.view(), &assignments, &shown, &preview, *dry_run)?,
        }
    }
    if *dry_run {
        return Ok(if nothing_to_do { Exit::Done } else { Exit::NotReady });
    }
    open_exports::tell_of_those(&of.place()?, |point| undo.takes(point, id));
    if !nothing_to_do {
        let cost = undo.cost(group.view().catalogue()?, id);
        question::require_yes(&format!("Roll back to {shown}{cost}?"), arguments.yes)?;
    }
    let (accept_target, undo, json) = (*accept_target, *undo, *json);
    let how = How { verb: "rollback", policy, accept_target, undo, json };
    carry_out(group, assignments, id, &shown, &how)
}

/// What would be done; for a dry run, with everything that a rollback determines before it writes.
fn preview(
    group: &GroupView,
    assignments: &mut [Assignment],
    to: PointId,
    arguments: &Arguments,
) -> anyhow::Result<Preview> {
    let asked = Asked {
        group,
        assignments,
        to,
        accept_target: arguments.accept_target,
        may_give_up_points: arguments.undo.give_up_points,
        without_undo: arguments.undo.without_undo,
        history: &HistorySettings::default(),
        is_whole: arguments.dry_run,
    };
    let stop = crate::stop::flag()?;
    let mut progress: Option<(ByteProgress, bool)> = None;
    let preview = rollback::preview(asked, &stop, &mut |event| match event {
        // The rollback itself reports it again.
        RollbackEvent::Notice(_) if !arguments.dry_run => {}
        event => show(&mut progress, event),
    });
    Ok(preview?)
}

fn print_preview(id: PointId, preview: &Preview) -> anyhow::Result<()> {
    let volumes = preview.volumes.iter();
    let document = JsonPreview {
        point: id.0,
        volumes: volumes.map(|(name, bytes)| JsonVolume { volume: name, bytes: *bytes }).collect(),
        given_up_points: preview.given_up.len() as u64,
        points_for_room: preview.for_room.iter().map(|point| point.0).collect(),
        nothing_to_do: preview.nothing_to_do,
        dry_run: true,
    };
    let mut out = output::stdout();
    document::print(&mut out, &document)?;
    Ok(out.flush()?)
}

/// The most points to be removed that are named.
const POINTS_SHOWN_MAX: usize = 8;

fn show_preview(
    group: &GroupView,
    assignments: &[Assignment],
    shown: &str,
    preview: &Preview,
    dry_run: bool,
) -> anyhow::Result<()> {
    let mut out = output::stdout();
    if preview.nothing_to_do {
        // Otherwise this is printed once it is certain.
        if dry_run {
            let text = format!("nothing to do: the disks are at {shown}");
            writeln!(out, "{}", output::wrapped(&text, 2))?;
        }
        return Ok(out.flush()?);
    }
    writeln!(out, "{}", output::wrapped(&format!("back to {shown}"), 2))?;
    let mut table = output::table(&["VOLUME", "DISK", "TO BE WRITTEN"]);
    for (name, bytes) in &preview.volumes {
        // Where it is now: the group may know it by another path.
        let disk = assignments.iter().find(|one| one.volume == *name);
        let disk = disk.map(|one| one.identity.name.clone()).unwrap_or_default();
        table.add_row([name.in_a_table(), disk, size::binary(*bytes)]);
    }
    output::print_table(&mut out, &table)?;
    let known = group.catalogue()?;
    let mut say = |what: &str, points: &[PointId]| match points {
        [] => Ok(()),
        points => {
            let points: Vec<_> = points.iter().filter_map(|id| known.point(*id)).collect();
            let shown = points.iter().take(POINTS_SHOWN_MAX).map(|point| selector::shown(point));
            let mut all: Vec<_> = shown.collect();
            let more = points.len().saturating_sub(POINTS_SHOWN_MAX);
            all.extend((more > 0).then(|| format!("and {more} more")));
            writeln!(out, "{}", output::wrapped(&format!("{what}: {}", all.join("; ")), 2))
        }
    };
    let count = output::counted(preview.given_up.len() as u64, "point");
    say(&format!("given up: {count} after it"), &preview.given_up)?;
    say("may be dropped for lack of room", &preview.for_room)?;
    Ok(out.flush()?)
}

/// How to roll back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How<'a> {
    /// The verb that was typed.
    pub(crate) verb: &'static str,
    /// The policy as typed.
    pub(crate) policy: &'a PolicyOptions,
    /// Accept disks that may be different ones.
    pub(crate) accept_target: bool,
    /// What happens to overwritten data.
    pub(crate) undo: UndoOptions,
    /// Print JSON.
    pub(crate) json: bool,
}

/// Brings the disks of `group`, which are `assignments`, back to point `id`.
pub(crate) fn carry_out(
    mut group: Group,
    assignments: Vec<Assignment>,
    id: PointId,
    shown: &str,
    how: &How<'_>,
) -> anyhow::Result<Exit> {
    let How { verb, policy, accept_target, undo, json } = *how;
    let stop = crate::stop::flag()?;
    policy.settle(&mut group, None)?;
    own_run::begins(group.begin_run(&own_run::at(group.view(), verb, shown)));
    let history = HistorySettings::default();
    let engine = group.view().settings().engine;
    let would_go = undo.given_up(group.view().catalogue()?, id);
    let job = RollbackJob {
        group,
        assignments,
        to: id,
        accept_target,
        may_give_up_points: undo.give_up_points,
        without_undo: undo.without_undo,
        engine,
        history,
        pool: None,
    };
    let started = Instant::now();
    let mut progress: Option<(ByteProgress, bool)> = None;
    let ending = rollback::run(job, &stop, &mut |event| show(&mut progress, event));
    drop(progress);
    let ending = ending?;
    let seconds = started.elapsed().as_secs_f64();
    let (bytes, bytes_already_right, complete, given_up_points) = match ending {
        Ending::Complete { bytes, right } => (bytes, right, true, would_go),
        Ending::NothingToDo => (0, 0, true, 0),
        Ending::Stopped => (0, 0, false, would_go),
    };
    own_run::wrote(bytes);
    let mut out = output::stdout();
    if json {
        let point = id.0;
        let json = Json { point, bytes, bytes_already_right, seconds, complete, given_up_points };
        document::print(&mut out, &json)?;
    } else {
        let text = match ending {
            Ending::Complete { bytes, right } => {
                let right = match right {
                    0 => String::new(),
                    right => format!("; {} were right already", size::binary(right)),
                };
                let bytes = size::binary(bytes);
                format!("the disks are at {shown}: {bytes} in {seconds:.1} s{right}")
            }
            Ending::NothingToDo if would_go > 0 => {
                format!("nothing to do: the disks are at {shown}; no point was given up")
            }
            Ending::NothingToDo => format!("nothing to do: the disks are at {shown}"),
            Ending::Stopped => "stopped; the same command continues from here".to_owned(),
        };
        writeln!(out, "{}", output::wrapped(&text, 2))?;
        out.flush()?;
    }
    Ok(if complete { Exit::Done } else { Exit::Failed })
}

/// One moving line for checking the history, and one for writing.
fn show(progress: &mut Option<(ByteProgress, bool)>, event: RollbackEvent<'_>) {
    let (done, of, writes) = match event {
        RollbackEvent::Checked { done, of } => (done, of, false),
        RollbackEvent::Written { done, of } => (done, of, true),
        RollbackEvent::Notice(notice) => {
            let text = attention::kept(remedy::told(notice));
            match progress {
                Some((progress, _)) => progress.say(&text),
                None => output::complain(&text),
            }
            return;
        }
    };
    if progress.as_ref().is_none_or(|(_, was_writing)| *was_writing != writes) {
        *progress = Some((ByteProgress::new(Some(of)), writes));
    }
    if let Some((progress, _)) = progress {
        progress.at(done);
    }
}
