//! A history written by hand, segment by segment, for tests of its readers: which segments exist,
//! which do not, and which errors the kernel returns on open. For tests only.
#![cfg(test)]

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use crate::device::Engine;
use crate::device::buffer::ArenaPool;
use crate::device::memory::MemoryDevice;
use crate::device::{BlockDevice, Geometry, Transfer, WriteBatch};
use crate::extent::Extent;
use crate::journal::catalogue::{Catalogue, NewPoint, PointId, PointKind, Span};
use crate::journal::layout::{
    BLOCK_BYTES, Entry, Held, Identity, RecordHeader, RecordKind, SegmentHeader,
};
use crate::journal::memo::{self, EpochMemo, PointMemo, VolumeMemo};
use crate::journal::scan::{READER_ARENAS, WINDOW_BYTES};
use crate::journal::state::GroupState;
use crate::storage::{SegmentNumber, Space, StateCopy, Storage};
use crate::units::{ByteCount, ByteOffset, SectorSize};

/// The identity of the journal.
pub(crate) const JOURNAL: Identity = [7; 16];
/// The salt of its segments.
pub(crate) const SALT: u64 = 5;
/// The generation of the states made here.
pub(crate) const GENERATION: u64 = 4;
/// The length of a segment.
const SEGMENT_BYTES: usize = 32 * BLOCK_BYTES;

/// Memory for reading.
pub(crate) fn pool() -> ArenaPool {
    ArenaPool::new(READER_ARENAS, WINDOW_BYTES).unwrap()
}

/// A segment in the making.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) header: SegmentHeader,
    /// The bytes, with room for the header.
    bytes: Vec<u8>,
    next_record: u64,
}

impl Written {
    /// A segment without records.
    pub(crate) fn new(number: u64, epoch: u64, first_record: u64) -> Self {
        let header = SegmentHeader {
            journal: JOURNAL,
            number: SegmentNumber(number),
            epoch,
            first_record,
            salt: SALT,
            length_bytes: SEGMENT_BYTES as u64,
            generation: GENERATION,
        };
        Self { header, bytes: vec![0; BLOCK_BYTES], next_record: first_record }
    }

    /// The same segment with a changed header.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut SegmentHeader)) -> Self {
        change(&mut self.header);
        self
    }

    fn record(mut self, kind: RecordKind, entries: Vec<Entry>, payload: &[u8]) -> Self {
        let header = RecordHeader {
            number: self.next_record,
            salt: SALT,
            tag: [JOURNAL[0]; 8],
            kind,
            entries,
            payload_bytes: payload.len() as u32,
            payload_checksum: crc32c::crc32c(payload),
            durable_before: 0,
        };
        let at = self.bytes.len();
        self.bytes.resize(at + header.record_bytes(), 0);
        header.write(&mut self.bytes[at..]);
        self.bytes[at + header.header_bytes()..][..payload.len()].copy_from_slice(payload);
        self.next_record += 1;
        self
    }

    /// Adds a record with the before-image of a block of a volume.
    pub(crate) fn image(self, volume: u32, block: u64) -> Self {
        let (start, length) = (block * BLOCK_BYTES as u64, BLOCK_BYTES as u64);
        let extent = Extent::new(ByteOffset::new(start), ByteCount::new(length)).unwrap();
        let entry = Entry { volume, extent, held: Held::Data };
        self.record(RecordKind::Images, vec![entry], &[9; BLOCK_BYTES])
    }

    /// Adds a record of these ranges of a volume, all zeros.
    pub(crate) fn zeros(self, volume: u32, extents: &[(u64, u64)]) -> Self {
        let entry = |&(start, length): &(u64, u64)| {
            let extent = Extent::new(ByteOffset::new(start), ByteCount::new(length)).unwrap();
            Entry { volume, extent, held: Held::Zeros }
        };
        self.record(RecordKind::Images, extents.iter().map(entry).collect(), &[])
    }

    /// Adds a record that begins an epoch.
    pub(crate) fn epoch(self, memo: &EpochMemo) -> Self {
        self.record(RecordKind::EpochBegins, Vec::new(), memo::text(memo).unwrap().as_bytes())
    }

    /// Adds a record that begins a volume.
    pub(crate) fn volume(self, memo: &VolumeMemo) -> Self {
        self.record(RecordKind::VolumeBegins, Vec::new(), memo::text(memo).unwrap().as_bytes())
    }

    /// Damages the last record: its last block is changed.
    pub(crate) fn damaged(mut self) -> Self {
        let last = self.bytes.len() - BLOCK_BYTES;
        self.bytes[last] ^= 1;
        self
    }

    /// The span of everything so far.
    pub(crate) fn span(&self) -> Span {
        Span {
            segment: self.header.number,
            bytes: self.bytes.len() as u64,
            first_record: self.header.first_record,
            next_record: self.next_record,
        }
    }

    /// A disk with this segment.
    pub(crate) fn device(mut self) -> MemoryDevice {
        self.header.write(&mut self.bytes);
        device_of(&self.bytes)
    }
}

