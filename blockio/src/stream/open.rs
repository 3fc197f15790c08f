//! Opens an input in its format: the one the operator named, or the one detected from its first
//! bytes. A raw image has no characteristic first bytes: it is never guessed.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::device::buffer::ArenaPool;
use crate::remedy::{Remedied, StreamRemedy};
use crate::stream::content::{Consumed, SourceOrder};
use crate::stream::input::Input;
use crate::stream::raw::RawReader;
use crate::stream::reader::{self, Reader, Unready};
use crate::stream::{
    BATCH_BYTES_MAX, Format, Frame, Malformed, Name, Problem, StreamHeader, naming, native,
    rbd_diff, svd,
};
use crate::{Error, ErrorKind, Result};

/// What a stream of each format begins with; a raw image can begin with anything.
const FIRST_BYTES: [(&[u8], Format); 6] = [
    (&native::MAGIC, Format::Native),
    (b"rbd diff v1\n", Format::RbdDiff),
    (b"rbd diff v2\n", Format::RbdDiff),
    (b"rbd image v2\n", Format::RbdDiff),
    (&svd::WORD_LITTLE, Format::Svd),
    (&svd::WORD_BIG, Format::Svd),
];
/// How many of an input's first bytes are needed to detect its format.
const HEAD_BYTES: usize = 16;

/// The frames of one input, whatever its format.
#[derive(Debug)]
pub struct Stream {
    reader: AnyReader,
    volume: Option<Name>,
}

#[derive(Debug)]
enum AnyReader {
    /// The native format.
    Native(Box<Reader<native::Decoder>>),
    /// rbd diff, or an rbd export.
    RbdDiff(Reader<rbd_diff::Decoder>),
    /// The disk filter driver's.
    Svd(Reader<svd::Decoder>),
    /// A raw image.
    Raw(RawReader),
}

impl Stream {
    /// Its format.
    pub fn format(&self) -> Format {
        match &self.reader {
            AnyReader::Native(_) => Format::Native,
            AnyReader::RbdDiff(_) => Format::RbdDiff,
            AnyReader::Svd(_) => Format::Svd,
            AnyReader::Raw(_) => Format::Raw,
        }
    }

