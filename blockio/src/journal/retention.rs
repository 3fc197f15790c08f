//! Which recovery points are to go, and when: by age, by thinning, for want of room. Pure: looks at
//! a catalogue and says what it would forget.
//!
//! Ages are counted from the newest point, not from the clock: while nothing is replicated, nothing
//! expires.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::journal::catalogue::{Catalogue, Point, PointId, PointKind};

/// How long points are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Points older than this go.
    pub window: Duration,
    /// All points up to this age stay.
    pub keep_all: Duration,
    /// Of those that are older, one for each time of this length stays.
    pub thin_to: Duration,
    /// The journal takes at most so many bytes; none: what the volume has.
    pub journal_bytes_max: Option<u64>,
}

impl Default for Policy {
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        Self { window: hours(24), keep_all: hours(2), thin_to: hours(1), journal_bytes_max: None }
    }
}

/// The points that `policy` lets go now. Never the last one, a pinned one, or one that a rollback
/// is under way to, or was made to.
#[must_use]
pub fn due(catalogue: &Catalogue, policy: &Policy) -> Vec<PointId> {
    let Some(newest) = catalogue.points.last() else { return Vec::new() };
    let age = |point: &Point| Duration::from_nanos(newest.dated().saturating_sub(point.dated()));
    let mut due = Vec::new();
    let mut hours: BTreeMap<u64, Vec<&Point>> = BTreeMap::new();
    let thin_to = u64::try_from(policy.thin_to.as_nanos()).unwrap_or(u64::MAX).max(1);
    for point in catalogue.points.iter().filter(|point| may_go(catalogue, point)) {
        match age(point) {
            age if age > policy.window => due.push(point.id),
            age if age > policy.keep_all => {
                hours.entry(point.dated() / thin_to).or_default().push(point);
            }
            _ => {}
        }
    }
    for points in hours.values() {
        let stays = points.iter().find(|point| point.kind == PointKind::App).or(points.first());
        let stays = stays.map(|point| point.id);
        due.extend(points.iter().map(|point| point.id).filter(|id| Some(*id) != stays));
    }
    due.sort_unstable();
    due
}

/// The point that goes first when there is no room: the oldest, if it may go. Forgetting any other
/// one gives nothing back.
#[must_use]
pub fn first_to_go(catalogue: &Catalogue) -> Option<PointId> {
    let oldest = catalogue.points.first()?;
    may_go(catalogue, oldest).then_some(oldest.id)
}

fn may_go(catalogue: &Catalogue, point: &Point) -> bool {
    let is_last = point.id == catalogue.open_epoch();
    let of_rollback = [catalogue.rolling_back_to, catalogue.rolled_back_to];
    !is_last && !point.pinned && !of_rollback.contains(&Some(point.id))
}

/// How far back the points that are kept reach.
#[must_use]
pub fn reach(catalogue: &Catalogue) -> Duration {
    let ends = catalogue.points.first().zip(catalogue.points.last());
    let span = ends.map_or(0, |(first, last)| last.dated().saturating_sub(first.dated()));
    Duration::from_nanos(span)
}

/// How long a window `capacity_bytes` hold, if the disks go on changing as they did between the
/// points that are kept; none while that is not known.
#[must_use]
pub fn forecast(catalogue: &Catalogue, capacity_bytes: u64) -> Option<Duration> {
    let mut points = catalogue.recovery_points();
    let span = points.next().zip(catalogue.points.last());
    let (first, last) = span.filter(|(first, last)| last.id != first.id)?;
    let nanoseconds = last.dated().saturating_sub(first.dated());
    let sealed = catalogue.points.iter().filter(|point| point.id >= first.id);
    let bytes: u64 = sealed.map(Point::journal_bytes).sum();
    if nanoseconds < MEASURED_AT_LEAST_NS || bytes == 0 {
        return None;
    }
    let held = u128::from(capacity_bytes) * u128::from(nanoseconds) / u128::from(bytes);
    Some(Duration::from_nanos(u64::try_from(held).unwrap_or(u64::MAX)))
}

/// A rate is not told from less than this.
const MEASURED_AT_LEAST_NS: u64 = 60 * 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::catalogue::{NewPoint, Span};
    use crate::storage::SegmentNumber;

    const MINUTE: u64 = 60 * 1_000_000_000;

    /// A point every five minutes for so many hours, each with 10 bytes of journal.
    fn catalogue(hours: u64) -> Catalogue {
        let mut catalogue = Catalogue::new([0; 16], 0);
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
        assert_eq!(kept(&catalogue(2)), 24);
        // 25 within two hours, and one for each of the three older hours.
        let of_five = kept(&catalogue(5));
        assert!((27..=29).contains(&of_five), "{of_five}");
        let of_thirty = kept(&catalogue(30));
        assert!((46..=49).contains(&of_thirty), "{of_thirty}");
    }

    #[test]
    fn pinned_points_and_the_last_one_stay() {
        let mut catalogue = catalogue(30);
        catalogue.points[1].pinned = true;
        let due = due(&catalogue, &Policy { window: Duration::ZERO, ..Policy::default() });
        assert_eq!(due.len(), catalogue.points.len() - 2);
        assert!(!due.contains(&catalogue.points[1].id));
        assert!(!due.contains(&catalogue.open_epoch()));
    }

    #[test]
    fn of_an_hour_an_application_consistent_point_stays() {
        let mut catalogue = catalogue(5);
        let middle = catalogue.points.len() / 4;
        catalogue.points[middle].kind = PointKind::App;
        let due = due(&catalogue, &Policy::default());
        assert!(!due.contains(&catalogue.points[middle].id));
    }

    #[test]
    fn only_the_oldest_gives_room_and_only_if_it_may_go() {
        let mut catalogue = catalogue(1);
        assert_eq!(first_to_go(&catalogue), Some(PointId(0)));
        catalogue.points[0].pinned = true;
        assert_eq!(first_to_go(&catalogue), None);
        assert_eq!(first_to_go(&Catalogue::new([0; 16], 0)), None);
    }

    #[test]
    fn the_window_that_fits_is_told_from_the_rate() {
        let catalogue = catalogue(2);
        // 230 bytes in 115 minutes: 240 bytes hold two hours.
        let held = forecast(&catalogue, 240).unwrap();
        assert_eq!(held.as_secs() / 60, 120);
        assert_eq!(forecast(&Catalogue::new([0; 16], 0), 240), None);
    }
}
