//! The main path: frames that were verified become writes, then flushes, then checkpoints.
//!
//! ```text
//! source            read, decode, verify            nothing touches a device
//! session           admission, plan, bookkeeping
//! writer            preserve, patch, write, flush   one for each volume
//! group             checkpoint                      only of what was flushed
//! ```
//!
//! Order of what becomes durable, and what a crash in between leaves:
//!
//! 1. *in-between* is recorded before the first write: after a crash the volume is known to be
//!    neither here nor there, and takes only the same stream (I4);
//! 2. writes, then the flush of every volume (BARRIER 2): a crash loses any of the writes since the
//!    last checkpoint, and they are applied again from there;
//! 3. the checkpoint (BARRIER 3), which needs the proof of the flush (I2): a crash before it
//!    repeats the batches since the last one, which gives the same bytes.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::assignment::Assignment;
use crate::device::buffer::ArenaPool;
use crate::device::open::Engine;
use crate::group::Group;
pub use crate::group::keeper::Settings;
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

/// How it is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The format of the streams; none: told by their first bytes.
    pub format: Option<Format>,
    /// Which engine.
    pub engine: Engine,
    /// Read everything back and compare.
    pub verify: bool,
    /// A pipe that ends early is no failure: its rest comes another time.
    pub resume: bool,
    /// Decode, verify, plan, and write nothing.
    pub dry_run: bool,
    /// A source or target of another size than before is what the operator wants.
    pub accept_resize: bool,
    /// A target that is not known to be the one, or not to be as it was left, is what the operator
    /// wants.
    pub accept_target: bool,
    /// A stream that the source made before the last one is what the operator wants.
    pub accept_older: bool,
    /// That a stream begins where the volume is, which cannot be known, is what the operator says.
    pub accept_base: bool,
    /// A stream that was begun and is left unfinished is what the operator wants.
    pub accept_unfinished: bool,
    /// A crash-consistent point is made so often, where the batches of a stream come in the order
    /// of the writes and it has not made one itself.
    pub point_every: Option<Duration>,
}

/// What is to be done.
#[derive(Debug)]
pub struct Job {
    /// Where the changes come from.
    pub source: Box<dyn Source>,
    /// Where to.
    pub assignments: Vec<Assignment>,
    /// The protection group; the default one is none, and nothing is remembered.
    pub group: Group,
    /// How.
    pub options: Options,
    /// How the history of the group is kept, if it has one.
    pub history: Settings,
    /// Memory for batches; none: some is made.
    pub pool: Option<ArenaPool>,
}

impl Default for Job {
    /// Nothing, to nowhere.
    fn default() -> Self {
        Self {
            source: Box::new(Inputs::default()),
            assignments: Vec::new(),
            group: Group::default(),
            options: Options::default(),
            history: Settings::default(),
            pool: None,
        }
    }
}

/// What was done, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of data, as the streams have them: what was overwritten again is counted again.
    pub bytes: u64,
    /// Extents of any content.
    pub extents: u64,
    /// Bytes that became zeros: zero and discarded extents.
    pub zero_bytes: u64,
    /// Recovery points that were made; that were passed, where no history is kept.
    pub recovery_points: u64,
    /// The byte of the first input after which applying went on.
    pub resumed_from: Option<u64>,
    /// How many inputs were left out, since they had been applied before.
    pub inputs_left_out: u64,
}

/// How it ended. What was applied is durable, and recorded if there is a group, however it ended.
#[derive(Debug)]
pub enum Ending {
    /// All inputs came to their end.
    Complete,
    /// A pipe ended early, and that is as announced ([`Options::resume`]).
    Incomplete,
    /// The operator stopped it.
    Stopped,
    /// An input could not be read on, or believed.
    Failed(Error),
}

/// What came of a job.
#[derive(Debug)]
pub struct Outcome {
    /// How much was done.
    pub summary: Summary,
    /// How it ended.
    pub ending: Ending,
    /// The volumes that failed on the way, each with its error; they were left, and the others
    /// went on.
    pub failed_volumes: Vec<Error>,
}

/// What happens meanwhile.
#[derive(Debug)]
pub enum Event<'a> {
    /// Something that the operator should know.
    Notice(&'a Notice),
    /// So far was it read, in bytes of all inputs.
    Progress {
        /// Bytes of the inputs.
        consumed: u64,
    },
    /// A volume failed and is left.
    VolumeFailed(&'a Error),
}

/// Does `job`. `stop` ends it at the next batch; `observe` is told what happens.
///
/// # Errors
///
/// Nothing was written then. What fails later is in the [`Outcome`].
pub fn run(job: Job, stop: &AtomicBool, observe: &mut dyn FnMut(Event<'_>)) -> Result<Outcome> {
    session::Session::begin(job, stop, observe)?.run()
}
