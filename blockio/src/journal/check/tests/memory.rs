//! Histories in memory, and findings without a history: what is counted, what is listed, and what
//! happens to a history while it is read.

use std::sync::atomic::Ordering;

use super::*;
use crate::journal::catalogue::{NewPoint, PointKind};
use crate::remedy::{GroupRemedy, Remedy};
use crate::rollback::tests::{Bench, LAST, MARKED};
use crate::storage::StateCopy;

const OF_A_COPY: u64 = COPIES_FROM;

fn checked(bench: &Bench, observe: &mut dyn FnMut(Progress)) -> Report {
    check(&bench.storage, &AtomicBool::new(false), observe).unwrap()
}

fn change(bench: &Bench, change: impl FnOnce(&mut Catalogue)) {
    bench.group().overwrite(|state| change(state.journal.as_mut().unwrap())).unwrap();
}

fn classes(found: &[Finding]) -> Vec<Class> {
    found.iter().map(|finding| finding.class).collect()
}

fn finding(class: Class) -> Finding {
    of_the_state(class, String::new())
}

/// The report of `run` with a check that has already found `damage` findings of one class.
fn reported(damage: usize, run: impl FnOnce(&mut Check<'_>)) -> Report {
    let storage = crate::sim::storage(1);
    let pool = ArenaPool::new(1, WINDOW_BYTES).unwrap();
    let report = Report { damage: vec![finding(Class::ImageTwice); damage], ..Report::default() };
    let (stop, seen) = (AtomicBool::new(false), BTreeSet::new());
    let observe = &mut |_| {};
    let (storage, stop) = (&storage, &stop);
    let reading = Reading { storage, pool, stop, observe, of: 0, records: 0, bytes: 0 };
    let mut check = Check { reading, report, seen, blocked: None };
    run(&mut check);
    check.report
}

/// A catalogue of points from 0 on, with these spans: segment, first record, next record.
fn catalogue(next_record: u64, points: &[&[(u64, u64, u64)]]) -> Catalogue {
    let mut known = Catalogue::new([7; 16], 0);
    for spans in points {
        let span = |(segment, first_record, next_record): &(u64, u64, u64)| {
            Span::from((*segment, BLOCK, *first_record, *next_record))
        };
        let new = NewPoint { time: 1, kind: PointKind::Crash, name: None };
        known.seal(spans.iter().map(span).collect(), new, 1);
    }
    known.points.pop();
    Catalogue { next_record, ..known }
}

/// The findings about its spans.
fn said(known: &Catalogue) -> Vec<(PointId, String)> {
    let report = reported(0, |check| check.spans(known));
    report.damage.into_iter().map(|one| (one.point.unwrap(), one.detail)).collect()
}

#[test]
fn of_a_segment_a_thousand_findings_are_listed_and_those_beyond_are_counted() {
    let mut found = Found::default();
    for nth in 1..=FINDINGS_COUNT_MAX as u64 + 2 {
        found.add(finding(Class::ImageTwice));
        assert_eq!(found.findings.len() as u64 + found.unlisted, nth);
    }
    assert_eq!((found.findings.len(), found.unlisted), (FINDINGS_COUNT_MAX, 2));
}

#[test]
fn of_all_segments_a_thousand_findings_are_listed_and_those_beyond_are_counted() {
    let mut found = Found { unlisted: 3, ..Found::default() };
    (0..3).for_each(|_| found.add(finding(Class::ImageTwice)));
    let report = reported(FINDINGS_COUNT_MAX - 1, |check| {
        check.report.unlisted = 2;
        check.take(found, PointId(0));
    });
    assert_eq!((report.damage.len(), report.unlisted), (FINDINGS_COUNT_MAX, 2 + 3 + 2));
}

#[test]
fn a_thousand_remarks_are_listed_and_those_beyond_are_counted() {
    let report = reported(0, |check| {
        for _ in 0..FINDINGS_COUNT_MAX + 2 {
            check.remark(Class::SegmentOfNoPoint, None, None, String::new());
        }
    });
    assert_eq!((report.remarks.len(), report.unlisted), (FINDINGS_COUNT_MAX, 2));
}

#[test]
fn an_open_epoch_without_a_segment_is_damage_as_soon_as_there_is_a_record() {
    assert_eq!(said(&catalogue(1, &[&[]])), []);
    let lost = "the state lists no segment of the open epoch".to_owned();
    assert_eq!(said(&catalogue(2, &[&[]])), [(PointId(0), lost)]);
}

#[test]
fn records_between_two_segments_that_no_segment_has_are_named() {
    assert_eq!(said(&catalogue(9, &[&[(1, 1, 5)], &[(2, 5, 7), (3, 7, 9)]])), []);
    let lost = "records 5 to 5 are in no segment of any point".to_owned();
    assert_eq!(said(&catalogue(9, &[&[(1, 1, 5)], &[(2, 6, 9)]])), [(PointId(0), lost)]);
}

#[test]
fn records_that_a_copy_has_are_not_missing() {
    let copy = [(7, OF_A_COPY, OF_A_COPY + 3)];
    assert_eq!(said(&catalogue(12, &[&[(1, 1, 5)], &copy, &[(3, 9, 12)]])), []);
    // A copy of an earlier version: made after the segments that follow it, and numbered from 1.
    let copy = [(7, 1, 4)];
    assert_eq!(said(&catalogue(12, &[&[(1, 1, 5)], &copy, &[(3, 9, 12)]])), []);
    // A copy elsewhere does not have them.
    let copy = [(7, OF_A_COPY, OF_A_COPY + 3)];
    assert_eq!(said(&catalogue(12, &[&copy, &[(1, 1, 5)], &[(3, 9, 12)]])).len(), 1);
    // A segment that was made later and continues after these is not a copy.
    let later = [(7, 12, 14)];
    assert_eq!(said(&catalogue(12, &[&[(1, 1, 5)], &later, &[(3, 9, 12)]])).len(), 1);
}

#[test]
fn how_far_it_is_is_told_up_to_the_whole() {
    let bench = Bench::new();
    let mut told = Vec::new();
    let report = checked(&bench, &mut |progress| told.push(progress));
    assert!(report.is_clean() && report.remarks.is_empty(), "{report:?}");
    let all = bench.known().journal_bytes();
    assert_eq!((report.bytes, told.last()), (all, Some(&Progress { done: all, of: all })));
    assert!(told.len() as u64 > report.records, "{told:?}");
    assert!(told.windows(2).all(|pair| pair[0].done <= pair[1].done && pair[0].of == all));
}

#[test]
fn it_stops_when_it_is_told_to() {
    let (bench, stop) = (Bench::new(), AtomicBool::new(false));
    let mut told = 0;
    let stopped = check(&bench.storage, &stop, &mut |_| {
        told += 1;
        stop.store(told == 3, Ordering::Relaxed);
    });
    assert_eq!((stopped.unwrap_err().kind(), told), (ErrorKind::Failed, 3));
}

#[test]
fn what_an_epoch_does_not_lead_back_to_is_lost_and_told_once() {
    let bench = Bench::new();
    // The next epoch takes several segments.
    bench.roll_back(MARKED);
    change(&bench, |known| Arc::make_mut(&mut known.points[1]).spans.clear());
    let report = checked(&bench, &mut |_| {});
    let is_it = |found: &&Finding| found.detail.contains("no segment that leads back to it");
    let told: Vec<_> = report.damage.iter().filter(is_it).map(|found| found.point).collect();
    assert_eq!(told, [Some(MARKED)], "{report:?}");
    assert_eq!(report.unreachable, [PointId(0), MARKED]);
}

#[test]
fn a_segment_that_was_removed_in_order_meanwhile_is_not_missing() {
    let bench = Bench::new();
    let known = bench.known();
    let (first, later) = known.points.split_first().unwrap();
    first.spans.iter().for_each(|span| bench.storage.remove_segment(span.segment).unwrap());
    let missing = checked(&bench, &mut |_| {});
    assert_eq!(classes(&missing.damage), vec![Class::SegmentMissing; first.spans.len()]);
    assert_eq!(missing.unreachable, [PointId(0)]);
    let mut is_forgotten = false;
    let report = checked(&bench, &mut |_| {
        if !std::mem::replace(&mut is_forgotten, true) {
            change(&bench, |known| drop(known.forget(&[PointId(0)])));
        }
    });
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.removed_meanwhile, first.spans.len() as u64);
    let count: usize = later.iter().map(|point| point.spans.len()).sum();
    assert_eq!(report.segments, count as u64);
}

