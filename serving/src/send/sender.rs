//! Delivers streams, over as many connections as it takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Address;
use super::delivery::{Progress, Session, Undelivered};
use super::supply::Supply;
use crate::tls::TlsClient;
use crate::{Error, Result};

/// How long is waited before the first new attempt; twice as long before each further one.
const AGAIN_AFTER: Duration = Duration::from_millis(10);
/// The longest wait between two attempts.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether to stop while nothing is done.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Delivers streams to a group of a receiver.
#[derive(Debug)]
pub struct Sender {
    receiver: Address,
    tls: Option<TlsClient>,
    name: String,
    group: String,
    session: Option<Session>,
    // Of the last session.
    generation: u64,
}

/// What happens on the way.
#[derive(Debug)]
pub enum SenderEvent<'a> {
    /// How far it is.
    Progress(&'a Progress),
    /// The connection was lost, or could not be taken up; it is tried again after a while.
    Lost {
        /// Why.
        error: &'a Error,
        /// How long is waited.
        again_after: Duration,
    },
}

/// What was delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// How many recovery points it made.
    pub points: u64,
    /// Bytes that went over connections.
    pub transferred: u64,
    /// How many connections it took.
    pub connections: u64,
}

impl Sender {
    /// A sender called `name`, which sends to `group` of `receiver`.
    #[must_use]
    pub fn new(receiver: Address, tls: Option<TlsClient>, name: String, group: String) -> Self {
        Self { receiver, tls, name, group, session: None, generation: 0 }
    }

    /// Delivers `supply`; `None` if it was told to stop.
    ///
    /// # Errors
    ///
    /// The receiver refuses it, or it cannot be read.
    pub fn deliver(
        &mut self,
        supply: &mut dyn Supply,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(SenderEvent<'_>),
    ) -> Result<Option<Delivered>> {
        let (mut progress, mut delivered) = (Progress::default(), Delivered::default());
        let mut again_after = AGAIN_AFTER;
        loop {
            let before = progress.durable;
            let outcome = self.attempt(supply, stop, &mut progress, &mut delivered, observe);
            delivered.transferred = progress.transferred;
            match outcome {
                Ok(points) => return Ok(Some(Delivered { points, ..delivered })),
                Err(Undelivered::Stopped) => return Ok(None),
                Err(Undelivered::Refused(error)) => return Err(error),
                Err(Undelivered::Lost(error)) => {
                    self.session = None;
                    if progress.durable > before {
                        again_after = AGAIN_AFTER;
                    }
                    observe(SenderEvent::Lost { error: &error, again_after });
                    if !wait(again_after, stop) {
                        return Ok(None);
                    }
                    again_after = (again_after * 2).min(AGAIN_AFTER_MAX);
                }
            }
        }
    }

    fn attempt(
        &mut self,
        supply: &mut dyn Supply,
        stop: &AtomicBool,
        progress: &mut Progress,
        delivered: &mut Delivered,
        observe: &mut dyn FnMut(SenderEvent<'_>),
    ) -> std::result::Result<u64, Undelivered> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => {
                let transport = self.receiver.connect(self.tls.as_ref())?;
                delivered.connections += 1;
                // Also if the clock goes back.
                self.generation = now_micros().max(self.generation + 1);
                let receiver = self.receiver.to_string();
                Session::begin(transport, receiver, &self.name, self.generation)?
            }
        };
        let stopped = || stop.load(Ordering::Relaxed);
        let observe = &mut |progress: &Progress| observe(SenderEvent::Progress(progress));
        let points = session.deliver(supply, &self.group, &stopped, progress, observe)?;
        self.session = Some(session);
        Ok(points)
    }

    /// Ends the session in order, if one is open.
    ///
    /// # Errors
    ///
    /// `Failed`: the receiver does not end it. Everything delivered is durable nevertheless.
    pub fn end(self) -> Result<()> {
        self.session.map_or(Ok(()), Session::end)
    }
}

/// The time, in microseconds since 1970: with it, a session of a sender that was started anew is
/// newer than those before.
fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Waits; false if it is to stop.
fn wait(patience: Duration, stop: &AtomicBool) -> bool {
    let until = Instant::now() + patience;
    loop {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(LOOK_EVERY));
    }
}
