//! What a run waits for: the next item from its source, memory that devices give back, and the
//! timer while nothing comes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Session;
use super::checkpoint::CHECKPOINT_AFTER;
use crate::Result;
use crate::apply::source::{Arrival, Fed};
use crate::group::checkpoint::When;
use crate::group::keeper::now;
use crate::journal::catalogue::{NewPoint, PointKind};

/// How often the stop flag is checked while nothing comes in.
const IDLE: Duration = Duration::from_millis(100);
/// How soon writes and before-images under way are looked after while nothing comes in; twice as
/// long each time.
const BRIEF: Duration = Duration::from_millis(1);

impl Session<'_> {
    /// The next item; `None` when the run is to stop. While all memory is on its way to a device,
    /// waits for the device; while nothing comes, for whatever comes, and advances what is under
    /// way every now and then.
    pub(super) fn next_fed(&mut self) -> Option<Fed> {
        let mut brief = BRIEF;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            let outcome = match self.source.next(Duration::ZERO) {
                Arrival::Item(fed) => return Some(fed),
                Arrival::NoMemory => self.wait_for_memory(),
                Arrival::Nothing => match self.volumes.advance(self.group) {
                    Ok(is_busy) => {
                        let patience = if is_busy { brief.min(IDLE) } else { IDLE };
                        brief = patience.saturating_mul(2);
                        match self.source.next(patience) {
                            Arrival::Item(fed) => return Some(fed),
                            Arrival::Nothing | Arrival::NoMemory => self.idle(),
                        }
                    }
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = outcome {
                return Some(Fed::Failed { error, is_cut_pipe: false });
            }
        }
    }

    /// Waits until a batch is written, and its memory comes back.
    fn wait_for_memory(&mut self) -> Result<()> {
        match self.volumes.reap(self.group)? {
            true => Ok(()),
            // Somebody else has it.
            false => self.pool.take().map(drop),
        }
    }

    /// A pipe is silent: makes everything it sent so far durable, and records that.
    pub(super) fn idle(&mut self) -> Result<()> {
        self.finish_checkpoint(false)?;
        self.point_by_timer();
        let has_news = self.written_since > 0 || !self.points.is_empty();
        if has_news && self.checkpointed.elapsed() >= CHECKPOINT_AFTER {
            self.checkpoint(When::OnTheWay)?;
        }
        Ok(())
    }

    /// Adds a point if one is due by the timer: it is made before anything else is written.
    pub(super) fn point_by_timer(&mut self) {
        let is_due = |every| self.point_made.elapsed() >= every;
        let is_in_order = self
            .input
            .as_ref()
            .is_some_and(|input| input.is_marked && input.header.is_in_write_order);
        if is_in_order && self.points.is_empty() && self.options.point_every.is_some_and(is_due) {
            self.points.push(NewPoint { time: now(), kind: PointKind::Crash, name: None });
        }
    }
}
