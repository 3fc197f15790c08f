//! A disk of the simulated machine, as seen by the engine.
#![cfg(test)]

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::world::{BLOCK_BYTES, DiskId, Operation, World, zeros};
use crate::device::buffer::Arena;
use crate::device::{
    Attempt, BlockDevice, DeviceError, Flushed, Flushing, Geometry, ReadBatch, Reading, Settled,
    Transfer, WriteBatch,
};
use crate::extent::Extent;
use crate::units::{ByteCount, SectorSize};

/// An open disk.
pub(super) struct SimulatedDisk {
    world: Arc<Mutex<World>>,
    id: DiskId,
    geometry: Geometry,
    failed: Option<DeviceError>,
    /// Reads that were begun; they are done as late as possible: when somebody waits.
    reading: VecDeque<ReadBatch>,
    /// How many of them somebody has waited for.
    read: usize,
    /// The memory of writes: it comes back when somebody reaps, and not before.
    writing: Vec<Arc<Arena>>,
    /// Clears that were begun; they are done as late as possible: when somebody reaps, or flushes.
    clearing: Vec<Extent>,
    /// A flush that was begun includes the operations before this index; it is done as late as
    /// possible: when it is waited for, or asked for a second time.
    flushing: Option<(usize, bool)>,
}

pub(super) fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a step: an operation begins.
pub(super) fn step(world: &Mutex<World>) {
    let steps = lock(world).steps.clone();
    if let Some(steps) = steps {
        steps.take();
    }
}

impl SimulatedDisk {
    /// Opens an existing disk.
    pub(super) fn open(world: &Arc<Mutex<World>>, id: DiskId) -> Option<Self> {
        let (blocks, shape) = {
            let mut world = lock(world);
            let found = (world.now.disks.get(&id)?.len(), world.now.shape);
            world.opened(id);
            found
        };
        let (sector_size, cut_bytes) = match id {
            DiskId::Volume(_) => (shape.sector_size, shape.cut_bytes),
            DiskId::Segment(_) => (SectorSize::Bytes4096, 0),
        };
        let capacity = ByteCount::new((blocks * BLOCK_BYTES - cut_bytes) as u64);
        let geometry = Geometry { capacity, sector_size };
        Some(Self {
            world: Arc::clone(world),
            id,
            geometry,
            failed: None,
            reading: VecDeque::new(),
            read: 0,
            writing: Vec::new(),
            clearing: Vec::new(),
            flushing: None,
        })
    }

    fn read(&self, transfer: Transfer, arena: &mut [u8]) -> io::Result<()> {
        step(&self.world);
        let mut world = lock(&self.world);
        world.count_read()?;
        // A removed segment can still be read through an open handle.
        let found = world.now.disks.get(&self.id).or_else(|| world.now.removed.get(&self.id));
        let blocks = found.ok_or(io::ErrorKind::NotFound)?;
        let (mut at, mut to) = (transfer.at.get() as usize, transfer.position);
        let end = at + transfer.length;
        while at < end {
            let (block, within) = (at / BLOCK_BYTES, at % BLOCK_BYTES);
            let length = (BLOCK_BYTES - within).min(end - at);
            let content = blocks.get(block).ok_or(io::ErrorKind::UnexpectedEof)?;
            arena[to..to + length].copy_from_slice(&content[within..within + length]);
            at += length;
            to += length;
        }
        Ok(())
    }

    /// Writes `length` bytes from `at` on: `bytes`, or zeros.
    fn write(&self, at: usize, length: usize, bytes: Option<&[u8]>) -> io::Result<()> {
        step(&self.world);
        let mut world = lock(&self.world);
        world.count()?;
        let mut done = 0;
        while done < length {
            let (block, within) = ((at + done) / BLOCK_BYTES, (at + done) % BLOCK_BYTES);
            let part = (BLOCK_BYTES - within).min(length - done);
            let blocks = world.now.disks.get_mut(&self.id).ok_or(io::ErrorKind::NotFound)?;
            let place = blocks.get_mut(block).ok_or(io::ErrorKind::UnexpectedEof)?;
            let mut content = if part == BLOCK_BYTES { zeros() } else { Arc::clone(place) };
            let new = Arc::make_mut(&mut content);
            match bytes {
                Some(bytes) => {
                    new[within..within + part].copy_from_slice(&bytes[done..done + part])
                }
                None => new[within..within + part].fill(0),
            }
            *place = Arc::clone(&content);
            let disk = self.id;
            world.note(|| Operation::Write { disk, block, content });
            done += part;
        }
        Ok(())
    }

