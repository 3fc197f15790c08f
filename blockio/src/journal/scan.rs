//! Reads a segment: its header, then record after record, as long as they are what the journal
//! would have written there. What the records are for, and what an end means, is up to the caller.

use std::io;
use std::num::NonZeroUsize;

use crate::device::buffer::{Arena, ArenaPool};
use crate::device::{BlockDevice, DeviceError, ReadBatch, TRANSFER_BYTES_MAX, Transfer};
use crate::journal::layout::{
    BLOCK_BYTES, HEADER_BYTES_MAX, Identity, NoHeader, RecordHeader, SegmentHeader, padded,
};
use crate::storage::{SegmentNumber, Storage};
use crate::units::ByteOffset;

/// How much is read at a time while looking for headers, in bytes.
pub(crate) const WINDOW_BYTES: NonZeroUsize =
    NonZeroUsize::new(256 << 10).expect("invariant: not zero");
/// How many arenas of that length a reader needs: one is held as a window while another is read
/// into.
pub(crate) const READER_ARENAS: usize = 3;

const _: () = assert!(HEADER_BYTES_MAX <= WINDOW_BYTES.get());
const _: () = assert!(WINDOW_BYTES.get() <= TRANSFER_BYTES_MAX);

/// A record, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) header: RecordHeader,
    /// Where in the segment its payload begins, in bytes.
    pub(crate) payload_at: u64,
}

/// What comes next in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A record.
    Record(Record),
    /// No record that belongs there: usually the end of what was written.
    End(NoRecord),
}

/// Why there is no further record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRecord {
    #[error("the segment ends")]
    SegmentEnds,
    #[error("no header: {0}")]
    Header(NoHeader),
    #[error("it belongs to another session or journal")]
    Foreign,
    #[error("its number is {0}, which does not come next")]
    Number(u64),
    #[error("it goes on past the end of the segment")]
    Long,
}

/// A segment being read.
pub(crate) struct SegmentReader {
    device: Box<dyn BlockDevice>,
    pool: ArenaPool,
    header: SegmentHeader,
    window: Option<Window>,
    /// Whether the last record was longer than a window: then the next one probably is, too.
    is_sparse: bool,
    at: u64,
    next_record: u64,
}

/// A part of a segment that was read.
struct Window {
    from: u64,
    length: usize,
    arena: Arena,
}

/// Why a segment cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentError {
    #[error("reading it")]
    Io(#[source] io::Error),
    #[error("its header is invalid: {0}")]
    Header(NoHeader),
    #[error("it belongs to another journal")]
    Foreign,
    #[error("its header says that it is segment {}", .0.0)]
    Number(SegmentNumber),
}

impl From<DeviceError> for SegmentError {
    fn from(error: DeviceError) -> Self {
        Self::Io(error.cause)
    }
}

/// The header of segment `number` in `storage`, whichever journal it belongs to.
pub(crate) fn header_of(
    storage: &dyn Storage,
    number: SegmentNumber,
    pool: &ArenaPool,
) -> Result<SegmentHeader, SegmentError> {
    let mut device = storage.open_segment(number).map_err(SegmentError::Io)?;
    if device.geometry().capacity.get() < BLOCK_BYTES as u64 {
        return Err(SegmentError::Header(NoHeader::Short));
    }
    let arena = read(device.as_mut(), taken(pool)?, 0, BLOCK_BYTES)?;
    SegmentHeader::read(arena.as_slice()).map_err(SegmentError::Header)
}

impl SegmentReader {
    /// A reader of segment `number` of `journal`, open as `device`. Arenas of `pool` hold at least
    /// [`WINDOW_BYTES`].
    pub(crate) fn new(
        mut device: Box<dyn BlockDevice>,
        pool: ArenaPool,
        journal: &Identity,
        number: SegmentNumber,
    ) -> Result<Self, SegmentError> {
        let capacity = device.geometry().capacity.get();
        // Reads the first records along with it: many segments are short, and need only one read.
        let length = capacity.min(WINDOW_BYTES.get() as u64) as usize / BLOCK_BYTES * BLOCK_BYTES;
        if length == 0 {
            return Err(SegmentError::Header(NoHeader::Short));
        }
        let arena = read(device.as_mut(), taken(&pool)?, 0, length)?;
        let header = SegmentHeader::read(arena.as_slice()).map_err(SegmentError::Header)?;
        if header.journal != *journal {
            return Err(SegmentError::Foreign);
        }
        if header.number != number {
            return Err(SegmentError::Number(header.number));
        }
        let (at, next_record) = (BLOCK_BYTES as u64, header.first_record);
        let window = Some(Window { from: 0, length, arena });
        Ok(Self { device, pool, header, window, is_sparse: false, at, next_record })
    }

