//! What can be wrong with a stream: one list for all formats, each with the offset in the stream.

use crate::extent::ExtentError;
use crate::stream::Name;

/// A stream is not what its format says, at a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset} of the stream: {problem}")]
pub struct Malformed {
    /// Where the record, or the field, begins that is wrong; bytes from the stream's beginning.
    pub offset: u64,
    /// What is wrong with it.
    pub problem: Problem,
}

impl Malformed {
    /// `problem` at `offset`.
    #[must_use]
    pub fn new(offset: u64, problem: Problem) -> Self {
        Self { offset, problem }
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It ends before its end record.
    #[error("the input ends before the stream's end record")]
    Truncated,
    /// A raw image ends before the size that was given for it.
    #[error("the input ends here, and the image was said to have {size} bytes")]
    TooShort {
        /// The size that was given, in bytes.
        size: u64,
    },
    /// Something follows the end.
    #[error("bytes follow the end of the stream")]
    TrailingBytes,
    /// The first bytes are not those of the format.
    #[error("this is no {0} stream")]
    WrongFormat(&'static str),
    /// A version that we do not know.
    #[error("version {0} of the format is not known")]
    UnknownVersion(u32),
    /// A range that is none: empty, or past the 64-bit range.
    #[error(transparent)]
    Range(#[from] ExtentError),
    /// A range past the size that the stream itself gives.
    #[error("a range up to byte {end} of a volume of {size} bytes")]
    PastEnd {
        /// The first byte after the range.
        end: u64,
        /// The size of the volume.
        size: u64,
    },
    /// A record of a kind that we do not know and may not skip.
    #[error("a record of unknown kind {0}")]
    UnknownRecord(String),
    /// A record where it may not be: late, early.
    #[error("a record {0} where none may be")]
    Misplaced(&'static str),
    /// A record that may be there once, twice.
    #[error("a second record {0}")]
    Repeated(&'static str),
    /// A record that must be there and is not.
    #[error("no record {0}")]
    Missing(&'static str),
    /// Something of no length that must have some.
    #[error("an empty {0}")]
    Empty(&'static str),
    /// Changes that do not begin where the ones before them ended.
    #[error("changes from {}, and those before end at {}", or_none(.found), or_none(.expected))]
    Chain {
        /// The snapshot that they begin at.
        found: Option<Name>,
        /// The snapshot that the ones before them end at.
        expected: Option<Name>,
    },
    /// A number larger than we accept.
    #[error("{what} of {found}, more than the {limit} that are accepted")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The number found.
        found: u64,
        /// The largest accepted.
        limit: u64,
    },
    /// A number that is not what it must be.
    #[error("{what} is {found}, and must be {expected}")]
    Unexpected {
        /// Which field.
        what: &'static str,
        /// What is there.
        found: u64,
        /// What must be there.
        expected: u64,
    },
    /// A number that is less than the one before it, and may not be.
    #[error("{what} is {found}, less than the {before} before it")]
    Decreasing {
        /// Which field.
        what: &'static str,
        /// What is there.
        found: u64,
        /// What the record before has.
        before: u64,
    },
    /// A checksum is not that of its bytes.
    #[error("the checksum of {what} is {found:08x}, and the stream says {expected:08x}")]
    Checksum {
        /// Of what.
        what: &'static str,
        /// What the bytes have.
        found: u32,
        /// What the stream says.
        expected: u32,
    },
    /// Compressed bytes do not unpack to what was promised.
    #[error("the compressed payload does not unpack: {0}")]
    Compression(String),
}

fn or_none(name: &Option<Name>) -> String {
    name.as_ref().map_or_else(|| "no snapshot".to_owned(), |name| format!("{name:?}"))
}