    /// The next frame; `None` after the end of the input. Waits for it.
    ///
    /// # Errors
    ///
    /// Of kind `Integrity` if the stream is malformed, with the position; of kind `Failed` if the
    /// input cannot be read.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>> {
        let frame = match &mut self.reader {
            AnyReader::Native(reader) => reader.next_frame(),
            AnyReader::RbdDiff(reader) => reader.next_frame(),
            AnyReader::Svd(reader) => reader.next_frame(),
            AnyReader::Raw(reader) => reader.next_frame(),
        }?;
        self.called(frame)
    }

    /// The next frame, if it is there; `None` after the end of the input.
    ///
    /// # Errors
    ///
    /// Why there is none now, or the error of [`next_frame`](Self::next_frame).
    pub(crate) fn poll_frame(&mut self) -> std::result::Result<Option<Frame>, Unready> {
        let frame = match &mut self.reader {
            AnyReader::Native(reader) => reader.poll_frame(),
            AnyReader::RbdDiff(reader) => reader.poll_frame(),
            AnyReader::Svd(reader) => reader.poll_frame(),
            AnyReader::Raw(reader) => reader.poll_frame(),
        }?;
        Ok(self.called(frame)?)
    }

    /// Waits until something arrives, but at most for `patience`.
    pub(crate) fn wait(&self, patience: Duration) -> Result<()> {
        match &self.reader {
            AnyReader::Native(reader) => reader.wait(patience),
            AnyReader::RbdDiff(reader) => reader.wait(patience),
            AnyReader::Svd(reader) => reader.wait(patience),
            AnyReader::Raw(reader) => reader.wait(patience),
        }
    }

    /// `frame`, with the name of the volume if the stream has none.
    fn called(&self, frame: Option<Frame>) -> Result<Option<Frame>> {
        match (frame, &self.volume) {
            (Some(Frame::Begin(header)), Some(volume)) => {
                Ok(Some(Frame::Begin(naming::called(header, volume)?)))
            }
            (frame, _) => Ok(frame),
        }
    }

    /// How many bytes of the stream were taken: after a frame, where it ends.
    pub fn consumed(&self) -> u64 {
        match &self.reader {
            AnyReader::Native(reader) => reader.consumed(),
            AnyReader::RbdDiff(reader) => reader.consumed(),
            AnyReader::Svd(reader) => reader.consumed(),
            AnyReader::Raw(reader) => reader.consumed(),
        }
    }

    /// Makes a digest of what is read from now on. Call this before anything is read. A raw image
    /// is identified by its file instead.
    pub(crate) fn follow_content(&mut self) {
        match &mut self.reader {
            AnyReader::Native(reader) => reader.follow_content(),
            AnyReader::RbdDiff(reader) => reader.follow_content(),
            AnyReader::Svd(reader) => reader.follow_content(),
            AnyReader::Raw(_) => {}
        }
    }

    /// The digest of what was read so far; `None` if it is not tracked.
    pub fn content(&self) -> Option<Consumed> {
        match &self.reader {
            AnyReader::Native(reader) => reader.content(),
            AnyReader::RbdDiff(reader) => reader.content(),
            AnyReader::Svd(reader) => reader.content(),
            AnyReader::Raw(_) => None,
        }
    }

    /// Up to each of these positions, the input must equal what was read before, or it is refused.
    /// Call this before the first batch.
    pub fn expect(&mut self, expected: Vec<Consumed>) {
        match &mut self.reader {
            AnyReader::Native(reader) => reader.expect(expected),
            AnyReader::RbdDiff(reader) => reader.expect(expected),
            AnyReader::Svd(reader) => reader.expect(expected),
            AnyReader::Raw(_) => {}
        }
    }

    /// Goes on at `cursor`, right after the stream header.
    ///
    /// # Errors
    ///
    /// `Integrity`: that is not possible there. `Refused`: it is not the stream that was read
    /// before up to there.
    pub(crate) fn go_on_at(&mut self, cursor: native::Cursor) -> Result<()> {
        match &mut self.reader {
            AnyReader::Native(reader) => reader.go_on_at(cursor),
            AnyReader::RbdDiff(_) | AnyReader::Svd(_) | AnyReader::Raw(_) => {
                let misplaced = Malformed::new(self.consumed(), Problem::Misplaced("cursor"));
                Err(Error::integrity("reading a stream of another format", misplaced))
            }
        }
    }

    /// The position of the stream with `header` in the order of its source, if the stream states
    /// it.
    pub fn order(&self, header: &StreamHeader) -> Option<SourceOrder> {
        match &self.reader {
            AnyReader::Native(reader) => {
                let time = reader.decoder().created()?.0;
                Some(SourceOrder { time, sequence: 0 })
            }
            AnyReader::Svd(_) => {
                let (sequence, time) = svd::stamp(&header.identity?);
                Some(SourceOrder { time, sequence })
            }
            AnyReader::RbdDiff(_) | AnyReader::Raw(_) => None,
        }
    }

    /// Skips the batches and marks that end at or before byte `position` of the stream. Call this
    /// before the first batch.
    pub(crate) fn resume_after(&mut self, position: u64) {
        match &mut self.reader {
            AnyReader::Native(reader) => reader.resume_after(position),
            AnyReader::RbdDiff(reader) => reader.resume_after(position),
            AnyReader::Svd(reader) => reader.resume_after(position),
            AnyReader::Raw(reader) => reader.resume_after(position),
        }
    }
}

/// Arenas for a caller that reads one batch after the other and keeps none.
///
/// # Errors
///
/// `Failed`: there is no memory.
pub fn arenas_for_reading() -> Result<ArenaPool> {
    let length = NonZeroUsize::new(BATCH_BYTES_MAX).expect("invariant: not zero");
    ArenaPool::new(1, length).map_err(|error| Error::failed("allocating memory for I/O", error))
}

/// Opens `input`, called `name` in messages, as `format`, or as the format detected from its first
/// bytes. Payload goes to arenas of at least [`BATCH_BYTES_MAX`] from `pool`.
///
/// # Errors
///
/// Of kind `Integrity` if no format is named and the first bytes are not of a known format; of kind
/// `Failed` if the input cannot be read.
pub fn open(name: &str, input: Input, format: Option<Format>, pool: ArenaPool) -> Result<Stream> {
    Opening::new(name, input, format, None, pool).finish()
}

