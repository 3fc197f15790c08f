//! What is reported during a job, and how it ended.

use crate::Error;
use crate::notice::Notice;

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
    /// A pipe ended early, as announced by [`ApplyOptions::resume`](super::ApplyOptions::resume).
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