/// A disk that holds `bytes`, followed by zeros.
pub(crate) fn device_of(bytes: &[u8]) -> MemoryDevice {
    let capacity = ByteCount::new(SEGMENT_BYTES as u64);
    let mut device = MemoryDevice::new(Geometry { capacity, sector_size: SectorSize::Bytes512 });
    let pool = ArenaPool::new(1, NonZeroUsize::new(bytes.len()).unwrap()).unwrap();
    let mut arena = pool.take().unwrap();
    arena.as_mut_slice()[..bytes.len()].copy_from_slice(bytes);
    let writes = vec![Transfer { at: ByteOffset::ZERO, position: 0, length: bytes.len() }];
    let batch = WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() };
    device.write_batch(batch).unwrap();
    device
}

/// The memo of a volume.
pub(crate) fn volume(number: u32, name: &str) -> VolumeMemo {
    let (sector_bytes, capacity_bytes) = (512, 1 << 20);
    let name = name.into();
    let is = crate::journal::catalogue::JournalVolume { name, sector_bytes, capacity_bytes };
    VolumeMemo { number, is, target: Some(format!("disk-{number}")) }
}

/// The memo of an epoch that begins with record `begins_at` and leads back to these points.
pub(crate) fn memo(points: &[u64], begins_at: u64) -> EpochMemo {
    let new = NewPoint { time: 100, kind: PointKind::Crash, name: None };
    let points = points.iter().map(|id| PointMemo::of_new(PointId(*id), &new, 100));
    EpochMemo::new(&GroupState::default(), points.collect()).as_record(begins_at)
}

/// A state of [`GENERATION`] with a history that has only its start, which the segments `open` lead
/// back to.
pub(crate) fn state(open: &[&Written]) -> GroupState {
    let mut state = GroupState::default();
    (0..GENERATION).for_each(|_| state.begin_generation());
    let mut known = Catalogue::new(JOURNAL, 1);
    let spans: Vec<_> = open.iter().map(|segment| segment.span()).collect();
    if let Some(last) = spans.last() {
        known.next_segment = last.segment.0 + 1;
        known.next_record = last.next_record;
    }
    Arc::make_mut(&mut known.points[0]).spans = spans;
    state.journal = Some(known);
    state
}

/// A copy of the state: a text, or the errno of reading it.
type CopyByHand = Result<Option<String>, i32>;

/// Storage with hand-written content.
pub(crate) struct ByHand {
    segments: Mutex<BTreeMap<u64, MemoryDevice>>,
    /// How many opens of a segment succeed, and the errno after that.
    opens: Mutex<(usize, Option<i32>)>,
    copies: [CopyByHand; 2],
    /// The segments that were shortened, and to how many bytes.
    pub(crate) shortened: Mutex<Vec<(u64, u64)>>,
}

impl Default for ByHand {
    fn default() -> Self {
        let shortened = Mutex::default();
        let (segments, opens) = (Mutex::default(), Mutex::default());
        Self { segments, opens, copies: [Ok(None), Ok(None)], shortened }
    }
}

impl ByHand {
    /// Storage with these segments.
    pub(crate) fn with(segments: &[&Written]) -> Self {
        let by_hand = Self::default();
        segments.iter().for_each(|one| by_hand.put(one.header.number.0, (*one).clone().device()));
        by_hand
    }

    /// Adds a segment.
    pub(crate) fn put(&self, number: u64, device: MemoryDevice) {
        self.segments.lock().unwrap().insert(number, device);
    }

    /// The same storage, in which `good` opens of a segment succeed, and later ones fail with
    /// `errno`.
    pub(crate) fn failing_opens(self, good: usize, errno: i32) -> Self {
        Self { opens: Mutex::new((good, Some(errno))), ..self }
    }

    /// The same storage with these copies of the state.
    pub(crate) fn with_copies(self, copies: [CopyByHand; 2]) -> Self {
        Self { copies, ..self }
    }

    pub(crate) fn arc(self) -> Arc<dyn Storage> {
        Arc::new(self)
    }
}

impl Storage for ByHand {
    fn read_state(&self, copy: StateCopy) -> io::Result<Option<String>> {
        self.copies[copy as usize].clone().map_err(io::Error::from_raw_os_error)
    }

    fn replace_state(&self, _: StateCopy, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn append_state(&self, _: StateCopy, _: u64, _: &str) -> io::Result<bool> {
        Ok(false)
    }

    fn state_stamp(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn create_segment(
        &self,
        number: SegmentNumber,
        _: u64,
        _: Engine,
    ) -> io::Result<Box<dyn BlockDevice>> {
        self.put(number.0, device_of(&[0; BLOCK_BYTES]));
        self.open_segment(number)
    }

    fn open_segment(&self, number: SegmentNumber) -> io::Result<Box<dyn BlockDevice>> {
        let (good, errno) = &mut *self.opens.lock().unwrap();
        if let Some(errno) = errno {
            *good = good.checked_sub(1).ok_or(io::Error::from_raw_os_error(*errno))?;
        }
        let segments = self.segments.lock().unwrap();
        let device = segments.get(&number.0).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(device.clone()))
    }

    fn shorten_segment(&self, number: SegmentNumber, bytes: u64) -> io::Result<()> {
        self.shortened.lock().unwrap().push((number.0, bytes));
        Ok(())
    }

    fn remove_segment(&self, number: SegmentNumber) -> io::Result<()> {
        self.segments.lock().unwrap().remove(&number.0);
        Ok(())
    }

    fn segments(&self) -> io::Result<Vec<SegmentNumber>> {
        Ok(self.segments.lock().unwrap().keys().copied().map(SegmentNumber).collect())
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space { total_bytes: 0, free_bytes: 1 << 30 })
    }
}
