//! `mtctl points`: lists, creates, pins and forgets the recovery points of a group.

use std::io::Write;

use blockio::group::GroupView;
use blockio::journal::catalogue::{Catalogue, Point, PointId, PointKind};
use blockio::journal::selector::{self, Selector};
use blockio::units::in_hours;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use system::size;

use crate::attention;
use crate::completion;
use crate::document;
use crate::exit::Exit;
use crate::group_place::{self, GroupOptions};
use crate::{group_targets, output, own_run};

mod forget;
mod show;

const EXAMPLES: &str = "\
Examples:
  mtctl points list --group web
  mtctl points create --group web --kind app --name before-upgrade
  mtctl points pin before-upgrade --group web     it will not expire
  mtctl points unpin before-upgrade --group web
  mtctl points show latest --group web --json
  mtctl points show 'yesterday 18:00' --group web --local     the newest point up to then

Select a point by its number, its name, a time (the newest point up to then), latest, latest-app, or
start (what was there before the first stream). An ambiguous or expired selection is refused; no
other point is used instead. If a name looks like something else, write id:NUMBER or name:NAME.

A time is RFC 3339 (2026-11-22T03:00:00Z) or, in the time zone of this host, 2026-11-22 03:00,
2026-11-22 (the beginning of that day), 14:10 (today), yesterday 18:00, or 2h ago. Points have the
time of their source's clock.";

/// What can be done with recovery points.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// List the points that are kept
    List(List),
    /// Show one point
    Show(Show),
    /// Create a point of what the disks hold now
    Create(Create),
    /// Keep a point: it will not expire
    Pin(One),
    /// Let a pinned point expire like any other
    Unpin(One),
    /// Drop points now: by the settings of the group, or by name
    Forget(forget::Forget),
}

/// What was typed after `mtctl points list`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct List {
    #[command(flatten)]
    of: GroupOptions,

    /// Show times in the time zone of this host; JSON is always in UTC
    #[arg(long)]
    local: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was typed after `mtctl points show`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Show {
    #[command(flatten)]
    one: One,

    /// Show times in the time zone of this host; JSON is always in UTC
    #[arg(long)]
    local: bool,
}

/// What was typed after `mtctl points pin` and `unpin`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct One {
    /// Which point: a number, a name, a time, latest, latest-app, or start
    #[arg(value_name = "POINT", add = completion::points())]
    point: Selector,

    #[command(flatten)]
    of: GroupOptions,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was typed after `mtctl points create`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Create {
    #[command(flatten)]
    of: GroupOptions,

    /// What the disks hold
    #[arg(long, value_enum, default_value_t = KindName::Crash)]
    kind: KindName,

    /// A name for the point, of at most 200 bytes; not a number, latest, latest-app or start
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,

    /// Accept disks that are not as the group left them
    #[arg(long)]
    accept_target: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn name(text: &str) -> Result<String, String> {
    selector::check_name(text).map(|()| text.to_owned())
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KindName {
    /// As after a power failure of the source
    Crash,
    /// Made consistent by the application
    App,
}

/// Runs the verb.
pub(crate) fn run(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::List(arguments) => list(arguments),
        Command::Show(arguments) => show_one(arguments),
        Command::Create(arguments) => create(arguments),
        Command::Pin(arguments) => pin(arguments, true),
        Command::Unpin(arguments) => pin(arguments, false),
        Command::Forget(arguments) => forget::run(arguments),
    }
}

/// Stable: fields are added, never changed.
#[derive(Serialize)]
struct Json<'a> {
    points: Vec<show::JsonPoint<'a>>,
    start: Option<show::JsonPoint<'a>>,
    journal_bytes: u64,
    window_cut_to_seconds: Option<u64>,
    rolling_back_to: Option<u64>,
    rolled_back_to: Option<u64>,
}

