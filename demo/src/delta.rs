//! The work of the cloud side, as far as the demo needs it: compares a disk with an earlier copy,
//! and writes the differences as a change stream. The story applies it.

use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::Path;

use anyhow::{Context, Result};
use blockio::extent::Extent;
use blockio::stream::native::{Encoder, EncoderOptions};
use blockio::stream::{
    Format, Mark, MarkKind, Name, StreamHeader, Timestamp, VolumeHeader, VolumeIndex,
};
use blockio::units::{ByteCount, ByteOffset};

/// The unit of comparison; disks in the demo are multiples of it.
const BLOCK_BYTES: usize = 4096;
const VOLUME: VolumeIndex = VolumeIndex(0);

/// Writes to `stream` the changes that turn a disk with the contents of `before` into one with
/// those of `now`, which has `size_bytes`, with a recovery point called `point` at the end; without
/// `before`, all of `now`.
///
/// # Errors
/// Returns an error if one of them cannot be read, or the stream cannot be written.
pub(crate) fn capture(
    before: Option<&Path>,
    now: &Path,
    size_bytes: u64,
    stream: &Path,
    point: &str,
) -> Result<()> {
    let capturing =
        || format!("capturing the changes of {} in {}", now.display(), stream.display());
    let mut before = before.map(File::open).transpose().with_context(capturing)?;
    let mut now = File::open(now).with_context(capturing)?;
    let output = BufWriter::new(File::create(stream).with_context(capturing)?);
    let mut encoder = Encoder::new(output, &header(size_bytes), EncoderOptions::default())?;
    let (mut old, mut new) = ([0; BLOCK_BYTES], [0; BLOCK_BYTES]);
    for start in (0..size_bytes).step_by(BLOCK_BYTES) {
        now.read_exact(&mut new).with_context(capturing)?;
        if let Some(before) = &mut before {
            before.read_exact(&mut old).with_context(capturing)?;
        }
        if before.is_none() || old != new {
            write(&mut encoder, ByteOffset::new(start), &new)?;
        }
    }
    encoder.mark(&mark(point))?;
    encoder.finish(true)?;
    Ok(())
}

fn write(encoder: &mut Encoder<BufWriter<File>>, start: ByteOffset, block: &[u8]) -> Result<()> {
    if block.iter().all(|byte| *byte == 0) {
        encoder.zero(VOLUME, Extent::new(start, ByteCount::new(block.len() as u64))?)?;
    } else {
        encoder.data(VOLUME, start, block)?;
    }
    Ok(())
}

fn header(size_bytes: u64) -> StreamHeader {
    let volume = VolumeHeader {
        name: Name::new(b"accounting"),
        size: Some(ByteCount::new(size_bytes)),
        ..VolumeHeader::default()
    };
    StreamHeader {
        format: Format::Native,
        is_in_write_order: true,
        identity: None,
        volumes: vec![volume],
    }
}

fn mark(point: &str) -> Mark {
    let nanoseconds = jiff::Timestamp::now().as_nanosecond();
    Mark {
        time: Timestamp(u64::try_from(nanoseconds).unwrap_or(0)),
        // The filesystem was unmounted, so no writes were pending.
        kind: MarkKind::ApplicationConsistent,
        name: Name::new(point.as_bytes()),
        group: None,
    }
}
