//! One who writes and one who looks, step by step: before each operation of who looks, the other
//! does as many as chance says, and none while it is done. So any order of their operations comes
//! about, and the same again with the same seed.
#![cfg(test)]

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::cuts::Chance;

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
    /// So many operations may be begun by who writes.
    granted: usize,
    /// Who writes waits for another one.
    waits: bool,
    is_over: bool,
}

impl Steps {
    pub(super) fn new(seed: u64) -> Self {
        let chance = Chance(seed);
        let turns = Turns { chance, granted: 0, waits: false, is_over: false };
        Self { turns: Mutex::new(turns), changed: Condvar::new() }
    }

    /// What `write` does in this thread is what is interleaved with what others do.
    pub(super) fn write<T>(&self, write: impl FnOnce() -> T) -> T {
        WRITES.set(true);
        let done = write();
        WRITES.set(false);
        self.lock().is_over = true;
        self.changed.notify_all();
        done
    }

    /// Nobody looks any more: who writes goes on by itself.
    pub(super) fn end(&self) {
        self.lock().granted = usize::MAX;
        self.changed.notify_all();
    }

    /// Who writes has nothing more to do.
    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// An operation begins.
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
        // Mostly few, sometimes so many that a point is made and others go.
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
