//! Measurements with a bound of their own that are not compared with a peer: how long a long list
//! of recovery points takes, and how much memory many large disks need. Each consists of one
//! stream, made here, and one command.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use blockio::stream::native::{Encoder, EncoderOptions};
use blockio::stream::{
    Format, Mark, MarkKind, Name, StreamHeader, Timestamp, VolumeHeader, VolumeIndex,
};
use blockio::units::{ByteCount, ByteOffset};
use serde::Serialize;

use crate::history::RetentionVolume;
use crate::measure::{Input, Measured, run};
use crate::rounds::say;
use crate::statistics::Spread;
use crate::target::Target;
use crate::tools::Tools;
use crate::workload::{Filling, Numbers};

/// The names of limits that claims refer to.
pub(crate) const LISTED: &str = "list of 10,000 recovery points";
/// A preview of a rollback to the oldest point.
pub(crate) const PREVIEWED: &str = "preview of a rollback over 10,000 points";
/// Many disks, with history.
pub(crate) const DISKS_WRITTEN: &str = "apply with history to 60 disks of 1 TiB";
/// Number of recovery points in the list.
const POINTS: u64 = 10_000;
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
    let place = volume.place();
    let mut found = many_points(target, tools, &place, rounds)?;
    found.push(many_disks(target, tools, &place)?);
    Ok(found)
}

/// A group with many points: listing them, and a preview of a rollback to the oldest.
fn many_points(target: &Target, tools: &Tools, place: &str, rounds: usize) -> Result<Vec<Limit>> {
    let (stream, disk) = (target.path("points.mtcs"), target.path("points.raw"));
    File::create(&disk)?.set_len(64 << 20).context("sizing an image")?;
    say(&format!("limits: making {POINTS} recovery points"));
    write_points(&stream)?;
    let mtctl = tools.mtctl.display();
    let begun = Instant::now();
    let apply = format!(
        "{mtctl} apply {} --target {} --group points {place} --json",
        stream.display(),
        disk.display()
    );
    let making = once(&apply, target.directory())?;
    say(&format!("limits: made in {:.1} s", begun.elapsed().as_secs_f64()));
    fs::remove_file(stream)?;
    let list = format!("{mtctl} points list --group points {place} --json");
    let back = format!("{mtctl} rollback --group points {place} --to start --dry-run");
    let found = vec![
        limit("making 10,000 recovery points", &apply, &[making]),
        limit(LISTED, &list, &several(&list, target, rounds)?),
        limit(PREVIEWED, &back, &several(&back, target, rounds)?),
    ];
    fs::remove_file(disk)?;
    Ok(found)
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
        let time = Timestamp(now - (POINTS - number) * 100_000_000);
        encoder.mark(&Mark { time, kind: MarkKind::CrashConsistent, name: None, group: None })?;
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

fn encoder(path: &Path, volumes: Vec<VolumeHeader>) -> Result<Encoder<BufWriter<File>>> {
    let output = BufWriter::new(File::create(path).context("creating a stream")?);
    let header =
        StreamHeader { format: Format::Native, is_in_write_order: true, identity: None, volumes };
    Ok(Encoder::new(output, &header, EncoderOptions::default())?)
}

fn volume(name: &str, bytes: u64) -> VolumeHeader {
    let size = Some(ByteCount::new(bytes));
    let name = (!name.is_empty()).then(|| Name::new(name.as_bytes())).flatten();
    VolumeHeader { name, size, ..VolumeHeader::default() }
}

fn once(command: &str, directory: &Path) -> Result<Measured> {
    let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    run(&words, &Input::None, directory)
}

fn several(command: &str, target: &Target, rounds: usize) -> Result<Vec<Measured>> {
    (0..rounds).map(|_| once(command, target.directory())).collect()
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
