//! Our own change stream, version 1; docs/format/change-stream-v1.md is its authority.
//!
//! [`layout`] has the byte tables, `body` what the kinds of record hold, [`Decoder`] the order of
//! records, and [`Encoder`] writes. The payload's checksum is handed on, not checked: that is
//! `verify`'s.

mod body;
pub mod compression;
mod decoder;
mod encoder;
pub mod layout;
#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use encoder::{Encoder, Options};

/// The first bytes of every stream of this format.
pub const MAGIC: [u8; 8] = layout::STREAM_MAGIC;
