//! How long to wait. Every wait of the engine ends, either with what was waited for, or with an
//! error that names it after a time in which nothing arrived. That time is much shorter once the
//! process was asked to end.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The longest waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The usual limit. A disk has 180 s for a command, and the kernel retries five times.
    pub(crate) longest: Duration,
    /// The limit once the process was asked to end: a failing path has come back by then.
    pub(crate) at_the_end: Duration,
}

impl Limits {
    /// The limits in use.
    pub(crate) const USUAL: Self =
        Self { longest: Duration::from_secs(20 * 60), at_the_end: Duration::from_secs(30) };
}

/// After this long, the wait is reported.
const TOLD_AFTER: Duration = Duration::from_secs(30);
/// How often a waiter checks for an end.
pub(crate) const STEP: Duration = Duration::from_secs(1);

static ENDING: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// The flag that says that the process was asked to end, set for example by a signal. It ends no
/// run by itself, but waits become shorter.
pub fn ending() -> Arc<AtomicBool> {
    Arc::clone(ENDING.get_or_init(Arc::default))
}

fn is_ending() -> bool {
    ENDING.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// A wait, beginning when the last thing arrived.
#[derive(Debug)]
pub(crate) struct Patience {
    limits: Limits,
    since: Instant,
    ending_since: Option<Instant>,
    is_told: bool,
}

impl Patience {
    /// A wait that begins now.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, since: Instant::now(), ending_since: None, is_told: false }
    }

    /// Returns while waiting may continue.
    ///
    /// # Errors
    ///
    /// `TimedOut`, naming what was waited for, once the limit is reached.
    pub(crate) fn go_on(&mut self, waited_for: impl Fn() -> String) -> io::Result<()> {
        let waited = self.since.elapsed();
        if is_ending() {
            self.ending_since.get_or_insert_with(Instant::now);
        }
        let is_over = |since: Instant| since.elapsed() >= self.limits.at_the_end;
        if waited >= self.limits.longest || self.ending_since.is_some_and(is_over) {
            let text = format!("nothing arrived for {} s: {}", waited.as_secs(), waited_for());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        if waited >= TOLD_AFTER && !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!("nothing arrived for {} s: {}", waited.as_secs(), waited_for());
        }
        Ok(())
    }
}

/// The next message; `None` if all senders are gone.
///
/// # Errors
///
/// As [`Patience::go_on`].
pub(crate) fn receive<T>(
    from: &Receiver<T>,
    limits: Limits,
    waited_for: &str,
) -> io::Result<Option<T>> {
    let mut patience = Patience::new(limits);
    loop {
        match from.recv_timeout(STEP.min(limits.longest)) {
            Ok(it) => return Ok(Some(it)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => patience.go_on(|| waited_for.to_owned())?,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// Short limits for tests.
    pub(crate) const SHORT: Limits =
        Limits { longest: Duration::from_millis(50), at_the_end: Duration::from_millis(50) };

    #[test]
    fn what_never_comes_is_told_by_name_after_a_while() {
        let (sender, receiver) = channel::<()>();
        let error = receive(&receiver, SHORT, "a record of segment 7").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("a record of segment 7"), "{error}");
        drop(sender);
        assert_eq!(receive(&receiver, SHORT, "nobody").unwrap(), None);
    }

    #[test]
    fn what_comes_is_taken() {
        let (sender, receiver) = channel();
        sender.send(3).unwrap();
        assert_eq!(receive(&receiver, SHORT, "a number").unwrap(), Some(3));
    }
}
