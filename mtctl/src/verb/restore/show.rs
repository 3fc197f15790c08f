//! The output of `mtctl restore`: what would be written where, and what was written. The verb
//! itself does the work.

use std::io::Write;
use std::path::{Path, PathBuf};

use blockio::journal::catalogue::PointId;
use blockio::volume_name::VolumeName;
use serde::Serialize;
use system::size;

use super::{Arguments, FormatName, Pair};
use crate::output;

/// A volume that was restored completely.
pub(super) struct Restored {
    /// Its name in the group.
    pub(super) name: VolumeName,
    /// The path of its copy.
    pub(super) path: PathBuf,
    /// Size of the disk.
    pub(super) bytes: u64,
    /// How much was not written as data because it is zero; `None` for images made by qemu-img.
    pub(super) zero_bytes: Option<u64>,
    /// Its BLAKE3.
    pub(super) digest: String,
    /// How long it took, including reading back or comparing.
    pub(super) seconds: f64,
}

/// What a plan and a result have in common. Stable: fields are added, never changed.
#[derive(Serialize)]
struct Json<'a, Volume, State> {
    point: u64,
    point_text: &'a str,
    volumes: Vec<Volume>,
    format: &'static str,
    ovf: Option<&'a Path>,
    manifest: Option<PathBuf>,
    #[serde(flatten)]
    state: State,
}

#[derive(Serialize)]
struct DryRun {
    dry_run: bool,
}

#[derive(Serialize)]
struct Complete {
    complete: bool,
}

#[derive(Serialize)]
struct JsonPlanned<'a> {
    volume: &'a VolumeName,
    target: &'a Path,
    bytes: u64,
    is_new: bool,
}

#[derive(Serialize)]
struct JsonRestored<'a> {
    volume: &'a VolumeName,
    target: &'a Path,
    bytes: u64,
    zero_bytes: Option<u64>,
    digest: &'a str,
    seconds: f64,
}

/// Shows what will be written where.
pub(super) fn plan(
    pairs: &[Pair],
    point: PointId,
    shown: &str,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let mut out = output::stdout();
    if arguments.json {
        let volumes = pairs.iter().map(|pair| JsonPlanned {
            volume: &pair.name,
            target: pair.path(),
            bytes: pair.length(),
            is_new: pair.held.is_none(),
        });
        let state = DryRun { dry_run: true };
        let document = document((point, shown), volumes.collect::<Vec<_>>(), arguments, state);
        return output::print_result(&mut out, &document);
    }
    writeln!(out, "{}", output::wrapped(&format!("{shown}, onto other disks"), 2))?;
    let mut table = output::table(&["VOLUME", "TARGET", "SIZE", "WHAT IS THERE"]);
    for pair in pairs {
        let what = match pair.held {
            Some(_) => "is overwritten",
            None => "nothing: a new file",
        };
        let target = pair.path().display().to_string();
        table.add_row([pair.name.in_a_table(), target, size::binary(pair.length()), what.into()]);
    }
    for (what, file) in ["its OVF", "its manifest"].into_iter().zip(arguments.package.files()) {
        let file = output::plain(file.display());
        table.add_row([what.to_owned(), file, "-".to_owned(), "nothing: a new file".to_owned()]);
    }
    output::print_table(&mut out, &table)?;
    Ok(out.flush()?)
}

/// Shows what was written and verified.
pub(super) fn restored(
    restored: &[Restored],
    point: PointId,
    shown: &str,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let mut out = output::stdout();
    if arguments.json {
        let volumes = restored.iter().map(|one| JsonRestored {
            volume: &one.name,
            target: &one.path,
            bytes: one.bytes,
            zero_bytes: one.zero_bytes,
            digest: &one.digest,
            seconds: one.seconds,
        });
        let state = Complete { complete: true };
        let document = document((point, shown), volumes.collect::<Vec<_>>(), arguments, state);
        return output::print_result(&mut out, &document);
    }
    for one in restored {
        let how = match one.zero_bytes {
            Some(zeros) => format!("of which {} are zeros, read back", size::binary(zeros)),
            None => format!("as {}, compared by qemu-img", name(arguments.output_format)),
        };
        let (path, length) = (one.path.display(), size::binary(one.bytes));
        let text = format!("{path}: {shown}, {length} {how}, in {:.1} s", one.seconds);
        writeln!(out, "{}", output::wrapped(&output::plain(text), 2))?;
        writeln!(out, "  blake3 {}", one.digest)?;
    }
    for file in arguments.package.files() {
        writeln!(out, "{}", output::plain(file.display()))?;
    }
    Ok(out.flush()?)
}

fn document<'a, Volume, State>(
    (point, point_text): (PointId, &'a str),
    volumes: Vec<Volume>,
    arguments: &'a Arguments,
    state: State,
) -> Json<'a, Volume, State> {
    Json {
        point: point.0,
        point_text,
        volumes,
        format: name(arguments.output_format),
        ovf: arguments.package.descriptor(),
        manifest: arguments.package.manifest(),
        state,
    }
}

/// The format as typed.
fn name(format: FormatName) -> &'static str {
    match format {
        FormatName::Raw => "raw",
        FormatName::Qcow2 => "qcow2",
        FormatName::Vmdk => "vmdk",
    }
}
