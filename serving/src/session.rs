//! The session protocol, version 1; docs/format/session-v1.md is its authority.
//!
//! [`frame`] has the byte tables and [`message`] the bodies in JSON, both pure; a [`link`] sends
//! and receives frames over a transport. Who says what when is up to [`receive`](crate::receive)
//! and [`send`](crate::send).

pub mod frame;
pub mod link;
pub mod message;

/// The version of the protocol that is spoken.
pub const VERSION: u32 = 1;
