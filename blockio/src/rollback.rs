//! Brings the volumes of a group back to a recovery point: whatever was overwritten since is
//! written again, in LBA order, in large pieces. What the rollback overwrites is preserved like
//! everything else, so that any other point, earlier or later, can be reached afterwards.
//!
//! Order, and what a crash in between leaves:
//!
//! 1. every record that is needed is compared with its checksum: until then nothing is touched;
//! 2. *rolling back to* is recorded: from here on the volumes are in-between, and accept only a
//!    rollback (I4). The same rollback, or one to another point, heals it: each writes what the
//!    volumes held, whatever they hold now (I6);
//! 3. before-images are preserved (BARRIER 1), the old data is written, and flushed (BARRIER 2);
//! 4. *rolled back to* is recorded (BARRIER 3), with the progress of the streams at the point.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::apply::HistorySettings;
use crate::apply::volumes::{Alike, Volumes};
use crate::assignment::{Assignment, Disk};
use crate::device::Engine;
use crate::device::Geometry;
use crate::device::buffer::{Arena, ArenaPool};
use crate::group::Undo;
use crate::group::{Group, GroupView};
use crate::journal::catalogue::{Catalogue, PointId, PointKind};
use crate::journal::images::{ImageReader, Images};
use crate::journal::index::ImageIndex;
use crate::journal::state::{Progress, VolumeState};
use crate::notice::Notice;
use crate::plan::WritePlan;
use crate::target_check;
use crate::units::ByteOffset;
use crate::volume_name::VolumeName;
use crate::{Error, ErrorKind, Result};

mod ahead;
mod preview;
mod proof;
mod room;
mod steps;

use ahead::{Ahead, Ready};
pub use preview::{Asked, Preview, preview};
use room::Way;
use steps::{STEP_BYTES, Steps};

/// How many steps are read ahead, wait for their overwritten data to be preserved, or are being
/// written.
const ARENAS: usize = 16;
/// How many threads read images ahead: a disk has several of their steps under way.
const READERS: usize = 2;
const ARENA_BYTES: NonZeroUsize = NonZeroUsize::new(STEP_BYTES).expect("invariant: not zero");

/// What to roll back, and to where.
#[derive(Debug)]
pub struct RollbackJob {
    /// The group, held.
    pub group: Group,
    /// Its volumes, each with its target.
    pub assignments: Vec<Assignment>,
    /// The point to roll back to.
    pub to: PointId,
    /// The operator accepts a disk that is not known to be the right one, or not known to be as it
    /// was left.
    pub accept_target: bool,
    /// The oldest points may be given up if there is otherwise no room for what is overwritten.
    pub may_give_up_points: bool,
    /// Keep nothing of what is overwritten: the rollback cannot be undone, and the points after
    /// `to` are given up.
    pub without_undo: bool,
    /// The I/O engine for the disks.
    pub engine: Engine,
    /// The settings of the history.
    pub history: HistorySettings,
    /// Memory; `None` to allocate it.
    pub pool: Option<ArenaPool>,
}

/// What is reported during a rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollbackEvent<'a> {
    /// Progress of comparing the history with its checksums.
    Checked {
        /// Bytes so far.
        done: u64,
        /// Bytes in total.
        of: u64,
    },
    /// Progress of writing the volumes.
    Written {
        /// Bytes so far.
        done: u64,
        /// Bytes in total.
        of: u64,
    },
    /// Something that the operator should know.
    Notice(&'a Notice),
}

/// How a rollback ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// The volumes are at the point.
    Complete {
        /// How many bytes were written.
        bytes: u64,
        /// How many bytes were not written, because the volumes held them already.
        right: u64,
    },
    /// The volumes already were at the point.
    NothingToDo,
    /// The operator stopped it; the same command continues it.
    Stopped,
}

