//! Plans that wait for their history, in stream order: first the data they overwrite is read, then
//! recorded, and once the records are durable the plan is written. Several wait simultaneously, so
//! that reads, records and writes overlap.

use std::sync::Arc;

use super::pending::{Alike, Pending, Reads, Stage};
use super::{Volumes, alike};
use crate::Result;
use crate::apply::writer::Writer;
use crate::device::buffer::Arena;
use crate::device::{ReadBatch, Reading};
use crate::extent::Extent;
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

    /// Memory for a record. While all of it is in use, older plans advance: they give it back.
    fn record_arena(&mut self, group: &mut Group) -> Result<Option<Arena>> {
        loop {
            if let Some(arena) = group.try_arena() {
                return Ok(Some(arena));
            }
            self.advance_plans(group)?;
            if self.first_that_reads().is_none() {
                return group.arena();
            }
            self.wait_for_one(group)?;
        }
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
            Ok(arena) => self.take_content(place, outline, arena, group).inspect_err(|_| {
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

    /// Takes what was read into `arena` for the plan at `place`: it is recorded, unless it is
    /// what the plan writes.
    ///
    /// What is left out of the plan counts as not preserved: if something else is written there
    /// later, it has to be. A crash in between leaves it as it is, and recorded nowhere.
    fn take_content(
        &mut self,
        place: usize,
        mut outline: Outline,
        mut arena: Arena,
        group: &mut Group,
    ) -> Result<()> {
        let Stage::Reads(reads) = &mut self.pending[place].stage else { return Ok(()) };
        if reads.alike == Alike::LeftOut {
            let (plan, data, volume) = (&reads.plan, &reads.arena, outline.volume());
            let differing = |extent, held: &[u8]| alike::differing(plan, data, extent, held);
            let left_out = outline.trim(&mut arena, differing);
            group.leave_out(volume, &left_out);
            reads.left_out.extend(left_out);
        }
        match outline.is_empty() {
            true => Ok(()),
            false => group.record(outline, arena),
        }
    }

    /// Records everything that has been read by now, in order.
    fn record_what_is_read(&mut self, group: &mut Group) -> Result<()> {
        let mut place = 0;
        while let Some(Pending { index, stage }) = self.pending.get_mut(place) {
            let Stage::Reads(reads) = stage else {
                place += 1;
                continue;
            };
            match reads.under_way.front() {
                Some((_, Reading::UnderWay)) => {
                    let writer = self.volumes[*index].writer();
                    if writer.is_some_and(|writer| !writer.is_read()) {
                        return Ok(());
                    }
                }
                Some((_, Reading::Done(_))) => {}
                None if reads.is_complete => {
                    let mut plan = std::mem::take(&mut reads.plan);
                    Extent::coalesce(&mut reads.left_out);
                    alike::leave_out(&mut plan, &reads.left_out);
                    let left_out = reads.left_out.iter().map(|one| one.length().get());
                    self.left_out_bytes += left_out.sum::<u64>();
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

    /// Does everything that can be done without waiting: records what was read, and writes what is
    /// preserved, in order.
    pub(super) fn advance_plans(&mut self, group: &mut Group) -> Result<()> {
        self.record_what_is_read(group)?;
        while let Some(Pending { stage: Stage::Recorded(plan), .. }) = self.pending.front() {
            if !group.is_preserved(plan)? {
                return Ok(());
            }
            self.write_next(group)?;
        }
        Ok(())
    }

    /// Waits until the oldest pending plan is written; returns false if nothing is pending.
    pub(super) fn wait_for_history(&mut self, group: &mut Group) -> Result<bool> {
        if self.pending.is_empty() {
            return Ok(false);
        }
        let before = self.plans_done;
        self.advance_plans(group)?;
        while self.plans_done == before && !self.pending.is_empty() {
            self.wait_for_one(group)?;
            self.advance_plans(group)?;
        }
        Ok(true)
    }

    /// Waits for one thing that lets a pending plan advance. A device is waited for first: what it
    /// completes feeds the journal, which goes on meanwhile.
    pub(super) fn wait_for_one(&mut self, group: &mut Group) -> Result<()> {
        if let Some(index) = self.first_that_reads() {
            let reaped = self.volumes[index].writer().map_or(Ok(()), Writer::reap);
            self.note(index, reaped);
            return Ok(());
        }
        match self.pending.front().map(|first| &first.stage) {
            Some(Stage::Recorded(plan)) => group.wait_for_records(plan),
            Some(Stage::Reads(_)) | None => Ok(()),
        }
    }

    /// The volume that the oldest read under way is of.
    fn first_that_reads(&mut self) -> Option<usize> {
        let is_reading = |pending: &&Pending| match &pending.stage {
            Stage::Reads(reads) => matches!(reads.under_way.front(), Some((_, Reading::UnderWay))),
            Stage::Recorded(_) => false,
        };
        let index = self.pending.iter().find(is_reading)?.index;
        // The plans of a volume that has failed advance without it.
        self.volumes[index].writer().map(|_| index)
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
        self.plans_done += 1;
        // The plan is dropped if its history is not durable. It must not be taken for written.
        let preserved = group.wait_for(plan).inspect_err(|_| self.has_lost_history = true)?;
        let Some(writer) = self.volumes[index].writer() else { return Ok(()) };
        let written = writer.write(preserved);
        self.note(index, written);
        Ok(())
    }
}
