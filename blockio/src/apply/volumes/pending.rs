//! What is planned and waits for its history, in the order of the stream: first what it overwrites
//! is read, then recorded, and once that is durable it is written. Several wait at a time, so that
//! reads, records and writes go on beside each other.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Volumes, WritePlan};
use crate::Result;
use crate::apply::history::Preserved;
use crate::device::buffer::Arena;
use crate::device::{ReadBatch, Reading};
use crate::group::Group;
use crate::journal::Ticket;
use crate::journal::draft::Outline;

/// What is written once its history is durable.
pub(super) struct Pending {
    pub(super) index: usize,
    pub(super) plan: WritePlan,
    pub(super) arena: Arc<Arena>,
    pub(super) stage: Stage,
}

/// How far its history is.
pub(super) enum Stage {
    /// What it overwrites is read: the records that this will become.
    Reads {
        /// Those that are not recorded yet.
        reads: VecDeque<(Outline, Reading)>,
        /// None will be added.
        is_complete: bool,
    },
    /// It is recorded, up to here.
    Recorded(Ticket),
}

impl Volumes {
    /// Begins to read what the last of what is pending overwrites.
    pub(super) fn begin_reads(
        &mut self,
        outlines: Vec<Outline>,
        mut group: Option<&mut Group>,
    ) -> Result<()> {
        for outline in outlines {
            let Some(arena) = self.record_arena(group.as_deref_mut())? else { break };
            let Some(index) = self.pending.back().map(|last| last.index) else { break };
            let Some(writer) = self.volumes[index].writer() else { break };
            let batch = ReadBatch { arena, reads: outline.reads() };
            match writer.begin_read(batch) {
                Ok(reading) => {
                    if let Some(Stage::Reads { reads, .. }) = self.last_stage() {
                        reads.push_back((outline, reading));
                    }
                }
                Err(error) => {
                    let error = writer.failed(error);
                    self.note(index, Err(error));
                }
            }
        }
        if let Some(Stage::Reads { is_complete, .. }) = self.last_stage() {
            *is_complete = true;
        }
        Ok(())
    }

    fn last_stage(&mut self) -> Option<&mut Stage> {
        self.pending.back_mut().map(|last| &mut last.stage)
    }

    /// Memory for a record. While all of it is being read into, the oldest is recorded: the journal
    /// gives it back.
    fn record_arena(&mut self, mut group: Option<&mut Group>) -> Result<Option<Arena>> {
        loop {
            if let Some(arena) = self.history.try_arena() {
                return Ok(Some(arena));
            }
            if !self.record_oldest(group.as_deref_mut())? {
                return self.history.arena();
            }
        }
    }

    /// Waits for the oldest read, and records it; false if nothing is read.
    fn record_oldest(&mut self, group: Option<&mut Group>) -> Result<bool> {
        for place in 0..self.pending.len() {
            let Stage::Reads { reads, .. } = &mut self.pending[place].stage else { continue };
            if let Some((outline, reading)) = reads.pop_front() {
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
        group: Option<&mut Group>,
    ) -> Result<()> {
        let index = self.pending[place].index;
        // Of a volume that failed nothing is wanted any more: it is not overwritten either.
        let Some(writer) = self.volumes[index].writer() else { return Ok(()) };
        let read = match reading {
            Reading::Done(arena) => Ok(arena),
            Reading::UnderWay => writer.finish_read(),
        };
        match read {
            Ok(arena) => self.history.record(group, outline, arena).inspect_err(|_| {
                // It is not recorded, and what comes after it may lie on top of it. Nobody may take
                // the one or the other for written: no flush succeeds from here on.
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

    /// Records what has been read by now, in its order; or all of it, `waiting` for it.
    pub(super) fn record_what_is_read(
        &mut self,
        waiting: bool,
        mut group: Option<&mut Group>,
    ) -> Result<()> {
        for place in 0..self.pending.len() {
            loop {
                let Pending { index, stage, .. } = &mut self.pending[place];
                let Stage::Reads { reads, is_complete } = stage else { break };
                match reads.front() {
                    Some((_, Reading::UnderWay)) if !waiting => {
                        let writer = self.volumes[*index].writer();
                        if writer.is_some_and(|writer| !writer.is_read()) {
                            return Ok(());
                        }
                    }
                    Some(_) => {}
                    None if *is_complete => {
                        *stage = Stage::Recorded(self.history.recorded());
                        break;
                    }
                    None => return Ok(()),
                }
                if let Some((outline, reading)) = reads.pop_front() {
                    self.record_one(place, outline, reading, group.as_deref_mut())?;
                }
            }
        }
        Ok(())
    }

    /// Writes what may be written by now, in its order.
    pub(super) fn write_what_is_preserved(&mut self, group: Option<&mut Group>) -> Result<()> {
        self.record_what_is_read(false, group)?;
        while let Some(Pending { stage: Stage::Recorded(ticket), .. }) = self.pending.front() {
            let Some(preserved) = self.history.poll(*ticket)? else { return Ok(()) };
            self.write_next(preserved);
        }
        Ok(())
    }

    /// Waits until the oldest of what is pending may be written, and writes it; false if nothing
    /// is pending.
    pub(super) fn wait_for_history(&mut self, mut group: Option<&mut Group>) -> Result<bool> {
        let Some(next) = self.pending.front() else { return Ok(false) };
        if let Stage::Reads { .. } = next.stage {
            while matches!(&self.pending[0].stage, Stage::Reads { reads, .. } if !reads.is_empty())
            {
                self.record_oldest(group.as_deref_mut())?;
            }
            self.record_what_is_read(false, group)?;
        }
        let Some(Pending { stage: Stage::Recorded(ticket), .. }) = self.pending.front() else {
            return Ok(true);
        };
        let preserved = self.history.wait(*ticket)?;
        self.write_next(preserved);
        Ok(true)
    }

    fn write_next(&mut self, preserved: Preserved) {
        let Some(Pending { index, plan, arena, .. }) = self.pending.pop_front() else { return };
        let Some(writer) = self.volumes[index].writer() else { return };
        let written = writer.write(plan, arena, preserved);
        self.note(index, written);
    }
}