/// Rolls back. `stop` ends it at the next step.
///
/// # Errors
///
/// `Integrity`: the history is damaged, and nothing was touched. `Refused`: a volume has no target,
/// or its size has changed. `Failed`: a disk or the retention volume failed; the same command
/// continues.
pub fn run(
    job: RollbackJob,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(RollbackEvent<'_>),
) -> Result<Ending> {
    let RollbackJob { mut group, mut assignments, to, accept_target, may_give_up_points, .. } = job;
    let undo = if job.without_undo { Undo::NotKept } else { Undo::Kept };
    let RollbackJob { engine, history, pool, .. } = job;
    for note in target_check::check(group.view(), &mut assignments, accept_target)? {
        observe(RollbackEvent::Notice(&note));
    }
    let in_thread = history.in_thread;
    group.open_history(history)?;
    let known = group.catalogue_now()?;
    let records = group.record_pool()?;
    let images = Images::since(&group.view().storage(), &known, to, &records)?;
    check_lengths(&known, &images, &assignments)?;
    let names = names(&known);
    let may_be_there = may_be_at(group.view(), &known, group.is_epoch_empty(), &images, to);
    if may_be_there && proof::hold_all(&images, &names, &mut assignments, stop)? {
        return Ok(Ending::NothingToDo);
    }
    check(&images, &records, (in_thread, engine), stop, observe)?;
    let made = || ArenaPool::new(ARENAS, ARENA_BYTES);
    let pool = pool
        .map_or_else(made, Ok)
        .map_err(|error| Error::failed("allocating memory for I/O", error))?;
    let order = order(&assignments, &names, &images)?;
    for (index, number) in &order {
        check_sectors(&assignments[*index].target, images.of(*number))?;
    }
    if let Some(room) = group.room().filter(|_| undo == Undo::Kept) {
        let way = Way { to, assignments: &assignments, order: &order, images: &images };
        let _ = room::require(group.view(), &room, &way, may_give_up_points)?;
    }
    for note in group.take_notes() {
        observe(RollbackEvent::Notice(&note));
    }
    let alike = alike(&known, undo);
    let mut volumes = Volumes::new(assignments);
    for (index, _) in &order {
        volumes.get(*index).open_to_write(engine, false)?;
    }
    let written: Vec<usize> = order.iter().map(|(index, _)| *index).collect();
    let named = written.iter().map(|index| volumes.get(*index).name().to_owned());
    group.begin_rollback(to, &named.collect::<Vec<_>>(), undo, &images.progress())?;
    let indexes = order.iter().filter_map(|(_, number)| images.of(*number));
    let total = indexes.map(ImageIndex::bytes).fold(0, u64::saturating_add);
    let images = Arc::new(images);
    let mut rollback = Rollback {
        group,
        volumes,
        written,
        images,
        pool,
        records,
        in_thread,
        engine,
        alike,
        done: 0,
        total,
    };
    for (index, number) in order {
        if !rollback.volume(index, number, stop, observe)? {
            return Ok(Ending::Stopped);
        }
    }
    rollback.complete(to, observe)
}

fn names(known: &Catalogue) -> Vec<VolumeName> {
    known.volumes.iter().map(|volume| volume.name.clone()).collect()
}

/// Whether the volumes are at `to` according to what is recorded; their content still has to be
/// compared.
fn may_be_at(
    group: &GroupView,
    known: &Catalogue,
    is_epoch_empty: bool,
    images: &Images,
    to: PointId,
) -> bool {
    // This includes points that were made by hand since, with nothing written between them.
    let is_untouched = is_epoch_empty && known.rolling_back_to.is_none();
    (known.rolled_back_to == Some(to) || is_untouched)
        && is_known_to_be_at(group, &images.progress())
}

/// Whether the group's recorded progress is `then`. It is not while a stream is unfinished, even if
/// nothing of that stream was written yet: no other stream would be accepted.
fn is_known_to_be_at(group: &GroupView, then: &Progress) -> bool {
    let half = |volume: &VolumeState| volume.in_between.as_ref().is_some_and(|one| !one.exact);
    let is_half = group.state().volumes.values().any(half);
    let now = group.state().progress();
    let then = |name: &VolumeName| then.0.get(name).cloned().unwrap_or_default();
    !is_half && now.0.iter().all(|(name, progress)| *progress == then(name))
}

/// What becomes of what the volumes hold already. It is written if it is not read, and if a
/// rollback that kept nothing was cut short: what that wrote may be right in a cache only, and
/// nothing tells what it was.
fn alike(known: &Catalogue, undo: Undo) -> Alike {
    let breaks_off = known.points.last().is_some_and(|newest| newest.kind == PointKind::Break);
    match undo {
        Undo::Kept if !breaks_off || known.rolling_back_to.is_none() => Alike::LeftOut,
        Undo::Kept | Undo::NotKept => Alike::Written,
    }
}

/// Verifies that everything needed is intact, before anything is touched.
fn check(
    images: &Images,
    pool: &ArenaPool,
    how: (bool, Engine),
    stop: &AtomicBool,
    observe: &mut dyn FnMut(RollbackEvent<'_>),
) -> Result<()> {
    planted!(RollbackDoesNotCheckFirst => { return Ok(()) });
    let (of, mut done) = (images.record_bytes(), 0);
    images.check(pool, how, &mut |bytes| {
        done += bytes;
        observe(RollbackEvent::Checked { done, of });
        match stop.load(Ordering::Relaxed) {
            true => Err(Error::new(ErrorKind::Failed, "stopped before anything was written")),
            false => Ok(()),
        }
    })
}

/// Before-images of a disk with smaller sectors cannot be written to a disk with larger ones. This
/// must be known before the first write, because the rollback could never end.
fn check_sectors(disk: &Disk, images: Option<&ImageIndex>) -> Result<()> {
    let sector = disk.geometry().sector_size.bytes().get();
    let end = disk.geometry().capacity.get();
    let is_whole = |at: u64| at % sector == 0 || at >= end;
    let mut images = images.into_iter().flat_map(ImageIndex::iter).map(|image| image.extent);
    let odd = images.find(|one| !is_whole(one.start().get()) || !is_whole(one.end().get()));
    let Some(odd) = odd else { return Ok(()) };
    let context = format!(
        "rolling back {}: it has sectors of {sector} bytes, but the before-image of {odd} \
         comes from a disk with smaller ones",
        disk.shown()
    );
    Err(Error::refused(context).with_hint(
        "attach the disk that was written; an image file: move it back, or put it behind a loop \
         device with sectors of 512 bytes: losetup --sector-size 512 --find --show FILE",
    ))
}

/// A disk that is shorter than it was cannot be at a point of before, nor be brought there.
fn check_lengths(known: &Catalogue, images: &Images, assignments: &[Assignment]) -> Result<()> {
    for (volume, number) in known.volumes.iter().zip(0..) {
        let of_name = |assignment: &&Assignment| assignment.volume == volume.name;
        let Some(assignment) = assignments.iter().find(of_name) else { continue };
        let Geometry { capacity, sector_size } = assignment.target.geometry();
        // Images are whole sectors, and a file may end within one.
        let end = ByteOffset::new(capacity.get());
        let end = sector_size.align_up(end).unwrap_or(end).get();
        let images = images.of(number).into_iter().flat_map(ImageIndex::iter);
        let last = images.map(|image| image.extent.end().get()).max().unwrap_or(0);
        let then = volume.capacity_bytes.max(if last > end { last } else { 0 });
        if capacity.get() < then {
            let shown = assignment.target.shown();
            let context = format!("rolling back {shown}: it has {capacity} bytes, but had {then}");
            return Err(Error::refused(context).with_hint("attach the disk that was written"));
        }
    }
    Ok(())
}

/// For each volume with images, the index of its assignment and its number in the journal.
fn order(
    assignments: &[Assignment],
    names: &[VolumeName],
    images: &Images,
) -> Result<Vec<(usize, u32)>> {
    let mut order = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        if images.of(number).is_none_or(|index| index.len() == 0) {
            continue;
        }
        let of_name = |assignment: &Assignment| assignment.volume == *name;
        let found = assignments.iter().position(of_name).ok_or_else(|| {
            Error::refused(format!("rolling back: no target for the volume \"{name}\""))
                .with_hint("attach its disk")
        })?;
        order.push((found, number));
    }
    Ok(order)
}

struct Rollback {
    group: Group,
    volumes: Volumes,
    /// The volumes being written.
    written: Vec<usize>,
    images: Arc<Images>,
    pool: ArenaPool,
    records: ArenaPool,
    in_thread: bool,
    engine: Engine,
    /// What becomes of what the volumes hold already.
    alike: Alike,
    done: u64,
    total: u64,
}

impl Rollback {
    /// Writes one volume; returns false if it was stopped.
    fn volume(
        &mut self,
        index: usize,
        number: u32,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(RollbackEvent<'_>),
    ) -> Result<bool> {
        let (images, records) = (Arc::clone(&self.images), self.records.clone());
        let steps = Steps::new(images.of(number).into_iter().flat_map(ImageIndex::iter));
        let engine = self.engine;
        let reader = || ImageReader::new(&images, engine, &records);
        let goes_on = match self.in_thread {
            false => self.write_all(index, &mut Ahead::inline(steps, reader()), stop, observe),
            true => std::thread::scope(|scope| {
                let readers = [(); READERS].map(|()| reader());
                let mut ahead = Ahead::in_threads(scope, steps, readers)?;
                self.write_all(index, &mut ahead, stop, observe)
            }),
        }?;
        self.tell_notes(observe);
        Ok(goes_on)
    }

    fn write_all(
        &mut self,
        index: usize,
        ahead: &mut Ahead<'_>,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(RollbackEvent<'_>),
    ) -> Result<bool> {
        while let Some((plan, arena)) = self.next(ahead)? {
            self.write(index, plan, arena)?;
            observe(RollbackEvent::Written { done: self.done, of: self.total });
            if stop.load(Ordering::Relaxed) {
                let _ = self.volumes.flush(&mut self.group)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The next step to write. Until it is read, this waits for writes under way, because they
    /// return the memory to read into.
    fn next(&mut self, ahead: &mut Ahead<'_>) -> Result<Option<(WritePlan, Arena)>> {
        loop {
            // If it cannot be used, the arena goes straight back to the pool.
            while self.pool.try_take().is_some_and(|arena| ahead.give(arena)) {}
            match ahead.next() {
                Ready::Step(plan, arena) => return Ok(Some((plan, arena?))),
                Ready::End => return Ok(None),
                Ready::NotYet => {
                    if !self.volumes.reap(&mut self.group)? {
                        ahead.wait()?;
                    }
                }
            }
        }
    }

    fn write(&mut self, index: usize, plan: WritePlan, arena: Arena) -> Result<()> {
        self.done += plan.touched.iter().map(|extent| extent.length().get()).sum::<u64>();
        self.volumes.write_plan(index, plan, Arc::new(arena), self.alike, &mut self.group)?;
        self.volumes.take_failure().map_or(Ok(()), Err)
    }

    fn complete(
        mut self,
        to: PointId,
        observe: &mut dyn FnMut(RollbackEvent<'_>),
    ) -> Result<Ending> {
        planted!(RollbackRecordedBeforeFlush => {
            let early = crate::barrier::AllFlushed::of_nothing();
            let _ = self.group.end_rollback(early, to, &self.images.progress(), Vec::new())?;
        });
        let flushed = self.volumes.flush(&mut self.group);
        // The flush also preserves what was read last, and points may have been given up for its
        // room.
        self.tell_notes(observe);
        let flushed = flushed?;
        if let Some(error) = self.volumes.take_failure() {
            return Err(error);
        }
        let identities = self.written.iter().map(|index| {
            let volume = self.volumes.get(*index);
            (volume.name().to_owned(), volume.target_identity(true))
        });
        let identities = identities.collect();
        let then = self.images.progress();
        let _durable = self.group.end_rollback(flushed, to, &then, identities)?;
        self.tell_notes(observe);
        let right = self.volumes.left_out_bytes();
        Ok(Ending::Complete { bytes: self.done - right, right })
    }

    fn tell_notes(&mut self, observe: &mut dyn FnMut(RollbackEvent<'_>)) {
        for note in self.group.take_notes() {
            observe(RollbackEvent::Notice(&note));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
