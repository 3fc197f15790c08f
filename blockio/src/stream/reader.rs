//! Reads an input, drives a [`Decoder`], and returns frames with their payload in arenas.
//!
//! Neither formats nor verification are here: a frame is what the stream says. Payload is read from
//! the input straight to its final place; the only copies are the kernel's and those of a small
//! buffer for the bytes between payloads.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::poll::{PollFd, PollFlags, poll};

use crate::device::buffer::{Arena, ArenaPool};
use crate::stream::content::{Consumed, Running};
use crate::stream::native::compression;
use crate::stream::{
    BATCH_BYTES_MAX, Batch, Decoded, Decoder, Frame, Malformed, Problem, WANT_BYTES_MAX, Want,
};
use crate::{Error, Result};

/// The size of the buffer for the bytes between payloads.
const BUFFER_BYTES: usize = 32 << 10;

/// The source of the bytes.
#[derive(Debug)]
pub enum Input {
    /// A regular file: unwanted bytes are skipped by seeking.
    File(BufReader<File>),
    /// Any other open file: a pipe, a socket, a disk. Unwanted bytes are read and dropped.
    Pipe(BufReader<WaitingFile>),
    /// Not a file. Unwanted bytes are read and dropped.
    Other(BufReader<Box<dyn PipeRead>>),
}

/// A reader for [`Input::Other`].
pub trait PipeRead: Read + Send + std::fmt::Debug {}
impl<T: Read + Send + std::fmt::Debug> PipeRead for T {}

impl Input {
    /// Reads from `file`, starting at its current position; as a file if it is a regular one.
    ///
    /// # Errors
    ///
    /// The error of fstat(2).
    pub fn from_file(file: File) -> io::Result<Self> {
        if file.metadata()?.is_file() {
            return Ok(Self::File(BufReader::with_capacity(BUFFER_BYTES, file)));
        }
        let file = WaitingFile { file, stop: Arc::default() };
        Ok(Self::Pipe(BufReader::with_capacity(BUFFER_BYTES, file)))
    }

    /// Reads from anything.
    pub(crate) fn from_pipe(pipe: impl PipeRead + 'static) -> Self {
        Self::Other(BufReader::with_capacity(BUFFER_BYTES, Box::new(pipe)))
    }

    /// Ends waiting for a pipe with an error once `stop` is set.
    pub(crate) fn stop_at(&mut self, stop: &Arc<AtomicBool>) {
        match self {
            Self::Pipe(pipe) => pipe.get_mut().stop = Arc::clone(stop),
            Self::File(_) | Self::Other(_) => {}
        }
    }

    /// The first `length` bytes, or all there are, without taking them.
    ///
    /// # Errors
    ///
    /// The error of read(2).
    pub fn peek(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut head = vec![0; length];
        match self {
            Self::File(file) => {
                let start = file.stream_position()?;
                let read = read_up_to(file, &mut head)?;
                file.seek(SeekFrom::Start(start))?;
                head.truncate(read);
            }
            Self::Pipe(pipe) => {
                let read = read_up_to(pipe, &mut head)?;
                head.truncate(read);
            }
            Self::Other(pipe) => {
                let read = read_up_to(pipe, &mut head)?;
                head.truncate(read);
            }
        }
        let again = io::Cursor::new(head.clone());
        let nothing = Self::from_pipe(io::empty());
        *self = match std::mem::replace(self, nothing) {
            Self::Pipe(rest) => Self::from_pipe(again.chain(rest)),
            Self::Other(rest) => Self::from_pipe(again.chain(rest)),
            file @ Self::File(_) => file,
        };
        Ok(head)
    }

    pub(in crate::stream) fn read_up_to(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => read_up_to(file, bytes),
            Self::Pipe(pipe) => read_up_to(pipe, bytes),
            Self::Other(pipe) => read_up_to(pipe, bytes),
        }
    }

    /// Skips `length` bytes, and returns how many there were.
    pub(in crate::stream) fn pass_over(&mut self, length: u64) -> io::Result<u64> {
        match self {
            Self::File(file) => {
                let size = file.get_ref().metadata()?.len();
                let left = size.saturating_sub(file.stream_position()?);
                let passed = length.min(left);
                file.seek_relative(i64::try_from(passed).map_err(io::Error::other)?)?;
                Ok(passed)
            }
            Self::Pipe(pipe) => io::copy(&mut pipe.take(length), &mut io::sink()),
            Self::Other(pipe) => io::copy(&mut pipe.take(length), &mut io::sink()),
        }
    }
}

