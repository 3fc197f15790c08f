//! What a session runs over: a Unix socket, TCP on this host, or TLS 1.3. Reads and writes never
//! wait; waiting is a call of its own.

use std::fmt;
use std::io::{self, IoSliceMut, Read, Write};
use std::time::Duration;

mod socket;
pub(crate) mod tls_stream;

pub use socket::Socket;
use tls_stream::TlsStream;

/// Carries the bytes of a session.
pub struct Transport(Carrier);

enum Carrier {
    Plain(Socket),
    Tls(Box<TlsStream>),
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Carrier::Plain(_) => "Plain",
            Carrier::Tls(_) => "Tls",
        })
    }
}

impl Transport {
    /// Over `socket` as it is.
    ///
    /// # Errors
    ///
    /// The socket cannot be prepared.
    pub fn plain(socket: Socket) -> io::Result<Self> {
        socket.prepare()?;
        Ok(Self(Carrier::Plain(socket)))
    }

    /// Over TLS.
    pub(crate) fn tls(stream: TlsStream) -> Self {
        Self(Carrier::Tls(Box::new(stream)))
    }

    /// Reads what has arrived; 0 at the end.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: nothing has. Otherwise the connection is lost.
    pub fn read(&mut self, rooms: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        loop {
            let read = match &mut self.0 {
                Carrier::Plain(socket) => socket.read_vectored(rooms),
                Carrier::Tls(stream) => stream.read(rooms),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Writes as much of `bytes` as goes out now.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: nothing does. Otherwise the connection is lost.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let written = match &mut self.0 {
                Carrier::Plain(socket) => socket.write(bytes),
                Carrier::Tls(stream) => stream.write(bytes),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return written,
            }
        }
    }

    /// Sends what was written and is still held here; whether all of it is out.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub fn flush(&mut self) -> io::Result<bool> {
        match &mut self.0 {
            Carrier::Plain(_) => Ok(true),
            Carrier::Tls(stream) => stream.flush(),
        }
    }

    /// Says that nothing more will be written.
    pub fn say_end(&mut self) {
        if let Carrier::Tls(stream) = &mut self.0 {
            stream.say_end();
        }
    }

    /// Waits until something can be read, or, if `to_write`, written; for at most `patience`.
    ///
    /// # Errors
    ///
    /// That of poll(2).
    pub fn wait(&self, to_write: bool, patience: Duration) -> io::Result<()> {
        let (socket, holds) = match &self.0 {
            Carrier::Plain(socket) => (socket, false),
            Carrier::Tls(stream) => (stream.socket(), stream.holds_bytes()),
        };
        socket.wait(to_write || holds, patience)
    }
}
