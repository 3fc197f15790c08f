//! A rollback of disks in memory, with the history in memory too: when there is nothing to do, what
//! is checked before the first write, and what is reported meanwhile.

use std::time::Duration;

use super::*;
use crate::apply::{self, ApplyOptions, StreamArgument};
use crate::assignment::OpenDevice;
use crate::device::memory::MemoryDevice;
use crate::device::{BlockDevice, Geometry, Transfer, WriteBatch};
use crate::extent::Extent;
use crate::journal::catalogue::PointKind;
use crate::journal::index::{Image, ImageLocation};
use crate::journal::retention::Policy;
use crate::journal::settings::GroupSettings;
use crate::journal::state::{Fingerprint, InBetween};
use crate::storage::{SegmentNumber, Storage};
use crate::stream::input::Input;
use crate::stream::{
    Format, Mark, MarkKind, Name, StreamHeader, Timestamp, VolumeHeader, VolumeIndex, native,
};
use crate::units::{ByteCount, ByteOffset, SectorSize};

const BLOCK: u64 = 4096;
const SIZE: u64 = 256 << 10;
/// What is overwritten after the mark, on volume `a`.
const CHANGED: std::ops::Range<u64> = 8 * BLOCK..40 * BLOCK;
pub(crate) const MARKED: PointId = PointId(1);
pub(crate) const LAST: PointId = PointId(2);

/// A group of two volumes. One stream was applied, with a mark in its middle and one at its end;
/// between them only volume `a` was overwritten.
pub(crate) struct Bench {
    pub(crate) storage: Arc<dyn Storage>,
    a: MemoryDevice,
    b: MemoryDevice,
    marked: Vec<u8>,
}

/// The result of a rollback: how it ended, the progress of its check and of its writes, and the
/// notices for the operator.
type Told = (Result<Ending>, Vec<(u64, u64)>, Vec<(u64, u64)>, Vec<String>);

fn disk() -> MemoryDevice {
    let capacity = ByteCount::new(SIZE);
    MemoryDevice::new(Geometry { capacity, sector_size: SectorSize::Bytes512 })
}

fn assignment(name: &str, disk: &MemoryDevice) -> Assignment {
    let known_as = format!("disk-{name}");
    let target = Disk::Device(OpenDevice::new(known_as.clone(), Box::new(disk.clone())));
    Assignment { volume: name.into(), target, identity: known_as.into() }
}

