//! Converts one or several inputs to one stream of another format, verified on the way as for
//! applying.
//!
//! What the other format cannot express is lost and counted ([`Conversion`]); what it requires and
//! the inputs lack is asked for. Which file is written, and how it gets its name, is up to the
//! caller.

use std::collections::BTreeMap;
use std::io::Write;

use crate::device::buffer::Arena;
use crate::extent::Extent;
use crate::plain::Plain;
use crate::remedy::{Remedied, StreamRemedy};
use crate::stream::open::Stream;
use crate::stream::{
    Batch, Content, End, Frame, Mark, MarkKind, Name, Piece, StreamHeader, Timestamp, VolumeHeader,
    VolumeIndex, native, rbd_diff,
};
use crate::units::{ByteCount, ByteOffset};
use crate::verify::{Bounds, verify};
use crate::{Error, ErrorKind, Result};

/// The format to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// The native format.
    Native(native::EncoderOptions),
    /// rbd diff.
    RbdDiff(rbd_diff::Version),
}

/// What was written, and what was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conversion {
    /// Extents of any content.
    pub extents: u64,
    /// Bytes of data.
    pub data_bytes: u64,
    /// Bytes of zeros and discards.
    pub zero_bytes: u64,
    /// Marks written.
    pub marks: u64,
    /// Marks that the output cannot hold.
    pub marks_lost: u64,
}

/// The header of one stream equivalent to the streams with `headers`, one after another, each with
/// the name of its input.
///
/// # Errors
///
/// `Usage`: their volumes differ, one does not begin where the one before ends, or a size is
/// unknown (`size` is used where the inputs do not give one) or differs.
pub fn joined_header(
    headers: &[(String, StreamHeader)],
    size: Option<ByteCount>,
) -> Result<StreamHeader> {
    let mut joined = joined(headers)?;
    for volume in &mut joined.volumes {
        if let (Some(said), Some(size)) = (volume.size.filter(|said| size != Some(*said)), size) {
            let context = format!(
                "taking {size} bytes as the size: the input says that its disk has {said} bytes"
            );
            return Err(Error::new(ErrorKind::Usage, context).with_hint("give no size"));
        }
        volume.size = volume.size.or(size);
        if volume.size.is_none() {
            return Err(Error::new(
                ErrorKind::Usage,
                "the input does not state the size of its disk",
            )
            .remedied(StreamRemedy::NameSize));
        }
    }
    Ok(joined)
}

/// As [`joined_header`], but sizes may be unknown.
pub(crate) fn joined(headers: &[(String, StreamHeader)]) -> Result<StreamHeader> {
    let Some((_, first)) = headers.first() else {
        return Err(Error::new(ErrorKind::Usage, "there is nothing to convert"));
    };
    // The result is another stream: its records are at other offsets.
    let mut joined = StreamHeader { identity: None, ..first.clone() };
    for pair in headers.windows(2) {
        let [(before, _), (name, next)] = pair else { continue };
        join(&mut joined, next).map_err(|(why, hint)| {
            let context = format!("joining {name} to {before}: {why}");
            Error::new(ErrorKind::Usage, context).with_hint(hint)
        })?;
    }
    Ok(joined)
}

/// Joins `next`; or says what keeps it from being joined, and what to do.
fn join(
    joined: &mut StreamHeader,
    next: &StreamHeader,
) -> std::result::Result<(), (String, &'static str)> {
    const IN_ORDER: &str = "name streams of the same volumes, in order";
    joined.is_in_write_order &= next.is_in_write_order;
    if joined.volumes.len() != next.volumes.len() {
        return Err(("they have different numbers of volumes".to_owned(), IN_ORDER));
    }
    for (volume, next) in joined.volumes.iter_mut().zip(&next.volumes) {
        if volume.name != next.name {
            return Err(("their volumes have different names".to_owned(), IN_ORDER));
        }
        let is_chained = volume.to.is_some() || next.from.is_some();
        if is_chained && volume.to != next.from {
            let ends = (told(volume.to.as_ref()), told(next.from.as_ref()));
            let why =
                format!("the previous one ends at {}, but this one begins at {}", ends.0, ends.1);
            return Err((why, IN_ORDER));
        }
        if next.size.is_some() && next.size < volume.size {
            // Its last part would be lost, and would reappear if the disk grows later.
            let why = "its disk is smaller than in the previous one".to_owned();
            return Err((why, "a stream has one size: write each to a file of its own"));
        }
        (volume.to, volume.size) = (next.to.clone(), next.size.or(volume.size));
    }
    Ok(())
}

