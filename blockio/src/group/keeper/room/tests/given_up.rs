//! Points given up for room, and the notices about the window and the clock.

use super::*;

/// A group in which 10, 20 and 30 bytes lead back to points, and the points that are left after the
/// oldest was given up; `None` if that failed.
fn give_up(volume: &Arc<Volume>, policy: Policy) -> (Group, Option<Vec<u64>>) {
    let mut group = volume.group(policy, None);
    set_catalogue(&mut group, [10, 20, 30]);
    let given_up = group.keeper.as_mut().unwrap().give_up_the_oldest(&mut group.ledger);
    let left = group.view().catalogue().unwrap().all().map(|point| point.id.0).collect();
    (group, given_up.is_ok().then_some(left))
}

#[test]
fn for_want_of_room_the_oldest_point_goes_and_that_is_told() {
    let volume = Volume::new(0, 0);
    *volume.free_after_removal.lock().unwrap() = Some(10);
    let (mut group, left) = give_up(&volume, Policy::default());
    assert_eq!(left, Some(vec![1, 2, 3]));
    let notes = group.take_notes();
    let told =
        |note: &Notice| matches!(note, Notice::GivenUpForRoom { point } if point.contains("start"));
    assert_eq!(notes.iter().filter(|note| told(note)).count(), 1, "{notes:?}");
}

#[test]
fn a_point_whose_room_does_not_come_free_is_the_last_that_goes() {
    let volume = Volume::new(0, 0);
    assert_eq!(give_up(&volume, Policy::default()).1, None);
    // The policy's limit is computed from the catalogue, not from the volume.
    let limited = Policy { journal_bytes_max: Some(1), ..Policy::default() };
    assert_eq!(give_up(&Volume::new(0, 0), limited).1, Some(vec![1, 2, 3]));
}

#[test]
fn room_that_came_free_is_more_than_there_was() {
    let keeper = Volume::new(0, 100).group(Policy::default(), None).keeper.unwrap();
    let before = |free_bytes| Space { total_bytes: 0, free_bytes };
    assert!(keeper.require_given_back(10, before(99)).is_ok());
    assert!(keeper.require_given_back(10, before(100)).is_err());
    assert!(keeper.require_given_back(10, before(101)).is_err());
    assert!(keeper.require_given_back(0, before(100)).is_ok(), "nothing was removed");
}

#[test]
fn a_window_that_points_reach_no_more_is_cut_to_what_they_reach() {
    // The start is given up, and counts as old as the first point: the window reaches from that to
    // the last.
    let reach = Duration::from_secs(2000);
    for (window, cut_to) in [
        (reach, None),
        (reach - Duration::from_nanos(1), None),
        (reach + Duration::from_nanos(1), Some(2000 * SECOND)),
    ] {
        let volume = Volume::new(0, 0);
        *volume.free_after_removal.lock().unwrap() = Some(10);
        let (group, _) = give_up(&volume, Policy { window, ..Policy::default() });
        assert_eq!(group.view().catalogue().unwrap().window_cut_to, cut_to, "{window:?}");
    }
}

#[test]
fn a_window_that_was_cut_is_whole_once_points_reach_as_far() {
    let reach = Duration::from_secs(2000);
    for (window, is_cut) in [
        (reach, false),
        (reach - Duration::from_nanos(1), false),
        (reach + Duration::from_nanos(1), true),
    ] {
        let policy = Policy { window, ..Policy::default() };
        let mut keeper = Volume::new(0, 100).group(policy, None).keeper.unwrap();
        let mut known = catalogue(Catalogue::new([0; 16], 0), [10, 20, 30]);
        known.window_cut_to = Some(1);
        keeper.note_window(&mut known);
        assert_eq!(known.window_cut_to.is_some(), is_cut, "{window:?}");
    }
}

#[test]
fn that_the_newest_point_is_far_from_the_one_before_is_told_once() {
    let mut keeper = Volume::new(0, 100).group(Policy::default(), None).keeper.unwrap();
    let mut known = catalogue(Catalogue::new([0; 16], 0), [10, 20, 30]);
    keeper.note_window(&mut known);
    assert_eq!(keeper.take_notes(), [], "they are as far apart as they were");
    let time = 1_000_000 * SECOND;
    known.seal(vec![], NewPoint { time, kind: PointKind::Crash, name: None }, time);
    keeper.noted = Some(known.open_epoch());
    keeper.note_window(&mut known);
    assert_eq!(keeper.take_notes(), [], "it was looked at");
    keeper.noted = Some(PointId(3));
    keeper.note_window(&mut known);
    assert!(matches!(keeper.take_notes().as_slice(), [Notice::LongGap { .. }]));
    keeper.note_window(&mut known);
    assert_eq!(keeper.take_notes(), []);
}

