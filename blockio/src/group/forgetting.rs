//! Points are forgotten on request: those that expire by the group's settings, now and not only
//! with the next checkpoint, or those given by name.

use std::sync::atomic::AtomicBool;

use super::{Group, GroupView, not_open};
use crate::journal::catalogue::{Forgotten, PointId};
use crate::journal::{retention, selector};
use crate::remedy::{PointRemedy, Remedied};
use crate::{Error, Result};

impl GroupView {
    /// The points that expire by the group's settings, oldest first.
    ///
    /// # Errors
    ///
    /// `Usage`: it has no history.
    pub fn due(&self) -> Result<Vec<PointId>> {
        let mut due = retention::due(self.catalogue()?, &self.settings().policy);
        due.sort_unstable();
        Ok(due)
    }

    /// Requires that all of `ids` may be forgotten.
    ///
    /// # Errors
    ///
    /// `Refused`: one is pinned, the newest, or the destination of a rollback. `Usage`: there is no
    /// history.
    pub fn require_may_go(&self, ids: &[PointId]) -> Result<()> {
        let known = self.catalogue()?;
        for point in ids.iter().filter_map(|id| known.point(*id)) {
            let Some(why) = retention::why_it_stays(known, point) else { continue };
            let context = format!("forgetting {}: it {why}", selector::shown(point));
            let refused = Error::refused(context);
            let (group, point_named) = (self.name().to_owned(), selector::typed(point));
            return Err(match point.pinned {
                true => refused.remedied(PointRemedy::Unpin { group, point: point_named }),
                false => refused.with_hint(
                    "name others; it can be forgotten once there is a newer point and the disks \
                     have moved on",
                ),
            });
        }
        Ok(())
    }
}

impl Group {
    /// Forgets points; what led back to each now leads to the one before it.
    ///
    /// First the state is saved without them, then segments are removed, or merged: a crash in
    /// between leaves segments of no point, which the next open removes, or some that take more
    /// room than they need.
    ///
    /// # Errors
    ///
    /// `Refused`: one must be kept. `Usage`: no history is open. `Failed`: it could not be saved.
    pub fn forget(&mut self, ids: &[PointId]) -> Result<()> {
        self.view().require_may_go(ids)?;
        let Some(keeper) = &mut self.keeper else { return Err(not_open()) };
        let mut forgotten = Forgotten::default();
        planted!(UnlinkBeforeState => {
            let early = self.ledger.view().catalogue()?.clone().forget(ids).unneeded;
            keeper.remove(&early);
        });
        self.ledger.save(|state| {
            let Some(catalogue) = &mut state.journal else { return };
            forgotten = catalogue.forget(ids);
        })?;
        keeper.clean_up(self.ledger.view().catalogue()?, &forgotten);
        // Whoever forgets points by hand wants their room now.
        self.merge_all(&AtomicBool::new(false))
    }

    /// Merges what points took over from forgotten ones, as far as that is not done; `stop` ends
    /// it, and loses nothing.
    ///
    /// # Errors
    ///
    /// `Failed`: the state cannot be saved.
    pub(crate) fn merge_all(&mut self, stop: &AtomicBool) -> Result<()> {
        match &mut self.keeper {
            None => Ok(()),
            Some(keeper) => keeper.merge_all(&mut self.ledger, stop),
        }
    }
}
