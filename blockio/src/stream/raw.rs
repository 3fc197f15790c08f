//! A raw image as frames: its holes, and long runs of zeros in it, are zeros; the rest is data.
//!
//! There is nothing to decode, so there is no decoder: the file is asked for its holes. An image
//! has no marks, no checksum and no end record; whether it is complete is known from its length. A
//! pipe has no length: it is given by the operator, or else the end does not count as a state of
//! the source.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek64};

use crate::device::buffer::{Arena, ArenaPool};
use crate::extent::Extent;
use crate::stream::collected::{Collected, PayloadSlot};
use crate::stream::input::Input;
use crate::stream::reader::{self, Unready, arena_of};
use crate::stream::{
    Batch, BatchHeader, Content, End, Format, Frame, Malformed, Problem, StreamHeader, Totals,
    VolumeHeader,
};
use crate::units::{ByteCount, ByteOffset};
use crate::{Error, ErrorKind, Result};

/// The unit of searching data for zeros, in bytes: small enough to find what is worth finding,
/// large enough that a disk clears it as fast as it would write it.
const ZERO_BLOCK_BYTES: usize = 64 << 10;
static ZEROS: [u8; ZERO_BLOCK_BYTES] = [0; ZERO_BLOCK_BYTES];

/// How many bytes are read for one batch if they turn out to be zeros: a caller that waits for the
/// batch has to attend to signals and progress.
const READ_BYTES_MAX: u64 = 64 << 20;

/// Returns the frames of one raw image.
#[derive(Debug)]
pub struct RawReader {
    name: String,
    image: Image,
    pool: ArenaPool,
    // Position in the image: everything before it was returned, or skipped.
    position: u64,
    resume_after: u64,
    stage: Stage,
    totals: Totals,
    gathered: Gathered,
}

/// The batch being read.
#[derive(Debug, Default)]
struct Gathered {
    collected: Collected,
    arena: Option<Arena>,
    // How many bytes were read for it, and how many of the next ones.
    read: u64,
    filled: usize,
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
        // Where the image begins in the file, and its length.
        start: u64,
        size: u64,
        // The kind of the image's content at the reader's position, and its end; the file is asked
        // again when the reader comes to that end.
        segment: Segment,
        has_holes: bool,
    },
    Pipe {
        input: Input,
        // The length of the image, if it was given.
        size: Option<u64>,
    },
}

/// A stretch of the image, with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segment {
    Hole(u64),
    Data(u64),
    /// Until the end, which is known only when it comes.
    Unknown,
}

impl RawReader {
    /// Reads the image `input`, called `name` in messages, with arenas of at least
    /// [`BATCH_BYTES_MAX`](crate::stream::BATCH_BYTES_MAX) from `pool`. In a file it begins at the
    /// current position.
    ///
    /// # Errors
    ///
    /// Of kind `Failed` if the file's length cannot be determined.
    pub fn new(name: impl Into<String>, input: Input, pool: ArenaPool) -> Result<Self> {
        Self::of_size(name, input, None, pool)
    }

