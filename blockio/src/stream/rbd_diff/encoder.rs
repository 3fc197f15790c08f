//! Writes an rbd diff, v1 or v2, as `rbd import-diff` and our own decoder read it.

use std::io::{self, Write};

use crate::extent::{Extent, ExtentError};
use crate::stream::rbd_diff::record::Version;
use crate::stream::{Name, Problem, VolumeHeader};
use crate::units::{ByteCount, ByteOffset};
use crate::{Error, ErrorKind, Result};

/// The context of every error of this module.
const CONTEXT: &str = "writing an rbd diff";
/// A record stays within one object of the image, and objects have this size by default.
const OBJECT_BYTES: u64 = 4 << 20;

/// Writes one diff. Use a buffered output: a record is written in several parts.
///
/// Records are written in the order given; rbd itself writes them ascending and without overlap.
/// Without [`finish`](Self::finish) the diff has no end, and all our readers refuse it.
#[derive(Debug)]
pub struct Encoder<W> {
    output: W,
    version: Version,
    size: ByteCount,
}

impl<W: Write> Encoder<W> {
    /// Begins a diff of `volume`, from `from` to `to`. Its name has no place in a diff.
    ///
    /// # Errors
    ///
    /// Of kind `Usage` if the volume has no size, or an empty name of a snapshot; of kind `Failed`
    /// if the output cannot be written.
    pub fn new(output: W, version: Version, volume: &VolumeHeader) -> Result<Self> {
        let Some(size) = volume.size else {
            return Err(Error::new(ErrorKind::Usage, CONTEXT)
                .caused_by(Problem::Missing("s"))
                .with_hint("an rbd diff states the size of its image, but the source does not"));
        };
        let mut encoder = Self { output, version, size };
        encoder.put(version.banner())?;
        encoder.put_name(b'f', volume.from.as_ref())?;
        encoder.put_name(b't', volume.to.as_ref())?;
        encoder.put_tag(b's', 8)?;
        encoder.put(&size.get().to_le_bytes())?;
        Ok(encoder)
    }

    /// Writes data from `start` on.
    ///
    /// # Errors
    ///
    /// Of kind `Integrity` if `bytes` is empty, or ends past the volume: then nothing is written;
    /// of kind `Failed` if the output cannot be written.
    pub fn data(&mut self, start: ByteOffset, bytes: &[u8]) -> Result<()> {
        let extent = Extent::new(start, ByteCount::new(bytes.len() as u64)).map_err(unsound)?;
        self.check(extent)?;
        let mut left = bytes;
        for part in within_objects(extent) {
            // The parts of an extent have the same total length.
            let length = usize::try_from(part.length().get()).unwrap_or(usize::MAX);
            let (now, later) = left.split_at(length.min(left.len()));
            self.put_tag(b'w', 16 + part.length().get())?;
            self.put_range(part)?;
            self.put(now)?;
            left = later;
        }
        Ok(())
    }

    /// Writes zeros or a discard: the format does not distinguish them.
    ///
    /// # Errors
    ///
    /// As [`data`](Self::data).
    pub fn zero(&mut self, extent: Extent) -> Result<()> {
        self.check(extent)?;
        for part in within_objects(extent) {
            self.put_tag(b'z', 16)?;
            self.put_range(part)?;
        }
        Ok(())
    }

    /// Ends the diff, flushes the output, and returns it.
    ///
    /// # Errors
    ///
    /// Of kind `Failed` if the output cannot be written.
    pub fn finish(mut self) -> Result<W> {
        self.put(b"e")?;
        self.output.flush().map_err(failed)?;
        Ok(self.output)
    }

    fn check(&self, extent: Extent) -> Result<()> {
        let (end, size) = (extent.end().get(), self.size.get());
        if end > size {
            return Err(Error::integrity(CONTEXT, Problem::PastEnd { end, size }));
        }
        Ok(())
    }

    fn put_name(&mut self, tag: u8, name: Option<&Name>) -> Result<()> {
        let Some(name) = name.map(Name::as_bytes) else { return Ok(()) };
        // A name is at most NAME_BYTES_MAX long, so the length fits.
        let length = name.len() as u32;
        if length == 0 {
            let empty = Problem::Empty("name of a snapshot");
            return Err(Error::new(ErrorKind::Usage, CONTEXT).caused_by(empty));
        }
        self.put_tag(tag, 4 + u64::from(length))?;
        self.put(&length.to_le_bytes())?;
        self.put(name)
    }

    /// A tag, and for v2 the length of the content that follows.
    fn put_tag(&mut self, tag: u8, length: u64) -> Result<()> {
        self.put(&[tag])?;
        match self.version {
            Version::V1 => Ok(()),
            Version::V2 => self.put(&length.to_le_bytes()),
        }
    }

    fn put_range(&mut self, extent: Extent) -> Result<()> {
        self.put(&extent.start().get().to_le_bytes())?;
        self.put(&extent.length().get().to_le_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.write_all(bytes).map_err(failed)
    }
}

fn failed(error: io::Error) -> Error {
    Error::failed(CONTEXT, error)
}

fn unsound(error: ExtentError) -> Error {
    Error::integrity(CONTEXT, Problem::Range(error))
}

/// The parts of `extent`, none of them across an object boundary.
fn within_objects(extent: Extent) -> impl Iterator<Item = Extent> {
    let mut rest = Some(extent);
    std::iter::from_fn(move || {
        let left = rest?;
        let into_object = left.start().get() % OBJECT_BYTES;
        let border = left.start().checked_add(ByteCount::new(OBJECT_BYTES - into_object));
        let (part, later) = match border.and_then(|border| left.split_at(border)) {
            Some((part, later)) => (part, Some(later)),
            None => (left, None),
        };
        rest = later;
        Some(part)
    })
}
