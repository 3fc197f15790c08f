//! Random work for a disk: batches of writes and clears that obey the rules of a device, and the
//! expected contents of the disk, byte by byte. No engine is used here.

use std::num::NonZeroUsize;
use std::sync::Arc;

use blockio::device::buffer::{Arena, ArenaPool};
use blockio::device::{
    BlockDevice, DeviceError, Geometry, ReadBatch, TRANSFER_BYTES_MAX, Transfer, WriteBatch,
};
use blockio::extent::Extent;
use blockio::units::{ByteCount, ByteOffset};

/// Size of the arenas in [`pool`].
pub const ARENA_BYTES: NonZeroUsize = NonZeroUsize::new(2 << 20).expect("not zero");

/// A change of some sectors.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The first sector, modulo the size of the disk.
    pub first: u64,
    /// Number of sectors; cut off at the end of the disk.
    pub sectors: u64,
    /// Whether they are cleared instead of written.
    pub is_clear: bool,
}

/// The changes of one batch: a change that overlaps an earlier one is left out.
pub type Step = Vec<Change>;

/// Few arenas, so that a device has to return them.
pub fn pool() -> ArenaPool {
    ArenaPool::new(3, ARENA_BYTES).unwrap()
}

/// Does `steps` on `device` and on `expected`, which must have the same length.
///
/// # Errors
///
/// The first failure of the device.
pub fn run(
    device: &mut dyn BlockDevice,
    pool: &ArenaPool,
    expected: &mut [u8],
    steps: &[Step],
) -> Result<(), DeviceError> {
    let mut unsettled: Vec<Extent> = Vec::new();
    for (serial, step) in steps.iter().enumerate() {
        let (batch, touched) =
            batch(device.geometry(), free(device, pool)?, expected, step, serial as u8 + 1);
        if touched.iter().any(|extent| unsettled.iter().any(|other| other.overlaps(*extent))) {
            let settled = device.settle()?;
            let _ = device.flush(settled)?;
            unsettled.clear();
        }
        unsettled.extend(touched);
        device.write_batch(batch)?;
    }
    let settled = device.settle()?;
    let _ = device.flush(settled)?;
    Ok(())
}

/// A free arena: the device returns arenas that are done when asked.
fn free(device: &mut dyn BlockDevice, pool: &ArenaPool) -> Result<Arena, DeviceError> {
    loop {
        match pool.try_take() {
            Some(arena) => return Ok(arena),
            None => drop(device.reap()?),
        }
    }
}

/// The batch of `step`, already applied to `expected`, and the extents it touches.
fn batch(
    geometry: Geometry,
    mut arena: Arena,
    expected: &mut [u8],
    step: &Step,
    serial: u8,
) -> (WriteBatch, Vec<Extent>) {
    let (mut writes, mut clears, mut touched) = (Vec::new(), Vec::new(), Vec::<Extent>::new());
    let mut free = 0;
    for change in step {
        let extent = extent_of(geometry, *change);
        if touched.iter().any(|other| other.overlaps(extent)) {
            continue;
        }
        let (start, length) = (extent.start().get() as usize, extent.length().get() as usize);
        let inside = length.min(expected.len() - start);
        if change.is_clear {
            expected[start..start + inside].fill(0);
            clears.push(extent);
        } else if free + length <= ARENA_BYTES.get() {
            let data = &mut arena.as_mut_slice()[free..free + length];
            for (index, byte) in data.iter_mut().enumerate() {
                *byte = serial.wrapping_mul(31) ^ (start + index).wrapping_mul(7) as u8 ^ 0x55;
            }
            expected[start..start + inside].copy_from_slice(&data[..inside]);
            writes.push(Transfer { at: extent.start(), position: free, length });
            free += length;
        } else {
            continue;
        }
        touched.push(extent);
    }
    (WriteBatch { arena: Arc::new(arena), writes, clears }, touched)
}

fn extent_of(geometry: Geometry, change: Change) -> Extent {
    let sector = geometry.sector_size.bytes().get();
    let sectors = geometry.capacity.get().div_ceil(sector);
    let first = change.first % sectors;
    let most = (TRANSFER_BYTES_MAX as u64 / sector).min(sectors - first);
    let length = ByteCount::new(change.sectors.clamp(1, most) * sector);
    Extent::new(ByteOffset::new(first * sector), length).unwrap()
}

/// Every byte of `device`. Panics unless the bytes past its end read as zeros.
///
/// # Errors
///
/// A read that failed.
pub fn read_all(device: &mut dyn BlockDevice, pool: &ArenaPool) -> Result<Vec<u8>, DeviceError> {
    let Geometry { capacity, sector_size } = device.geometry();
    let end = capacity.get().next_multiple_of(sector_size.bytes().get());
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < end {
        let at = ByteOffset::new(bytes.len() as u64);
        let length = (end - at.get()).min(TRANSFER_BYTES_MAX as u64) as usize;
        let mut arena = pool.take().unwrap();
        arena.as_mut_slice().fill(0xAA);
        // In pieces, so that several reads are in flight.
        let pieces = (0..length).step_by(64 << 10);
        let reads = pieces.map(|from| Transfer {
            at: ByteOffset::new(at.get() + from as u64),
            position: from,
            length: (length - from).min(64 << 10),
        });
        let arena = device.read_batch(ReadBatch { arena, reads: reads.collect() })?;
        bytes.extend(&arena.as_slice()[..length]);
    }
    let past_end = bytes.split_off(capacity.get() as usize);
    assert!(past_end.iter().all(|&byte| byte == 0), "past its end a disk reads as zeros");
    Ok(bytes)
}
