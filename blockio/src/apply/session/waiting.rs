//! What a run waits for: the next thing from its source, memory that devices give back, and the
//! clock while nothing comes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{CHECKPOINT_AFTER, Session};
use crate::Result;
use crate::apply::source::Fed;
use crate::group::checkpoint::When;
use crate::group::keeper::now;
use crate::journal::catalogue::{NewPoint, PointKind};

/// While nothing comes in, this is how often the stop flag is looked at.
const IDLE: Duration = Duration::from_millis(100);

impl Session<'_> {
    /// What comes next; none when the run is to stop. While nothing comes, and while every arena is
    /// on its way to a device, writes under way are waited for.
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

    /// A pipe is silent: what it sent so far is made durable, and recorded.
    pub(super) fn idle(&mut self) -> Result<()> {
        self.point_by_timer();
        let has_news = self.written_since > 0 || !self.points.is_empty();
        if has_news && self.checkpointed.elapsed() >= CHECKPOINT_AFTER {
            self.checkpoint(When::OnTheWay)?;
        }
        Ok(())
    }

    /// A point is due by the clock: where nothing else is written before it is made.
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
