//! Which recovery points expire, and when: by age, by thinning, for lack of room. Pure: takes a
//! catalogue and returns the points to forget.
//!
//! Ages are counted along the points, in the order in which they were made, from the newest back,
//! and not by any clock: while nothing is replicated, nothing expires. The time between two points
//! counts only up to what is usual between them (`jump_limit`), and not at all where it runs
//! backwards: a clock that was wrong for an hour makes points older by a step or two, and destroys
//! no history. A pause of a week destroys none either. A clock that is wrong again and again would
//! make its jumps usual: the dates that it gave to a few points among others are ignored (`dates`).

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::journal::catalogue::{Catalogue, Point, PointId, PointKind};
use crate::journal::keep::Keep;
use crate::notice::Notice;

/// How long points are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Points older than this expire, except the newest of them.
    pub window: Duration,
    /// All points up to this age are kept.
    pub keep_all: Duration,
    /// Of older points, one per period of this length is kept.
    pub thin_to: Duration,
    /// The maximum size of the journal in bytes; `None` for the room of the volume.
    pub journal_bytes_max: Option<u64>,
    /// What is kept by count, in addition to all of these.
    pub keep: Keep,
}

impl Default for Policy {
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let (window, keep_all, thin_to) = (hours(24), hours(2), hours(1));
        Self { window, keep_all, thin_to, journal_bytes_max: None, keep: Keep::default() }
    }
}

/// How many of the last points are kept at any age: they remain after a long pause, or with a wrong
/// clock.
pub(crate) const LAST_POINTS: usize = 3;
/// How many points a clock that was ahead is remembered for.
const LAST_FEW: usize = 16;
/// How many steps it takes to determine what is usual.
const STEPS_TO_TELL: usize = 4;
/// A point that is far from this many points before it and after it is dated as most of those.
const AROUND: usize = 8;
/// It is far if its distance from them is more than this many times their distance from each other.
const SPREADS: u64 = 4;
/// How many times the usual time between two points counts in full.
const USUAL_STEPS: u64 = 4;

/// The points that `policy` expires now. Never one of the last `LAST_POINTS`, a pinned one, one
/// that a rollback is under way to or was made to, or one that a rule of [`Keep`] keeps. Nor the
/// newest point older than the window: without it, nothing leads back to where the window begins.
#[must_use]
pub fn due(catalogue: &Catalogue, policy: &Policy) -> Vec<PointId> {
    let ages = ages(catalogue, policy.thin_to);
    let aged: Vec<_> = catalogue.all().zip(ages).collect();
    let (aged, _) = aged.split_at(aged.len().saturating_sub(LAST_POINTS));
    let (beyond, within): (Vec<_>, Vec<_>) = aged.iter().partition(|(_, age)| *age > policy.window);
    let leads_to_the_window = beyond.last().map(|(point, _)| point.id);
    let gone = beyond.iter().map(|(point, _)| *point);
    let mut due: Vec<_> = gone.filter(|point| Some(point.id) != leads_to_the_window).collect();
    let thin_to = nanoseconds(policy.thin_to).max(1);
    let older: Vec<_> = within.into_iter().filter(|(_, age)| *age > policy.keep_all).collect();
    // Consecutive points of the same thinning period: where a clock jumped, another period begins.
    for hour in older.chunk_by(|(a, _), (b, _)| a.dated() / thin_to == b.dated() / thin_to) {
        let hour: Vec<&Point> =
            hour.iter().map(|(point, _)| *point).filter(|point| may_go(catalogue, point)).collect();
        let stays = hour.iter().find(|point| point.kind == PointKind::App).or(hour.first());
        let stays = stays.map(|point| point.id);
        due.extend(hour.iter().filter(|point| Some(point.id) != stays));
    }
    // Nobody can go to a break in the history.
    due.extend(catalogue.all().filter(|point| point.kind == PointKind::Break));
    let stay = stay_by_count(catalogue, policy);
    let goes = |point: &&Point| may_go(catalogue, point) && !stay.contains(&point.id);
    due.into_iter().filter(goes).map(|point| point.id).collect()
}

/// Whether thinning will leave more of the history to point `id` soon: the next point is of the
/// same period, and may go.
#[must_use]
pub(crate) fn takes_more(catalogue: &Catalogue, policy: &Policy, id: PointId) -> bool {
    let mut from = catalogue.all().skip_while(|point| point.id < id);
    let (Some(point), Some(next)) = (from.next(), from.next()) else { return false };
    let thin_to = nanoseconds(policy.thin_to).max(1);
    point.dated() / thin_to == next.dated() / thin_to && may_go(catalogue, next)
}

