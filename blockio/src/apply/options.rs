//! How to apply, and what the operator accepts.

use std::time::Duration;

use crate::device::Engine;
use crate::stream::Format;

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
    /// A checkpoint is due when this many bytes were written since the last one; `None` for
    /// 256 MiB.
    pub checkpoint_bytes: Option<u64>,
}
