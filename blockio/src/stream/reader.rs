//! Reads an input, drives a [`Decoder`], and returns frames with their payload in arenas. Where the
//! input has nothing now, it says so, and goes on from there when it is asked again.
//!
//! Neither formats nor verification are here: a frame is what the stream says. Payload is read from
//! the input straight to its final place; the only copies are the kernel's and those of a small
//! buffer for the bytes between payloads.

use std::io;
use std::time::Duration;

use crate::device::buffer::{Arena, ArenaPool};
use crate::stream::content::{Consumed, Running};
use crate::stream::input::Input;
use crate::stream::native::{self, compression};
use crate::stream::{
    BATCH_BYTES_MAX, Batch, Decoded, Decoder, Frame, Malformed, Problem, WANT_BYTES_MAX, Want,
};
use crate::{Error, Result};

/// Why there is no frame now.
#[derive(Debug)]
pub(crate) enum Unready {
    /// The input has nothing more at the moment.
    Input,
    /// No arena of the pool is free.
    Memory,
    /// Something was skipped that was applied before. A stream can be skipped for hours, and the
    /// caller has other things to attend to.
    Passing,
    /// It cannot be read any further.
    Failed(Error),
}

impl From<Error> for Unready {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Unready {
    /// What reading the input `name` returned instead of bytes.
    pub(super) fn of(error: io::Error, name: &str) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::Input,
            _ => Self::Failed(Error::failed(format!("reading {name}"), error)),
        }
    }

    /// Waits until it makes sense to ask again.
    pub(super) fn wait(self, name: &str, input: Option<&Input>, pool: &ArenaPool) -> Result<()> {
        match (self, input) {
            (Self::Failed(error), _) => Err(error),
            (Self::Memory, _) => pool.take().map(drop),
            (Self::Input, Some(input)) => wait(input, name, None),
            (Self::Input | Self::Passing, _) => Ok(()),
        }
    }
}

/// Waits until something arrives on `input`, called `name` in messages.
pub(super) fn wait(input: &Input, name: &str, patience: Option<Duration>) -> Result<()> {
    input.wait(patience).map_err(|error| Error::failed(format!("waiting for {name}"), error))
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
    // Taken from the decoder, but there was no memory for it.
    event: Option<Decoded>,
    // How much of what the decoder wants is there, or was skipped.
    filled: usize,
    resume_after: u64,
    running: Option<Running>,
    ended: bool,
}

impl Reader<native::Decoder> {
    /// Goes on at `cursor`, right after the stream header: the input has nothing of what is before.
    ///
    /// # Errors
    ///
    /// `Integrity`: that is not possible there. `Refused`: it is not the stream that was read
    /// before up to there.
    pub(crate) fn go_on_at(&mut self, cursor: native::Cursor) -> Result<()> {
        let gone_on = self.decoder.go_on_at(cursor);
        gone_on.map_err(|malformed| self.malformed(malformed))?;
        self.compare()
    }
}

impl<D: Decoder> Reader<D> {
    /// Reads `input`, called `name` in messages, with arenas of at least [`BATCH_BYTES_MAX`] from
    /// `pool`.
    pub fn new(name: impl Into<String>, input: Input, decoder: D, pool: ArenaPool) -> Self {
        Self {
            name: name.into(),
            input,
            decoder,
            pool,
            arena: None,
            bytes: Vec::new(),
            event: None,
            filled: 0,
            resume_after: 0,
            running: None,
            ended: false,
        }
    }

    /// Skips the batches and marks that end at or before byte `position` of the stream, which were
    /// applied before. Their records are still decoded, so that the order is checked; their payload
    /// is skipped.
    pub(crate) fn resume_after(&mut self, position: u64) {
        self.resume_after = position;
    }

    /// Makes a digest of what is read from now on: the chain, in a format that has one. Call this
    /// before anything is read.
    pub(crate) fn follow_content(&mut self) {
        let has_chain = self.decoder.chain().is_some();
        self.running = Some(if has_chain { Running::of_chain() } else { Running::of_bytes() });
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

    /// The next frame; `None` after the end of the input. Waits for it.
    ///
    /// # Errors
    ///
    /// Of kind `Integrity` if the stream is malformed, with the position; of kind `Failed` if the
    /// input cannot be read.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>> {
        loop {
            match self.poll_frame() {
                Ok(frame) => return Ok(frame),
                Err(unready) => unready.wait(&self.name, Some(&self.input), &self.pool)?,
            }
        }
    }

    /// The next frame, if it is there; `None` after the end of the input.
    ///
    /// # Errors
    ///
    /// Why there is none now, or the error of [`next_frame`](Self::next_frame).
    pub(crate) fn poll_frame(&mut self) -> std::result::Result<Option<Frame>, Unready> {
        while !self.ended {
            if let Some(event) = self.event() {
                return self.frame(event).map(Some);
            }
            self.step()?;
            self.compare()?;
        }
        self.event().map(|event| self.frame(event)).transpose()
    }

