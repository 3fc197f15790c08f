//! `mtctl group list`: what an operator looks at first.

use std::io::Write;
use std::path::PathBuf;

use blockio::group::{GroupView, Whereabouts};
use blockio::journal::catalogue::Catalogue;
use blockio::journal::retention;
use blockio::journal::selector;
use blockio::units::in_hours;
use clap::Args;
use serde::Serialize;
use system::size;

use crate::alarms;
use crate::document;
use crate::exit::Exit;
use crate::group_list::{self, Found};
use crate::retention_mount::RetentionMountOption;
use crate::retention_options::RetentionOptions;
use crate::{output, report};

const EXAMPLES: &str = "\
Examples:
  mtctl group list
  mtctl group list --check || page-somebody          exit 6 if a group has an alarm
  mtctl group list --json | jq -r '.groups[] | select(.alarms != []) | .group'";

/// What was typed after `mtctl group list`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The retention volume, or none [default: the one mounted at --retention-mount]
    #[arg(long, value_name = "DIR|none")]
    retention: Option<PathBuf>,

    #[command(flatten)]
    mount: RetentionMountOption,

    /// Accept a --retention directory where nothing is mounted
    #[arg(long, requires = "retention")]
    retention_unmounted: bool,

    /// Exit with 6 if a group has an alarm
    #[arg(long)]
    check: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The summary of a group. Stable: fields are added, never changed.
#[derive(Serialize)]
pub(super) struct Summary {
    pub(super) group: String,
    pub(super) state: &'static str,
    pub(super) detail: String,
    volumes: usize,
    points: usize,
    newest: Option<String>,
    reaches_seconds: u64,
    window_seconds: u64,
    journal_bytes: u64,
    pub(super) alarms: Vec<String>,
}

/// Lists the groups. A group that cannot be read is listed, and its error determines the exit code.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let at = RetentionOptions {
        retention: arguments.retention.clone(),
        mount: arguments.mount.clone(),
        retention_unmounted: arguments.retention_unmounted,
        state_dir: None,
    };
    let found = group_list::all(&at)?;
    let summaries: Vec<Summary> = found.iter().map(summary_or_error).collect();
    let mut out = output::stdout();
    if arguments.json {
        let all = summaries
            .iter()
            .flat_map(|one| one.alarms.iter().map(|alarm| format!("{}: {alarm}", one.group)));
        let alarms = Some(all.collect());
        document::print_with(&mut out, &serde_json::json!({ "groups": summaries }), alarms)?;
    } else if summaries.is_empty() {
        writeln!(out, "there is no group yet: the first `mtctl apply --group NAME` creates one")?;
    } else {
        print(&mut out, &summaries)?;
    }
    out.flush()?;
    let exits = found.iter().filter_map(|found| found.view.as_ref().err());
    let is_alarm = arguments.check && summaries.iter().any(|one| !one.alarms.is_empty());
    let otherwise = if is_alarm { Exit::Alarm } else { Exit::Done };
    Ok(exits.map(|error| report::exit_of(error.kind())).next().unwrap_or(otherwise))
}

fn print(out: &mut impl Write, summaries: &[Summary]) -> anyhow::Result<()> {
    let header = ["GROUP", "STATE", "VOLUMES", "POINTS", "NEWEST", "REACHES", "HISTORY"];
    let mut table = output::table(&header);
    for one in summaries {
        table.add_row([
            one.group.clone(),
            one.detail.clone(),
            one.volumes.to_string(),
            one.points.to_string(),
            one.newest.clone().unwrap_or_else(|| "-".to_owned()),
            in_hours(std::time::Duration::from_secs(one.reaches_seconds)),
            size::binary(one.journal_bytes),
        ]);
    }
    output::print_table(out, &table)?;
    for one in summaries {
        for alarm in &one.alarms {
            writeln!(out, "{}", output::wrapped(&format!("ALARM: {}: {alarm}", one.group), 2))?;
        }
    }
    Ok(())
}

fn summary_or_error(found: &Found) -> Summary {
    match &found.view {
        Ok(view) => summary(view),
        Err(error) => Summary {
            group: found.name.clone(),
            state: "unreadable",
            detail: "unreadable".to_owned(),
            volumes: 0,
            points: 0,
            newest: None,
            reaches_seconds: 0,
            window_seconds: 0,
            journal_bytes: 0,
            alarms: vec![error.chain()],
        },
    }
}

/// The summary of `group`.
pub(super) fn summary(group: &GroupView) -> Summary {
    let known = group.state().journal.as_ref();
    let points: Vec<_> = known.into_iter().flat_map(Catalogue::recovery_points).collect();
    let (state, detail) = told(group, &group.whereabouts());
    Summary {
        group: group.name().to_owned(),
        state,
        detail,
        volumes: group.state().volumes.len(),
        points: points.len(),
        newest: points.last().map(|point| selector::time(point.time)),
        reaches_seconds: known.map_or(0, |known| reach(group, known)),
        window_seconds: group.settings().policy.window.as_secs(),
        journal_bytes: known.map_or(0, Catalogue::journal_bytes),
        alarms: alarms::of(group),
    }
}

fn reach(group: &GroupView, known: &Catalogue) -> u64 {
    retention::reach(known, &group.settings().policy).as_secs()
}

/// The state in one word for programs, and in words for people.
fn told(group: &GroupView, whereabouts: &Whereabouts) -> (&'static str, String) {
    let text = |text: &str| text.to_owned();
    match whereabouts {
        Whereabouts::NeverWritten => ("never-written", text("nothing applied yet")),
        Whereabouts::RollingBack(to) => {
            ("rolling-back", format!("rolling back to {}", group.called(*to)))
        }
        Whereabouts::InBetween(_) => ("in-between", text("in-between")),
        Whereabouts::RolledBack(to) => ("rolled-back", format!("at {}", group.called(*to))),
        Whereabouts::WithinStream(_) => ("within-stream", text("within a stream")),
        Whereabouts::Applied => ("applied", text("applied")),
    }
}