#[test]
fn a_window_is_told_not_to_fit_if_the_volume_holds_less() {
    // The three points take 50 bytes for 2000 s: 25 bytes hold 1000 s.
    let known = catalogue(Catalogue::new([0; 16], 0), [0, 20, 30]);
    let held = Duration::from_secs(4000);
    for (window, is_told) in [
        (held, false),
        (held - Duration::from_nanos(1), false),
        (held + Duration::from_nanos(1), true),
    ] {
        let policy = Policy { window, ..Policy::default() };
        let keeper = Volume::new(0, 50).group(policy, None).keeper.unwrap();
        let told = keeper.forecast(&known);
        let expected = Forecast { held, wanted: window };
        assert_eq!(told, is_told.then_some(expected));
    }
}

#[test]
fn where_somebody_else_took_the_room_meanwhile_the_oldest_point_goes() {
    for (errno, is_made) in [(libc::ENOSPC, true), (libc::EIO, false)] {
        let volume = Volume::new(0, 100 * MIB);
        let mut group = volume.group(Policy::default(), None);
        set_catalogue(&mut group, [10, 20, 30]);
        *volume.create_fails.lock().unwrap() = Some(errno);
        *volume.free_after_removal.lock().unwrap() = Some(100 * MIB);
        let epoch = PointId(3);
        let made = group.keeper.as_mut().unwrap().begin_segment(&mut group.ledger, epoch);
        assert_eq!(made.is_ok(), is_made);
        // Giving up points is of no use if the cause is not a lack of room.
        let left = group.view().catalogue().unwrap().points.len();
        assert_eq!(left, if is_made { 3 } else { 4 });
    }
}

#[test]
fn what_a_group_is_set_to_keep_is_followed_at_once() {
    let mut group = Volume::new(0, 0).group(Policy::default(), None);
    let policy = Policy { window: Duration::from_secs(7), ..Policy::default() };
    group.set(GroupSettings { policy, ..GroupSettings::default() }).unwrap();
    assert_eq!(group.keeper.unwrap().policy, policy);
}

#[test]
fn the_clock_is_that_of_this_host() {
    let group = Volume::new(0, 0).group(Policy::default(), None);
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    for now in [now(), group.keeper.unwrap().now()] {
        assert!(now.abs_diff(since) < 600 * SECOND);
    }
}

/// A group of which an earlier process gave up two points, and merged nothing.
fn left_unmerged() -> Group {
    let mut group = Volume::new(1 << 30, 1 << 30).group(Policy::default(), None);
    set_catalogue(&mut group, [10, 20, 30]);
    let forget = |state: &mut crate::journal::state::GroupState| {
        state.journal.iter_mut().for_each(|known| drop(known.forget(&[PointId(1), PointId(2)])));
    };
    group.overwrite(forget).unwrap();
    group.begin_history(&crate::journal::memo::Targets::new()).unwrap();
    group
}

#[test]
fn before_points_are_given_up_what_earlier_runs_left_is_merged_once() {
    let Group { mut ledger, keeper, .. } = left_unmerged();
    let mut keeper = keeper.unwrap();
    assert!(keeper.merge_for_room(&mut ledger).unwrap());
    // Its segments do not exist here, which is told of the point that would have been merged.
    let notes = keeper.take_notes();
    let is_start = |point: &str| point.contains("start");
    let told =
        |note: &Notice| matches!(note, Notice::LeftUnmerged { point, .. } if is_start(point));
    assert_eq!(notes.iter().filter(|note| told(note)).count(), 1, "{notes:?}");
    assert!(!keeper.merge_for_room(&mut ledger).unwrap(), "it would never end");
}

#[test]
fn numbers_are_reserved_together_with_the_end_of_the_log_before_them() {
    let Group { mut ledger, keeper, .. } = left_unmerged();
    let mut keeper = keeper.unwrap();
    let (next, _) = keeper.log.next_numbers();
    assert!(ledger.view().catalogue().unwrap().next_segment < next, "the log is further");
    assert!(keeper.merge_for_room(&mut ledger).unwrap());
    let known = ledger.view().catalogue().unwrap();
    assert!(known.next_segment > next);
    let has = known.spans().any(|span| span.segment.0 == next - 1);
    assert!(has, "a segment that nobody would look for: {known:?}");
}
