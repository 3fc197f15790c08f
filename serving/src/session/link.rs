//! One connection: sends and receives frames over a transport, without waiting.

use std::io::{self, IoSliceMut};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::session::frame::{BadFrame, HEADER_BYTES, Header, Kind};
use crate::session::message;
use crate::transport::Transport;

/// Each side sends something at least that often.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// A connection without a byte for this long is given up.
pub const SILENT_MAX: Duration = Duration::from_secs(30);
/// How much may wait to be sent besides records, in bytes; a peer that takes nothing is given up.
const WAITING_BYTES_MAX: usize = 64 << 10;

/// A connection with a peer.
#[derive(Debug)]
pub struct Link {
    peer: String,
    transport: Transport,
    head: [u8; HEADER_BYTES],
    head_filled: usize,
    // The frame whose body is arriving.
    current: Option<Arriving>,
    // What is to be sent, from `sent` on.
    outgoing: Vec<u8>,
    sent: usize,
    heard: Instant,
    told: Instant,
    has_ended: bool,
}

#[derive(Debug)]
struct Arriving {
    header: Header,
    /// Of a message; records go where the reader wants them.
    body: Vec<u8>,
    /// How many bytes of the body have arrived.
    filled: usize,
}

impl Arriving {
    fn left(&self) -> usize {
        self.header.length as usize - self.filled
    }
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A message with its body, or a frame without one.
    Message(Kind, Vec<u8>),
    /// Records, to be taken with [`Link::read_records`].
    Records,
    /// Nothing.
    Nothing,
    /// The connection is closed.
    Closed,
}

impl Link {
    /// With `peer`, as it is called in messages, over `transport`.
    #[must_use]
    pub fn new(peer: String, transport: Transport) -> Self {
        let now = Instant::now();
        Self {
            peer,
            transport,
            head: [0; HEADER_BYTES],
            head_filled: 0,
            current: None,
            outgoing: Vec::new(),
            sent: 0,
            heard: now,
            told: now,
            has_ended: false,
        }
    }

    /// The peer, as it is called in messages.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// What has come. Records stay there until they are taken.
    ///
    /// # Errors
    ///
    /// `InvalidData` with a [`BadFrame`]; otherwise the connection is lost.
    pub fn poll(&mut self) -> io::Result<Incoming> {
        loop {
            let Some(current) = &mut self.current else {
                match self.read_head() {
                    Ok(true) => continue,
                    Ok(false) => return Ok(Incoming::Closed),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Ok(Incoming::Nothing);
                    }
                    Err(error) => return Err(error),
                }
            };
            if current.left() == 0 {
                let Some(Arriving { header, body, .. }) = self.current.take() else { continue };
                match header.kind {
                    Kind::KeepAlive | Kind::Records => continue,
                    kind => return Ok(Incoming::Message(kind, body)),
                }
            }
            if current.header.kind == Kind::Records {
                return Ok(Incoming::Records);
            }
            let room = &mut current.body[current.filled..];
            match self.transport.read(&mut [IoSliceMut::new(room)]) {
                Ok(0) => return Ok(self.closed()),
                Ok(read) => {
                    current.filled += read;
                    self.heard = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Incoming::Nothing);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn closed(&mut self) -> Incoming {
        self.has_ended = true;
        Incoming::Closed
    }

    /// Reads the header of the next frame; false at the end of the connection.
    fn read_head(&mut self) -> io::Result<bool> {
        while self.head_filled < HEADER_BYTES {
            if self.has_ended {
                return Ok(false);
            }
            let room = &mut self.head[self.head_filled..];
            match self.transport.read(&mut [IoSliceMut::new(room)])? {
                0 => self.has_ended = true,
                read => {
                    self.head_filled += read;
                    self.heard = Instant::now();
                }
            }
        }
        self.head_filled = 0;
        let header = Header::read(&self.head).map_err(invalid)?;
        let body = if header.kind == Kind::Records { 0 } else { header.length as usize };
        self.current = Some(Arriving { header, body: vec![0; body], filled: 0 });
        Ok(true)
    }

    /// Takes records that have come into `rooms`; 0 once the connection is closed.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: none have, or a message comes first. Otherwise as [`poll`](Self::poll).
    pub fn read_records(&mut self, rooms: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let current = match &mut self.current {
            Some(current) if current.header.kind == Kind::Records && current.left() > 0 => current,
            Some(current) if current.header.kind != Kind::Records => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            _ => {
                self.current = None;
                if !self.read_head()? {
                    return Ok(0);
                }
                return self.read_records(rooms);
            }
        };
        let mut left = current.left();
        let mut within = Vec::with_capacity(rooms.len());
        for room in rooms {
            let length = room.len().min(left);
            left -= length;
            within.push(IoSliceMut::new(&mut room[..length]));
        }
        let read = self.transport.read(&mut within)?;
        current.filled += read;
        self.has_ended |= read == 0;
        self.heard = Instant::now();
        Ok(read)
    }

    /// Sends a frame without a body, or with these bytes; what does not go out now goes out later.
    ///
    /// # Errors
    ///
    /// The connection is lost, or the peer takes nothing any more.
    pub fn send(&mut self, kind: Kind, body: &[u8]) -> io::Result<()> {
        if self.outgoing.len() - self.sent > WAITING_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing that is sent is taken"));
        }
        // Bodies are at most 1 MiB.
        let length = body.len() as u32;
        self.outgoing.extend_from_slice(&Header { kind, length }.bytes());
        self.outgoing.extend_from_slice(body);
        self.told = Instant::now();
        self.flush().map(drop)
    }

    /// Sends `message`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn tell(&mut self, kind: Kind, message: &impl Serialize) -> io::Result<()> {
        self.send(kind, &message::body(message))
    }

