//! What was there before it is overwritten: kept in the retention journal, or given up where there
//! is none. How it is kept is `journal`'s; what waits for it is `volumes`'.

use crate::Result;
use crate::device::buffer::Arena;
use crate::extent::Extent;
use crate::group::Group;
use crate::journal::Ticket;
use crate::journal::draft::Outline;
use crate::journal::keeper::{Keeper, Preserve};
use crate::{Error, ErrorKind};

/// Proof that the before-images of everything in a plan are durable, or that none are wanted
/// (BARRIER 1, I1). Only a [`History`] makes one; a write needs it.
#[must_use = "the plan may be written now, and only now"]
#[derive(Debug)]
pub(crate) struct Preserved(());

/// Where before-images go.
pub(crate) enum History {
    /// Nowhere: what is overwritten is gone.
    None,
    /// Into the journal of the group.
    Kept(Box<Keeper>),
}

impl History {
    /// The records that what of `touched` was not preserved yet will take.
    pub(crate) fn outline(
        &mut self,
        group: Option<&mut Group>,
        volume: &Preserve<'_>,
        touched: &[Extent],
    ) -> Result<Vec<Outline>> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Kept(keeper) => keeper.outline(group.ok_or_else(no_group)?, volume, touched),
        }
    }

    /// Memory for a record, if some is free now.
    pub(crate) fn try_arena(&mut self) -> Option<Arena> {
        self.keeper()?.pool().try_take()
    }

    /// Memory for a record: waits until one is written. None without history.
    ///
    /// # Errors
    ///
    /// `Failed`: none is written any more.
    pub(crate) fn arena(&mut self) -> Result<Option<Arena>> {
        self.keeper().map(|keeper| keeper.pool().take()).transpose()
    }

    /// Begins to record what was read into `arena` as `outline` says.
    pub(crate) fn record(
        &mut self,
        group: Option<&mut Group>,
        outline: Outline,
        arena: Arena,
    ) -> Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Kept(keeper) => keeper.record(group.ok_or_else(no_group)?, outline, arena),
        }
    }

    /// Everything that was recorded so far.
    pub(crate) fn recorded(&self) -> Ticket {
        match self {
            Self::None => Ticket::default(),
            Self::Kept(keeper) => keeper.recorded(),
        }
    }

    /// The proof for `ticket`, if it is there by now.
    pub(crate) fn poll(&mut self, ticket: Ticket) -> Result<Option<Preserved>> {
        match self {
            Self::None => Ok(Some(Preserved(()))),
            Self::Kept(keeper) => Ok(keeper.poll(ticket)?.map(|_| Preserved(()))),
        }
    }

    /// Waits for the proof for `ticket`.
    pub(crate) fn wait(&mut self, ticket: Ticket) -> Result<Preserved> {
        match self {
            Self::None => Ok(Preserved(())),
            Self::Kept(keeper) => keeper.wait(ticket).map(|_| Preserved(())),
        }
    }

    /// Who keeps it.
    pub(crate) fn keeper(&mut self) -> Option<&mut Keeper> {
        match self {
            Self::None => None,
            Self::Kept(keeper) => Some(keeper),
        }
    }
}

fn no_group() -> Error {
    Error::new(ErrorKind::Failed, "keeping history without a group")
}
