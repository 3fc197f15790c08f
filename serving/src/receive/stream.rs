//! A stream of a session as the source of a run: the engine reads it as far as it has come, and the
//! sender is told what became durable.

use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blockio::apply::source::{Answer, Arrival, Beginning, Fed};
use blockio::apply::{Feed, Source};
use blockio::stream::input::{Arrivals, Input};

use crate::session::frame::{BadFrame, Kind};
use crate::session::link::{Incoming, Link, invalid};
use crate::session::message::{self, Known, Resume};
use crate::{Error, Result};

/// A connection that the session and the run share; never both at a time.
pub(super) type SharedLink = Arc<Mutex<Link>>;

/// The link; a panic elsewhere leaves it as it was.
pub(super) fn lock(link: &SharedLink) -> MutexGuard<'_, Link> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The records of the stream, as they arrive.
#[derive(Debug)]
struct Records {
    link: SharedLink,
    is_over: Arc<AtomicBool>,
}

impl Read for Records {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(room)])
    }

    /// A connection that is lost is the end of a stream that was cut.
    fn read_vectored(&mut self, rooms: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if self.is_over.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let mut link = lock(&self.link);
        match link.read_records(rooms) {
            Err(error) if is_lost(&error) => {
                tracing::info!(peer = link.peer(), %error, "the connection is lost");
                self.is_over.store(true, Ordering::Relaxed);
                Ok(0)
            }
            read => read,
        }
    }
}

impl Arrivals for Records {
    fn wait(&self, patience: Option<Duration>) -> io::Result<()> {
        lock(&self.link).wait(patience.unwrap_or(Duration::MAX))
    }
}

fn is_lost(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::InvalidData)
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Records are read.
    Reading,
    /// The sender was told from where on it is needed, and has not gone on yet.
    Answered(Option<Known>),
    /// Nothing more is read.
    Over,
}

/// A stream of a session.
#[derive(Debug)]
pub(super) struct SessionStream {
    link: SharedLink,
    is_over: Arc<AtomicBool>,
    // Set when another session takes the place of this one.
    is_evicted: Arc<AtomicBool>,
    feed: Option<Feed>,
    state: State,
}

impl SessionStream {
    pub(super) fn new(link: SharedLink, is_evicted: Arc<AtomicBool>) -> Self {
        let is_over = Arc::default();
        Self { link, is_over, is_evicted, feed: None, state: State::Reading }
    }

    /// The next item, if it is there.
    fn poll(&mut self) -> Arrival {
        if self.is_evicted.load(Ordering::Relaxed) {
            return cut(Error::failed(
                "receiving a stream",
                "its sender has begun a newer session",
            ));
        }
        let alive = self.of_link(Link::keep_alive);
        if let Err(error) = alive {
            return cut(error);
        }
        match self.state {
            State::Over => Arrival::Item(Fed::Done),
            State::Answered(known) => self.go_on(known),
            State::Reading => self.read(),
        }
    }

    fn read(&mut self) -> Arrival {
        let Some(feed) = &mut self.feed else { return Arrival::Item(Fed::Done) };
        let arrival = feed.arrival();
        match &arrival {
            // Its end record is the last one: the session goes on, and the stream does not.
            Arrival::Item(Fed::End(..)) => self.is_over.store(true, Ordering::Relaxed),
            Arrival::Item(Fed::InputEnd { .. }) => self.state = State::Over,
            Arrival::Nothing => return self.require_no_message().map_or_else(failed, |()| arrival),
            Arrival::Item(_) | Arrival::NoMemory => {}
        }
        arrival
    }

    /// In the middle of a stream, only records come.
    fn require_no_message(&mut self) -> Result<()> {
        let mut link = lock(&self.link);
        match link.poll() {
            Ok(Incoming::Message(kind, _)) => Err(link.error(invalid(BadFrame::NotExpected(kind)))),
            Err(error) if !is_lost(&error) => Err(link.error(error)),
            Ok(Incoming::Records | Incoming::Nothing | Incoming::Closed) | Err(_) => Ok(()),
        }
    }