    /// As [`new`](Self::new), for an image of `size` bytes as given by the operator: a pipe that
    /// ends before or after that is not the image. A file has its own length.
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
        let (stage, totals, gathered) = (Stage::Begin, Totals::default(), Gathered::default());
        Ok(Self { name, image, pool, position: 0, resume_after: 0, stage, totals, gathered })
    }

    /// Skips the first `position` bytes of the image, which were applied before. Call this before
    /// the first batch. The totals at the end are then those of the rest.
    pub(crate) fn resume_after(&mut self, position: u64) {
        self.resume_after = position;
    }

    /// How many bytes of the image were taken: after a frame, where it ends.
    pub fn consumed(&self) -> u64 {
        self.position
    }

    /// The next frame; `None` after the end of the image. Waits for it.
    ///
    /// # Errors
    ///
    /// Of kind `Integrity` if the length of the file has changed, or a pipe ends before the
    /// position to resume after, or not at its given length; of kind `Failed` if it cannot be read.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>> {
        loop {
            match self.poll_frame() {
                Ok(frame) => return Ok(frame),
                Err(unready) => unready.wait(&self.name, self.image.pipe(), &self.pool)?,
            }
        }
    }

    /// Waits until something arrives.
    pub(crate) fn wait(&self, patience: Duration) -> Result<()> {
        let pipe = self.image.pipe();
        pipe.map_or(Ok(()), |pipe| reader::wait(pipe, &self.name, Some(patience)))
    }

    /// The next frame, if it is there; `None` after the end of the image.
    ///
    /// # Errors
    ///
    /// Why there is none now, or the error of [`next_frame`](Self::next_frame).
    pub(crate) fn poll_frame(&mut self) -> std::result::Result<Option<Frame>, Unready> {
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
                    // Without a given length, an image that was cut off looks the same.
                    let consistent = !matches!(self.image, Image::Pipe { size: None, .. });
                    Ok(Some(Frame::End(End { totals: self.totals, consistent })))
                }
            },
            Stage::Ended => Ok(None),
        }
    }

    /// A file is identified by its inode and the time of its last change: resuming with changed
    /// content would mix two states.
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

    fn leave_out(&mut self) -> std::result::Result<(), Unready> {
        let wanted = self.resume_after;
        if self.position >= wanted {
            return Ok(());
        }
        let pipe = match &mut self.image {
            // A position past the end skips all of it. Whether it is the image that was applied is
            // decided by its identity and its size.
            Image::File { size, .. } => {
                self.position = wanted.min(*size);
                return Ok(());
            }
            Image::Pipe { input, .. } => input,
        };
        let now = (wanted - self.position).min(READ_BYTES_MAX);
        let mut passed = 0;
        let outcome = pipe.pass_over(now, &mut passed);
        self.position += passed;
        outcome.map_err(|error| Unready::of(error, &self.name))?;
        if passed < now {
            let truncated = Malformed::new(self.position, Problem::Truncated);
            Err(Error::integrity(format!("reading {}", self.name), truncated))?;
        }
        if self.position < wanted { Err(Unready::Passing) } else { Ok(()) }
    }

    fn next_batch(&mut self) -> std::result::Result<Option<Batch>, Unready> {
        while !self.gathered.collected.is_full() && self.gathered.read < READ_BYTES_MAX {
            let segment = self.image.segment(self.position);
            let end = match segment.map_err(|error| self.unreadable(error))? {
                Segment::Hole(end) => {
                    let passed = self.take_hole(end);
                    self.position += passed;
                    match passed {
                        0 => break,
                        _ => continue,
                    }
                }
                Segment::Data(end) => end,
                Segment::Unknown => self.image.end(),
            };
            let taken = self.take_data(end)?;
            if taken == 0 {
                break;
            }
            self.position += taken;
            self.gathered.read += taken;
        }
        if self.gathered.arena.is_none() && !self.gathered.collected.is_empty() {
            // It has no data; but every batch has one.
            arena_of(&mut self.gathered.arena, &self.pool)?;
        }
        let Gathered { mut collected, arena, .. } = std::mem::take(&mut self.gathered);
        Ok(collected.close().zip(arena).map(|(header, arena)| self.batch(header, arena)))
    }

    fn batch(&mut self, header: BatchHeader, arena: Arena) -> Batch {
        for piece in &header.pieces {
            let length = piece.extent.length().get();
            self.totals.extents += 1;
            match piece.content {
                Content::Data { .. } => self.totals.data_bytes += length,
                Content::Zero => self.totals.zero_bytes += length,
                Content::Discard => self.totals.discard_bytes += length,
            }
        }
        Batch { header, arena }
    }

    /// Takes zeros up to `end`, and returns how many.
    fn take_hole(&mut self, end: u64) -> u64 {
        match extent(self.position, end) {
            Some(hole) => {
                self.gathered.collected.add_zero(hole);
                hole.length().get()
            }
            None => 0,
        }
    }

    /// Takes as much of the data up to `end` as the batch still wants, and returns how much.
    fn take_data(&mut self, end: u64) -> std::result::Result<u64, Unready> {
        let Gathered { collected, arena, filled, .. } = &mut self.gathered;
        let limit = end.min(self.position.saturating_add(collected.wanting() as u64));
        let Some(wanted) = extent(self.position, limit) else { return Ok(0) };
        let place = collected.place(wanted);
        let arena = arena_of(arena, &self.pool)?;
        let room = &mut arena.as_mut_slice()[place.position..place.position + place.length];
        let outcome = self.image.fill(self.position, room, filled);
        outcome.map_err(|error| Unready::of(error, &self.name))?;
        let read = std::mem::take(filled);
        collect(self.position, place.position, &room[..read], collected);
        if read < place.length {
            self.check_size()?;
        }
        Ok(read as u64)
    }

    /// Refuses an image whose length changed while it was read.
    fn check_size(&self) -> Result<()> {
        let Image::File { file, start, size, .. } = &self.image else { return Ok(()) };
        let length = file.metadata().map_err(|error| self.unreadable(error))?.len();
        if length == start.saturating_add(*size) {
            return Ok(());
        }
        let context = format!(
            "reading {}: it had {size} bytes at first, and has {} now",
            self.name,
            length.saturating_sub(*start),
        );
        Err(Error::new(ErrorKind::Integrity, context).with_hint(
            "nothing may write to an image while it is read: copy it, or stop the writer",
        ))
    }

    /// Refuses a pipe that does not end at its given length.
    fn check_end(&mut self) -> std::result::Result<(), Unready> {
        let Image::Pipe { input, size: Some(size) } = &mut self.image else { return Ok(()) };
        let problem = if self.position < *size {
            Problem::TooShort { size: *size }
        } else {
            let mut more = 0;
            let outcome = input.fill(&mut [0], &mut more);
            outcome.map_err(|error| Unready::of(error, &self.name))?;
            match more {
                0 => return Ok(()),
                _ => Problem::TrailingBytes,
            }
        };
        let malformed = Malformed::new(self.position, problem);
        let hint = "no recovery point is made of it; check the size of the image at its source, \
                    and send all of it again";
        Err(Error::integrity(format!("reading {}", self.name), malformed).with_hint(hint))?
    }

    fn unreadable(&self, error: io::Error) -> Error {
        Error::failed(format!("reading {}", self.name), error)
    }
}

