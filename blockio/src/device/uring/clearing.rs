//! Clears through the ring: how each is asked for, how many the kernel has at a time, and which of
//! them still wait.
//!
//! The kernel hands an fallocate(2) to a thread of its own, where it locks the whole file or disk:
//! a few keep that busy, and more would only be threads that wait. What may be written meanwhile is
//! the kernel's to decide: a disk takes writes, most file systems let them wait.

use std::collections::VecDeque;
use std::io;

use crate::device::buffer::Arena;
use crate::device::clear::{self, Way};
use crate::device::uring::operation::{Operation, Owner};

/// The most clears that the kernel has at a time.
pub(super) const CLEARS_MAX: usize = 4;
/// The most clears that wait for their turn, so that what was begun after them need not.
pub(super) const WAITING_MAX: usize = 1024;

/// The clears of one device.
#[derive(Debug, Default)]
pub(super) struct Clears {
    // The best way that was not refused: it only goes forward.
    way: Way,
    // Made when zeros have to be written.
    zeros: Option<Arena>,
    // How many have a slot.
    begun: usize,
    // Oldest first. While there are any, as many as there can be are begun.
    waiting: VecDeque<Operation>,
}

impl Clears {
    /// How many have a slot.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    /// Whether another one may be given a slot.
    pub(super) fn has_room(&self) -> bool {
        self.begun < CLEARS_MAX
    }

    /// Those without a slot.
    pub(super) fn waiting(&self) -> &VecDeque<Operation> {
        &self.waiting
    }

    /// Lets `operation` wait until another one ends.
    pub(super) fn wait_with(&mut self, operation: Operation) {
        self.waiting.push_back(operation);
    }

    /// The address of zeros to write, as many as are written at a time. They stay there.
    pub(super) fn zeros(&mut self) -> io::Result<usize> {
        match &self.zeros {
            Some(zeros) => Ok(zeros.address()),
            None => Ok(self.zeros.insert(clear::zeros()?).address()),
        }
    }

    /// Counts `operation`, which is given a slot, and has it ask in the best way.
    pub(super) fn begin(&mut self, operation: &mut Operation) {
        self.begun += 1;
        self.ask_by(self.way, operation);
    }

    /// Counts one that ended; returns the next, which has its slot.
    pub(super) fn end(&mut self) -> Option<Operation> {
        self.begun -= 1;
        let mut next = self.waiting.pop_front()?;
        self.begin(&mut next);
        Some(next)
    }

    /// Forgets what waits: the device has failed.
    pub(super) fn give_up(&mut self) {
        self.waiting.clear();
    }

    /// Has `operation`, which ended with `cause`, ask in the next way, if the kernel refused this
    /// one. Others that are under way may be refused as well, and find the way that was found here.
    pub(super) fn ask_again(
        &mut self,
        operation: &mut Operation,
        cause: io::Error,
    ) -> io::Result<()> {
        let Owner::Clear { way, .. } = &operation.owner else { return Err(cause) };
        if !clear::is_refusal(&cause) {
            return Err(cause);
        }
        let next = next(*way).ok_or(cause)?.max(self.way);
        if next == Way::Written {
            self.zeros()?;
        }
        self.way = next;
        self.ask_by(next, operation);
        Ok(())
    }

    fn ask_by(&self, next: Way, operation: &mut Operation) {
        if let Owner::Clear { way, .. } = &mut operation.owner {
            *way = next;
        }
        operation.address = self.zeros.as_ref().map_or(0, Arena::address);
    }
}

/// The way after `way`. The ioctl is left out: where there is a ring (Linux 5.6), an fallocate(2)
/// that zeroes does to a disk what the ioctl does.
fn next(way: Way) -> Option<Way> {
    way.next().and_then(|next| if next == Way::BlkZeroOut { next.next() } else { Some(next) })
}

#[cfg(test)]
impl Clears {
    /// As if every better way than `way` had been refused, with `begun` that have a slot.
    pub(super) fn asking_by(way: Way, begun: usize) -> Self {
        Self { way, zeros: clear::zeros().ok(), begun, waiting: VecDeque::new() }
    }

    /// Whether the next is asked for by `way`.
    pub(super) fn asks_by(&self, way: Way) -> bool {
        self.way == way
    }
}
