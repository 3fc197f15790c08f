//! One operation under way: whose it is, what is asked for, and what its completion says.

use std::io;
use std::sync::Arc;

use nix::errno::Errno;

use crate::device::buffer::Arena;
use crate::device::clear::{Way, ZEROS_BYTES};
use crate::device::disk_file::extent_of;
use crate::device::uring::ring::{Action, Request};
use crate::device::{Attempt, Transfer};

/// A transfer or a clear under way. The transfer of a clear is about its place on the disk only.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) owner: Owner,
    pub(super) transfer: Transfer,
    pub(super) done: usize,
    pub(super) address: usize,
}

/// Whose memory is used, and so the direction.
#[derive(Debug)]
pub(super) enum Owner {
    /// The write with this number; it holds the arena of its batch, mostly its own memory.
    Write(#[expect(dead_code, reason = "held, not read")] Arc<Arena>, u64),
    /// Memory of a read of the batch with this number: the device holds the arena.
    Read(u64),
    /// A clear with a number, as of a write. What its batch touches is under way as long as its
    /// arena is held. Zeros that are written have an arena of their own.
    Clear {
        #[expect(dead_code, reason = "held, not read")]
        arena: Arc<Arena>,
        number: u64,
        way: Way,
    },
}

impl Owner {
    /// The number of a write or a clear.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Write(_, number) => Some(*number),
            Self::Clear { .. } if planted!(FlushBeforeClear) => None,
            Self::Clear { number, .. } => Some(*number),
            Self::Read(_) => None,
        }
    }
}

impl Operation {
    pub(super) fn request(&self) -> Request {
        let (done, left) = (self.done, self.transfer.length - self.done);
        let (action, address, length) = match self.owner {
            Owner::Write(..) => (Action::Write, self.address + done, left),
            Owner::Read(_) => (Action::Read, self.address + done, left),
            Owner::Clear { way, .. } => {
                let action = way.mode().map_or(Action::Write, Action::Allocate);
                (action, self.address, length(way, left))
            }
        };
        Request { action, offset: self.transfer.at.get() + done as u64, address, length }
    }

    pub(super) fn attempt(&self) -> Attempt {
        let extent = extent_of(self.transfer);
        match self.owner {
            Owner::Write(..) => Attempt::Write(extent),
            Owner::Read(_) => Attempt::Read(extent),
            Owner::Clear { .. } => Attempt::Clear(extent),
        }
    }
}

/// How many bytes of `left` are asked for at once by `way`.
fn length(way: Way, left: usize) -> usize {
    match way.mode() {
        Some(_) => left,
        None => left.min(ZEROS_BYTES.get()),
    }
}

/// The number of bytes done; 0 if it is to be retried.
pub(super) fn outcome(operation: &Operation, result: i32) -> io::Result<usize> {
    match usize::try_from(result) {
        Ok(0) => match operation.owner {
            Owner::Clear { way, .. } if way.mode().is_some() => Ok(operation.request().length),
            Owner::Write(..) | Owner::Clear { .. } => Err(io::ErrorKind::WriteZero.into()),
            Owner::Read(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        },
        Ok(bytes) => Ok(bytes),
        Err(_) => match Errno::from_raw(result.wrapping_neg()) {
            Errno::EINTR | Errno::EAGAIN => Ok(0),
            _ => Err(io::Error::from_raw_os_error(result.wrapping_neg())),
        },
    }
}
