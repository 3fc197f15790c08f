//! `--verify`: data that was just written is read from the device again, and its checksum compared.

use std::io;

use crate::device::buffer::{Arena, ArenaPool};
use crate::device::{Attempt, BlockDevice, DeviceError, ReadBatch, TRANSFER_BYTES_MAX, Transfer};
use crate::extent::Extent;
use crate::plan::WritePlan;
use crate::units::ByteOffset;

/// The content that an extent must read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    extent: Extent,
    // `None` for zeros.
    checksum: Option<u32>,
}

impl Expected {
    /// Expects `data` at `extent`.
    pub(crate) fn data(extent: Extent, data: &[u8]) -> Self {
        Self { extent, checksum: Some(crc32c::crc32c(data)) }
    }
}

/// Why reading back failed.
#[derive(Debug)]
pub(crate) enum ReadBackError {
    /// The device could not be read.
    Device(DeviceError),
    /// An extent differs from what was written.
    Differs(Extent),
}

impl From<DeviceError> for ReadBackError {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

/// What the whole sectors of `plan` must read as, with their data from `arena`. Patched sectors are
/// left to the code that patches them.
pub(crate) fn expected(plan: &WritePlan, arena: &Arena) -> Vec<Expected> {
    let writes = plan.writes.iter().filter_map(|write| {
        let extent = write.extent()?;
        let data = arena.as_slice().get(write.position..write.position + write.length)?;
        Some(Expected::data(extent, data))
    });
    let clears = plan.clears.iter().map(|extent| Expected { extent: *extent, checksum: None });
    writes.chain(clears).collect()
}

/// Reads the `expected` extents and compares them. Nothing that touches them may be under way.
pub(crate) fn compare(
    device: &mut dyn BlockDevice,
    expected: &[Expected],
    scratch: &ArenaPool,
) -> Result<(), ReadBackError> {
    for one in expected {
        for part in parts(one.extent, scratch) {
            let attempt = Attempt::Read(one.extent);
            let failed = |error| DeviceError { attempt, cause: io::Error::other(error) };
            let arena = scratch.take().map_err(failed)?;
            let read = device.read_batch(ReadBatch { arena, reads: vec![part] })?;
            let data = &read.as_slice()[..part.length];
            let same = match one.checksum {
                Some(checksum) => crc32c::crc32c(data) == checksum,
                None => data.iter().all(|byte| *byte == 0),
            };
            if !same {
                return Err(ReadBackError::Differs(part.extent().unwrap_or(one.extent)));
            }
        }
    }
    Ok(())
}

/// An extent divided into reads: a write is one, and zeros may be many.
fn parts(extent: Extent, scratch: &ArenaPool) -> impl Iterator<Item = Transfer> {
    let step = scratch.arena_bytes().get().min(TRANSFER_BYTES_MAX) as u64;
    let (start, end) = (extent.start().get(), extent.end().get());
    (start..end).step_by(usize::try_from(step).unwrap_or(usize::MAX)).map(move |at| {
        let length = step.min(end - at) as usize;
        Transfer { at: ByteOffset::new(at), position: 0, length }
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::Arc;

    use super::*;
    use crate::device::memory::MemoryDevice;
    use crate::device::{Geometry, WriteBatch};
    use crate::units::{ByteCount, SectorSize};

    fn pool(bytes: usize) -> ArenaPool {
        ArenaPool::new(1, NonZeroUsize::new(bytes).unwrap()).unwrap()
    }

    fn extent(start: u64, length: u64) -> Extent {
        Extent::new(ByteOffset::new(start), ByteCount::new(length)).unwrap()
    }

    /// An arena in which each sector is filled with its number, starting from 1.
    fn numbered(bytes: usize) -> Arena {
        let mut arena = pool(bytes).take().unwrap();
        for (number, sector) in arena.as_mut_slice().chunks_mut(512).enumerate() {
            sector.fill(1 + number as u8);
        }
        arena
    }

    /// A disk of 8192 bytes that begins with `data`.
    fn disk_with(data: &[u8]) -> MemoryDevice {
        let geometry =
            Geometry { capacity: ByteCount::new(8192), sector_size: SectorSize::Bytes512 };
        let mut device = MemoryDevice::new(geometry);
        let mut arena = pool(8192).take().unwrap();
        arena.as_mut_slice()[..data.len()].copy_from_slice(data);
        let writes = vec![Transfer { at: ByteOffset::ZERO, position: 0, length: 8192 }];
        let batch = WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() };
        device.write_batch(batch).unwrap();
        device
    }

    #[test]
    fn what_a_plan_writes_is_expected_with_its_own_bytes_and_what_it_clears_as_zeros() {
        let arena = numbered(2048);
        let write = Transfer { at: ByteOffset::new(4096), position: 512, length: 1024 };
        let plan =
            WritePlan { writes: vec![write], clears: vec![extent(0, 512)], ..WritePlan::default() };
        let bytes = &arena.as_slice()[512..1536];
        let zeros = Expected { extent: extent(0, 512), checksum: None };
        let all = [Expected::data(extent(4096, 1024), bytes), zeros];
        assert_eq!(expected(&plan, &arena), all);
    }

    #[test]
    fn one_byte_that_is_not_as_it_was_written_is_noticed_wherever_it_is() {
        // The last part that is read is shorter than the others, and the bytes after it are not
        // checked.
        let (good, scratch) = (vec![7; 2560], pool(1024));
        let all = [Expected::data(extent(0, 512), &good[..512])];
        assert!(compare(&mut disk_with(&good), &all, &scratch).is_ok());
        for at in [0, 511] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let found = compare(&mut disk_with(&bad), &all, &scratch).unwrap_err();
            assert!(matches!(found, ReadBackError::Differs(part) if part == extent(0, 512)));
        }
    }

    #[test]
    fn zeros_are_read_to_their_last_byte_and_no_further() {
        let (zeros, scratch) = (extent(1024, 2560), pool(1024));
        let all = [Expected { extent: zeros, checksum: None }];
        let around = |at: usize| {
            let mut bytes = vec![0; 8192];
            bytes[at] = 1;
            compare(&mut disk_with(&bytes), &all, &scratch)
        };
        let (first, last) = (1024, 1024 + 2560 - 1);
        assert!(around(first - 1).is_ok());
        assert!(around(last + 1).is_ok(), "what comes after it was read");
        for (at, part) in [(first, extent(1024, 1024)), (last, extent(3072, 512))] {
            let found = around(at).unwrap_err();
            assert!(matches!(found, ReadBackError::Differs(told) if told == part), "{found:?}");
        }
    }

    #[test]
    fn a_disk_that_cannot_be_read_is_not_taken_for_one_that_differs() {
        let all = [Expected { extent: extent(0, 512), checksum: None }];
        let mut device = disk_with(&[]).failing_reads(0, libc::EIO);
        let failed = compare(&mut device, &all, &pool(512)).unwrap_err();
        assert!(matches!(failed, ReadBackError::Device(_)), "{failed:?}");
    }
}
