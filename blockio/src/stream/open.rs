//! Opens an input as the format it is: the one the operator named, or the one its first bytes tell.
//! A raw image has no first bytes to be known by: it is never guessed.

use std::num::NonZeroUsize;

use crate::device::buffer::ArenaPool;
use crate::stream::content::{Consumed, SourceOrder};
use crate::stream::raw::RawReader;
use crate::stream::reader::{Input, Reader};
use crate::stream::{
    BATCH_BYTES_MAX, Format, Frame, Malformed, Name, Problem, StreamHeader, naming, native,
    rbd_diff, svd,
};
use crate::{Error, ErrorKind, Result};

/// What an rbd diff may begin with, and an export of format 2.
const RBD_BANNERS: [&[u8]; 3] = [b"rbd diff v1\n", b"rbd diff v2\n", b"rbd image v2\n"];
/// As many of an input's first bytes as tell its format.
const HEAD_BYTES: usize = 16;

/// The frames of one input, whatever its format.
#[derive(Debug)]
pub struct Stream {
    reader: AnyReader,
    volume: Option<Name>,
}

#[derive(Debug)]
enum AnyReader {
    /// Our own format.
    Native(Box<Reader<native::Decoder>>),
    /// rbd diff, or an rbd export.
    RbdDiff(Reader<rbd_diff::Decoder>),
    /// The disk filter driver's.
    Svd(Reader<svd::Decoder>),
    /// A raw image.
    Raw(RawReader),
}

impl Stream {
    /// Which format it is.
    pub fn format(&self) -> Format {
        match &self.reader {
            AnyReader::Native(_) => Format::Native,
            AnyReader::RbdDiff(_) => Format::RbdDiff,
            AnyReader::Svd(_) => Format::Svd,
            AnyReader::Raw(_) => Format::Raw,
        }
    }

    /// The next frame; none after the end of the input.
    ///
    /// # Errors
    ///
    /// Of kind `Integrity` if the stream is not what it must be, with the place; of kind `Failed`
    /// if the input cannot be read.
    pub fn next_frame(&mut self) -> Result<Option<Frame>> {
        let frame = match &mut self.reader {
            AnyReader::Native(reader) => reader.next_frame(),
            AnyReader::RbdDiff(reader) => reader.next_frame(),
            AnyReader::Svd(reader) => reader.next_frame(),
            AnyReader::Raw(reader) => reader.next_frame(),
        }?;
        match (frame, &self.volume) {
            (Some(Frame::Begin(header)), Some(volume)) => {
                Ok(Some(Frame::Begin(naming::called(header, volume)?)))
            }
            (frame, _) => Ok(frame),
        }
    }

