//! Where the receiver is: `tls://HOST[:PORT]`, `unix:PATH`, or `tcp://ADDRESS:PORT` on this host.

use std::fmt;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::tls::TlsClient;
use crate::transport::{Socket, Transport};
use crate::{Error, ErrorKind, Result};

/// The port of a receiver, if none is named.
const PORT: u16 = 9443;
/// How long taking up a connection may take.
const CONNECTING: Duration = Duration::from_secs(10);

/// Where a receiver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Over TLS.
    Tls {
        /// The name or address, as the receiver's certificate has it.
        host: String,
        /// The port.
        port: u16,
    },
    /// On this host.
    Unix(PathBuf),
    /// On this host, over a loopback address.
    Loopback(SocketAddr),
}

impl Address {
    /// Takes up a connection; over TLS with `tls`.
    ///
    /// # Errors
    ///
    /// `Usage`: credentials are missing. `Failed`: it cannot be reached.
    pub(super) fn connect(&self, tls: Option<&TlsClient>) -> Result<Transport> {
        let failed = |cause| Error::failed(format!("connecting to {self}"), cause);
        match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).map_err(failed)?;
                Transport::plain(Socket::Unix(stream)).map_err(failed)
            }
            Self::Loopback(address) => {
                let stream = TcpStream::connect_timeout(address, CONNECTING).map_err(failed)?;
                Transport::plain(Socket::Tcp(stream)).map_err(failed)
            }
            Self::Tls { host, port } => {
                let tls = tls.ok_or_else(|| {
                    Error::new(ErrorKind::Usage, format!("{self} needs a certificate"))
                })?;
                let stream = connect_tcp(host, *port).map_err(failed)?;
                tls.connect(host, Socket::Tcp(stream), CONNECTING)
            }
        }
    }
}

/// Connects to the first of the host's addresses that answers.
fn connect_tcp(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::other("it has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECTING) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls { host, port } if host.contains(':') => write!(f, "tls://[{host}]:{port}"),
            Self::Tls { host, port } => write!(f, "tls://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Loopback(address) => write!(f, "tcp://{address}"),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        if let Some(address) = text.strip_prefix("tcp://") {
            let parsed: Option<SocketAddr> = address.parse().ok();
            return match parsed.filter(|address| address.ip().is_loopback()) {
                Some(address) => Ok(Self::Loopback(address)),
                None => Err(format!("{text}: not a loopback address with a port; use tls://")),
            };
        }
        let unknown = || format!("{text}: not a receiver; use tls://HOST[:PORT] or unix:PATH");
        let rest = text.strip_prefix("tls://").ok_or_else(unknown)?;
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(unknown)?;
                (host, port.strip_prefix(':'))
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| unknown()))?;
        let is_host = !host.is_empty() && !host.contains(['/', '@', '?', '#']);
        is_host.then(|| Self::Tls { host: host.to_owned(), port }).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_read_as_it_is_shown_and_plain_tcp_stays_on_the_host() {
        let same = ["tls://home.example:9443", "tls://[::1]:7", "unix:/run/x", "tcp://127.0.0.1:7"];
        for text in same {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("tls://home".parse::<Address>().unwrap().to_string(), "tls://home:9443");
        let wrong = ["", "home", "tls://", "tls://home:x", "tls://a/b", "unix:", "tcp://1.2.3.4:5"];
        for text in wrong {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
