//! Which volume is which, what is written to one, and what happens to one that fails.

use std::num::NonZeroUsize;

use super::*;
use crate::apply::HistorySettings;
use crate::assignment::{Disk, OpenDevice};
use crate::device::Geometry;
use crate::device::buffer::ArenaPool;
use crate::device::memory::MemoryDevice;
use crate::extent::Extent;
use crate::journal::memo::Targets;
use crate::plan::CLEAR_STEP_BYTES;
use crate::stream::{Content, Format, Name, VolumeHeader};
use crate::units::ByteOffset;

fn disk(capacity_bytes: u64) -> MemoryDevice {
    let (capacity, sector_size) = (ByteCount::new(capacity_bytes), SectorSize::Bytes4096);
    MemoryDevice::new(Geometry { capacity, sector_size })
}

fn volumes(named: Vec<(&str, MemoryDevice)>) -> Volumes {
    let assignments = named.into_iter().map(|(name, device)| Assignment {
        volume: name.into(),
        target: Disk::Device(OpenDevice::new(format!("disk of {name}"), Box::new(device))),
        identity: format!("wwid of {name}").into(),
    });
    let mut volumes = Volumes::new(assignments.collect());
    for volume in &mut volumes.volumes {
        volume.open(&ApplyOptions::default()).unwrap();
    }
    volumes
}

fn header(names: &[&str]) -> StreamHeader {
    let of = |name: &&str| {
        let name = (!name.is_empty()).then(|| Name::new(name.as_bytes()).unwrap());
        VolumeHeader { name, ..VolumeHeader::default() }
    };
    let volumes = names.iter().map(of).collect();
    StreamHeader { format: Format::Native, is_in_write_order: true, identity: None, volumes }
}

fn piece(volume: u16, start: u64, length: u64, content: Content) -> Piece {
    let extent = Extent::new(ByteOffset::new(start), ByteCount::new(length)).unwrap();
    Piece { volume: VolumeIndex(volume), extent, content }
}

fn arena(fill: u8) -> Arc<Arena> {
    let pool = ArenaPool::new(1, NonZeroUsize::new(4096).unwrap()).unwrap();
    let mut arena = pool.take().unwrap();
    arena.as_mut_slice().fill(fill);
    Arc::new(arena)
}

/// Writes a piece to the first volume.
fn write(volumes: &mut Volumes, piece: Piece, fill: u8, group: &mut Group) -> bool {
    volumes.write(0, &[piece], &arena(fill), group, &AtomicBool::new(false)).unwrap()
}

const DATA: Content = Content::Data { position: 0 };

