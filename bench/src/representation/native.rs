//! A workload as a native change stream: the only place here that uses `blockio`'s encoder.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use blockio::stream::native::{Encoder, EncoderOptions};
use blockio::stream::{Format, StreamHeader, VolumeHeader, VolumeIndex};
use blockio::units::{ByteCount, ByteOffset};

use crate::workload::{Filling, Workload};

/// Writes the stream of one volume of `target_bytes` to `path`, with the encoder's defaults.
pub(super) fn write(workload: &Workload, target_bytes: u64, path: &Path) -> Result<PathBuf> {
    let output = BufWriter::new(File::create(path).context("creating a stream")?);
    let volume =
        VolumeHeader { size: Some(ByteCount::new(target_bytes)), ..VolumeHeader::default() };
    let header = StreamHeader {
        format: Format::Native,
        is_in_write_order: true,
        identity: None,
        volumes: vec![volume],
    };
    let mut encoder = Encoder::new(output, &header, EncoderOptions::default())?;
    let mut bytes = Vec::new();
    for (index, range) in workload.data.iter().enumerate() {
        bytes.resize(usize::try_from(range.length)?, 0);
        Filling::Payload.fill(index as u64, &mut bytes);
        encoder.data(VolumeIndex(0), ByteOffset::new(range.offset), &bytes)?;
    }
    encoder.finish(true)?;
    Ok(path.to_owned())
}
