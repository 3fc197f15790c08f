//! A record in the making: before-images lie in memory where they will be written from, after room
//! for the header. Reading them, and placing the record, is done elsewhere.

use crate::device::buffer::Arena;
use crate::device::{Transfer, UNDIVIDED_BYTES_MAX};
use crate::extent::Extent;
use crate::journal::layout::{
    BLOCK_BYTES, ENTRIES_MAX, Entry, HEADER_BYTES_MAX, Held, RECORD_BYTES_MAX, RecordHeader,
    RecordKind, header_bytes, padded,
};
use crate::units::{ByteCount, ByteOffset};
use crate::{Error, ErrorKind, Result};

/// The most bytes of images in a record.
const PAYLOAD_BYTES_MAX: u64 = (RECORD_BYTES_MAX - HEADER_BYTES_MAX) as u64;
/// The longest entry of an image, in bytes: an entry of zeros takes no room.
const ENTRY_BYTES_MAX: u64 = 64 << 10;

/// The common part of the headers of all records of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) salt: u64,
    pub(crate) tag: [u8; 8],
}

/// The extents of one record, as entries.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    entries: Vec<Entry>,
    extents: Vec<Extent>,
    /// The total length, with each entry padded to whole blocks.
    bytes: u64,
}

impl Outline {
    /// Its entries, in the order of the payload.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The most that the record takes, in bytes: it takes less if images are zeros.
    pub(crate) fn record_bytes(&self) -> u64 {
        header_bytes(self.entries.len()) as u64 + self.bytes
    }

    /// Divides `extents` of `volume` (whole sectors) into records.
    pub(crate) fn of(volume: u32, extents: &[Extent], limit: u64) -> Vec<Self> {
        Self::of_all(extents.iter().map(|extent| (volume, *extent)), limit)
    }

    /// Divides extents of volumes (whole sectors) into records, in their order.
    pub(crate) fn of_all(extents: impl Iterator<Item = (u32, Extent)>, limit: u64) -> Vec<Self> {
        let limit = limit.min(PAYLOAD_BYTES_MAX) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        let mut outlines = vec![Self::default()];
        for (volume, extent) in extents {
            let mut rest = Some(extent);
            while let Some(extent) = rest {
                let last = outlines.last_mut().expect("invariant: there is one from the start");
                match last.take(volume, extent, limit) {
                    Some(after) => rest = after,
                    None => outlines.push(Self::default()),
                }
            }
        }
        outlines.retain(|outline| !outline.entries.is_empty());
        outlines
    }

    /// Takes the beginning of `extent`, and returns the rest; `None` if there is no room.
    fn take(&mut self, volume: u32, extent: Extent, limit: u64) -> Option<Option<Extent>> {
        let room = limit.saturating_sub(self.bytes).min(ENTRY_BYTES_MAX);
        if room == 0 || self.entries.len() == ENTRIES_MAX {
            return None;
        }
        let length = extent.length().get().min(room);
        let middle = extent.start().checked_add(ByteCount::new(length))?;
        let (taken, rest) = match extent.split_at(middle) {
            Some((taken, rest)) => (taken, Some(rest)),
            None => (extent, None),
        };
        let entry = Entry { volume, extent: taken, held: Held::Data };
        let is_same_volume = self.entries.last().is_some_and(|last| last.volume == volume);
        self.bytes += entry.payload_bytes();
        self.entries.push(entry);
        match self.extents.last_mut() {
            Some(last) if is_same_volume && last.end() == taken.start() => {
                *last = last.join(taken)?;
            }
            _ => self.extents.push(taken),
        }
        Some(rest)
    }

    /// The number of the volume.
    pub(crate) fn volume(&self) -> u32 {
        self.entries.first().map_or(u32::MAX, |entry| entry.volume)
    }

    /// Whether nothing of it is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keeps of each entry, which was read into `arena`, the part that `keep` returns, given the
    /// entry and its bytes: whole blocks, or nothing. Returns the rest, ascending and coalesced.
    pub(crate) fn trim(
        &mut self,
        arena: &mut Arena,
        mut keep: impl FnMut(Extent, &[u8]) -> Option<Extent>,
    ) -> Vec<Extent> {
        let mut from = header_bytes(self.entries.len());
        let (mut kept, mut left_out) = (Vec::with_capacity(self.entries.len()), Vec::new());
        for entry in &self.entries {
            // Below RECORD_BYTES_MAX.
            let length = entry.extent.length().get() as usize;
            let part = keep(entry.extent, &arena.as_slice()[from..from + length]);
            match part {
                None => left_out.push(entry.extent),
                Some(part) => {
                    let rest = entry.extent.subtract(part);
                    left_out.extend(rest.before.into_iter().chain(rest.after));
                    let skipped = part.start().get() - entry.extent.start().get();
                    kept.push((Entry { extent: part, ..*entry }, from + skipped as usize));
                }
            }
            from += entry.payload_bytes() as usize;
        }
        if left_out.is_empty() {
            return left_out;
        }
        // There are no more entries than before, so everything moves towards the beginning.
        let mut to = header_bytes(kept.len());
        for (entry, from) in &kept {
            let length = entry.payload_bytes() as usize;
            arena.as_mut_slice().copy_within(*from..*from + length, to);
            to += length;
        }
        self.entries = kept.into_iter().map(|(entry, _)| entry).collect();
        self.extents = self.entries.iter().map(|entry| entry.extent).collect();
        Extent::coalesce(&mut self.extents);
        self.bytes = self.entries.iter().map(Entry::payload_bytes).sum();
        Extent::coalesce(&mut left_out);
        left_out
    }