fn stay_by_count(catalogue: &Catalogue, policy: &Policy) -> BTreeSet<PointId> {
    // This runs for each point that is made.
    if policy.keep == Keep::default() {
        return BTreeSet::new();
    }
    let dates = dates(catalogue, policy.thin_to);
    let dated: Vec<_> = catalogue.all().zip(dates).collect();
    policy.keep.kept(dated.into_iter().filter(|(point, _)| point.kind.is_of_the_source()))
}

/// The age of each point, oldest first, as seen from the newest.
fn ages(catalogue: &Catalogue, thin_to: Duration) -> Vec<Duration> {
    let steps = steps(catalogue, thin_to);
    let limit = limit_of(&steps, thin_to);
    let mut age = Duration::ZERO;
    let mut ages = vec![age];
    ages.extend(steps.iter().rev().map(|step| {
        age = age.saturating_add(step.unwrap_or_default().min(limit));
        age
    }));
    ages.truncate(catalogue.points.len());
    ages.reverse();
    ages
}

/// When each point was made, as far as that can be determined. If no clock ran backwards, these are
/// the recorded dates. Otherwise a few points may have been dated by a wrong clock that was
/// corrected: a point that is far from those around it counts as made with them. Where two clocks
/// alternate and one is behind, no point is far.
fn dates(catalogue: &Catalogue, thin_to: Duration) -> Vec<u64> {
    let dates: Vec<_> = catalogue.all().map(Point::dated).collect();
    let told = nanoseconds(TOLD_BACKWARDS);
    // The start is not considered: it is dated by this host, and points may be from before it.
    let first = catalogue.all().take_while(|point| point.kind == PointKind::Start).count();
    let mut pairs = dates[first..].windows(2);
    if pairs.all(|pair| pair[1].saturating_add(told) >= pair[0]) {
        return dates;
    }
    let likely = |place: usize| {
        let around =
            &dates[place.saturating_sub(AROUND).max(first)..dates.len().min(place + AROUND + 1)];
        let usual = middle(around.iter().copied())?;
        let spread = middle(around.iter().map(|other| other.abs_diff(usual)))?;
        let far = spread.saturating_mul(SPREADS).saturating_add(nanoseconds(thin_to));
        (place >= first && dates[place].abs_diff(usual) > far).then_some(usual)
    };
    (0..dates.len()).map(|place| likely(place).unwrap_or(dates[place])).collect()
}

/// The median, the lower one of two.
fn middle(of: impl Iterator<Item = u64>) -> Option<u64> {
    let mut all: Vec<_> = of.collect();
    let middle = all.len().checked_sub(1)? / 2;
    Some(*all.select_nth_unstable(middle).1)
}

/// For each point, by how much the next is dated later than all of the last few; `None` if it is
/// not later, because two clocks alternate, or because a clock was set. The start is dated by this
/// host's clock alone, and counts as old as the first point.
fn steps(catalogue: &Catalogue, thin_to: Duration) -> Vec<Option<Duration>> {
    // The indices and dates of those of the last few points that are later than all points after
    // them, so the front is the latest of the last few. This runs for each point that is made.
    let mut latest: VecDeque<(usize, u64)> = VecDeque::with_capacity(LAST_FEW);
    let mut steps = Vec::with_capacity(catalogue.points.len());
    let dates = dates(catalogue, thin_to);
    for (place, (point, dated)) in catalogue.all().zip(dates).enumerate() {
        if latest.front().is_some_and(|(first, _)| first + LAST_FEW < place) {
            latest.pop_front();
        }
        if place > 0 {
            let before = latest.front().map(|(_, before)| *before);
            let step = before.and_then(|before| dated.checked_sub(before));
            steps.push(step.map(Duration::from_nanos));
        }
        if point.kind != PointKind::Start {
            while latest.back().is_some_and(|(_, before)| *before <= dated) {
                latest.pop_back();
            }
            latest.push_back((place, dated));
        }
    }
    steps
}

/// How much of the time between two points counts at most: a few times the usual time between
/// points (the median), but never less than the thinning period.
#[must_use]
pub(crate) fn jump_limit(catalogue: &Catalogue, thin_to: Duration) -> Duration {
    limit_of(&steps(catalogue, thin_to), thin_to)
}

