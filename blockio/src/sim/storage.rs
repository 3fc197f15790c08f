//! The directory of a history on the simulated machine.

use std::io;
use std::sync::{Arc, Mutex};

use super::disk::{SimulatedDisk, lock, step};
use super::world::{BLOCK_BYTES, DiskId, Operation, World, zeros};
use crate::device::BlockDevice;
use crate::device::Engine;
use crate::storage::{SegmentNumber, Space, StateCopy, Storage};

/// The directory.
pub(super) struct SimulatedStorage(pub(super) Arc<Mutex<World>>);

impl Storage for SimulatedStorage {
    fn read_state(&self, copy: StateCopy) -> io::Result<Option<String>> {
        step(&self.0);
        let mut world = lock(&self.0);
        world.count_read()?;
        Ok(world.now.state[copy as usize].as_deref().map(str::to_owned))
    }

    fn replace_state(&self, copy: StateCopy, text: &str) -> io::Result<()> {
        step(&self.0);
        let mut world = lock(&self.0);
        world.count()?;
        let text: Arc<str> = text.into();
        world.now.replace_state(copy, &text);
        world.note(|| Operation::State(copy, text));
        Ok(())
    }

    fn append_state(&self, copy: StateCopy, at: u64, text: &str) -> io::Result<bool> {
        step(&self.0);
        let mut world = lock(&self.0);
        let length = world.now.state[copy as usize].as_ref().map(|text| text.len() as u64);
        if length != Some(at) {
            return Ok(false);
        }
        if let Err(error) = world.count() {
            // Any part of it may be there.
            let half = &text[..text.len() / 2];
            world.now.append_state(copy, half);
            world.note(|| Operation::AppendState(copy, half.into()));
            return Err(error);
        }
        world.now.append_state(copy, text);
        world.note(|| Operation::AppendState(copy, text.into()));
        Ok(true)
    }

    fn state_stamp(&self) -> io::Result<u64> {
        step(&self.0);
        Ok(lock(&self.0).now.stamp)
    }

    fn create_segment(
        &self,
        number: SegmentNumber,
        bytes: u64,
        _: Engine,
    ) -> io::Result<Box<dyn BlockDevice>> {
        step(&self.0);
        let mut world = lock(&self.0);
        let (disk, blocks) = (DiskId::Segment(number.0), bytes as usize / BLOCK_BYTES);
        if world.now.disks.contains_key(&disk) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        if let Some(errno) = world.create_fails {
            return Err(io::Error::from_raw_os_error(errno));
        }
        if world.segment_blocks() + blocks > world.room_blocks {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let mut content = world.now.garbage.pop().unwrap_or_default();
        content.resize(blocks, zeros());
        world.now.disks.insert(disk, content.clone());
        world.note(|| Operation::Create { disk, content });
        drop(world);
        self.open_segment(number)
    }

    fn open_segment(&self, number: SegmentNumber) -> io::Result<Box<dyn BlockDevice>> {
        step(&self.0);
        let opened = SimulatedDisk::open(&self.0, DiskId::Segment(number.0));
        Ok(Box::new(opened.ok_or(io::ErrorKind::NotFound)?))
    }

    fn shorten_segment(&self, _: SegmentNumber, _: u64) -> io::Result<()> {
        // The content past the end reads as before: that is allowed, and harder for readers.
        Ok(())
    }

    fn remove_segment(&self, number: SegmentNumber) -> io::Result<()> {
        step(&self.0);
        let mut world = lock(&self.0);
        world.count()?;
        let disk = DiskId::Segment(number.0);
        if let Some(content) = world.now.disks.remove(&disk) {
            world.now.removed.insert(disk, content.clone());
            world.now.garbage.push(content);
            world.note(|| Operation::Remove(disk));
        }
        Ok(())
    }

    fn segments(&self) -> io::Result<Vec<SegmentNumber>> {
        let world = lock(&self.0);
        let numbers = world.now.disks.keys().filter_map(|id| match id {
            DiskId::Volume(_) => None,
            DiskId::Segment(number) => Some(SegmentNumber(*number)),
        });
        Ok(numbers.collect())
    }

    fn space(&self) -> io::Result<Space> {
        let world = lock(&self.0);
        let free = world.room_blocks.saturating_sub(world.segment_blocks());
        Ok(Space {
            // So that nothing is held in reserve: running out of room is the purpose.
            total_bytes: 0,
            free_bytes: (free * BLOCK_BYTES) as u64,
        })
    }
}
