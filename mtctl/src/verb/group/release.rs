//! `mtctl group release`: a group gives up its disks, and with them its history.

use std::io::Write;

use clap::Args;

use crate::document;
use crate::exit::Exit;
use crate::group_place::GroupOptions;
use crate::{group_directories, open_exports, output, own_run, question};

const EXAMPLES: &str = "\
Examples:
  mtctl group release --group web
  mtctl group release --group web --retention none --yes     a group in /var/lib/mtctl/groups

The disks stay as they are and can join another group. The recovery points are dropped, which cannot
be undone; the settings of the group stay. The next apply starts again.";

/// What was typed after `mtctl group release`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    of: GroupOptions,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Releases the disks.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let place = arguments.of.place()?;
    group_directories::require_own(&arguments.of, &place)?;
    let mut group = arguments.of.open()?;
    let state = group.view().state();
    let disks: Vec<String> =
        state.volumes.values().filter_map(|volume| volume.target.clone()).collect();
    let points = state.journal.as_ref().map_or(0, |known| known.recovery_points().count());
    let name = group.view().name().to_owned();
    let (disks_shown, points_shown) = (
        output::counted(disks.len() as u64, "disk"),
        output::counted(points as u64, "recovery point"),
    );
    let question = format!(
        "Release {disks_shown} of group {name} and drop {points_shown}? This cannot be undone."
    );
    open_exports::tell_of_those(&place, |_| true);
    question::require_yes(&question, arguments.yes)?;
    own_run::begins(group.begin_run(&own_run::on_disks(group.view(), "group release")));
    group.release()?;
    let mut out = output::stdout();
    if arguments.json {
        let done = serde_json::json!({ "disks": disks, "dropped_points": points });
        document::print(&mut out, &done)?;
    } else {
        writeln!(out, "group {name} no longer has disks; {points_shown} dropped")?;
        out.flush()?;
    }
    Ok(Exit::Done)
}