    fn write_all(&self, batch: &WriteBatch) -> Result<(), DeviceError> {
        for transfer in &batch.writes {
            let failed =
                |cause| DeviceError { attempt: Attempt::Write(extent_of(transfer)), cause };
            let bytes = &batch.arena.as_slice()[transfer.position..][..transfer.length];
            self.write(transfer.at.get() as usize, transfer.length, Some(bytes)).map_err(failed)?;
        }
        Ok(())
    }

    /// Does the clears that were begun.
    fn clear_all(&mut self) {
        for extent in std::mem::take(&mut self.clearing) {
            if self.failed.is_some() {
                return;
            }
            let (at, length) = (extent.start().get() as usize, extent.length().get() as usize);
            if let Err(cause) = self.write(at, length, None) {
                self.failed = Some(DeviceError { attempt: Attempt::Clear(extent), cause });
            }
        }
    }

    fn flush_before(&mut self, before: Option<usize>) -> Result<Flushed, DeviceError> {
        step(&self.world);
        let mut world = lock(&self.world);
        world.count().map_err(|cause| DeviceError { attempt: Attempt::Flush, cause })?;
        let disk = self.id;
        world.note(|| Operation::Flush { disk, before });
        Ok(Flushed::simulated())
    }

    fn check(&self) -> Result<(), DeviceError> {
        self.failed.as_ref().map_or(Ok(()), |failed| Err(failed.again()))
    }
}

impl Drop for SimulatedDisk {
    fn drop(&mut self) {
        self.clear_all();
        lock(&self.world).closed(self.id);
    }
}

fn extent_of(transfer: &Transfer) -> Extent {
    transfer.extent().unwrap()
}

impl BlockDevice for SimulatedDisk {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn engine_name(&self) -> &'static str {
        "simulated"
    }

    fn read_batch(&mut self, batch: ReadBatch) -> Result<Arena, DeviceError> {
        let ReadBatch { mut arena, reads } = batch;
        for transfer in reads {
            let failed =
                |cause| DeviceError { attempt: Attempt::Read(extent_of(&transfer)), cause };
            self.read(transfer, arena.as_mut_slice()).map_err(failed)?;
        }
        Ok(arena)
    }

    fn begin_read(&mut self, batch: ReadBatch) -> Result<Reading, DeviceError> {
        self.reading.push_back(batch);
        Ok(Reading::UnderWay)
    }

    fn is_read(&mut self) -> bool {
        self.reading.is_empty() || self.read > 0
    }

    fn finish_read(&mut self) -> Result<Arena, DeviceError> {
        self.read = self.read.saturating_sub(1);
        self.reading.pop_front().map_or_else(
            || {
                Err(DeviceError {
                    attempt: Attempt::Flush,
                    cause: io::ErrorKind::InvalidInput.into(),
                })
            },
            |batch| self.read_batch(batch),
        )
    }

    fn write_batch(&mut self, batch: WriteBatch) -> Result<(), DeviceError> {
        self.check()?;
        self.clearing.extend(&batch.clears);
        let written = self.write_all(&batch);
        self.writing.push(batch.arena);
        if let Err(failed) = &written {
            self.failed = Some(failed.again());
        }
        written
    }

    fn reap(&mut self) -> Result<bool, DeviceError> {
        self.clear_all();
        self.writing.clear();
        self.read = (self.read + 1).min(self.reading.len());
        self.check().map(|()| false)
    }

    fn settle(&mut self) -> Result<Settled, DeviceError> {
        self.clear_all();
        self.writing.clear();
        self.check()?;
        Ok(Settled::simulated())
    }

    fn flush(&mut self, _: Settled) -> Result<Flushed, DeviceError> {
        self.flushing = None;
        self.flush_before(None)
    }

    fn begin_flush(&mut self) -> Result<Flushing, DeviceError> {
        if !planted!(FlushBeforeClear) {
            self.clear_all();
        }
        self.check()?;
        self.flushing = Some((lock(&self.world).operations.len(), false));
        Ok(Flushing::UnderWay)
    }

    fn is_flushed(&mut self) -> bool {
        self.flushing.as_mut().is_none_or(|(_, was_asked)| std::mem::replace(was_asked, true))
    }

    fn finish_flush(&mut self) -> Result<Flushed, DeviceError> {
        self.check()?;
        let Some((before, _)) = self.flushing.take() else {
            let (attempt, cause) = (Attempt::Flush, io::ErrorKind::InvalidInput.into());
            return Err(DeviceError { attempt, cause });
        };
        self.flush_before(Some(before))
    }
}
