//! Ceph's rbd diff, v1 and v2, alone and inside an rbd export of format 2: read and written.
//!
//! What is read, what is refused although rbd accepts it, and why: docs/format/rbd-diff.md. Whether
//! a diff fits the content of the target (its `from`, its size) is not decided here.

mod container;
mod decoder;
mod encoder;
mod record;
#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use record::Version;

/// The longest record of an unknown or irrelevant kind, in bytes. Such a record is skipped; a
/// longer one is refused, because such a length is a sign of damage.
pub const SKIPPED_RECORD_BYTES_MAX: u64 = 4 << 20;
