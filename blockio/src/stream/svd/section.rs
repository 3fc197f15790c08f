//! The sections of an svd stream, in the byte order of their writer. The order in which they may
//! come is not here.

use crate::little_endian::array;
use crate::stream::svd::{WORD_BIG, WORD_LITTLE};
use crate::stream::{Malformed, Problem};

/// A tag, a count and flags: the prefix of every section, in bytes.
pub(super) const PREFIX_BYTES: usize = 12;
/// A checksum and seven GUIDs, which the driver leaves zero.
pub(super) const HEADER_BYTES: usize = 128;
/// A sequence number and a time, with a header of their own.
pub(super) const STAMP_BYTES: usize = 20;
/// The total length of all records.
pub(super) const TOTAL_BYTES: usize = 8;
/// A record without its prefix and its data.
pub(super) const RECORD_BYTES: usize = 20;

/// The byte order of the machine that wrote a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// The order given by a stream's first word.
    pub(super) fn of(word: &[u8]) -> Option<Self> {
        match word {
            word if word == WORD_LITTLE => Some(Self::Little),
            word if word == WORD_BIG => Some(Self::Big),
            _ => None,
        }
    }
}

/// The bytes that were wanted, and where they begin in the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct SectionBytes<'a> {
    pub(super) order: Order,
    pub(super) start: u64,
    pub(super) bytes: &'a [u8],
}

impl SectionBytes<'_> {
    pub(super) fn u16(&self, at: usize) -> u16 {
        match self.order {
            Order::Little => u16::from_le_bytes(array(self.bytes, at)),
            Order::Big => u16::from_be_bytes(array(self.bytes, at)),
        }
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        match self.order {
            Order::Little => u32::from_le_bytes(array(self.bytes, at)),
            Order::Big => u32::from_be_bytes(array(self.bytes, at)),
        }
    }

    pub(super) fn u64(&self, at: usize) -> u64 {
        match self.order {
            Order::Little => u64::from_le_bytes(array(self.bytes, at)),
            Order::Big => u64::from_be_bytes(array(self.bytes, at)),
        }
    }

    /// A tag's four characters, in the order in which they are read.
    fn tag(&self) -> [u8; 4] {
        let mut tag: [u8; 4] = array(self.bytes, 0);
        if self.order == Order::Big {
            tag.reverse();
        }
        tag
    }

    /// Refuses the field at `at` unless `found` has the required value.
    pub(super) fn must_be(
        &self,
        at: usize,
        what: &'static str,
        found: impl Into<u64>,
        expected: u64,
    ) -> Result<(), Malformed> {
        match found.into() {
            found if found == expected => Ok(()),
            found => Err(self.wrong(at, Problem::Unexpected { what, found, expected })),
        }
    }

    /// `problem` at the field at `at`.
    pub(super) fn wrong(&self, at: usize, problem: Problem) -> Malformed {
        Malformed::new(self.start + at as u64, problem)
    }
}

/// The kinds of section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A stream's first word, which has no prefix: another stream begins.
    Stream,
    /// SVD1.
    Header,
    /// TFV2.
    First,
    /// LODC.
    Total,
    /// DDV2.
    Record,
    /// USER.
    Mark,
    /// TLV2.
    Last,
}

impl Kind {
    fn of(tag: [u8; 4]) -> Option<Self> {
        Some(match &tag {
            b"SVD1" => Self::Header,
            b"TFV2" => Self::First,
            b"LODC" => Self::Total,
            b"DDV2" => Self::Record,
            b"USER" => Self::Mark,
            b"TLV2" => Self::Last,
            _ => return None,
        })
    }

    /// Its tag, as it is documented.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stream => "DRTL",
            Self::Header => "SVD1",
            Self::First => "TFV2",
            Self::Total => "LODC",
            Self::Record => "DDV2",
            Self::Mark => "USER",
            Self::Last => "TLV2",
        }
    }
}

/// The prefix of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) kind: Kind,
    pub(super) count: u32,
    pub(super) flags: u32,
}

impl Prefix {
    /// The offsets of the count and the flags in it.
    pub(super) const COUNT_AT: usize = 4;
    pub(super) const FLAGS_AT: usize = 8;

    pub(super) fn read(fields: SectionBytes<'_>) -> Result<Self, Malformed> {
        let tag = fields.tag();
        // The first word is not swapped as tags are: a big-endian writer writes another one.
        let stream = Order::of(&fields.bytes[..tag.len()]).map(|_| Kind::Stream);
        let Some(kind) = stream.or_else(|| Kind::of(tag)) else {
            let text = tag.escape_ascii().to_string();
            return Err(fields.wrong(0, Problem::UnknownRecord(text)));
        };
        let (count, flags) = (fields.u32(Self::COUNT_AT), fields.u32(Self::FLAGS_AT));
        Ok(Self { kind, count, flags })
    }
}

/// When a write was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) sequence: u64,
    /// In units of 100 ns since 1970-01-01 UTC.
    pub(super) time: u64,
}

impl Stamp {
    /// The offsets of the sequence number and the time in a stamp's section.
    pub(super) const SEQUENCE_AT: usize = 4;
    pub(super) const TIME_AT: usize = 12;

    pub(super) fn read(fields: SectionBytes<'_>) -> Result<Self, Malformed> {
        fields.must_be(0, "the timestamp's type", fields.u16(0), 3)?;
        fields.must_be(2, "the timestamp's flags", fields.bytes[2], 0)?;
        fields.must_be(3, "the timestamp's length", fields.bytes[3], 24)?;
        let (sequence, time) = (fields.u64(Self::SEQUENCE_AT), fields.u64(Self::TIME_AT));
        Ok(Self { sequence, time })
    }
}

/// How much later than its stream's first write a write was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Deltas {
    pub(super) sequence: u32,
    pub(super) time: u32,
}

/// A record's description of its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) length: u32,
    pub(super) offset: u64,
    pub(super) deltas: Deltas,
}

impl Record {
    /// The offsets of the deltas in it.
    pub(super) const SEQUENCE_AT: usize = 12;
    pub(super) const TIME_AT: usize = 16;

    pub(super) fn read(fields: SectionBytes<'_>) -> Self {
        let deltas =
            Deltas { sequence: fields.u32(Self::SEQUENCE_AT), time: fields.u32(Self::TIME_AT) };
        Self { length: fields.u32(0), offset: fields.u64(4), deltas }
    }

    /// Its length in the stream, including its prefix and its data.
    pub(super) fn bytes(&self) -> u64 {
        (PREFIX_BYTES + RECORD_BYTES) as u64 + u64::from(self.length)
    }
}
