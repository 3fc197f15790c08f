//! The byte layout of a record: docs/format/change-stream-v1.md as constants, and the part that all
//! records share. The meaning of a record is not here.
//!
//! Public for tools that make streams byte by byte, such as fuzz targets.

use crate::little_endian::{array, u16_at, u32_at, u64_at};
use crate::stream::placement::ALIGNMENT;
use crate::stream::{BATCH_BYTES_MAX, Malformed, Problem, WANT_BYTES_MAX};

/// The first bytes of a stream. They are not text, and are changed by any text conversion: the high
/// bit, a DOS line end, a DOS end of file.
pub(crate) const STREAM_MAGIC: [u8; 8] = *b"\x89MTS\r\n\x1a\n";
/// The first bytes of every other record.
pub(crate) const RECORD_MAGIC: [u8; 8] = *b"MTrecord";
/// The version that is written, and the only one accepted.
pub const VERSION: u32 = 1;

/// The length of every record is a multiple of this, in bytes.
pub const PAGE_BYTES: usize = ALIGNMENT;
/// The length of the part that all records share; the body follows.
pub const SHARED_BYTES: usize = 64;
/// The longest header: shared part, body and padding.
pub(crate) const HEADER_BYTES_MAX: usize = WANT_BYTES_MAX;
/// The longest body.
pub(crate) const BODY_BYTES_MAX: usize = HEADER_BYTES_MAX - SHARED_BYTES;

/// Offset of the kind, u16.
pub const KIND_AT: usize = 8;
/// Offset of the flags, u16.
pub(crate) const FLAGS_AT: usize = 10;
/// Offset of the CRC32C of the header, u32.
pub(crate) const HEADER_CHECKSUM_AT: usize = 12;
/// Offset of the sequence number, u64.
pub const SEQUENCE_AT: usize = 16;
/// Offset of the stream's tag: the first 8 bytes of its identity.
pub const TAG_AT: usize = 24;
/// Offset of the body's length, u32.
pub const BODY_BYTES_AT: usize = 32;
/// Offset of the payload's length in the stream, u32.
pub const STORED_BYTES_AT: usize = 36;
/// Offset of the payload's length unpacked, u32.
pub const PAYLOAD_BYTES_AT: usize = 40;
/// Offset of the CRC32C of the unpacked payload, u32.
pub const PAYLOAD_CHECKSUM_AT: usize = 44;
/// Offset of the compression method, u16.
pub const COMPRESSION_AT: usize = 48;
/// Offset of the reserved bytes, which must be zero, up to the body.
pub(crate) const RESERVED_AT: usize = 50;

/// Flag: a reader that does not know the kind of this record must stop.
pub(crate) const FLAG_CRITICAL: u16 = 1;

/// Flag of the stream's header: its batches are not in the order of the source's writes. A reader
/// that does not know the flag must not take what is between two marks for a state of the source,
/// and refuses it.
pub(crate) const FLAG_UNORDERED: u16 = 2;

/// Kind: the stream's header.
pub(crate) const KIND_STREAM: u16 = 1;
/// Kind: a batch.
pub(crate) const KIND_BATCH: u16 = 2;
/// Kind: a mark.
pub(crate) const KIND_MARK: u16 = 3;
/// Kind: the end.
pub(crate) const KIND_END: u16 = 4;

/// For comparison with padding.
const ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// The first 8 bytes of a stream's identity, which all its records carry.
pub(crate) type Tag = [u8; 8];

/// The part that all records share, except for the checksum of the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shared {
    pub(crate) magic: [u8; 8],
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u64,
    pub(crate) tag: Tag,
    pub(crate) body_bytes: u32,
    pub(crate) stored_bytes: u32,
    pub(crate) payload_bytes: u32,
    pub(crate) payload_checksum: u32,
    pub(crate) compression: u16,
}

impl Shared {
    /// Reads it from the first page of a record, without checks.
    pub(crate) fn read(page: &[u8]) -> Self {
        Self {
            magic: array(page, 0),
            kind: u16_at(page, KIND_AT),
            flags: u16_at(page, FLAGS_AT),
            sequence: u64_at(page, SEQUENCE_AT),
            tag: array(page, TAG_AT),
            body_bytes: u32_at(page, BODY_BYTES_AT),
            stored_bytes: u32_at(page, STORED_BYTES_AT),
            payload_bytes: u32_at(page, PAYLOAD_BYTES_AT),
            payload_checksum: u32_at(page, PAYLOAD_CHECKSUM_AT),
            compression: u16_at(page, COMPRESSION_AT),
        }
    }

