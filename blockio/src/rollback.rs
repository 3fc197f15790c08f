//! Brings the volumes of a group back to a recovery point: what was overwritten since is written
//! again, by LBA, in large pieces. What is overwritten by that is preserved like everything else,
//! so that any other point, earlier or later, can be gone to afterwards.
//!
//! Order, and what a crash in between leaves:
//!
//! 1. every record that is needed is compared with its checksum: until then nothing is touched;
//! 2. *rolling back to* is recorded: from here on the volumes are in-between, and take nothing but
//!    a rollback (I4). The same one, or one to another point, heals it: each writes what the
//!    volumes held, whatever they hold now (I6);
//! 3. images are preserved (BARRIER 1), written, and flushed (BARRIER 2);
//! 4. *rolled back to* is recorded (BARRIER 3), with how far the streams were at the point.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::apply::history::History;
use crate::apply::volumes::Volumes;
use crate::apply::{Assignment, Settings};
use crate::bug::{self, Bug};
use crate::device::buffer::{Arena, ArenaPool};
use crate::device::open::Engine;
use crate::device::{TRANSFER_BYTES_MAX, Transfer};
use crate::extent::Extent;
use crate::group::Group;
use crate::group::state::{GroupState, Progress, VolumeState};
use crate::journal::catalogue::PointId;
use crate::journal::images::Images;
use crate::journal::index::{Image, Index, Place};
use crate::journal::keeper::{Keeper, catalogue, record_pool};
use crate::journal::layout::padded;
use crate::plan::WritePlan;
use crate::stream::BATCH_BYTES_MAX;
use crate::units::{ByteCount, ByteOffset};
use crate::{Error, ErrorKind, Result};

const ARENAS: usize = 4;
const ARENA_BYTES: NonZeroUsize = NonZeroUsize::new(BATCH_BYTES_MAX).expect("invariant: not zero");
/// Zeros of this length, in bytes, are cleared; shorter ones are faster written.
const CLEAR_BYTES_MIN: u64 = 1 << 20;
/// So much is written at a time, in bytes.
const STEP_BYTES: usize = 4 << 20;

/// What is to be done.
#[derive(Debug)]
pub struct Job {
    /// The group, held.
    pub group: Group,
    /// Its volumes, each with its target.
    pub assignments: Vec<Assignment>,
    /// Where to.
    pub to: PointId,
    /// How disks are written.
    pub engine: Engine,
    /// How the history is kept.
    pub history: Settings,
    /// Memory; none: some is made.
    pub pool: Option<ArenaPool>,
}

/// What happens meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The history is compared with its checksums; so much of it, in bytes.
    Checked {
        /// Bytes so far.
        done: u64,
        /// Of so many.
        of: u64,
    },
    /// The volumes are written; so much, in bytes.
    Written {
        /// Bytes so far.
        done: u64,
        /// Of so many.
        of: u64,
    },
    /// Something that the operator should know.
    Warning(&'a str),
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// The volumes are at the point.
    Complete {
        /// What was written, in bytes.
        bytes: u64,
    },
    /// They were already.
    NothingToDo,
    /// The operator stopped it: the same command goes on.
    Stopped,
}

/// How much a rollback would write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Of each volume, by its name, how many bytes.
    pub volumes: Vec<(String, u64)>,
}

/// What a rollback of `group` to `to` would write. Reads the history; changes nothing.
///
/// # Errors
///
/// As [`run`].
pub fn preview(group: &Group, to: PointId) -> Result<Preview> {
    let known = catalogue(group)?;
    let images = Images::since(&group.storage(), known, to, &record_pool()?)?;
    let bytes = |number: usize| images.of(number as u32).map_or(0, Index::bytes);
    let volumes = known.volumes.iter().enumerate();
    Ok(Preview { volumes: volumes.map(|(n, volume)| (volume.name.clone(), bytes(n))).collect() })
}

