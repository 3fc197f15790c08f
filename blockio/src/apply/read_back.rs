//! `--verify`: what was just written is read from the device again and its checksum compared.

use std::io;

use crate::device::buffer::{Arena, ArenaPool};
use crate::device::{Attempt, BlockDevice, DeviceError, ReadBatch, TRANSFER_BYTES_MAX, Transfer};
use crate::extent::Extent;
use crate::plan::WritePlan;
use crate::units::ByteOffset;

/// What an extent must read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    extent: Extent,
    // None: zeros.
    checksum: Option<u32>,
}

impl Expected {
    /// `data`, at `extent`.
    pub(crate) fn data(extent: Extent, data: &[u8]) -> Self {
        Self { extent, checksum: Some(crc32c::crc32c(data)) }
    }
}

/// What went wrong.
#[derive(Debug)]
pub(crate) enum ReadBackError {
    /// The device could not be read.
    Device(DeviceError),
    /// An extent is not what was written.
    Differs(Extent),
}

impl From<DeviceError> for ReadBackError {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

/// What the whole sectors of `plan` must read as, when their data comes from `arena`. What
/// patched sectors must read as, those who patch them know.
pub(crate) fn expected(plan: &WritePlan, arena: &Arena) -> Vec<Expected> {
    let writes = plan.writes.iter().filter_map(|write| {
        let extent = write.extent()?;
        let data = arena.as_slice().get(write.position..write.position + write.length)?;
        Some(Expected::data(extent, data))
    });
    let clears = plan.clears.iter().map(|extent| Expected { extent: *extent, checksum: None });
    writes.chain(clears).collect()
}

/// Reads what is `expected` and compares. Nothing may be under way that touches it.
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

/// An extent in reads: a write is one, and zeros may be many.
fn parts(extent: Extent, scratch: &ArenaPool) -> impl Iterator<Item = Transfer> {
    let room = scratch.regions().first().map_or(0, |region| region.length);
    let step = room.clamp(1, TRANSFER_BYTES_MAX) as u64;
    let (start, end) = (extent.start().get(), extent.end().get());
    (start..end).step_by(usize::try_from(step).unwrap_or(usize::MAX)).map(move |at| {
        let length = step.min(end - at) as usize;
        Transfer { at: ByteOffset::new(at), position: 0, length }
    })
}
