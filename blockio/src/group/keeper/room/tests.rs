//! Room: how much is available, which points are given up for it, and when none is.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::device::Engine;
use crate::device::{BlockDevice, Geometry};
use crate::group::Group;
use crate::group::keeper::{Forecast, HistorySettings, now};
use crate::journal::catalogue::{JournalVolume, NewPoint, PointKind, Span};
use crate::journal::retention::Policy;
use crate::journal::settings::GroupSettings;
use crate::storage::{SegmentNumber, StateCopy, Storage};
use crate::units::{ByteCount, ByteOffset, SectorSize};

mod given_up;

const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000_000_000;

/// A directory on a volume with configurable room.
struct Volume {
    directory: Arc<dyn Storage>,
    space: Mutex<Space>,
    /// The free room after a segment was removed.
    free_after_removal: Mutex<Option<u64>>,
    /// The next segment cannot be created, with this errno, and nothing is free from then on.
    create_fails: Mutex<Option<i32>>,
}

impl Volume {
    fn new(total_bytes: u64, free_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            directory: crate::sim::storage(1 << 14),
            space: Mutex::new(Space { total_bytes, free_bytes }),
            free_after_removal: Mutex::new(None),
            create_fails: Mutex::new(None),
        })
    }

    /// The group on it, with its history open.
    fn group(self: &Arc<Self>, policy: Policy, segment_bytes: Option<u64>) -> Group {
        let mut group = Group::in_storage(Arc::clone(self) as Arc<dyn Storage>, "g").unwrap();
        group.set(GroupSettings { policy, ..GroupSettings::default() }).unwrap();
        let settings =
            HistorySettings { segment_bytes, in_thread: false, ..HistorySettings::default() };
        group.open_history(settings).unwrap();
        group
    }
}

impl Storage for Volume {
    fn state_file(&self, copy: StateCopy) -> Option<PathBuf> {
        self.directory.state_file(copy)
    }

    fn read_state(&self, copy: StateCopy) -> io::Result<Option<String>> {
        self.directory.read_state(copy)
    }

    fn replace_state(&self, copy: StateCopy, text: &str) -> io::Result<()> {
        self.directory.replace_state(copy, text)
    }

    fn append_state(&self, copy: StateCopy, at: u64, text: &str) -> io::Result<bool> {
        self.directory.append_state(copy, at, text)
    }

    fn create_segment(
        &self,
        number: SegmentNumber,
        bytes: u64,
        engine: Engine,
    ) -> io::Result<Box<dyn BlockDevice>> {
        if let Some(errno) = self.create_fails.lock().unwrap().take() {
            self.space.lock().unwrap().free_bytes = 0;
            return Err(io::Error::from_raw_os_error(errno));
        }
        self.directory.create_segment(number, bytes, engine)
    }

    fn open_segment(&self, number: SegmentNumber) -> io::Result<Box<dyn BlockDevice>> {
        self.directory.open_segment(number)
    }

    fn state_stamp(&self) -> io::Result<u64> {
        self.directory.state_stamp()
    }

    fn shorten_segment(&self, number: SegmentNumber, bytes: u64) -> io::Result<()> {
        self.directory.shorten_segment(number, bytes)
    }

    fn remove_segment(&self, number: SegmentNumber) -> io::Result<()> {
        if let Some(free) = *self.free_after_removal.lock().unwrap() {
            self.space.lock().unwrap().free_bytes = free;
        }
        self.directory.remove_segment(number)
    }

    fn segments(&self) -> io::Result<Vec<SegmentNumber>> {
        self.directory.segments()
    }

    fn space(&self) -> io::Result<Space> {
        Ok(*self.space.lock().unwrap())
    }
}

/// The start and three points, a thousand seconds apart; `bytes` of the journal lead back to each
/// of the first three.
fn catalogue(mut known: Catalogue, bytes: [u64; 3]) -> Catalogue {
    for (number, bytes) in (1..).zip(bytes) {
        let (first_record, next_record) = (number, number + 1);
        let span = Span { segment: SegmentNumber(90 + number), bytes, first_record, next_record };
        let time = number * 1000 * SECOND;
        let new = NewPoint { time, kind: PointKind::Crash, name: None };
        known.seal(vec![span], new, time);
    }
    known
}

/// Gives `group` such a catalogue.
fn set_catalogue(group: &mut Group, bytes: [u64; 3]) {
    let change = |state: &mut crate::journal::state::GroupState| {
        state.journal = state.journal.take().map(|known| catalogue(known, bytes));
    };
    group.overwrite(change).unwrap();
}