    /// The reads that fetch the images into an arena of [`RECORD_BYTES_MAX`].
    pub(crate) fn reads(&self) -> Vec<Transfer> {
        let mut position = header_bytes(self.entries.len());
        let mut reads = Vec::with_capacity(self.extents.len());
        for extent in &self.extents {
            let mut at = extent.start().get();
            while at < extent.end().get() {
                // At most UNDIVIDED_BYTES_MAX.
                let length = (extent.end().get() - at).min(UNDIVIDED_BYTES_MAX as u64) as usize;
                reads.push(Transfer { at: ByteOffset::new(at), position, length });
                // Only the end of a volume is not a multiple of the block size.
                position += padded(length);
                at += length as u64;
            }
        }
        reads
    }
}

/// A record whose images are in memory.
#[derive(Debug)]
pub(crate) struct Draft {
    arena: Arena,
    header: RecordHeader,
}

impl Draft {
    /// A record of the images that were read into `arena` as in `outline`. Entries of zeros are
    /// dropped from the payload.
    pub(crate) fn of_images(outline: Outline, mut arena: Arena, stamp: Stamp) -> Self {
        let Outline { mut entries, bytes, .. } = outline;
        let begin = header_bytes(entries.len());
        let bytes = leave_out_zeros(&mut entries, &mut arena.as_mut_slice()[begin..], bytes);
        Self::new(arena, stamp, RecordKind::Images, entries, bytes)
    }

    /// A record of `kind` with a text.
    ///
    /// # Errors
    ///
    /// `Failed`: the text is longer than the payload of a record, or than `arena`.
    pub(crate) fn of_text(
        kind: RecordKind,
        text: &str,
        mut arena: Arena,
        stamp: Stamp,
    ) -> Result<Self> {
        let begin = header_bytes(0);
        let room = arena.as_slice().len().min(RECORD_BYTES_MAX) - begin;
        // Only whole blocks are written.
        if padded(text.len()) > room {
            let (length, context) = (text.len(), "recording where the group's volumes are");
            let context =
                format!("{context}: it takes {length} bytes, but a record has room for {room}");
            return Err(Error::new(ErrorKind::Failed, context)
                .with_hint("use several groups with fewer volumes each, or shorter volume names"));
        }
        arena.as_mut_slice()[begin..begin + text.len()].copy_from_slice(text.as_bytes());
        Ok(Self::new(arena, stamp, kind, Vec::new(), text.len()))
    }

    fn new(
        mut arena: Arena,
        stamp: Stamp,
        kind: RecordKind,
        entries: Vec<Entry>,
        bytes: usize,
    ) -> Self {
        let begin = header_bytes(entries.len());
        arena.as_mut_slice()[begin + bytes..begin + padded(bytes)].fill(0);
        let header = RecordHeader {
            number: 0,
            salt: stamp.salt,
            tag: stamp.tag,
            kind,
            entries,
            // Below RECORD_BYTES_MAX.
            payload_bytes: bytes as u32,
            payload_checksum: 0,
            durable_before: 0,
        };
        Self { arena, header }
    }

    /// Its length, in bytes.
    pub(crate) fn record_bytes(&self) -> usize {
        self.header.record_bytes()
    }

    /// Writes the header, with the record's number and with `durable_before`; returns the bytes to
    /// be written.
    pub(crate) fn seal(mut self, number: u64, durable_before: u64) -> Arena {
        let begin = self.header.header_bytes();
        let payload = begin..begin + self.header.payload_bytes as usize;
        (self.header.number, self.header.durable_before) = (number, durable_before);
        self.header.payload_checksum = crc32c::crc32c(&self.arena.as_slice()[payload]);
        self.header.write(self.arena.as_mut_slice());
        self.arena
    }
}

/// Marks the entries that are zeros, and closes their gaps in `payload`; returns its new length.
fn leave_out_zeros(entries: &mut [Entry], payload: &mut [u8], bytes: u64) -> usize {
    let (mut from, mut to) = (0, 0);
    for entry in entries {
        // Below RECORD_BYTES_MAX.
        let length = entry.extent.length().get() as usize;
        let padded = padded(length);
        payload[from + length..from + padded].fill(0);
        if is_zeros(&payload[from..from + length]) {
            entry.held = Held::Zeros;
        } else {
            if from != to {
                payload.copy_within(from..from + padded, to);
            }
            to += padded;
        }
        from += padded;
    }
    debug_assert_eq!(from as u64, bytes);
    to
}

