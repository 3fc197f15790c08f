//! Sectors of which a part changes: read, changed in memory, written. The rest of such a sector
//! belongs to the target and stays.

use std::sync::Arc;

use crate::apply::read_back::Expected;
use crate::apply::under_way::UnderWay;
use crate::device::buffer::{Arena, ArenaPool};
use crate::device::{BlockDevice, DeviceError, ReadBatch, Transfer, WriteBatch};
use crate::plan::{Change, Patch};
use crate::units::SectorSize;

/// Writes `patches` with the new bytes from `arena`; returns when the last write was begun, with
/// what the sectors must read as.
///
/// A crash leaves a sector old or new: a device writes a sector whole or not at all, as far as it
/// keeps its promise. Torn sectors are made whole by applying the batch again, because the changed
/// bytes are in the stream, and the unchanged bytes are the same in the old and the new sector.
pub(crate) fn write(
    device: &mut dyn BlockDevice,
    patches: &[Patch],
    arena: &Arena,
    scratch: &ArenaPool,
    under_way: &mut UnderWay,
) -> Result<Vec<Expected>, DeviceError> {
    let mut written = Vec::new();
    let size = device.geometry().sector_size;
    let sector_bytes = bytes(size);
    let room = (scratch.arena_bytes().get() / sector_bytes).max(1);
    for some in patches.chunks(room) {
        let transfers = transfers(some, size);
        // A sector that is replaced whole need not be read, and may be unreadable.
        let partial = some.iter().zip(&transfers).filter(|(patch, _)| !patch.covers(size));
        let reads = partial.map(|(_, transfer)| *transfer).collect();
        let read = ReadBatch { arena: free(device, scratch)?, reads };
        let mut sectors = device.read_batch(read)?;
        for (patch, sector) in
            some.iter().zip(sectors.as_mut_slice().chunks_exact_mut(sector_bytes))
        {
            change(sector, &patch.changes, arena.as_slice());
        }
        let sectors_now = sectors.as_slice().chunks_exact(sector_bytes);
        written.extend(
            transfers
                .iter()
                .zip(sectors_now)
                .filter_map(|(transfer, sector)| Some(Expected::data(transfer.extent()?, sector))),
        );
        let sectors = Arc::new(sectors);
        under_way.add(&sectors, transfers.iter().filter_map(Transfer::extent).collect());
        let batch = WriteBatch { arena: sectors, writes: transfers, clears: Vec::new() };
        device.write_batch(batch)?;
    }
    Ok(written)
}

/// A free arena; it may have to be reclaimed from the device, which got it before.
fn free(device: &mut dyn BlockDevice, scratch: &ArenaPool) -> Result<Arena, DeviceError> {
    loop {
        match scratch.try_take() {
            Some(arena) => return Ok(arena),
            None => {
                device.reap()?;
            }
        }
    }
}

fn transfers(patches: &[Patch], size: SectorSize) -> Vec<Transfer> {
    let length = bytes(size);
    let places = patches.iter().filter_map(|patch| size.offset_of(patch.sector));
    places
        .enumerate()
        .map(|(index, at)| Transfer { at, position: index * length, length })
        .collect()
}

/// Makes the changes to a sector. They are inside it, and their bytes inside the arena, as the plan
/// guarantees; one that is not is skipped rather than causing a panic.
pub(crate) fn change(sector: &mut [u8], changes: &[Change], arena: &[u8]) {
    for one in changes {
        let Some(place) = sector.get_mut(one.within..one.within + one.length) else { continue };
        match one.position {
            None => place.fill(0),
            Some(position) => {
                if let Some(new) = arena.get(position..position + one.length) {
                    place.copy_from_slice(new);
                }
            }
        }
    }
}

fn bytes(size: SectorSize) -> usize {
    // 512 or 4096.
    size.bytes().get() as usize
}
