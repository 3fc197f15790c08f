//! The simulated machine with the program on it: runs what an operator runs, with the production
//! code.
#![cfg(test)]

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::disk::{SimulatedDisk, lock};
use super::scenario::BEGIN;
use super::storage::SimulatedStorage;
use super::world::{BLOCK_BYTES, DiskId, Snapshot, World};
use crate::apply::{ApplyJob, ApplyOptions, Ending, HistorySettings, StreamArgument};
use crate::assignment::{Assignment, Disk, OpenDevice};
use crate::device::Engine;
use crate::device::buffer::ArenaPool;
use crate::group::Group;
use crate::journal::catalogue::{PointId, PointKind};
use crate::journal::check::check;
use crate::journal::layout::RECORD_BYTES_MAX;
use crate::journal::rebuild::rebuild;
use crate::journal::retention::Policy;
use crate::journal::settings::GroupSettings;
use crate::journal::state::GroupState;
use crate::journal::state_text;
use crate::storage::{StateCopy, Storage};
use crate::stream::BATCH_BYTES_MAX;
use crate::stream::input::Input;
use crate::units::ByteOffset;
use crate::view::{PointHistory, View};
use crate::{Error, ErrorKind, Result, commit, rollback};

/// The length of a segment.
pub(super) const SEGMENT_BLOCKS: usize = 8;

thread_local! {
    static TICKS: Cell<u64> = const { Cell::new(1) };
}

fn tick() -> u64 {
    TICKS.set(TICKS.get() + 1);
    TICKS.get()
}

thread_local! {
    static IS_NEW: Cell<bool> = const { Cell::new(true) };
}

thread_local! {
    static CLOCK_JUMPS: Cell<bool> = const { Cell::new(false) };
}

/// Sets whether the clock of the machine jumps from now on.
pub(super) fn clock_jumps(jumps: bool) {
    CLOCK_JUMPS.set(jumps);
}

/// A history begins before the first mark, and everything else is after the last. The exception is
/// a clock that is set now and then: two days ahead, or thirty hours back.
fn clock() -> u64 {
    let later = if IS_NEW.replace(false) { 0 } else { 1000 };
    let now = BEGIN + later * 1_000_000_000;
    let hour = 3_600_000_000_000;
    match CLOCK_JUMPS.get().then(|| random() % 5) {
        Some(0) => now + 48 * hour,
        Some(1) => now - 30 * hour,
        _ => now,
    }
}

