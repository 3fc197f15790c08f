//! Where the changes of a run come from. It says what comes next, and is told what became durable;
//! whether they come from files, a pipe or a connection, the run does not know.

use std::fmt::Debug;
use std::fs::File;
use std::time::Duration;

use crate::apply::Options;
use crate::device::buffer::ArenaPool;
use crate::group::GroupView;
use crate::journal::state::{Consumed, SourceOrder};
use crate::stream::{End, Mark, StreamHeader};
use crate::verify::{Bounds, VerifiedBatch};
use crate::volume_name::VolumeName;
use crate::{Error, Result};

/// Where changes come from: *inputs*, one after another, each with one stream or more.
pub trait Source: Debug + Send {
    /// The name of what is read, if that is `target` itself.
    fn is_also(&self, target: &File) -> Option<String>;

    /// A run begins; this is called once, before it is asked for anything. How many inputs are left
    /// out, as all of them was applied before.
    ///
    /// # Errors
    ///
    /// `Failed`: nothing can be read.
    fn begin(&mut self, run: &Beginning<'_>) -> Result<u64>;

    /// What comes next. None if that is not there after `patience`, or there is no memory for it
    /// yet: writes under way have it.
    ///
    /// After [`Fed::Begin`] it must be [`answer`](Self::answer)ed; after [`Fed::Failed`] and
    /// [`Fed::Done`] there is nothing.
    fn next(&mut self, patience: Duration) -> Option<Fed>;

    /// The answer to a stream that begins.
    fn answer(&mut self, answer: Answer);

    /// All volumes have everything up to byte `position` of this input, durably, and the group has
    /// recorded it (BARRIER 3): whoever sent it may forget it. Where nothing is recorded, nothing
    /// is told.
    fn durable(&mut self, position: u64);
}

/// What a run is when it begins.
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'a> {
    /// What is known of the group.
    pub group: &'a GroupView,
    /// The volumes that are applied to.
    pub volumes: &'a [VolumeName],
    /// How it is to be done.
    pub options: Options,
    /// Memory for batches.
    pub pool: &'a ArenaPool,
}

/// How far an input was read.
#[derive(Clone, Debug, Default)]
pub struct Position {
    /// So many bytes.
    pub byte: u64,
    /// What they are, where that is followed.
    pub content: Option<Consumed>,
}

/// What a source hands on, in the order of its inputs.
#[derive(Debug)]
pub enum Fed {
    /// A stream begins; the source waits for the answer.
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
    Batch(VerifiedBatch, Position),
    /// A recovery point.
    Mark(Mark, Position),
    /// A stream came to its end.
    End(End, Position),
    /// An input came to its end.
    InputEnd {
        /// It is known to be the last one.
        is_last: bool,
    },
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
pub enum Answer {
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