    fn event(&mut self) -> Option<Decoded> {
        self.event.take().or_else(|| self.decoder.event())
    }

    /// Waits until something arrives.
    pub(crate) fn wait(&self, patience: Duration) -> Result<()> {
        wait(&self.input, &self.name, Some(patience))
    }

    fn frame(&mut self, event: Decoded) -> std::result::Result<Frame, Unready> {
        let applied_before = self.decoder.consumed() <= self.resume_after;
        Ok(match event {
            Decoded::Begin(header) => Frame::Begin(header),
            Decoded::Mark(_) if applied_before => return Err(Unready::Passing),
            Decoded::Mark(mark) => Frame::Mark(mark),
            Decoded::End(end) => Frame::End(end),
            Decoded::Batch(_) if applied_before => {
                self.arena = None;
                return Err(Unready::Passing);
            }
            // A batch without payload has no arena yet.
            Decoded::Batch(header) => match self.arena.take().or_else(|| self.pool.try_take()) {
                Some(arena) => Frame::Batch(Batch { header, arena }),
                None => {
                    self.event = Some(Decoded::Batch(header));
                    return Err(Unready::Memory);
                }
            },
        })
    }

    fn compare(&mut self) -> Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let bytes = self.decoder.consumed();
        self.decoder.chain().into_iter().for_each(|chain| running.follow(chain));
        running.compare(&self.name, bytes)?;
        if self.ended { running.end(&self.name, bytes) } else { Ok(()) }
    }

    fn step(&mut self) -> std::result::Result<(), Unready> {
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

    /// Reads what is missing of `length` bytes into `bytes`; returns how many there are, which is
    /// less only at the end of the input.
    fn fill_bytes(&mut self, length: usize) -> std::result::Result<usize, Unready> {
        self.bytes.resize(length, 0);
        let filled = self.input.fill(&mut self.bytes, &mut self.filled);
        filled.map_err(|error| Unready::of(error, &self.name))?;
        Ok(std::mem::take(&mut self.filled))
    }

    fn take(&mut self, length: usize, end_allowed: bool) -> std::result::Result<(), Unready> {
        debug_assert!((1..=WANT_BYTES_MAX).contains(&length));
        let read = self.fill_bytes(length)?;
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
        Ok(outcome.map_err(|malformed| self.malformed(malformed))?)
    }

    /// Payload that was applied before is skipped if it is not hashed, except for the last batches
    /// before the position: another version of this program may divide batches differently.
    fn take_payload(&mut self, position: usize, length: usize) -> std::result::Result<(), Unready> {
        let end = self.decoder.consumed().saturating_add(length as u64);
        let hashes = self.running.as_ref().is_some_and(Running::is_of_bytes);
        let is_passed = end.saturating_add(2 * BATCH_BYTES_MAX as u64) <= self.resume_after;
        let filled = if is_passed && !hashes {
            let mut passed = self.filled as u64;
            let outcome = self.input.pass_over(length as u64, &mut passed);
            // No more than `length`.
            self.filled = passed as usize;
            outcome
        } else {
            let arena = arena_of(&mut self.arena, &self.pool)?;
            let payload = &mut arena.as_mut_slice()[position..position + length];
            let outcome = self.input.fill(payload, &mut self.filled);
            if let (Ok(()), Some(running)) = (&outcome, &mut self.running) {
                running.take(payload);
            }
            outcome
        };
        filled.map_err(|error| Unready::of(error, &self.name))?;
        let outcome = match std::mem::take(&mut self.filled) {
            read if read == length => self.decoder.payload_taken(),
            read => Err(self.truncated(read)),
        };
        Ok(outcome.map_err(|malformed| self.malformed(malformed))?)
    }

    fn take_compressed(
        &mut self,
        method: compression::Method,
        stored: usize,
        unpacked: usize,
    ) -> std::result::Result<(), Unready> {
        arena_of(&mut self.arena, &self.pool)?;
        let read = self.fill_bytes(stored)?;
        let at = self.decoder.consumed();
        let arena = arena_of(&mut self.arena, &self.pool)?;
        let outcome = if read < stored {
            Err(self.truncated(read))
        } else {
            compression::unpack(method, &self.bytes, &mut arena.as_mut_slice()[..unpacked])
                .map_err(|problem| Malformed::new(at, problem))
                .and_then(|()| self.decoder.payload_taken())
        };
        Ok(outcome.map_err(|malformed| self.malformed(malformed))?)
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
}

/// The arena being filled, or a new one.
pub(super) fn arena_of<'a>(
    arena: &'a mut Option<Arena>,
    pool: &ArenaPool,
) -> std::result::Result<&'a mut Arena, Unready> {
    match arena {
        Some(arena) => Ok(arena),
        None => Ok(arena.insert(pool.try_take().ok_or(Unready::Memory)?)),
    }
}

#[cfg(test)]
mod tests;