fn random() -> u128 {
    u128::from(tick()).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

/// Memory, allocated once for all machines.
#[derive(Clone)]
pub(super) struct Memory {
    batches: ArenaPool,
    records: ArenaPool,
    pieces: ArenaPool,
}

impl Memory {
    pub(super) fn new() -> Self {
        let pool =
            |count, length| ArenaPool::new(count, NonZeroUsize::new(length).unwrap()).unwrap();
        Self {
            batches: pool(4, BATCH_BYTES_MAX),
            records: pool(6, RECORD_BYTES_MAX),
            pieces: pool(8, 1 << 20),
        }
    }
}

/// The machine.
#[derive(Clone)]
pub(super) struct Machine {
    pub(super) world: Arc<Mutex<World>>,
    memory: Memory,
    policy: Policy,
    /// The names of the volumes in the streams; the empty name for a stream with one unnamed
    /// volume.
    names: fn(usize) -> String,
}

impl Machine {
    pub(super) fn new(world: World, policy: Policy, memory: &Memory) -> Self {
        let names = |place| format!("v{place}");
        Self { world: Arc::new(Mutex::new(world)), memory: memory.clone(), policy, names }
    }

    /// The same machine, with other names for its volumes in the streams.
    pub(super) fn calling(&self, names: fn(usize) -> String) -> Self {
        Self { names, ..self.clone() }
    }

    /// The same machine after a power cut that left `snapshot`.
    pub(super) fn after(&self, snapshot: Snapshot, is_forgetful: bool) -> Self {
        let room = lock(&self.world).room_blocks;
        let world = World { is_forgetful, ..World::from_snapshot(snapshot, room) };
        self.on(world)
    }

    /// The same program on another world.
    pub(super) fn on(&self, world: World) -> Self {
        Self { world: Arc::new(Mutex::new(world)), ..self.clone() }
    }

    /// Ends all failures.
    pub(super) fn is_repaired(&self) {
        let mut world = lock(&self.world);
        (world.fails, world.reads_fail) = (0..0, 0..0);
    }

    pub(super) fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(SimulatedStorage(Arc::clone(&self.world)))
    }

    pub(super) fn group(&self) -> Result<Group> {
        let mut group = Group::in_storage(self.storage(), "g")?;
        group.begin_with(GroupSettings { policy: self.policy, ..GroupSettings::default() });
        Ok(group)
    }

    pub(super) fn state(&self) -> Result<GroupState> {
        Ok(self.group()?.view().state().clone())
    }

    pub(super) fn volumes(&self) -> usize {
        let world = lock(&self.world);
        world.now.disks.keys().filter(|id| matches!(id, DiskId::Volume(_))).count()
    }

    fn settings(&self) -> HistorySettings {
        HistorySettings {
            segment_bytes: Some((SEGMENT_BLOCKS * BLOCK_BYTES) as u64),
            in_thread: false,
            clock,
            random,
            pool: Some(self.memory.records.clone()),
        }
    }

    fn assignments(&self) -> Vec<Assignment> {
        let assignment = |place: usize| {
            let disk = SimulatedDisk::open(&self.world, DiskId::Volume(place)).unwrap();
            let known_as = format!("disk-{place}");
            let target = Disk::Device(OpenDevice::new(known_as.clone(), Box::new(disk)));
            let volume = (self.names)(place).as_str().into();
            Assignment { volume, target, identity: known_as.into() }
        };
        (0..self.volumes()).map(assignment).collect()
    }

    /// Applies streams; `observe` is called now and then.
    pub(super) fn apply(&self, streams: &[&Path], observe: &mut dyn FnMut()) -> Result<()> {
        self.apply_with(streams, ApplyOptions::default(), observe)
    }

    /// Applies streams with `options`.
    pub(super) fn apply_with(
        &self,
        streams: &[&Path],
        options: ApplyOptions,
        observe: &mut dyn FnMut(),
    ) -> Result<()> {
        let job = self.job(paths(streams), options);
        self.run(job, usize::MAX, observe)
    }

    /// Applies `bytes` through a pipe.
    pub(super) fn apply_piped(&self, bytes: Vec<u8>, options: ApplyOptions) -> Result<()> {
        let input = Input::from_pipe(std::io::Cursor::new(bytes));
        let job =
            self.job(vec![StreamArgument::Open { name: "a pipe".to_owned(), input }], options);
        self.run(job, usize::MAX, &mut || {})
    }

    fn job(&self, inputs: Vec<StreamArgument>, options: ApplyOptions) -> ApplyJob {
        IS_NEW.set(lock(&self.world).now.has_no_state());
        // After each batch, after some, or only where everything waits for it.
        let done = lock(&self.world).done;
        let checkpoint_bytes = [Some(1), Some(5 * BLOCK_BYTES as u64), None][done % 3];
        let options = ApplyOptions { checkpoint_bytes, ..options };
        ApplyJob {
            source: inputs.into(),
            assignments: self.assignments(),
            options,
            history: self.settings(),
            pool: Some(self.memory.batches.clone()),
        }
    }

    /// Applies streams, and is told to stop after `after` events.
    pub(super) fn apply_stopping(&self, streams: &[&Path], after: usize) -> Result<()> {
        let job = self.job(paths(streams), ApplyOptions::default());
        self.run(job, after, &mut || {})
    }

    fn run(&self, job: ApplyJob, stops_after: usize, observe: &mut dyn FnMut()) -> Result<()> {
        let (stop, mut events) = (AtomicBool::new(stops_after == 0), 0);
        let resumes = job.options.resume;
        let mut group = self.group()?;
        let outcome = crate::apply::run(&mut group, job, &stop, &mut |_| {
            events += 1;
            stop.store(events >= stops_after, Ordering::Relaxed);
            observe();
        })?;
        if let Some(failed) = outcome.failed_volumes.first() {
            return Err(Error::new(failed.kind(), failed.to_string()));
        }
        match outcome.ending {
            Ending::Complete => Ok(()),
            Ending::Failed(error) => Err(error),
            Ending::Stopped if stops_after < usize::MAX => Ok(()),
            Ending::Incomplete if resumes => Ok(()),
            Ending::Incomplete | Ending::Stopped => Err(Error::new(ErrorKind::Failed, "stopped")),
        }
    }

    pub(super) fn rollback(&self, to: PointId) -> Result<()> {
        self.roll_back(to, false, false)
    }

    /// Rolls back volumes that do not hold what the group left there.
    pub(super) fn rollback_accepting(&self, to: PointId) -> Result<()> {
        self.roll_back(to, false, true)
    }

    /// Rolls back, and keeps nothing of what is overwritten.
    pub(super) fn rollback_without_undo(&self, to: PointId) -> Result<()> {
        self.roll_back(to, true, false)
    }

    fn roll_back(&self, to: PointId, without_undo: bool, accept_target: bool) -> Result<()> {
        let job = rollback::RollbackJob {
            group: self.group()?,
            assignments: self.assignments(),
            to,
            accept_target,
            may_give_up_points: true,
            without_undo,
            engine: Engine::Blocking,
            history: self.settings(),
            pool: Some(self.memory.batches.clone()),
        };
        rollback::run(job, &AtomicBool::new(false), &mut |_| {}).map(drop)
    }

    /// Accepts the volumes, after the proof.
    pub(super) fn commit(&self) -> Result<()> {
        let mut group = self.group()?;
        let proof = commit::where_it_is(&mut group, self.settings())?;
        if let commit::Proof::RolledBack(point) = proof {
            let volume = |place: usize| commit::Volume {
                name: (self.names)(place).as_str().into(),
                device: Box::new(SimulatedDisk::open(&self.world, DiskId::Volume(place)).unwrap()),
            };
            let mut volumes: Vec<_> = (0..self.volumes()).map(volume).collect();
            let stop = AtomicBool::new(false);
            commit::compare(group.view(), point, &mut volumes, &stop, &mut |_, _| {})?;
        }
        group.commit()
    }

    /// Loses both copies of the state, and rebuilds it from the segments.
    pub(super) fn rebuild(&self) -> Result<()> {
        lock(&self.world).now.state = [None, None];
        let storage = self.storage();
        let rebuilt = rebuild(&storage)?;
        let text = state_text::print(&rebuilt.state);
        StateCopy::BOTH
            .into_iter()
            .try_for_each(|copy| storage.replace_state(copy, &text))
            .map_err(|error| Error::failed("saving it", error))
    }

    /// Makes a point by hand.
    pub(super) fn point(&self, name: String) -> Result<PointId> {
        let mut group = self.group()?;
        group.open_history(self.settings())?;
        group.point(PointKind::App, Some(name))
    }

    /// Pins a point.
    pub(super) fn pin(&self, id: PointId) -> Result<()> {
        self.group()?.pin(id, true)
    }

    /// Forgets points.
    pub(super) fn forget(&self, ids: &[PointId]) -> Result<()> {
        let mut group = self.group()?;
        group.open_history(self.settings())?;
        group.forget(ids)
    }

    /// Views of the volumes at a point.
    pub(super) fn views(&self, point: PointId) -> Result<Vec<View>> {
        let pool = &self.memory.pieces;
        let history = PointHistory::open_with(self.storage(), point, pool.clone())?;
        let view = |place: usize| {
            let name = (self.names)(place);
            let disk = SimulatedDisk::open(&self.world, DiskId::Volume(place)).unwrap();
            View::of_point_with(name.clone(), Box::new(disk), &history, &name, pool.clone())
        };
        (0..self.volumes()).map(view).collect()
    }

    /// The content of the volumes at a point.
    pub(super) fn at(&self, point: PointId) -> Result<Vec<Vec<u8>>> {
        self.views(point)?.iter().map(whole).collect()
    }

    /// The current content of the volumes.
    pub(super) fn contents(&self) -> Vec<Vec<u8>> {
        let world = lock(&self.world);
        let volumes = world.now.disks.keys().filter(|id| matches!(id, DiskId::Volume(_))).count();
        (0..volumes).map(|place| world.volume(place)).collect()
    }
}

