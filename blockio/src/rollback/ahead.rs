//! Reads the images of the next steps while earlier ones are preserved and written: in threads, or
//! on demand. Memory is given to it, and comes back filled, in the order of the steps.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, Scope};

use crate::device::buffer::Arena;
use crate::journal::images::ImageReader;
use crate::patience::{Limits, receive};
use crate::plan::WritePlan;
use crate::rollback::steps::{Step, Steps};
use crate::{Error, Result};

/// A step, and its bytes.
type Filled = (WritePlan, Result<Arena>);

/// What comes next.
pub(super) enum Ready {
    /// The next step, with its bytes, or the error of reading them.
    Step(WritePlan, Result<Arena>),
    /// The next step is not read yet.
    NotYet,
    /// There are no more steps.
    End,
}

/// Reads ahead.
pub(super) enum Ahead<'a> {
    /// On demand.
    Inline { steps: Steps<'a>, reader: ImageReader<'a>, empty: VecDeque<Arena> },
    /// In other threads.
    Threads(FromThreads),
}

/// Steps that are read in threads, each step in one of them, and so not in their order.
pub(super) struct FromThreads {
    empty: Sender<Arena>,
    filled: Receiver<(usize, Filled)>,
    /// Read before its turn, by its number.
    early: BTreeMap<usize, Filled>,
    next: usize,
}

/// The steps that no thread has taken yet, and the memory for them. The first step gets the first
/// memory: a later one could otherwise have the memory that an earlier one waits for.
struct Untaken<'a> {
    steps: std::iter::Enumerate<Steps<'a>>,
    inbox: Receiver<Arena>,
}

impl<'a> Ahead<'a> {
    /// Reads `steps` on demand.
    pub(super) fn inline(steps: Steps<'a>, reader: ImageReader<'a>) -> Self {
        Self::Inline { steps, reader, empty: VecDeque::new() }
    }

    /// Reads `steps` in threads of `scope`, one for each of `readers`, which end when this is
    /// dropped.
    ///
    /// # Errors
    ///
    /// `Failed`: no thread can be started.
    pub(super) fn in_threads<'scope>(
        scope: &'scope Scope<'scope, 'a>,
        steps: Steps<'a>,
        readers: impl IntoIterator<Item = ImageReader<'a>>,
    ) -> Result<Self>
    where
        'a: 'scope,
    {
        let (empty, inbox) = channel();
        let (outbox, filled) = channel();
        let untaken = Arc::new(Mutex::new(Untaken { steps: steps.enumerate(), inbox }));
        let (mut started, mut failed) = (0, None);
        for mut reader in readers {
            let (untaken, outbox) = (Arc::clone(&untaken), outbox.clone());
            let read = move || {
                while let Some((number, step, arena)) = take(&untaken) {
                    if outbox.send((number, fill(&mut reader, step, arena))).is_err() {
                        return;
                    }
                }
            };
            // One is enough, and only slower.
            match Builder::new().name("images".to_owned()).spawn_scoped(scope, read) {
                Ok(_) => started += 1,
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed.filter(|_| started == 0) {
            return Err(Error::failed("starting the threads that read history", error));
        }
        Ok(Self::Threads(FromThreads { empty, filled, early: BTreeMap::new(), next: 0 }))
    }

    /// Gives memory for a step. Returns false once everything is read, and no more is needed.
    pub(super) fn give(&mut self, arena: Arena) -> bool {
        match self {
            Self::Inline { empty, .. } => {
                empty.push_back(arena);
                true
            }
            Self::Threads(threads) => threads.empty.send(arena).is_ok(),
        }
    }

    /// The next step, if it is ready.
    pub(super) fn next(&mut self) -> Ready {
        match self {
            Self::Inline { steps, reader, empty } => match empty.pop_front() {
                None => Ready::NotYet,
                Some(arena) => match steps.next() {
                    None => Ready::End,
                    Some(step) => Ready::of(fill(reader, step, arena)),
                },
            },
            Self::Threads(threads) => threads.next(),
        }
    }

    /// Waits until [`next`](Self::next) may have a different answer.
    ///
    /// # Errors
    ///
    /// `Failed`: no further step will arrive.
    pub(super) fn wait(&mut self) -> Result<()> {
        match self {
            // It only waits for memory.
            Self::Inline { .. } => Ok(()),
            Self::Threads(threads) => {
                let came = receive(&threads.filled, Limits::USUAL, "images from the history");
                let came = came.map_err(|error| Error::failed("reading the history", error))?;
                threads.early.extend(came);
                Ok(())
            }
        }
    }
}

impl FromThreads {
    fn next(&mut self) -> Ready {
        loop {
            if let Some(filled) = self.early.remove(&self.next) {
                self.next += 1;
                return Ready::of(filled);
            }
            match self.filled.try_recv() {
                Ok((number, filled)) => {
                    self.early.insert(number, filled);
                }
                Err(TryRecvError::Empty) => return Ready::NotYet,
                Err(TryRecvError::Disconnected) => return Ready::End,
            }
        }
    }
}

/// The next step, and memory for it; `None` if there is no further step, or nobody wants it.
fn take(untaken: &Mutex<Untaken<'_>>) -> Option<(usize, Step, Arena)> {
    // A thread that panicked did so before it took anything.
    let mut untaken = untaken.lock().unwrap_or_else(PoisonError::into_inner);
    let (number, step) = untaken.steps.next()?;
    Some((number, step, untaken.inbox.recv().ok()?))
}

fn fill(reader: &mut ImageReader<'_>, step: Step, arena: Arena) -> Filled {
    (step.plan, reader.read(&step.places, arena))
}

impl Ready {
    fn of((plan, arena): Filled) -> Self {
        Self::Step(plan, arena)
    }
}
