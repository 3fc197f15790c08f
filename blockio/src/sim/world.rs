//! Everything durable or cached on the simulated machine, and what was done to it, in one order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::steps::Steps;
use crate::storage::StateCopy;
use crate::units::SectorSize;

/// The unit that a disk writes as a whole, or tears.
pub(super) const BLOCK_BYTES: usize = 4096;

/// The content of a block; snapshots share equal blocks.
pub(super) type Block = Arc<[u8; BLOCK_BYTES]>;

/// A disk of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DiskId {
    /// A volume, by index.
    Volume(usize),
    /// A segment of the history, by its number.
    Segment(u64),
}

impl Snapshot {
    /// Replaces a copy of the state.
    pub(super) fn replace_state(&mut self, copy: StateCopy, text: &Arc<str>) {
        self.state[copy as usize] = Some(Arc::clone(text));
        self.stamp += 1;
    }

    /// Appends to a copy of the state.
    pub(super) fn append_state(&mut self, copy: StateCopy, text: &str) {
        let before = self.state[copy as usize].as_deref().unwrap_or_default();
        self.state[copy as usize] = Some(format!("{before}{text}").into());
        self.stamp += 1;
    }

    /// Whether no state was ever saved.
    pub(super) fn has_no_state(&self) -> bool {
        self.state.iter().all(Option::is_none)
    }
}

/// The shape of the volumes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) sector_size: SectorSize,
    /// How much of their last block is missing, in bytes.
    pub(super) cut_bytes: usize,
}

impl Shape {
    /// Whole blocks, of sectors of 512 bytes.
    pub(super) const PLAIN: Self = Self { sector_size: SectorSize::Bytes512, cut_bytes: 0 };
}

impl Default for Shape {
    fn default() -> Self {
        Self::PLAIN
    }
}

/// The content of the disks.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) shape: Shape,
    pub(super) disks: BTreeMap<DiskId, Vec<Block>>,
    /// The two copies of the state.
    pub(super) state: [Option<Arc<str>>; 2],
    /// The content of removed segments: new ones begin with it.
    pub(super) garbage: Vec<Vec<Block>>,
    /// Removed segments by number: open handles can still read them.
    pub(super) removed: BTreeMap<DiskId, Vec<Block>>,
    /// How often the state was replaced or appended to.
    pub(super) stamp: u64,
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write { disk, block, .. } => write!(f, "write {disk:?} block {block}"),
            Self::Flush { disk, before: None } => write!(f, "flush {disk:?}"),
            Self::Flush { disk, before: Some(place) } => {
                write!(f, "end the flush of {disk:?} begun before operation {place}")
            }
            Self::Create { disk, .. } => write!(f, "create {disk:?}"),
            Self::Remove(disk) => write!(f, "remove {disk:?}"),
            Self::State(copy, text) => write!(f, "{copy:?} copy of the state {text}"),
            Self::AppendState(copy, text) => write!(f, "{copy:?} copy of the state and {text}"),
        }
    }
}

/// An operation that was done.
#[derive(Clone)]
pub(super) enum Operation {
    /// A block was written, into a cache.
    Write { disk: DiskId, block: usize, content: Block },
    /// The writes to a disk are durable: all, or those before the operation with this index.
    Flush { disk: DiskId, before: Option<usize> },
    /// A segment was made.
    Create { disk: DiskId, content: Vec<Block> },
    /// A segment was removed.
    Remove(DiskId),
    /// A copy of the state was replaced.
    State(StateCopy, Arc<str>),
    /// A copy of the state was appended to.
    AppendState(StateCopy, Arc<str>),
}

/// The machine.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    /// What was durable when it began.
    pub(super) start: Snapshot,
    /// What a process reads now.
    pub(super) now: Snapshot,
    pub(super) operations: Vec<Operation>,
    /// Room for segments, in blocks.
    pub(super) room_blocks: usize,
    /// The numbers of the writes, flushes, changes of the state and removals that fail: counted
    /// from 0, over all disks.
    pub(super) fails: Range<usize>,
    pub(super) done: usize,
    /// The numbers of the reads that fail, of disks and of the state.
    pub(super) reads_fail: Range<usize>,
    pub(super) reads: usize,
    /// How often each segment is open: a removed one keeps its room until nobody has it open.
    pub(super) open: BTreeMap<DiskId, usize>,
    /// The errno with which making segments fails, whatever room there is.
    pub(super) create_fails: Option<i32>,
    /// Records no operations: only the content counts.
    pub(super) is_forgetful: bool,
    /// The turns of the writer and the reader.
    pub(super) steps: Option<Arc<Steps>>,
}

pub(super) fn zeros() -> Block {
    Arc::new([0; BLOCK_BYTES])
}

impl World {
    /// A machine with volumes of these blocks, and room for `room_blocks` blocks of history.
    pub(super) fn new(shape: Shape, volumes: &[Vec<Block>], room_blocks: usize) -> Self {
        let disks = volumes.iter().enumerate();
        let disks = disks.map(|(place, blocks)| (DiskId::Volume(place), blocks.clone())).collect();
        Self::from_snapshot(Snapshot { shape, disks, ..Snapshot::default() }, room_blocks)
    }

    /// The machine after a power cut that left `snapshot`.
    pub(super) fn from_snapshot(snapshot: Snapshot, room_blocks: usize) -> Self {
        Self { start: snapshot.clone(), now: snapshot, room_blocks, ..Self::default() }
    }

    pub(super) fn note(&mut self, operation: impl FnOnce() -> Operation) {
        if !self.is_forgetful {
            self.operations.push(operation());
        }
    }

    /// Counts an operation that may fail; returns its result.
    pub(super) fn count(&mut self) -> std::io::Result<()> {
        let number = self.done;
        self.done += 1;
        match self.fails.contains(&number) {
            true => Err(std::io::Error::from_raw_os_error(libc::EIO)),
            false => Ok(()),
        }
    }

    /// Counts a read; returns its result.
    pub(super) fn count_read(&mut self) -> std::io::Result<()> {
        let number = self.reads;
        self.reads += 1;
        match self.reads_fail.contains(&number) {
            true => Err(std::io::Error::from_raw_os_error(libc::EIO)),
            false => Ok(()),
        }
    }

    /// Counts an open of a disk.
    pub(super) fn opened(&mut self, disk: DiskId) {
        *self.open.entry(disk).or_default() += 1;
    }

    /// Counts a close of a disk.
    pub(super) fn closed(&mut self, disk: DiskId) {
        if let Some(count) = self.open.get_mut(&disk) {
            *count -= 1;
        }
    }

    /// The bytes of a volume.
    pub(super) fn volume(&self, place: usize) -> Vec<u8> {
        let blocks = &self.now.disks[&DiskId::Volume(place)];
        let mut bytes: Vec<u8> = blocks.iter().flat_map(|block| block.iter().copied()).collect();
        bytes.truncate(bytes.len() - self.now.shape.cut_bytes);
        bytes
    }

    pub(super) fn segment_blocks(&self) -> usize {
        let is_held = |id: &DiskId| self.open.get(id).is_some_and(|count| *count > 0);
        let held = self.now.removed.iter().filter(|(id, _)| is_held(id));
        let segments = self.now.disks.iter().filter(|(id, _)| matches!(id, DiskId::Segment(_)));
        segments.chain(held).map(|(_, blocks)| blocks.len()).sum()
    }
}
