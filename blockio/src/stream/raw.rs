//! A raw image as frames: its holes, and long runs of zeros in it, are zeros; the rest is data.
//!
//! There is nothing to decode, so there is no decoder: where the holes are is asked of the file. An
//! image has no marks, no checksum and no end record; that it is whole is known by its length. A
//! pipe has none of its own: it is what the operator says, or the end is taken for no state of the
//! source.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek64};

use crate::device::buffer::{Arena, ArenaPool};
use crate::extent::Extent;
use crate::stream::collected::{Collected, Place};
use crate::stream::reader::{Input, arena_of};
use crate::stream::{
    Batch, BatchHeader, Content, End, Format, Frame, Malformed, Problem, StreamHeader, Totals,
    VolumeHeader,
};
use crate::units::{ByteCount, ByteOffset};
use crate::{Error, ErrorKind, Result};

/// Data is searched for zeros in blocks of this size, in bytes: small enough to find what is worth
/// finding, large enough that a disk clears it as fast as it would write it.
const ZERO_BLOCK_BYTES: usize = 64 << 10;
static ZEROS: [u8; ZERO_BLOCK_BYTES] = [0; ZERO_BLOCK_BYTES];

/// So much is read for one batch, in bytes, if it turns out to be zeros: whoever waits for the
/// batch has signals and progress to see to.
const READ_BYTES_MAX: u64 = 64 << 20;

/// Gives the frames of one raw image.
#[derive(Debug)]
pub struct RawReader {
    name: String,
    image: Image,
    pool: ArenaPool,
    // Where in the image: what is before it was given, or left out.
    position: u64,
    resume_after: u64,
    stage: Stage,
    totals: Totals,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begin,
    Content,
    Ended,
}

#[derive(Debug)]
enum Image {
    File {
        file: File,
        // Where in the file the image begins, and how long it is.
        start: u64,
        size: u64,
        // What the image holds at the reader's position, up to a place; asked of the file when
        // the reader comes to that place.
        segment: Segment,
        has_holes: bool,
    },
    Pipe {
        input: Input,
        // How long the image is, if that was said.
        size: Option<u64>,
    },
}

/// A stretch of the image, up to a place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segment {
    Hole(u64),
    Data(u64),
    /// Up to the end, which is known when it comes.
    Unknown,
}

impl RawReader {
    /// Reads the image `input`, which messages call `name`, with arenas of at least
    /// [`BATCH_BYTES_MAX`](crate::stream::BATCH_BYTES_MAX) from `pool`. In a file it begins where
    /// the file stands.
    ///
    /// # Errors
    ///
    /// Of kind `Failed` if the file's length cannot be told.
    pub fn new(name: impl Into<String>, input: Input, pool: ArenaPool) -> Result<Self> {
        Self::of_size(name, input, None, pool)
    }