impl Image {
    fn new(input: Input, size: Option<u64>) -> io::Result<Self> {
        let mut file = match input {
            Input::File(file) => file,
            input @ Input::Pipe(_) => return Ok(Self::Pipe { input, size }),
        };
        let start = file.stream_position()?;
        let file = file.into_inner();
        let size = file.metadata()?.len().saturating_sub(start);
        Ok(Self::File { file, start, size, segment: Segment::Hole(0), has_holes: true })
    }

    /// Where reading ends.
    fn end(&self) -> u64 {
        match self {
            Self::Pipe { size, .. } => size.unwrap_or(u64::MAX),
            Self::File { size, .. } => *size,
        }
    }

    /// The segment of the image from `position` on. At the end of a file it is empty.
    fn segment(&mut self, position: u64) -> io::Result<Segment> {
        let Self::File { file, start, size, segment, has_holes } = self else {
            return Ok(Segment::Unknown);
        };
        let known = matches!(*segment, Segment::Hole(end) | Segment::Data(end) if position < end);
        if !known && position < *size {
            *segment = match has_holes.then(|| next_segment(file, *start + position)) {
                Some(Ok(found)) => found.relative_to(*start, *size),
                // EINVAL and the like: a filesystem that does not know its holes. Everything is
                // data.
                Some(Err(Errno::EINVAL | Errno::EOPNOTSUPP)) | None => {
                    *has_holes = false;
                    Segment::Data(*size)
                }
                Some(Err(error)) => return Err(error.into()),
            };
        }
        Ok(*segment)
    }

    /// The input, if it is a pipe.
    fn pipe(&self) -> Option<&Input> {
        match self {
            Self::Pipe { input, .. } => Some(input),
            Self::File { .. } => None,
        }
    }

    /// Fills the part of `room` after `filled` with the content at `position` of the image and what
    /// follows, or with what comes next from a pipe; all of it, except at the end.
    fn fill(&mut self, position: u64, room: &mut [u8], filled: &mut usize) -> io::Result<()> {
        let (file, start) = match self {
            Self::Pipe { input, .. } => return input.fill(room, filled),
            Self::File { file, start, .. } => (file, *start),
        };
        while *filled < room.len() {
            match file.read_at(&mut room[*filled..], start + position + *filled as u64) {
                Ok(0) => break,
                Ok(read) => *filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Segment {
    /// The same segment in an image that begins at `start` of the file and is `size` long.
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
            // The file was changed between the two calls: whatever is there is read.
            _ => Ok(Segment::Data(u64::MAX)),
        },
        Err(error) => Err(error),
    }
}

/// Adds `bytes` to `collected`: blocks of zeros as zeros, everything between them as data. They are
/// at `offset` of the image, and at `position` of the arena.
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
            let place = PayloadSlot { position: position + taken, length: end - taken };
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