#[test]
fn as_many_of_the_oldest_points_go_as_give_back_what_is_missing() {
    let known = catalogue(Catalogue::new([0; 16], 0), [10, 20, 30]);
    let all = PointId(3);
    for (needed, free, expected) in [
        (0, 0, Some(0)),
        (5, 5, Some(0)),
        (10, 0, Some(1)),
        (11, 0, Some(2)),
        (40, 10, Some(2)),
        (41, 10, Some(3)),
        (60, 0, Some(3)),
        (61, 0, None),
    ] {
        assert_eq!(points_to_go(&known, all, needed, free), expected, "{needed} {free}");
    }
    // The destination of a rollback, and everything after it, has to stay.
    assert_eq!(points_to_go(&known, PointId(1), 10, 0), Some(1));
    assert_eq!(points_to_go(&known, PointId(1), 11, 0), None);
    assert_eq!(points_to_go(&known, PointId(0), 1, 0), None);
}

#[test]
fn a_record_that_does_not_fit_into_what_is_left_begins_a_segment() {
    let block = BLOCK_BYTES as u64;
    let mut packing = Packing { segment_bytes: 4 * block, segments: 0, left: 0 };
    // One block of each is its header.
    for (blocks, segments) in [(1, 1), (2, 1), (1, 2), (3, 3), (1, 4), (1, 4), (1, 4), (1, 5)] {
        packing.add(blocks * block);
        assert_eq!(packing.segments, segments);
    }
}

#[test]
fn want_of_room_is_told_from_other_errors() {
    for (errno, expected) in [(libc::ENOSPC, true), (libc::EDQUOT, true), (libc::EIO, false)] {
        assert_eq!(is_full(&io::Error::from_raw_os_error(errno)), expected);
    }
}

#[test]
fn a_part_of_the_volume_is_left_free_and_a_limit_is_kept_to() {
    let none = Policy::default();
    let limited = Policy { journal_bytes_max: Some(3000), ..none };
    for (total, free, policy, used, expected) in [
        (20_000, 5000, none, 1000, 4000),
        (20_000, 500, none, 0, 0),
        (1 << 40, 100 * MIB, none, 0, 36 * MIB),
        (20_000, 5000, limited, 1000, 2000),
        (20_000, 1500, limited, 1000, 500),
        (20_000, 5000, limited, 4000, 0),
    ] {
        let group = Volume::new(total, free).group(policy, None);
        let mut known = Catalogue::new([7; 16], 1);
        let (segment, bytes) = (SegmentNumber(1), used);
        let span = Span { segment, bytes, first_record: 1, next_record: 2 };
        let new = NewPoint { time: 1, kind: PointKind::Crash, name: None };
        known.seal(vec![span], new, 1);
        let found = group.keeper.unwrap().room().free_bytes(&known).unwrap();
        assert_eq!(found, expected, "{total} {free} {used}");
    }
}

#[test]
fn segments_are_a_part_of_the_volume_in_whole_mib() {
    let none = Policy::default();
    let limited = Policy { journal_bytes_max: Some(64 * 20 * MIB), ..none };
    for (total, policy, expected) in [
        (64 * 100 * MIB + 64 * 5, none, 100 * MIB),
        (64 * 100 * MIB, limited, 20 * MIB),
        (64 * MIB, none, 8 * MIB),
        (1 << 50, none, 256 * MIB),
    ] {
        let group = Volume::new(total, 1 << 40).group(policy, None);
        assert_eq!(group.keeper.unwrap().segment_bytes, expected);
    }
}

#[test]
fn a_rollback_needs_room_for_what_was_not_preserved_in_whole_segments() {
    let segment_bytes = 64 << 10;
    let mut group = Volume::new(0, 1000 * MIB).group(Policy::default(), Some(segment_bytes));
    let names = ["a".into(), "b".into()];
    let geometry =
        Geometry { capacity: ByteCount::new(16 * MIB), sector_size: SectorSize::Bytes4096 };
    let change = |state: &mut crate::journal::state::GroupState| {
        let known = state.journal.as_mut().unwrap();
        for name in &names {
            let (name, sector_bytes) = (crate::volume_name::VolumeName::clone(name), 4096);
            let capacity_bytes = geometry.capacity.get();
            known.volumes.push(JournalVolume { name, sector_bytes, capacity_bytes });
        }
    };
    group.overwrite(change).unwrap();
    let all = vec![Extent::new(ByteOffset::ZERO, ByteCount::new(128 << 10)).unwrap()];
    let keeper = group.keeper.as_mut().unwrap();
    keeper.touched = vec![Touched::default(), Touched::default()];
    keeper.touched[0].insert(&all);
    let needed = |name| {
        let step = (Preserve { name, geometry }, all.clone());
        let known = group.view().catalogue().unwrap();
        group.room().unwrap().needed(known, PointId(0), std::iter::once(step)).unwrap()
    };
    assert_eq!((needed(&names[0]).bytes, needed(&names[0]).points_to_go), (0, Some(0)));
    // Records of half a segment, plus a header each: no two fit into one segment.
    let of_b = needed(&names[1]);
    assert_eq!((of_b.bytes, of_b.free_bytes), (4 * segment_bytes, 1000 * MIB));
    assert_eq!(needed(&"new".into()).bytes, 4 * segment_bytes);
}
