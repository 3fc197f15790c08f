//! Simulated disks and power cuts: the proof that the promises of `apply`, `journal`, `rollback`
//! and `commit` hold after any crash. It runs the production code; only the disks, the directory of
//! the history, the clock and chance are simulated. For tests only.
//!
//! # What may happen, and must be survived
//!
//! - **Volatile caches.** A write to a disk stays in its cache until a flush of that disk has
//!   returned. At a power cut, each cached block of 4096 bytes is on the disk or not, whatever was
//!   written before or after it; of several writes to one block, any may be the last that arrived.
//! - **Torn blocks.** Of a block that was being written, any leading part in whole sectors of 512
//!   bytes may be new, and the rest old.
//! - **Memory under way.** Memory that is written from comes back when somebody reaps, and not
//!   before.
//! - **The directory.** A new segment exists once it was made, and holds what its blocks held
//!   before, which may be records of segments that were removed. A removed segment may reappear
//!   until the state was replaced. The state is replaced as a whole, or not at all.
//! - **A killed process.** What it wrote is in the caches, and stays there when the next process
//!   begins: a later power cut may still take it away.
//! - **EIO** from a write or a flush of a volume or of the history, from a change of the state
//!   (half of an append is there), from the removal of a segment, or from a read of any of them:
//!   once, several times, or from some place on; nothing that the disk confirmed before is taken
//!   back. **ENOSPC** when a segment is made: a removed segment keeps its room as long as somebody
//!   has it open.
//! - **Two clocks.** The clock of the machine is set two days ahead or thirty hours back, now and
//!   then; the clock of the source, which gives marks their times, jumps in the same way.
//! - **A stop** at any moment of a run.
//! - **A copy of the state** that is lost, or put back from any earlier time; or both copies. A
//!   byte that rots in the durable history, also before its epoch is merged. A volume that
//!   something else wrote to. `stories` covers these one by one, and not at every place.
//! - **Streams** of every format, in any order and repeated, cut short in a pipe; points on a
//!   timer; a volume that grew, two that were exchanged, two whose names were exchanged. `streams`
//!   covers these.
//! - **A reader** who looks at points, with any interleaving of the reader's operations and those
//!   of a run; `looking` covers it.
//! - **A crash while recovering**: in a run that continues after a crash, and inside a rollback.
//!
//! # What must hold
//!
//! Volumes have sectors of 512 or 4096 bytes, and may end within a block of 4096. Points are made
//! by marks, at ends of streams, on a timer, and by hand.
//!
//! After each of these: every recovery point that is kept reads byte for byte as it was (I1, I5);
//! everything reported as durable is durable (I2, I3); a rollback recorded as complete is complete;
//! applying the same streams again leads to the same disks, and rolling back again heals a rollback
//! that was cut short (I4, I6); and the history passes its own check.
//!
//! # What need not be survived
//!
//! Bits that change in durable data are noticed, not repaired. A disk that lies about its flush is
//! out of scope.

mod chance;
mod cuts;
mod disk;
mod left_out;
mod looking;
mod machine;
mod promises;
mod runs;
mod scenario;
mod steps;
mod storage;
mod stories;
mod streams;
mod tests;
mod views;
mod world;

#[cfg(test)]
use std::sync::{Arc, Mutex};

/// A directory with room for `room_blocks` blocks, for tests of what is written there.
#[cfg(test)]
pub(crate) fn storage(room_blocks: usize) -> Arc<dyn crate::storage::Storage> {
    let world = world::World::new(world::Shape::default(), &[], room_blocks);
    Arc::new(storage::SimulatedStorage(Arc::new(Mutex::new(world))))
}