fn told(snapshot: Option<&Name>) -> String {
    snapshot.map_or_else(|| "no snapshot".to_owned(), |name| format!("\"{}\"", Plain(name)))
}

/// Writes the content of `sources` (their names and how to open them, in order) to `output`, as one
/// stream with the header `header`.
///
/// # Errors
///
/// `Integrity`: an input fails verification; the output then has no end record. `Failed`: an input
/// cannot be read, or the output cannot be written. `Usage`: the output format cannot hold the
/// input.
pub fn convert<W: Write>(
    sources: impl IntoIterator<Item = Result<(String, Stream)>>,
    header: &StreamHeader,
    to: OutputFormat,
    output: W,
    progress: &mut dyn FnMut(u64),
) -> Result<Conversion> {
    let mut sink = StreamSink::new(header, to, output)?;
    let mut done = Conversion::default();
    let mut before = 0;
    let mut pending = None;
    let mut is_joined = false;
    for source in sources {
        let (name, mut source) = source?;
        let mut bounds = Vec::new();
        while let Some(frame) = source.next_frame()? {
            progress(before + source.consumed());
            match frame {
                Frame::Begin(header) => {
                    bounds = bounds_of(&header);
                    if let Some(mark) = pending.take() {
                        sink.mark(&mark, &mut done)?;
                        is_joined = true;
                    }
                    sink.begin(&header, &mut done)?;
                    pending = end_mark(&header);
                }
                Frame::Batch(batch) => sink.batch(&name, batch, &bounds, &mut done)?,
                Frame::Mark(mark) => sink.mark(&mark, &mut done)?,
                Frame::End(End { consistent, .. }) => sink.is_consistent = consistent,
            }
        }
        before += source.consumed();
    }
    // Only a single stream states its end in its header. When several are joined, the last end is a
    // point like those before it, and a stream that has marks makes no other.
    if let Some(mark) = pending.filter(|_| is_joined && sink.is_consistent) {
        sink.mark(&mark, &mut done)?;
    }
    sink.finish()?;
    Ok(done)
}

pub(crate) fn bounds_of(header: &StreamHeader) -> Vec<Bounds> {
    let volumes = header.volumes.iter();
    volumes.map(|volume| Bounds { source: volume.size, target: None }).collect()
}

/// The recovery point that a single-volume stream ends in according to its header, with unknown
/// time.
pub(crate) fn end_mark(header: &StreamHeader) -> Option<Mark> {
    let [VolumeHeader { to: Some(name), .. }] = header.volumes.as_slice() else { return None };
    let (time, kind) = (Timestamp(0), MarkKind::CrashConsistent);
    Some(Mark { time, kind, name: Some(name.clone()), group: None })
}

enum Encoder<W: Write> {
    Native(Box<native::Encoder<W>>),
    RbdDiff(rbd_diff::Encoder<W>),
}

/// The output, in either format.
pub(crate) struct StreamSink<W: Write> {
    encoder: Encoder<W>,
    is_consistent: bool,
    /// The number in the output of the input's first volume.
    pub(crate) first_volume: u16,
    /// How large each volume of what is written is by now.
    sizes: BTreeMap<VolumeIndex, ByteCount>,
}

impl<W: Write> StreamSink<W> {
    pub(crate) fn new(header: &StreamHeader, to: OutputFormat, output: W) -> Result<Self> {
        let encoder = match (to, header.volumes.as_slice()) {
            (OutputFormat::Native(options), _) => {
                Encoder::Native(Box::new(native::Encoder::new(output, header, options)?))
            }
            (OutputFormat::RbdDiff(version), [volume]) => {
                Encoder::RbdDiff(rbd_diff::Encoder::new(output, version, volume)?)
            }
            (OutputFormat::RbdDiff(_), volumes) => {
                let context =
                    format!("an rbd diff has one volume, but the input {}", volumes.len());
                return Err(Error::new(ErrorKind::Usage, context));
            }
        };
        Ok(Self { encoder, is_consistent: true, first_volume: 0, sizes: BTreeMap::new() })
    }