    /// The same, of an image that is `size` bytes long as somebody says who knows: a pipe that ends
    /// before or after is not the image. A file is as long as it is.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn of_size(
        name: impl Into<String>,
        input: Input,
        size: Option<u64>,
        pool: ArenaPool,
    ) -> Result<Self> {
        let name = name.into();
        let image = Image::new(input, size)
            .map_err(|error| Error::failed(format!("reading {name}"), error))?;
        let (stage, totals) = (Stage::Begin, Totals::default());
        Ok(Self { name, image, pool, position: 0, resume_after: 0, stage, totals })
    }

    /// Leaves out the first `position` bytes of the image: they were applied. Asked before the
    /// first batch. The totals at the end are then those of the rest.
    pub fn resume_after(&mut self, position: u64) {
        self.resume_after = position;
    }

    /// How many bytes of the image were taken: after a frame, where it ends.
    pub fn consumed(&self) -> u64 {
        self.position
    }

    /// The next frame; none after the end of the image.
    ///
    /// # Errors
    ///
    /// Of kind `Integrity` if the file is not as long any more as it was, or a pipe ends before the
    /// place to resume after, or not where it was said to end; of kind `Failed` if it cannot be
    /// read.
    pub fn next_frame(&mut self) -> Result<Option<Frame>> {
        match self.stage {
            Stage::Begin => {
                self.stage = Stage::Content;
                Ok(Some(Frame::Begin(self.header()?)))
            }
            Stage::Content => match self.leave_out().and_then(|()| self.next_batch())? {
                Some(batch) => Ok(Some(Frame::Batch(batch))),
                None => {
                    self.check_size()?;
                    self.check_end()?;
                    self.stage = Stage::Ended;
                    // Where nobody said how long it is, one that was cut looks the same.
                    let consistent = !matches!(self.image, Image::Pipe { size: None, .. });
                    Ok(Some(Frame::End(End { totals: self.totals, consistent })))
                }
            },
            Stage::Ended => Ok(None),
        }
    }

    /// A file is known by its inode and the moment it was changed last: to go on with what has
    /// another content now would mix two states.
    fn header(&self) -> Result<StreamHeader> {
        let (identity, size) = match &self.image {
            Image::Pipe { size, .. } => (None, size.map(ByteCount::new)),
            Image::File { file, size, .. } => {
                let metadata = file.metadata().map_err(|error| self.unreadable(error))?;
                let seconds = metadata.mtime().wrapping_mul(1_000_000_000);
                let changed = seconds.wrapping_add(metadata.mtime_nsec());
                let mut identity = [0; 16];
                identity[..8].copy_from_slice(&changed.to_be_bytes());
                identity[8..].copy_from_slice(&metadata.ino().to_be_bytes());
                (Some(identity), Some(ByteCount::new(*size)))
            }
        };
        let volumes = vec![VolumeHeader { size, ..VolumeHeader::default() }];
        Ok(StreamHeader { format: Format::Raw, is_in_write_order: false, identity, volumes })
    }

    fn leave_out(&mut self) -> Result<()> {
        let wanted = self.resume_after;
        if self.position >= wanted {
            return Ok(());
        }
        let pipe = match &mut self.image {
            // A place past the end leaves out all of it. Whether it is the image that was applied,
            // its identity and its size tell.
            Image::File { size, .. } => {
                self.position = wanted.min(*size);
                return Ok(());
            }
            Image::Pipe { input, .. } => input,
        };
        let passed = pipe.pass_over(wanted - self.position);
        self.position += passed.map_err(|error| self.unreadable(error))?;
        if self.position < wanted {
            let truncated = Malformed::new(self.position, Problem::Truncated);
            return Err(Error::integrity(format!("reading {}", self.name), truncated));
        }
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<Batch>> {
        let mut collected = Collected::default();
        let mut arena = None;
        let mut read = 0;
        while !collected.is_full() && read < READ_BYTES_MAX {
            let segment = self.image.segment(self.position);
            let end = match segment.map_err(|error| self.unreadable(error))? {
                Segment::Hole(end) => {
                    let passed = self.take_hole(end, &mut collected);
                    self.position += passed;
                    match passed {
                        0 => break,
                        _ => continue,
                    }
                }
                Segment::Data(end) => end,
                Segment::Unknown => self.image.end(),
            };
            let taken = self.take_data(end, &mut collected, &mut arena)?;
            if taken == 0 {
                break;
            }
            self.position += taken;
            read += taken;
        }
        collected.close().map(|header| self.batch(header, arena)).transpose()
    }

    fn batch(&mut self, header: BatchHeader, arena: Option<Arena>) -> Result<Batch> {
        for piece in &header.pieces {
            let length = piece.extent.length().get();
            self.totals.extents += 1;
            match piece.content {
                Content::Data { .. } => self.totals.data_bytes += length,
                Content::Zero => self.totals.zero_bytes += length,
                Content::Discard => self.totals.discard_bytes += length,
            }
        }
        let arena = arena.map_or_else(|| self.pool.take(), Ok)?;
        Ok(Batch { header, arena })
    }

    /// Takes zeros up to `end`, and says how many.
    fn take_hole(&self, end: u64, collected: &mut Collected) -> u64 {
        match extent(self.position, end) {
            Some(hole) => {
                collected.add_zero(hole);
                hole.length().get()
            }
            None => 0,
        }
    }

    /// Takes what the batch still wants of the data up to `end`, and says how much that was.
    fn take_data(
        &mut self,
        end: u64,
        collected: &mut Collected,
        arena: &mut Option<Arena>,
    ) -> Result<u64> {
        let limit = end.min(self.position.saturating_add(collected.wanting() as u64));
        let Some(wanted) = extent(self.position, limit) else { return Ok(0) };
        let place = collected.place(wanted);
        let arena = arena_of(arena, &self.pool)?;
        let room = &mut arena.as_mut_slice()[place.position..place.position + place.length];
        let read = self.image.read(self.position, room).map_err(|error| self.unreadable(error))?;
        if read < place.length {
            self.check_size()?;
        }
        collect(self.position, place.position, &room[..read], collected);
        Ok(read as u64)
    }

    /// Refuses an image that was made shorter or longer while it was read.
    fn check_size(&self) -> Result<()> {
        let Image::File { file, start, size, .. } = &self.image else { return Ok(()) };
        let length = file.metadata().map_err(|error| self.unreadable(error))?.len();
        if length == start.saturating_add(*size) {
            return Ok(());
        }
        let context = format!(
            "reading {}: it was {size} bytes long at first, and is now {}",
            self.name,
            length.saturating_sub(*start),
        );
        Err(Error::new(ErrorKind::Integrity, context).with_hint(
            "nothing may write to an image while it is read: copy it, or stop the writer",
        ))
    }

    /// Refuses a pipe that does not end where it was said to.
    fn check_end(&mut self) -> Result<()> {
        let Image::Pipe { input, size: Some(size) } = &mut self.image else { return Ok(()) };
        let problem = if self.position < *size {
            Problem::TooShort { size: *size }
        } else {
            match input.read_up_to(&mut [0]).map_err(|error| self.unreadable(error))? {
                0 => return Ok(()),
                _ => Problem::TrailingBytes,
            }
        };
        let malformed = Malformed::new(self.position, problem);
        let hint = "no recovery point is made of it; see how large the image is at its source, and \
                    send all of it again";
        Err(Error::integrity(format!("reading {}", self.name), malformed).with_hint(hint))
    }

    fn unreadable(&self, error: io::Error) -> Error {
        Error::failed(format!("reading {}", self.name), error)
    }
}

