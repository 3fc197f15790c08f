//! Listens for senders, and gives each connection a thread. What a connection may cost before it is
//! known who it is with is limited.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};

use super::holder::Holder;
use super::session::{INTRODUCTION, Shared, speak};
use super::sessions::Sessions;
use crate::identity::Identity;
use crate::session::link::Link;
use crate::tls::TlsServer;
use crate::transport::{Socket, Transport};
use crate::{Error, ErrorKind, Result};

/// The most connections at a time.
const CONNECTIONS_MAX: usize = 256;
/// How often it is looked whether the daemon is to end.
const LOOK_EVERY_MS: u16 = 200;

/// Where to listen.
#[derive(Clone, Debug)]
pub enum Listen {
    /// On a Unix socket at this path.
    Unix(PathBuf),
    /// On an address, with TLS.
    Tls(SocketAddr, TlsServer),
    /// On a loopback address, as it is.
    Plain(SocketAddr),
}

enum Listener {
    Unix(UnixListener, PathBuf),
    Tls(TcpListener, TlsServer),
    Plain(TcpListener),
}

/// Listens, and receives streams for the groups that it holds.
pub struct Receiver {
    listeners: Vec<Listener>,
    shared: Shared,
}

impl Receiver {
    /// Listens at each of `listen`: senders can connect from now on.
    ///
    /// # Errors
    ///
    /// `Usage`: two groups of one name, or plain TCP on an address that is not loopback. `Refused`:
    /// somebody listens there. `Failed`: it is not possible to listen there.
    pub fn bind(listen: Vec<Listen>, holders: Vec<Holder>, stop: Arc<AtomicBool>) -> Result<Self> {
        let mut by_name = BTreeMap::new();
        for holder in holders {
            by_name.insert(holder.name().to_owned(), holder);
        }
        let listeners = listen.into_iter().map(listener).collect::<Result<_>>()?;
        let (holders, sessions) = (Arc::new(by_name), Sessions::default());
        Ok(Self { listeners, shared: Shared { holders, sessions, stop } })
    }

    /// The TCP addresses on which it listens, with the actual ports.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let address = |listener: &Listener| match listener {
            Listener::Unix(..) => None,
            Listener::Tls(listener, _) | Listener::Plain(listener) => listener.local_addr().ok(),
        };
        self.listeners.iter().filter_map(address).collect()
    }

    /// Takes up sessions until it is told to stop; then waits for those that are open, which end
    /// at the next batch.
    ///
    /// # Errors
    ///
    /// `Failed`: connections cannot be accepted any more.
    pub fn serve(&self) -> Result<()> {
        let open = AtomicUsize::new(0);
        thread::scope(|scope| {
            while !self.shared.stop.load(Ordering::Relaxed) {
                for listener in self.wait()? {
                    let Some(arrived) = accept(listener)? else { continue };
                    if open.load(Ordering::Relaxed) >= CONNECTIONS_MAX {
                        tracing::warn!("a connection is closed: there are {CONNECTIONS_MAX}");
                        continue;
                    }
                    open.fetch_add(1, Ordering::Relaxed);
                    let (open, shared) = (&open, &self.shared);
                    let begun = thread::Builder::new().name("session".to_owned()).spawn_scoped(
                        scope,
                        move || {
                            introduce(arrived, shared);
                            open.fetch_sub(1, Ordering::Relaxed);
                        },
                    );
                    if let Err(error) = begun {
                        tracing::warn!(%error, "a connection is closed: no thread for it");
                        open.fetch_sub(1, Ordering::Relaxed);
                    }
                }
            }
            Ok(())
        })
    }

    /// The listeners to which somebody has connected.
    fn wait(&self) -> Result<Vec<&Listener>> {
        let mut waited: Vec<_> = self.listeners.iter().map(Listener::waited_for).collect();
        match poll(&mut waited, PollTimeout::from(LOOK_EVERY_MS)) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(Error::failed("waiting for connections", error)),
        }
        let ready = self.listeners.iter().zip(&waited);
        Ok(ready.filter(|(_, one)| one.any() == Some(true)).map(|(one, _)| one).collect())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        for listener in &self.listeners {
            if let Listener::Unix(_, path) = listener {
                let _ = fs::remove_file(path);
            }
        }
    }
}