fn limit_of(steps: &[Option<Duration>], thin_to: Duration) -> Duration {
    let forward = steps.iter().copied().flatten().filter(|step| !step.is_zero());
    let forward: Vec<_> = forward.map(nanoseconds).collect();
    let usual = match forward.len() {
        // With so few steps, a jump may be the only one.
        ..STEPS_TO_TELL => 0,
        _ => middle(forward.into_iter()).unwrap_or_default(),
    };
    Duration::from_nanos(usual.saturating_mul(USUAL_STEPS)).max(thin_to)
}

/// The notice for the operator about the time between the last two points: that not all of it
/// counts, or that it runs backwards.
#[must_use]
pub(crate) fn jump(catalogue: &Catalogue, policy: &Policy) -> Option<Notice> {
    let [.., before, last] = catalogue.points.as_slice() else { return None };
    if before.kind == PointKind::Start {
        return None;
    }
    let (from, to) = (before.dated(), last.dated());
    let apart = Duration::from_nanos(from.abs_diff(to));
    let is_told = |is_backwards| match is_backwards {
        true => apart > TOLD_BACKWARDS,
        // The limit is never below the thinning period.
        false => apart > policy.thin_to,
    };
    if !is_told(to < from) {
        return None;
    }
    let (point, by) = (crate::journal::selector::shown(last), apart);
    if to < from {
        return Some(Notice::ClockSetBack { point, by });
    }
    let counts = jump_limit(catalogue, policy.thin_to);
    (apart > counts).then_some(Notice::LongGap { point, by, counts })
}

/// Smaller corrections of a clock are common.
const TOLD_BACKWARDS: Duration = Duration::from_secs(60);

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The point to give up first when there is no room: the oldest, if it may go. Forgetting any other
/// point frees nothing.
#[must_use]
pub(crate) fn first_to_go(catalogue: &Catalogue) -> Option<PointId> {
    in_the_order_to_go(catalogue).next().map(|point| point.id)
}

/// The points to give up in this order when there is no room, up to the first that may not go.
pub(crate) fn in_the_order_to_go(catalogue: &Catalogue) -> impl Iterator<Item = &Point> {
    catalogue.all().take_while(|point| may_go(catalogue, point))
}

fn may_go(catalogue: &Catalogue, point: &Point) -> bool {
    why_it_stays(catalogue, point).is_none()
}

/// Why a point may not go, whoever asks; the text follows its name. `None` if it may go.
#[must_use]
pub(crate) fn why_it_stays(catalogue: &Catalogue, point: &Point) -> Option<&'static str> {
    let of_rollback = [catalogue.rolling_back_to, catalogue.rolled_back_to, catalogue.went_on_from];
    match () {
        () if point.pinned => Some("is pinned"),
        () if point.id == catalogue.open_epoch() => Some("is the newest one"),
        () if of_rollback.contains(&Some(point.id)) => Some("is where a rollback went"),
        () => None,
    }
}

/// How far back the kept points reach.
#[must_use]
pub fn reach(catalogue: &Catalogue, policy: &Policy) -> Duration {
    ages(catalogue, policy.thin_to).first().copied().unwrap_or_default()
}

/// How long a window `capacity_bytes` can hold, if the disks continue to change as they did between
/// the kept points; `None` while that is not known.
#[must_use]
pub(crate) fn forecast(
    catalogue: &Catalogue,
    policy: &Policy,
    capacity_bytes: u64,
) -> Option<Duration> {
    let first = catalogue.recovery_points().next()?;
    let at = catalogue.points.iter().position(|point| point.id == first.id)?;
    let nanoseconds = nanoseconds(*ages(catalogue, policy.thin_to).get(at)?);
    let sealed = catalogue.all().filter(|point| point.id >= first.id);
    let bytes = sealed.map(Point::journal_bytes).fold(0, u64::saturating_add);
    if nanoseconds < MEASURED_AT_LEAST_NS || bytes == 0 {
        return None;
    }
    let held = u128::from(capacity_bytes) * u128::from(nanoseconds) / u128::from(bytes);
    Some(Duration::from_nanos(u64::try_from(held).unwrap_or(u64::MAX)))
}