#[test]
fn volumes_of_a_stream_are_found_by_their_names_in_its_order() {
    let some = volumes(vec![("a", disk(4096)), ("b", disk(4096)), ("c", disk(4096))]);
    assert_eq!(some.route(&header(&["c", "a"])).unwrap(), [2, 0]);
    assert_eq!(some.route(&header(&["b"])).unwrap(), [1]);
    for (names, said) in [
        (&["d"][..], "volume \"d\", which has no target"),
        (&[""], "volume without a name, which has no target"),
        (&["a", "a"], "two volumes \"a\""),
    ] {
        let error = some.route(&header(names)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn the_target_that_was_named_for_no_volume_is_that_of_a_stream_with_only_one() {
    let only = volumes(vec![("", disk(4096))]);
    assert_eq!(only.route(&header(&[""])).unwrap(), [0]);
    assert_eq!(only.route(&header(&["whatever"])).unwrap(), [0]);
    assert!(only.route(&header(&["a", "b"])).is_err());
}

#[test]
fn pieces_go_to_their_volumes_in_their_order() {
    let of = |volume, start| piece(volume, start, 1, Content::Zero);
    let all = vec![of(2, 1), of(0, 2), of(2, 3)];
    let sorted = by_volume(all.clone(), 3);
    assert_eq!(sorted, [(0, vec![of(0, 2)]), (2, vec![of(2, 1), of(2, 3)])]);
    // Verification refuses pieces on unknown volumes; here they are skipped.
    assert_eq!(by_volume(all, 2), [(0, vec![of(0, 2)])]);
    assert_eq!(by_volume(vec![of(0, 1)], 1), [(0, vec![of(0, 1)])]);
}

#[test]
fn a_volume_is_shown_with_its_target_and_known_by_it() {
    let mut some = volumes(vec![("db", disk(8192)), ("", disk(4096))]);
    assert_eq!(some.get(0).shown(), "db on disk of db");
    assert_eq!(some.get(1).shown(), "disk of ");
    assert!(!some.get(0).is_image_file());
    let memo = some.get(0).target_memo();
    assert_eq!((memo.target.as_deref(), memo.target_bytes), (Some("wwid of db"), 8192));
    let identity = memo.identity.unwrap();
    assert_eq!((identity.sector_bytes, &identity.content), (4096, &None));
    // The content is there only if nothing is written after this: it is read for that.
    let first = some.get(0).target_identity(true).content;
    assert!(first.is_some());
    write(&mut some, piece(0, 0, 4096, DATA), 9, &mut Group::default());
    let _ = some.flush(&mut Group::default()).unwrap();
    let then = some.get(0).target_identity(true).content;
    assert!(then.is_some() && then != first);
}

#[test]
fn what_no_stream_had_is_told() {
    let mut some = volumes(vec![("a", disk(4096)), ("b", disk(4096))]);
    some.get(0).was_in_a_stream = true;
    let left: Vec<_> = some.in_no_stream().map(Volume::shown).collect();
    assert_eq!(left, ["b on disk of b"]);
}

#[test]
fn zeros_longer_than_a_step_are_written_to_their_end() {
    let length = CLEAR_STEP_BYTES + 8192;
    let device = disk(length + 4096);
    let look = device.clone();
    let (mut some, mut group) = (volumes(vec![("db", device)]), Group::default());
    let places = [0, CLEAR_STEP_BYTES, length - 4096, length];
    for at in places {
        assert!(write(&mut some, piece(0, at, 4096, DATA), 7, &mut group));
    }
    assert!(write(&mut some, piece(0, 0, length, Content::Zero), 0, &mut group));
    let _ = some.flush(&mut group).unwrap();
    let now = look.contents();
    assert_eq!(places.map(|at| now[at as usize]), [0, 0, 0, 7]);
    // A stop takes effect between steps, and before the first.
    let zeros = [piece(0, 0, length, Content::Zero)];
    let stop = AtomicBool::new(true);
    assert!(!some.write(0, &zeros, &arena(0), &mut group, &stop).unwrap());
}

#[test]
fn what_long_zeros_overwrite_is_preserved() {
    let storage = crate::sim::storage(1 << 14);
    let mut group = Group::in_storage(storage, "g").unwrap();
    group.open_history(HistorySettings { in_thread: false, ..HistorySettings::default() }).unwrap();
    group.begin_history(&Targets::new()).unwrap();
    let length = CLEAR_STEP_BYTES + 4096;
    // It cannot be read, so nothing is overwritten.
    let device = disk(length).failing_reads(0, libc::EIO);
    let mut some = volumes(vec![("db", device)]);
    assert!(group.is_epoch_empty());
    assert!(write(&mut some, piece(0, 0, length, Content::Zero), 0, &mut group));
    assert!(!group.is_epoch_empty(), "nobody asked for what was there");
    assert!(some.get(0).has_failed());
}

#[test]
fn a_volume_whose_write_fails_is_left_and_told_once() {
    let broken = disk(8192).failing_writes(0, libc::EIO);
    let mut some = volumes(vec![("a", broken), ("b", disk(8192))]);
    let mut group = Group::default();
    write(&mut some, piece(0, 0, 4096, DATA), 7, &mut group);
    assert!(some.get(0).has_failed() && !some.get(1).has_failed());
    assert!(!some.have_all_failed());
    assert_eq!(some.new_failures().len(), 1);
    assert_eq!(some.new_failures().len(), 0);
    assert!(some.take_failure().is_none(), "it was told");
    // It is not used any more, and the other one is flushed.
    write(&mut some, piece(0, 0, 4096, DATA), 7, &mut group);
    let _ = some.flush(&mut group).unwrap();
    assert_eq!(some.into_failures().len(), 1);
}

#[test]
fn a_volume_whose_flush_fails_has_failed() {
    let broken = disk(8192).failing_flushes(0, libc::EIO);
    let (mut some, mut group) = (volumes(vec![("a", broken)]), Group::default());
    write(&mut some, piece(0, 0, 4096, DATA), 7, &mut group);
    let _ = some.flush(&mut group).unwrap();
    assert!(some.have_all_failed());
    let failed = some.take_failure().unwrap();
    assert!(failed.to_string().contains("a on disk of a: flushing"), "{failed}");
    assert!(some.take_failure().is_none());
}

#[test]
fn all_that_is_overwritten_is_preserved_though_it_is_more_than_there_is_memory_for() {
    let storage = crate::sim::storage(1 << 14);
    let mut group = Group::in_storage(storage, "g").unwrap();
    let (count, long) = (40, 64 << 10);
    let mut some = volumes(vec![("db", disk(count * long))]);
    // It holds something other than zeros, which would take no room.
    for place in 0..count {
        write(&mut some, piece(0, place * long, 4096, DATA), 7, &mut Group::default());
    }
    group.open_history(HistorySettings { in_thread: false, ..HistorySettings::default() }).unwrap();
    group.begin_history(&Targets::new()).unwrap();
    let before = group.catalogue_now().unwrap().journal_bytes();
    for place in 0..count {
        write(&mut some, piece(0, place * long, 4096, DATA), 8, &mut group);
    }
    let _ = some.flush(&mut group).unwrap();
    let images = group.catalogue_now().unwrap().journal_bytes() - before;
    assert!(images >= count * 4096, "{images}");
    // The second time, the same blocks are preserved already.
    write(&mut some, piece(0, 0, 4096, DATA), 9, &mut group);
    let _ = some.flush(&mut group).unwrap();
    assert_eq!(group.catalogue_now().unwrap().journal_bytes() - before, images);
}
