//! The engine that waits: pread(2) and pwrite(2), one transfer after the other. It is for kernels
//! and containers that refuse io_uring, and has the same semantics.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::device::buffer::Arena;
use crate::device::clear::Clearing;
use crate::device::disk_file::{DiskFile, Parts, PartsToClear, extent_of};
use crate::device::uring::UringDevice;
use crate::device::{
    Attempt, BlockDevice, DeviceError, Engine, Flushed, Geometry, ReadBatch, Settled, Transfer,
    WriteBatch,
};
use crate::extent::Extent;

/// A disk or an image file.
#[derive(Debug)]
pub struct BlockingDevice {
    disk: DiskFile,
    clearing: Clearing,
    first_failure: Option<DeviceError>,
}

impl BlockingDevice {
    /// A device of `file`, which is open for reading and writing and has `geometry`.
    ///
    /// # Errors
    ///
    /// The kernel's error when opening `file` a second time, which an image that is not whole
    /// sectors needs.
    pub fn new(file: File, geometry: Geometry) -> io::Result<Self> {
        let (disk, clearing) = (DiskFile::new(file, geometry)?, Clearing::default());
        Ok(Self { disk, clearing, first_failure: None })
    }

    fn write(&self, transfer: Transfer, arena: &[u8]) -> io::Result<()> {
        let Parts { whole, tail } = self.disk.parts(transfer, arena.len())?;
        if let Some(whole) = whole {
            self.disk.file().write_all_at(&arena[range(whole)], whole.at.get())?;
        }
        if let Some(tail) = tail {
            self.disk.write_tail(&arena[range(tail)])?;
        }
        Ok(())
    }

    fn read(&self, transfer: Transfer, arena: &mut [u8]) -> io::Result<()> {
        let Parts { whole, tail } = self.disk.parts(transfer, arena.len())?;
        if let Some(whole) = whole {
            self.disk.file().read_exact_at(&mut arena[range(whole)], whole.at.get())?;
        }
        if let Some(tail) = tail {
            self.disk.read_tail(&mut arena[range(tail)])?;
        }
        Ok(())
    }

    fn clear(&mut self, extent: Extent) -> io::Result<()> {
        let PartsToClear { whole, as_data, has_tail } = self.disk.parts_to_clear(extent)?;
        match whole {
            Some(whole) if as_data => self.clearing.write_zeros(self.disk.file(), whole)?,
            Some(whole) => self.clearing.clear(self.disk.file(), whole)?,
            None => {}
        }
        if has_tail { self.disk.clear_tail() } else { Ok(()) }
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

impl BlockDevice for BlockingDevice {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn engine_name(&self) -> &'static str {
        "blocking"
    }

    fn another(&self, engine: Engine) -> Option<Box<dyn BlockDevice>> {
        let (file, geometry) = (self.disk.file().try_clone().ok()?, self.disk.geometry());
        Some(match engine {
            Engine::Blocking => Box::new(Self::new(file, geometry).ok()?),
            Engine::Auto | Engine::Uring => Box::new(UringDevice::new(file, geometry).ok()?),
        })
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
            self.first_failure = Some(failure.again());
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
        // After a failed flush it is unknown what is durable, and a second flush would not report
        // it.
        self.check_failure()?;
        self.disk.flush().map_err(|cause| {
            let failure = DeviceError { attempt: Attempt::Flush, cause };
            self.first_failure.insert(failure).again()
        })?;
        Ok(Flushed(()))
    }
}

fn range(transfer: Transfer) -> std::ops::Range<usize> {
    transfer.position..transfer.position + transfer.length
}