    /// The device of the segment.
    pub(crate) fn into_device(self) -> Box<dyn BlockDevice> {
        self.device
    }

    /// Its header.
    pub(crate) fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Where the next record would be, in bytes.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The number that the next record must have.
    pub(crate) fn next_record(&self) -> u64 {
        self.next_record
    }

    /// Makes all of its content durable: an earlier process may have left writes in a cache.
    pub(crate) fn flush(&mut self) -> Result<(), SegmentError> {
        let settled = self.device.settle()?;
        Ok(self.device.flush(settled).map(drop)?)
    }

    /// The next record, if there is one by now.
    pub(crate) fn next(&mut self) -> Result<Next, SegmentError> {
        let capacity = self.device.geometry().capacity.get();
        if self.at.saturating_add(BLOCK_BYTES as u64) > capacity {
            return Ok(Next::End(NoRecord::SegmentEnds));
        }
        if self.window.is_none() {
            // Usually callers ask again and again whether there is one by now: one block is enough
            // to tell.
            let block = read(self.device.as_mut(), taken(&self.pool)?, self.at, BLOCK_BYTES)?;
            if let Err(none) = RecordHeader::length(block.as_slice()) {
                return Ok(Next::End(NoRecord::Header(none)));
            }
        }
        let header = match self.header_here(capacity)? {
            Ok(header) => header,
            Err(no_header) => {
                // The next call must read it again: the record may be there by then.
                self.window = None;
                return Ok(Next::End(NoRecord::Header(no_header)));
            }
        };
        let is_foreign =
            header.salt != self.header.salt || header.tag[..] != self.header.journal[..8];
        let end = self.at + header.record_bytes() as u64;
        let none = match () {
            () if is_foreign && !planted!(StaleBytesTakenForLog) => NoRecord::Foreign,
            () if header.number != self.next_record && !planted!(NonConsecutiveNumbers) => {
                NoRecord::Number(header.number)
            }
            () if end > capacity => NoRecord::Long,
            () => {
                let payload_at = self.at + header.header_bytes() as u64;
                self.is_sparse = header.record_bytes() >= WINDOW_BYTES.get();
                self.at = end;
                self.next_record = header.number + 1;
                return Ok(Next::Record(Record { header, payload_at }));
            }
        };
        self.window = None;
        Ok(Next::End(none))
    }

    /// Continues with record `next` at byte `at`.
    pub(crate) fn go_to(&mut self, at: u64, next: u64) {
        (self.at, self.next_record) = (at, next);
        self.window = None;
    }

    /// Makes the next record be read again: it may have been written meanwhile.
    pub(crate) fn forget(&mut self) {
        self.window = None;
    }

    /// Puts back the record that was read last.
    pub(crate) fn put_back(&mut self, record: &Record) {
        self.at = record.payload_at - record.header.header_bytes() as u64;
        self.next_record = record.header.number;
        self.window = None;
    }

    /// Looks for a record with a later number after a damaged one, block by block up to `limit`. It
    /// becomes the next one; returns false if there is none.
    pub(crate) fn skip_damage(&mut self, limit: u64, last: u64) -> Result<bool, SegmentError> {
        let capacity = self.device.geometry().capacity.get();
        let from = self.at;
        while self.at.saturating_add(BLOCK_BYTES as u64) < limit.min(capacity) {
            self.at += BLOCK_BYTES as u64;
            let Ok(header) = self.header_here(capacity)? else { continue };
            let is_ours =
                header.salt == self.header.salt && header.tag[..] == self.header.journal[..8];
            if is_ours && (self.next_record..last).contains(&header.number) {
                self.next_record = header.number;
                return Ok(true);
            }
        }
        self.at = from;
        self.window = None;
        Ok(false)
    }

