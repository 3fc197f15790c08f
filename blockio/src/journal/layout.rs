//! The bytes of the retention journal: headers of segments and records. Pure: reads slices, writes
//! vectors, touches no device. docs/format/retention-journal-v2.md is the authority.

use std::fmt;

use crate::extent::Extent;
use crate::little_endian::{u32_at, u64_at};
use crate::storage::SegmentNumber;
use crate::units::{ByteCount, ByteOffset};

/// Everything in a segment begins at a multiple of this, in bytes: any disk can write it directly.
pub const BLOCK_BYTES: usize = 4096;
/// The version of the format that is written. Version 1 can be read as well: its segments have no
/// generation.
pub const VERSION: u32 = 2;
/// The most entries of a record.
pub const ENTRIES_MAX: usize = 2048;
/// Records of the log are numbered below this, and records of copies (the result of compacting
/// merged epochs) from here on: a reader that follows the log never takes a copy for the next
/// record.
pub(crate) const COPIES_FROM: u64 = 1 << 62;
/// The longest record, in bytes, including its header.
pub const RECORD_BYTES_MAX: usize = 4 << 20;
/// The longest header of a record, in bytes.
pub(crate) const HEADER_BYTES_MAX: usize = padded(FIXED_BYTES + ENTRIES_MAX * ENTRY_BYTES);

const SEGMENT_MAGIC: [u8; 8] = *b"MTJSEGM\x01";
const RECORD_MAGIC: [u8; 8] = *b"MTJRECO\x01";
const FIXED_BYTES: usize = 64;
const ENTRY_BYTES: usize = 24;
const RECORD_CHECKSUM_AT: usize = 60;
const SEGMENT_USED_BYTES: usize = 80;
const SEGMENT_CHECKSUM_AT: usize = BLOCK_BYTES - 4;

/// A journal's identity: random, made when it begins.
pub type Identity = [u8; 16];

/// The first block of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The journal that it belongs to.
    pub journal: Identity,
    /// Its own number.
    pub number: SegmentNumber,
    /// The recovery point that its images lead back to.
    pub epoch: u64,
    /// The number of its first record.
    pub first_record: u64,
    /// Random, and different each time the journal is opened; repeated in every record of the
    /// segment.
    pub salt: u64,
    /// Its length, in bytes, when it was made.
    pub length_bytes: u64,
    /// The generation of the group's state when it was made: a state of a lower generation is older
    /// than this segment. 0 in segments of version 1, for which that is not known.
    pub generation: u64,
}

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// Before-images.
    Images,
    /// An epoch begins; the payload is JSON, as for the two kinds that follow (`journal::memo`).
    EpochBegins,
    /// A volume is new to the history.
    VolumeBegins,
    /// The end of a copy: everything that counts in the copied epochs precedes this record.
    CopyEnds,
}

impl RecordKind {
    /// Its number in a header.
    const ALL: [(Self, u32); 4] =
        [(Self::Images, 1), (Self::EpochBegins, 2), (Self::VolumeBegins, 3), (Self::CopyEnds, 4)];
}

/// The content of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Bytes in the payload, in the order of the entries, each padded to whole blocks.
    Data,
    /// Zeros, which take no room in the payload.
    Zeros,
}

/// One before-image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The number of the volume in the journal.
    pub volume: u32,
    /// The range of the volume: whole sectors, except at the end of an image file.
    pub extent: Extent,
    /// What it held.
    pub held: Held,
}

impl Entry {
    /// How many bytes of the payload it takes.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        let length = self.extent.length().get();
        match self.held {
            Held::Data => length.checked_next_multiple_of(BLOCK_BYTES as u64).unwrap_or(u64::MAX),
            Held::Zeros => 0,
        }
    }
}

/// The header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Its number: one more than that of the record before it.
    pub number: u64,
    /// The salt of its segment.
    pub salt: u64,
    /// The first half of the journal's identity.
    pub tag: [u8; 8],
    /// Its kind.
    pub kind: RecordKind,
    /// Its before-images; empty in records of another kind.
    pub entries: Vec<Entry>,
    /// The length of the payload, in bytes.
    pub payload_bytes: u32,
    /// The CRC32C of the payload.
    pub payload_checksum: u32,
    /// Every record before this number was durable when this one was written. 0 in records of
    /// version 1, for which that is not known.
    pub durable_before: u64,
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHeader {
    /// They do not begin with the magic.
    Magic,
    /// They have another version of the format.
    Version(u32),
    /// The checksum is wrong.
    Checksum,
    /// A field has an invalid value, though the checksum is right.
    Field(&'static str),
    /// The header is longer than the bytes given.
    Short,
}

impl fmt::Display for NoHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => write!(f, "it does not begin with a header"),
            Self::Version(version) => write!(f, "its version is {version}, not 1 to {VERSION}"),
            Self::Checksum => write!(f, "its checksum is wrong"),
            Self::Field(name) => write!(f, "its {name} is impossible"),
            Self::Short => write!(f, "it is truncated"),
        }
    }
}

