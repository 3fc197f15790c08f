//! One input as the items of a source: read, decoded, and verified, as far as it has come. No
//! device is touched here.

use std::time::Duration;

use crate::apply::source::{Answer, Arrival, Fed, Position};
use crate::device::buffer::ArenaPool;
use crate::stream::input::Input;
use crate::stream::native::Cursor;
use crate::stream::open::{Opening, Stream};
use crate::stream::reader::Unready;
use crate::stream::{Format, Frame, Malformed, Problem};
use crate::verify::{Bounds, verify};
use crate::{Error, Result};

/// Reads, decodes and verifies one input.
#[derive(Debug)]
pub struct Feed {
    name: String,
    is_pipe: bool,
    reading: Reading,
    bounds: Vec<Bounds>,
    begun: bool,
    follows_content: bool,
}

#[derive(Debug)]
enum Reading {
    /// Its first bytes have not come.
    Opening(Opening),
    Stream(Box<Stream>),
}

impl Feed {
    /// The native stream that arrives on `input`, called `name` in messages, with memory from
    /// `pool`.
    #[must_use]
    pub fn of_connection(name: &str, input: Input, pool: ArenaPool) -> Self {
        Self::new(Opening::new(name, input, Some(Format::Native), None, pool), true, true)
    }

    /// The input that is being opened; `follows_content` if what is applied is remembered.
    pub(super) fn new(opening: Opening, is_pipe: bool, follows_content: bool) -> Self {
        let name = opening.name().to_owned();
        let (reading, bounds) = (Reading::Opening(opening), Vec::new());
        Self { name, is_pipe, reading, bounds, begun: false, follows_content }
    }

    /// The next item, if it has come; after the last one [`Fed::InputEnd`].
    pub fn arrival(&mut self) -> Arrival {
        match self.poll() {
            Ok(Some(fed)) => Arrival::Item(fed),
            Ok(None) => Arrival::Item(Fed::InputEnd { is_last: true }),
            Err(Unready::Input | Unready::Passing) => Arrival::Nothing,
            Err(Unready::Memory) => Arrival::NoMemory,
            Err(Unready::Failed(error)) => Arrival::Item(self.failed(error)),
        }
    }

    /// The next item, if it has come; `None` after the end.
    pub(super) fn poll(&mut self) -> std::result::Result<Option<Fed>, Unready> {
        let stream = match &mut self.reading {
            Reading::Stream(stream) => stream,
            Reading::Opening(opening) => {
                let mut stream = Box::new(opening.poll()?);
                if self.follows_content {
                    stream.follow_content();
                }
                self.reading = Reading::Stream(stream);
                return self.poll();
            }
        };
        let Some(frame) = stream.poll_frame()? else { return Ok(None) };
        let consumed = stream.consumed();
        let at = Position { byte: consumed, content: stream.content() };
        Ok(Some(match frame {
            Frame::Begin(header) => {
                let is_first = !std::mem::replace(&mut self.begun, true);
                let order = stream.order(&header);
                Fed::Begin { header, is_first, order, consumed }
            }
            Frame::Batch(batch) => {
                let verified = verify(batch, &self.bounds);
                let refuse = |unverified| refuse(&self.name, consumed, unverified);
                Fed::Batch(verified.map_err(refuse)?, at)
            }
            Frame::Mark(mark) => Fed::Mark(mark, at),
            Frame::End(end) => Fed::End(end, at),
        }))
    }

    /// What a source passes on when the input cannot be read any further.
    pub(super) fn failed(&self, error: Error) -> Fed {
        let is_cut_pipe = self.is_pipe && is_truncation(&error);
        Fed::Failed { error, is_cut_pipe }
    }

    /// Waits until something comes, but at most for `patience`.
    ///
    /// # Errors
    ///
    /// `Failed`: the input cannot be waited for.
    pub fn wait(&self, patience: Duration) -> Result<()> {
        match &self.reading {
            Reading::Opening(opening) => opening.wait(Some(patience)),
            Reading::Stream(stream) => stream.wait(patience),
        }
    }

    /// The answer to a stream that begins; nothing to do if the input is skipped.
    pub fn answer(&mut self, answer: Answer) {
        let Answer::Apply { bounds, resume_after, expected } = answer else { return };
        self.bounds = bounds;
        // Only a stream can have begun.
        if let Reading::Stream(stream) = &mut self.reading {
            stream.resume_after(resume_after);
            if !expected.is_empty() {
                stream.expect(expected);
            }
        }
    }

    /// Goes on at `cursor`, right after the stream header: its input has nothing of what is before.
    ///
    /// # Errors
    ///
    /// `Integrity`: that is not possible there. `Refused`: the stream is not the one of which
    /// something was applied up to there.
    pub fn go_on_at(&mut self, cursor: Cursor) -> Result<()> {
        match &mut self.reading {
            Reading::Stream(stream) => stream.go_on_at(cursor),
            Reading::Opening(_) => {
                let misplaced = Malformed::new(0, Problem::Misplaced("cursor"));
                Err(Error::integrity(format!("reading {}", self.name), misplaced))
            }
        }
    }
}

fn refuse(name: &str, consumed: u64, unverified: crate::verify::Unverified) -> Error {
    Error::integrity(
        format!("verifying {name}, in the batch that ends at byte {consumed} of the stream"),
        unverified,
    )
    .with_hint("nothing of this batch was written; fetch the stream from its source again")
}

/// Whether `error` says that the input ended too early.
pub(super) fn is_truncation(error: &Error) -> bool {
    let cause = std::error::Error::source(error);
    cause.and_then(|cause| cause.downcast_ref::<Malformed>()).is_some_and(|malformed| {
        matches!(malformed.problem, Problem::Truncated | Problem::TooShort { .. })
    })
}
