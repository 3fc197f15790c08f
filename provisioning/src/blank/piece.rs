//! One place of a disk to read, and the sizes by which places are chosen.

use std::ops::Range;

/// How much of a disk's beginning and end is read, in bytes each.
pub const END_BYTES: u64 = 16 << 20;
/// One sample, in bytes: a block of the usual filesystems.
pub const SAMPLE_BYTES: u64 = 4096;

/// One place to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of the disk, in whole sectors.
    pub range: Range<u64>,
    /// What is usually kept there.
    pub what: &'static str,
}
