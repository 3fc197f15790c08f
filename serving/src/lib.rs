//! The daemon that receives changes over connections that break, and the sender that brings them.
//!
//! ```text
//! send/      supply ─> session ─┐            what is not durable is kept, and sent again
//!                               │ transport  a Unix socket, TLS 1.3, or TCP on this host
//! receive/   listener ─> session ─> holder   one thread a group: a connection is a Source
//! ```
//!
//! The bytes of a session: docs/format/session-v1.md. What becomes durable, and when it may be
//! told, is decided in `blockio`; nothing here writes to a disk.

pub mod certificates;
pub mod identity;
pub mod receive;
pub mod send;
pub mod session;
pub mod tls;
pub mod transport;

pub use system::{Error, ErrorKind, Result};
