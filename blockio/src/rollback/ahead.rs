//! Reads the images of the next steps while earlier ones are preserved and written: in a separate
//! thread, or on demand. Memory is given to it, and comes back filled.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{Builder, Scope};

use crate::device::buffer::{Arena, ArenaPool};
use crate::journal::images::Images;
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
    Inline { steps: Steps<'a>, reader: Reader<'a>, empty: VecDeque<Arena> },
    /// In another thread.
    Thread { empty: Sender<Arena>, filled: Receiver<Filled>, waited_for: Option<Filled> },
}

/// Reads the images.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    images: &'a Images,
    records: &'a ArenaPool,
}

impl Reader<'_> {
    fn fill(self, step: Step, arena: Arena) -> Filled {
        (step.plan, self.images.read(&step.places, arena, self.records))
    }
}

impl<'a> Ahead<'a> {
    /// Reads `steps` on demand.
    pub(super) fn inline(steps: Steps<'a>, images: &'a Images, records: &'a ArenaPool) -> Self {
        Self::Inline { steps, reader: Reader { images, records }, empty: VecDeque::new() }
    }

    /// Reads `steps` in a thread of `scope`, which ends when this is dropped.
    ///
    /// # Errors
    ///
    /// `Failed`: the thread cannot be started.
    pub(super) fn in_thread<'scope>(
        scope: &'scope Scope<'scope, 'a>,
        steps: Steps<'a>,
        images: &'a Images,
        records: &'a ArenaPool,
    ) -> Result<Self> {
        let reader = Reader { images, records };
        let (empty, inbox) = channel::<Arena>();
        let (outbox, filled) = channel();
        let read = move || {
            for step in steps {
                let Ok(arena) = inbox.recv() else { return };
                if outbox.send(reader.fill(step, arena)).is_err() {
                    return;
                }
            }
        };
        Builder::new()
            .name("images".to_owned())
            .spawn_scoped(scope, read)
            .map_err(|error| Error::failed("starting the thread that reads history", error))?;
        Ok(Self::Thread { empty, filled, waited_for: None })
    }

    /// Gives memory for a step. Returns false once everything is read, and no more is needed.
    pub(super) fn give(&mut self, arena: Arena) -> bool {
        match self {
            Self::Inline { empty, .. } => {
                empty.push_back(arena);
                true
            }
            Self::Thread { empty, .. } => empty.send(arena).is_ok(),
        }
    }

    /// The next step, if it is ready.
    pub(super) fn next(&mut self) -> Ready {
        match self {
            Self::Inline { steps, reader, empty } => match empty.pop_front() {
                None => Ready::NotYet,
                Some(arena) => match steps.next() {
                    None => Ready::End,
                    Some(step) => Ready::of(reader.fill(step, arena)),
                },
            },
            Self::Thread { filled, waited_for, .. } => match waited_for.take() {
                Some(filled) => Ready::of(filled),
                None => match filled.try_recv() {
                    Ok(filled) => Ready::of(filled),
                    Err(TryRecvError::Empty) => Ready::NotYet,
                    Err(TryRecvError::Disconnected) => Ready::End,
                },
            },
        }
    }

    /// Waits until [`next`](Self::next) has a different answer.
    ///
    /// # Errors
    ///
    /// `Failed`: no further step will arrive.
    pub(super) fn wait(&mut self) -> Result<()> {
        match self {
            // It only waits for memory.
            Self::Inline { .. } => Ok(()),
            Self::Thread { filled, waited_for, .. } => {
                let came = receive(filled, Limits::USUAL, "images from the history");
                *waited_for = came.map_err(|error| Error::failed("reading the history", error))?;
                Ok(())
            }
        }
    }
}

impl Ready {
    fn of((plan, arena): Filled) -> Self {
        Self::Step(plan, arena)
    }
}