fn json<'a>(known: Option<&'a Catalogue>, points: &[&'a Point]) -> Json<'a> {
    let start = known.and_then(|known| known.all().next());
    Json {
        points: points.iter().map(|point| show::json(point)).collect(),
        start: start.filter(|point| point.kind == PointKind::Start).map(show::json),
        journal_bytes: known.map_or(0, Catalogue::journal_bytes),
        window_cut_to_seconds: known
            .and_then(|known| known.window_cut_to)
            .map(|nanoseconds| nanoseconds / 1_000_000_000),
        rolling_back_to: known.and_then(|known| known.rolling_back_to).map(|id| id.0),
        rolled_back_to: known.and_then(|known| known.rolled_back_to).map(|id| id.0),
    }
}

fn list(arguments: &List) -> anyhow::Result<Exit> {
    let group = arguments.of.look()?;
    let known = group.state().journal.as_ref();
    let points: Vec<_> = known.into_iter().flat_map(Catalogue::recovery_points).collect();
    let mut out = output::stdout();
    if arguments.json {
        document::print(&mut out, &json(known, &points))?;
        return Ok(Exit::Done);
    }
    if points.is_empty() {
        writeln!(out, "group {} has no recovery points", group.name())?;
    } else {
        show::table(&mut out, &points, &show::zone(arguments.local))?;
    }
    known.map_or(Ok(()), |known| remarks(&mut out, known))?;
    out.flush()?;
    Ok(Exit::Done)
}

/// Prints what an operator must not overlook.
fn remarks(out: &mut impl Write, known: &Catalogue) -> anyhow::Result<()> {
    let mut say = |text: &str| writeln!(out, "{}", output::wrapped(text, 2));
    if let Some(start) = known.points.first().filter(|point| point.kind == PointKind::Start) {
        let kept = size::binary(start.journal_bytes());
        say(&format!("what was there before the first stream is also kept ({kept}): start"))?;
    }
    if let Some(cut) = known.window_cut_to {
        let held = in_hours(std::time::Duration::from_nanos(cut));
        say(&format!(
            "ALARM: points younger than the retention window were dropped for lack of room; \
             {held} of history are left"
        ))?;
    }
    if let Some(to) = known.rolling_back_to {
        let shown = selector::called(known, to);
        say(&format!("a rollback to {shown} is unfinished: mtctl recover finishes it"))?;
    }
    if let Some(to) = known.rolled_back_to {
        say(&format!("the disks were rolled back to {}", selector::called(known, to)))?;
    }
    Ok(())
}

fn show_one(arguments: &Show) -> anyhow::Result<Exit> {
    let Show { one: One { point, of, json }, local } = arguments;
    print_one(&of.look()?, point, *json, *local)
}

fn print_one(
    group: &GroupView,
    selector: &Selector,
    as_json: bool,
    local: bool,
) -> anyhow::Result<Exit> {
    let known = group.state().journal.as_ref();
    let point = selector::find(group.catalogue()?, selector)?;
    let mut out = output::stdout();
    if as_json {
        document::print(&mut out, &json(known, &[point]))?;
    } else {
        show::table(&mut out, &[point], &show::zone(local))?;
        out.flush()?;
    }
    Ok(Exit::Done)
}

fn create(arguments: &Create) -> anyhow::Result<Exit> {
    let kind = match arguments.kind {
        KindName::Crash => PointKind::Crash,
        KindName::App => PointKind::App,
    };
    let mut group = arguments.of.open()?;
    group_place::require_history(group.view())?;
    group_targets::require_as_left(group.view(), arguments.accept_target)?;
    group.open_history(blockio::apply::HistorySettings::default())?;
    let named = arguments.name.as_deref().unwrap_or_default();
    own_run::begins(group.begin_run(&own_run::at(group.view(), "points create", named)));
    let id = group.point(kind, arguments.name.clone())?;
    attention::warn_of(&group.take_notes());
    print_one(group.view(), &by_number(id), arguments.json, false)
}

fn pin(arguments: &One, pinned: bool) -> anyhow::Result<Exit> {
    let mut group = arguments.of.open()?;
    let id = selector::find(group.view().catalogue()?, &arguments.point)?.id;
    let verb = if pinned { "points pin" } else { "points unpin" };
    own_run::begins(group.begin_run(&own_run::at(group.view(), verb, &id.to_string())));
    group.pin(id, pinned)?;
    print_one(group.view(), &by_number(id), arguments.json, false)
}

fn by_number(id: PointId) -> Selector {
    Selector::Text(format!("id:{id}"))
}
