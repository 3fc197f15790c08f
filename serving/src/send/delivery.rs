//! One stream over one connection: offered, sent from where the receiver needs it, and followed
//! until the receiver has all of it durably.

use std::time::{Duration, Instant};

use super::supply::Supply;
use crate::session::VERSION;
use crate::session::frame::{BadFrame, Kind, RECORDS_BYTES_MAX};
use crate::session::link::{Incoming, Link, invalid};
use crate::session::message::{self, Answer, Hello, Offer, Resume, Taken, Welcome};
use crate::transport::Transport;
use crate::{Error, Result};

/// How much is sent at a time, in bytes.
const CHUNK_BYTES: usize = 256 << 10;
/// How long the receiver may take to answer who we are.
const INTRODUCTION: Duration = Duration::from_secs(10);
/// How long is waited while nothing can be sent or read.
const WAIT: Duration = Duration::from_millis(500);

/// Why a stream was not delivered.
#[derive(Debug)]
pub(super) enum Undelivered {
    /// The connection was lost, or the receiver cannot take it now: try again.
    Lost(Error),
    /// It will not be taken.
    Refused(Error),
    /// It was told to stop.
    Stopped,
}

impl From<Error> for Undelivered {
    fn from(error: Error) -> Self {
        match error.kind() {
            crate::ErrorKind::Failed => Self::Lost(error),
            _ => Self::Refused(error),
        }
    }
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the stream that were sent, or did not need to be.
    pub sent: u64,
    /// Bytes of it that are durable at the receiver.
    pub durable: u64,
    /// Bytes of it that went over the connection, those sent again included.
    pub transferred: u64,
}

/// A session with a receiver.
#[derive(Debug)]
pub(super) struct Session {
    link: Link,
}

impl Session {
    /// Introduces `sender` with this generation to the receiver at the other end of `transport`,
    /// which is called `receiver` in messages.
    pub(super) fn begin(
        transport: Transport,
        receiver: String,
        sender: &str,
        generation: u64,
    ) -> Result<Self> {
        let mut link = Link::new(receiver, transport);
        let program = concat!("mtctl ", env!("CARGO_PKG_VERSION")).to_owned();
        let hello = Hello { version: VERSION, program, sender: sender.to_owned(), generation };
        link.tell(Kind::Hello, &hello).map_err(|error| link.error(error))?;
        let _: Welcome = link.expect(Kind::Welcome, Instant::now() + INTRODUCTION)?;
        Ok(Self { link })
    }

    /// Delivers `supply` to `group`; returns how many points it made.
    pub(super) fn deliver(
        &mut self,
        supply: &mut dyn Supply,
        group: &str,
        stopped: &dyn Fn() -> bool,
        progress: &mut Progress,
        observe: &mut dyn FnMut(&Progress),
    ) -> std::result::Result<u64, Undelivered> {
        let link = &mut self.link;
        let told = link.tell(Kind::Offer, &Offer { group: group.to_owned() });
        told.map_err(|error| link.error(error))?;
        let header = supply.header().map_err(Undelivered::Refused)?;
        for part in header.chunks(RECORDS_BYTES_MAX as usize) {
            push(link, part)?;
        }
        let answer: Answer = patiently(link, stopped)?;
        if !answer.taken {
            begin(link, supply, &answer, header.len() as u64, progress)?;
        }
        Sending { link, supply, stopped, progress, observe }.run(answer.taken)
    }

    /// Ends the session in order.
    pub(super) fn end(mut self) -> Result<()> {
        let link = &mut self.link;
        link.send(Kind::End, &[]).map_err(|error| link.error(error))?;
        link.expect_frame(Kind::End, Instant::now() + INTRODUCTION).map(drop)
    }
}

/// Goes to where the receiver needs the stream.
fn begin(
    link: &mut Link,
    supply: &mut dyn Supply,
    answer: &Answer,
    header_bytes: u64,
    progress: &mut Progress,
) -> std::result::Result<(), Undelivered> {
    progress.transferred += header_bytes;
    (progress.sent, progress.durable) = (header_bytes, 0);
    let Some(known) = &answer.resume else {
        return supply.go_to_start().map_err(Undelivered::Refused);
    };
    progress.durable = known.position;
    let resume = match supply.go_to(known).map_err(Undelivered::Refused)? {
        Some(cursor) => {
            progress.sent = cursor.position;
            Resume::from(cursor)
        }
        None => {
            supply.go_to_start().map_err(Undelivered::Refused)?;
            Resume::default()
        }
    };
    Ok(link.tell(Kind::Resume, &resume).map_err(|error| link.error(error))?)
}

