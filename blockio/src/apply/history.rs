//! What was there before it is overwritten: kept in the retention journal, or given up where there
//! is none. How it is kept is `journal`'s.

use crate::device::DeviceError;
use crate::device::ReadBatch;
use crate::device::buffer::Arena;
use crate::extent::Extent;
use crate::group::Group;
use crate::journal::Ticket;
use crate::journal::keeper::{Keeper, Preserve, PreserveError};
use crate::{Error, ErrorKind, Result};

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
    /// Begins to preserve what of `touched` was not preserved yet. What `read` reads is of the
    /// volume.
    pub(crate) fn preserve(
        &mut self,
        group: Option<&mut Group>,
        volume: &Preserve<'_>,
        touched: &[Extent],
        read: &mut dyn FnMut(ReadBatch) -> Result<Arena, DeviceError>,
    ) -> Result<Ticket, PreserveError> {
        match (self, group) {
            (Self::None, _) => Ok(Ticket::default()),
            (Self::Kept(keeper), Some(group)) => keeper.preserve(group, volume, touched, read),
            (Self::Kept(_), None) => {
                let error = Error::new(ErrorKind::Failed, "keeping history without a group");
                Err(PreserveError::Journal(error))
            }
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
