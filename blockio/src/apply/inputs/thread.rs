//! Inputs that are read in a separate thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::apply::inputs::feeder::Feeder;
use crate::apply::source::{Answer, Fed};
use crate::{Error, ErrorKind, Result};

/// The thread. It ends when this is dropped, also while it waits for a pipe.
#[derive(Debug)]
pub(super) struct FeedThread {
    // `None` once the thread is to end.
    channels: Option<Channels>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Channels {
    fed: Receiver<Fed>,
    answers: Sender<Answer>,
}

impl FeedThread {
    /// Starts a thread for `feeder`.
    pub(super) fn start(mut feeder: Feeder) -> Result<Self> {
        let stop = feeder.stop_flag();
        let (to, fed) = sync_channel(1);
        let (answers, from) = channel();
        let run = move || loop {
            let fed = feeder.next();
            let waits = matches!(fed, Fed::Begin { .. });
            let is_last = matches!(fed, Fed::Failed { .. } | Fed::Done);
            if to.send(fed).is_err() || is_last {
                return;
            }
            match waits.then(|| from.recv()) {
                Some(Ok(answer)) => feeder.answer(answer),
                Some(Err(_)) => return,
                None => {}
            }
        };
        let thread = std::thread::Builder::new()
            .name("feed".to_owned())
            .spawn(run)
            .map_err(|error| Error::failed("starting the thread that reads", error))?;
        Ok(Self { channels: Some(Channels { fed, answers }), stop, thread: Some(thread) })
    }

    /// The next item that the thread read, if one arrives within `patience`.
    pub(super) fn next(&mut self, patience: Duration) -> Option<Fed> {
        let channels = self.channels.as_ref()?;
        match channels.fed.recv_timeout(patience) {
            Ok(fed) => Some(fed),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(is_gone()),
        }
    }

    pub(super) fn answer(&self, answer: Answer) {
        // A thread that is gone is noticed at the next request.
        if let Some(channels) = &self.channels {
            drop(channels.answers.send(answer));
        }
    }
}

impl Drop for FeedThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It may be waiting for somebody to take what it read.
        self.channels = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, that was reported as "gone".
            let _ = thread.join();
        }
    }
}

/// The thread reports why it ends; if it did not, that must not look like a regular end.
fn is_gone() -> Fed {
    let error = Error::new(ErrorKind::Failed, "reading the streams: the reading thread has ended");
    Fed::Failed { error, is_cut_pipe: false }
}
