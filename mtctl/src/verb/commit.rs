//! `mtctl commit`: accepts the disks of a group as they are, and drops its history. That they are
//! at a recovery point is proved by `blockio::commit`.

use std::io::Write;

use blockio::commit::{self, Proof, Volume};
use blockio::device::open::Engine;
use blockio::group::Group;
use blockio::journal::catalogue::{Catalogue, PointId};
use blockio::journal::selector;
use clap::Args;
use provisioning::size;

use crate::byte_progress::ByteProgress;
use crate::exit::Exit;
use crate::group_place::GroupOptions;
use crate::policy_options::PolicyOptions;
use crate::verb::points::catalogue;
use crate::{group_targets, output, question};

const EXAMPLES: &str = "\
Examples:
  mtctl commit --group web
  mtctl commit --group web --yes

The disks must be at a recovery point: the last one, with nothing written since, or the one that
they were rolled back to; then they are compared with the history before it is dropped. After it
there is no way back.";

/// What was typed after `mtctl commit`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    of: GroupOptions,

    #[command(flatten)]
    policy: PolicyOptions,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Commits.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut group = arguments.of.open()?;
    let points = catalogue(&group)?.recovery_points().count();
    let bytes = group.state().journal.as_ref().map_or(0, Catalogue::journal_bytes);
    let proof = commit::where_it_is(&mut group, arguments.policy.settings()?)?;
    let id = proof.point();
    let shown = shown(&group, id);
    if !arguments.json {
        let text = format!(
            "the disks are at {shown}; {} of history go, and with them {}",
            size::binary(bytes),
            output::counted(points as u64, "recovery point")
        );
        let mut out = output::stdout();
        writeln!(out, "{}", output::wrapped(&text, 2))?;
        out.flush()?;
    }
    if !question::agreed("Accept the disks as they are? There is no way back.", arguments.yes)? {
        output::complain("nothing was touched");
        return Ok(Exit::Done);
    }
    if let Proof::RolledBack(point) = proof {
        compare(&group, point)?;
    }
    commit::drop_history(&mut group)?;
    let mut out = output::stdout();
    if arguments.json {
        let done = serde_json::json!({ "point": id.0, "dropped_points": points });
        output::print_json(&mut out, &done)?;
    } else {
        writeln!(out, "committed: the history of group {} is dropped", group.name())?;
        out.flush()?;
    }
    Ok(Exit::Done)
}

fn shown(group: &Group, id: PointId) -> String {
    let point = group.state().journal.as_ref().and_then(|known| known.point(id));
    point.map_or_else(|| format!("point {id}"), selector::shown)
}

fn compare(group: &Group, point: PointId) -> anyhow::Result<()> {
    let stop = crate::verb::stop_flag()?;
    let mut volumes = Vec::new();
    for mut assignment in group_targets::open(group)? {
        let device = assignment.target.open(Engine::Auto, &[])?;
        let name = assignment.source.unwrap_or_default();
        volumes.push(Volume { name, device });
    }
    let mut progress: Option<ByteProgress> = None;
    commit::compare(group, point, &mut volumes, &stop, &mut |done, of| {
        progress.get_or_insert_with(|| ByteProgress::new(Some(of))).at(done);
    })?;
    Ok(())
}