/// Whether `bytes` are all zeros; mostly the first bytes decide.
pub(crate) fn is_zeros(bytes: &[u8]) -> bool {
    bytes.chunks(4096).all(|chunk| chunk.iter().fold(0, |any, byte| any | byte) == 0)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::device::buffer::ArenaPool;

    fn extent(start: u64, length: u64) -> Extent {
        Extent::new(ByteOffset::new(start), ByteCount::new(length)).unwrap()
    }

    fn arena() -> Arena {
        ArenaPool::new(1, NonZeroUsize::new(RECORD_BYTES_MAX).unwrap()).unwrap().take().unwrap()
    }

    const STAMP: Stamp = Stamp { salt: 3, tag: [4; 8] };

    #[test]
    fn extents_are_divided_into_records_without_a_gap() {
        let extents = [extent(0, 512), extent(4096, 20 << 20)];
        let outlines = Outline::of(0, &extents, u64::MAX);
        assert!(outlines.len() >= 5);
        let mut all: Vec<_> =
            outlines.iter().flat_map(|one| one.entries.iter().map(|e| e.extent)).collect();
        Extent::coalesce(&mut all);
        assert_eq!(all, extents);
        for outline in outlines {
            let reads = outline.reads();
            let last = reads.last().unwrap();
            assert!(last.position + last.length <= RECORD_BYTES_MAX);
            assert!(reads.iter().all(|read| read.length <= UNDIVIDED_BYTES_MAX));
        }
    }

    #[test]
    fn many_small_extents_do_not_overflow_the_table() {
        let extents: Vec<_> = (0..5000).map(|n| extent(n * 8192, 4096)).collect();
        let outlines = Outline::of(0, &extents, u64::MAX);
        assert!(outlines.iter().all(|one| one.entries.len() <= ENTRIES_MAX));
        assert_eq!(outlines.iter().map(|one| one.entries.len()).sum::<usize>(), 5000);
    }

    #[test]
    fn zeros_take_no_room_and_the_rest_keeps_its_order() {
        let extents = [extent(0, 4096), extent(8192, 4096), extent(16384, 4096)];
        let outline = Outline::of(2, &extents, u64::MAX).remove(0);
        let mut memory = arena();
        for (read, byte) in outline.reads().iter().zip([1, 0, 3]) {
            memory.as_mut_slice()[read.position..][..read.length].fill(byte);
        }
        let draft = Draft::of_images(outline, memory, STAMP);
        assert_eq!(draft.record_bytes(), 3 * 4096);
        let sealed = draft.seal(9, 8);
        let header = RecordHeader::read(sealed.as_slice()).unwrap();
        let held: Vec<_> = header.entries.iter().map(|entry| entry.held).collect();
        assert_eq!(held, [Held::Data, Held::Zeros, Held::Data]);
        assert_eq!(sealed.as_slice()[4096..12288], [[1; 4096], [3; 4096]].concat());
        assert_eq!(header.payload_checksum, crc32c::crc32c(&sealed.as_slice()[4096..12288]));
    }

    #[test]
    fn an_outline_takes_what_its_record_takes_and_reads_neighbours_at_once() {
        // Enough entries to need a header of two blocks.
        let extents: Vec<_> = (0..200).map(|n| extent(n * 8192, 4096)).collect();
        for (extents, bytes, reads) in [
            (&[extent(0, 4096)][..], 2 * 4096, 1),
            (&[extent(0, 3 * ENTRY_BYTES_MAX)], 4096 + 3 * ENTRY_BYTES_MAX, 1),
            (&[extent(0, 4096), extent(8192, 4096)], 3 * 4096, 2),
            (&extents, 202 * 4096, 200),
        ] {
            let outline = Outline::of(0, extents, u64::MAX).remove(0);
            assert_eq!((outline.record_bytes(), outline.reads().len()), (bytes, reads));
            let mut memory = arena();
            memory.as_mut_slice().fill(1);
            let draft = Draft::of_images(outline, memory, STAMP);
            assert_eq!(draft.record_bytes() as u64, bytes);
        }
    }

    #[test]
    fn a_text_may_fill_its_memory_and_no_more() {
        let of = |length: usize| {
            let arena = ArenaPool::new(1, NonZeroUsize::new(3 * 4096).unwrap()).unwrap();
            let text = "x".repeat(length);
            Draft::of_text(RecordKind::EpochBegins, &text, arena.take().unwrap(), STAMP)
        };
        assert_eq!(of(2 * 4096).unwrap().record_bytes(), 3 * 4096);
        let refused = of(2 * 4096 + 1).unwrap_err();
        assert!(
            refused.to_string().ends_with("it takes 8193 bytes, but a record has room for 8192")
        );
        assert!(of(2 * 4096 - 1).is_ok());
    }
}
