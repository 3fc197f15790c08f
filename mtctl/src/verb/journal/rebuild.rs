//! `mtctl journal rebuild`: rebuilds the state of a group from its segments if it is lost or older
//! than they are. `blockio::journal::rebuild` does the work.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use blockio::group::Rebuilding;
use blockio::journal::selector;
use blockio::storage::directory::{STATE, STATE_COPY, names_kept_by_rebuild};
use clap::Args;
use serde::Serialize;
use system::{Error, ErrorKind};

use crate::document;
use crate::exit::Exit;
use crate::group_place::GroupOptions;
use crate::{output, own_run, question, remedy};

const EXAMPLES: &str = "\
Examples:
  mtctl journal rebuild --group web --dry-run     what would be recovered
  mtctl journal rebuild --group web
  mtctl rollback --group web --to latest          then: to a known state of the disks

Use it if both copies of the state are lost or damaged, or were replaced by ones older than the
history; mtctl journal check says so. The old files are kept beside the new ones, as
FILE.before-rebuild. Lost are pins, settings changed since the last point, and the record of what
was applied since then: if the disks were written, a rollback must come first.";

/// What was typed after `mtctl journal rebuild`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    of: GroupOptions,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Show what would be recovered, and change nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Json {
    /// Its recovery points, by number.
    points: Vec<u64>,
    /// The point that has to be rolled back to first.
    #[serde(skip_serializing_if = "Option::is_none")]
    rollback_first: Option<u64>,
    notes: Vec<String>,
    saved: bool,
}

/// Rebuilds the state.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let place = arguments.of.place()?;
    let name = &arguments.of.group;
    let rebuilding = match arguments.dry_run {
        true => Rebuilding::look(&place, name)?,
        false => Rebuilding::open(&place, name)?,
    };
    let known = rebuilding.state().journal.as_ref();
    let first = known.and_then(|known| known.rolling_back_to);
    let points: Vec<_> = known.iter().flat_map(|known| known.recovery_points()).collect();
    let mut json = Json {
        points: points.iter().map(|point| point.id.0).collect(),
        rollback_first: first.map(|point| point.0),
        notes: rebuilding.notes().iter().map(remedy::told).collect(),
        saved: false,
    };
    let mut out = output::stdout();
    let mut say = |text: &str| match arguments.json {
        true => Ok(()),
        false => writeln!(out, "{}", output::wrapped(text, 2)),
    };
    for note in rebuilding.notes() {
        say(&format!("note: {}", remedy::told(note)))?;
    }
    let count = output::counted(points.len() as u64, "recovery point");
    let newest = points.last().map(|point| format!(", the newest {}", selector::shown(point)));
    say(&format!("the segments lead back to {count}{}", newest.unwrap_or_default()))?;
    if let Some(first) = first {
        say(&format!(
            "the disks were written after {}: next, run mtctl rollback --group {name} --to \
             {first}, or to another point",
            known.map_or_else(|| format!("point {first}"), |known| selector::called(known, first))
        ))?;
    }
    if !arguments.dry_run {
        let question = format!("Rebuild the state of group {name} from its segments?");
        question::require_yes(&question, arguments.yes)?;
        own_run::begins(rebuilding.begin_run(&own_run::of("journal rebuild")));
        keep(&place.state, STATE)?;
        keep(place.history.as_ref().unwrap_or(&place.state), STATE_COPY)?;
        let group = rebuilding.save()?;
        crate::group_place::remember_targets(&place, name, group.view())?;
        json.saved = true;
        say(&format!("the state of group {name} was rebuilt"))?;
    }
    if arguments.json {
        document::print(&mut out, &json)?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// Keeps the existing file, whatever it is worth, under a second name, which takes no space. The
/// new state replaces it under the first name. If it cannot have a second name, for example because
/// it is a directory, it is moved: a crash before the new state is saved then leaves no state
/// there, which is as good as a damaged one.
fn keep(directory: &Path, name: &str) -> Result<(), Error> {
    let from = directory.join(name);
    let Some(of_old) = file_number(&from) else { return Ok(()) };
    for to in names_kept_by_rebuild(name).map(|name| directory.join(name)) {
        match file_number(&to) {
            // Kept by a rebuild that failed.
            Some(kept) if kept == of_old => return Ok(()),
            Some(_) => continue,
            None => {}
        }
        let kept = fs::hard_link(&from, &to).or_else(|_| fs::rename(&from, &to));
        return kept.map_err(|error| {
            let context = format!("keeping {} as {}", from.display(), to.display());
            Error::new(ErrorKind::Failed, context).caused_by(error)
        });
    }
    Ok(())
}

/// Device and inode number of what exists at `path`; `None` if nothing does.
fn file_number(path: &Path) -> Option<(u64, u64)> {
    path.symlink_metadata().ok().map(|found| (found.dev(), found.ino()))
}
