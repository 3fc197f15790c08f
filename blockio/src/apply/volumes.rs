//! The volumes of a job: their targets, which of them are still written, and the flush of all of
//! them. The order of operations is up to `session`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::apply::ApplyOptions;
use crate::apply::writer::Writer;
use crate::assignment::Assignment;
use crate::barrier::AllFlushed;
use crate::device::Engine;
use crate::device::buffer::Arena;
use crate::group::Group;
use crate::group::keeper::Preserve;
use crate::journal::memo::TargetMemo;
use crate::journal::state::Consumed;
use crate::plan::{Planner, WritePlan, clear_steps};
use crate::remedy::{Remedied, StreamRemedy};
use crate::stream::{Piece, StreamHeader, VolumeIndex};
use crate::target_identity::{self, TargetIdentity};
use crate::units::{ByteCount, SectorSize};
use crate::volume_name::VolumeName;
use crate::{Error, ErrorKind, Result};

mod advancing;
mod alike;
mod behind;
mod pending;

pub(crate) use pending::Alike;
use pending::{FlushBehind, Pending, Reads, Stage};

/// How much of an input a volume has; more compares as greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Applied {
    /// Everything that ends at or before this byte.
    UpTo(u64),
    /// All of it, whatever it contains.
    All,
}

impl Applied {
    /// The byte up to which it has the input; `None` if it has all.
    pub(crate) fn position(self) -> Option<u64> {
        match self {
            Self::UpTo(position) => Some(position),
            Self::All => None,
        }
    }
}

/// One volume of a job.
pub(crate) struct Volume {
    assignment: Assignment,
    /// How much of the input it has.
    pub(crate) applied: Applied,
    /// What the input holds up to there, if known.
    pub(crate) applied_content: Option<Consumed>,
    /// A run was cut short, and may have written past this byte: until applying is past it, the
    /// volume holds no state of the source.
    pub(crate) unsure_from: Option<u64>,
    /// The size of its source in the last stream of this run that said so.
    pub(crate) source_bytes: Option<ByteCount>,
    /// Whether a stream had it.
    pub(crate) was_in_a_stream: bool,
    state: State,
}

enum State {
    /// Not opened yet.
    Closed,
    /// It is being written.
    Open(Writer),
    /// A write or a flush failed: it is not used any more.
    Failed,
}

impl Volume {
    /// Its name in the group.
    pub(crate) fn name(&self) -> &VolumeName {
        &self.assignment.volume
    }

    /// Its name in messages.
    pub(crate) fn shown(&self) -> String {
        let path = self.assignment.target.shown();
        match self.name().is_unnamed() {
            true => path,
            false => format!("{} on {path}", self.name()),
        }
    }

    /// What identifies its target.
    pub(crate) fn identity(&self) -> &str {
        &self.assignment.identity.name
    }

    /// The target, as recorded in the journal before anything is written.
    pub(crate) fn target_memo(&mut self) -> TargetMemo {
        TargetMemo {
            target: Some(self.identity().to_owned()),
            target_bytes: self.capacity().get(),
            identity: Some(self.target_identity(false)),
        }
    }

    /// What else identifies its target; `with_content` if nothing is written after this.
    pub(crate) fn target_identity(&mut self, with_content: bool) -> TargetIdentity {
        let (bytes, identity) = (self.capacity().get(), self.assignment.target_identity());
        if !with_content {
            return identity;
        }
        let held = match &mut self.state {
            State::Open(writer) => Some(writer.held()),
            State::Closed | State::Failed => self.assignment.target.held(),
        };
        TargetIdentity { content: target_identity::content(held, bytes), ..identity }
    }

    /// The size of its target.
    pub(crate) fn capacity(&self) -> ByteCount {
        self.assignment.target.geometry().capacity
    }

    /// Whether it is an image file, which can grow.
    pub(crate) fn is_image_file(&self) -> bool {
        self.assignment.target.is_image_file()
    }

    /// Whether it failed.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.state, State::Failed)
    }

    /// Grows its image file.
    pub(crate) fn grow_to(&mut self, size: ByteCount) -> Result<()> {
        self.state = State::Closed;
        self.assignment.target.grow_to(size)
    }

    fn sector_size(&self) -> SectorSize {
        self.assignment.target.geometry().sector_size
    }

    /// Opens its device, unless it is open or has failed.
    pub(crate) fn open(&mut self, options: &ApplyOptions) -> Result<()> {
        self.open_to_write(options.engine, options.verify)
    }

    /// As [`open`](Self::open), with the options that matter.
    pub(crate) fn open_to_write(&mut self, engine: Engine, reads_back: bool) -> Result<()> {
        if matches!(self.state, State::Closed) {
            let device = self.assignment.target.open(engine)?;
            self.state = State::Open(Writer::new(self.shown(), device, reads_back));
        }
        Ok(())
    }

    fn writer(&mut self) -> Option<&mut Writer> {
        match &mut self.state {
            State::Open(writer) => Some(writer),
            State::Closed | State::Failed => None,
        }
    }
}

