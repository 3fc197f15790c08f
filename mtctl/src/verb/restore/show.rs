//! The output of `mtctl restore`: what would be written where, and what was written. The verb
//! itself does the work.

use std::io::Write;
use std::path::{Path, PathBuf};

use blockio::journal::catalogue::PointId;
use blockio::volume_name::VolumeName;
use serde::Serialize;
use system::size;

use super::package::PackageOptions;
use super::pair::{Pair, Restored};
use crate::document;
use crate::output;
use crate::qemu_image::ImageFormat;

/// What a plan and a result are about.
pub(super) struct About<'a> {
    /// The point.
    pub(super) point: PointId,
    /// The point as messages name it.
    pub(super) point_text: &'a str,
    /// The format of image files that are made.
    pub(super) format: ImageFormat,
    /// The package around them.
    pub(super) package: &'a PackageOptions,
    /// Whether it is shown as JSON.
    pub(super) as_json: bool,
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
pub(super) fn plan(pairs: &[Pair], about: &About<'_>) -> anyhow::Result<()> {
    let mut out = output::stdout();
    if about.as_json {
        let volumes = pairs.iter().map(|pair| JsonPlanned {
            volume: &pair.name,
            target: pair.path(),
            bytes: pair.length(),
            is_new: pair.held.is_none(),
        });
        let state = DryRun { dry_run: true };
        let document = json(volumes.collect(), about, state);
        return document::print(&mut out, &document);
    }
    writeln!(out, "{}", output::wrapped(&format!("{}, onto other disks", about.point_text), 2))?;
    let mut table = output::table(&["VOLUME", "TARGET", "SIZE", "WHAT IS THERE"]);
    for pair in pairs {
        let what = match pair.held {
            Some(_) => "is overwritten",
            None => "nothing: a new file",
        };
        let target = pair.path().display().to_string();
        table.add_row([pair.name.in_a_table(), target, size::binary(pair.length()), what.into()]);
    }
    for (what, file) in ["its OVF", "its manifest"].into_iter().zip(about.package.files()) {
        let file = output::plain(file.display());
        table.add_row([what.to_owned(), file, "-".to_owned(), "nothing: a new file".to_owned()]);
    }
    output::print_table(&mut out, &table)?;
    Ok(out.flush()?)
}

/// Shows what was written and verified.
pub(super) fn restored(restored: &[Restored], about: &About<'_>) -> anyhow::Result<()> {
    let mut out = output::stdout();
    if about.as_json {
        let volumes = restored.iter().map(|one| JsonRestored {
            volume: &one.name,
            target: &one.path,
            bytes: one.bytes,
            zero_bytes: one.zero_bytes,
            digest: &one.digest,
            seconds: one.seconds,
        });
        let state = Complete { complete: true };
        let document = json(volumes.collect(), about, state);
        return document::print(&mut out, &document);
    }
    for one in restored {
        let how = match one.zero_bytes {
            Some(zeros) => format!("of which {} are zeros, read back", size::binary(zeros)),
            None => format!("as {}, compared by qemu-img", about.format.name()),
        };
        let (path, length) = (one.path.display(), size::binary(one.bytes));
        let text = format!("{path}: {}, {length} {how}, in {:.1} s", about.point_text, one.seconds);
        writeln!(out, "{}", output::wrapped(&output::plain(text), 2))?;
        writeln!(out, "  blake3 {}", one.digest)?;
    }
    for file in about.package.files() {
        writeln!(out, "{}", output::plain(file.display()))?;
    }
    Ok(out.flush()?)
}

fn json<'a, Volume, State>(
    volumes: Vec<Volume>,
    about: &'a About<'_>,
    state: State,
) -> Json<'a, Volume, State> {
    Json {
        point: about.point.0,
        point_text: about.point_text,
        volumes,
        format: about.format.name(),
        ovf: about.package.descriptor(),
        manifest: about.package.manifest(),
        state,
    }
}