/// An input of which it is not known yet what it is: a pipe may be silent from the beginning.
#[derive(Debug)]
pub(crate) struct Opening {
    name: String,
    // `None` once it is opened.
    input: Option<Input>,
    format: Option<Format>,
    // The size of a raw image, if it is given: [`RawReader::of_size`].
    size: Option<u64>,
    volume: Option<Name>,
    pool: ArenaPool,
}

impl Opening {
    /// Begins to open `input`, as for [`open`].
    pub(crate) fn new(
        name: &str,
        input: Input,
        format: Option<Format>,
        size: Option<u64>,
        pool: ArenaPool,
    ) -> Self {
        Self { name: name.to_owned(), input: Some(input), format, size, volume: None, pool }
    }

    /// The name of the input in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Names its only volume, which it does not name, `volume`. A stream that contradicts it is
    /// refused when it begins.
    pub(crate) fn call_volume(&mut self, volume: Name) {
        self.volume = Some(volume);
    }

    /// The stream, if its first bytes are there. After that there is nothing more.
    ///
    /// # Errors
    ///
    /// Why it is not open now, or as [`open`].
    pub(crate) fn poll(&mut self) -> std::result::Result<Stream, Unready> {
        let Some(input) = &mut self.input else { return Err(Unready::Input) };
        let format = match self.format {
            Some(format) => format,
            None => recognised(&self.name, input)?,
        };
        let Some(input) = self.input.take() else { return Err(Unready::Input) };
        let (name, pool) = (self.name.as_str(), self.pool.clone());
        let reader = match format {
            Format::Native => {
                AnyReader::Native(Box::new(Reader::new(name, input, native::Decoder::new(), pool)))
            }
            Format::RbdDiff => {
                AnyReader::RbdDiff(Reader::new(name, input, rbd_diff::Decoder::new(), pool))
            }
            Format::Svd => AnyReader::Svd(Reader::new(name, input, svd::Decoder::new(), pool)),
            Format::Raw => AnyReader::Raw(RawReader::of_size(name, input, self.size, pool)?),
        };
        Ok(Stream { reader, volume: self.volume.take() })
    }

    /// Waits until something arrives, but at most for `patience`, if there is one.
    pub(crate) fn wait(&self, patience: Option<Duration>) -> Result<()> {
        let input = self.input.as_ref();
        input.map_or(Ok(()), |input| reader::wait(input, &self.name, patience))
    }

    /// Waits for the stream.
    ///
    /// # Errors
    ///
    /// As [`open`].
    pub(crate) fn finish(mut self) -> Result<Stream> {
        loop {
            match self.poll() {
                Ok(stream) => return Ok(stream),
                Err(Unready::Failed(error)) => return Err(error),
                Err(_) => self.wait(None)?,
            }
        }
    }
}

/// The format of a stream that begins with `head`; never [`Format::Raw`].
#[must_use]
pub fn detect(head: &[u8]) -> Option<Format> {
    let found = FIRST_BYTES.iter().find(|(bytes, _)| head.starts_with(bytes));
    found.map(|(_, format)| *format)
}

/// Whether an input that ends with `head` may be the beginning of a known stream.
fn may_go_on(head: &[u8]) -> bool {
    FIRST_BYTES.iter().any(|(bytes, _)| bytes.starts_with(head))
}

fn recognised(name: &str, input: &mut Input) -> std::result::Result<Format, Unready> {
    let head = input.peek(HEAD_BYTES).map_err(|error| Unready::of(error, name))?;
    if detect(&head).is_none() && may_go_on(&head) {
        let ends = Malformed::new(head.len() as u64, Problem::Truncated);
        Err(Error::integrity(format!("reading {name}"), ends)
            .with_hint("it ends before it says what it is; find out why at its source"))?;
    }
    let unknown = || {
        let context = format!("reading {name}: it is not a change stream in a known format");
        Error::new(ErrorKind::Integrity, context).remedied(StreamRemedy::NameFormat)
    };
    Ok(detect(&head).ok_or_else(unknown)?)
}

#[cfg(test)]
mod tests;
