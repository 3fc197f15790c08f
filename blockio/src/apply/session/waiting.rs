//! What a run waits for: the next item from its source, memory that devices give back, and the
//! timer while nothing comes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{CHECKPOINT_AFTER, Session};
use crate::Result;
use crate::apply::source::Fed;
use crate::group::checkpoint::When;
use crate::group::keeper::now;
use crate::journal::catalogue::{NewPoint, PointKind};

/// How often the stop flag is checked while nothing comes in.
const IDLE: Duration = Duration::from_millis(100);

impl Session<'_> {
    /// The next item; `None` when the run is to stop. While nothing comes, or all arenas are on
    /// their way to a device, waits for writes under way.
    pub(super) fn next_fed(&mut self) -> Option<Fed> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(fed) = self.source.next(Duration::ZERO) {
                return Some(fed);
            }
            match self.volumes.reap(&mut self.group) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => return Some(Fed::Failed { error, is_cut_pipe: false }),
            }
            if let Some(fed) = self.source.next(IDLE) {
                return Some(fed);
            }
            if let Err(error) = self.idle() {
                return Some(Fed::Failed { error, is_cut_pipe: false });
            }
        }
    }

    /// A pipe is silent: makes everything it sent so far durable, and records that.
    pub(super) fn idle(&mut self) -> Result<()> {
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
