//! A point covers all volumes: when none is made.

use super::*;
use crate::journal::catalogue::Span;
use crate::journal::state::{GroupState, InBetween};
use crate::storage::SegmentNumber;

const CONSUMED: u64 = 100;

/// Whether a point would be made after `change` is done to a session that has applied all of a
/// stream of "db" up to byte 100.
fn is_whole(when: When, change: impl FnOnce(&mut Session<'_>)) -> bool {
    let mut whole = false;
    plain_session(ApplyOptions::default(), |session, _| {
        feed(session, begin(header(&["db"])));
        session.input.as_mut().unwrap().consumed = CONSUMED;
        session.volumes.get(0).applied = Applied::UpTo(CONSUMED);
        change(session);
        whole = session.make_points_only_if_whole(when);
    });
    whole
}

/// Makes the group record that the stream was applied to its end.
fn complete(session: &mut Session<'_>) {
    let input = session.input.as_ref().unwrap().fingerprint.clone();
    let change = |state: &mut GroupState| {
        state.volumes.entry("db".into()).or_default().complete(input);
    };
    session.group.overwrite(change).unwrap();
}

fn set_in_between(session: &mut Session<'_>, volume: &str, exact: bool) {
    let input = session.input.as_ref().unwrap().fingerprint.clone();
    let between = InBetween { input, position: 1, exact, unordered: false, content: None };
    let change = |state: &mut GroupState| {
        state.volumes.entry(volume.into()).or_default().in_between = Some(between);
    };
    session.group.overwrite(change).unwrap();
}

#[test]
fn a_volume_that_is_ahead_is_waited_for_unless_all_are_at_the_end() {
    let (on_the_way, at_the_end) = (When::OnTheWay, When::InputComplete);
    let (ahead, all) = (Applied::UpTo(CONSUMED + 1), Applied::All);
    assert!(is_whole(on_the_way, |_| {}));
    for (when, applied, is_complete, expected) in [
        (at_the_end, all, true, true),
        (on_the_way, all, true, false),
        (at_the_end, all, false, false),
        (at_the_end, ahead, true, false),
        (on_the_way, ahead, true, false),
        (on_the_way, ahead, false, false),
    ] {
        let whole = is_whole(when, |session| {
            session.volumes.get(0).applied = applied;
            if is_complete {
                complete(session);
            }
        });
        assert_eq!(whole, expected, "{when:?} {applied:?} {is_complete}");
    }
}

#[test]
fn what_a_run_that_was_cut_short_may_have_written_is_no_state_of_the_source() {
    let unsure = |session: &mut Session<'_>, from| session.volumes.get(0).unsure_from = Some(from);
    assert!(!is_whole(When::OnTheWay, |session| unsure(session, CONSUMED)));
    assert!(!is_whole(When::InputComplete, |session| unsure(session, CONSUMED + 1)));
    assert!(is_whole(When::OnTheWay, |session| unsure(session, CONSUMED - 1)));
    let at_the_end = |session: &mut Session<'_>| {
        unsure(session, CONSUMED);
        session.volumes.get(0).applied = Applied::All;
        complete(session);
    };
    assert!(is_whole(When::InputComplete, at_the_end));
}

#[test]
fn a_volume_that_is_in_no_stream_and_half_written_is_waited_for() {
    let of = |volume: &'static str, exact: bool| {
        is_whole(When::OnTheWay, move |session| set_in_between(session, volume, exact))
    };
    assert!(!of("other", false));
    assert!(of("other", true));
    assert!(of("db", false), "it is in this stream");
    assert!(of("db", true));
}

#[test]
fn no_point_is_made_while_a_volume_has_failed() {
    let broken = disk().failing_writes(0, libc::EIO);
    let directory = tempfile::tempdir().unwrap();
    let group = without_history(&directory);
    session(vec![on("db", broken)], group, ApplyOptions::default(), |session, told| {
        feed(session, begin(header(&["db"])));
        assert!(session.make_points_only_if_whole(When::OnTheWay));
        let _ = told.heard();
        feed(session, batch(CONSUMED, 1));
        assert!(!session.make_points_only_if_whole(When::OnTheWay));
        let heard = told.heard();
        assert!(heard.len() == 1 && heard[0].starts_with("failed: db on disk"), "{heard:?}");
    });
}

#[test]
fn that_marks_make_no_points_is_told_once_until_they_do() {
    let told_of = |group: Group, has_point: bool| {
        let mut counts = Vec::new();
        session(vec![on("db", disk())], group, ApplyOptions::default(), |session, told| {
            feed(session, begin(header(&["db"])));
            session.input.as_mut().unwrap().consumed = 5;
            session.points.extend(has_point.then(point));
            let _ = told.heard();
            for applied in [0, 9, 9, 0, 9] {
                session.volumes.get(0).applied = Applied::UpTo(applied);
                let _ = session.make_points_only_if_whole(When::OnTheWay);
                counts.push(told.heard().len());
            }
        });
        counts
    };
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(told_of(with_history(), true), [0, 1, 0, 0, 1]);
    assert_eq!(told_of(with_history(), false), [0; 5], "no mark came");
    assert_eq!(told_of(without_history(&directory), true), [0; 5], "none is ever made");
}

#[test]
fn what_the_copies_of_the_state_are_like_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    without_history(&directory).overwrite(|_| {}).unwrap();
    std::fs::write(directory.path().join("state.copy"), "rotten").unwrap();
    let group = without_history(&directory);
    session(vec![on("db", disk())], group, ApplyOptions::default(), |session, told| {
        session.tell_notes(When::InputComplete);
        assert_eq!(told.heard().len(), 1);
        session.tell_notes(When::InputComplete);
        assert_eq!(told.heard().len(), 0);
    });
}

#[test]
fn that_the_window_does_not_fit_is_told_once() {
    session(vec![on("db", disk())], with_history(), ApplyOptions::default(), |session, told| {
        session.tell_notes(When::InputComplete);
        assert_eq!(told.heard().len(), 0, "nothing is known yet");
        let change = |state: &mut GroupState| {
            let known = state.journal.as_mut().unwrap();
            for number in 1..4 {
                let time = number * 3600 * 1_000_000_000;
                let (segment, bytes) = (SegmentNumber(number), 1 << 30);
                let (first_record, next_record) = (number, number + 1);
                let span = Span { segment, bytes, first_record, next_record };
                known.seal(vec![span], NewPoint { time, ..point() }, time);
            }
        };
        session.group.overwrite(change).unwrap();
        session.tell_notes(When::InputComplete);
        let heard = told.heard();
        assert!(heard.len() == 1 && heard[0].contains("window"), "{heard:?}");
        session.tell_notes(When::InputComplete);
        assert_eq!(told.heard().len(), 0);
    });
}
