//! Simulated disks and power cuts: the proof that what `apply`, `journal`, `rollback` and `commit`
//! promise holds after any crash. The code that runs on it is the one that is used; only the disks,
//! the directory of the history, the clock and chance are simulated. For tests only.
//!
//! # What may happen, and must be survived
//!
//! - **Volatile caches.** What is written to a disk is in its cache until a flush of that disk came
//!   back. At a power cut each block of 4096 bytes in a cache is on the disk, or not, whatever was
//!   written before or after it; of several writes to one block any may be the last that came
//!   there.
//! - **Torn blocks.** Of a block that was being written, any first part in whole sectors of 512
//!   bytes may be new, and the rest old.
//! - **Memory under way.** What is written from comes back when somebody reaps, and not before.
//! - **The directory.** A new segment is there when it was made, and holds what its blocks held
//!   before, which may be records of segments that were removed. One that was removed may be there
//!   again, until the state was replaced. The state is replaced as a whole, or not.
//! - **A killed process.** What it wrote is in the caches, and stays there when the next process
//!   begins: a later power cut may still take it away.
//! - **EIO** from a write or a flush of a volume or of the history, from a change of the state (of
//!   what was to be appended half is there), from the removal of a segment, or from a read of any
//!   of them: once, several times, or from some place on; nothing that the disk said before is
//!   taken back. **ENOSPC** when a segment is made: one that was removed keeps its room as long as
//!   somebody has it open.
//! - **Two clocks.** That of the machine is set two days ahead or thirty hours back, now and then;
//!   that of the source, by which marks have their times, jumps in the same way.
//! - **A stop** at any moment of a run.
//! - **A copy of the state** that is lost, or put back from any time before; both of them. A byte
//!   that rots in what is durable of the history, also before its epoch is merged. A volume that
//!   something else wrote to. These are told in `stories`, one by one, and not everywhere.
//! - **Streams** of every format, in any order and again, cut short in a pipe; points by the
//!   clock; a volume that grew, two that were exchanged, two whose names were. These are told in
//!   `streams`.
//! - **Somebody who looks** at points, with any order of his operations and those of a run; told in
//!   `looking`.
//! - **A crash while recovering**: in a run that goes on after a crash, and inside a rollback.
//!
//! # What must hold
//!
//! Volumes have sectors of 512 or 4096 bytes, and may end within a block of 4096. Points are made
//! by marks, at ends of streams, by the clock, and by hand.
//!
//! After each of these: every recovery point that is kept reads byte for byte as it was (I1, I5);
//! what was told as durable is (I2, I3); a rollback that is recorded as complete is; applying the
//! same streams again leads to the same disks, and rolling back again heals a rollback that was cut
//! short (I4, I6); and the history passes its own check.
//!
//! # What need not be survived
//!
//! Bits that change in what is durable are noticed, not repaired. A disk that lies about its flush
//! is no disk.

mod cuts;
mod disk;
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

/// A directory with room for so many blocks, for tests of what is written there.
#[cfg(test)]
pub(crate) fn storage(room_blocks: usize) -> Arc<dyn crate::storage::Storage> {
    let world = world::World::new(world::Shape::default(), &[], room_blocks);
    Arc::new(storage::SimulatedStorage(Arc::new(Mutex::new(world))))
}
