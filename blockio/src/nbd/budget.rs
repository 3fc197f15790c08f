//! How much memory the requests of all clients of a server hold together: a request takes its share
//! before it needs it, and gives it back when it is done. Only counted here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::nbd::wire::STOP_POLL_MS;

/// The maximum that all requests of a server hold together, in bytes. It has room for one piece of
/// 1 MiB and [`REST_BYTES`] per seat, so that a client that does not take its reply takes nothing
/// from others. Including clients in the handshake, and threads, a server stays below 128 MiB.
pub(crate) const BUDGET_BYTES: usize = 81 << 20;

/// What a request needs besides its piece, in bytes: the index lookup for 1 MiB of disk if each of
/// its sectors was overwritten separately (2048 images), or an answer about zeros.
pub(crate) const REST_BYTES: usize = 256 << 10;

/// Counts the memory in use.
pub(crate) struct Budget {
    bytes: usize,
    held: Mutex<Held>,
    given_back: Condvar,
}

/// Memory in use, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Now.
    pub now: usize,
    /// The maximum so far.
    pub most: usize,
}

/// The share of one request; given back when it is dropped.
pub(crate) struct Share<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes, held: Mutex::default(), given_back: Condvar::new() }
    }

    /// A share of `length` bytes, plus [`REST_BYTES`], as soon as that is free; `None` if `stop` is
    /// set first.
    pub(crate) fn share(&self, length: usize, stop: &AtomicBool) -> Option<Share<'_>> {
        // A request for more than there is would wait for ever.
        let bytes = length.saturating_add(REST_BYTES).min(self.bytes);
        let mut held = self.lock();
        while self.bytes - held.now < bytes {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            let poll = Duration::from_millis(STOP_POLL_MS.into());
            let waited = self.given_back.wait_timeout(held, poll);
            held = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        held.now += bytes;
        held.most = held.most.max(held.now);
        drop(held);
        Some(Share { budget: self, bytes })
    }

    /// The memory in use, now and at most.
    pub(crate) fn held(&self) -> Held {
        *self.lock()
    }

    /// A thread that panicked did so between two updates.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.lock().now -= self.bytes;
        self.budget.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_share_is_waited_for_until_it_is_given_back() {
        let budget = Budget::new(2 * REST_BYTES + 100);
        let (stop, stopped) = (AtomicBool::new(false), AtomicBool::new(true));
        let first = budget.share(60, &stop).unwrap();
        assert_eq!(first.bytes, REST_BYTES + 60);
        // A request that may not wait proves that there is a wait.
        assert!(budget.share(50, &stopped).is_none());
        thread::scope(|scope| {
            let second = scope.spawn(|| {
                let second = budget.share(50, &stop).unwrap();
                (second.bytes, budget.held().now)
            });
            drop(first);
            assert_eq!(second.join().unwrap(), (REST_BYTES + 50, REST_BYTES + 50));
        });
        assert_eq!(budget.held(), Held { now: 0, most: REST_BYTES + 60 });
    }

    #[test]
    fn a_wait_for_a_share_ends_when_the_server_stops() {
        let budget = Budget::new(REST_BYTES + 100);
        let stop = AtomicBool::new(false);
        let all = budget.share(100, &stop).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| budget.share(0, &stop).is_none());
            stop.store(true, Ordering::Relaxed);
            assert!(waiting.join().unwrap());
        });
        drop(all);
        // Free memory needs no wait: a request that has begun is finished.
        assert!(budget.share(100, &stop).is_some());
    }

    #[test]
    fn what_is_more_than_there_is_does_not_wait_for_ever() {
        let budget = Budget::new(100);
        assert!(budget.share(1000, &AtomicBool::new(true)).is_some());
        assert_eq!(budget.held(), Held { now: 0, most: 100 });
    }
}