impl Listener {
    fn waited_for(&self) -> PollFd<'_> {
        let descriptor = match self {
            Self::Unix(listener, _) => listener.as_fd(),
            Self::Tls(listener, _) | Self::Plain(listener) => listener.as_fd(),
        };
        PollFd::new(descriptor, PollFlags::POLLIN)
    }
}

fn listener(listen: Listen) -> Result<Listener> {
    match listen {
        Listen::Unix(path) => Ok(Listener::Unix(listen_unix(&path)?, path)),
        Listen::Tls(address, tls) => Ok(Listener::Tls(listen_tcp(address)?, tls)),
        Listen::Plain(address) if address.ip().is_loopback() => {
            Ok(Listener::Plain(listen_tcp(address)?))
        }
        Listen::Plain(address) => {
            let context = format!("listening on {address} without TLS");
            Err(Error::new(ErrorKind::Usage, context)
                .with_hint("anybody on the network could write to the disks; use TLS"))
        }
    }
}

fn listen_tcp(address: SocketAddr) -> Result<TcpListener> {
    let failed = |cause: io::Error| match cause.kind() {
        io::ErrorKind::AddrInUse => Error::refused(format!("somebody listens on {address}")),
        _ => Error::failed(format!("listening on {address}"), cause),
    };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// A socket file without a listener is replaced; only our user can connect.
fn listen_unix(path: &Path) -> Result<UnixListener> {
    let failed = |cause| Error::failed(format!("listening on {}", path.display()), cause);
    if let Ok(found) = fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(Error::refused(format!("{} is not a socket", path.display())));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(Error::refused(format!("somebody listens on {}", path.display())));
        }
        fs::remove_file(path).map_err(failed)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// A connection before it is known who it is with.
struct Arrived {
    socket: Socket,
    peer: String,
    how: How,
}

enum How {
    User(u32),
    Plain,
    Tls(TlsServer),
}

/// The connection that has come, unless it is gone again.
fn accept(listener: &Listener) -> Result<Option<Arrived>> {
    let accepted = match listener {
        Listener::Unix(listener, _) => listener.accept().and_then(|(stream, _)| {
            let user = getsockopt(&stream, sockopt::PeerCredentials)?.uid();
            let (peer, how) = (format!("user {user}"), How::User(user));
            Ok(Arrived { socket: Socket::Unix(stream), peer, how })
        }),
        Listener::Plain(listener) => listener.accept().map(|(stream, peer)| {
            let (peer, how) = (peer.to_string(), How::Plain);
            Arrived { socket: Socket::Tcp(stream), peer, how }
        }),
        Listener::Tls(listener, tls) => listener.accept().map(|(stream, peer)| {
            let (peer, how) = (peer.to_string(), How::Tls(tls.clone()));
            Arrived { socket: Socket::Tcp(stream), peer, how }
        }),
    };
    match accepted {
        Ok(arrived) => Ok(Some(arrived)),
        Err(error) if is_passing(&error) => {
            tracing::debug!(%error, "no connection");
            // Where there are no descriptors left, the next try must not come at once.
            if !matches!(error.kind(), io::ErrorKind::WouldBlock) {
                thread::sleep(Duration::from_millis(50));
            }
            Ok(None)
        }
        Err(error) => Err(Error::failed("accepting a connection", error)),
    }
}

/// Whether the next connection may be accepted although this one was not.
fn is_passing(error: &io::Error) -> bool {
    let passing = [
        Errno::ECONNABORTED,
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::ENOBUFS,
        Errno::ENOMEM,
        Errno::EPROTO,
        Errno::EPERM,
    ];
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
        || error.raw_os_error().is_some_and(|raw| passing.contains(&Errno::from_raw(raw)))
}

/// Finds out who it is, and speaks with them.
fn introduce(arrived: Arrived, shared: &Shared) {
    let Arrived { socket, peer, how } = arrived;
    let introduced = match how {
        How::User(user) => plain(socket).map(|transport| (transport, Identity::User(user))),
        How::Plain => plain(socket).map(|transport| (transport, Identity::Loopback)),
        How::Tls(tls) => tls.accept(socket, INTRODUCTION),
    };
    match introduced {
        Ok((transport, identity)) => {
            let peer = format!("{identity} at {peer}");
            speak(Link::new(peer, transport), &identity, shared);
        }
        Err(error) => tracing::warn!(peer, error = error.chain(), "a connection is refused"),
    }
}

fn plain(socket: Socket) -> Result<Transport> {
    Transport::plain(socket).map_err(|cause| Error::failed("taking up a connection", cause))
}