/// The shortest time that a rate is computed from.
const MEASURED_AT_LEAST_NS: u64 = 60 * 1_000_000_000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::journal::catalogue::{NewPoint, Span};
    use crate::storage::SegmentNumber;

    mod edges;

    const MINUTE: u64 = 60 * 1_000_000_000;

    /// A point every five minutes for `hours` hours, each with 10 bytes of journal.
    fn catalogue(hours: u64) -> Catalogue {
        let mut catalogue = Catalogue::new([0; 16], 1_000_000 * MINUTE);
        for minute in (0..hours * 60).step_by(5) {
            let time = 1_000_000 * MINUTE + minute * MINUTE;
            let spans = vec![Span {
                segment: SegmentNumber(minute),
                bytes: 10,
                first_record: 1,
                next_record: 2,
            }];
            catalogue.seal(spans, NewPoint { time, kind: PointKind::Crash, name: None }, time);
        }
        catalogue
    }

    fn kept(catalogue: &Catalogue) -> usize {
        let due = due(catalogue, &Policy::default());
        catalogue.points.len() - due.len()
    }

    #[test]
    fn all_stay_for_two_hours_then_one_an_hour_then_none() {
        // Including the start.
        assert_eq!(kept(&catalogue(2)), 25);
        // 25 within two hours, and one for each of the three older hours.
        let of_five = kept(&catalogue(5));
        assert!((27..=30).contains(&of_five), "{of_five}");
        let of_thirty = kept(&catalogue(30));
        assert!((46..=50).contains(&of_thirty), "{of_thirty}");
    }

    proptest! {
        #[test]
        fn steps_are_counted_from_the_latest_of_the_last_few(
            dates in prop::collection::vec(0..60_u64, 1..80),
        ) {
            let mut catalogue = Catalogue::new([0; 16], 30);
            for time in &dates {
                let new = NewPoint { time: *time, kind: PointKind::Crash, name: None };
                catalogue.seal(Vec::new(), new, 60);
            }
            let all = [&[30][..], &dates].concat();
            let expected = (1..all.len()).map(|next| {
                // The start is not considered.
                let latest = all[next.saturating_sub(LAST_FEW).max(1)..next].iter().max()?;
                all[next].checked_sub(*latest).map(Duration::from_nanos)
            });
            prop_assert_eq!(steps(&catalogue, Duration::ZERO), expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_point_takes_more_until_the_next_one_is_of_another_period_or_stays() {
        // The second and the third of an hour, and the first of the next.
        let mut catalogue = dated(&[1, 20, 40, 61, 80]);
        let policy = Policy::default();
        let takes_more = |catalogue: &Catalogue, id| takes_more(catalogue, &policy, PointId(id));
        let told: Vec<_> = (1..=5).map(|id| takes_more(&catalogue, id)).collect();
        // 1,000,000 minutes are 40 minutes past the hour: periods end 20 minutes later.
        assert_eq!(told, [false, true, true, false, false]);
        Arc::make_mut(&mut catalogue.points[3]).pinned = true;
        assert!(!takes_more(&catalogue, 2));
    }

    #[test]
    fn pinned_points_and_the_last_one_stay() {
        let mut catalogue = catalogue(30);
        Arc::make_mut(&mut catalogue.points[1]).pinned = true;
        let due = due(&catalogue, &Policy { window: Duration::ZERO, ..Policy::default() });
        // The newest point older than the window is kept as well.
        assert_eq!(due.len(), catalogue.points.len() - 2 - LAST_POINTS);
        assert!(!due.contains(&catalogue.points[1].id));
        assert!(!due.contains(&catalogue.open_epoch()));
    }

    #[test]
    fn what_a_rule_keeps_stays_beside_what_the_window_keeps() {
        let catalogue = catalogue(30);
        let without = due(&catalogue, &Policy::default());
        let keep = Keep { daily: Some(2), last: Some(40), ..Keep::default() };
        let with = due(&catalogue, &Policy { keep, ..Policy::default() });
        assert!(with.iter().all(|id| without.contains(id)), "a rule lets nothing go");
        let points = catalogue.points.iter().rev();
        assert!(points.take(40).all(|point| !with.contains(&point.id)));
        // 1,000,000 minutes are 10:40: the first day has its last point at 23:55.
        let day = catalogue.all().rfind(|point| point.time / MINUTE / 1440 == 694).unwrap();
        assert!(without.contains(&day.id) && !with.contains(&day.id));
    }

    #[test]
    fn of_an_hour_an_application_consistent_point_stays() {
        let mut catalogue = catalogue(5);
        let middle = catalogue.points.len() / 4;
        Arc::make_mut(&mut catalogue.points[middle]).kind = PointKind::App;
        let due = due(&catalogue, &Policy::default());
        assert!(!due.contains(&catalogue.points[middle].id));
    }

    #[test]
    fn only_the_oldest_gives_room_and_only_if_it_may_go() {
        let mut catalogue = catalogue(1);
        assert_eq!(first_to_go(&catalogue), Some(PointId(0)));
        Arc::make_mut(&mut catalogue.points[0]).pinned = true;
        assert_eq!(first_to_go(&catalogue), None);
        assert_eq!(first_to_go(&Catalogue::new([0; 16], 0)), None);
    }

    #[test]
    fn the_window_that_fits_is_told_from_the_rate() {
        let catalogue = catalogue(2);
        // 230 bytes in 115 minutes: 240 bytes hold two hours.
        let held = forecast(&catalogue, &Policy::default(), 240).unwrap();
        assert_eq!(held.as_secs() / 60, 120);
        assert_eq!(forecast(&Catalogue::new([0; 16], 0), &Policy::default(), 240), None);
    }

    /// Points dated at these minutes by the source's clock, in any order.
    fn dated(minutes: &[u64]) -> Catalogue {
        let mut catalogue = Catalogue::new([0; 16], 1_000_000 * MINUTE);
        for minute in minutes {
            let time = (1_000_000 + minute) * MINUTE;
            let new = NewPoint { time, kind: PointKind::Crash, name: None };
            catalogue.seal(Vec::new(), new, time);
        }
        catalogue
    }

    /// Points every five minutes for a day; those in `range` are off by `off` minutes.
    fn a_day_off(range: std::ops::Range<u64>, off: i64) -> Catalogue {
        let at = |number: u64| {
            let minute = 10_000 + number * 5;
            let is_off = range.contains(&number);
            if is_off { minute.saturating_add_signed(off) } else { minute }
        };
        dated(&(0..24 * 12).map(at).collect::<Vec<_>>())
    }

    /// Forgets what is due after each point, as runs do; returns the numbers of the remaining
    /// points.
    fn lived_through(whole: &Catalogue, policy: &Policy) -> Vec<u64> {
        let mut catalogue = Catalogue { points: vec![], ..whole.clone() };
        for point in &whole.points {
            catalogue.points.push(point.clone());
            let due = due(&catalogue, policy);
            let _ = catalogue.forget(&due);
        }
        catalogue.points.iter().map(|point| point.id.0).collect()
    }

    #[test]
    fn a_host_that_is_two_days_ahead_for_one_run_takes_no_points_with_it() {
        let right = lived_through(&a_day_off(0..0, 0), &Policy::default());
        let wrong = lived_through(&a_day_off(200..203, 48 * 60), &Policy::default());
        assert!(wrong.len() + 2 >= right.len(), "{right:?} {wrong:?}");
    }

    #[test]
    fn a_host_that_is_behind_at_boot_and_then_corrected_takes_no_points_with_it() {
        let right = lived_through(&a_day_off(0..0, 0), &Policy::default());
        let wrong = lived_through(&a_day_off(200..230, -30 * 60), &Policy::default());
        assert!(wrong.len() + 3 >= right.len(), "{right:?} {wrong:?}");
    }

    #[test]
    fn marks_of_a_clock_that_is_three_hours_behind_are_no_older_for_that() {
        // Every other point is dated by a clock that is three hours behind.
        let minutes: Vec<_> = (0..24).map(|n| 10_000 + n * 5 - (n % 2) * 180).collect();
        let left = lived_through(&dated(&minutes), &Policy::default());
        assert_eq!(left.len(), 25, "{left:?}");
    }

    /// With few points, most of the steps are jumps.
    #[test]
    fn a_clock_that_is_wrong_again_and_again_takes_no_points_with_it() {
        let day = 24 * 60;
        for minutes in [
            vec![0, 10, 20 + day, 30, 40 + 2 * day, 50, 60],
            vec![2 * day, 10 + 2 * day, 20, 30 + 2 * day, 40 + 200 * day, 50 + 2 * day],
            vec![0, 0, 0, 10 + day, 20, 20, 20, 30 + 2 * day, 40, 40, 40, 50 + 3 * day, 60],
            vec![0, 10, 20 + day, 30 + day, 40, 50, 60 + 9 * day, 70 + 9 * day, 80, 90, 100],
        ] {
            let minutes: Vec<_> = minutes.into_iter().map(|minute| minute + 10_000).collect();
            let left = lived_through(&dated(&minutes), &Policy::default());
            assert_eq!(left.len(), minutes.len() + 1, "{minutes:?}: {left:?}");
        }
    }

    #[test]
    fn after_a_pause_the_points_before_it_are_still_there() {
        let left = lived_through(&dated(&[60, 120, 180, 63 * 60]), &Policy::default());
        assert_eq!(left, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn the_newest_point_before_the_window_leads_to_its_beginning() {
        // Every five hours: the fifth before the last is 25 hours old.
        let minutes: Vec<_> = (0..12).map(|n| n * 5 * 60).collect();
        assert_eq!(lived_through(&dated(&minutes), &Policy::default()), [7, 8, 9, 10, 11, 12]);
    }

    #[test]
    fn a_jump_is_told_and_a_usual_step_is_not() {
        let policy = Policy::default();
        assert_eq!(jump(&dated(&[0, 5, 10, 15]), &policy), None);
        let ahead = jump(&dated(&[0, 5, 10, 15, 15 + 48 * 60]), &policy).unwrap();
        assert!(matches!(ahead, Notice::LongGap { by, .. } if by.as_secs() == 48 * 3600));
        assert!(
            ahead.to_string().contains("is dated 48 h later than the point before it"),
            "{ahead}"
        );
        let back = jump(&dated(&[5000, 5005, 5010, 2010]), &policy).unwrap();
        assert!(matches!(back, Notice::ClockSetBack { .. }));
        assert!(
            back.to_string().contains("is dated 50 h earlier than the point before it"),
            "{back}"
        );
    }

    proptest! {
        /// No point is older than the time between the correctly dated points, plus a share for
        /// each of the last few: those cannot be distinguished from a clock that was set for good.
        #[test]
        fn points_that_were_dated_wrong_among_others_make_none_older(
            steps in prop::collection::vec(1_u64..30, 20..120),
            wrong in prop::collection::btree_map(0_usize..24, 2000_u64..500_000, 0..10),
        ) {
            let mut minute = 600_000;
            let right: Vec<u64> = steps.iter().map(|step| { minute += step; minute }).collect();
            let mut off = right.clone();
            for (place, by) in wrong {
                // At most every fifth, ahead or behind by a day or more.
                if let Some(minute) = off.get_mut(place * 5) {
                    *minute = if by % 2 == 0 { *minute + by } else { *minute - by };
                }
            }
            let (right, off) = (dated(&right), dated(&off));
            let hour = Duration::from_secs(3600);
            let share = jump_limit(&off, hour);
            prop_assert!(share <= hour * 2, "{share:?}");
            for (before, after) in ages(&right, hour).into_iter().zip(ages(&off, hour)).skip(1) {
                prop_assert!(after <= before + share * 2, "{before:?} {after:?} {share:?}");
            }
        }

        #[test]
        fn one_jump_makes_no_point_older_than_its_share(
            steps in prop::collection::vec(1_u64..30, 20..200),
            place in 0_usize..200,
            jump_minutes in -5000_i64..5000,
        ) {
            let mut minute = 10_000;
            let right: Vec<u64> = steps.iter().map(|step| { minute += step; minute }).collect();
            let place = place % right.len();
            let shifted = |(at, minute): (usize, &u64)| match at >= place {
                true => minute.saturating_add_signed(jump_minutes),
                false => *minute,
            };
            let wrong: Vec<u64> = right.iter().enumerate().map(shifted).collect();
            let (right, wrong) = (dated(&right), dated(&wrong));
            let hour = Duration::from_secs(3600);
            let share = jump_limit(&wrong, hour);
            for (before, after) in ages(&right, hour).into_iter().zip(ages(&wrong, hour)).skip(1) {
                prop_assert!(after <= before + share, "{before:?} {after:?} {share:?}");
            }
        }

        #[test]
        fn what_stays_always_stays(
            minutes in prop::collection::vec(0_u64..20_000, 4..60),
            window in 0_u64..5000,
        ) {
            let window = Duration::from_secs(window * 60);
            let policy = Policy { window, keep_all: window / 2, ..Policy::default() };
            let catalogue = dated(&minutes);
            let due = due(&catalogue, &policy);
            let last = &catalogue.points[catalogue.points.len() - LAST_POINTS..];
            prop_assert!(last.iter().all(|point| !due.contains(&point.id)));
            let left: Vec<_> = catalogue.points.iter().zip(ages(&catalogue, policy.thin_to))
                .filter(|(point, _)| !due.contains(&point.id)).collect();
            // If the history reached as far as the window, it still does.
            if reach(&catalogue, &policy) > window {
                prop_assert!(left[0].1 > window);
            }
        }
    }
}
