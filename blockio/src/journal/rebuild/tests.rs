//! What is rebuilt from the segments of a history in memory, and from items that no history has.

use super::*;
use crate::device::Engine;
use crate::group::Group;
use crate::journal::catalogue::NewPoint;
use crate::journal::layout::BLOCK_BYTES;
use crate::rollback::tests::{Bench, LAST, MARKED};

const BLOCK: u64 = BLOCK_BYTES as u64;

fn made(bench: &Bench) -> (GroupState, Catalogue, Vec<Notice>) {
    let Rebuilt { state, notes } = rebuild(&bench.storage).unwrap();
    let known = state.journal.clone().unwrap();
    (state, known, notes)
}

fn ids(known: &Catalogue) -> Vec<u64> {
    known.points.iter().map(|point| point.id.0).collect()
}

/// Makes a segment with a header and nothing else.
fn segment(bench: &Bench, number: u64, header: SegmentHeader) {
    let number = SegmentNumber(number);
    drop(bench.storage.create_segment(number, 2 * BLOCK, Engine::Blocking).unwrap());
    let mut blocks = vec![0; 2 * BLOCK_BYTES];
    header.write(&mut blocks);
    bench.write_segment(number, 0, &blocks);
}

/// The header of a segment of the history, as it would be for the next one.
fn header(bench: &Bench, number: u64, epoch: u64, first_record: u64) -> SegmentHeader {
    SegmentHeader {
        journal: bench.known().identity,
        number: SegmentNumber(number),
        epoch,
        first_record,
        salt: 5,
        length_bytes: 2 * BLOCK,
        generation: 1,
    }
}

#[test]
fn what_was_lost_is_made_anew_as_it_was_where_nothing_was_written_since_the_last_point() {
    let bench = Bench::new();
    bench.group().pin(MARKED, true).unwrap();
    let before = bench.known();
    let generation = bench.group().view().state().generation();
    let (state, known, notes) = made(&bench);
    assert_eq!(known.points, before.points);
    assert!(known.point(MARKED).is_some_and(|point| point.pinned));
    assert_eq!(known.volumes, before.volumes);
    let last = bench.storage.segments().unwrap().iter().map(|one| one.0).max().unwrap();
    assert_eq!((known.next_segment, known.next_record), (last + 1, before.next_record));
    assert_eq!((known.next_point, known.rolling_back_to), (LAST.0 + 1, None));
    assert!(state.generation() > generation);
    assert_eq!(known.session, state.generation());
    assert_eq!(notes, []);
}

#[test]
fn what_was_written_since_the_last_point_is_gone_back_from_and_the_content_is_not_known() {
    let bench = Bench::new();
    bench.roll_back(MARKED);
    let (state, known, notes) = made(&bench);
    assert_eq!(known.rolling_back_to, Some(LAST));
    assert!(!state.knows_content());
    assert_eq!(notes, [Notice::ContentNotKnown]);
    assert_eq!(known.points.last().unwrap().spans, bench.known().points.last().unwrap().spans);
}

#[test]
fn an_epoch_that_has_a_hole_leads_nowhere_and_the_points_after_it_are_there() {
    let bench = Bench::new();
    let spans = bench.known().point(MARKED).unwrap().spans.clone();
    assert!(spans.len() > 2, "{spans:?}");
    bench.storage.remove_segment(spans[1].segment).unwrap();
    let (_, known, notes) = made(&bench);
    assert_eq!(ids(&known), [LAST.0]);
    assert_eq!(notes, [Notice::PointsLost(vec![PointId(0), MARKED])]);
}

#[test]
fn a_segment_without_a_record_leads_to_nothing_and_its_number_and_point_are_given_away() {
    let bench = Bench::new();
    let (before, next) = (bench.known(), bench.known().next_segment);
    segment(&bench, next, header(&bench, next, LAST.0, before.next_record));
    let (_, known, _) = made(&bench);
    assert_eq!(known.points, before.points);
    assert_eq!((known.next_segment, known.next_point), (next + 1, LAST.0 + 1));
    // An epoch was begun: the number of its point is not reused.
    segment(&bench, next + 1, header(&bench, next + 1, 50, before.next_record));
    let (_, known, _) = made(&bench);
    assert_eq!((ids(&known), known.next_point), (vec![0, 1, 2], 51));
    // A copy does not make a point.
    segment(&bench, next + 2, header(&bench, next + 2, 60, COPIES_FROM));
    assert_eq!(made(&bench).1.next_point, 51);
}

#[test]
fn a_segment_whose_header_has_another_number_is_left_out() {
    let bench = Bench::new();
    let (before, next) = (bench.known(), bench.known().next_segment);
    segment(&bench, next, header(&bench, next + 9, LAST.0, before.next_record));
    let (_, known, notes) = made(&bench);
    assert_eq!((known.points, known.next_segment), (before.points, next));
    assert_eq!(notes, [Notice::NoHeader(SegmentNumber(next))]);
}

