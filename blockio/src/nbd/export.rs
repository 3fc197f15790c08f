//! What a client can choose by name: a disk as it should appear, and, if writes are wanted, the
//! layer that takes them. The protocol is not here.

use std::sync::Arc;

use crate::Result;
use crate::device::buffer::Arena;
use crate::extent::Extent;
use crate::nbd::protocol::TransmissionFlags;
use crate::nbd::scratch::Scratch;
use crate::view::{Allocation, View};

/// A disk under a name.
pub struct Export {
    /// Its name for clients: not empty, at most `STRING_BYTES_MAX`.
    pub name: String,
    /// The view that is read.
    pub view: Arc<View>,
    /// The layer that takes writes, made for `view`; without it, writes are refused.
    pub scratch: Option<Scratch>,
}

impl Export {
    /// Its length, in bytes.
    pub(crate) fn capacity(&self) -> u64 {
        self.view.geometry().capacity.get()
    }

    /// Its capabilities, as transmission flags. Several connections see the same bytes in either
    /// case: a read-only view does not change, and all of them share the one layer.
    pub(crate) fn transmission_flags(&self, is_structured: bool) -> TransmissionFlags {
        let mut flags = TransmissionFlags::HAS_FLAGS | TransmissionFlags::CAN_MULTI_CONN;
        // A read-only export has nothing to flush, but clients that check this before they use
        // several connections expect the flag.
        flags |= TransmissionFlags::SEND_FLUSH;
        flags |= match self.scratch {
            None => TransmissionFlags::READ_ONLY,
            Some(_) => {
                TransmissionFlags::SEND_FUA
                    | TransmissionFlags::SEND_TRIM
                    | TransmissionFlags::SEND_WRITE_ZEROES
            }
        };
        if is_structured {
            flags |= TransmissionFlags::SEND_DF;
        }
        flags
    }

    /// Reads `extent` into `arena`, which has room for all the sectors that hold it; returns the
    /// arena, and where in it the bytes begin.
    pub(crate) fn read(&self, extent: Extent, mut arena: Arena) -> Result<(Arena, usize)> {
        let Some(scratch) = &self.scratch else { return self.view.read_into(extent, arena) };
        let length = extent.length().get() as usize;
        scratch.read(&self.view, extent.start(), &mut arena.as_mut_slice()[..length])?;
        Ok((arena, 0))
    }

    /// The parts of `extent`, each with whether it is known to be zeros: adjacent parts that cover
    /// all of it.
    pub(crate) fn allocation(&self, extent: Extent) -> Result<Vec<Allocation>> {
        match &self.scratch {
            None => self.view.allocation(extent),
            Some(scratch) => scratch.allocation(&self.view, extent),
        }
    }
}

/// The export with the name `name`; for the empty name, the only export there is.
pub(crate) fn find<'a>(exports: &'a [Export], name: &str) -> Option<&'a Export> {
    match exports {
        [only] if name.is_empty() => Some(only),
        all => all.iter().find(|export| export.name == name),
    }
}
