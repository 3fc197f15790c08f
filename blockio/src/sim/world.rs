//! All that is durable or cached on the simulated machine, and what was done to it, in one order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::steps::Steps;
use crate::storage::StateCopy;
use crate::units::SectorSize;

/// What a disk writes as one, or tears.
pub(super) const BLOCK_BYTES: usize = 4096;

/// The content of a block; states of the world share those that are the same in both.
pub(super) type Block = Arc<[u8; BLOCK_BYTES]>;

/// A disk of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DiskId {
    /// A volume, by its place.
    Volume(usize),
    /// A segment of the history, by its number.
    Segment(u64),
}

impl Snapshot {
    /// A copy of the state is replaced.
    pub(super) fn replace_state(&mut self, copy: StateCopy, text: &Arc<str>) {
        self.state[copy as usize] = Some(Arc::clone(text));
        self.stamp += 1;
    }

    /// A copy of the state is appended to.
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

/// What the volumes are like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) sector_size: SectorSize,
    /// So much of their last block is not there, in bytes.
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

/// What disks hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) shape: Shape,
    pub(super) disks: BTreeMap<DiskId, Vec<Block>>,
    /// The two copies of the state.
    pub(super) state: [Option<Arc<str>>; 2],
    /// What segments held that were removed: new ones begin with it.
    pub(super) garbage: Vec<Vec<Block>>,
    /// The same, by their numbers: who had one open can read it.
    pub(super) removed: BTreeMap<DiskId, Vec<Block>>,
    /// How often the state was replaced or appended to.
    pub(super) stamp: u64,
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write { disk, block, .. } => write!(f, "write {disk:?} block {block}"),
            Self::Flush(disk) => write!(f, "flush {disk:?}"),
            Self::Create { disk, .. } => write!(f, "create {disk:?}"),
            Self::Remove(disk) => write!(f, "remove {disk:?}"),
            Self::State(copy, text) => write!(f, "{copy:?} copy of the state {text}"),
            Self::AppendState(copy, text) => write!(f, "{copy:?} copy of the state and {text}"),
        }
    }
}

/// Something that was done.
#[derive(Clone)]
pub(super) enum Operation {
    /// A block was written, into a cache.
    Write { disk: DiskId, block: usize, content: Block },
    /// What was written to a disk is durable.
    Flush(DiskId),
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
    /// What a process reads.
    pub(super) now: Snapshot,
    pub(super) operations: Vec<Operation>,
    /// Room for segments, in blocks.
    pub(super) room_blocks: usize,
    /// The writes, flushes, changes of the state and removals with these numbers fail: counted from
    /// 0, over all disks.
    pub(super) fails: Range<usize>,
    pub(super) done: usize,
    /// The reads with these numbers fail, of disks and of the state.
    pub(super) reads_fail: Range<usize>,
    pub(super) reads: usize,
    /// How often each segment is open: what was removed keeps its room until nobody has it open.
    pub(super) open: BTreeMap<DiskId, usize>,
    /// Segments cannot be made, with this, whatever room there is.
    pub(super) create_fails: Option<i32>,
    /// Nothing is noted: only the content counts.
    pub(super) is_forgetful: bool,
    /// Who writes and who looks take turns.
    pub(super) steps: Option<Arc<Steps>>,
}

pub(super) fn zeros() -> Block {
    Arc::new([0; BLOCK_BYTES])
}

impl World {
    /// A machine with volumes of these blocks, and room for so many blocks of history.
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

    /// Something that may fail begins: may it go well?
    pub(super) fn count(&mut self) -> std::io::Result<()> {
        let number = self.done;
        self.done += 1;
        match self.fails.contains(&number) {
            true => Err(std::io::Error::from_raw_os_error(libc::EIO)),
            false => Ok(()),
        }
    }

    /// A read begins: may it go well?
    pub(super) fn count_read(&mut self) -> std::io::Result<()> {
        let number = self.reads;
        self.reads += 1;
        match self.reads_fail.contains(&number) {
            true => Err(std::io::Error::from_raw_os_error(libc::EIO)),
            false => Ok(()),
        }
    }

    /// A disk was opened.
    pub(super) fn opened(&mut self, disk: DiskId) {
        *self.open.entry(disk).or_default() += 1;
    }

    /// A disk was closed.
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
