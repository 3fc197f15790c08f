//! Stories about what a rollback leaves as it is, because the disk holds it already.
#![cfg(test)]

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::machine::Memory;
use super::stories::{Verdict, require, stories, text};
use super::world::BLOCK_BYTES;
use crate::apply::HistorySettings;
use crate::apply::volumes::{Alike, Volumes};
use crate::assignment::{Assignment, Disk, OpenDevice};
use crate::device::buffer::ArenaPool;
use crate::device::memory::MemoryDevice;
use crate::device::{Engine, Geometry, Transfer};
use crate::extent::Extent;
use crate::group::{Group, keeper};
use crate::journal::catalogue::PointId;
use crate::journal::images::Images;
use crate::journal::index::ImageIndex;
use crate::journal::memo::Targets;
use crate::plan::WritePlan;
use crate::units::{ByteCount, ByteOffset, SectorSize};

stories! {
    what_was_left_out_is_preserved_when_it_is_overwritten,
}

const BLOCKS: u64 = 8;

/// Writes `byte` to every block.
fn write(volumes: &mut Volumes, byte: u8, alike: Alike, group: &mut Group) -> Verdict {
    let length = BLOCKS as usize * BLOCK_BYTES;
    let length = NonZeroUsize::new(length).ok_or("no blocks")?;
    let pool = ArenaPool::new(1, length).map_err(|error| error.to_string())?;
    let mut arena = pool.take().map_err(text)?;
    arena.as_mut_slice().fill(byte);
    let (at, length) = (ByteOffset::ZERO, length.get());
    let whole = Extent::new(at, ByteCount::new(length as u64)).map_err(|e| e.to_string())?;
    let writes = vec![Transfer { at, position: 0, length }];
    let plan = WritePlan { writes, touched: vec![whole], ..WritePlan::default() };
    volumes.write_plan(0, plan, Arc::new(arena), alike, group).map_err(text)?;
    volumes.flush(group).map(drop).map_err(text)
}

/// In one process, so that the set of preserved blocks is not rebuilt in between.
fn what_was_left_out_is_preserved_when_it_is_overwritten(seed: u64, _: &Memory) -> Verdict {
    let capacity = ByteCount::new(BLOCKS * BLOCK_BYTES as u64);
    let device = MemoryDevice::new(Geometry { capacity, sector_size: SectorSize::Bytes512 });
    let looked_at = device.clone();
    let target = Disk::Device(OpenDevice::new("a disk".to_owned(), Box::new(device)));
    let assignment =
        Assignment { volume: "a".into(), target, identity: "a disk".to_owned().into() };
    let mut volumes = Volumes::new(vec![assignment]);
    volumes.get(0).open_to_write(Engine::Blocking, false).map_err(text)?;
    let old = 1 + seed as u8 % 100;
    write(&mut volumes, old, Alike::Written, &mut Group::default())?;
    let storage = super::storage(1 << 12);
    let mut group = Group::in_storage(Arc::clone(&storage), "g").map_err(text)?;
    let history = HistorySettings { in_thread: false, ..HistorySettings::default() };
    group.open_history(history).map_err(text)?;
    group.begin_history(&Targets::new()).map_err(text)?;
    write(&mut volumes, old, Alike::LeftOut, &mut group)?;
    require(volumes.left_out_bytes() == capacity.get(), "what was right was written")?;
    require(group.is_epoch_empty(), "nothing was overwritten, and the epoch is not empty")?;
    write(&mut volumes, old + 1, Alike::LeftOut, &mut group)?;
    require(looked_at.contents().iter().all(|byte| *byte == old + 1), "it was not written")?;
    let (known, pool) =
        (group.catalogue_now().map_err(text)?, keeper::record_pool().map_err(text)?);
    let images = Images::since(&storage, &known, PointId(0), &pool).map_err(text)?;
    let kept = images.of(0).map_or(0, ImageIndex::bytes);
    require(kept == capacity.get(), format!("of {capacity} overwritten bytes {kept} are kept"))
}
