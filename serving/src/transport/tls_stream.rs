//! TLS over a socket, without waiting except for the agreement at the beginning.

use std::io::{self, IoSliceMut, Read, Write};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, Connection};

use super::socket::Socket;

/// TLS over a socket.
pub(crate) struct TlsStream {
    connection: Connection,
    socket: Socket,
    has_ended: bool,
}

impl TlsStream {
    pub(crate) fn new(connection: Connection, socket: Socket) -> io::Result<Self> {
        socket.prepare()?;
        Ok(Self { connection, socket, has_ended: false })
    }

    /// The certificate of the other side, if it has shown one.
    pub(crate) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.connection.peer_certificates()?.first()
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Whether bytes that were written have not gone out.
    pub(super) fn holds_bytes(&self) -> bool {
        self.connection.wants_write()
    }

    /// Comes to an agreement with the other side.
    pub(crate) fn agree(&mut self, patience: Duration) -> io::Result<()> {
        let begun = Instant::now();
        while self.connection.is_handshaking() {
            let left = patience.checked_sub(begun.elapsed()).ok_or(io::ErrorKind::TimedOut)?;
            self.flush()?;
            match self.take_in() {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(left)?,
                Err(error) => return Err(error),
            }
        }
        while !self.flush()? {
            let left = patience.checked_sub(begun.elapsed()).ok_or(io::ErrorKind::TimedOut)?;
            self.wait(left)?;
        }
        Ok(())
    }

    fn wait(&self, patience: Duration) -> io::Result<()> {
        self.socket.wait(self.connection.wants_write(), patience)
    }

    /// Takes in what has arrived on the socket; returns how much that was, 0 at its end.
    fn take_in(&mut self) -> io::Result<usize> {
        let read = self.connection.read_tls(&mut self.socket)?;
        if let Err(cause) = self.connection.process_new_packets() {
            // An alert tells the other side why; whether it arrives is its business.
            let _ = self.connection.write_tls(&mut self.socket);
            return Err(in_words(cause));
        }
        Ok(read)
    }

    pub(super) fn read(&mut self, rooms: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read_vectored(rooms) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Without a goodbye: frames end with one of their own, so nothing is lost.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            if self.has_ended {
                return Ok(0);
            }
            self.has_ended = self.take_in()? == 0;
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let written = self.connection.writer().write(bytes)?;
        self.flush()?;
        if written == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(written)
    }

    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    pub(super) fn say_end(&mut self) {
        self.connection.send_close_notify();
        let _ = self.flush();
    }
}

/// `cause` as an error of reading: `PermissionDenied`, in words, if a certificate is not accepted.
fn in_words(cause: rustls::Error) -> io::Error {
    use rustls::AlertDescription as Alert;
    let text = match &cause {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet: compare the clocks".to_owned()
            }
            // Two authorities may have one name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate is not of an authority that we believe".to_owned()
            }
            other => format!("its certificate is not accepted: {other}"),
        },
        rustls::Error::NoCertificatesPresented => "it has no certificate".to_owned(),
        rustls::Error::AlertReceived(alert) => match alert {
            Alert::CertificateExpired => "our certificate has expired".to_owned(),
            Alert::UnknownCA => {
                "our certificate is not of an authority that it believes".to_owned()
            }
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::AccessDenied => format!("it does not accept our certificate: {alert:?}"),
            _ => return io::Error::new(io::ErrorKind::InvalidData, cause),
        },
        _ => return io::Error::new(io::ErrorKind::InvalidData, cause),
    };
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}