/// A file that may have nothing to read for hours: waits for it until stopped.
#[derive(Debug)]
pub struct WaitingFile {
    file: File,
    stop: Arc<AtomicBool>,
}

/// How long a wait goes on before it checks the stop flag.
const STOPS_AFTER_MS: u8 = 100;

impl Read for WaitingFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(io::Error::other("stopped while waiting for it"));
            }
            let mut waited_for = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            match poll(&mut waited_for, STOPS_AFTER_MS) {
                Ok(0) | Err(nix::Error::EINTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            match self.file.read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

/// Reads until `bytes` is full or the input ends, and returns the number of bytes.
fn read_up_to(input: &mut impl BufRead, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match input.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Returns the frames of one input.
#[derive(Debug)]
pub struct Reader<D> {
    name: String,
    input: Input,
    decoder: D,
    pool: ArenaPool,
    // The arena of the batch being read; taken from the pool when its first payload comes.
    arena: Option<Arena>,
    // For bytes that are not payload, and for compressed payload.
    bytes: Vec<u8>,
    resume_after: u64,
    running: Option<Running>,
    ended: bool,
}

impl<D: Decoder> Reader<D> {
    /// Reads `input`, called `name` in messages, with arenas of at least [`BATCH_BYTES_MAX`] from
    /// `pool`.
    pub fn new(name: impl Into<String>, input: Input, decoder: D, pool: ArenaPool) -> Self {
        let name = name.into();
        let (arena, bytes, running) = (None, Vec::new(), None);
        let (resume_after, ended) = (0, false);
        Self { name, input, decoder, pool, arena, bytes, resume_after, running, ended }
    }

    /// Skips the batches and marks that end at or before byte `position` of the stream, which were
    /// applied before. Their records are still decoded, so that the order is checked; their payload
    /// is skipped.
    pub(crate) fn resume_after(&mut self, position: u64) {
        self.resume_after = position;
    }

    /// Makes a digest of what is read from now on: of everything (`with_payload`), or of everything
    /// but payload. Call this before anything is read.
    pub(crate) fn follow_content(&mut self, with_payload: bool) {
        self.running = Some(Running::new(with_payload));
    }

    /// Up to each of these positions, the input must equal what was read before, or it is refused
    /// there.
    pub fn expect(&mut self, expected: Vec<Consumed>) {
        if let Some(running) = &mut self.running {
            running.expect(expected);
        }
    }

    /// The digest of what was taken of the stream; `None` if it is not tracked.
    pub fn content(&self) -> Option<Consumed> {
        self.running.as_ref().map(|running| running.consumed(self.decoder.consumed()))
    }

    /// Its decoder.
    pub(in crate::stream) fn decoder(&self) -> &D {
        &self.decoder
    }

    /// How many bytes of the stream were taken: after a frame, where it ends.
    pub fn consumed(&self) -> u64 {
        self.decoder.consumed()
    }

    /// The next frame; `None` after the end of the input.
    ///
    /// # Errors
    ///
    /// Of kind `Integrity` if the stream is malformed, with the position; of kind `Failed` if the
    /// input cannot be read.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>> {
        while !self.ended {
            if let Some(event) = self.decoder.event() {
                match self.frame(event)? {
                    Some(frame) => return Ok(Some(frame)),
                    None => continue,
                }
            }
            self.step()?;
            self.compare()?;
        }
        self.decoder.event().map_or(Ok(None), |event| self.frame(event))
    }

    fn frame(&mut self, event: Decoded) -> Result<Option<Frame>> {
        let applied_before = self.decoder.consumed() <= self.resume_after;
        Ok(Some(match event {
            Decoded::Begin(header) => Frame::Begin(header),
            Decoded::Mark(_) if applied_before => return Ok(None),
            Decoded::Mark(mark) => Frame::Mark(mark),
            Decoded::End(end) => Frame::End(end),
            Decoded::Batch(header) => {
                let arena = self.arena.take();
                if applied_before {
                    return Ok(None);
                }
                let arena = arena.map_or_else(|| self.pool.take(), Ok)?;
                Frame::Batch(Batch { header, arena })
            }
        }))
    }

    fn compare(&mut self) -> Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let bytes = self.decoder.consumed();
        running.compare(&self.name, bytes)?;
        if self.ended { running.end(&self.name, bytes) } else { Ok(()) }
    }

    fn step(&mut self) -> Result<()> {
        match self.decoder.want() {
            Want::Bytes(length) => self.take(length, false),
            Want::BytesOrEnd(length) => self.take(length, true),
            Want::End => self.take(1, true),
            Want::Payload { position, length } => self.take_payload(position, length),
            Want::Compressed { method, stored, unpacked } => {
                self.take_compressed(method, stored, unpacked)
            }
        }
    }

    fn take(&mut self, length: usize, end_allowed: bool) -> Result<()> {
        debug_assert!((1..=WANT_BYTES_MAX).contains(&length));
        self.bytes.resize(length, 0);
        let read =
            self.input.read_up_to(&mut self.bytes).map_err(|error| self.unreadable(error))?;
        if let Some(running) = &mut self.running {
            running.take(&self.bytes[..read]);
        }
        let outcome = match read {
            0 => {
                self.ended = true;
                self.decoder.end()
            }
            _ if read == length => self.decoder.take(&self.bytes),
            _ if end_allowed && self.decoder.want() == Want::End => self.decoder.take(&self.bytes),
            _ => Err(self.truncated(read)),
        };
        outcome.map_err(|malformed| self.malformed(malformed))
    }

    /// Payload that was applied before is skipped if it is not hashed, except for the last batches
    /// before the position: another version of this program may divide batches differently.
    fn take_payload(&mut self, position: usize, length: usize) -> Result<()> {
        let end = self.decoder.consumed().saturating_add(length as u64);
        let hashes = self.running.as_ref().is_some_and(|running| running.with_payload);
        let is_passed = end.saturating_add(2 * BATCH_BYTES_MAX as u64) <= self.resume_after;
        let read = if is_passed && !hashes {
            let passed = self.input.pass_over(length as u64);
            passed.map(|passed| usize::try_from(passed).unwrap_or(usize::MAX))
        } else {
            let arena = arena_of(&mut self.arena, &self.pool)?;
            let payload = &mut arena.as_mut_slice()[position..position + length];
            let read = self.input.read_up_to(payload);
            if let Some(running) = self.running.as_mut().filter(|running| running.with_payload) {
                running.take(payload);
            }
            read
        };
        let outcome = match read.map_err(|error| self.unreadable(error))? {
            read if read == length => self.decoder.payload_taken(),
            read => Err(self.truncated(read)),
        };
        outcome.map_err(|malformed| self.malformed(malformed))
    }

    fn take_compressed(
        &mut self,
        method: compression::Method,
        stored: usize,
        unpacked: usize,
    ) -> Result<()> {
        self.bytes.resize(stored, 0);
        let read =
            self.input.read_up_to(&mut self.bytes).map_err(|error| self.unreadable(error))?;
        let at = self.decoder.consumed();
        let arena = arena_of(&mut self.arena, &self.pool)?;
        let outcome = if read < stored {
            Err(self.truncated(read))
        } else {
            compression::unpack(method, &self.bytes, &mut arena.as_mut_slice()[..unpacked])
                .map_err(|problem| Malformed::new(at, problem))
                .and_then(|()| self.decoder.payload_taken())
        };
        outcome.map_err(|malformed| self.malformed(malformed))
    }

    fn truncated(&self, read: usize) -> Malformed {
        Malformed::new(self.decoder.consumed().saturating_add(read as u64), Problem::Truncated)
    }

    fn malformed(&mut self, malformed: Malformed) -> Error {
        // The batch begun is dropped with its arena: nothing of it is written (I7).
        self.arena = None;
        Error::integrity(format!("reading {}", self.name), malformed)
            .with_hint("nothing of that batch is used; fetch the stream from its source again")
    }

    fn unreadable(&self, error: io::Error) -> Error {
        Error::failed(format!("reading {}", self.name), error)
    }
}

/// The arena being filled, or a new one.
pub(super) fn arena_of<'a>(
    arena: &'a mut Option<Arena>,
    pool: &ArenaPool,
) -> Result<&'a mut Arena> {
    match arena {
        Some(arena) => Ok(arena),
        None => Ok(arena.insert(pool.take()?)),
    }
}

#[cfg(test)]
mod tests;