fn paths(streams: &[&Path]) -> Vec<StreamArgument> {
    streams.iter().map(|path| StreamArgument::Path((*path).to_owned())).collect()
}

/// The whole content of a view.
pub(super) fn whole(view: &View) -> Result<Vec<u8>> {
    let mut bytes = vec![0; view.geometry().capacity.get() as usize];
    view.read(ByteOffset::ZERO, &mut bytes)?;
    Ok(bytes)
}

/// All points are kept for an hour, and then expire: nothing is thinned.
pub(super) fn keep_all() -> Policy {
    let hour = Duration::from_secs(3600);
    Policy { window: hour, keep_all: hour, thin_to: hour, ..Policy::default() }
}

/// Points of marks expire soon, except the last ones: nothing is thinned.
pub(super) fn expiring() -> Policy {
    let second = Duration::from_secs(1);
    Policy { window: second, keep_all: second, thin_to: second, ..Policy::default() }
}

/// Points of marks (which are a second apart) are thinned to one in three, and expire somewhat
/// later.
pub(super) fn thinning() -> Policy {
    let seconds = Duration::from_secs;
    Policy { window: seconds(6), keep_all: seconds(1), thin_to: seconds(3), ..Policy::default() }
}

/// Checks that the history passes its own check.
pub(super) fn is_whole(machine: &Machine) -> std::result::Result<(), String> {
    let report = check(&machine.storage(), &AtomicBool::new(false), &mut |_| {});
    let report = report.map_err(|error| error.chain())?;
    match report.damage.first() {
        None => Ok(()),
        Some(found) => Err(format!("the history fails its check: {found:?}")),
    }
}
