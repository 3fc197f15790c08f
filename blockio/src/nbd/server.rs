//! Listens on a unix socket or a TCP address and gives each client a thread. The conversation with
//! a client is up to `connection`.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::nbd::budget::{BUDGET_BYTES, Budget};
use crate::nbd::connection;
use crate::nbd::export::Export;
use crate::nbd::protocol::STRING_BYTES_MAX;
use crate::nbd::seats::{CONNECTIONS_MAX, Seats};
use crate::nbd::wire::{Patience, STOP_POLL_MS, Socket, Wire};
use crate::{Error, ErrorKind, Result};

/// The longest path of a socket that the kernel accepts (`sun_path`, with a terminating zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// How much of a reply a Unix socket takes at once, in bytes: with a reply of the usual 256 KiB in
/// it, the server reads the next one while the client takes this one.
const SENDING_BYTES: usize = 512 << 10;
/// How often to check that the served points are still kept.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A unix socket at this path, only for the user who starts the server.
    Unix(PathBuf),
    /// A TCP address, for anybody who reaches it; port 0 is any free port.
    Tcp(SocketAddr),
}

/// All but what RFC 3986 calls unreserved.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same, where slashes divide.
const OF_A_PATH: &AsciiSet = &UNRESERVED.remove(b'/');

impl Listen {
    /// The URI of the export `name`, as in the NBD URI specification; the empty name means the only
    /// export.
    #[must_use]
    pub fn uri(&self, name: &str) -> String {
        let name = percent_encode(name.as_bytes(), UNRESERVED);
        match self {
            Self::Unix(path) => {
                let path = percent_encode(path.as_os_str().as_encoded_bytes(), OF_A_PATH);
                format!("nbd+unix:///{name}?socket={path}")
            }
            Self::Tcp(address) => format!("nbd://{address}/{name}"),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// A listening server, with its exports.
pub struct Server {
    listener: Listener,
    address: Listen,
    exports: Vec<Export>,
    pub(super) patience: Patience,
    pub(super) budget: Budget,
}

enum Listener {
    Unix(UnixListener, SocketFile),
    Tcp(TcpListener),
}

/// The file of a unix socket: removed with the server, if it still belongs to it.
struct SocketFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

impl Server {
    /// Listens at `address`: clients can connect from now on, and are served by
    /// [`serve`](Self::serve). A socket file without a listener is replaced. If another server
    /// starts at the same moment, it may replace the file again, and then gets the clients.
    ///
    /// # Errors
    ///
    /// `Usage`: no export, two of the same name, or a name or a path that is too long. `Refused`:
    /// somebody listens there, or the file is not a socket. `Failed`: it is not possible to listen
    /// there.
    pub fn bind(address: Listen, exports: Vec<Export>) -> Result<Self> {
        check_names(&exports)?;
        let (listener, address) = match address {
            Listen::Unix(path) => {
                let (listener, file) = listen_unix(&path)?;
                (Listener::Unix(listener, file), Listen::Unix(path))
            }
            Listen::Tcp(address) => {
                let (listener, address) = listen_tcp(address)?;
                (Listener::Tcp(listener), Listen::Tcp(address))
            }
        };
        let (patience, budget) = (Patience::default(), Budget::new(BUDGET_BYTES));
        Ok(Self { listener, address, exports, patience, budget })
    }

    /// Where it listens, with the actual port.
    #[must_use]
    pub fn address(&self) -> &Listen {
        &self.address
    }

    /// Its exports.
    #[must_use]
    pub fn exports(&self) -> &[Export] {
        &self.exports
    }

    /// Serves clients until `stop` is set. Then requests that have begun are finished (a client
    /// that takes too long is cut off), connections are closed, and the socket file is removed.
    ///
    /// # Errors
    ///
    /// `Failed`: a served point is no longer kept, or clients can no longer be accepted; `stop` is
    /// set then. An error with one client ends only its own connection.
    pub fn serve(&self, stop: &AtomicBool) -> Result<()> {
        let seats = Seats::new(CONNECTIONS_MAX);
        let result = thread::scope(|scope| {
            let result = self.accept_until(stop, |socket, peer| {
                let Some(seat) = seats.take(Instant::now(), peer, self.patience.keeps) else {
                    tracing::debug!("turning away an NBD client: {CONNECTIONS_MAX} are served");
                    return;
                };
                let work = move || {
                    let mut wire = Wire::new(socket, stop, self.patience, seat.occupant());
                    let ended = connection::run(&mut wire, &self.exports, &self.budget);
                    tracing::debug!("an NBD connection ended: {ended}");
                };
                let thread = thread::Builder::new().name("nbd".to_owned());
                if let Err(error) = thread.spawn_scoped(scope, work) {
                    tracing::debug!(%error, "turning away an NBD client: no thread for it");
                }
            });
            // Before the last connections end: nobody should find a server that accepts no
            // more.
            self.listener.retire();
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            result
        });
        tracing::debug!(bytes = self.budget.held().most, "the most that requests held together");
        result
    }

    /// Requires that the served points are still kept: otherwise clients would get errors one by
    /// one, or none at all.
    fn require_kept(&self) -> Result<()> {
        match self.exports.iter().find_map(|export| export.view.gone()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn accept_until(
        &self,
        stop: &AtomicBool,
        mut serve: impl FnMut(Box<dyn Socket>, Option<IpAddr>),
    ) -> Result<()> {
        let mut looked = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            if looked.elapsed() >= LOOK_EVERY {
                self.require_kept()?;
                looked = Instant::now();
            }
            let mut descriptors = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
            match poll(&mut descriptors, PollTimeout::from(STOP_POLL_MS)) {
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => {}
                Err(error) => {
                    let context = format!("waiting for clients at {}", self.address);
                    return Err(Error::failed(context, io::Error::from(error)));
                }
            }
            match self.listener.accept() {
                Ok((socket, peer)) => serve(socket, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::debug!(%error, "accepting an NBD client failed");
                    // The cause may be a lack of descriptors: the client still waits, so do not
                    // spin.
                    let _ = poll(&mut [], PollTimeout::from(STOP_POLL_MS));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listener.retire();
    }
}

impl Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(listener, _) => listener.as_fd(),
            Self::Tcp(listener) => listener.as_fd(),
        }
    }

    /// A client, and its address if known.
    fn accept(&self) -> io::Result<(Box<dyn Socket>, Option<IpAddr>)> {
        match self {
            Self::Unix(listener, _) => {
                let (socket, _) = listener.accept()?;
                socket.set_nonblocking(true)?;
                // It only costs time if that is refused, as it is to all but root.
                let _ = setsockopt(&socket, sockopt::SndBufForce, &SENDING_BYTES);
                Ok((Box::new(socket), None))
            }
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept()?;
                socket.set_nonblocking(true)?;
                // Every reply is sent as a whole: delaying it to collect more would only cost time.
                socket.set_nodelay(true)?;
                Ok((Box::new(socket), Some(peer.ip())))
            }
        }
    }

    fn retire(&self) {
        match self {
            Self::Unix(_, file) => file.remove(),
            Self::Tcp(_) => {}
        }
    }
}

impl SocketFile {
    fn remove(&self) {
        let Ok(metadata) = fs::symlink_metadata(&self.path) else { return };
        if (metadata.dev(), metadata.ino()) != self.device_and_inode {
            // Another process replaced it and needs it.
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "leaving the socket file behind");
        }
    }
}

fn check_names(exports: &[Export]) -> Result<()> {
    let usage = |message: String| Err(Error::new(ErrorKind::Usage, message));
    if exports.is_empty() {
        return usage("serving disks over NBD: there is nothing to serve".to_owned());
    }
    for (index, export) in exports.iter().enumerate() {
        let name = &export.name;
        if name.is_empty() || name.len() > STRING_BYTES_MAX {
            return usage(format!(
                "serving {}: its name has {} bytes",
                export.view.shown(),
                name.len()
            ));
        }
        if exports[..index].iter().any(|other| other.name == *name) {
            return usage(format!("serving disks over NBD: two of them are named {name}"));
        }
    }
    Ok(())
}

fn listen_unix(path: &Path) -> Result<(UnixListener, SocketFile)> {
    let bytes = path.as_os_str().len();
    if bytes > SOCKET_PATH_BYTES_MAX {
        let context = format!(
            "listening at {}: it has {bytes} bytes, but the path of a socket has at most \
             {SOCKET_PATH_BYTES_MAX}",
            path.display()
        );
        return Err(Error::new(ErrorKind::Usage, context).with_hint("choose a shorter path"));
    }
    remove_stale(path)?;
    let listen = || {
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let metadata = fs::symlink_metadata(path)?;
        let device_and_inode = (metadata.dev(), metadata.ino());
        Ok((listener, SocketFile { path: path.to_owned(), device_and_inode }))
    };
    listen().map_err(|error: io::Error| failed_to_listen(path.display(), error))
}

fn failed_to_listen(place: impl fmt::Display, error: io::Error) -> Error {
    Error::failed(format!("listening at {place}"), error)
        .with_hint("choose another place for clients to connect to")
}

/// Removes a socket file that a killed server left behind.
fn remove_stale(path: &Path) -> Result<()> {
    let refused = |what: &str| {
        Err(Error::refused(format!("listening at {}: {what}", path.display()))
            .with_hint("choose another path, or stop whatever uses this one"))
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed_to_listen(path.display(), error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return refused("it exists, and is not a socket");
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| failed_to_listen(path.display(), error))
        }
        // Another error, such as a full queue or missing permissions, does not show that nobody
        // listens.
        Ok(_) | Err(_) => refused("another process listens there"),
    }
}

fn listen_tcp(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listen().map_err(|error| failed_to_listen(address, error))
}