fn settings() -> HistorySettings {
    // Soon after the marks, and constant.
    let clock = || 1_700_000_100_000_000_000;
    HistorySettings {
        segment_bytes: Some(32 << 10),
        in_thread: false,
        clock,
        ..HistorySettings::default()
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        let storage = crate::sim::storage(1 << 12);
        let bench = Self { storage, a: disk(), b: disk(), marked: Vec::new() };
        bench.keep_by(None);
        let input = Input::from_pipe(std::io::Cursor::new(stream()));
        let inputs = vec![StreamArgument::Open { name: "a pipe".to_owned(), input }];
        let job = apply::ApplyJob {
            source: inputs.into(),
            assignments: bench.assignments(),
            options: ApplyOptions { format: Some(Format::Native), ..ApplyOptions::default() },
            history: settings(),
            ..apply::ApplyJob::default()
        };
        apply::run(&mut bench.group(), job, &AtomicBool::new(false), &mut |_| {}).unwrap();
        let ids: Vec<_> = bench.known().points.iter().map(|point| point.id).collect();
        assert_eq!(ids, [PointId(0), MARKED, LAST]);
        let mut marked = bench.a.contents();
        marked[CHANGED.start as usize..CHANGED.end as usize].fill(1);
        Self { marked, ..bench }
    }

    /// All points are kept for an hour; the journal takes at most `journal_bytes_max` bytes.
    fn keep_by(&self, journal_bytes_max: Option<u64>) {
        let hour = Duration::from_secs(3600);
        let policy = Policy {
            window: hour,
            keep_all: hour,
            thin_to: hour,
            journal_bytes_max,
            ..Policy::default()
        };
        self.group().set(GroupSettings { policy, ..GroupSettings::default() }).unwrap();
    }

    pub(crate) fn group(&self) -> Group {
        Group::in_storage(Arc::clone(&self.storage), "g").unwrap()
    }

    pub(crate) fn known(&self) -> crate::journal::catalogue::Catalogue {
        self.group().view().catalogue().unwrap().clone()
    }

    fn assignments(&self) -> Vec<Assignment> {
        vec![assignment("b", &self.b), assignment("a", &self.a)]
    }

    fn job(&self, to: PointId) -> RollbackJob {
        RollbackJob {
            group: self.group(),
            assignments: self.assignments(),
            to,
            accept_target: false,
            may_give_up_points: false,
            without_undo: false,
            engine: Engine::Blocking,
            history: settings(),
            pool: None,
        }
    }

    fn told(&self, to: PointId, change: impl FnOnce(&mut RollbackJob)) -> Told {
        let mut job = self.job(to);
        change(&mut job);
        let (mut checked, mut written, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        let ending = run(job, &AtomicBool::new(false), &mut |event| match event {
            RollbackEvent::Checked { done, of } => checked.push((done, of)),
            RollbackEvent::Written { done, of } => written.push((done, of)),
            RollbackEvent::Notice(note) => notes.push(note.to_string()),
        });
        (ending, checked, written, notes)
    }

    /// Previews a rollback to `to`.
    fn previewed(&self, to: PointId, change: impl FnOnce(&mut Asked<'_>)) -> Result<Preview> {
        let (group, mut assignments) = (self.group(), self.assignments());
        let mut asked = Asked {
            group: group.view(),
            assignments: &mut assignments,
            to,
            accept_target: false,
            may_give_up_points: false,
            without_undo: false,
            history: &settings(),
            is_whole: true,
        };
        change(&mut asked);
        preview(asked, &AtomicBool::new(false), &mut |_| {})
    }

    pub(crate) fn roll_back(&self, to: PointId) -> Ending {
        self.told(to, |_| {}).0.unwrap()
    }

    pub(crate) fn roll_back_without_undo(&self, to: PointId) -> Ending {
        self.told(to, |job| job.without_undo = true).0.unwrap()
    }

    /// Writes whole blocks of a segment.
    pub(crate) fn write_segment(&self, number: SegmentNumber, at: u64, bytes: &[u8]) {
        let pool = ArenaPool::new(1, NonZeroUsize::new(bytes.len()).unwrap()).unwrap();
        let mut arena = pool.take().unwrap();
        arena.as_mut_slice().copy_from_slice(bytes);
        let at = ByteOffset::new(at);
        let writes = vec![Transfer { at, position: 0, length: bytes.len() }];
        let batch = WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() };
        self.storage.open_segment(number).unwrap().write_batch(batch).unwrap();
    }

    /// A block of a segment.
    pub(crate) fn block(&self, number: SegmentNumber, at: u64) -> Vec<u8> {
        let length = NonZeroUsize::new(BLOCK as usize).unwrap();
        let arena = ArenaPool::new(1, length).unwrap().take().unwrap();
        let mut device = self.storage.open_segment(number).unwrap();
        crate::journal::scan::read(device.as_mut(), arena, at, length.get()).unwrap().as_slice()
            [..length.get()]
            .to_vec()
    }

    /// Writes one sector of `a` without the group's knowledge.
    fn write(&self, at: u64, byte: u8) {
        let pool = ArenaPool::new(1, NonZeroUsize::new(BLOCK as usize).unwrap()).unwrap();
        let mut arena = pool.take().unwrap();
        arena.as_mut_slice().fill(byte);
        let at = ByteOffset::new(at);
        let writes = vec![Transfer { at, position: 0, length: 512 }];
        let batch = WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() };
        self.a.clone().write_batch(batch).unwrap();
    }
}

fn stream() -> Vec<u8> {
    let volume = |name: &str| VolumeHeader {
        name: Name::new(name.as_bytes()),
        size: Some(ByteCount::new(SIZE)),
        ..VolumeHeader::default()
    };
    let volumes = vec![volume("a"), volume("b")];
    let header =
        StreamHeader { format: Format::Native, is_in_write_order: true, identity: None, volumes };
    let mut bytes = Vec::new();
    let mut encoder = native::Encoder::new(&mut bytes, &header, Default::default()).unwrap();
    let put = |encoder: &mut native::Encoder<_>, volume, at: u64, until: u64, fill: u8| {
        let data = vec![fill; (until - at) as usize];
        encoder.data(VolumeIndex(volume), ByteOffset::new(at), &data).unwrap();
    };
    put(&mut encoder, 0, CHANGED.start, CHANGED.end, 1);
    put(&mut encoder, 1, 0, BLOCK, 1);
    let mark = |second: u64| {
        let time = Timestamp(1_700_000_000_000_000_000 + second * 1_000_000_000);
        Mark { kind: MarkKind::CrashConsistent, time, name: None, group: None }
    };
    encoder.mark(&mark(0)).unwrap();
    put(&mut encoder, 0, CHANGED.start, CHANGED.end, 2);
    encoder.mark(&mark(1)).unwrap();
    encoder.finish(true).unwrap();
    bytes
}

