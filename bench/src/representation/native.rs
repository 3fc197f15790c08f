//! Workloads as native change streams, and the encoder for other streams made here.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use blockio::stream::native::{Encoder, EncoderOptions};
use blockio::stream::{
    Format, Mark, MarkKind, Name, StreamHeader, Timestamp, VolumeHeader, VolumeIndex,
};
use blockio::units::{ByteCount, ByteOffset};

use crate::workload::{Filling, Kind, POINTS, SLICES, Workload, slice_bytes};

/// Between two points of a day, in nanoseconds.
const POINT_INTERVAL: u64 = 5 * 60 * 1_000_000_000;

/// Writes the stream of `workload`, for a target of `target_bytes`, to `path`, with the encoder's
/// defaults.
pub(super) fn write(workload: &Workload, target_bytes: u64, path: &Path) -> Result<PathBuf> {
    if workload.kind == Kind::Thinning {
        return write_day(workload, target_bytes, path);
    }
    let mut encoder = encoder(path, vec![volume("", target_bytes)])?;
    let mut bytes = Vec::new();
    for (index, range) in workload.data.iter().enumerate() {
        bytes.resize(usize::try_from(range.length)?, 0);
        Filling::Payload.fill(index as u64, &mut bytes);
        encoder.data(VolumeIndex(0), ByteOffset::new(range.offset), &bytes)?;
    }
    encoder.finish(true)?;
    Ok(path.to_owned())
}

/// Writes the changes of a day that has just ended, to [`SLICES`] volumes, with its points.
fn write_day(workload: &Workload, target_bytes: u64, path: &Path) -> Result<PathBuf> {
    let slice = slice_bytes(target_bytes);
    let volumes = (0..SLICES).map(|number| volume(&slice_name(number), slice)).collect();
    let mut encoder = encoder(path, volumes)?;
    let mut bytes = Vec::new();
    let between = workload.data.len() / usize::try_from(POINTS)?;
    let begin = blockio::group::keeper::now() - POINTS * POINT_INTERVAL;
    for (index, range) in workload.data.iter().enumerate() {
        bytes.resize(usize::try_from(range.length)?, 0);
        Filling::Payload.fill(index as u64, &mut bytes);
        let volume = VolumeIndex(u16::try_from(range.offset / slice)?);
        encoder.data(volume, ByteOffset::new(range.offset % slice), &bytes)?;
        if (index + 1) % between == 0 {
            let number = ((index + 1) / between) as u64;
            encoder.mark(&point(begin + number * POINT_INTERVAL))?;
        }
    }
    encoder.finish(true)?;
    Ok(path.to_owned())
}

/// The name of the volume on this slice of the target.
pub(crate) fn slice_name(number: u64) -> String {
    format!("slice{number}")
}

/// A mark without a name, at `nanoseconds`.
pub(crate) fn point(nanoseconds: u64) -> Mark {
    let time = Timestamp(nanoseconds);
    Mark { time, kind: MarkKind::CrashConsistent, name: None, group: None }
}

/// An encoder to a new file.
pub(crate) fn encoder(path: &Path, volumes: Vec<VolumeHeader>) -> Result<Encoder<BufWriter<File>>> {
    let output = BufWriter::new(File::create(path).context("creating a stream")?);
    let header =
        StreamHeader { format: Format::Native, is_in_write_order: true, identity: None, volumes };
    Ok(Encoder::new(output, &header, EncoderOptions::default())?)
}

/// A volume of `bytes`; the only one of its stream needs no name.
pub(crate) fn volume(name: &str, bytes: u64) -> VolumeHeader {
    let size = Some(ByteCount::new(bytes));
    let name = (!name.is_empty()).then(|| Name::new(name.as_bytes())).flatten();
    VolumeHeader { name, size, ..VolumeHeader::default() }
}
