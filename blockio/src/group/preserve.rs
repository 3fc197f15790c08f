//! What was there before it is overwritten: recorded in the journal, or given up where a group
//! keeps no history. A plan goes in, and comes out as one that may be written (BARRIER 1, I1).

use std::sync::Arc;

use super::Group;
use crate::Result;
use crate::device::buffer::Arena;
use crate::extent::Extent;
use crate::group::keeper::{Preserve, Room};
use crate::journal::Ticket;
use crate::journal::draft::Outline;
use crate::plan::WritePlan;

/// A plan of which all before-images are recorded, and durable in a while.
#[derive(Debug)]
pub(crate) struct RecordedPlan {
    plan: WritePlan,
    arena: Arc<Arena>,
    ticket: Ticket,
}

/// A plan of which all before-images are durable, or for which none are wanted: this plan may be
/// written now, and only by this can it be.
#[must_use = "it may be written now"]
#[derive(Debug)]
pub(crate) struct PreservedPlan {
    plan: WritePlan,
    arena: Arc<Arena>,
}

impl PreservedPlan {
    /// What is to be written, and the memory that its data lies in.
    pub(crate) fn into_parts(self) -> (WritePlan, Arc<Arena>) {
        (self.plan, self.arena)
    }
}

impl Group {
    /// The records that what of `touched` was not preserved yet will take; none where no history
    /// is kept. Each has to be [`record`](Self::record)ed before the plan is.
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
        // A rollback that does not log what it overwrites cannot be taken back.
        if planted!(RollbackNotLogged) && self.ledger.view().rolling_back_to().is_some() {
            return Ok(Vec::new());
        }
        keeper.outline(&mut self.ledger, volume, touched)
    }

    /// What there is room for; nothing where no history is kept.
    pub(crate) fn room(&self) -> Option<Room<'_>> {
        self.keeper.as_ref().map(|keeper| keeper.room())
    }

    /// Memory for a record, if some is free now.
    pub(crate) fn try_arena(&self) -> Option<Arena> {
        self.keeper.as_ref()?.pool().try_take()
    }

    /// Memory for a record: waits until one is written. None without history.
    ///
    /// # Errors
    ///
    /// `Failed`: none is written any more.
    pub(crate) fn arena(&self) -> Result<Option<Arena>> {
        self.keeper.as_ref().map(|keeper| keeper.pool().take()).transpose()
    }

    /// Begins to record what was read into `arena` as `outline` says.
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

    /// `plan`, of which everything was recorded by now.
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

    /// Waits until the before-images of `plan` are durable.
    ///
    /// # Errors
    ///
    /// `Failed`: the journal failed.
    pub(crate) fn wait_for(&mut self, plan: RecordedPlan) -> Result<PreservedPlan> {
        if let Some(keeper) = &mut self.keeper {
            let _durable = keeper.wait(plan.ticket)?;
        }
        let RecordedPlan { plan, arena, .. } = plan;
        Ok(PreservedPlan { plan, arena })
    }
}