    /// A stream begins. What a volume has more than in the one before it reads as zeros: in one
    /// stream that has to be written, since nothing else says where the volume ended.
    pub(crate) fn begin(&mut self, header: &StreamHeader, done: &mut Conversion) -> Result<()> {
        for (volume, index) in header.volumes.iter().zip(self.first_volume..) {
            let Some(now) = volume.size else { continue };
            let before = self.sizes.insert(VolumeIndex(index), now).unwrap_or(now).get();
            let more = ByteCount::new(now.get().saturating_sub(before));
            let Ok(grown) = Extent::new(ByteOffset::new(before), more) else { continue };
            self.zero(VolumeIndex(index), grown)?;
            done.extents += 1;
            done.zero_bytes += more.get();
        }
        Ok(())
    }

    pub(crate) fn batch(
        &mut self,
        name: &str,
        batch: Batch,
        bounds: &[Bounds],
        done: &mut Conversion,
    ) -> Result<()> {
        let batch = verify(batch, bounds)
            .map_err(|unverified| Error::integrity(format!("verifying {name}"), unverified))?
            .into_batch();
        for piece in &batch.header.pieces {
            self.piece(piece, &batch.arena)?;
            let length = piece.extent.length().get();
            done.extents += 1;
            match piece.content {
                Content::Data { .. } => done.data_bytes += length,
                Content::Zero | Content::Discard => done.zero_bytes += length,
            }
        }
        Ok(())
    }

    fn piece(&mut self, piece: &Piece, arena: &Arena) -> Result<()> {
        let Piece { volume: VolumeIndex(volume), extent, content } = *piece;
        // Verification refused pieces on unknown volumes, and all volumes are in the header.
        let volume = VolumeIndex(volume.saturating_add(self.first_volume));
        match content {
            Content::Data { position } => {
                let data = payload(arena, position, extent)?;
                self.data(volume, extent.start(), data)
            }
            Content::Zero => self.zero(volume, extent),
            Content::Discard => match &mut self.encoder {
                Encoder::Native(encoder) => encoder.discard(volume, extent),
                Encoder::RbdDiff(encoder) => encoder.zero(extent),
            },
        }
    }

    fn zero(&mut self, volume: VolumeIndex, extent: Extent) -> Result<()> {
        match &mut self.encoder {
            Encoder::Native(encoder) => encoder.zero(volume, extent),
            Encoder::RbdDiff(encoder) => encoder.zero(extent),
        }
    }

    fn data(&mut self, volume: VolumeIndex, start: ByteOffset, data: &[u8]) -> Result<()> {
        match &mut self.encoder {
            Encoder::Native(encoder) => encoder.data(volume, start, data),
            Encoder::RbdDiff(encoder) => encoder.data(start, data),
        }
    }

    pub(crate) fn mark(&mut self, mark: &Mark, done: &mut Conversion) -> Result<()> {
        match &mut self.encoder {
            Encoder::Native(encoder) => {
                done.marks += 1;
                encoder.mark(mark)
            }
            Encoder::RbdDiff(_) => {
                done.marks_lost += 1;
                Ok(())
            }
        }
    }

    pub(crate) fn finish(self) -> Result<()> {
        match self.encoder {
            Encoder::Native(encoder) => encoder.finish(self.is_consistent).map(drop),
            Encoder::RbdDiff(encoder) => encoder.finish().map(drop),
        }
    }
}

fn payload(arena: &Arena, position: usize, extent: Extent) -> Result<&[u8]> {
    let length = usize::try_from(extent.length().get()).unwrap_or(usize::MAX);
    let end = position.checked_add(length);
    end.and_then(|end| arena.as_slice().get(position..end)).ok_or_else(|| {
        Error::new(ErrorKind::Integrity, "a piece's payload lies outside of its batch")
    })
}
