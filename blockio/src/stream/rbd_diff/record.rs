//! The records of an rbd diff: banners, tags, and the numbers in them. No order, no state.

use crate::stream::rbd_diff::SKIPPED_RECORD_BYTES_MAX;
use crate::stream::{Malformed, Problem};

/// The version of an rbd diff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Written by `rbd export-diff`.
    V1,
    /// Every record states its length; rbd writes it only inside an export of format 2.
    V2,
}

/// The length of a diff's banner, in bytes.
pub(super) const BANNER_BYTES: usize = 12;
/// Skipped bytes are taken in pieces of this size.
const SKIP_BYTES: usize = 64 << 10;

impl Version {
    /// The bytes that a diff begins with.
    pub(super) const fn banner(self) -> &'static [u8; BANNER_BYTES] {
        match self {
            Self::V1 => b"rbd diff v1\n",
            Self::V2 => b"rbd diff v2\n",
        }
    }

    /// The version with the banner `bytes`.
    pub(super) fn from_banner(bytes: &[u8]) -> Option<Self> {
        [Self::V1, Self::V2].into_iter().find(|version| version.banner() == bytes)
    }
}

/// A record's kind, given by its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    From,
    To,
    /// Whether the snapshot was protected from deletion; v2 only.
    Protection,
    Size,
    Write,
    Zero,
    End,
    Unknown(u8),
}

impl Kind {
    pub(super) fn of(tag: u8, version: Version) -> Self {
        match tag {
            b'f' => Self::From,
            b't' => Self::To,
            b'p' if version == Version::V2 => Self::Protection,
            b's' => Self::Size,
            b'w' => Self::Write,
            b'z' => Self::Zero,
            b'e' => Self::End,
            other => Self::Unknown(other),
        }
    }

    /// How many bytes after the tag are fixed for records of this kind, including the length in v2.
    pub(super) fn head_bytes(self, version: Version) -> usize {
        let length_bytes = if version == Version::V2 { 8 } else { 0 };
        length_bytes
            + match self {
                Self::From | Self::To => 4,
                Self::Protection => 1,
                Self::Size => 8,
                Self::Write | Self::Zero => 16,
                Self::End | Self::Unknown(_) => 0,
            }
    }
}

/// The rest of a record to skip; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skip(u64);

impl Skip {
    /// Skips `length` bytes of the record at `offset`; `None` if there is nothing to skip.
    pub(super) fn new(offset: u64, length: u64) -> Result<Option<Self>, Malformed> {
        if length > SKIPPED_RECORD_BYTES_MAX {
            let (what, limit) = ("a skipped record", SKIPPED_RECORD_BYTES_MAX);
            let problem = Problem::TooLarge { what, found: length, limit };
            return Err(Malformed::new(offset, problem));
        }
        Ok((length > 0).then_some(Self(length)))
    }

    /// How many bytes to take next.
    pub(super) fn want(self) -> usize {
        usize::try_from(self.0).map_or(SKIP_BYTES, |left| left.min(SKIP_BYTES))
    }

    /// What remains after `taken` bytes.
    pub(super) fn after(self, taken: usize) -> Option<Self> {
        let left = self.0.saturating_sub(taken as u64);
        (left > 0).then_some(Self(left))
    }
}
