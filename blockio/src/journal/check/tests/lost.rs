//! States that lost something, or that have segments of other histories.

use super::*;
use crate::journal::catalogue::Point;

fn of(known: &mut Catalogue, place: usize) -> &mut Point {
    Arc::make_mut(&mut known.points[place])
}

#[test]
fn a_span_that_the_state_lost_is_found() {
    let history = History::new();
    let whole = history.catalogue();
    assert_eq!(history.classes(), []);
    let lose: [fn(&mut Catalogue); 4] = [
        |known| drop(known.points.remove(2)),
        |known| of(known, 0).spans.clear(),
        |known| of(known, 2).spans.clear(),
        |known| of(known, known.points.len() - 1).spans.clear(),
    ];
    for (number, lose) in lose.into_iter().enumerate() {
        history.change(lose);
        let report = history.check();
        let has = report.damage.iter().any(|finding| finding.class == Class::RecordMissing);
        assert!(has, "{number}: {report:?}");
        assert!(!report.unreachable.is_empty(), "{number}: {report:?}");
        history.change(|known| *known = whole.clone());
    }
}

#[test]
fn a_copy_of_which_the_state_lost_the_end_is_found() {
    let history = History::thinned(48 << 10);
    assert_eq!(history.classes(), []);
    let mut lost = None;
    history.change(|known| {
        for point in &mut known.points {
            let follows = |pair: &[Span]| {
                pair[0].first_record >= COPIES_FROM && pair[0].next_record == pair[1].first_record
            };
            if let Some(at) = point.spans.windows(2).rposition(follows) {
                Arc::make_mut(point).spans.remove(at + 1);
                lost = Some(point.id);
                return;
            }
        }
    });
    let lost = lost.expect("no copy takes two segments");
    let report = history.check();
    let is_it = |found: &Finding| found.class == Class::RecordMissing && found.point == Some(lost);
    assert!(report.damage.iter().any(is_it), "{report:?}");
    assert!(report.unreachable.contains(&lost), "{report:?}");
}

#[test]
fn an_image_far_outside_its_volume_takes_no_memory_when_the_journal_is_opened() {
    let history = History::new();
    history.apply(4, HistorySettings::default());
    // The end of a stream made the last point; what is written now belongs to the open epoch.
    history.roll_back(5);
    let known = history.catalogue();
    let spans = known.points.last().unwrap().spans.clone();
    let number = spans
        .iter()
        .map(|span| span.segment.0)
        .find(|number| (0..2).any(|nth| history.record(*number, nth).1.kind == RecordKind::Images));
    let number = number.expect("the rollback preserved something");
    let nth = (0..2).find(|nth| history.record(number, *nth).1.kind == RecordKind::Images);
    let tebibyte = 1 << 40;
    let extent = Extent::new(ByteOffset::new(SIZE), ByteCount::new(tebibyte)).unwrap();
    history.change_record(number, nth.unwrap(), |record| {
        record.entries.push(Entry { volume: 0, held: Held::Zeros, extent });
    });
    let storage = crate::group::storage(&history.place()).unwrap();
    let pool = ArenaPool::new(READER_ARENAS, WINDOW_BYTES).unwrap();
    let state = GroupView::look(&history.place(), "g").unwrap().state().clone();
    let opened = crate::journal::open::open_epoch(&storage, &state, &pool).unwrap();
    let touched = &opened.touched[0];
    let end = ByteOffset::new(SIZE + tebibyte);
    assert_eq!(touched.first_touches(&[extent], end), [extent], "counted as preserved");
    let inside = Extent::new(ByteOffset::ZERO, ByteCount::new(SIZE)).unwrap();
    assert_ne!(touched.first_touches(&[inside], end), [inside], "nothing counted as preserved");
}