    /// Whether the payload of `record` matches its checksum.
    pub(crate) fn is_payload_whole(&mut self, record: &Record) -> Result<bool, SegmentError> {
        let (mut checksum, mut rest) = (0, record.header.payload_bytes as usize);
        let mut at = record.payload_at;
        while rest > 0 {
            let length = rest.min(WINDOW_BYTES.get());
            let arena = read(self.device.as_mut(), taken(&self.pool)?, at, padded(length))?;
            checksum = crc32c::crc32c_append(checksum, &arena.as_slice()[..length]);
            rest -= length;
            at += length as u64;
        }
        Ok(checksum == record.header.payload_checksum)
    }

    /// The payload of `record`, which is at most [`WINDOW_BYTES`] long: a text.
    pub(crate) fn text(&mut self, record: &Record) -> Result<Option<String>, SegmentError> {
        let length = record.header.payload_bytes as usize;
        let mut bytes = Vec::with_capacity(length);
        let mut at = record.payload_at;
        while bytes.len() < length {
            let part = (length - bytes.len()).min(WINDOW_BYTES.get());
            let arena = read(self.device.as_mut(), taken(&self.pool)?, at, padded(part))?;
            bytes.extend_from_slice(&arena.as_slice()[..part]);
            at += part as u64;
        }
        let is_whole = crc32c::crc32c(&bytes) == record.header.payload_checksum;
        Ok(String::from_utf8(bytes).ok().filter(|_| is_whole))
    }

    /// The header at the current position.
    fn header_here(
        &mut self,
        capacity: u64,
    ) -> Result<Result<RecordHeader, NoHeader>, SegmentError> {
        if let Some(found) = self.in_window() {
            match RecordHeader::read(found) {
                Err(NoHeader::Short) => {}
                read => return Ok(read),
            }
        }
        // The old window returns to its pool before another one is taken.
        self.window = None;
        // Between long records, what else a window has is not needed; but a header may be longer.
        let first = if self.is_sparse { BLOCK_BYTES } else { WINDOW_BYTES.get() };
        match self.read_window(capacity, first)? {
            Err(NoHeader::Short) if self.is_sparse => {
                self.window = None;
                self.read_window(capacity, WINDOW_BYTES.get())
            }
            read => Ok(read),
        }
    }

    /// Reads a window of at most `length` bytes at the current position; returns the header there.
    fn read_window(
        &mut self,
        capacity: u64,
        length: usize,
    ) -> Result<Result<RecordHeader, NoHeader>, SegmentError> {
        let length = (capacity - self.at).min(length as u64) as usize / BLOCK_BYTES * BLOCK_BYTES;
        if length == 0 {
            return Ok(Err(NoHeader::Short));
        }
        let arena = read(self.device.as_mut(), taken(&self.pool)?, self.at, length)?;
        let header = RecordHeader::read(&arena.as_slice()[..length]);
        self.window = Some(Window { from: self.at, length, arena });
        Ok(header)
    }

    fn in_window(&self) -> Option<&[u8]> {
        let Window { from, length, arena } = self.window.as_ref()?;
        let skipped = usize::try_from(self.at.checked_sub(*from)?).ok()?;
        arena.as_slice().get(skipped..*length).filter(|found| !found.is_empty())
    }
}

fn taken(pool: &ArenaPool) -> Result<Arena, SegmentError> {
    pool.take().map_err(|error| SegmentError::Io(io::Error::other(error)))
}

/// Reads `length` bytes at `at` into the beginning of `arena`.
pub(crate) fn read(
    device: &mut dyn BlockDevice,
    arena: Arena,
    at: u64,
    length: usize,
) -> Result<Arena, DeviceError> {
    let reads = vec![Transfer { at: ByteOffset::new(at), position: 0, length }];
    device.read_batch(ReadBatch { arena, reads })
}

#[cfg(test)]
mod tests;
