//! A disk in memory, for tests and for the simulator: it does what the engines do, and fails on
//! request. It has no cache: written data is there, flushed or not.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::device::buffer::Arena;
use crate::device::disk_file::{check, clip, extent_of};
use crate::device::{
    Attempt, BlockDevice, DeviceError, Flushed, Flushing, Geometry, ReadBatch, Settled, Transfer,
    WriteBatch,
};
use crate::extent::Extent;

/// A disk in memory. A clone is another handle to the same bytes, as if the disk were opened twice:
/// one goes to the engine, the other inspects the content.
#[derive(Clone, Debug)]
pub struct MemoryDevice {
    geometry: Geometry,
    bytes: Arc<Mutex<Vec<u8>>>,
    reads: Countdown,
    writes: Countdown,
    flushes: Countdown,
    /// How often a flush is asked for before it is done, and how often that is to come yet.
    flush_beside: Option<(usize, usize)>,
    first_failure: Option<Arc<DeviceError>>,
}

/// How many operations succeed before the first failure, and its errno.
#[derive(Clone, Copy, Debug, Default)]
struct Countdown(Option<(usize, i32)>);

impl Countdown {
    fn count(&mut self) -> io::Result<()> {
        match &mut self.0 {
            None => Ok(()),
            Some((0, errno)) => Err(io::Error::from_raw_os_error(*errno)),
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl MemoryDevice {
    /// A disk of zeros. Its whole capacity is allocated immediately.
    #[must_use]
    pub fn new(geometry: Geometry) -> Self {
        let capacity = usize::try_from(geometry.capacity.get()).unwrap_or(usize::MAX);
        Self {
            geometry,
            bytes: Arc::new(Mutex::new(vec![0; capacity])),
            reads: Countdown::default(),
            writes: Countdown::default(),
            flushes: Countdown::default(),
            flush_beside: None,
            first_failure: None,
        }
    }

    /// The same disk, on which `good` reads succeed, and all later ones fail with `errno`.
    #[cfg(test)]
    pub(crate) fn failing_reads(self, good: usize, errno: i32) -> Self {
        Self { reads: Countdown(Some((good, errno))), ..self }
    }

    /// The same disk, on which `good` writes or clears succeed, and all later ones fail with
    /// `errno`.
    #[cfg(test)]
    pub(crate) fn failing_writes(self, good: usize, errno: i32) -> Self {
        Self { writes: Countdown(Some((good, errno))), ..self }
    }

    /// The same disk, on which `good` flushes succeed, and all later ones fail with `errno`.
    #[cfg(test)]
    pub(crate) fn failing_flushes(self, good: usize, errno: i32) -> Self {
        Self { flushes: Countdown(Some((good, errno))), ..self }
    }

    /// The same disk, of which a flush that was begun is done once it was asked for `times` times.
    #[cfg(test)]
    pub(crate) fn flushing_beside(self, times: usize) -> Self {
        Self { flush_beside: Some((times, 0)), ..self }
    }

    /// A copy of all bytes.
    #[must_use]
    pub fn contents(&self) -> Vec<u8> {
        self.bytes().clone()
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        // The bytes are consistent in any case: a thread that panicked was copying.
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&mut self, transfer: Transfer, arena: &[u8]) -> io::Result<()> {
        check(self.geometry, transfer, arena.len())?;
        self.writes.count()?;
        let mut bytes = self.bytes();
        let start = transfer.at.get() as usize;
        let inside = transfer.length.min(bytes.len() - start);
        bytes[start..start + inside].copy_from_slice(&arena[transfer.position..][..inside]);
        Ok(())
    }

    fn read(&mut self, transfer: Transfer, arena: &mut [u8]) -> io::Result<()> {
        check(self.geometry, transfer, arena.len())?;
        self.reads.count()?;
        let bytes = self.bytes();
        let start = transfer.at.get() as usize;
        let inside = transfer.length.min(bytes.len() - start);
        let (data, past_end) = arena[transfer.position..][..transfer.length].split_at_mut(inside);
        data.copy_from_slice(&bytes[start..start + inside]);
        past_end.fill(0);
        Ok(())
    }

    fn clear(&mut self, extent: Extent) -> io::Result<()> {
        let inside = clip(self.geometry, extent)?;
        self.writes.count()?;
        self.bytes()[inside.start().get() as usize..inside.end().get() as usize].fill(0);
        Ok(())
    }

    fn write_all(&mut self, batch: &WriteBatch) -> Result<(), DeviceError> {
        for &extent in &batch.clears {
            let failed = |cause| DeviceError { attempt: Attempt::Clear(extent), cause };
            self.clear(extent).map_err(failed)?;
        }
        for &transfer in &batch.writes {
            let attempt = Attempt::Write(extent_of(transfer));
            let failed = |cause| DeviceError { attempt, cause };
            self.write(transfer, batch.arena.as_slice()).map_err(failed)?;
        }
        Ok(())
    }

    fn check_failure(&self) -> Result<(), DeviceError> {
        self.first_failure.as_ref().map_or(Ok(()), |failure| Err(failure.again()))
    }
}

impl BlockDevice for MemoryDevice {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn engine_name(&self) -> &'static str {
        "memory"
    }

    fn read_batch(&mut self, batch: ReadBatch) -> Result<Arena, DeviceError> {
        let ReadBatch { mut arena, reads } = batch;
        for transfer in reads {
            let attempt = Attempt::Read(extent_of(transfer));
            let failed = |cause| DeviceError { attempt, cause };
            self.read(transfer, arena.as_mut_slice()).map_err(failed)?;
        }
        Ok(arena)
    }

    fn write_batch(&mut self, batch: WriteBatch) -> Result<(), DeviceError> {
        self.check_failure()?;
        let done = self.write_all(&batch);
        if let Err(failure) = &done {
            self.first_failure = Some(Arc::new(failure.again()));
        }
        done
    }

    fn reap(&mut self) -> Result<bool, DeviceError> {
        self.check_failure().map(|()| false)
    }

    fn settle(&mut self) -> Result<Settled, DeviceError> {
        self.check_failure()?;
        Ok(Settled(()))
    }

    fn flush(&mut self, Settled(()): Settled) -> Result<Flushed, DeviceError> {
        self.check_failure()?;
        self.flushes.count().map_err(|cause| {
            let failure = DeviceError { attempt: Attempt::Flush, cause };
            self.first_failure.insert(Arc::new(failure)).again()
        })?;
        Ok(Flushed(()))
    }

    fn begin_flush(&mut self) -> Result<Flushing, DeviceError> {
        if let Some((times, left)) = &mut self.flush_beside {
            *left = *times;
            return Ok(Flushing::UnderWay);
        }
        let settled = self.settle()?;
        self.flush(settled).map(Flushing::Done)
    }

    fn is_flushed(&mut self) -> bool {
        let Some((_, left)) = &mut self.flush_beside else { return true };
        *left = left.saturating_sub(1);
        *left == 0
    }

    fn finish_flush(&mut self) -> Result<Flushed, DeviceError> {
        let settled = self.settle()?;
        self.flush(settled)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::device::buffer::ArenaPool;
    use crate::units::{ByteCount, ByteOffset, SectorSize};

    fn disk() -> MemoryDevice {
        let capacity = ByteCount::new(8192);
        MemoryDevice::new(Geometry { capacity, sector_size: SectorSize::Bytes512 })
    }

    fn sector(at: u64) -> Vec<Transfer> {
        vec![Transfer { at: ByteOffset::new(at), position: 0, length: 512 }]
    }

    fn batch(pool: &ArenaPool, at: u64) -> WriteBatch {
        let mut arena = pool.take().unwrap();
        arena.as_mut_slice().fill(9);
        WriteBatch { arena: Arc::new(arena), writes: sector(at), clears: Vec::new() }
    }

    #[test]
    fn a_disk_told_to_fail_does_so_where_it_was_told_and_from_then_on() {
        let pool = ArenaPool::new(1, NonZeroUsize::new(512).unwrap()).unwrap();
        let mut device = disk().failing_writes(1, libc::EIO);
        let look = device.clone();
        device.write_batch(batch(&pool, 0)).unwrap();
        let failure = device.write_batch(batch(&pool, 512)).unwrap_err();
        assert_eq!(failure.to_string(), "writing bytes 512..1024");
        assert_eq!(failure.cause.raw_os_error(), Some(libc::EIO));
        assert_eq!(device.settle().unwrap_err().attempt, failure.attempt);
        assert!(device.write_batch(batch(&pool, 0)).is_err());
        assert_eq!(look.contents()[..1024], [[9; 512], [0; 512]].concat());
    }

    #[test]
    fn reads_and_flushes_fail_as_they_were_told() {
        let pool = ArenaPool::new(1, NonZeroUsize::new(512).unwrap()).unwrap();
        let mut device = disk().failing_reads(0, libc::EIO).failing_flushes(1, libc::ENOSPC);
        let reads = ReadBatch { arena: pool.take().unwrap(), reads: sector(0) };
        assert!(matches!(device.read_batch(reads).unwrap_err().attempt, Attempt::Read(_)));
        let settled = device.settle().unwrap();
        let _ = device.flush(settled).unwrap();
        let settled = device.settle().unwrap();
        let failure = device.flush(settled).unwrap_err();
        assert_eq!(failure.cause.raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(failure.attempt, Attempt::Flush);
    }
}