/// `length` rounded up to whole blocks.
#[must_use]
pub const fn padded(length: usize) -> usize {
    length.next_multiple_of(BLOCK_BYTES)
}

/// The length of the header of a record with this many entries, in bytes.
#[must_use]
pub const fn header_bytes(entries: usize) -> usize {
    padded(FIXED_BYTES + entries * ENTRY_BYTES)
}

impl SegmentHeader {
    /// Writes it into the first block of `block`.
    ///
    /// # Panics
    ///
    /// Panics if `block` is shorter than [`BLOCK_BYTES`].
    pub fn write(&self, block: &mut [u8]) {
        let block = &mut block[..BLOCK_BYTES];
        block.fill(0);
        block[..8].copy_from_slice(&SEGMENT_MAGIC);
        block[8..12].copy_from_slice(&VERSION.to_le_bytes());
        block[16..32].copy_from_slice(&self.journal);
        put(block, 32, self.number.0);
        put(block, 40, self.epoch);
        put(block, 48, self.first_record);
        put(block, 56, self.salt);
        put(block, 64, self.length_bytes);
        put(block, 72, self.generation);
        let checksum = crc32c::crc32c(&block[..SEGMENT_CHECKSUM_AT]);
        block[SEGMENT_CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// Why the bytes are not a header.
    pub fn read(block: &[u8]) -> Result<Self, NoHeader> {
        let block = block.get(..BLOCK_BYTES).ok_or(NoHeader::Short)?;
        if block[..8] != SEGMENT_MAGIC {
            return Err(NoHeader::Magic);
        }
        if u32_at(block, SEGMENT_CHECKSUM_AT) != crc32c::crc32c(&block[..SEGMENT_CHECKSUM_AT]) {
            return Err(NoHeader::Checksum);
        }
        let version = u32_at(block, 8);
        if !(1..=VERSION).contains(&version) {
            return Err(NoHeader::Version(version));
        }
        let is_zero =
            |range: std::ops::Range<usize>| block[range.clone()] == [0; BLOCK_BYTES][range];
        let generation = u64_at(block, 72);
        let has_more = version == 1 && generation != 0;
        if has_more || !is_zero(12..16) || !is_zero(SEGMENT_USED_BYTES..SEGMENT_CHECKSUM_AT) {
            return Err(NoHeader::Field("reserved part"));
        }
        let mut journal = Identity::default();
        journal.copy_from_slice(&block[16..32]);
        Ok(Self {
            journal,
            number: SegmentNumber(u64_at(block, 32)),
            epoch: u64_at(block, 40),
            first_record: u64_at(block, 48),
            salt: u64_at(block, 56),
            length_bytes: u64_at(block, 64),
            generation,
        })
    }
}

impl RecordHeader {
    /// Its length, in bytes.
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        header_bytes(self.entries.len())
    }

    /// The length of the whole record, in bytes.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        self.header_bytes() + padded(self.payload_bytes as usize)
    }

    /// Writes it to the beginning of `place`.
    ///
    /// # Panics
    ///
    /// Panics if `place` is shorter than [`header_bytes`](Self::header_bytes).
    pub fn write(&self, place: &mut [u8]) {
        let place = &mut place[..self.header_bytes()];
        place.fill(0);
        place[..8].copy_from_slice(&RECORD_MAGIC);
        put(place, 8, self.number);
        put(place, 16, self.salt);
        place[24..32].copy_from_slice(&self.tag);
        let number = |(kind, number): (RecordKind, u32)| (kind == self.kind).then_some(number);
        let kind = RecordKind::ALL.into_iter().find_map(number).unwrap_or_default();
        place[32..36].copy_from_slice(&kind.to_le_bytes());
        // At most ENTRIES_MAX.
        place[36..40].copy_from_slice(&(self.entries.len() as u32).to_le_bytes());
        place[40..44].copy_from_slice(&self.payload_bytes.to_le_bytes());
        place[44..48].copy_from_slice(&self.payload_checksum.to_le_bytes());
        put(place, 48, self.durable_before);
        for (entry, row) in self.entries.iter().zip(place[FIXED_BYTES..].chunks_mut(ENTRY_BYTES)) {
            let held: u32 = match entry.held {
                Held::Data => 1,
                Held::Zeros => 2,
            };
            row[..4].copy_from_slice(&entry.volume.to_le_bytes());
            row[4..8].copy_from_slice(&held.to_le_bytes());
            put(row, 8, entry.extent.start().get());
            put(row, 16, entry.extent.length().get());
        }
        let checksum = crc32c::crc32c(place);
        place[RECORD_CHECKSUM_AT..FIXED_BYTES].copy_from_slice(&checksum.to_le_bytes());
    }