#[test]
fn segments_of_the_open_epoch_that_came_after_the_state_are_read_too() {
    let bench = Bench::new();
    bench.roll_back(MARKED);
    let whole = checked(&bench, &mut |_| {});
    let spans = bench.known().points.last().unwrap().spans.clone();
    assert!(whole.is_clean() && spans.len() > 2, "{whole:?} {spans:?}");
    change(&bench, |known| {
        let later = Arc::make_mut(known.points.last_mut().unwrap()).spans.split_off(1);
        (known.next_segment, known.next_record) = (later[0].segment.0, later[0].first_record);
    });
    let report = checked(&bench, &mut |_| {});
    assert!(report.is_clean() && report.remarks.is_empty(), "{report:?}");
    assert_eq!((report.segments, report.records), (whole.segments, whole.records));
    // Without the first of these, the others belong to nobody.
    bench.storage.remove_segment(spans[1].segment).unwrap();
    let report = checked(&bench, &mut |_| {});
    assert_eq!(report.segments, whole.segments - (spans.len() as u64 - 1));
}

#[test]
fn records_that_were_durable_and_are_in_no_segment_are_named() {
    let bench = Bench::new();
    let next = bench.known().next_record;
    change(&bench, |known| known.next_record += 5);
    let report = checked(&bench, &mut |_| {});
    let [found] = report.damage.as_slice() else { panic!("{report:?}") };
    let detail = format!("records {next} to {} were durable, but no segment has them", next + 4);
    assert_eq!((found.class, found.record), (Class::RecordMissing, Some(next)));
    assert_eq!(found.detail, detail);
}

