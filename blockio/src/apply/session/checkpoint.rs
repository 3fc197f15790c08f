//! When progress becomes durable: at once, while everything waits, or beside what follows. A
//! checkpoint is a position: nothing after it has to stand still until it is recorded.
//!
//! Order, and what a crash in between leaves: everything up to the position is written, then
//! flushed (BARRIER 2), then the position is recorded (BARRIER 3). Batches after the position may
//! be written, or not, whenever a crash comes; the run that resumes writes them again.

use std::time::{Duration, Instant};

use super::Session;
use super::place::CheckpointBehind;
use super::record::place_of;
use crate::Result;
use crate::barrier::AllFlushed;
use crate::group::checkpoint::When;

/// A checkpoint is due when this many bytes were written since the last one.
pub(super) const CHECKPOINT_BYTES: u64 = 256 << 20;
/// A checkpoint is due this long after the last one.
pub(super) const CHECKPOINT_AFTER: Duration = Duration::from_secs(1);

impl Session<'_> {
    /// Whether progress is to be recorded now.
    pub(super) fn is_checkpoint_due(&self) -> bool {
        let bytes = self.options.checkpoint_bytes.unwrap_or(CHECKPOINT_BYTES);
        let is_due = self.written_since >= bytes || self.checkpointed.elapsed() >= CHECKPOINT_AFTER;
        // Before that, nothing was written.
        let is_marked = self.input.as_ref().is_some_and(|input| input.is_marked);
        is_due && is_marked && self.group.view().remembers()
    }

    /// Begins a checkpoint at the current position. One at a time: if the one before is not done,
    /// the devices are behind, and this waits for them.
    pub(super) fn begin_checkpoint(&mut self) -> Result<()> {
        self.finish_checkpoint(true)?;
        let Some(input) = &self.input else { return Ok(()) };
        self.behind = Some(CheckpointBehind { place: place_of(input), summary: self.summary });
        (self.written_since, self.checkpointed) = (0, Instant::now());
        self.volumes.begin_flush();
        Ok(())
    }

    /// Records the checkpoint that was begun, if everything up to its position is durable by now;
    /// if `waiting`, as soon as it is.
    pub(super) fn finish_checkpoint(&mut self, waiting: bool) -> Result<()> {
        if self.behind.is_none() {
            return Ok(());
        }
        let flushed = self.volumes.finish_flush(waiting, self.group)?;
        self.tell_failures();
        let Some(flushed) = flushed else { return Ok(()) };
        let Some(CheckpointBehind { place, summary }) = self.behind.take() else { return Ok(()) };
        self.record_behind(flushed, place)?;
        self.durable = summary;
        Ok(())
    }

    /// Makes everything so far durable; this includes what a checkpoint that was begun waits for.
    pub(super) fn flush(&mut self) -> Result<AllFlushed> {
        let flushed = self.volumes.flush(self.group)?;
        self.behind = None;
        self.tell_failures();
        Ok(flushed)
    }

    /// Makes everything so far durable, then records that it is.
    pub(super) fn checkpoint(&mut self, when: When) -> Result<()> {
        planted!(PointBeforeFlush => {
            if !self.points.is_empty() {
                self.record(AllFlushed::of_nothing(), when)?;
            }
        });
        let flushed = self.flush()?;
        (self.written_since, self.checkpointed) = (0, Instant::now());
        self.record(flushed, when)?;
        self.durable = self.summary;
        Ok(())
    }
}
