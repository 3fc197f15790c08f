//! The main path: verified frames become writes, then flushes, then checkpoints.
//!
//! ```text
//! source            read, decode, verify            nothing touches a device
//! session           admission, plan, bookkeeping
//! writer            preserve, patch, write, flush   one per volume
//! group             checkpoint                      only of flushed writes
//! ```
//!
//! Order of what becomes durable, and what a crash in between leaves:
//!
//! 1. *in-between* is recorded before the first write: after a crash the volume is known to be
//!    between two states, and accepts only the same stream (I4);
//! 2. writes, then the flush of every volume (BARRIER 2): a crash may lose any of the writes since
//!    the last checkpoint; they are applied again from there;
//! 3. the checkpoint (BARRIER 3), which needs proof of the flush (I2): after a crash before it, the
//!    batches since the last checkpoint are applied again, which gives the same bytes.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::assignment::Assignment;
use crate::device::buffer::ArenaPool;
use crate::device::open::Engine;
use crate::group::Group;
pub use crate::group::keeper::HistorySettings;
use crate::notice::Notice;
use crate::stream::Format;
use crate::{Error, Result};

mod admission;
mod inputs;
mod patching;
mod read_back;
mod session;
pub mod source;
mod stream_argument;
mod under_way;
pub(crate) mod volumes;
mod writer;

#[cfg(test)]
mod tests;

pub use inputs::Inputs;
pub use source::Source;
pub use stream_argument::StreamArgument;

/// How to apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// The format of the streams; `None` to detect it from their first bytes.
    pub format: Option<Format>,
    /// The I/O engine.
    pub engine: Engine,
    /// Read everything back and compare.
    pub verify: bool,
    /// A pipe that ends early is not a failure: the rest follows in a later run.
    pub resume: bool,
    /// Decode, verify, plan, and write nothing.
    pub dry_run: bool,
    /// The operator accepts a source or target whose size has changed.
    pub accept_resize: bool,
    /// The operator accepts a target that is not known to be the right one, or not known to be as
    /// it was left.
    pub accept_target: bool,
    /// The operator accepts a stream that the source made before the last one applied.
    pub accept_older: bool,
    /// The operator asserts that a stream begins where the volume is, which cannot be checked.
    pub accept_base: bool,
    /// The operator accepts leaving a stream unfinished that was begun.
    pub accept_unfinished: bool,
    /// How often to make a crash-consistent point, where the batches of a stream come in write
    /// order and the stream has not made a point itself.
    pub point_every: Option<Duration>,
}

/// What to apply, and to where.
#[derive(Debug)]
pub struct ApplyJob {
    /// Where the changes come from.
    pub source: Box<dyn Source>,
    /// The targets to write to.
    pub assignments: Vec<Assignment>,
    /// The protection group; the default is no group, and nothing is remembered.
    pub group: Group,
    /// How to apply.
    pub options: ApplyOptions,
    /// How the history of the group is kept, if it has one.
    pub history: HistorySettings,
    /// Memory for batches; `None` to allocate it.
    pub pool: Option<ArenaPool>,
}

impl Default for ApplyJob {
    /// No source and no targets.
    fn default() -> Self {
        Self {
            source: Box::new(Inputs::default()),
            assignments: Vec::new(),
            group: Group::default(),
            options: ApplyOptions::default(),
            history: HistorySettings::default(),
            pool: None,
        }
    }
}

/// What was done, or would be done in a dry run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of data as counted in the streams: data that is overwritten again is counted again.
    pub bytes: u64,
    /// Extents of any content.
    pub extents: u64,
    /// Bytes that became zeros: zero and discarded extents.
    pub zero_bytes: u64,
    /// Recovery points made, or passed where no history is kept.
    pub recovery_points: u64,
    /// The byte offset in the first input from which applying resumed.
    pub resumed_from: Option<u64>,
    /// The number of inputs skipped because they had been applied before.
    pub inputs_left_out: u64,
}

/// How a job ended. However it ended, what was applied is durable, and recorded if there is a
/// group.
#[derive(Debug)]
pub enum Ending {
    /// All inputs were read to their end.
    Complete,
    /// A pipe ended early, as announced by [`ApplyOptions::resume`].
    Incomplete,
    /// The operator stopped it.
    Stopped,
    /// An input could not be read any further, or failed verification.
    Failed(Error),
}

/// The result of a job.
#[derive(Debug)]
pub struct Outcome {
    /// How much was done.
    pub summary: Summary,
    /// How it ended.
    pub ending: Ending,
    /// The volumes that failed on the way, each with its error; they were dropped, and the others
    /// went on.
    pub failed_volumes: Vec<Error>,
}

/// What is reported during a job.
#[derive(Debug)]
pub enum ApplyEvent<'a> {
    /// Something that the operator should know.
    Notice(&'a Notice),
    /// How far the inputs were read, in bytes of all inputs.
    Progress {
        /// Bytes of the inputs.
        consumed: u64,
    },
    /// A volume failed and is dropped.
    VolumeFailed(&'a Error),
}

/// Runs `job`. `stop` ends it at the next batch; `observe` receives its events.
///
/// # Errors
///
/// Nothing was written if this returns an error. Later failures are in the [`Outcome`].
pub fn run(
    job: ApplyJob,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(ApplyEvent<'_>),
) -> Result<Outcome> {
    session::Session::begin(job, stop, observe)?.run()
}
