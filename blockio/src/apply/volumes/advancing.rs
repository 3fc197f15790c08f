//! Plans that wait for their history, in stream order: first the data they overwrite is read, then
//! recorded, and once the records are durable the plan is written. Several wait simultaneously, so
//! that reads, records and writes overlap.

use std::sync::Arc;

use super::Volumes;
use super::pending::{Pending, Reads, Stage};
use crate::Result;
use crate::device::buffer::Arena;
use crate::device::{ReadBatch, Reading};
use crate::group::Group;
use crate::journal::draft::Outline;

impl Volumes {
    /// Begins to read the data that the last pending plan overwrites.
    pub(super) fn begin_reads(&mut self, outlines: Vec<Outline>, group: &mut Group) -> Result<()> {
        for outline in outlines {
            let Some(arena) = self.record_arena(group)? else { break };
            let Some(index) = self.pending.back().map(|last| last.index) else { break };
            let Some(writer) = self.volumes[index].writer() else { break };
            let batch = ReadBatch { arena, reads: outline.reads() };
            match writer.begin_read(batch) {
                Ok(reading) => {
                    if let Some(reads) = self.last_reads() {
                        reads.under_way.push_back((outline, reading));
                    }
                }
                Err(error) => {
                    let error = writer.failed(error);
                    self.note(index, Err(error));
                }
            }
        }
        if let Some(reads) = self.last_reads() {
            reads.is_complete = true;
        }
        Ok(())
    }

    fn last_reads(&mut self) -> Option<&mut Reads> {
        match self.pending.back_mut().map(|last| &mut last.stage) {
            Some(Stage::Reads(reads)) => Some(reads),
            Some(Stage::Recorded(_)) | None => None,
        }
    }

    /// Memory for a record. While all of it is in use for reads, the oldest is recorded, and the
    /// journal gives its memory back.
    fn record_arena(&mut self, group: &mut Group) -> Result<Option<Arena>> {
        loop {
            if let Some(arena) = group.try_arena() {
                return Ok(Some(arena));
            }
            if !self.record_oldest(group)? {
                return group.arena();
            }
        }
    }

    /// Waits for the oldest read, and records it; returns false if nothing is being read.
    fn record_oldest(&mut self, group: &mut Group) -> Result<bool> {
        for place in 0..self.pending.len() {
            let Stage::Reads(reads) = &mut self.pending[place].stage else { continue };
            if let Some((outline, reading)) = reads.under_way.pop_front() {
                self.record_one(place, outline, reading, group)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn record_one(
        &mut self,
        place: usize,
        outline: Outline,
        reading: Reading,
        group: &mut Group,
    ) -> Result<()> {
        let index = self.pending[place].index;
        // A volume that failed needs no records: it is not overwritten either.
        let Some(writer) = self.volumes[index].writer() else { return Ok(()) };
        let read = match reading {
            Reading::Done(arena) => Ok(arena),
            Reading::UnderWay => writer.finish_read(),
        };
        match read {
            Ok(arena) => group.record(outline, arena).inspect_err(|_| {
                // It is not recorded, and later plans may overlap it. Neither may be taken for
                // written: no flush succeeds from here on.
                self.pending.truncate(place);
                self.has_lost_history = true;
            }),
            Err(error) => {
                let error = writer.failed(error);
                self.note(index, Err(error));
                Ok(())
            }
        }
    }

    /// Records everything that has been read by now, in order; or everything, if `waiting`.
    pub(super) fn record_what_is_read(&mut self, waiting: bool, group: &mut Group) -> Result<()> {
        let mut place = 0;
        while let Some(Pending { index, stage }) = self.pending.get_mut(place) {
            let Stage::Reads(reads) = stage else {
                place += 1;
                continue;
            };
            match reads.under_way.front() {
                Some((_, Reading::UnderWay)) if !waiting => {
                    let writer = self.volumes[*index].writer();
                    if writer.is_some_and(|writer| !writer.is_read()) {
                        return Ok(());
                    }
                }
                Some(_) => {}
                None if reads.is_complete => {
                    let plan = std::mem::take(&mut reads.plan);
                    *stage = Stage::Recorded(group.recorded(plan, Arc::clone(&reads.arena)));
                    continue;
                }
                None => return Ok(()),
            }
            if let Some((outline, reading)) = reads.under_way.pop_front() {
                self.record_one(place, outline, reading, group)?;
            }
        }
        Ok(())
    }

    /// Writes everything that may be written by now, in order.
    pub(super) fn write_what_is_preserved(&mut self, group: &mut Group) -> Result<()> {
        self.record_what_is_read(false, group)?;
        while let Some(Pending { stage: Stage::Recorded(plan), .. }) = self.pending.front() {
            if !group.is_preserved(plan)? {
                return Ok(());
            }
            self.write_next(group)?;
        }
        Ok(())
    }

    /// Waits until the oldest pending plan may be written, and writes it; returns false if nothing
    /// is pending.
    pub(super) fn wait_for_history(&mut self, group: &mut Group) -> Result<bool> {
        if self.pending.is_empty() {
            return Ok(false);
        }
        while self.is_first_read() {
            self.record_oldest(group)?;
        }
        self.record_what_is_read(false, group)?;
        self.write_next(group)?;
        Ok(true)
    }

    /// Whether data that the oldest plan overwrites is still being read.
    fn is_first_read(&self) -> bool {
        let first = self.pending.front().map(|first| &first.stage);
        matches!(first, Some(Stage::Reads(reads)) if !reads.under_way.is_empty())
    }

    /// Writes the oldest plan, if all of it is recorded, as soon as its records are durable.
    fn write_next(&mut self, group: &mut Group) -> Result<()> {
        let (index, plan) = match self.pending.pop_front() {
            Some(Pending { index, stage: Stage::Recorded(plan) }) => (index, plan),
            Some(read) => {
                self.pending.push_front(read);
                return Ok(());
            }
            None => return Ok(()),
        };
        // The plan is dropped if its history is not durable. It must not be taken for written.
        let preserved = group.wait_for(plan).inspect_err(|_| self.has_lost_history = true)?;
        let Some(writer) = self.volumes[index].writer() else { return Ok(()) };
        let written = writer.write(preserved);
        self.note(index, written);
        Ok(())
    }
}