#[test]
fn an_older_state_is_told_of_each_segment_that_is_newer_and_no_point_counts_as_reachable() {
    let bench = Bench::new();
    let before = StateCopy::BOTH.map(|copy| bench.storage.read_state(copy).unwrap().unwrap());
    let next = bench.known().next_segment;
    bench.roll_back(MARKED);
    let newer: Vec<_> = bench.storage.segments().unwrap();
    let newer: Vec<_> = newer.iter().map(|one| one.0).filter(|one| *one >= next).collect();
    assert!(newer.len() > 1, "{newer:?}");
    for (copy, text) in StateCopy::BOTH.into_iter().zip(&before) {
        bench.storage.replace_state(copy, text).unwrap();
    }
    let report = checked(&bench, &mut |_| {});
    let older = report.damage.iter().filter(|found| found.class == Class::StateOlder);
    assert_eq!(older.filter_map(|found| found.segment).collect::<Vec<_>>(), newer);
    assert_eq!(report.unreachable, [PointId(0), MARKED, LAST]);
    let refused = Group::in_storage(Arc::clone(&bench.storage), "g").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Integrity);
    let remedy = GroupRemedy::RebuildState { group: "g".to_owned(), is_untouched: true };
    assert_eq!(Remedy::of(&refused), Some(&remedy.into()));
}

