//! Measurements with a bound of their own that are not compared with a peer: how long a long list
//! of recovery points takes, and how much memory many large disks need. Each consists of one
//! stream, made here, and one command.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use blockio::stream::VolumeIndex;
use blockio::units::ByteOffset;
use serde::Serialize;

use crate::contender::{Contender, Role};
use crate::history::{GROUP, RetentionVolume};
use crate::measure::{Input, Measured, quietly, run};
use crate::representation::native::{encoder, point, volume};
use crate::rounds::say;
use crate::statistics::Spread;
use crate::target::Target;
use crate::tools::Tools;
use crate::workload::{Filling, Numbers};

/// The names of limits that claims refer to.
pub(crate) const MADE: &str = "making 10,000 recovery points";
/// Listing them.
pub(crate) const LISTED: &str = "list of 10,000 recovery points";
/// A preview of a rollback to the oldest point.
pub(crate) const PREVIEWED: &str = "preview of a rollback over 10,000 points";
/// Many disks, with history.
pub(crate) const DISKS_WRITTEN: &str = "apply with history to 60 disks of 1 TiB";
/// Number of recovery points in the list.
const POINTS: u64 = 10_000;
/// They are made at most this often.
const MAKING_ROUNDS: usize = 3;
/// Number of disks written at the same time.
const DISKS: u64 = 60;
/// Size of each disk, in bytes.
const DISK_BYTES: u64 = 1 << 40;
/// Number of writes to all of them together, 4 to 16 KiB each.
const WRITES: u64 = 100_000;

/// The measurement of one limit.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Limit {
    pub(crate) name: &'static str,
    /// The command of the last round.
    pub(crate) command: String,
    pub(crate) wall_s: Spread,
    pub(crate) peak_mib: f64,
}

/// Measures all limits, `rounds` times each except for those that take long.
///
/// # Errors
///
/// A command failed.
pub(crate) fn measure(target: &Target, tools: &Tools, rounds: usize) -> Result<Vec<Limit>> {
    let volume = RetentionVolume::new(target, false)?;
    let mut found = many_points(&volume, tools, rounds)?;
    found.push(many_disks(target, tools, &volume.place())?);
    Ok(found)
}

/// A group with many points: making them, listing them, and a preview of a rollback to the oldest.
fn many_points(volume: &RetentionVolume<'_>, tools: &Tools, rounds: usize) -> Result<Vec<Limit>> {
    let target = volume.target();
    say(&format!("limits: making {POINTS} recovery points"));
    let apply = making_points(volume, tools)?;
    let [_, forget] = &apply.around;
    let mut made = Vec::new();
    for round in 0..rounds.min(MAKING_ROUNDS) {
        if round > 0 {
            quietly("sh", &["-ec", forget])?;
        }
        // Not as a contender: its group is forgotten after each run, and is needed below.
        made.push(run(&apply.command, &Input::None, None, target.directory())?);
    }
    let (mtctl, place) = (tools.mtctl.display(), volume.place());
    let list = format!("{mtctl} points list --group {GROUP} {place} --json");
    let back = format!("{mtctl} rollback --group {GROUP} {place} --to start --dry-run");
    let found = vec![
        limit(MADE, &apply.command.join(" "), &made),
        limit(LISTED, &list, &several(&list, target, rounds)?),
        limit(PREVIEWED, &back, &previews(&back, target, rounds)?),
    ];
    quietly("sh", &["-ec", forget])?;
    Ok(found)
}

/// An apply that makes many points.
///
/// # Errors
///
/// Its stream cannot be made.
pub(crate) fn making_points(volume: &RetentionVolume<'_>, tools: &Tools) -> Result<Contender> {
    let target = volume.target();
    let (stream, disk) = (target.path("points.mtcs"), target.path("points.raw"));
    File::create(&disk)?.set_len(64 << 20).context("sizing an image")?;
    write_points(&stream)?;
    let options = format!("--target {}", disk.display());
    Ok(volume.apply_to(MADE, Role::Subject, &stream, &options, &tools.mtctl))
}

/// Many large, sparse disks, written at random with history.
fn many_disks(target: &Target, tools: &Tools, place: &str) -> Result<Limit> {
    let directory = tempfile::tempdir_in(target.directory()).context("making a directory")?;
    let disk = |number: u64| directory.path().join(format!("disk{number}"));
    let mut command = format!("{} apply", tools.mtctl.display());
    let stream = directory.path().join("stream.mtcs");
    command += &format!(" {} --group disks {place} --json", stream.display());
    for number in 0..DISKS {
        File::create(disk(number))?.set_len(DISK_BYTES).context("sizing an image")?;
        command += &format!(" --map disk{number}={}", disk(number).display());
    }
    say(&format!("limits: writing to {DISKS} disks of 1 TiB"));
    write_disks(&stream)?;
    let measured = once(&command, target.directory())?;
    Ok(limit(DISKS_WRITTEN, &command, &[measured]))
}

fn write_points(path: &Path) -> Result<()> {
    let mut encoder = encoder(path, vec![volume("", 64 << 20)])?;
    let mut numbers = Numbers::new();
    let mut bytes = vec![0; 4096];
    // The points are from today, one for every tenth of a second, so that none is due for thinning.
    let now = blockio::group::keeper::now();
    for number in 0..POINTS {
        Filling::Payload.fill(number, &mut bytes);
        let page = numbers.below((64 << 20) / 4096);
        encoder.data(VolumeIndex(0), ByteOffset::new(page * 4096), &bytes)?;
        encoder.mark(&point(now - (POINTS - number) * 100_000_000))?;
    }
    encoder.finish(true)?;
    Ok(())
}

fn write_disks(path: &Path) -> Result<()> {
    let names = (0..DISKS).map(|number| format!("disk{number}"));
    let volumes = names.map(|name| volume(&name, DISK_BYTES)).collect();
    let mut encoder = encoder(path, volumes)?;
    let mut numbers = Numbers::new();
    let mut bytes = Vec::new();
    for number in 0..WRITES {
        let pages = numbers.between(1, 4);
        let page = numbers.between(0, DISK_BYTES / 4096 - pages);
        bytes.resize(usize::try_from(pages * 4096)?, 0);
        Filling::Payload.fill(number, &mut bytes);
        let disk = u16::try_from(numbers.below(DISKS))?;
        encoder.data(VolumeIndex(disk), ByteOffset::new(page * 4096), &bytes)?;
    }
    encoder.finish(true)?;
    Ok(())
}

fn once(command: &str, directory: &Path) -> Result<Measured> {
    let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    run(&words, &Input::None, None, directory)
}

fn several(command: &str, target: &Target, rounds: usize) -> Result<Vec<Measured>> {
    (0..rounds).map(|_| once(command, target.directory())).collect()
}

/// Runs a preview `rounds` times: that there is something to do is its exit code.
fn previews(command: &str, target: &Target, rounds: usize) -> Result<Vec<Measured>> {
    let checked = format!("{command}; [ $? = 3 ]");
    let words = ["sh", "-c", &checked].map(str::to_owned);
    (0..rounds).map(|_| run(&words, &Input::None, None, target.directory())).collect()
}

fn limit(name: &'static str, command: &str, runs: &[Measured]) -> Limit {
    let walls: Vec<f64> = runs.iter().map(|run| run.wall_seconds).collect();
    let none = Spread { median: 0.0, min: 0.0, max: 0.0 };
    Limit {
        name,
        command: command.to_owned(),
        wall_s: Spread::of(&walls).unwrap_or(none),
        peak_mib: runs.iter().map(|run| run.peak_mib).fold(0.0, f64::max),
    }
}