    /// Sends `records`, at most 1 MiB, if nothing waits to be sent; whether it did. Most of them
    /// are not copied.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub fn send_records(&mut self, records: &[u8]) -> io::Result<bool> {
        if !self.flush()? {
            return Ok(false);
        }
        self.told = Instant::now();
        // At most 1 MiB.
        let header = Header { kind: Kind::Records, length: records.len() as u32 };
        self.outgoing.extend_from_slice(&header.bytes());
        let mut rest = records;
        if self.flush()? {
            while !rest.is_empty() {
                match self.transport.write(rest) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => rest = &rest[written..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        self.outgoing.extend_from_slice(rest);
        Ok(true)
    }

    /// Sends what waits; whether all of it is out.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub fn flush(&mut self) -> io::Result<bool> {
        while self.sent < self.outgoing.len() {
            match self.transport.write(&self.outgoing[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        self.transport.flush()
    }

    /// Keeps the connection alive, and notices when it is not.
    ///
    /// # Errors
    ///
    /// The connection is lost, or silent for too long.
    pub fn keep_alive(&mut self) -> io::Result<()> {
        if self.heard.elapsed() >= SILENT_MAX {
            let context = format!("nothing was heard for {} s", SILENT_MAX.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, context));
        }
        self.say_alive()
    }

    /// Tells the peer that we are there if it was not told for a while.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub fn say_alive(&mut self) -> io::Result<()> {
        if self.told.elapsed() >= KEEP_ALIVE {
            self.send(Kind::KeepAlive, &[])?;
        }
        self.flush().map(drop)
    }

    /// Waits until something comes or, if something waits to be sent, it can be; for at most
    /// `patience`.
    ///
    /// # Errors
    ///
    /// That of poll(2).
    pub fn wait(&self, patience: Duration) -> io::Result<()> {
        self.transport.wait(self.sent < self.outgoing.len(), patience.min(KEEP_ALIVE))
    }

    /// Waits for the message `kind`, until `until`.
    ///
    /// # Errors
    ///
    /// As [`Link::error`]: it does not come, or something else does; what the receiver refuses is
    /// its error.
    pub fn expect<T: DeserializeOwned>(&mut self, kind: Kind, until: Instant) -> crate::Result<T> {
        let body = self.expect_frame(kind, until)?;
        message::read(&body).map_err(|bad| self.error(invalid(bad)))
    }

    /// Waits for a frame of `kind`, until `until`; its body.
    ///
    /// # Errors
    ///
    /// As [`expect`](Self::expect).
    pub fn expect_frame(&mut self, kind: Kind, until: Instant) -> crate::Result<Vec<u8>> {
        loop {
            let incoming = self.poll().map_err(|error| self.error(error))?;
            match incoming {
                Incoming::Message(found, body) if found == kind => return Ok(body),
                Incoming::Message(Kind::Refused, body) => return Err(self.refused(&body)),
                Incoming::Message(found, _) => {
                    return Err(self.error(invalid(BadFrame::NotExpected(found))));
                }
                Incoming::Records => {
                    return Err(self.error(invalid(BadFrame::NotExpected(Kind::Records))));
                }
                Incoming::Closed => return Err(self.error(io::ErrorKind::UnexpectedEof.into())),
                Incoming::Nothing => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.error(io::ErrorKind::TimedOut.into()));
            }
            let waited = self.flush().and_then(|_| self.wait(left));
            waited.map_err(|error| self.error(error))?;
        }
    }

    /// The error of a peer that refuses with this body.
    #[must_use]
    pub fn refused(&self, body: &[u8]) -> Error {
        match message::read::<message::Refused>(body) {
            Ok(refused) => refused.into_error(&self.peer),
            Err(bad) => self.error(invalid(bad)),
        }
    }

    /// `error` of this connection, as an error with its peer.
    #[must_use]
    pub fn error(&self, error: io::Error) -> Error {
        let context = format!("the connection with {}", self.peer);
        match error.kind() {
            io::ErrorKind::InvalidData => Error::integrity(context, error),
            io::ErrorKind::PermissionDenied => Error::refused(format!("{}: {error}", self.peer)),
            io::ErrorKind::UnexpectedEof => Error::failed(context, "it was closed"),
            io::ErrorKind::TimedOut if error.get_ref().is_none() => {
                Error::failed(context, "no answer came in time")
            }
            _ => Error::failed(context, error),
        }
    }

    /// Sends what waits, for at most `patience`, and says that nothing more comes.
    pub fn close(mut self, patience: Duration) {
        let until = Instant::now() + patience;
        while let Ok(false) = self.flush() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.wait(left).is_err() {
                break;
            }
        }
        self.transport.say_end();
    }
}

/// A frame that breaks a rule, as an error of reading.
pub(crate) fn invalid(bad: BadFrame) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, bad)
}