fn extent(start: u64, end: u64) -> Extent {
    Extent::between(ByteOffset::new(start), ByteOffset::new(end)).unwrap()
}

#[test]
fn what_is_checked_and_written_is_told_up_to_the_whole_and_then_there_is_nothing_to_do() {
    let bench = Bench::new();
    let all = CHANGED.end - CHANGED.start;
    let (ending, checked, written, _) = bench.told(MARKED, |_| {});
    assert_eq!(ending.unwrap(), Ending::Complete { bytes: all, right: 0 });
    assert_eq!(checked.last(), Some(&(all, all)));
    assert!(checked.is_sorted() && checked[0].0 > 0, "{checked:?}");
    assert_eq!(written.last(), Some(&(all, all)));
    assert!(bench.a.contents() == bench.marked);
    let (ending, checked, written, _) = bench.told(MARKED, |_| {});
    assert_eq!(ending.unwrap(), Ending::NothingToDo);
    assert_eq!((checked, written), (Vec::new(), Vec::new()));
}

#[test]
fn a_preview_says_what_is_written_also_after_a_rollback_that_was_cut_short() {
    let bench = Bench::new();
    let all = CHANGED.end - CHANGED.start;
    let generation = || bench.group().view().state().generation();
    let (before, saved) = (bench.a.contents(), generation());
    let expected = Preview {
        nothing_to_do: false,
        volumes: vec![("a".into(), all), ("b".into(), 0)],
        given_up: Vec::new(),
        for_room: Vec::new(),
    };
    assert_eq!(bench.previewed(MARKED, |_| {}).unwrap(), expected);
    let without_undo = bench.previewed(MARKED, |asked| asked.without_undo = true).unwrap();
    assert_eq!(without_undo.given_up, [LAST]);
    assert!(bench.a.contents() == before && generation() == saved, "a preview changes nothing");
    let stop = AtomicBool::new(false);
    let job = bench.job(MARKED);
    let cut = run(job, &stop, &mut |event| {
        stop.fetch_or(matches!(event, RollbackEvent::Written { .. }), Ordering::Relaxed);
    });
    assert_eq!(cut.unwrap(), Ending::Stopped);
    assert_eq!(bench.previewed(MARKED, |_| {}).unwrap(), expected);
    // What was written before the cut may not be durable.
    assert_eq!(bench.roll_back(MARKED), Ending::Complete { bytes: all, right: 0 });
    let there = bench.previewed(MARKED, |asked| asked.without_undo = true).unwrap();
    assert!(there.nothing_to_do && there.given_up.is_empty(), "{there:?}");
    assert!(there.volumes.iter().all(|(_, bytes)| *bytes == 0), "{there:?}");
}

#[test]
fn a_preview_of_a_point_that_cannot_be_reached_says_so_as_the_rollback_does() {
    let bench = Bench::new();
    let spans = bench.known().point(MARKED).unwrap().spans.clone();
    let last = spans.last().unwrap();
    bench.write_segment(last.segment, last.bytes - BLOCK, &[0xee; BLOCK as usize]);
    let found = bench.previewed(MARKED, |_| {}).unwrap_err();
    let real = bench.told(MARKED, |_| {}).0.unwrap_err();
    assert_eq!((found.kind(), found.to_string()), (ErrorKind::Integrity, real.to_string()));
}

#[test]
fn a_volume_that_was_not_overwritten_since_need_not_be_there_to_see_that_nothing_is_to_be_done() {
    let bench = Bench::new();
    bench.roll_back(MARKED);
    let only_a = |job: &mut RollbackJob| job.assignments = vec![assignment("a", &bench.a)];
    assert_eq!(bench.told(MARKED, only_a).0.unwrap(), Ending::NothingToDo);
}

#[test]
fn what_somebody_wrote_after_a_rollback_is_written_over_by_the_same_one() {
    let bench = Bench::new();
    bench.roll_back(MARKED);
    bench.write(CHANGED.end - 512, 9);
    let accept = |job: &mut RollbackJob| job.accept_target = true;
    let ending = bench.told(MARKED, accept).0.unwrap();
    assert!(matches!(ending, Ending::Complete { .. }), "{ending:?}");
    assert!(bench.a.contents() == bench.marked);
}

