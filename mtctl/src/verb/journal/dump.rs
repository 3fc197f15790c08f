//! `mtctl journal dump`: the history of a group as text. `blockio::journal::dump` formats the
//! lines.

use std::io::Write;

use blockio::journal::dump::{self, DumpOptions};
use blockio::journal::selector::{self, Selector};
use clap::Args;

use crate::completion;
use crate::exit::Exit;
use crate::group_place::GroupOptions;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  mtctl journal dump --group web
  mtctl journal dump --group web --point latest --extents
  mtctl journal dump --group web --extents | grep '\"db\"'    what was overwritten on a volume

Below each point are the records that lead from the next point back to it. After damage, reading
continues with the next segment; mtctl journal check shows what is damaged and what that means.";

/// What was typed after `mtctl journal dump`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    of: GroupOptions,

    /// Only what is needed to go back to this point: a number, a name, a time, latest, latest-app,
    /// or start
    #[arg(long, value_name = "POINT", add = completion::points())]
    point: Option<Selector>,

    /// Also print a line for each range
    #[arg(long)]
    extents: bool,
}

/// Prints the history.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let group = arguments.of.look()?;
    let known = group.catalogue()?;
    let point = match &arguments.point {
        Some(point) => Some(selector::find(known, point)?),
        None => None,
    };
    let mut out = std::io::BufWriter::new(output::stdout());
    let options = DumpOptions { point, extents: arguments.extents };
    dump::dump(&group.storage(), known, options, &mut |line| {
        writeln!(out, "{}", output::plain(line))
            .map_err(|error| system::Error::failed("printing", error))
    })?;
    out.flush()?;
    Ok(Exit::Done)
}
