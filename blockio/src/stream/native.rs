//! The native change stream, version 1; docs/format/change-stream-v1.md is its authority.
//!
//! [`layout`] has the byte tables, `body` the contents of each kind of record, [`Decoder`] the
//! order of records, and [`Encoder`] writes; a [`Cursor`] is a place between two
//! records. The payload's checksum is passed on, not checked: that is up to `verify`.

mod body;
pub mod compression;
mod cursor;
mod decoder;
mod encoder;
pub mod layout;
#[cfg(test)]
mod tests;

pub use cursor::Cursor;
pub use decoder::Decoder;
pub use encoder::{Encoder, EncoderOptions};

/// The first bytes of every stream of this format.
pub const MAGIC: [u8; 8] = layout::STREAM_MAGIC;