#[test]
fn what_a_volume_holds_already_is_neither_written_nor_preserved() {
    let journal_bytes = |bench: &Bench| bench.known().points.last().unwrap().journal_bytes();
    let (bench, other) = (Bench::new(), Bench::new());
    other.roll_back(MARKED);
    let half = (CHANGED.start + CHANGED.end) / 2;
    for at in (CHANGED.start..half).step_by(512) {
        bench.write(at, 1);
    }
    let accept = |job: &mut RollbackJob| job.accept_target = true;
    let (ending, _, written, _) = bench.told(MARKED, accept);
    let (bytes, right) = (CHANGED.end - half, half - CHANGED.start);
    assert_eq!(ending.unwrap(), Ending::Complete { bytes, right });
    assert_eq!(written.last(), Some(&(bytes + right, bytes + right)));
    assert!(bench.a.contents() == bench.marked);
    assert!(journal_bytes(&bench) + right <= journal_bytes(&other));
    // What it did overwrite can be undone.
    assert_eq!(bench.roll_back(LAST), Ending::Complete { bytes, right: 0 });
    assert_eq!(bench.a.contents()[half as usize..CHANGED.end as usize], [2; 16 * BLOCK as usize]);
}

/// A job for volume `a`, which cannot be read.
fn unreadable(bench: &Bench, job: &mut RollbackJob) {
    let broken = bench.a.clone().failing_reads(0, libc::EIO);
    job.assignments = vec![assignment("a", &broken)];
    job.accept_target = true;
}

fn cut_short(bench: &Bench, change: impl FnOnce(&mut RollbackJob)) {
    let stop = AtomicBool::new(false);
    let mut job = bench.job(MARKED);
    change(&mut job);
    let cut = run(job, &stop, &mut |event| {
        stop.fetch_or(matches!(event, RollbackEvent::Written { .. }), Ordering::Relaxed);
    });
    assert_eq!(cut.unwrap(), Ending::Stopped);
}

#[test]
fn a_rollback_without_undo_reads_nothing_of_what_it_overwrites() {
    let bench = Bench::new();
    let all = CHANGED.end - CHANGED.start;
    let ended = Ending::Complete { bytes: all, right: 0 };
    // One that keeps what it overwrites cannot go without.
    assert!(bench.told(MARKED, |job| unreadable(&bench, job)).0.is_err());
    let plainly = |bench: &Bench, job: &mut RollbackJob| {
        job.without_undo = true;
        unreadable(bench, job);
    };
    let bench = Bench::new();
    assert_eq!(bench.told(MARKED, |job| plainly(&bench, job)).0.unwrap(), ended);
    let bench = Bench::new();
    cut_short(&bench, |_| {});
    assert_eq!(bench.told(MARKED, |job| plainly(&bench, job)).0.unwrap(), ended);
    assert!(bench.a.contents() == bench.marked);
}

#[test]
fn what_a_rollback_that_kept_nothing_wrote_before_it_was_cut_short_is_written_again() {
    let bench = Bench::new();
    cut_short(&bench, |job| job.without_undo = true);
    let all = CHANGED.end - CHANGED.start;
    assert_eq!(bench.roll_back(MARKED), Ending::Complete { bytes: all, right: 0 });
    assert!(bench.a.contents() == bench.marked);
}

#[test]
fn at_the_last_point_there_is_nothing_to_do() {
    let bench = Bench::new();
    assert_eq!(bench.roll_back(LAST), Ending::NothingToDo);
    assert_eq!(bench.known().rolled_back_to, None);
}

#[test]
fn at_a_point_from_which_nothing_was_written_there_is_nothing_to_do() {
    let bench = Bench::new();
    let mut group = bench.group();
    group.open_history(settings()).unwrap();
    let by_hand = group.point(PointKind::App, Some("by hand".to_owned())).unwrap();
    drop(group);
    assert!(by_hand > LAST);
    assert!(bench.previewed(LAST, |_| {}).unwrap().nothing_to_do);
    assert_eq!(bench.roll_back(LAST), Ending::NothingToDo);
    assert_eq!(bench.known().rolled_back_to, None);
}

#[test]
fn a_volume_that_has_to_be_written_and_has_no_target_is_refused_before_anything_is_written() {
    let bench = Bench::new();
    let before = bench.a.contents();
    let only_b = |job: &mut RollbackJob| job.assignments = vec![assignment("b", &bench.b)];
    let refused = bench.told(MARKED, only_b).0.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(refused.to_string().contains("no target for the volume \"a\""), "{refused}");
    assert!(bench.a.contents() == before && bench.known().rolling_back_to.is_none());
}

