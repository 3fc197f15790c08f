//! Serves disks to NBD clients (qemu, nbdcopy, the kernel's nbd): as they were at a recovery point,
//! read-only, or with a layer above them that takes writes and is thrown away.
//!
//! The protocol is NetworkBlockDevice's doc/proto.md: fixed newstyle, structured replies,
//! `base:allocation`. Data flows one way: [`protocol`] takes bytes apart and makes them,
//! `handshake` and `connection` speak it over a `wire`, [`server`] listens, [`export`] is what is
//! served. Which disk and which point of it that is, is decided elsewhere. There is no TLS: a unix
//! socket is guarded by its file mode, a TCP address by whoever chooses it. What clients can make a
//! server hold is bounded: `budget` counts the memory of requests, `seats` the clients, of whom the
//! `pace` of each tells who gives way.

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
