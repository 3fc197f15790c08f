//! What a view of a point holds from any byte on, and what it reports of itself.
#![cfg(test)]

use std::num::NonZeroUsize;

use super::chance::Chance;
use super::machine::{Machine, Memory, keep_all, whole};
use super::scenario::{Contents, Scenario, Size, mark_of};
use super::world::{BLOCK_BYTES, Shape};
use crate::ErrorKind;
use crate::device::buffer::ArenaPool;
use crate::device::memory::MemoryDevice;
use crate::extent::Extent;
use crate::journal::catalogue::{Point, PointId, PointKind};
use crate::units::{ByteCount, ByteOffset};
use crate::view::{PointHistory, View};

mod restless;

const SIZE: Size = Size {
    shape: Shape::PLAIN,
    volumes: 1,
    blocks: 8,
    streams: 3,
    marks: 4,
    writes: 6,
    room_blocks: 4096,
    goes_on: true,
    source_clock_jumps: false,
};
/// A machine after the first stream of a scenario was applied.
fn begun(size: Size) -> (Scenario, Machine) {
    let scenario = Scenario::new(size, &mut Chance(3));
    let machine = Machine::new(scenario.world(), keep_all(), &Memory::new());
    machine.apply(&[&scenario.streams[0]], &mut || {}).unwrap();
    (scenario, machine)
}

/// The first of all points.
fn start(machine: &Machine) -> PointId {
    let known = machine.state().unwrap().journal.unwrap();
    known.points.iter().find(|point| point.kind == PointKind::Start).unwrap().id
}

fn history(machine: &Machine) -> (PointHistory, ArenaPool) {
    let point = start(machine);
    let pool = ArenaPool::new(2, NonZeroUsize::new(1 << 20).unwrap()).unwrap();
    (PointHistory::open_with(machine.storage(), point, pool.clone()).unwrap(), pool)
}

fn extent(start: usize, end: usize) -> Extent {
    Extent::between(ByteOffset::new(start as u64), ByteOffset::new(end as u64)).unwrap()
}

#[test]
fn a_view_of_a_point_is_read_from_any_byte_to_any_other() {
    let (scenario, machine) = begun(SIZE);
    let views = machine.views(start(&machine)).unwrap();
    let (view, then) = (&views[0], &scenario.points[&0][0]);
    assert_ne!(*then, machine.contents()[0]);
    assert_eq!(view.shown(), "v0");
    assert_eq!(whole(view).unwrap(), *then);
    let end = then.len();
    for start in (0..end).step_by(509).chain([end - 1]) {
        for length in [1, 3, 512, 5000] {
            let until = end.min(start + length);
            let mut found = vec![1; until - start];
            view.read(ByteOffset::new(start as u64), &mut found).unwrap();
            let kept = &then[start..until];
            let differs = found.iter().zip(kept).position(|(one, other)| one != other);
            assert_eq!(differs, None, "bytes {start}..{until}");
        }
    }
    let past = view.read(ByteOffset::new(end as u64 - 1), &mut [0; 2]).unwrap_err();
    assert_eq!(past.kind(), ErrorKind::Usage);
}

#[test]
fn what_a_view_knows_to_be_zeros_was_zeros_and_the_parts_are_all_of_it() {
    let (scenario, machine) = begun(SIZE);
    let views = machine.views(start(&machine)).unwrap();
    let (view, then) = (&views[0], &scenario.points[&0][0]);
    let mut holes = 0;
    for (start, end) in [(0, then.len()), (100, 3 * BLOCK_BYTES + 7), (5, 6)] {
        let mut from = start;
        let mut before = None;
        for part in view.allocation(extent(start, end)).unwrap() {
            let (first, until) = (part.extent.start().get(), part.extent.end().get());
            assert_eq!(first, from as u64);
            assert_ne!(before, Some(part.is_hole), "neighbours are one");
            (from, before) = (until as usize, Some(part.is_hole));
            if part.is_hole {
                holes += 1;
                assert!(then[first as usize..until as usize].iter().all(|&byte| byte == 0));
            }
        }
        assert_eq!(from, end);
    }
    assert!(holes > 0);
    let past = view.allocation(extent(0, then.len() + 1)).unwrap_err();
    assert_eq!(past.kind(), ErrorKind::Usage);
}

#[test]
fn the_bytes_that_were_overwritten_are_counted_also_those_that_came_later() {
    let (scenario, machine) = begun(Size { blocks: 64, ..SIZE });
    let (history, _) = history(&machine);
    let touched = |at: &usize| scenario.changes.iter().any(|(_, range, _)| range.contains(at));
    let touched = (0..scenario.initial[0].len()).filter(touched).count() as u64;
    let first = history.overwritten_bytes("v0").unwrap();
    machine.apply(&[&scenario.streams[1], &scenario.streams[2]], &mut || {}).unwrap();
    let all = history.overwritten_bytes("v0").unwrap();
    assert!(first > 512 && first < all, "{first} of {all}");
    assert!(all >= touched, "{all} of {touched}");
    assert_eq!(history.overwritten_bytes("another").unwrap(), 0);
}

#[test]
fn a_point_is_not_viewed_on_a_disk_that_is_shorter_than_it_was() {
    let (scenario, machine) = begun(SIZE);
    let (history, pool) = history(&machine);
    let bytes = scenario.initial[0].len() as u64;
    let view = |bytes: u64| {
        let mut geometry = machine.views(start(&machine)).unwrap()[0].geometry();
        geometry.capacity = ByteCount::new(bytes);
        let device = Box::new(MemoryDevice::new(geometry));
        View::of_point_with("disk".into(), device, &history, "v0", pool.clone())
    };
    let refused = view(bytes - 512).map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(refused.to_string().contains(&format!("but had {bytes}")), "{refused}");
    assert_eq!(view(bytes).unwrap().geometry().capacity.get(), bytes);
    assert_eq!(view(bytes + 512).unwrap().geometry().capacity.get(), bytes + 512);
}

/// Segments are short: new records are in many of them, of one session and of later ones.
#[test]
fn a_view_that_was_open_before_follows_what_is_written_through_all_segments() {
    let (scenario, machine) = begun(Size { volumes: 2, streams: 4, ..SIZE });
    let known = || machine.state().unwrap().journal.unwrap();
    let viewed = |point: &Point| {
        let then: &Contents = &scenario.points[&mark_of(point)?];
        Some((machine.views(point.id).unwrap(), then))
    };
    let marked: Vec<_> = known().points.iter().filter_map(|point| viewed(point)).collect();
    let are_as_marked = || {
        for (views, then) in &marked {
            let found: Vec<_> = views.iter().map(|view| whole(view).unwrap()).collect();
            assert!(found == **then);
        }
    };
    let (before, mut looks) = (known(), 0);
    for stream in &scenario.streams[1..] {
        let mut look = || {
            looks += 1;
            are_as_marked();
        };
        machine.apply(&[stream], &mut look).unwrap();
        are_as_marked();
    }
    let after = known();
    assert!(!marked.is_empty() && looks > 2 * scenario.streams.len(), "{looks} looks");
    assert!(after.session > before.session && after.next_segment > before.next_segment + 2);
    assert_ne!(machine.contents(), *marked[0].1);
}
