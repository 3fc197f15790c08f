//! `mtctl group retarget`: moves a volume to another disk with the same contents.
//! `blockio::retarget` decides what proves that.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use blockio::apply::HistorySettings;
use blockio::assignment::Assignment;
use blockio::group::{Group, GroupView};
use blockio::journal::state::VolumeState;
use blockio::retarget::{self, SameContent};
use blockio::volume_name::VolumeName;
use blockio::{Error, ErrorKind, commit};
use clap::Args;
use serde::Serialize;
use system::size;

use crate::document;
use crate::exit::Exit;
use crate::group_directories;
use crate::group_place::{self, GroupOptions};
use crate::target_options::TargetOptions;
use crate::verb::digest::subject::{Looking, Subject};
use crate::verb::verify;
use crate::{group_targets, output, own_run, question};

const EXAMPLES: &str = "\
Examples:
  mtctl group retarget --group web --target /dev/sdc
  mtctl group retarget --group shop --map log=wwid:6000c29f3a2b4c5d6e7f8091a2b3c4d5 --dry-run
  mtctl digest --group web --to latest --output web.digest      while the old disk is there; later:
  mtctl group retarget --group web --target /dev/sdc --digest web.digest

Both disks are read and compared, and nothing is written to either. From then on the group uses the
new disk for streams and rollbacks, and refuses the old one.";

/// What was typed after `mtctl group retarget`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    of: GroupOptions,

    #[command(flatten)]
    targets: TargetOptions,

    /// If the old disk is gone: a digest of it at the recovery point where the group is
    #[arg(long, value_name = "FILE")]
    digest: Option<PathBuf>,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Compare, and change nothing; exit 3 if something would change
    #[arg(long)]
    dry_run: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Stable: fields are added, never changed.
#[derive(Serialize)]
struct Change {
    volume: VolumeName,
    from: Option<String>,
    to: String,
    compared_bytes: u64,
}

/// Retargets the volumes.
///
/// The registry learns the new disks before the state has them: a crash in between leaves the old
/// ones, which still belong to the group.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let place = arguments.of.place()?;
    let name = arguments.of.group.as_str();
    group_directories::require_own(&arguments.of, &place)?;
    let mut group = arguments.of.open_unless_dry(arguments.dry_run)?;
    retarget::require_at_rest(group.view())?;
    if arguments.targets.is_empty() {
        let context = format!("no new disk is named for group {name}");
        return Err(Error::new(ErrorKind::Usage, context)
            .with_hint("--target DEVICE, or for each volume --map SOURCE=DEVICE")
            .into());
    }
    let mut assignments = arguments.targets.open(&arguments.of.at, Some(&place), group.view())?;
    let mut proofs = Vec::new();
    let mut changes = Vec::new();
    for assignment in &mut assignments {
        let Some((change, proof)) = prove(arguments, &mut group, assignment)? else { continue };
        changes.push(change);
        proofs.push(proof);
    }
    if arguments.dry_run || changes.is_empty() {
        return show(arguments, &changes, false);
    }
    let question = format!(
        "Move group {name} to {}? From then on, its present disks are refused.",
        output::counted(changes.len() as u64, "other disk")
    );
    question::require_yes(&question, arguments.yes)?;
    let targets = assignments.iter().map(|one| one.identity.name.as_str());
    group_place::remember(&place, name, targets)?;
    own_run::begins(group.begin_run(&own_run::on_disks(group.view(), "group retarget")));
    group.retarget(&mut assignments, proofs)?;
    show(arguments, &changes, true)
}

/// Proves that the disk of `assignment` holds what the volume's disk does; `None` if it is that
/// disk.
fn prove(
    arguments: &Arguments,
    group: &mut Group,
    assignment: &mut Assignment,
) -> anyhow::Result<Option<(Change, SameContent)>> {
    let volume = assignment.volume.clone();
    let known = group.view().state().volumes.get(&volume).cloned();
    let known = known.ok_or_else(|| retarget::no_volume(group.view(), &volume))?;
    let to = assignment.identity.name.clone();
    if known.target.as_ref() == Some(&to) {
        return Ok(None);
    }
    // It must not belong to another volume; that it is a different disk is intended.
    blockio::target_check::check_kind(group.view(), std::slice::from_mut(assignment), true)?;
    retarget::require_room(&known, &assignment.target)?;
    let proof = match &arguments.digest {
        Some(path) => by_digest(path, group, &volume, assignment)?,
        None => by_the_old(group.view(), &volume, &known, assignment)?,
    };
    let compared_bytes = proof.bytes();
    Ok(Some((Change { volume, from: known.target, to, compared_bytes }, proof)))
}

