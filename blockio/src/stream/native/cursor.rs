//! A place between two records of a stream, and all that a decoder must know to go on there.

use crate::stream::Totals;
use crate::stream::content::Chain;

/// The end of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// How many bytes of the stream are before it.
    pub position: u64,
    /// The sequence number of the record that follows.
    pub sequence: u64,
    /// The totals of the records before it.
    pub totals: Totals,
    /// Their chain.
    pub chain: Chain,
}