#[test]
fn a_segment_that_no_point_needs_is_remarked_unless_it_goes_meanwhile() {
    let bench = Bench::new();
    let spans = bench.known().points[0].spans.clone();
    change(&bench, |known| drop(known.forget(&[PointId(0)])));
    let report = checked(&bench, &mut |_| {});
    assert_eq!(classes(&report.remarks), vec![Class::SegmentOfNoPoint; spans.len()]);
    let report = checked(&bench, &mut |_| {
        spans.iter().for_each(|span| bench.storage.remove_segment(span.segment).unwrap());
    });
    assert!(report.is_clean() && report.remarks.is_empty(), "{report:?}");
}

/// The offsets of the records of a segment, and their numbers.
fn records(bench: &Bench, span: &Span) -> Vec<(u64, u64)> {
    let pool = ArenaPool::new(READER_ARENAS, WINDOW_BYTES).unwrap();
    let known = bench.known();
    let mut reader = segment::open(&bench.storage, &pool, &known, span.segment).unwrap();
    let mut all = Vec::new();
    while reader.next_record() < span.next_record {
        all.push((reader.at(), reader.next_record()));
        reader.next().unwrap();
    }
    all
}

/// Flips a bit of the header at this byte.
fn flip(bench: &Bench, number: SegmentNumber, at: u64) {
    let mut block = bench.block(number, at);
    block[36] ^= 1;
    bench.write_segment(number, at, &block);
}

#[test]
fn behind_damaged_headers_it_goes_on_and_tells_which_records_are_lost() {
    let bench = Bench::new();
    let span = bench.known().points[0].spans[0];
    let all = records(&bench, &span);
    assert!(all.len() > 3, "{all:?}");
    let (whole, damaged) = (checked(&bench, &mut |_| {}), Class::RecordHeaderDamaged);
    for (count, lost) in [(1, None), (2, Some(format!("records {} to {}", all[1].1, all[2].1)))] {
        flip(&bench, span.segment, all[count].0);
        let report = checked(&bench, &mut |_| {});
        let [found] = report.damage.as_slice() else { panic!("{report:?}") };
        assert_eq!((found.class, found.byte), (damaged, Some(all[1].0)));
        assert_eq!(found.record, Some(all[1].1));
        let is_told = lost.as_ref().is_none_or(|lost| found.detail.contains(lost));
        assert!(is_told && found.detail.contains("are lost") == lost.is_some(), "{found:?}");
        assert_eq!(report.records, whole.records - count as u64);
        assert_eq!(report.unreachable, [PointId(0)]);
    }
}

#[test]
fn a_header_that_a_crash_cut_off_behind_the_last_record_is_remarked() {
    let bench = Bench::new();
    let span = *bench.known().points.last().unwrap().spans.last().unwrap();
    let mut block = bench.block(span.segment, BLOCK);
    block[36] ^= 1;
    bench.write_segment(span.segment, span.bytes, &block);
    let report = checked(&bench, &mut |_| {});
    assert!(report.is_clean(), "{report:?}");
    let [found] = report.remarks.as_slice() else { panic!("{report:?}") };
    assert_eq!((found.class, found.byte), (Class::TornTail, Some(span.bytes)));
    assert_eq!(found.record, Some(span.next_record));
}

#[test]
fn a_segment_that_ends_elsewhere_than_the_state_says_is_told_where_nothing_else_is_wrong() {
    let bench = Bench::new();
    let span = bench.known().points[0].spans[0];
    change(&bench, |known| Arc::make_mut(&mut known.points[0]).spans[0].bytes += BLOCK);
    let report = checked(&bench, &mut |_| {});
    assert_eq!(classes(&report.damage), [Class::SpanLengthWrong]);
    assert_eq!((report.damage[0].byte, report.unreachable), (Some(span.bytes), Vec::new()));
    flip(&bench, span.segment, records(&bench, &span)[1].0);
    let report = checked(&bench, &mut |_| {});
    assert_eq!(classes(&report.damage), [Class::RecordHeaderDamaged]);
}
