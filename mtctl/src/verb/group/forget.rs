//! `mtctl group forget`: removes everything of a group, after showing what will be removed.

use std::io::Write;
use std::path::Path;

use blockio::group::{Group, GroupView};
use blockio::journal::catalogue::Catalogue;
use blockio::journal::selector;
use clap::Args;
use serde::Serialize;
use system::size;

use crate::attention;
use crate::document;
use crate::exit::Exit;
use crate::group_place::{self, GroupOptions};
use crate::{group_directories, open_exports, output, question};

const EXAMPLES: &str = "\
Examples:
  mtctl group forget --group web --dry-run          what would be removed; exit 3
  mtctl group forget --group web

The disks stay as they are and can join another group. Everything else of the group is removed: its
recovery points, also pinned ones, its history, and its settings. To keep the settings and give up
only disks and history: mtctl group release.";

/// What was typed after `mtctl group forget`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    of: GroupOptions,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Show what would be removed, and remove nothing; exit 3
    #[arg(long)]
    dry_run: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What will be removed. Stable: fields are added, never changed.
#[derive(Serialize)]
struct Goes {
    group: String,
    disks: Vec<String>,
    points: usize,
    pinned: Vec<String>,
    history_bytes: u64,
    forgotten: bool,
}

/// Forgets the group.
///
/// The registry forgets it last: a crash before that leaves a row for a directory without a state,
/// which means nothing.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let name = arguments.of.group.as_str();
    let place = arguments.of.place_with_remnants()?;
    group_directories::require_own(&arguments.of, &place)?;
    let goes = goes(&GroupView::look(&place, name)?, !arguments.dry_run);
    let mut out = output::stdout();
    if !arguments.json {
        show(&mut out, &goes)?;
        out.flush()?;
    }
    open_exports::tell_of_those(&place, |_| true);
    if arguments.dry_run {
        match arguments.json {
            true => document::print(&mut out, &goes)?,
            false => writeln!(out, "dry run: nothing was removed")?,
        }
        out.flush()?;
        return Ok(Exit::NotReady);
    }
    let question = format!("Remove all of this, and group {name} with it? The disks stay.");
    question::require_yes(&question, arguments.yes)?;
    let left = Group::open(&place, name)?.remove(&place)?;
    group_place::forget_state(&place, name)?;
    for directory in left {
        let shown = directory.display();
        attention::warn(format!("{shown} stays: it also contains {}", what_is_in(&directory)));
    }
    match arguments.json {
        true => document::print(&mut out, &goes)?,
        false => writeln!(out, "group {name} was forgotten")?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// The most files that are named.
const FILES_SHOWN_MAX: usize = 3;

/// The entries that keep `directory` from being removed.
fn what_is_in(directory: &Path) -> String {
    let entries = directory.read_dir().into_iter().flatten().flatten();
    let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    let more = names.len().saturating_sub(FILES_SHOWN_MAX);
    names.truncate(FILES_SHOWN_MAX);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

fn goes(group: &GroupView, forgotten: bool) -> Goes {
    let state = group.state();
    let known = state.journal.as_ref();
    let pinned = known.into_iter().flat_map(Catalogue::recovery_points);
    let pinned = pinned.filter(|point| point.pinned).map(selector::shown);
    Goes {
        group: group.name().to_owned(),
        disks: state.volumes.values().filter_map(|volume| volume.target.clone()).collect(),
        points: known.map_or(0, |known| known.recovery_points().count()),
        pinned: pinned.collect(),
        history_bytes: known.map_or(0, Catalogue::journal_bytes),
        forgotten,
    }
}

fn show(out: &mut impl Write, goes: &Goes) -> anyhow::Result<()> {
    writeln!(out, "group {}: to be removed", goes.group)?;
    for disk in &goes.disks {
        writeln!(out, "  its hold on {}", output::plain(disk))?;
    }
    writeln!(out, "  {}", output::counted(goes.points as u64, "recovery point"))?;
    for point in &goes.pinned {
        writeln!(out, "  pinned: {point}")?;
    }
    writeln!(out, "  {} of history", size::binary(goes.history_bytes))?;
    Ok(())
}
