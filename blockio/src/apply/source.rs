//! The source of the changes of a run. It returns the next item, and is told what became durable;
//! the run does not know whether the changes come from files, a pipe or a connection.

use std::fmt::Debug;
use std::fs::File;
use std::time::Duration;

use crate::apply::options::ApplyOptions;
use crate::device::buffer::ArenaPool;
use crate::group::GroupView;
use crate::journal::state::{Consumed, SourceOrder};
use crate::stream::{End, Mark, StreamHeader};
use crate::verify::{Bounds, VerifiedBatch};
use crate::volume_name::VolumeName;
use crate::{Error, Result};

/// A source of changes: *inputs*, one after another, each with one or more streams.
pub trait Source: Debug + Send {
    /// The name of the input that is `target` itself, if there is one.
    fn is_also(&self, target: &File) -> Option<String>;

    /// Called once when a run begins, before anything is requested. Returns how many inputs are
    /// skipped because all of them were applied before.
    ///
    /// # Errors
    ///
    /// `Failed`: nothing can be read.
    fn begin(&mut self, run: &Beginning<'_>) -> Result<u64>;

    /// The next item, if it arrives within `patience`. May return earlier with
    /// [`Arrival::Nothing`], so that the caller can attend to other things.
    ///
    /// After [`Fed::Begin`] the caller must call [`answer`](Self::answer); after [`Fed::Failed`]
    /// and [`Fed::Done`] there is nothing more.
    fn next(&mut self, patience: Duration) -> Arrival;

    /// The answer to a stream that begins.
    fn answer(&mut self, answer: Answer);

    /// Reports that all volumes have everything up to byte `position` of this input, durably, and
    /// that the group has recorded it (BARRIER 3): the sender may forget it. If nothing is
    /// recorded, nothing is reported.
    fn durable(&mut self, position: u64);
}

/// The parameters of a run that begins.
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'a> {
    /// The state of the group.
    pub group: &'a GroupView,
    /// The volumes to apply to.
    pub volumes: &'a [VolumeName],
    /// The options of the run.
    pub options: ApplyOptions,
    /// Memory for batches.
    pub pool: &'a ArenaPool,
}

/// The position in an input.
#[derive(Clone, Debug, Default)]
pub struct Position {
    /// The number of bytes read.
    pub byte: u64,
    /// Their content, if it is tracked.
    pub content: Option<Consumed>,
}

/// What came of asking a source.
#[derive(Debug)]
pub enum Arrival {
    /// The next item.
    Item(Fed),
    /// Nothing has arrived.
    Nothing,
    /// There is no memory for what arrives: writes under way hold all of it.
    NoMemory,
}

/// What a source passes on, in the order of its inputs.
#[derive(Debug)]
pub enum Fed {
    /// A stream begins; the source waits for the answer.
    Begin {
        /// The header of the stream.
        header: StreamHeader,
        /// Whether it is the first one of its input.
        is_first: bool,
        /// The position of the stream in the order of its source.
        order: Option<SourceOrder>,
        /// How far the input was read.
        consumed: u64,
    },
    /// A batch that may be written.
    Batch(VerifiedBatch, Position),
    /// A recovery point.
    Mark(Mark, Position),
    /// A stream ended properly.
    End(End, Position),
    /// An input ended.
    InputEnd {
        /// Whether it is known to be the last one.
        is_last: bool,
    },
    /// An input could not be read any further; no item follows.
    Failed {
        /// The error.
        error: Error,
        /// Whether the input is a pipe that ended too early: the rest may follow in a later run.
        is_cut_pipe: bool,
    },
    /// All inputs ended.
    Done,
}

/// The answer to a stream that begins.
#[derive(Debug)]
pub enum Answer {
    /// Continue: check batches against these bounds, and skip those that end at or before
    /// `resume_after`.
    Apply {
        /// One for each volume of the stream.
        bounds: Vec<Bounds>,
        /// A byte offset in the input; 0 for all of it.
        resume_after: u64,
        /// The content that was applied before of a stream with the same identity.
        expected: Vec<Consumed>,
    },
    /// Skip this input: all of it was applied before.
    SkipInput,
}