    /// Its only volume, which it does not name, is called `volume`. Asked before anything is read;
    /// a stream that says otherwise is refused when it begins.
    pub fn call_volume(&mut self, volume: Name) {
        self.volume = Some(volume);
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

    /// From now on a digest is made of what is read. Asked before anything is. A raw image is known
    /// by its file.
    pub fn follow_content(&mut self) {
        match &mut self.reader {
            AnyReader::Native(reader) => reader.follow_content(false),
            AnyReader::RbdDiff(reader) => reader.follow_content(true),
            AnyReader::Svd(reader) => reader.follow_content(true),
            AnyReader::Raw(_) => {}
        }
    }

    /// What was read so far; none where nobody follows it.
    pub fn content(&self) -> Option<Consumed> {
        match &self.reader {
            AnyReader::Native(reader) => reader.content(),
            AnyReader::RbdDiff(reader) => reader.content(),
            AnyReader::Svd(reader) => reader.content(),
            AnyReader::Raw(_) => None,
        }
    }

    /// Up to each of these places the input must be what was read before: it is refused where it is
    /// not. Asked before the first batch.
    pub fn expect(&mut self, expected: Vec<Consumed>) {
        match &mut self.reader {
            AnyReader::Native(reader) => reader.expect(expected),
            AnyReader::RbdDiff(reader) => reader.expect(expected),
            AnyReader::Svd(reader) => reader.expect(expected),
            AnyReader::Raw(_) => {}
        }
    }

    /// Where the stream that begins with `header` is in the order of its source, if it says so.
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

    /// Leaves out the batches and marks that end at or before byte `position` of the stream. Asked
    /// before the first batch.
    pub fn resume_after(&mut self, position: u64) {
        match &mut self.reader {
            AnyReader::Native(reader) => reader.resume_after(position),
            AnyReader::RbdDiff(reader) => reader.resume_after(position),
            AnyReader::Svd(reader) => reader.resume_after(position),
            AnyReader::Raw(reader) => reader.resume_after(position),
        }
    }
}

/// Arenas for who reads one batch after the other and keeps none.
///
/// # Errors
///
/// `Failed`: there is no memory.
pub fn arenas_for_reading() -> Result<ArenaPool> {
    let length = NonZeroUsize::new(BATCH_BYTES_MAX).expect("invariant: not zero");
    ArenaPool::new(1, length).map_err(|error| Error::failed("allocating memory for I/O", error))
}

/// Opens `input`, which messages call `name`, as `format`, or as what its first bytes tell. Payload
/// goes to arenas of at least [`BATCH_BYTES_MAX`] from `pool`.
///
/// # Errors
///
/// Of kind `Integrity` if no format is named and the first bytes are of none that we know; of kind
/// `Failed` if the input cannot be read.
pub fn open(name: &str, input: Input, format: Option<Format>, pool: ArenaPool) -> Result<Stream> {
    open_of_size(name, input, format, None, pool)
}

/// The same, where a raw image is `size` bytes long: [`RawReader::of_size`].
///
/// # Errors
///
/// As [`open`].
pub fn open_of_size(
    name: &str,
    mut input: Input,
    format: Option<Format>,
    size: Option<u64>,
    pool: ArenaPool,
) -> Result<Stream> {
    let format = match format {
        Some(format) => format,
        None => recognised(name, &mut input)?,
    };
    let reader = match format {
        Format::Native => {
            AnyReader::Native(Box::new(Reader::new(name, input, native::Decoder::new(), pool)))
        }
        Format::RbdDiff => {
            AnyReader::RbdDiff(Reader::new(name, input, rbd_diff::Decoder::new(), pool))
        }
        Format::Svd => AnyReader::Svd(Reader::new(name, input, svd::Decoder::new(), pool)),
        Format::Raw => AnyReader::Raw(RawReader::of_size(name, input, size, pool)?),
    };
    Ok(Stream { reader, volume: None })
}

/// The format that a stream beginning with `head` has; never [`Format::Raw`].
#[must_use]
pub fn detect(head: &[u8]) -> Option<Format> {
    let begins = |word: &[u8]| head.starts_with(word);
    if begins(&native::MAGIC) {
        Some(Format::Native)
    } else if RBD_BANNERS.into_iter().any(begins) {
        Some(Format::RbdDiff)
    } else if begins(&svd::WORD_LITTLE) || begins(&svd::WORD_BIG) {
        Some(Format::Svd)
    } else {
        None
    }
}

/// What ends with `head` may be the beginning of a stream that we know.
fn may_go_on(head: &[u8]) -> bool {
    let others = [&native::MAGIC[..], &svd::WORD_LITTLE, &svd::WORD_BIG];
    let mut all = others.into_iter().chain(RBD_BANNERS);
    all.any(|word| word.starts_with(head))
}

fn recognised(name: &str, input: &mut Input) -> Result<Format> {
    let head =
        input.peek(HEAD_BYTES).map_err(|error| Error::failed(format!("reading {name}"), error))?;
    if detect(&head).is_none() && may_go_on(&head) {
        let ends = Malformed::new(head.len() as u64, Problem::Truncated);
        return Err(Error::integrity(format!("reading {name}"), ends)
            .with_hint("it ends before it says what it is; see why where it is made"));
    }
    detect(&head).ok_or_else(|| {
        let context = format!("reading {name}: it is no change stream that we know");
        Error::new(ErrorKind::Integrity, context)
            .with_hint("a raw image is taken for one only when it is named: add --format raw")
    })
}

#[cfg(test)]
mod tests;
