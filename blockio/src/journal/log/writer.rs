//! What writes records into segments, in the caller's thread or in one of its own: several records
//! become durable with one flush. Where they go is decided by the log.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use crate::device::buffer::Arena;
use crate::device::{BlockDevice, DeviceError, TRANSFER_BYTES_MAX, Transfer, WriteBatch};
use crate::journal::draft::Draft;
use crate::patience::{Limits, receive};
use crate::units::ByteOffset;
use crate::{Error, Result};

/// A position in the order of records: everything submitted up to there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(super) u64);

/// A job for the writer.
pub(super) enum WriterCommand {
    /// Write into this segment from now on.
    Segment(Box<dyn BlockDevice>),
    /// Write a record.
    Record { draft: Draft, number: u64, durable_before: u64, at: ByteOffset, ticket: Ticket },
}

/// The result of jobs.
pub(super) enum Done {
    /// Everything up to here is durable.
    Durable(Ticket),
    /// Nothing more will be durable.
    Failed(DeviceError),
    /// The writer is gone.
    Gone,
}

/// The writer.
pub(super) enum Worker {
    /// The caller: each record is written, and its memory free, when `submit` returns.
    Inline(Writing),
    /// A thread: records that arrive while it waits for a flush go with the next flush.
    Thread {
        jobs: Option<Sender<WriterCommand>>,
        done: Receiver<Done>,
        thread: Option<JoinHandle<()>>,
    },
}

impl Worker {
    /// A writer in the caller's thread.
    pub(super) fn inline() -> Self {
        Self::Inline(Writing::default())
    }

    /// A writer in a thread of its own.
    ///
    /// # Errors
    ///
    /// `Failed`: the thread cannot be started.
    pub(super) fn thread() -> Result<Self> {
        let (jobs, inbox) = channel();
        let (outbox, done) = channel();
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || Writing::default().run(&inbox, &outbox))
            .map_err(|error| Error::failed("starting the thread that writes history", error))?;
        Ok(Self::Thread { jobs: Some(jobs), done, thread: Some(thread) })
    }

    /// Gives it a job.
    pub(super) fn take(&mut self, job: WriterCommand) {
        match self {
            Self::Inline(writing) => {
                writing.take(job);
                writing.give_back();
            }
            // A thread that is gone is noticed when somebody waits for it.
            Self::Thread { jobs, .. } => {
                if let Some(jobs) = jobs {
                    drop(jobs.send(job));
                }
            }
        }
    }

    /// The next result, if there is one by now.
    pub(super) fn done(&mut self) -> Option<Done> {
        match self {
            Self::Inline(writing) => Some(writing.commit()),
            Self::Thread { done, .. } => match done.try_recv() {
                Ok(done) => Some(done),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(Done::Gone),
            },
        }
    }

    /// Waits for the next result.
    pub(super) fn wait(&mut self) -> std::io::Result<Done> {
        match self {
            Self::Inline(writing) => Ok(writing.commit()),
            Self::Thread { done, .. } => {
                let came = receive(done, Limits::USUAL, "the thread that writes history")?;
                Ok(came.unwrap_or(Done::Gone))
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Self::Thread { jobs, done, thread } = self {
            // Without jobs the thread ends, having finished its writes.
            drop(jobs.take());
            // A thread that does not end is left alone: it hangs in the kernel, or in a disk.
            let has_ended = loop {
                match receive(done, Limits::USUAL, "the thread that writes history, to end") {
                    Ok(Some(_)) => {}
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            if let Some(thread) = thread.take().filter(|_| has_ended) {
                let _ = thread.join();
            }
        }
    }
}

/// The segment that is being written.
#[derive(Default)]
pub(super) struct Writing {
    device: Option<Box<dyn BlockDevice>>,
    /// Whether something was written since the last flush: the header at least.
    is_dirty: bool,
    written: Ticket,
    failed: Option<DeviceError>,
}

impl Writing {
    pub(super) fn run(mut self, jobs: &Receiver<WriterCommand>, done: &Sender<Done>) {
        while let Ok(job) = jobs.recv() {
            let before = self.written;
            self.take(job);
            while let Ok(job) = jobs.try_recv() {
                self.take(job);
            }
            let has_news = self.written > before || self.failed.is_some();
            if has_news && done.send(self.commit()).is_err() {
                return;
            }
        }
    }

    fn take(&mut self, job: WriterCommand) {
        if self.failed.is_some() {
            return;
        }
        let taken = match job {
            WriterCommand::Segment(device) => {
                let flushed = self.flush();
                (self.device, self.is_dirty) = (Some(device), true);
                flushed
            }
            WriterCommand::Record { draft, number, durable_before, at, ticket } => {
                let bytes = draft.record_bytes();
                let written = self.write(draft.seal(number, durable_before), at, bytes);
                self.written = ticket;
                written
            }
        };
        self.failed = taken.err();
        if self.failed.is_some() {
            // Writes under way end here, and their memory comes back: nobody else would reap it.
            self.device = None;
        }
    }

    /// Waits for writes under way, so that their memory comes back: the caller, who waits for
    /// memory, is the only one who could reap it.
    fn give_back(&mut self) {
        let Some(device) = self.device.as_mut().filter(|_| self.failed.is_none()) else { return };
        self.failed = device.settle().err();
    }

    fn write(&mut self, arena: Arena, at: ByteOffset, bytes: usize) -> Result<(), DeviceError> {
        let Some(device) = &mut self.device else { return Ok(()) };
        self.is_dirty = true;
        let mut writes = Vec::with_capacity(bytes.div_ceil(TRANSFER_BYTES_MAX));
        for position in (0..bytes).step_by(TRANSFER_BYTES_MAX) {
            let at = ByteOffset::new(at.get() + position as u64);
            let length = (bytes - position).min(TRANSFER_BYTES_MAX);
            writes.push(Transfer { at, position, length });
        }
        device.write_batch(WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() })
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        let Some(device) = self.device.as_mut().filter(|_| self.is_dirty) else { return Ok(()) };
        let settled = device.settle()?;
        let _ = device.flush(settled)?;
        self.is_dirty = false;
        Ok(())
    }

    /// Makes all written records durable.
    fn commit(&mut self) -> Done {
        if self.failed.is_none() && !planted!(NoBarrier1) {
            self.failed = self.flush().err();
        }
        match self.failed.take() {
            None => Done::Durable(self.written),
            Some(error) => {
                let told = error.again();
                self.failed = Some(error);
                Done::Failed(told)
            }
        }
    }
}