/// The volumes of a job.
pub(crate) struct Volumes {
    volumes: Vec<Volume>,
    planner: Planner,
    /// Planned, but not written before its history is durable; oldest first.
    pending: VecDeque<Pending>,
    /// How many plans were written, or given up, so far.
    plans_done: u64,
    /// How many bytes of plans were left out so far: the disks hold them already.
    left_out_bytes: u64,
    /// The flush beside which writing continues.
    behind: Option<FlushBehind>,
    /// Something could not be recorded, and so was not written.
    has_lost_history: bool,
    failures: Vec<Error>,
    /// Failures from this index on were not reported yet.
    told: usize,
}

impl Volumes {
    pub(crate) fn new(assignments: Vec<Assignment>) -> Self {
        let volumes = assignments.into_iter().map(|assignment| Volume {
            assignment,
            applied: Applied::UpTo(0),
            applied_content: None,
            unsure_from: None,
            source_bytes: None,
            was_in_a_stream: false,
            state: State::Closed,
        });
        Self {
            volumes: volumes.collect(),
            planner: Planner::default(),
            pending: VecDeque::new(),
            plans_done: 0,
            left_out_bytes: 0,
            behind: None,
            has_lost_history: false,
            failures: Vec::new(),
            told: 0,
        }
    }

    pub(crate) fn get(&mut self, index: usize) -> &mut Volume {
        &mut self.volumes[index]
    }

    /// For each volume of the stream, in order, the index of our volume.
    ///
    /// # Errors
    ///
    /// `Usage`: a volume of the stream has no target, or two have the same.
    pub(crate) fn route(&self, header: &StreamHeader) -> Result<Vec<usize>> {
        let names = header.volumes.iter().map(|v| v.name.as_ref().map(ToString::to_string));
        let is_only = header.volumes.len() == 1;
        let mut route = Vec::new();
        for name in names {
            let index = self.route_one(name.as_deref(), is_only)?;
            if route.contains(&index) {
                let shown = name.unwrap_or_default();
                let context = format!("the stream has two volumes \"{shown}\"");
                return Err(Error::new(ErrorKind::Usage, context)
                    .with_hint("one disk cannot hold both: name them differently at the source"));
            }
            route.push(index);
        }
        Ok(route)
    }

    fn route_one(&self, name: Option<&str>, is_only: bool) -> Result<usize> {
        let assigned = |volume: &Volume| match volume.name().is_unnamed() {
            true => is_only,
            false => name == Some(volume.name().as_str()),
        };
        self.volumes.iter().position(assigned).ok_or_else(|| {
            let name = name.filter(|name| !name.is_empty());
            let shown = name.map_or_else(|| "without a name".to_owned(), |n| format!("\"{n}\""));
            let volumes = VolumeName::listed(self.volumes.iter().map(Volume::name));
            Error::new(
                ErrorKind::Usage,
                format!("the stream has a volume {shown}, which has no target"),
            )
            .remedied(match (name, is_only) {
                // None of these is unnamed, or it would be the one.
                (None, true) => StreamRemedy::NameVolume { volumes },
                (Some(name), true) => StreamRemedy::NameDisk { volume: name.to_owned() },
                (_, false) => StreamRemedy::NameDisks,
            })
        })
    }

    /// The volumes that no stream had: mostly a misspelt name.
    pub(crate) fn in_no_stream(&self) -> impl Iterator<Item = &Volume> {
        self.volumes.iter().filter(|volume| !volume.was_in_a_stream)
    }

    /// Begins to write `pieces`, all of one volume, with data from `arena`. Returns false if `stop`
    /// was set before all of it was begun.
    ///
    /// # Errors
    ///
    /// The history could not be kept: nothing more may be written to any volume.
    pub(crate) fn write(
        &mut self,
        index: usize,
        pieces: &[Piece],
        arena: &Arc<Arena>,
        group: &mut Group,
        stop: &AtomicBool,
    ) -> Result<bool> {
        let size = self.volumes[index].sector_size();
        let mut plan = WritePlan::default();
        self.planner.plan_into(pieces, size, &mut plan);
        let long = plan.take_long_clears();
        self.write_plan(index, plan, Arc::clone(arena), Alike::Written, group)?;
        for step in long.into_iter().flat_map(clear_steps) {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let (clears, touched) = (vec![step], vec![step]);
            let plan = WritePlan { clears, touched, ..WritePlan::default() };
            self.write_plan(index, plan, Arc::clone(arena), Alike::Written, group)?;
        }
        Ok(true)
    }

