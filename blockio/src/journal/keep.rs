//! Which recovery points are kept by count, however old they are: the last N, and the newest of
//! each of the last N hours, days and weeks that have one. Pure.
//!
//! Hours, days and weeks (starting on Monday) are those of UTC. They are counted along the points,
//! from the newest back: one without a point is not counted, so a pause of a week costs nothing. A
//! clock that was wrong for a while uses up one of them.

use std::collections::BTreeSet;

use crate::journal::catalogue::{Point, PointId};

const HOUR: u64 = 3600 * 1_000_000_000;
const DAY: u64 = 24 * HOUR;
/// 1970 began on a Thursday.
const DAYS_FROM_MONDAY: u64 = 3;

/// How many are kept; `None` if the rule is not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// This many of the last points.
    pub last: Option<u32>,
    /// The newest of each of this many hours.
    pub hourly: Option<u32>,
    /// The newest of each of this many days.
    pub daily: Option<u32>,
    /// The newest of each of this many weeks.
    pub weekly: Option<u32>,
}

impl Keep {
    /// The points that a rule keeps, out of `points` (oldest first, each with when it was made, in
    /// nanoseconds since 1970).
    pub(crate) fn kept<'a>(
        self,
        points: impl DoubleEndedIterator<Item = (&'a Point, u64)>,
    ) -> BTreeSet<PointId> {
        let mut kept = BTreeSet::new();
        if self == Self::default() {
            return kept;
        }
        let Self { last, hourly, daily, weekly } = self;
        let mut rules = [
            Rule::new(last, |number, _| number),
            Rule::new(hourly, |_, made| made / HOUR),
            Rule::new(daily, |_, made| made / DAY),
            Rule::new(weekly, |_, made| (made / DAY + DAYS_FROM_MONDAY) / 7),
        ];
        for (number, (point, made)) in (0..).zip(points.rev()) {
            for rule in &mut rules {
                if rule.keeps(number, made) {
                    kept.insert(point.id);
                }
            }
        }
        kept
    }
}

/// Keeps the first point that it is asked about in each of `count` periods.
struct Rule {
    count: usize,
    /// The period of a point, given its index from the newest, and when it was made.
    period: fn(u64, u64) -> u64,
    seen: BTreeSet<u64>,
}

impl Rule {
    fn new(count: Option<u32>, period: fn(u64, u64) -> u64) -> Self {
        let count = usize::try_from(count.unwrap_or(0)).unwrap_or(usize::MAX);
        Self { count, period, seen: BTreeSet::new() }
    }

    fn keeps(&mut self, number: u64, made: u64) -> bool {
        self.seen.len() < self.count && self.seen.insert((self.period)(number, made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::catalogue::PointKind;

    /// The indices that `keep` keeps, of points at these hours since Monday, 5 January 1970.
    fn kept(keep: Keep, hours: &[u64]) -> Vec<u64> {
        let point = |(id, hours): (u64, &u64)| {
            let time = 4 * DAY + hours * HOUR;
            let (kind, name, pinned, spans) = (PointKind::Crash, None, false, Vec::new());
            (Point { id: PointId(id), time, taken: time, kind, name, pinned, spans }, time)
        };
        let points: Vec<_> = (0..).zip(hours).map(point).collect();
        let kept = keep.kept(points.iter().map(|(point, time)| (point, *time)));
        kept.into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn without_a_rule_none_is_kept() {
        assert_eq!(kept(Keep::default(), &[1, 2, 3]), [] as [u64; 0]);
    }

    #[test]
    fn the_last_so_many_are_kept() {
        let keep = Keep { last: Some(2), ..Keep::default() };
        assert_eq!(kept(keep, &[1, 1, 1, 90]), [2, 3]);
        assert_eq!(kept(keep, &[1]), [0]);
    }

    #[test]
    fn of_each_period_that_has_points_the_newest_is_kept_and_one_without_counts_for_nothing() {
        let hours = [0, 1, 1, 23, 24, 25, 24 * 6, 24 * 7, 24 * 7 + 1, 24 * 30];
        let hourly = Keep { hourly: Some(3), ..Keep::default() };
        assert_eq!(kept(hourly, &hours), [7, 8, 9]);
        let daily = Keep { daily: Some(3), ..Keep::default() };
        assert_eq!(kept(daily, &hours), [6, 8, 9]);
        // Sunday, 24 * 6, belongs to the first week.
        let weekly = Keep { weekly: Some(9), ..Keep::default() };
        assert_eq!(kept(weekly, &hours), [6, 8, 9]);
    }

    #[test]
    fn what_any_rule_keeps_is_kept() {
        let keep = Keep { last: Some(1), daily: Some(2), ..Keep::default() };
        assert_eq!(kept(keep, &[0, 1, 24, 25, 26]), [1, 4]);
    }

    #[test]
    fn a_clock_that_was_wrong_for_a_while_takes_one_place() {
        let keep = Keep { daily: Some(3), ..Keep::default() };
        assert_eq!(kept(keep, &[0, 24, 48, 9000, 9001, 48, 49]), [1, 4, 6]);
    }
}
