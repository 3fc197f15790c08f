//! Runs of bytes become whole sectors and patches. Overlaps are resolved before.

use super::overlay::Run;
use super::{Change, Patch, WritePlan};
use crate::device::{TRANSFER_BYTES_MAX, Transfer};
use crate::extent::Extent;
use crate::units::{ByteCount, ByteOffset, SectorSize};

impl WritePlan {
    /// Clears everything but keeps the allocations.
    pub(super) fn clear(&mut self) {
        self.writes.clear();
        self.clears.clear();
        self.patches.clear();
        self.touched.clear();
    }

    /// Adds a run that lies after all runs so far and cannot be joined with the last one.
    pub(super) fn add(&mut self, run: Run, size: SectorSize) {
        self.touch(run.extent, size);
        let Some(whole) = run.extent.align_inward(size) else {
            return self.add_without_whole_sector(run, size);
        };
        let edges = run.extent.subtract(whole);
        if let Some(head) = edges.before {
            self.patch(run.part(head), size);
        }
        self.replace(run.part(whole));
        if let Some(tail) = edges.after {
            self.patch(run.part(tail), size);
        }
    }

    /// A run inside one sector, or the end of one and the beginning of the next.
    fn add_without_whole_sector(&mut self, run: Run, size: SectorSize) {
        let boundary = size.align_up(run.extent.start());
        match boundary.and_then(|boundary| run.extent.split_at(boundary)) {
            Some((tail, head)) => {
                self.patch(run.part(tail), size);
                self.patch(run.part(head), size);
            }
            None => self.patch(run, size),
        }
    }

    /// Adds whole sectors: as a clear, or as transfers of the maximum length.
    fn replace(&mut self, run: Run) {
        if run.position.is_none() {
            return self.clears.push(run.extent);
        }
        let mut rest = Some(run);
        while let Some(Run { extent, position: Some(position) }) = rest {
            let most = ByteCount::new(TRANSFER_BYTES_MAX as u64);
            let split = extent.start().checked_add(most).and_then(|place| extent.split_at(place));
            let first = split.map_or(extent, |(first, _)| first);
            // At most TRANSFER_BYTES_MAX.
            let length = first.length().get() as usize;
            self.writes.push(Transfer { at: first.start(), position, length });
            rest = split.map(|(_, after)| run.part(after));
        }
    }

    /// Adds a part of one sector.
    fn patch(&mut self, run: Run, size: SectorSize) {
        let sector = size.lba_containing(run.extent.start());
        let within = run.extent.start().get() - size.align_down(run.extent.start()).get();
        // Both are below the size of a sector.
        let (within, length) = (within as usize, run.extent.length().get() as usize);
        let change = Change { within, length, position: run.position };
        match self.patches.last_mut() {
            Some(patch) if patch.sector == sector => patch.changes.push(change),
            _ => self.patches.push(Patch { sector, changes: vec![change] }),
        }
    }

    /// Adds the sectors of `extent` to the touched ones.
    fn touch(&mut self, extent: Extent, size: SectorSize) {
        let start = size.align_down(extent.start());
        let end = size.align_up(extent.end()).unwrap_or(ByteOffset::new(u64::MAX));
        let sectors = Extent::between(start, end).expect("invariant: aligned outward, never empty");
        match self.touched.last_mut() {
            Some(last) if start <= last.end() => *last = last.join(sectors).unwrap_or(*last),
            _ => self.touched.push(sectors),
        }
    }
}