    /// Makes `header` the header with `body` (of `body_bytes`), padded, with its checksum.
    pub(crate) fn write(mut self, body: &[u8], header: &mut Vec<u8>) {
        debug_assert!(body.len() <= BODY_BYTES_MAX);
        self.body_bytes = body.len() as u32;
        header.clear();
        header.extend(self.magic);
        header.extend(self.kind.to_le_bytes());
        header.extend(self.flags.to_le_bytes());
        header.extend([0; 4]);
        header.extend(self.sequence.to_le_bytes());
        header.extend(self.tag);
        header.extend(self.body_bytes.to_le_bytes());
        header.extend(self.stored_bytes.to_le_bytes());
        header.extend(self.payload_bytes.to_le_bytes());
        header.extend(self.payload_checksum.to_le_bytes());
        header.extend(self.compression.to_le_bytes());
        header.resize(SHARED_BYTES, 0);
        header.extend(body);
        header.resize(padded(header.len()), 0);
        seal(header);
    }

    /// The length of the whole header.
    pub(crate) fn header_bytes(&self) -> usize {
        padded(SHARED_BYTES + self.body_bytes as usize)
    }

    /// Refuses lengths that no record may have, before they are used.
    pub(crate) fn check_lengths(&self, at: u64) -> Result<(), Malformed> {
        let limits = [
            ("the length of a record's body", BODY_BYTES_AT, self.body_bytes, BODY_BYTES_MAX),
            ("the length of a payload", STORED_BYTES_AT, self.stored_bytes, BATCH_BYTES_MAX),
            ("the length of a payload", PAYLOAD_BYTES_AT, self.payload_bytes, BATCH_BYTES_MAX),
        ];
        for (what, field, found, limit) in limits {
            if found as usize > limit {
                let (found, limit) = (u64::from(found), limit as u64);
                let problem = Problem::TooLarge { what, found, limit };
                return Err(Malformed::new(at + field as u64, problem));
            }
        }
        Ok(())
    }
}

/// `length` rounded up to a multiple of a page.
#[must_use]
pub fn padded(length: usize) -> usize {
    length.next_multiple_of(PAGE_BYTES)
}

/// The checksum of `header`, computed as if the checksum field were zero.
///
/// # Panics
///
/// If `header` is shorter than [`SHARED_BYTES`].
#[must_use]
pub(crate) fn header_checksum(header: &[u8]) -> u32 {
    let before = crc32c::crc32c(&header[..HEADER_CHECKSUM_AT]);
    let without = crc32c::crc32c_append(before, &[0; 4]);
    crc32c::crc32c_append(without, &header[HEADER_CHECKSUM_AT + 4..])
}

/// Puts the right checksum into `header`.
///
/// # Panics
///
/// If `header` is shorter than [`SHARED_BYTES`].
pub fn seal(header: &mut [u8]) {
    let checksum = header_checksum(header).to_le_bytes();
    header[HEADER_CHECKSUM_AT..HEADER_CHECKSUM_AT + 4].copy_from_slice(&checksum);
}

/// Refuses a field with a wrong value.
pub(crate) fn expect(
    at: u64,
    what: &'static str,
    found: impl Into<u64>,
    expected: impl Into<u64>,
) -> Result<(), Malformed> {
    let (found, expected) = (found.into(), expected.into());
    if found == expected {
        return Ok(());
    }
    Err(Malformed::new(at, Problem::Unexpected { what, found, expected }))
}

/// Refuses bytes that are not all zero, at the first that is not; `at` is where they begin.
pub(crate) fn expect_zeros(at: u64, what: &'static str, bytes: &[u8]) -> Result<(), Malformed> {
    // They nearly always are: so first the check that compares a word at a time.
    if bytes.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()]) {
        return Ok(());
    }
    match bytes.iter().position(|byte| *byte != 0) {
        None => Ok(()),
        Some(index) => expect(at + index as u64, what, bytes[index], 0_u8),
    }
}
