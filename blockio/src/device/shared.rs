//! A disk that many threads read simultaneously: each read has a device to itself, as far as there
//! can be several of the disk.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::device::buffer::Arena;
use crate::device::{BlockDevice, DeviceError, Engine, Geometry, ReadBatch};

/// How many devices of a disk are kept for the next reads: each has the disk open.
const IDLE_MAX: usize = 4;

/// A disk. There are never more devices of it than there were simultaneous reads.
pub(crate) struct Shared {
    geometry: Geometry,
    first: Mutex<Box<dyn BlockDevice>>,
    idle: Mutex<Vec<Box<dyn BlockDevice>>>,
}

impl Shared {
    /// The disk of `device`.
    pub(crate) fn new(device: Box<dyn BlockDevice>) -> Self {
        Self { geometry: device.geometry(), first: Mutex::new(device), idle: Mutex::default() }
    }

    /// Its size and sector size.
    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// As [`BlockDevice::read_batch`].
    ///
    /// # Errors
    ///
    /// As [`BlockDevice::read_batch`].
    pub(crate) fn read_batch(&self, batch: ReadBatch) -> Result<Arena, DeviceError> {
        self.with(|device| device.read_batch(batch))
    }

    /// Lends a device to `work`: one of its own, if the disk can have several.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut dyn BlockDevice) -> T) -> T {
        let idle = lock(&self.idle).pop();
        let Some(mut device) = idle.or_else(|| self.another(Engine::Blocking)) else {
            return work(lock(&self.first).as_mut());
        };
        let result = work(device.as_mut());
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_MAX {
            idle.push(device);
        }
        result
    }

    /// Another device for the disk, with `engine`; `None` if there is no such thing.
    pub(crate) fn another(&self, engine: Engine) -> Option<Box<dyn BlockDevice>> {
        lock(&self.first).another(engine)
    }
}

/// A thread that panicked was only reading: nothing is half done.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::device::blocking::BlockingDevice;
    use crate::device::buffer::ArenaPool;
    use crate::device::memory::MemoryDevice;
    use crate::device::{Attempt, Transfer};
    use crate::units::{ByteCount, ByteOffset, SectorSize};

    const GEOMETRY: Geometry =
        Geometry { capacity: ByteCount::new(4096), sector_size: SectorSize::Bytes512 };

    #[test]
    fn a_read_that_takes_long_keeps_no_other_waiting_and_each_device_is_used_again() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[7; 4096], 0).unwrap();
        let shared = Shared::new(Box::new(BlockingDevice::new(file, GEOMETRY).unwrap()));
        let pool = ArenaPool::new(1, NonZeroUsize::new(4096).unwrap()).unwrap();
        for _ in 0..3 {
            shared.with(|_| {
                let reads = vec![Transfer { at: ByteOffset::ZERO, position: 0, length: 4096 }];
                let batch = ReadBatch { arena: pool.take().unwrap(), reads };
                assert_eq!(shared.read_batch(batch).unwrap().as_slice(), [7; 4096]);
            });
        }
        assert_eq!(lock(&shared.idle).len(), 2);
        assert!(shared.another(Engine::Blocking).is_some());
    }

    #[test]
    fn a_disk_of_which_there_is_only_one_device_is_read_by_one_after_the_other() {
        let shared = Shared::new(Box::new(MemoryDevice::new(GEOMETRY)));
        assert!(shared.another(Engine::Blocking).is_none());
        let pool = ArenaPool::new(2, NonZeroUsize::new(8192).unwrap()).unwrap();
        let read = |length| {
            let reads = vec![Transfer { at: ByteOffset::ZERO, position: 0, length }];
            shared.read_batch(ReadBatch { arena: pool.take().unwrap(), reads })
        };
        assert!(read(4096).is_ok());
        let failed = read(8192).unwrap_err();
        assert!(matches!(failed.attempt, Attempt::Read(_)));
        assert!(lock(&shared.idle).is_empty() && read(512).is_ok());
    }
}