#[test]
fn a_segment_of_another_history_is_refused_unless_that_was_committed() {
    let bench = Bench::new();
    let next = bench.known().next_segment;
    let own = header(&bench, next, 0, 1);
    segment(&bench, next, SegmentHeader { journal: [9; 16], generation: 0, ..own });
    assert_eq!(rebuild(&bench.storage).unwrap_err().kind(), ErrorKind::Integrity);
    bench.storage.remove_segment(SegmentNumber(next)).unwrap();
    assert!(rebuild(&bench.storage).is_ok());
}

#[test]
fn of_the_first_epoch_alone_its_own_records_say_what_its_volumes_are() {
    let bench = Bench::new();
    let before = bench.known();
    for point in &before.points[1..] {
        point.spans.iter().for_each(|span| bench.storage.remove_segment(span.segment).unwrap());
    }
    let (_, known, _) = made(&bench);
    assert_eq!(ids(&known), [0]);
    assert_eq!(known.volumes, before.volumes);
    assert_eq!(known.points[0].spans, before.points[0].spans);
}

#[test]
fn a_target_that_is_not_known_is_told() {
    let mut group = Group::in_storage(crate::sim::storage(8), "g").unwrap();
    let known =
        crate::journal::state::VolumeState { target: Some("it".to_owned()), ..Default::default() };
    group
        .overwrite(|state| {
            state.volumes.insert("a".into(), Default::default());
            state.volumes.insert("b".into(), known);
        })
        .unwrap();
    let notes = of_targets(group.view().state());
    let expected = [Notice::NoTarget { volume: "a".into() }, Notice::ContentNotKnown];
    assert_eq!(notes, expected);
}

/// An item that leads to point `epoch`, with a memo of these points.
fn item(epoch: u64, points: &[u64]) -> Item {
    let memo = |id: &u64| PointMemo {
        id: PointId(*id),
        time: 100 + id,
        taken: 200 + id,
        kind: PointKind::App,
        name: Some(format!("p{id}")),
    };
    Item {
        epoch: PointId(epoch),
        memo: EpochMemo::new(&GroupState::default(), points.iter().map(memo).collect()),
        spans: vec![Span::from((epoch + 1, BLOCK, 1, 2))],
        next_record: 2,
        has_images: true,
        copy_until: None,
        is_whole: true,
    }
}

fn names(points: &[Point]) -> Vec<(u64, &str)> {
    points.iter().map(|point| (point.id.0, point.name.as_deref().unwrap_or("none"))).collect()
}

#[test]
fn each_item_has_its_points_once_and_none_after_its_own() {
    let items = [item(1, &[0, 1, 2]), item(3, &[1, 2, 3])];
    let points = points(&items).unwrap();
    assert_eq!(names(&points), [(0, "p0"), (1, "p1"), (2, "p2"), (3, "p3")]);
    let spans: Vec<_> = points.iter().map(|point| point.spans.len()).collect();
    assert_eq!(spans, [0, 1, 0, 1]);
}

#[test]
fn a_point_of_which_only_the_number_is_known_counts_as_made_with_the_next_that_is_known() {
    let items = [item(0, &[]), item(2, &[]), item(4, &[3, 4]), item(6, &[])];
    let of = |id| {
        let PointMemo { time, taken, kind, name, .. } = unnamed(PointId(id), &items);
        assert_eq!(name, None);
        (time, taken, kind)
    };
    assert_eq!(of(0), (103, 203, PointKind::Start));
    assert_eq!(of(2), (103, 203, PointKind::Crash));
    assert_eq!(of(3), (103, 203, PointKind::Crash));
    assert_eq!(of(4), (104, 204, PointKind::Crash));
    assert_eq!(of(6), (0, 0, PointKind::Crash));
    // An earlier item's entry for a later point is ignored.
    let items = [item(0, &[0, 5]), item(2, &[2])];
    assert_eq!(unnamed(PointId(1), &items).time, 102);
}

/// A catalogue of points from 0 to `last`.
fn known_up_to(last: u64) -> Catalogue {
    let mut known = Catalogue::new([7; 16], 0);
    for id in 1..=last {
        let new = NewPoint { time: id, kind: PointKind::Crash, name: None };
        known.seal(vec![Span::from((id, BLOCK, id, id + 1))], new, id);
    }
    known
}

#[test]
fn what_a_rollback_gave_up_is_between_its_point_and_its_epoch() {
    let gives_up = |epoch, to| {
        let mut item = item(epoch, &[epoch]);
        item.memo.gives_up_after = Some(PointId(to));
        item
    };
    let mut known = known_up_to(5);
    give_up(&mut known, &[gives_up(4, 1)]);
    assert_eq!((ids(&known), known.rolling_back_to), (vec![0, 1, 4, 5], None));
    let mut known = known_up_to(4);
    give_up(&mut known, &[gives_up(4, 1)]);
    assert_eq!((ids(&known), known.rolling_back_to), (vec![0, 1, 4], Some(PointId(1))));
    // Its point expired since.
    let mut known = known_up_to(4);
    let _ = known.forget(&[PointId(1)]);
    give_up(&mut known, &[gives_up(4, 1)]);
    assert_eq!((ids(&known), known.rolling_back_to), (vec![0, 4], Some(PointId(0))));
}