/// Rolls back. `stop` ends it at the next step.
///
/// # Errors
///
/// `Integrity`: the history is damaged, and nothing was touched. `Refused`: a volume has no target,
/// or another size than it had. `Failed`: a disk or the retention volume failed; the same command
/// goes on.
pub fn run(job: Job, stop: &AtomicBool, observe: &mut dyn FnMut(Event<'_>)) -> Result<Ending> {
    let Job { mut group, assignments, to, engine, history, pool } = job;
    let is_planted = bug::is_planted(Bug::RollbackNotLogged);
    let mut keeper = Keeper::open(&mut group, history)?;
    group.suppose(|state| state.journal.iter_mut().for_each(|known| keeper.describe(known)));
    let known = catalogue(&group)?;
    let holds_it = known.rolled_back_to == Some(to)
        || (known.open_epoch() == to && keeper.is_epoch_empty() && known.rolling_back_to.is_none());
    let images = Images::since(&group.storage(), known, to, &keeper.pool())?;
    if holds_it && is_known_to_be_at(&group, &images.progress()) {
        return Ok(Ending::NothingToDo);
    }
    check(&images, &keeper.pool(), stop, observe)?;
    let names: Vec<_> = known.volumes.iter().map(|volume| volume.name.clone()).collect();
    let made = || ArenaPool::new(ARENAS, ARENA_BYTES);
    let pool = pool
        .map_or_else(made, Ok)
        .map_err(|error| Error::failed("allocating memory for I/O", error))?;
    let records = keeper.pool();
    let order = order(&assignments, &names, &images)?;
    for note in keeper.take_notes() {
        observe(Event::Warning(&note));
    }
    let history = if is_planted { History::None } else { History::Kept(Box::new(keeper)) };
    let mut volumes = Volumes::new(assignments, history);
    for (index, _) in &order {
        volumes.get(*index).open_to_write(engine, false, pool.regions())?;
    }
    begin(&mut group, &mut volumes, to)?;
    let total = order.iter().filter_map(|(_, n)| images.of(*n)).map(Index::bytes).sum();
    let mut rollback = Rollback { group, volumes, images, pool, records, done: 0, total };
    for (index, number) in order {
        if !rollback.volume(index, number, stop, observe)? {
            return Ok(Ending::Stopped);
        }
    }
    rollback.complete(to)
}

/// The group knows its volumes to be as far as `then`. Where a stream was begun since, it does not,
/// even if nothing of that stream was written yet: no other one would be taken.
fn is_known_to_be_at(group: &Group, then: &Progress) -> bool {
    let half = |volume: &VolumeState| volume.in_between.as_ref().is_some_and(|one| !one.exact);
    let is_half = group.state().volumes.values().any(half);
    let now = group.state().progress();
    let then = |name: &str| then.0.get(name).cloned().unwrap_or_default();
    !is_half && now.0.iter().all(|(name, progress)| *progress == then(name))
}

/// Nothing is touched before all that is needed is known to be whole.
fn check(
    images: &Images,
    pool: &ArenaPool,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<()> {
    let (of, mut done) = (images.record_bytes(), 0);
    images.check(pool, &mut |bytes| {
        done += bytes;
        observe(Event::Checked { done, of });
        match stop.load(Ordering::Relaxed) {
            true => Err(Error::new(ErrorKind::Failed, "stopped before anything was written")),
            false => Ok(()),
        }
    })
}

/// Which assignment each volume with images has, and its number in the journal.
fn order(
    assignments: &[Assignment],
    names: &[String],
    images: &Images,
) -> Result<Vec<(usize, u32)>> {
    let mut order = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        if images.of(number).is_none_or(|index| index.len() == 0) {
            continue;
        }
        let of_name =
            |assignment: &Assignment| assignment.source.as_deref().unwrap_or("") == name.as_str();
        let found = assignments.iter().position(of_name).ok_or_else(|| {
            Error::refused(format!("rolling back: no target for the volume \"{name}\""))
                .with_hint("attach its disk")
        })?;
        order.push((found, number));
    }
    Ok(order)
}

/// From here on the volumes are in-between.
fn begin(group: &mut Group, volumes: &mut Volumes, to: PointId) -> Result<()> {
    if let Some(keeper) = volumes.keeper() {
        keeper.begin_if_new(group)?;
    }
    let keeper = volumes.keeper();
    group.update(|state| {
        let Some(catalogue) = &mut state.journal else { return };
        catalogue.rolling_back_to = Some(to);
        catalogue.rolled_back_to = None;
        if let Some(keeper) = keeper {
            keeper.describe(catalogue);
        }
    })
}

struct Rollback {
    group: Group,
    volumes: Volumes,
    images: Images,
    pool: ArenaPool,
    records: ArenaPool,
    done: u64,
    total: u64,
}

/// What is written next.
#[derive(Default)]
struct Step {
    places: Vec<(Place, usize, usize)>,
    plan: WritePlan,
    used: usize,
}

impl Rollback {
    /// Writes one volume; false if it was stopped.
    fn volume(
        &mut self,
        index: usize,
        number: u32,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool> {
        let all: Vec<Image> = self.images.of(number).into_iter().flat_map(Index::iter).collect();
        let mut step = Step::default();
        for image in all {
            let mut rest = Some(image);
            while let Some(image) = rest {
                rest = step.take(image);
                if rest.is_some() || step.used >= STEP_BYTES {
                    self.write(index, std::mem::take(&mut step))?;
                    observe(Event::Written { done: self.done, of: self.total });
                    if stop.load(Ordering::Relaxed) {
                        let _ = self.volumes.flush()?;
                        return Ok(false);
                    }
                }
            }
        }
        self.write(index, step)?;
        observe(Event::Written { done: self.done, of: self.total });
        self.tell_notes(observe);
        Ok(true)
    }

    fn write(&mut self, index: usize, step: Step) -> Result<()> {
        let Step { places, mut plan, .. } = step;
        if plan.touched.is_empty() {
            return Ok(());
        }
        Extent::coalesce(&mut plan.touched);
        self.done += plan.touched.iter().map(|extent| extent.length().get()).sum::<u64>();
        let arena = self.free_arena()?;
        let arena = Arc::new(self.images.read(&places, arena, &self.records)?);
        self.volumes.write_plan(index, plan, arena, Some(&mut self.group))?;
        match self.volumes.new_failures().first() {
            None => Ok(()),
            Some(error) => Err(Error::new(error.kind(), error.to_string())
                .caused_by(error.chain())
                .with_hint("repair the disk; the same command goes on")),
        }
    }

    /// While all memory is on its way to a disk, what is under way is waited for.
    fn free_arena(&mut self) -> Result<Arena> {
        loop {
            if let Some(arena) = self.pool.try_take() {
                return Ok(arena);
            }
            if !self.volumes.reap()? {
                return Ok(self.pool.take());
            }
        }
    }

    fn complete(mut self, to: PointId) -> Result<Ending> {
        if !bug::is_planted(Bug::RollbackRecordedBeforeFlush) {
            let _proof = self.volumes.flush()?;
        }
        if let Some(error) = self.volumes.new_failures().first() {
            return Err(Error::new(error.kind(), error.to_string())
                .with_hint("repair the disk; the same command goes on"));
        }
        let progress = self.images.progress();
        let keeper = self.volumes.keeper();
        self.group.update(|state: &mut GroupState| {
            state.go_back(&progress);
            let Some(catalogue) = &mut state.journal else { return };
            catalogue.rolling_back_to = None;
            catalogue.rolled_back_to = Some(to);
            if let Some(keeper) = keeper {
                keeper.describe(catalogue);
            }
        })?;
        let _ = self.volumes.flush()?;
        Ok(Ending::Complete { bytes: self.done })
    }

    fn tell_notes(&mut self, observe: &mut dyn FnMut(Event<'_>)) {
        for note in self.volumes.keeper().map(Keeper::take_notes).unwrap_or_default() {
            observe(Event::Warning(&note));
        }
    }
}

impl Step {
    /// Takes as much of `image` as there is room for; gives what is left.
    fn take(&mut self, image: Image) -> Option<Image> {
        let Image { extent, place } = image;
        if place == Place::Zeros && extent.length().get() >= CLEAR_BYTES_MIN {
            self.plan.clears.push(extent);
            self.plan.touched.push(extent);
            return None;
        }
        let room = STEP_BYTES.saturating_sub(self.used).min(TRANSFER_BYTES_MAX) as u64;
        if room == 0 {
            return Some(image);
        }
        let length = extent.length().get().min(room);
        let middle = extent.start().checked_add(ByteCount::new(length))?;
        let (taken, rest) = match extent.split_at(middle) {
            None => (extent, None),
            Some((taken, rest)) => {
                (taken, Some(Image { extent: rest, place: place.after(length) }))
            }
        };
        // At most TRANSFER_BYTES_MAX.
        let (length, position) = (length as usize, self.used);
        self.places.push((place, position, padded(length)));
        let at: ByteOffset = taken.start();
        match self.plan.writes.last_mut().filter(|last| {
            last.at.get() + last.length as u64 == at.get()
                && last.position + last.length == position
                && last.length + length <= TRANSFER_BYTES_MAX
        }) {
            Some(last) => last.length += length,
            None => self.plan.writes.push(Transfer { at, position, length }),
        }
        self.plan.touched.push(taken);
        self.used += padded(length);
        rest
    }
}