    /// The length of the header that begins with `place`, if it is one: at most
    /// `HEADER_BYTES_MAX`. Its checksum is not verified.
    ///
    /// # Errors
    ///
    /// Why the bytes are not a header.
    pub fn length(place: &[u8]) -> Result<usize, NoHeader> {
        let fixed = place.get(..FIXED_BYTES).ok_or(NoHeader::Short)?;
        if fixed[..8] != RECORD_MAGIC {
            return Err(NoHeader::Magic);
        }
        let entries = u32_at(fixed, 36) as usize;
        if entries > ENTRIES_MAX {
            return Err(NoHeader::Field("number of entries"));
        }
        Ok(header_bytes(entries))
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// Why the bytes are not a header.
    pub fn read(place: &[u8]) -> Result<Self, NoHeader> {
        let length = Self::length(place)?;
        let place = place.get(..length).ok_or(NoHeader::Short)?;
        let before = crc32c::crc32c(&place[..RECORD_CHECKSUM_AT]);
        let with_zeros = crc32c::crc32c_append(before, &[0; 4]);
        if u32_at(place, RECORD_CHECKSUM_AT)
            != crc32c::crc32c_append(with_zeros, &place[FIXED_BYTES..])
        {
            return Err(NoHeader::Checksum);
        }
        let number = u32_at(place, 32);
        let kind = RecordKind::ALL.into_iter().find(|(_, one)| *one == number);
        let (kind, _) = kind.ok_or(NoHeader::Field("kind"))?;
        let mut tag = [0; 8];
        tag.copy_from_slice(&place[24..32]);
        let count = u32_at(place, 36) as usize;
        let rows = place[FIXED_BYTES..].chunks(ENTRY_BYTES).take(count);
        let header = Self {
            number: u64_at(place, 8),
            salt: u64_at(place, 16),
            tag,
            kind,
            entries: rows.map(read_entry).collect::<Result<_, _>>()?,
            payload_bytes: u32_at(place, 40),
            payload_checksum: u32_at(place, 44),
            durable_before: u64_at(place, 48),
        };
        header.check_whole()?;
        Ok(header)
    }

    /// Checks that the lengths are consistent.
    fn check_whole(&self) -> Result<(), NoHeader> {
        if self.record_bytes() > RECORD_BYTES_MAX {
            return Err(NoHeader::Field("payload length"));
        }
        let data = self.entries.iter().filter(|entry| entry.held == Held::Data);
        let data = data.map(|entry| entry.payload_bytes());
        let total = data.fold(0, u64::saturating_add);
        match self.kind {
            RecordKind::Images if total != u64::from(self.payload_bytes) => {
                Err(NoHeader::Field("payload length"))
            }
            RecordKind::EpochBegins | RecordKind::VolumeBegins | RecordKind::CopyEnds
                if !self.entries.is_empty() =>
            {
                Err(NoHeader::Field("number of entries"))
            }
            RecordKind::Images
            | RecordKind::EpochBegins
            | RecordKind::VolumeBegins
            | RecordKind::CopyEnds => Ok(()),
        }
    }
}

fn read_entry(row: &[u8]) -> Result<Entry, NoHeader> {
    let held = match u32_at(row, 4) {
        1 => Held::Data,
        2 => Held::Zeros,
        _ => return Err(NoHeader::Field("kind of an entry")),
    };
    let (start, length) = (ByteOffset::new(u64_at(row, 8)), ByteCount::new(u64_at(row, 16)));
    let extent = Extent::new(start, length).map_err(|_| NoHeader::Field("extent of an entry"))?;
    Ok(Entry { volume: u32_at(row, 0), extent, held })
}

fn put(place: &mut [u8], at: usize, number: u64) {
    place[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

#[cfg(test)]
mod tests;