impl Image {
    fn new(input: Input, size: Option<u64>) -> io::Result<Self> {
        let mut file = match input {
            Input::File(file) => file,
            input @ (Input::Pipe(_) | Input::Other(_)) => return Ok(Self::Pipe { input, size }),
        };
        let start = file.stream_position()?;
        let file = file.into_inner();
        let size = file.metadata()?.len().saturating_sub(start);
        Ok(Self::File { file, start, size, segment: Segment::Hole(0), has_holes: true })
    }

    /// Where a pipe is to be read to.
    fn end(&self) -> u64 {
        match self {
            Self::Pipe { size, .. } => size.unwrap_or(u64::MAX),
            Self::File { size, .. } => *size,
        }
    }

    /// What the image holds from `position` on. At the end of a file it is empty.
    fn segment(&mut self, position: u64) -> io::Result<Segment> {
        let Self::File { file, start, size, segment, has_holes } = self else {
            return Ok(Segment::Unknown);
        };
        let known = matches!(*segment, Segment::Hole(end) | Segment::Data(end) if position < end);
        if !known && position < *size {
            *segment = match has_holes.then(|| next_segment(file, *start + position)) {
                Some(Ok(found)) => found.relative_to(*start, *size),
                // EINVAL and the like: a filesystem that does not know its holes. All is data.
                Some(Err(Errno::EINVAL | Errno::EOPNOTSUPP)) | None => {
                    *has_holes = false;
                    Segment::Data(*size)
                }
                Some(Err(error)) => return Err(error.into()),
            };
        }
        Ok(*segment)
    }

    /// Fills `room` with what is at `position` of the image, or at the place a pipe is at; less
    /// only at the end.
    fn read(&mut self, position: u64, room: &mut [u8]) -> io::Result<usize> {
        let (file, start) = match self {
            Self::Pipe { input, .. } => return input.read_up_to(room),
            Self::File { file, start, .. } => (file, *start),
        };
        let mut filled = 0;
        while filled < room.len() {
            match file.read_at(&mut room[filled..], start + position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl Segment {
    /// The same in an image that begins at `start` of the file and is `size` long.
    fn relative_to(self, start: u64, size: u64) -> Self {
        match self {
            Self::Hole(end) => Self::Hole((end - start).min(size)),
            Self::Data(end) => Self::Data((end - start).min(size)),
            Self::Unknown => Self::Unknown,
        }
    }
}

/// Whether a hole or data is at `position` of the file, and up to where.
fn next_segment(file: &File, position: u64) -> nix::Result<Segment> {
    let at = i64::try_from(position).map_err(|_| Errno::EOVERFLOW)?;
    let seek = |whence| lseek64(file.as_fd(), at, whence).map(i64::unsigned_abs);
    match seek(Whence::SeekData) {
        // No data up to the end of the file.
        Err(Errno::ENXIO) => Ok(Segment::Hole(u64::MAX)),
        Ok(data) if data > position => Ok(Segment::Hole(data)),
        Ok(_) => match seek(Whence::SeekHole)? {
            hole if hole > position => Ok(Segment::Data(hole)),
            // The file was changed between the two questions: what is there is read.
            _ => Ok(Segment::Data(u64::MAX)),
        },
        Err(error) => Err(error),
    }
}

/// Adds what was read to `collected`: blocks of zeros as zeros, what is between them as data. The
/// bytes are those from `offset` of the image on, and lie at `position` of the arena.
fn collect(offset: u64, position: usize, bytes: &[u8], collected: &mut Collected) {
    let mut taken = 0;
    while taken < bytes.len() {
        let is_zero = starts_with_zeros(&bytes[taken..]);
        let mut end = taken;
        while end < bytes.len() && starts_with_zeros(&bytes[end..]) == is_zero {
            end += ZERO_BLOCK_BYTES.min(bytes.len() - end);
        }
        let Some(run) = extent(offset + taken as u64, offset + end as u64) else { return };
        if is_zero {
            collected.add_zero(run);
        } else {
            let place = Place { position: position + taken, length: end - taken };
            let rest = collected.add_data(run, place);
            debug_assert_eq!(rest, None);
        }
        taken = end;
    }
}

fn starts_with_zeros(bytes: &[u8]) -> bool {
    let block = &bytes[..bytes.len().min(ZERO_BLOCK_BYTES)];
    block == &ZEROS[..block.len()]
}

fn extent(start: u64, end: u64) -> Option<Extent> {
    Extent::between(ByteOffset::new(start), ByteOffset::new(end)).ok()
}

#[cfg(test)]
mod tests;
