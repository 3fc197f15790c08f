//! Before-images of what will be overwritten: recorded in the journal, or skipped where a group
//! keeps no history. A plan goes in, and comes out as one that may be written (BARRIER 1, I1).

use std::sync::Arc;

use super::Group;
use crate::Result;
use crate::device::buffer::Arena;
use crate::extent::Extent;
use crate::group::keeper::{Preserve, Room};
use crate::journal::Ticket;
use crate::journal::draft::Outline;
use crate::journal::log::ImagesDurable;
use crate::plan::WritePlan;

/// A plan whose before-images are all recorded, and will be durable soon.
#[derive(Debug)]
pub(crate) struct RecordedPlan {
    plan: WritePlan,
    arena: Arc<Arena>,
    ticket: Ticket,
}

/// A plan whose before-images are all durable, or not wanted. It may be written now, and this is
/// the only type that can be. Only [`Group::wait_for`] makes one.
#[must_use = "it may be written now"]
#[derive(Debug)]
pub(crate) struct PreservedPlan {
    plan: WritePlan,
    arena: Arc<Arena>,
    /// `None` in a group that keeps no history.
    _proof: Option<ImagesDurable>,
}

impl PreservedPlan {
    /// The plan, and the memory that holds its data.
    pub(crate) fn into_parts(self) -> (WritePlan, Arc<Arena>) {
        (self.plan, self.arena)
    }
}

impl Group {
    /// Outlines of the records for the parts of `touched` that were not preserved yet; empty if no
    /// history is kept. Each has to be [`record`](Self::record)ed before the plan is.
    ///
    /// # Errors
    ///
    /// `Failed`: a volume that is new to the history could not be saved.
    pub(crate) fn outline(
        &mut self,
        volume: &Preserve<'_>,
        touched: &[Extent],
    ) -> Result<Vec<Outline>> {
        let Some(keeper) = &mut self.keeper else { return Ok(Vec::new()) };
        // A rollback that does not log what it overwrites cannot be undone.
        if planted!(RollbackNotLogged) && self.ledger.view().rolling_back_to().is_some() {
            return Ok(Vec::new());
        }
        keeper.outline(&mut self.ledger, volume, touched)
    }

    /// The available room; `None` if no history is kept.
    pub(crate) fn room(&self) -> Option<Room<'_>> {
        self.keeper.as_ref().map(|keeper| keeper.room())
    }

    /// Memory for a record, if some is free now.
    pub(crate) fn try_arena(&self) -> Option<Arena> {
        self.keeper.as_ref()?.pool().try_take()
    }

    /// Memory for a record: waits until one is written. `None` without a history.
    ///
    /// # Errors
    ///
    /// `Failed`: records are no longer being written.
    pub(crate) fn arena(&self) -> Result<Option<Arena>> {
        self.keeper.as_ref().map(|keeper| keeper.pool().take()).transpose()
    }

    /// Counts `extents` (whole blocks of an outline of volume `volume`, ascending) as not
    /// preserved: they will not be overwritten.
    pub(crate) fn leave_out(&mut self, volume: u32, extents: &[Extent]) {
        if let Some(keeper) = &mut self.keeper {
            keeper.leave_out(volume, extents);
        }
    }

    /// Begins to record the images that were read into `arena` as in `outline`.
    ///
    /// # Errors
    ///
    /// `Failed`: there is no room, and none can be made; or the journal failed.
    pub(crate) fn record(&mut self, outline: Outline, arena: Arena) -> Result<()> {
        match &mut self.keeper {
            None => Ok(()),
            Some(keeper) => keeper.record(&mut self.ledger, outline, arena),
        }
    }

    /// `plan`, once everything of it was recorded.
    pub(crate) fn recorded(&self, plan: WritePlan, arena: Arc<Arena>) -> RecordedPlan {
        let ticket = self.keeper.as_ref().map_or_else(Ticket::default, |one| one.recorded());
        RecordedPlan { plan, arena, ticket }
    }

    /// Whether the before-images of `plan` are durable by now.
    ///
    /// # Errors
    ///
    /// `Failed`: the journal failed.
    pub(crate) fn is_preserved(&mut self, plan: &RecordedPlan) -> Result<bool> {
        match &mut self.keeper {
            None => Ok(true),
            Some(keeper) => Ok(keeper.poll(plan.ticket)?.is_some()),
        }
    }

    /// Waits until the before-images of `plan` are durable, and leaves it where it is.
    ///
    /// # Errors
    ///
    /// `Failed`: the journal failed.
    pub(crate) fn wait_for_records(&mut self, plan: &RecordedPlan) -> Result<()> {
        match &mut self.keeper {
            None => Ok(()),
            Some(keeper) => keeper.wait(plan.ticket).map(drop),
        }
    }

    /// Waits until the before-images of `plan` are durable.
    ///
    /// # Errors
    ///
    /// `Failed`: the journal failed.
    pub(crate) fn wait_for(&mut self, plan: RecordedPlan) -> Result<PreservedPlan> {
        let RecordedPlan { plan, arena, ticket } = plan;
        let proof = self.keeper.as_mut().map(|keeper| keeper.wait(ticket)).transpose()?;
        Ok(PreservedPlan { plan, arena, _proof: proof })
    }
}
