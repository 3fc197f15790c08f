//! `mtctl rollback`: shows what will change, asks, and brings the disks of a group back to a
//! recovery point. How is `blockio::rollback`'s.

use std::io::Write;
use std::time::Instant;

use blockio::apply::Settings;
use blockio::group::{Group, GroupView};
use blockio::journal::catalogue::PointId;
use blockio::journal::selector::{self, Selector};
use blockio::rollback::{self, Ending, Event, Job};
use blockio::volume_name::VolumeName;
use clap::Args;
use provisioning::size;
use serde::Serialize;

use crate::byte_progress::ByteProgress;
use crate::exit::Exit;
use crate::group_place::GroupOptions;
use crate::policy_options::PolicyOptions;
use crate::undo_options::UndoOptions;
use crate::{group_targets, output, question};

const EXAMPLES: &str = "\
Examples:
  mtctl rollback --group web --to latest-app
  mtctl rollback --group web --to before-upgrade --yes
  mtctl rollback --group web --to 2026-11-22T03:00:00Z --dry-run     what would be written

What is overwritten is kept: until the commit, rollback --to another point, earlier or later, works;
but for --without-undo, which keeps nothing. Interrupted, the same command goes on.";

/// What was typed after `mtctl rollback`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    of: GroupOptions,

    /// Where to: a number, a name, a time, latest, latest-app, or start
    #[arg(long, value_name = "POINT")]
    to: Selector,

    #[command(flatten)]
    policy: PolicyOptions,

    /// Take the disks though one is not known to be the one, not as the group left it, or another
    /// group's as well
    #[arg(long)]
    accept_target: bool,

    #[command(flatten)]
    undo: UndoOptions,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Show what would be written, and write nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Json {
    point: u64,
    bytes: u64,
    seconds: f64,
    complete: bool,
    given_up_points: u64,
}

/// What would be done.
#[derive(Serialize)]
struct JsonPreview<'a> {
    point: u64,
    volumes: Vec<JsonVolume<'a>>,
    given_up_points: u64,
    dry_run: bool,
}

#[derive(Serialize)]
struct JsonVolume<'a> {
    volume: &'a VolumeName,
    bytes: u64,
}

/// Rolls back.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let group = arguments.of.open()?;
    let point = selector::find(group.view().catalogue()?, &arguments.to)?;
    let (id, shown) = (point.id, selector::shown(point));
    let known = group.view().catalogue()?;
    let (cost, given_up) = (arguments.undo.cost(known, id), arguments.undo.given_up(known, id));
    match (arguments.json, arguments.dry_run) {
        (false, _) => show_preview(group.view(), id, &shown, given_up)?,
        (true, true) => print_preview(group.view(), id, given_up)?,
        (true, false) => {}
    }
    if arguments.dry_run {
        return Ok(Exit::Done);
    }
    if !question::agreed(&format!("Roll back to {shown}{cost}?"), arguments.yes)? {
        output::complain("nothing was touched");
        return Ok(Exit::Done);
    }
    let how = How {
        of: &arguments.of,
        policy: &arguments.policy,
        accept_target: arguments.accept_target,
        undo: arguments.undo,
        json: arguments.json,
    };
    carry_out(group, id, &shown, &how)
}

fn print_preview(group: &GroupView, id: PointId, given_up: u64) -> anyhow::Result<()> {
    let preview = rollback::preview(group, id)?;
    let volumes = preview.volumes.iter();
    let volumes = volumes.map(|(name, bytes)| JsonVolume { volume: name, bytes: *bytes });
    let volumes = volumes.collect();
    let document = JsonPreview { point: id.0, volumes, given_up_points: given_up, dry_run: true };
    let mut out = output::stdout();
    output::print_json(&mut out, &document)?;
    Ok(out.flush()?)
}

fn show_preview(group: &GroupView, id: PointId, shown: &str, given_up: u64) -> anyhow::Result<()> {
    let preview = rollback::preview(group, id)?;
    let mut out = output::stdout();
    writeln!(out, "{}", output::wrapped(&format!("back to {shown}"), 2))?;
    let mut table = output::table(&["VOLUME", "DISK", "TO BE WRITTEN"]);
    for (name, bytes) in &preview.volumes {
        let volume = group.state().volumes.get(name);
        let disk = volume.and_then(|volume| volume.target.clone()).unwrap_or_default();
        table.add_row([name.in_a_table(), disk, size::binary(*bytes)]);
    }
    output::print_table(&mut out, &table)?;
    if given_up > 0 {
        writeln!(out, "given up: {} after it", output::counted(given_up, "point"))?;
    }
    Ok(out.flush()?)
}

/// How it is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How<'a> {
    /// The group.
    pub(crate) of: &'a GroupOptions,
    /// How it is kept, as it was typed.
    pub(crate) policy: &'a PolicyOptions,
    /// Disks are taken that may be others.
    pub(crate) accept_target: bool,
    /// What becomes of what is overwritten.
    pub(crate) undo: UndoOptions,
    /// JSON is printed.
    pub(crate) json: bool,
}

/// Brings the disks of `group` back to point `id`.
pub(crate) fn carry_out(
    mut group: Group,
    id: PointId,
    shown: &str,
    how: &How<'_>,
) -> anyhow::Result<Exit> {
    let How { of, policy, accept_target, undo, json } = *how;
    let stop = crate::verb::stop_flag()?;
    let assignments = group_targets::open(group.view(), of, accept_target)?;
    policy.settle(&mut group, None)?;
    let history = Settings::default();
    let engine = group.view().settings().engine;
    let would_go = undo.given_up(group.view().catalogue()?, id);
    let job = Job {
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
    let (bytes, complete, given_up_points) = match ending {
        Ending::Complete { bytes } => (bytes, true, would_go),
        Ending::NothingToDo => (0, true, 0),
        Ending::Stopped => (0, false, would_go),
    };
    let mut out = output::stdout();
    if json {
        output::print_json(
            &mut out,
            &Json { point: id.0, bytes, seconds, complete, given_up_points },
        )?;
    } else {
        let text = match ending {
            Ending::Complete { bytes } => {
                format!("the disks are at {shown}: {} in {seconds:.1} s", size::binary(bytes))
            }
            Ending::NothingToDo if would_go > 0 => {
                format!("nothing to do: the disks are at {shown}; no point was given up")
            }
            Ending::NothingToDo => format!("nothing to do: the disks are at {shown}"),
            Ending::Stopped => "stopped; the same command goes on from here".to_owned(),
        };
        writeln!(out, "{}", output::wrapped(&text, 2))?;
        out.flush()?;
    }
    Ok(if complete { Exit::Done } else { Exit::Failed })
}

/// One line for the check of the history, one for the writing.
fn show(progress: &mut Option<(ByteProgress, bool)>, event: Event<'_>) {
    let (done, of, writes) = match event {
        Event::Checked { done, of } => (done, of, false),
        Event::Written { done, of } => (done, of, true),
        Event::Notice(notice) => {
            let text = output::wrapped(&format!("warning: {notice}"), 2);
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
