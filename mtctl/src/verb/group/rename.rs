//! `mtctl group rename`: gives a group another name.

use std::io::Write;

use blockio::group::{GroupView, Renaming, RunBegin};
use clap::Args;

use crate::document;
use crate::exit::Exit;
use crate::group_place::{self, GroupOptions};
use crate::{group_directories, output, own_run};

const EXAMPLES: &str = "\
Examples:
  mtctl group rename --group web --to shop
  mtctl group rename --group web --to shop --dry-run         exit 3: it would be renamed

Points, history and disks stay as they are, and exports continue. If a rename is cut short, the same
command finishes it.";

/// What was typed after `mtctl group rename`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    of: GroupOptions,

    /// The new name
    #[arg(long, value_name = "NAME")]
    to: String,

    /// Show what would be moved, and move nothing; exit 3
    #[arg(long)]
    dry_run: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Renames the group.
///
/// The registry learns the new directory first: a crash leaves a row for a directory that does not
/// exist, which means nothing. It forgets the old one last, for the same reason.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let (name, new) = (arguments.of.group.as_str(), arguments.to.as_str());
    let from = arguments.of.place()?;
    blockio::group::check_name(new)?;
    group_directories::require_own(&arguments.of, &from)?;
    let mut to = arguments.of.at.place_of(new)?;
    // A directory given by --state-dir is renamed as well if it is named after the group.
    if to.state == from.state && from.state.file_name().is_some_and(|own| *own == *name) {
        to.state = from.state.with_file_name(new);
    }
    let renaming = Renaming::of((name, &from), (new, &to))?;
    let moves: Vec<_> = renaming.moves().to_vec();
    let view = GroupView::look(renaming.now(), name)?;
    if !arguments.dry_run {
        group_place::remember_targets(&to, new, &view)?;
        let detail = Some(format!("{name} to {new}"));
        let run = RunBegin { detail, ..own_run::of("group rename") };
        own_run::begins(renaming.begin_run(&run));
        renaming.run()?;
        if from.state != to.state {
            group_place::forget_state(&from, name)?;
        }
    }
    let mut out = output::stdout();
    if arguments.json {
        let moves = moves.iter().map(|one| serde_json::json!({ "from": one.from, "to": one.to }));
        let moves: Vec<_> = moves.collect();
        let renamed = !arguments.dry_run;
        let document =
            serde_json::json!({ "group": name, "to": new, "moves": moves, "renamed": renamed });
        document::print(&mut out, &document)?;
    } else {
        for one in &moves {
            let (from, to) = (one.from.display(), one.to.display());
            writeln!(out, "{}", output::plain(format!("{from} -> {to}")))?;
        }
        match arguments.dry_run {
            true => writeln!(out, "dry run: nothing was changed")?,
            false => writeln!(out, "group {name} is now called {new}")?,
        }
        if arguments.of.at.state_dir.is_some() {
            let state = to.state.display();
            writeln!(
                out,
                "{}",
                output::plain(format!("its state is found by --state-dir {state}"))
            )?;
        }
    }
    out.flush()?;
    Ok(if arguments.dry_run { Exit::NotReady } else { Exit::Done })
}