    /// The sender goes on: where it was told to, or after the stream header.
    fn go_on(&mut self, known: Option<Known>) -> Arrival {
        let incoming = lock(&self.link).poll();
        let gone_on = match incoming {
            Ok(Incoming::Nothing) => return Arrival::Nothing,
            Ok(Incoming::Records) if known.is_none() => Ok(()),
            Ok(Incoming::Message(Kind::Resume, body)) => self.resume(&body, known),
            Ok(Incoming::Message(kind, _)) => Err(self.not_expected(kind)),
            Ok(Incoming::Records) => Err(self.not_expected(Kind::Records)),
            Ok(Incoming::Closed) => {
                return cut(lock(&self.link).error(io::ErrorKind::UnexpectedEof.into()));
            }
            Err(error) if is_lost(&error) => return cut(lock(&self.link).error(error)),
            Err(error) => Err(lock(&self.link).error(error)),
        };
        match gone_on {
            Ok(()) => {
                self.state = State::Reading;
                self.read()
            }
            Err(error) => failed(error),
        }
    }

    /// At any place but the beginning only if one is known: the chain there is then compared.
    fn resume(&mut self, body: &[u8], known: Option<Known>) -> Result<()> {
        let resume: Resume =
            message::read(body).map_err(|bad| lock(&self.link).error(invalid(bad)))?;
        if resume.position == 0 {
            return Ok(());
        }
        match (&mut self.feed, known) {
            (Some(feed), Some(_)) => feed.go_on_at(resume.into()),
            (_, None) | (None, _) => Err(self.not_expected(Kind::Resume)),
        }
    }

    /// What `what` does with the link, or its error in words.
    fn of_link<T>(&self, what: impl FnOnce(&mut Link) -> io::Result<T>) -> Result<T> {
        let mut link = lock(&self.link);
        what(&mut link).map_err(|error| link.error(error))
    }

    fn not_expected(&self, kind: Kind) -> Error {
        lock(&self.link).error(invalid(BadFrame::NotExpected(kind)))
    }
}

fn failed(error: Error) -> Arrival {
    Arrival::Item(Fed::Failed { error, is_cut_pipe: false })
}

fn cut(error: Error) -> Arrival {
    Arrival::Item(Fed::Failed { error, is_cut_pipe: true })
}

impl Source for SessionStream {
    /// A connection is no file.
    fn is_also(&self, _: &File) -> Option<String> {
        None
    }

    fn begin(&mut self, run: &Beginning<'_>) -> Result<u64> {
        let records = Records { link: Arc::clone(&self.link), is_over: Arc::clone(&self.is_over) };
        let input = Input::from_arrivals(Box::new(records));
        let name = format!("the stream of {}", lock(&self.link).peer());
        self.feed = Some(Feed::of_connection(&name, input, run.pool.clone()));
        Ok(0)
    }

    fn next(&mut self, patience: Duration) -> Arrival {
        let arrival = self.poll();
        if !matches!(arrival, Arrival::Nothing) || patience.is_zero() {
            return arrival;
        }
        match self.of_link(|link| link.wait(patience)) {
            Ok(()) => self.poll(),
            Err(error) => failed(error),
        }
    }

    fn answer(&mut self, answer: Answer) {
        let told = match &answer {
            Answer::SkipInput => {
                self.state = State::Over;
                message::Answer { taken: true, resume: None }
            }
            Answer::Apply { resume_after, expected, .. } => {
                let known = expected.iter().filter(|one| one.chained);
                let known = known.filter(|one| *resume_after > 0 && one.bytes == *resume_after);
                let chain = known.filter_map(|one| one.chain()).next();
                let position = *resume_after;
                let resume = chain.map(|chain| Known { position, chain: chain.0 });
                self.state = State::Answered(resume);
                message::Answer { taken: false, resume }
            }
        };
        if let Some(feed) = &mut self.feed {
            feed.answer(answer);
        }
        // If it is lost, that shows at the next read.
        let _ = lock(&self.link).tell(Kind::Answer, &told);
    }

    fn durable(&mut self, position: u64) {
        // What it is not told now it is told when it comes back.
        let _ = lock(&self.link).send(Kind::Durable, &position.to_le_bytes());
    }
}