#[test]
fn a_rollback_for_which_points_have_to_go_is_refused_unless_they_may_or_nothing_is_kept() {
    let bench = Bench::new();
    let before = bench.a.contents();
    bench.keep_by(Some(bench.known().journal_bytes() + (64 << 10)));
    let refused = bench.told(MARKED, |_| {}).0.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(refused.to_string().contains("nothing was written"), "{refused}");
    assert!(bench.a.contents() == before && bench.known().rolling_back_to.is_none());
    let previewed = bench.previewed(MARKED, |_| {}).unwrap_err();
    assert_eq!(previewed.to_string(), refused.to_string());
    let may = bench.previewed(MARKED, |asked| asked.may_give_up_points = true).unwrap();
    assert_eq!(may.for_room, [PointId(0)]);
    let keeps_nothing = |job: &mut RollbackJob| job.without_undo = true;
    let ending = bench.told(MARKED, keeps_nothing).0.unwrap();
    assert_eq!(ending, Ending::Complete { bytes: CHANGED.end - CHANGED.start, right: 0 });
    assert!(bench.a.contents() == bench.marked);
}

#[test]
fn a_rollback_that_keeps_nothing_adds_no_images() {
    let bench = Bench::new();
    let ending = bench.told(MARKED, |job| job.without_undo = true).0.unwrap();
    let all = CHANGED.end - CHANGED.start;
    assert_eq!(ending, Ending::Complete { bytes: all, right: 0 });
    let known = bench.known();
    let open = known.points.last().unwrap().journal_bytes();
    assert!(open < all, "{open} bytes");
    assert!(known.point(LAST).is_none_or(|point| point.kind == PointKind::Break), "{known:?}");
}

#[test]
fn each_history_has_an_identity_of_its_own() {
    let identities = [Bench::new(), Bench::new()].map(|bench| bench.known().identity);
    assert_ne!(identities[0], identities[1]);
    assert!(!identities.contains(&[0; 16]));
}

#[test]
fn what_was_kept_in_short_sectors_does_not_fit_a_disk_of_long_ones() {
    let end = 3 * BLOCK + 512;
    let geometry = Geometry { capacity: ByteCount::new(end), sector_size: SectorSize::Bytes4096 };
    let disk =
        Disk::Device(OpenDevice::new("it".to_owned(), Box::new(MemoryDevice::new(geometry))));
    let with = |start, end| {
        let mut index = ImageIndex::default();
        index.add(Image { extent: extent(0, BLOCK), place: ImageLocation::Zeros });
        index.add(Image { extent: extent(start, end), place: ImageLocation::Zeros });
        check_sectors(&disk, Some(&index))
    };
    assert!(check_sectors(&disk, None).is_ok());
    assert!(with(BLOCK, 2 * BLOCK).is_ok());
    // The last sector has the length that the disk has left.
    assert!(with(2 * BLOCK, end).is_ok());
    for (start, end) in [(2 * BLOCK, 2 * BLOCK + 512), (2 * BLOCK + 512, 3 * BLOCK)] {
        assert_eq!(with(start, end).unwrap_err().kind(), ErrorKind::Refused);
    }
}

#[test]
fn where_the_volumes_are_is_known_unless_a_stream_was_cut_short_or_begun_since() {
    let mut group = Group::in_storage(crate::sim::storage(64), "g").unwrap();
    let state_of = |exact| VolumeState {
        in_between: Some(InBetween {
            input: serde_json::from_str::<Fingerprint>("\"native, one\"").unwrap(),
            position: 7,
            exact,
            unordered: false,
            content: None,
        }),
        ..VolumeState::default()
    };
    let mut volumes = [("a", true), ("b", true)].map(|(name, exact)| (name, state_of(exact)));
    let mut known = |volumes: &[(&str, VolumeState)], then: Option<&Progress>| {
        let all = volumes.iter().map(|(name, volume)| ((*name).into(), volume.clone()));
        group.overwrite(|state| state.volumes = all.collect()).unwrap();
        let now = group.view().state().progress();
        is_known_to_be_at(group.view(), then.unwrap_or(&now))
    };
    assert!(known(&volumes, None));
    assert!(!known(&volumes, Some(&Progress::default())));
    volumes[1].1 = state_of(false);
    assert!(!known(&volumes, None));
    // A volume that the point does not know is where it was if nothing is known of it now.
    assert!(known(&[("c", VolumeState::default())], Some(&Progress::default())));
}