/// Sends `records`, and waits until they can be.
fn push(link: &mut Link, records: &[u8]) -> Result<()> {
    loop {
        let sent = link.send_records(records).map_err(|error| link.error(error))?;
        if sent {
            return Ok(());
        }
        let waited = link.keep_alive().and_then(|()| link.wait(WAIT));
        waited.map_err(|error| link.error(error))?;
    }
}

/// The receiver's answer. It may have to finish another stream first.
fn patiently(
    link: &mut Link,
    stopped: &dyn Fn() -> bool,
) -> std::result::Result<Answer, Undelivered> {
    loop {
        if stopped() {
            return Err(Undelivered::Stopped);
        }
        match link.poll().map_err(|error| link.error(error))? {
            Incoming::Message(Kind::Answer, body) => {
                let answer = message::read(&body).map_err(|bad| link.error(invalid(bad)));
                return Ok(answer?);
            }
            Incoming::Nothing => {
                let waited = link.keep_alive().and_then(|()| link.wait(WAIT));
                waited.map_err(|error| link.error(error))?;
            }
            other => return Err(unexpected(link, other).into()),
        }
    }
}

fn unexpected(link: &Link, incoming: Incoming) -> Error {
    match incoming {
        Incoming::Message(Kind::Refused, body) => link.refused(&body),
        Incoming::Message(kind, _) => link.error(invalid(BadFrame::NotExpected(kind))),
        Incoming::Records => link.error(invalid(BadFrame::NotExpected(Kind::Records))),
        Incoming::Closed | Incoming::Nothing => {
            link.error(std::io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// A stream on its way.
struct Sending<'a> {
    link: &'a mut Link,
    supply: &'a mut dyn Supply,
    stopped: &'a dyn Fn() -> bool,
    progress: &'a mut Progress,
    observe: &'a mut dyn FnMut(&Progress),
}

impl Sending<'_> {
    /// Sends the rest, unless all of it `is_sent`, and waits until it is taken.
    fn run(mut self, mut is_sent: bool) -> std::result::Result<u64, Undelivered> {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        loop {
            if (self.stopped)() {
                return Err(Undelivered::Stopped);
            }
            while let Some(taken) = self.listen()? {
                match taken {
                    Heard::Durable(position) => {
                        self.progress.durable = position;
                        self.supply.forget(position);
                    }
                    Heard::Taken(points) => return Ok(points),
                }
                (self.observe)(self.progress);
            }
            if chunk.is_empty() && !is_sent {
                self.supply.next(&mut chunk).map_err(Undelivered::Refused)?;
                is_sent = chunk.is_empty();
            }
            let link = &mut *self.link;
            let goes_out = !chunk.is_empty()
                && link.send_records(&chunk).map_err(|error| link.error(error))?;
            if goes_out {
                self.progress.sent += chunk.len() as u64;
                self.progress.transferred += chunk.len() as u64;
                chunk.clear();
                (self.observe)(self.progress);
            } else {
                let waited = link.keep_alive().and_then(|()| link.wait(WAIT));
                waited.map_err(|error| link.error(error))?;
            }
        }
    }

    /// What the receiver says, if it says anything.
    fn listen(&mut self) -> Result<Option<Heard>> {
        let link = &mut *self.link;
        match link.poll().map_err(|error| link.error(error))? {
            Incoming::Nothing => Ok(None),
            Incoming::Message(Kind::Durable, body) => {
                let position = body.try_into().map_or(0, u64::from_le_bytes);
                Ok(Some(Heard::Durable(position)))
            }
            Incoming::Message(Kind::Taken, body) => {
                let taken: Taken = message::read(&body).map_err(|bad| link.error(invalid(bad)))?;
                Ok(Some(Heard::Taken(taken.points)))
            }
            other => Err(unexpected(link, other)),
        }
    }
}

enum Heard {
    Durable(u64),
    Taken(u64),
}
