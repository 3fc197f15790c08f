//! What can be wrong with a stream: one list for all formats, each with the offset in the stream.

use crate::extent::ExtentError;
use crate::stream::Name;

/// A stream that violates its format, with the position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset} of the stream: {problem}")]
pub struct Malformed {
    /// Where the wrong record or field begins, in bytes from the beginning of the stream.
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
    #[error("the input ends here, but the image should have {size} bytes")]
    TooShort {
        /// The size that was given, in bytes.
        size: u64,
    },
    /// Bytes follow the end.
    #[error("bytes follow the end of the stream")]
    TrailingBytes,
    /// The first bytes are not those of the format.
    #[error("this is not a stream of the format {0}")]
    WrongFormat(&'static str),
    /// An unknown version.
    #[error("version {0} of the format is unknown")]
    UnknownVersion(u32),
    /// An invalid range: empty, or past the 64-bit range.
    #[error(transparent)]
    Range(#[from] ExtentError),
    /// A range past the size that the stream itself states.
    #[error("a range up to byte {end} of a volume of {size} bytes")]
    PastEnd {
        /// The first byte after the range.
        end: u64,
        /// The size of the volume.
        size: u64,
    },
    /// A record of an unknown kind that must not be skipped.
    #[error("a record of unknown kind {0}")]
    UnknownRecord(String),
    /// A record where it is not allowed: too late, or too early.
    #[error("a record {0} where none is allowed")]
    Misplaced(&'static str),
    /// A second record of a kind that is allowed only once.
    #[error("a second record {0}")]
    Repeated(&'static str),
    /// A required record is missing.
    #[error("no record {0}")]
    Missing(&'static str),
    /// Something empty that must not be.
    #[error("an empty {0}")]
    Empty(&'static str),
    /// Changes that do not begin where the previous ones ended.
    #[error("changes from {}, but those before end at {}", or_none(.found), or_none(.expected))]
    Chain {
        /// The snapshot that they begin at.
        found: Option<Name>,
        /// The snapshot that the previous ones end at.
        expected: Option<Name>,
    },
    /// A number larger than accepted.
    #[error("{what} of {found}, but at most {limit} are accepted")]
    TooLarge {
        /// What it counts.
        what: &'static str,
        /// The number found.
        found: u64,
        /// The largest accepted.
        limit: u64,
    },
    /// A number with a wrong value.
    #[error("{what} is {found}, but must be {expected}")]
    Unexpected {
        /// The field.
        what: &'static str,
        /// The value found.
        found: u64,
        /// The value required.
        expected: u64,
    },
    /// A number that is less than the previous one, and must not be.
    #[error("{what} is {found}, less than the {before} before it")]
    Decreasing {
        /// The field.
        what: &'static str,
        /// The value found.
        found: u64,
        /// The value in the previous record.
        before: u64,
    },
    /// A checksum does not match its bytes.
    #[error("the checksum of {what} is {found:08x}, but the stream says {expected:08x}")]
    Checksum {
        /// What it covers.
        what: &'static str,
        /// The checksum of the bytes.
        found: u32,
        /// The checksum in the stream.
        expected: u32,
    },
    /// Compressed bytes do not unpack as stated.
    #[error("the payload cannot be decompressed: {0}")]
    Compression(String),
}

fn or_none(name: &Option<Name>) -> String {
    name.as_ref().map_or_else(|| "no snapshot".to_owned(), |name| format!("{name:?}"))
}
