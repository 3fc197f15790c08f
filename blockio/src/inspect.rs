//! Inspects a stream: headers, volumes, counts, marks, and the first error in it. Everything is
//! read and verified as for applying; nothing is written anywhere.

use crate::stream::open::Stream;
use crate::stream::{Content, End, Frame, Mark, Piece, StreamHeader, VolumeIndex};
use crate::verify::{Bounds, verify};
use crate::{Error, Result};

/// How many marks of an input are listed; any others are only counted.
pub(crate) const MARKS_LISTED_MAX: usize = 10_000;
/// How many streams of one input are listed; any others are only counted.
pub(crate) const STREAMS_LISTED_MAX: usize = 10_000;

/// What an input contains.
#[derive(Debug, Default)]
pub struct Inspection {
    /// The streams in it, up to `STREAMS_LISTED_MAX`.
    pub streams: Vec<StreamInspection>,
    /// How many there are.
    pub stream_count: u64,
    /// How many bytes were read, up to the end or to the error.
    pub bytes: u64,
    /// The first error in it.
    pub error: Option<Error>,
}

/// What a stream contains.
#[derive(Debug)]
pub struct StreamInspection {
    /// Its header.
    pub header: StreamHeader,
    /// The findings for each of its volumes.
    pub volumes: Vec<VolumeInspection>,
    /// The number of its batches.
    pub batches: u64,
    /// Its marks, up to `MARKS_LISTED_MAX` of all streams of the input together.
    pub marks: Vec<Mark>,
    /// How many marks there are.
    pub mark_count: u64,
    /// Its end; `None` if the input ended before it.
    pub end: Option<End>,
}

/// What a stream contains for one volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeInspection {
    /// Extents of any content.
    pub extents: u64,
    /// Bytes of data.
    pub data_bytes: u64,
    /// Bytes of zeros.
    pub zero_bytes: u64,
    /// Bytes discarded.
    pub discard_bytes: u64,
}

impl StreamInspection {
    fn new(header: StreamHeader) -> Self {
        let volumes = vec![VolumeInspection::default(); header.volumes.len()];
        let (batches, mark_count, marks, end) = (0, 0, Vec::new(), None);
        Self { header, volumes, batches, marks, mark_count, end }
    }

    fn bounds(&self) -> Vec<Bounds> {
        let volumes = self.header.volumes.iter();
        volumes.map(|volume| Bounds { source: volume.size, target: None }).collect()
    }

    fn count(&mut self, piece: &Piece) {
        let VolumeIndex(index) = piece.volume;
        // Verification refused pieces on unknown volumes.
        let Some(volume) = self.volumes.get_mut(usize::from(index)) else { return };
        let length = piece.extent.length().get();
        volume.extents += 1;
        match piece.content {
            Content::Data { .. } => volume.data_bytes += length,
            Content::Zero => volume.zero_bytes += length,
            Content::Discard => volume.discard_bytes += length,
        }
    }
}

/// Reads `source`, called `name` in messages, to its end or to the first error; `progress` receives
/// the number of bytes consumed.
pub fn inspect(name: &str, source: &mut Stream, progress: &mut dyn FnMut(u64)) -> Inspection {
    let mut found = Inspection::default();
    let mut current = None;
    let outcome = read_all(name, source, &mut found, &mut current, progress);
    keep(&mut found, current);
    found.bytes = source.consumed();
    found.error = outcome.err();
    found
}

fn read_all(
    name: &str,
    source: &mut Stream,
    found: &mut Inspection,
    current: &mut Option<StreamInspection>,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    // Streams stand back to back: a limit per stream would not limit the input.
    let mut room_for_marks = MARKS_LISTED_MAX;
    while let Some(frame) = source.next_frame()? {
        progress(source.consumed());
        match (frame, current.as_mut()) {
            (Frame::Begin(header), _) => {
                keep(found, current.take());
                found.stream_count += 1;
                *current = Some(StreamInspection::new(header));
            }
            (Frame::Batch(batch), Some(stream)) => {
                let at = source.consumed();
                let batch = verify(batch, &stream.bounds()).map_err(|unverified| {
                    let context = format!("verifying {name}, in the batch that ends at byte {at}");
                    Error::integrity(context, unverified)
                })?;
                stream.batches += 1;
                batch.batch().header.pieces.iter().for_each(|piece| stream.count(piece));
            }
            (Frame::Mark(mark), Some(stream)) => {
                stream.mark_count += 1;
                if room_for_marks > 0 {
                    room_for_marks -= 1;
                    stream.marks.push(mark);
                }
            }
            (Frame::End(end), Some(stream)) => stream.end = Some(end),
            (Frame::Batch(_) | Frame::Mark(_) | Frame::End(_), None) => {
                debug_assert!(false, "the decoder did not begin with a header");
            }
        }
    }
    Ok(())
}

fn keep(found: &mut Inspection, stream: Option<StreamInspection>) {
    if found.streams.len() < STREAMS_LISTED_MAX {
        found.streams.extend(stream);
    }
}
