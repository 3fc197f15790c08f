//! One thread holds a group, for as long as the daemon runs: one stream after the other is applied
//! by it, and nobody else writes to the group meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use blockio::apply::{self, ApplyEvent, ApplyJob, ApplyOptions, Ending, HistorySettings, Outcome};
use blockio::assignment::Assignment;
use blockio::group::{Group, GroupView};

use super::permission::Permission;
use super::stream::{SessionStream, SharedLink, lock};
use crate::{Error, Result};

/// How often a holder without work looks whether it is to end.
const IDLE: Duration = Duration::from_millis(100);

/// How often a sender that waits is told that we are there.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// How a group is reached: what only the command knows.
pub trait Access: Send {
    /// Opens the group.
    ///
    /// # Errors
    ///
    /// It cannot be held now.
    fn open(&self) -> Result<Group>;

    /// The targets of the group, opened, and how to apply to them.
    ///
    /// # Errors
    ///
    /// One cannot be used now.
    fn targets(&self, group: &GroupView) -> Result<(Vec<Assignment>, ApplyOptions)>;

    /// What happens during a run.
    fn observe(&self, event: &ApplyEvent<'_>);

    /// `error` as it is told to a sender: what to do now, in words.
    fn hint(&self, error: &Error) -> Option<String>;
}

/// A stream that was offered.
struct Offered {
    link: SharedLink,
    is_evicted: Arc<AtomicBool>,
    answer: mpsc::Sender<Result<Taken>>,
}

/// How a stream ended.
#[derive(Debug)]
pub(super) enum Taken {
    /// All of it is durable; it made that many points.
    All { points: u64 },
    /// The connection was lost on the way. What came before is durable.
    Cut,
}

/// Holds a group.
#[derive(Debug)]
pub struct Holder {
    name: String,
    permission: Permission,
    offers: Mutex<Option<mpsc::Sender<Offered>>>,
    thread: Option<JoinHandle<()>>,
}

impl Holder {
    /// Opens group `name` through `access`, and holds it until `stop` is set.
    ///
    /// # Errors
    ///
    /// It cannot be opened, or there is no thread for it.
    pub fn begin(
        name: String,
        permission: Permission,
        access: Box<dyn Access>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self> {
        let group = access.open()?;
        let (offers, offered) = mpsc::channel();
        let stop = Arc::clone(stop);
        let thread = thread::Builder::new()
            .name(format!("hold {name}"))
            .spawn(move || hold(group, access.as_ref(), &offered, &stop))
            .map_err(|cause| Error::failed(format!("beginning to hold group {name}"), cause))?;
        Ok(Self { name, permission, offers: Mutex::new(Some(offers)), thread: Some(thread) })
    }

    /// The group.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn permission(&self) -> &Permission {
        &self.permission
    }

    /// Applies the stream that follows on `link`; waits for its end.
    pub(super) fn take(&self, link: SharedLink, is_evicted: Arc<AtomicBool>) -> Result<Taken> {
        let ended = || Error::failed("receiving a stream", "the receiver is being stopped");
        let (answer, answered) = mpsc::channel();
        let offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let offered = Offered { link: Arc::clone(&link), is_evicted, answer };
        offers.and_then(|offers| offers.send(offered).ok()).ok_or_else(ended)?;
        loop {
            match answered.recv_timeout(SAY_EVERY) {
                Ok(taken) => return taken,
                Err(RecvTimeoutError::Disconnected) => return Err(ended()),
                // It waits for its turn, or the run for a disk. A link that is lost shows when its
                // turn comes.
                Err(RecvTimeoutError::Timeout) => drop(lock(&link).say_alive()),
            }
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        *self.offers.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn hold(
    mut group: Group,
    access: &dyn Access,
    offered: &mpsc::Receiver<Offered>,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) {
        match offered.recv_timeout(IDLE) {
            Ok(offered) => {
                let Offered { link, is_evicted, answer } = offered;
                let source = SessionStream::new(link, is_evicted);
                let taken = apply(&mut group, access, source, stop).map_err(|error| {
                    match access.hint(&error) {
                        Some(hint) => error.with_hint(hint),
                        None => error,
                    }
                });
                // A session that is gone does not need it.
                let _ = answer.send(taken);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn apply(
    group: &mut Group,
    access: &dyn Access,
    source: SessionStream,
    stop: &AtomicBool,
) -> Result<Taken> {
    let (assignments, options) = access.targets(group.view())?;
    // A connection that is lost is no failure: its sender comes back.
    let options = ApplyOptions { resume: true, ..options };
    let history = HistorySettings::default();
    let job = ApplyJob { source: Box::new(source), assignments, options, history, pool: None };
    let outcome = apply::run(group, job, stop, &mut |event| access.observe(&event))?;
    let Outcome { summary, ending, failed_volumes } = outcome;
    let stopped = || Error::failed("receiving a stream", "the receiver is being stopped");
    match (ending, failed_volumes.into_iter().next()) {
        (Ending::Failed(error), _) | (_, Some(error)) => Err(error),
        (Ending::Stopped, None) => Err(stopped()),
        (Ending::Incomplete, None) => Ok(Taken::Cut),
        (Ending::Complete, None) => Ok(Taken::All { points: summary.recovery_points }),
    }
}
