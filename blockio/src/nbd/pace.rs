//! How fast a client does its part of a request under way: what it sends, and what it takes of a
//! reply. Pure: the time is passed in.

use std::time::{Duration, Instant};

/// A client that has moved this many bytes did its part. It is a quarter of the slowest rate at
/// which a piece of a reply is waited for at all: so a slow line that makes progress is never taken
/// for a stall, and an occasional byte is never taken for a slow line.
pub(crate) const ENOUGH_BYTES: usize = 64 << 10;

/// A client's part of one request. Only waiting for the client counts, not the time that the server
/// needs to read its disk.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// The bytes moved since [`ENOUGH_BYTES`] were last complete.
    bytes: usize,
    /// How long the client was waited for since then, except for the current wait.
    waited: Duration,
}

impl Pace {
    /// `bytes` more were sent or taken.
    pub(crate) fn moves(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= ENOUGH_BYTES {
            *self = Self::default();
        }
    }

    /// The time since when the client would have been waited for, if it had been without a break
    /// until `now`. A wait begins now.
    pub(crate) fn waits_since(&self, now: Instant) -> Instant {
        now.checked_sub(self.waited).unwrap_or(now)
    }

    /// A wait of this length is over.
    pub(crate) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// For a client that moves `bytes` after each wait of `each`: the longest time, within an hour,
    /// for which it is found to have done too little.
    fn longest(bytes: usize, each: Duration) -> Duration {
        let began = Instant::now();
        let (mut pace, mut now, mut longest) = (Pace::default(), began, Duration::ZERO);
        while now < began + 3600 * SECOND {
            let since = pace.waits_since(now);
            now += each;
            longest = longest.max(now - since);
            pace.waited(each);
            pace.moves(bytes);
        }
        longest
    }

    #[test]
    fn who_drips_stalls_and_who_takes_bytes_slowly_does_not() {
        assert_eq!(longest(1, 5 * SECOND), 3600 * SECOND);
        assert!(longest(1000, SECOND) > 60 * SECOND);
        // A MiB in 120 s is the slowest rate for sending a reply.
        assert_eq!(longest((1 << 20) / 120, SECOND), 8 * SECOND);
        assert_eq!(longest(ENOUGH_BYTES, 29 * SECOND), 29 * SECOND);
    }

    #[test]
    fn time_that_the_server_needs_is_not_the_clients() {
        let mut pace = Pace::default();
        let began = Instant::now();
        pace.waited(2 * SECOND);
        pace.moves(ENOUGH_BYTES - 1);
        // Reading the disk takes a minute.
        let now = began + 60 * SECOND;
        assert_eq!(pace.waits_since(now), now - 2 * SECOND);
        pace.moves(1);
        assert_eq!(pace.waits_since(now), now);
    }
}
