//! Serves disks to NBD clients (qemu, nbdcopy, the kernel's nbd) as they were at a recovery point:
//! read-only, or with a layer above them that takes writes and is thrown away.
//!
//! The protocol is NetworkBlockDevice's doc/proto.md: fixed newstyle, structured replies,
//! `base:allocation`. Data flows one way: [`protocol`] parses and builds messages, `handshake` and
//! `connection` speak them over a `wire`, [`server`] listens, [`export`] is what is served. Which
//! disk and which point are served is decided elsewhere. There is no TLS: a unix socket is guarded
//! by its file mode, a TCP address by the operator who chooses it. What clients can make a server
//! hold is bounded: `budget` limits the memory of requests and `seats` the number of clients; the
//! `pace` of each client decides which one has to leave.

mod budget;
mod connection;
pub mod export;
mod handshake;
mod pace;
pub mod protocol;
pub mod scratch;
mod seats;
pub mod server;
mod wire;

pub use export::Export;
pub use scratch::Scratch;
pub use server::{Listen, Server};

#[cfg(test)]
mod tests;