fn by_the_old(
    group: &GroupView,
    volume: &VolumeName,
    known: &VolumeState,
    assignment: &mut Assignment,
) -> anyhow::Result<SameContent> {
    let old = old_disk(group, volume)?;
    let new = retarget::view(&mut assignment.target)?;
    let looking = Looking::begin(known.target_bytes)?;
    let views = (&old.view, &new);
    let proof = looking.watch(|watch| retarget::by_the_old(volume, known, views, watch))?;
    old.end()?;
    Ok(proof)
}

/// The group's disk for `volume`, checked to be as the group left it, claimed and ready to be read.
fn old_disk(group: &GroupView, volume: &VolumeName) -> anyhow::Result<Subject> {
    let named = group_targets::named_one(group, volume).map_err(|error| is_gone(group, &error))?;
    let subject = Subject::of_target(&named).map_err(|error| is_gone(group, &error.into()))?;
    group_targets::require_volume_as_left(group, volume, &named)
        .map_err(|error| is_not_as_left(group, &error))?;
    Ok(subject)
}

/// The error if the old disk cannot be read, so that its contents are unknown.
fn is_gone(group: &GroupView, cause: &anyhow::Error) -> Error {
    let name = group.name();
    Error::refused(format!("comparing with the disk that group {name} has: {cause:#}")).with_hint(
        "attach it, and stop what uses it; if it is gone, a digest of it at the point where the \
         group is proves the same: --digest FILE",
    )
}

/// The error if the contents of the old disk prove nothing.
fn is_not_as_left(group: &GroupView, cause: &anyhow::Error) -> Error {
    let name = group.name();
    Error::refused(format!("comparing with the disk that group {name} has: {cause:#}")).with_hint(
        "it cannot prove what the new disk should hold; an earlier digest of it, at the point \
         where the group is, can: --digest FILE",
    )
}

fn by_digest(
    path: &Path,
    group: &mut Group,
    volume: &VolumeName,
    assignment: &mut Assignment,
) -> anyhow::Result<SameContent> {
    let document = verify::read(path).with_context(|| path.display().to_string())?;
    let point = commit::where_it_is(group, HistorySettings::default())?.point();
    let new = retarget::view(&mut assignment.target)?;
    let looking = Looking::begin(document.digest.length().get())?;
    let view = group.view();
    let pair = (&document, &new);
    Ok(looking.watch(|watch| retarget::by_digest(view, point, volume, pair, watch))?)
}

fn show(arguments: &Arguments, changes: &[Change], retargeted: bool) -> anyhow::Result<Exit> {
    let mut out = output::stdout();
    if arguments.json {
        let document = serde_json::json!({ "changes": changes, "retargeted": retargeted });
        document::print(&mut out, &document)?;
    } else if changes.is_empty() {
        writeln!(out, "nothing to do: the group already has these disks")?;
    } else {
        let mut table = output::table(&["VOLUME", "WAS", "IS", "COMPARED"]);
        for change in changes {
            table.add_row([
                change.volume.in_a_table(),
                change.from.clone().unwrap_or_else(|| "-".to_owned()),
                change.to.clone(),
                size::binary(change.compared_bytes),
            ]);
        }
        output::print_table(&mut out, &table)?;
        let name = &arguments.of.group;
        match retargeted {
            true => writeln!(out, "group {name} now has these disks")?,
            false => writeln!(out, "dry run: nothing was changed")?,
        }
    }
    out.flush()?;
    let would = arguments.dry_run && !changes.is_empty();
    Ok(if would { Exit::NotReady } else { Exit::Done })
}
