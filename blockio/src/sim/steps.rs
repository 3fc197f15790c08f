//! A writer and a reader, step by step: before each operation of the reader, the writer does a
//! random number of operations, and none during it. So any interleaving of their operations occurs,
//! and the same one again with the same seed.
#![cfg(test)]

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::chance::Chance;

thread_local! {
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

/// The turns that they take.
#[derive(Debug)]
pub(super) struct Steps {
    turns: Mutex<Turns>,
    changed: Condvar,
}

#[derive(Debug)]
struct Turns {
    chance: Chance,
    /// How many operations the writer may begin.
    granted: usize,
    /// The writer waits for permission.
    waits: bool,
    is_over: bool,
}

impl Steps {
    pub(super) fn new(seed: u64) -> Self {
        let chance = Chance(seed);
        let turns = Turns { chance, granted: 0, waits: false, is_over: false };
        Self { turns: Mutex::new(turns), changed: Condvar::new() }
    }

    /// Runs `write` in this thread, interleaved with the operations of others.
    pub(super) fn write<T>(&self, write: impl FnOnce() -> T) -> T {
        WRITES.set(true);
        let done = write();
        WRITES.set(false);
        self.lock().is_over = true;
        self.changed.notify_all();
        done
    }

    /// Ends the looking: the writer continues by itself.
    pub(super) fn end(&self) {
        self.lock().granted = usize::MAX;
        self.changed.notify_all();
    }

    /// Whether the writer is finished.
    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// Takes a turn: an operation begins.
    pub(super) fn take(&self) {
        let mut turns = self.lock();
        if WRITES.get() {
            turns.waits = true;
            self.changed.notify_all();
            while turns.granted == 0 {
                turns = self.wait(turns);
            }
            turns.granted -= 1;
            turns.waits = false;
            return;
        }
        // Usually few, sometimes enough for a point to be made and others to expire.
        let most = if turns.chance.below(8) == 0 { 60 } else { 4 };
        turns.granted = turns.chance.below(most);
        self.changed.notify_all();
        while !turns.is_over && (turns.granted > 0 || !turns.waits) {
            turns = self.wait(turns);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, turns: MutexGuard<'a, Turns>) -> MutexGuard<'a, Turns> {
        self.changed.wait(turns).unwrap_or_else(PoisonError::into_inner)
    }
}
