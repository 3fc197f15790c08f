//! The first half of the path: reads and decodes the inputs one after another, verifies each batch,
//! and hands on what may be written. No device is touched here.

use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};

use crate::apply::StreamArgument;
use crate::device::buffer::ArenaPool;
use crate::journal::state::{Consumed, SourceOrder};
use crate::stream::open::Source;
use crate::stream::{End, Format, Frame, Malformed, Mark, Problem, StreamHeader};
use crate::verify::{Bounds, VerifiedBatch, verify};
use crate::{Error, Result};

/// How far an input was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct At {
    /// So many bytes.
    pub(crate) byte: u64,
    /// What they are, where that is followed.
    pub(crate) content: Option<Consumed>,
}

/// What the feeder hands on, in the order of the inputs.
#[derive(Debug)]
pub(crate) enum Fed {
    /// A stream begins; the feeder waits for the answer.
    Begin {
        /// What it says of itself.
        header: StreamHeader,
        /// Whether it is the first one of its input.
        is_first: bool,
        /// Where it is in the order of its source.
        order: Option<SourceOrder>,
        /// How far the input was read.
        consumed: u64,
    },
    /// A batch that may be written.
    Batch(VerifiedBatch, At),
    /// A recovery point.
    Mark(Mark, At),
    /// A stream came to its end.
    End(End, At),
    /// An input came to its end.
    InputEnd,
    /// An input could not be read on; it was the last thing.
    Failed {
        /// Why.
        error: Error,
        /// Whether the input is a pipe that ended too early: the rest may come another time.
        is_cut_pipe: bool,
    },
    /// All inputs came to their end.
    Done,
}

/// What is said to a stream that begins.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Go on: hold batches against these bounds, leave out what ends at or before `resume_after`.
    Apply {
        /// One for each volume of the stream.
        bounds: Vec<Bounds>,
        /// A byte of the input; 0 for all of it.
        resume_after: u64,
        /// What was applied before of what calls itself as this does.
        expected: Vec<Consumed>,
    },
    /// Leave out this input: all of it was applied before.
    SkipInput,
}

/// Reads, decodes and verifies the inputs one after another.
pub(crate) struct Feeder {
    inputs: std::vec::IntoIter<StreamArgument>,
    format: Option<Format>,
    follows_content: bool,
    pool: ArenaPool,
    current: Option<Current>,
}

/// The input that is being read.
struct Current {
    name: String,
    is_pipe: bool,
    source: Source,
    bounds: Vec<Bounds>,
    begun: bool,
}

impl Feeder {
    /// Feeds `inputs` in `format`, with arenas from `pool`; `follows_content`: what is read is to
    /// be known again.
    pub(crate) fn new(
        inputs: Vec<StreamArgument>,
        format: Option<Format>,
        follows_content: bool,
        pool: ArenaPool,
    ) -> Self {
        Self { inputs: inputs.into_iter(), format, follows_content, pool, current: None }
    }

    /// What comes next. After [`Fed::Begin`] it must be [`answer`](Self::answer)ed; after
    /// [`Fed::Failed`] and [`Fed::Done`] there is nothing.
    ///
    /// Waits for an arena if none of the pool is free.
    pub(crate) fn next(&mut self) -> Fed {
        if self.current.is_none() {
            let Some(input) = self.inputs.next() else { return Fed::Done };
            let (name, is_pipe) = (input.name(), input.is_pipe());
            match input.open(self.format, self.pool.clone()) {
                Ok(mut source) => {
                    if self.follows_content {
                        source.follow_content();
                    }
                    let (bounds, begun) = (Vec::new(), false);
                    self.current = Some(Current { name, is_pipe, source, bounds, begun });
                }
                Err(error) => return failed(error, is_pipe),
            }
        }
        let Some(current) = &mut self.current else { return Fed::Done };
        match current.next() {
            Ok(Some(fed)) => fed,
            Ok(None) => {
                self.current = None;
                Fed::InputEnd
            }
            Err(error) => failed(error, current.is_pipe),
        }
    }

    /// The answer to a stream that begins.
    pub(crate) fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::SkipInput => self.current = None,
            Answer::Apply { bounds, resume_after, expected } => {
                if let Some(current) = &mut self.current {
                    current.bounds = bounds;
                    current.source.resume_after(resume_after);
                    if !expected.is_empty() {
                        current.source.expect(expected);
                    }
                }
            }
        }
    }
}

impl Current {
    fn next(&mut self) -> Result<Option<Fed>> {
        let Some(frame) = self.source.next_frame()? else { return Ok(None) };
        let consumed = self.source.consumed();
        let at = At { byte: consumed, content: self.source.content() };
        Ok(Some(match frame {
            Frame::Begin(header) => {
                let is_first = !std::mem::replace(&mut self.begun, true);
                let order = self.source.order(&header);
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

/// A feeder, and how it is asked.
pub(crate) enum Feed {
    /// In this thread: a file does not keep anybody waiting, and writes go on meanwhile by
    /// themselves.
    Inline(Box<Feeder>),
    /// In a thread of its own: a pipe can be silent for hours, while signals and checkpoints are
    /// to be seen to.
    Thread {
        /// What it fed.
        fed: Receiver<Fed>,
        /// To answer it.
        answers: Sender<Answer>,
    },
}

impl Feed {
    /// Starts a thread for `feeder`. It is not joined: it may wait for a pipe for ever, and holds
    /// nothing that needs an end.
    pub(crate) fn thread(mut feeder: Feeder) -> Result<Self> {
        let (to, fed) = sync_channel(1);
        let (answers, from) = channel();
        let run = move || loop {
            let fed = feeder.next();
            let waits = matches!(fed, Fed::Begin { .. });
            let is_last = matches!(fed, Fed::Failed { .. } | Fed::Done);
            if to.send(fed).is_err() || is_last {
                return;
            }
            match waits.then(|| from.recv()) {
                Some(Ok(answer)) => feeder.answer(answer),
                Some(Err(_)) => return,
                None => {}
            }
        };
        std::thread::Builder::new()
            .name("feed".to_owned())
            .spawn(run)
            .map_err(|error| Error::failed("starting the thread that reads", error))?;
        Ok(Self::Thread { fed, answers })
    }

    /// The answer to a stream that begins.
    pub(crate) fn answer(&mut self, answer: Answer) {
        match self {
            Self::Inline(feeder) => feeder.answer(answer),
            // A feeder that is gone is noticed when it is asked for more.
            Self::Thread { answers, .. } => drop(answers.send(answer)),
        }
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
    .with_hint("nothing of this batch was written; get the stream again from where it was made")
}

fn is_truncation(error: &Error) -> bool {
    let cause = std::error::Error::source(error);
    cause.and_then(|cause| cause.downcast_ref::<Malformed>()).is_some_and(|malformed| {
        matches!(malformed.problem, Problem::Truncated | Problem::TooShort { .. })
    })
}
