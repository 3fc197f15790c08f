//! The boundaries: when a point is just old enough, a step just too long, a rate just known.

use super::*;

const SECOND: u64 = 1_000_000_000;

/// Points at these seconds, in order; 10 bytes of journal lead back to each.
fn at_seconds(seconds: &[u64]) -> Catalogue {
    let mut catalogue = Catalogue::new([0; 16], 1_000_000 * MINUTE);
    for second in seconds {
        let time = 1_000_000 * MINUTE + second * SECOND;
        let segment = SegmentNumber(*second);
        let spans = vec![Span { segment, bytes: 10, first_record: 1, next_record: 2 }];
        catalogue.seal(spans, NewPoint { time, kind: PointKind::Crash, name: None }, time);
    }
    catalogue
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

/// The points that are due, by number.
fn gone(catalogue: &Catalogue, policy: &Policy) -> Vec<u64> {
    let mut gone: Vec<_> = due(catalogue, policy).iter().map(|id| id.0).collect();
    gone.sort_unstable();
    gone
}

#[test]
fn a_point_that_is_just_as_old_as_the_window_is_in_it() {
    // Every five minutes: point 13 is an hour old, and point 12 leads to where that hour begins.
    let catalogue = dated(&(0..25).map(|number| 100 + number * 5).collect::<Vec<_>>());
    let policy = Policy { window: minutes(60), keep_all: minutes(60), ..Policy::default() };
    assert_eq!(gone(&catalogue, &policy), (0..12).collect::<Vec<_>>());
}

#[test]
fn a_point_that_is_just_as_old_as_all_are_kept_for_stays() {
    // The hours begin 20 minutes past: points 2 to 7 are in one.
    let catalogue = dated(&(0..15).map(|number| 70 + number * 10).collect::<Vec<_>>());
    let keeping = |keep_all| Policy { keep_all: minutes(keep_all), ..Policy::default() };
    // Point 5 is 100 minutes old, point 6 is 90.
    assert_eq!(gone(&catalogue, &keeping(100)), [3, 4]);
    assert_eq!(gone(&catalogue, &keeping(99)), [3, 4, 5]);
}

#[test]
fn a_date_is_told_from_eight_points_on_each_side_where_the_clock_ran_backwards() {
    let of = |minutes: &[u64]| -> Vec<u64> {
        let dates = dates(&dated(minutes), Duration::ZERO);
        dates.iter().map(|date| date / MINUTE - 1_000_000).collect()
    };
    // The median of the nine around the first is 50, and half of them are within 20 of that.
    let after = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100];
    assert_eq!(of(&[&[9000][..], &after].concat()), [&[0, 50][..], &after].concat());
    // Exactly four times that is not far.
    assert_eq!(of(&[&[130][..], &after].concat()), [&[0, 130][..], &after].concat());
    assert_eq!(of(&[&[131][..], &after].concat()), [&[0, 50][..], &after].concat());
}

#[test]
fn dates_are_put_right_with_and_without_a_start() {
    let wrong = [10, 20, 30, 9000, 50, 60, 70];
    let mut catalogue = dated(&wrong);
    let right = |catalogue: &Catalogue| -> Vec<u64> {
        let dates = dates(catalogue, Duration::ZERO);
        dates.iter().map(|date| date / MINUTE - 1_000_000).collect()
    };
    assert_eq!(right(&catalogue), [0, 10, 20, 30, 50, 50, 60, 70]);
    let _ = catalogue.forget(&[PointId(0)]);
    assert_eq!(right(&catalogue), [10, 20, 30, 50, 50, 60, 70]);
    // The start is dated by another clock: it does not affect the others, nor they the start.
    let mut catalogue = dated(&wrong);
    let start = Arc::make_mut(&mut catalogue.points[0]);
    (start.time, start.taken) = (9_000_000 * MINUTE, 9_000_000 * MINUTE);
    assert_eq!(right(&catalogue), [8_000_000, 10, 20, 30, 50, 50, 60, 70]);
}

#[test]
fn a_clock_is_told_to_be_set_back_from_a_minute_on() {
    let policy = Policy::default();
    assert_eq!(jump(&at_seconds(&[1000, 2000, 1940]), &policy), None);
    for back in [1939, 1880] {
        let told = jump(&at_seconds(&[1000, 2000, back]), &policy);
        assert!(matches!(told, Some(Notice::ClockSetBack { .. })), "{back}: {told:?}");
    }
    assert_eq!(jump(&at_seconds(&[1000, 2000, 2000]), &policy), None);
}

#[test]
fn a_gap_is_told_once_not_all_of_it_counts() {
    let policy = Policy::default();
    // Half an hour is usual: two hours count.
    let counts = minutes(120);
    assert_eq!(jump(&dated(&[0, 30, 60, 90, 120, 240]), &policy), None);
    let told = jump(&dated(&[0, 30, 60, 90, 120, 241]), &policy);
    let by = minutes(121);
    assert!(
        matches!(told, Some(Notice::LongGap { by: found, counts: count, .. })
            if (found, count) == (by, counts)),
        "{told:?}"
    );
}

#[test]
fn a_rate_is_told_from_a_minute_on_and_only_if_something_was_written() {
    let held = |catalogue: &Catalogue| forecast(catalogue, &Policy::default(), 100);
    assert_eq!(held(&at_seconds(&[0, 59])), None);
    assert_eq!(held(&at_seconds(&[0, 60])), Some(Duration::from_secs(600)));
    assert_eq!(held(&at_seconds(&[0, 61])), Some(Duration::from_secs(610)));
    assert_eq!(held(&dated(&[0, 60])), None);
}

#[test]
fn the_rate_is_counted_from_the_first_point_of_the_source() {
    let mut catalogue = at_seconds(&[0, 60, 120, 180]);
    let expected = Some(Duration::from_secs(600));
    assert_eq!(forecast(&catalogue, &Policy::default(), 100), expected);
    let _ = catalogue.forget(&[PointId(0)]);
    assert_eq!(forecast(&catalogue, &Policy::default(), 100), expected);
}
