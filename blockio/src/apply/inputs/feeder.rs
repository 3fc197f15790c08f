//! The first half of the path: reads and decodes the inputs one after another, verifies each batch,
//! and passes on what may be written. No device is touched here.

use std::time::Duration;

use crate::apply::StreamArgument;
use crate::apply::source::{Answer, Beginning, Fed, Position};
use crate::device::buffer::ArenaPool;
use crate::stream::open::{Opening, Stream};
use crate::stream::reader::Unready;
use crate::stream::{Format, Frame, Malformed, Problem};
use crate::verify::{Bounds, verify};
use crate::{Error, Result};

/// Reads, decodes and verifies the inputs one after another.
#[derive(Debug)]
pub(super) struct Feeder {
    inputs: std::vec::IntoIter<StreamArgument>,
    format: Option<Format>,
    follows_content: bool,
    pool: ArenaPool,
    current: Option<Current>,
}

/// The input being read.
#[derive(Debug)]
struct Current {
    name: String,
    is_pipe: bool,
    reading: Reading,
    bounds: Vec<Bounds>,
    begun: bool,
}

#[derive(Debug)]
enum Reading {
    /// Its first bytes have not come.
    Opening(Opening),
    Stream(Box<Stream>),
}

impl Feeder {
    /// Feeds `inputs` to `run`.
    pub(super) fn new(inputs: Vec<StreamArgument>, run: &Beginning<'_>) -> Self {
        Self {
            inputs: inputs.into_iter(),
            format: run.options.format,
            follows_content: run.group.remembers(),
            pool: run.pool.clone(),
            current: None,
        }
    }

    /// The next item, as for a [`Source`](crate::apply::Source), if it has come.
    ///
    /// # Errors
    ///
    /// Why there is none now; what is wrong with an input is an item.
    pub(super) fn poll(&mut self) -> std::result::Result<Fed, Unready> {
        if self.current.is_none() {
            let Some(input) = self.inputs.next() else { return Ok(Fed::Done) };
            let (name, is_pipe) = (input.name(), input.is_pipe());
            match input.begin_opening(self.format, self.pool.clone()) {
                Ok(opening) => {
                    let reading = Reading::Opening(opening);
                    let (bounds, begun) = (Vec::new(), false);
                    self.current = Some(Current { name, is_pipe, reading, bounds, begun });
                }
                Err(error) => return Ok(failed(error, is_pipe)),
            }
        }
        let Some(current) = &mut self.current else { return Ok(Fed::Done) };
        match current.poll(self.follows_content) {
            Ok(Some(fed)) => Ok(fed),
            Ok(None) => {
                self.current = None;
                Ok(Fed::InputEnd { is_last: self.inputs.len() == 0 })
            }
            Err(Unready::Failed(error)) => Ok(failed(error, current.is_pipe)),
            Err(unready) => Err(unready),
        }
    }

    /// Waits until something comes, but at most for `patience`.
    ///
    /// # Errors
    ///
    /// `Failed`: the input cannot be waited for.
    pub(super) fn wait(&self, patience: Duration) -> Result<()> {
        match self.current.as_ref().map(|current| &current.reading) {
            Some(Reading::Opening(opening)) => opening.wait(Some(patience)),
            Some(Reading::Stream(stream)) => stream.wait(patience),
            None => Ok(()),
        }
    }

    /// The answer to a stream that begins.
    pub(super) fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::SkipInput => self.current = None,
            Answer::Apply { bounds, resume_after, expected } => {
                let Some(current) = &mut self.current else { return };
                current.bounds = bounds;
                // Only a stream can have begun.
                if let Reading::Stream(stream) = &mut current.reading {
                    stream.resume_after(resume_after);
                    if !expected.is_empty() {
                        stream.expect(expected);
                    }
                }
            }
        }
    }
}

impl Current {
    fn poll(&mut self, follows_content: bool) -> std::result::Result<Option<Fed>, Unready> {
        let stream = match &mut self.reading {
            Reading::Stream(stream) => stream,
            Reading::Opening(opening) => {
                let mut stream = Box::new(opening.poll()?);
                if follows_content {
                    stream.follow_content();
                }
                self.reading = Reading::Stream(stream);
                return self.poll(follows_content);
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
}

fn failed(error: Error, is_pipe: bool) -> Fed {
    let is_cut_pipe = is_pipe && is_truncation(&error);
    Fed::Failed { error, is_cut_pipe }
}

fn refuse(name: &str, consumed: u64, unverified: crate::verify::Unverified) -> Error {
    Error::integrity(
        format!("verifying {name}, in the batch that ends at byte {consumed} of the stream"),
        unverified,
    )
    .with_hint("nothing of this batch was written; fetch the stream from its source again")
}

fn is_truncation(error: &Error) -> bool {
    let cause = std::error::Error::source(error);
    cause.and_then(|cause| cause.downcast_ref::<Malformed>()).is_some_and(|malformed| {
        matches!(malformed.problem, Problem::Truncated | Problem::TooShort { .. })
    })
}
