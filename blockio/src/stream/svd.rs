//! The change stream of the public ASR Linux disk filter driver ("svd"): read, never written.
//!
//! What is read and what is refused: docs/format/svd.md. Whether a record lies on the disk is not
//! decided here, because the stream does not say how large the disk is.

mod decoder;
pub mod directory;
mod section;
#[cfg(test)]
pub(crate) mod tests;

pub use decoder::Decoder;
pub(in crate::stream) use decoder::stamp;

/// The first bytes of a stream written on a little-endian machine.
pub(crate) const WORD_LITTLE: [u8; 4] = *b"DRTL";
/// The first bytes of a stream written on a big-endian machine.
pub(crate) const WORD_BIG: [u8; 4] = *b"BTRD";

/// The longest mark, in bytes.
pub const MARK_BYTES_MAX: u64 = 256;
/// The most marks of one stream: they are held back until its end is seen.
pub const MARKS_MAX: usize = 16_384;
