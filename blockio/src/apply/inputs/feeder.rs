//! The first half of the path: reads and decodes the inputs one after another, verifies each batch,
//! and passes on what may be written. No device is touched here.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::apply::StreamArgument;
use crate::apply::source::{Answer, Beginning, Fed, Position};
use crate::device::buffer::ArenaPool;
use crate::stream::open::Stream;
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
    stop: Arc<AtomicBool>,
}

/// The input being read.
#[derive(Debug)]
struct Current {
    name: String,
    is_pipe: bool,
    stream: Stream,
    bounds: Vec<Bounds>,
    begun: bool,
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
            stop: Arc::default(),
        }
    }

    /// The flag that ends waiting for a pipe.
    pub(super) fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// The next item, as for a [`Source`](crate::apply::Source).
    ///
    /// Waits for an arena if none of the pool is free.
    pub(super) fn next(&mut self) -> Fed {
        if self.current.is_none() {
            let Some(input) = self.inputs.next() else { return Fed::Done };
            let (name, is_pipe) = (input.name(), input.is_pipe());
            match input.open_until(&self.stop, self.format, self.pool.clone()) {
                Ok(mut stream) => {
                    if self.follows_content {
                        stream.follow_content();
                    }
                    let (bounds, begun) = (Vec::new(), false);
                    self.current = Some(Current { name, is_pipe, stream, bounds, begun });
                }
                Err(error) => return failed(error, is_pipe),
            }
        }
        let Some(current) = &mut self.current else { return Fed::Done };
        match current.next() {
            Ok(Some(fed)) => fed,
            Ok(None) => {
                self.current = None;
                Fed::InputEnd { is_last: self.inputs.len() == 0 }
            }
            Err(error) => failed(error, current.is_pipe),
        }
    }

    /// The answer to a stream that begins.
    pub(super) fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::SkipInput => self.current = None,
            Answer::Apply { bounds, resume_after, expected } => {
                if let Some(current) = &mut self.current {
                    current.bounds = bounds;
                    current.stream.resume_after(resume_after);
                    if !expected.is_empty() {
                        current.stream.expect(expected);
                    }
                }
            }
        }
    }
}

impl Current {
    fn next(&mut self) -> Result<Option<Fed>> {
        let Some(frame) = self.stream.next_frame()? else { return Ok(None) };
        let consumed = self.stream.consumed();
        let at = Position { byte: consumed, content: self.stream.content() };
        Ok(Some(match frame {
            Frame::Begin(header) => {
                let is_first = !std::mem::replace(&mut self.begun, true);
                let order = self.stream.order(&header);
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