    /// Begins to write `plan`: first its before-images are preserved. With `alike`, parts of it may
    /// be left out; then no other plan that is under way may touch its sectors.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub(crate) fn write_plan(
        &mut self,
        index: usize,
        plan: WritePlan,
        arena: Arc<Arena>,
        alike: Alike,
        group: &mut Group,
    ) -> Result<()> {
        let volume = &mut self.volumes[index];
        let name = volume.name().clone();
        let Some(writer) = volume.writer() else { return Ok(()) };
        let preserve = Preserve { name: &name, geometry: writer.geometry() };
        if self.has_lost_history {
            return Ok(());
        }
        let outlines = group.outline(&preserve, &plan.touched)?;
        let (left_out, under_way, is_complete) = (Vec::new(), VecDeque::new(), false);
        let stage = Stage::Reads(Reads { plan, arena, alike, left_out, under_way, is_complete });
        self.pending.push_back(Pending { index, stage });
        self.begin_reads(outlines, group)?;
        self.advance_plans(group)
    }

    /// Waits for something under way, or for history; returns false if there is neither.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub(crate) fn reap(&mut self, group: &mut Group) -> Result<bool> {
        let before = self.plans_done;
        self.advance_plans(group)?;
        if self.plans_done > before {
            return Ok(true);
        }
        let busy = self
            .volumes
            .iter_mut()
            .position(|volume| volume.writer().is_some_and(Writer::has_something_under_way));
        match busy {
            Some(index) => {
                let reaped = self.volumes[index].writer().map_or(Ok(()), Writer::reap);
                self.note(index, reaped);
            }
            None if self.pending.is_empty() => return Ok(false),
            None => self.wait_for_one(group)?,
        }
        Ok(true)
    }

    /// Advances what is under way, without waiting for it; returns whether something still is.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub(crate) fn advance(&mut self, group: &mut Group) -> Result<bool> {
        self.advance_plans(group)?;
        let mut is_busy = !self.pending.is_empty();
        for index in 0..self.volumes.len() {
            let Some(writer) = self.volumes[index].writer() else { continue };
            if writer.has_something_under_way() {
                let collected = writer.collect();
                is_busy |= matches!(collected, Ok(true));
                self.note(index, collected.map(drop));
            }
        }
        Ok(is_busy)
    }

    /// Makes everything written durable; a volume that cannot be flushed fails.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write): anything not written yet stays unwritten.
    pub(crate) fn flush(&mut self, group: &mut Group) -> Result<AllFlushed> {
        while self.wait_for_history(group)? {}
        self.require_history()?;
        // It includes everything that the flush behind does.
        self.behind = None;
        Ok(self.flush_what_is_written())
    }

    fn require_history(&self) -> Result<()> {
        if !self.has_lost_history {
            return Ok(());
        }
        let context =
            "data whose before-image is not preserved is not written, nor is anything after it";
        Err(Error::new(ErrorKind::Failed, context))
    }

    /// Makes the writes so far durable, but not the plans that wait for their history.
    fn flush_what_is_written(&mut self) -> AllFlushed {
        planted!(NoBarrier2 => { return AllFlushed::of_nothing() });
        AllFlushed::flush(0..self.volumes.len(), |index| {
            match self.volumes[index].writer().map(Writer::flush)? {
                Ok(flushed) => Some(flushed),
                Err(_) if planted!(FailedWriteIgnored) => None,
                Err(error) => {
                    self.note(index, Err(error));
                    None
                }
            }
        })
    }

    /// How many bytes of plans were left out so far, because the disks held them.
    pub(crate) fn left_out_bytes(&self) -> u64 {
        self.left_out_bytes
    }

    /// The failures since the last call.
    pub(crate) fn new_failures(&mut self) -> &[Error] {
        let from = std::mem::replace(&mut self.told, self.failures.len());
        &self.failures[from..]
    }

    /// A failure that was not reported yet, for callers that end at the first.
    pub(crate) fn take_failure(&mut self) -> Option<Error> {
        (self.told < self.failures.len()).then(|| self.failures.remove(self.told))
    }

    /// Every failure.
    pub(crate) fn into_failures(self) -> Vec<Error> {
        self.failures
    }

    /// Whether no volume is left to write to.
    pub(crate) fn have_all_failed(&self) -> bool {
        self.volumes.iter().all(Volume::has_failed)
    }

    fn note(&mut self, index: usize, result: Result<()>) {
        if let Err(error) = result {
            self.volumes[index].state = State::Failed;
            self.failures.push(error);
        }
    }
}

/// The pieces of each volume of the stream that has some, in stream order.
pub(crate) fn by_volume(pieces: Vec<Piece>, volumes: usize) -> Vec<(usize, Vec<Piece>)> {
    if volumes == 1 {
        return vec![(0, pieces)];
    }
    let mut sorted = vec![Vec::new(); volumes];
    for piece in pieces {
        let VolumeIndex(index) = piece.volume;
        // Verification refused pieces on unknown volumes.
        if let Some(of_volume) = sorted.get_mut(usize::from(index)) {
            of_volume.push(piece);
        }
    }
    sorted.into_iter().enumerate().filter(|(_, pieces)| !pieces.is_empty()).collect()
}

#[cfg(test)]
mod tests;
