//! How long something is waited for. Every wait of the engine ends: with what was waited for, or
//! with an error that says what that was, after a time in which nothing at all came; much sooner
//! once the process was asked to end.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// As a rule. A disk has 180 s for a command, and the kernel tries again five times.
    pub(crate) longest: Duration,
    /// Once the process was asked to end: a path that fails has come back by then.
    pub(crate) at_the_end: Duration,
}

impl Limits {
    /// Those that are used.
    pub(crate) const USUAL: Self =
        Self { longest: Duration::from_secs(20 * 60), at_the_end: Duration::from_secs(30) };
}

/// After so long it is told that something is waited for.
const TOLD_AFTER: Duration = Duration::from_secs(30);
/// So often who waits looks around.
pub(crate) const STEP: Duration = Duration::from_secs(1);

static ENDING: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// The flag that says that the process was asked to end: to be set by a signal, for example. No
/// run ends by it; but what does not come is not waited for as long.
pub fn ending() -> Arc<AtomicBool> {
    Arc::clone(ENDING.get_or_init(Arc::default))
}

fn is_ending() -> bool {
    ENDING.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// A wait, from when nothing came any more.
#[derive(Debug)]
pub(crate) struct Patience {
    limits: Limits,
    since: Instant,
    ending_since: Option<Instant>,
    is_told: bool,
}

impl Patience {
    /// It begins now.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, since: Instant::now(), ending_since: None, is_told: false }
    }

    /// Nothing came yet: may it be waited on?
    ///
    /// # Errors
    ///
    /// `TimedOut`, with what was waited for: no.
    pub(crate) fn go_on(&mut self, waited_for: impl Fn() -> String) -> io::Result<()> {
        let waited = self.since.elapsed();
        if is_ending() {
            self.ending_since.get_or_insert_with(Instant::now);
        }
        let is_over = |since: Instant| since.elapsed() >= self.limits.at_the_end;
        if waited >= self.limits.longest || self.ending_since.is_some_and(is_over) {
            let text = format!("nothing came for {} s: {}", waited.as_secs(), waited_for());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        if waited >= TOLD_AFTER && !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!("nothing came for {} s: {}", waited.as_secs(), waited_for());
        }
        Ok(())
    }
}

/// What comes next; none if nobody is left who could send something.
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

    /// No test waits long.
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
