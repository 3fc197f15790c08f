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

use crate::Result;
use crate::group::Group;
pub use crate::group::keeper::HistorySettings;

mod admission;
mod feed;
mod inputs;
mod job;
mod options;
mod outcome;
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

pub use feed::Feed;
pub use inputs::Inputs;
pub use job::ApplyJob;
pub use options::ApplyOptions;
pub use outcome::{ApplyEvent, Ending, Outcome, Summary};
pub use source::Source;
pub use stream_argument::StreamArgument;

/// Runs `job` for `group`; for [`Group::default`], nothing is remembered. `stop` ends it at the
/// next batch; `observe` receives its events.
///
/// # Errors
///
/// Nothing was written if this returns an error. Later failures are in the [`Outcome`].
pub fn run(
    group: &mut Group,
    job: ApplyJob,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(ApplyEvent<'_>),
) -> Result<Outcome> {
    let mut rehearsal = job.options.dry_run.then(|| Group::rehearse(group.view().clone()));
    let group = rehearsal.as_mut().unwrap_or(group);
    session::Session::begin(group, job, stop, observe)?.run()
}
