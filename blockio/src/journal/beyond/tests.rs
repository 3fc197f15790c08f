//! What is taken in from a journal that is ahead of its state, and what is not.

use super::*;
use crate::ErrorKind;
use crate::journal::by_hand::{ByHand, GENERATION, Written, device_of, memo, pool, state, volume};
use crate::journal::catalogue::PointKind;
use crate::journal::memo::TargetMemo;
use crate::target_identity::{Content, TargetIdentity};

/// The open epoch: a segment with its first record.
fn open() -> Written {
    Written::new(1, 0, 1).epoch(&memo(&[0], 1))
}

/// `state` with everything that `segments` record beyond it.
fn taken_in(state: &GroupState, segments: &[&Written]) -> Result<GroupState> {
    of_storage(state, ByHand::with(segments))
}

fn of_storage(state: &GroupState, storage: ByHand) -> Result<GroupState> {
    let storage = storage.arc();
    let listed = storage.segments().unwrap();
    take_in(&storage, state.clone(), &listed, &pool())
}

fn volumes(state: &GroupState) -> Vec<&str> {
    state.journal.as_ref().unwrap().volumes.iter().map(|volume| volume.name.as_str()).collect()
}

#[test]
fn an_epoch_that_was_begun_has_its_points_in_the_state() {
    let (first, next) = (open(), Written::new(2, 2, 2).epoch(&memo(&[1, 2], 2)));
    let after = taken_in(&state(&[&first]), &[&first, &next]).unwrap();
    let known = after.journal.unwrap();
    let points: Vec<_> = known.all().map(|point| (point.id.0, point.spans.clone())).collect();
    assert_eq!(points, [(0, vec![first.span()]), (1, vec![]), (2, vec![next.span()])]);
    assert_eq!((known.next_segment, known.next_record, known.next_point), (3, 3, 3));
}

#[test]
fn volumes_that_begin_in_the_open_epoch_are_in_the_state_from_whichever_segment() {
    let saved = open();
    let first = saved.clone().volume(&volume(0, "a"));
    let second = Written::new(2, 0, 3).image(0, 0).volume(&volume(1, "b"));
    let third = Written::new(3, 0, 5).volume(&volume(2, "c"));
    let after = taken_in(&state(&[&saved]), &[&first, &second, &third]).unwrap();
    assert_eq!(volumes(&after), ["a", "b", "c"]);
    assert_eq!(after.volumes["b"].target.as_deref(), Some("disk-1"));
    assert_eq!(after.volumes["b"].target_bytes, 1 << 20);
}

#[test]
fn a_volume_begins_in_no_segment_that_does_not_go_on_in_the_open_epoch() {
    let saved = open();
    let of_another_epoch = Written::new(2, 3, 2).volume(&volume(0, "a"));
    let with_a_gap = Written::new(2, 0, 3).volume(&volume(0, "a"));
    for other in [of_another_epoch, with_a_gap] {
        let after = taken_in(&state(&[&saved]), &[&saved, &other]).unwrap();
        assert_eq!(volumes(&after), [""; 0], "{:?}", other.header);
    }
    // The record numbers continue past it.
    let none = Written::new(2, 3, 2).volume(&volume(0, "x"));
    let next = Written::new(3, 0, 2).volume(&volume(0, "a"));
    let after = taken_in(&state(&[&saved]), &[&saved, &none, &next]).unwrap();
    assert_eq!(volumes(&after), ["a"]);
}

#[test]
fn a_volume_that_is_known_or_comes_out_of_turn_does_not_begin_again() {
    let saved = open();
    let first =
        saved.clone().volume(&volume(1, "b")).volume(&volume(0, "a")).volume(&volume(0, "c"));
    let mut before = state(&[&saved]);
    before.volumes.entry("a".into()).or_default().target = Some("mine".to_owned());
    let after = taken_in(&before, &[&first]).unwrap();
    assert_eq!(volumes(&after), ["a"]);
    assert_eq!(after.volumes["a"].target.as_deref(), Some("mine"));
}

#[test]
fn an_epoch_with_images_is_not_taken_in_and_one_with_a_volume_is() {
    let first = open();
    let next = Written::new(2, 1, 2).epoch(&memo(&[1], 2)).volume(&volume(0, "a"));
    let before = state(&[&first]);
    let after = taken_in(&before, &[&first, &next]).unwrap();
    assert_eq!(after.journal.unwrap().open_epoch(), PointId(1));
    let next = next.image(0, 1);
    assert_eq!(taken_in(&before, &[&first, &next]).unwrap(), before);
}

#[test]
fn an_epoch_of_a_newer_state_or_of_a_copy_is_not_taken_in() {
    let first = open();
    let before = state(&[&first]);
    let next = Written::new(2, 1, 2).epoch(&memo(&[1], 2));
    assert_ne!(taken_in(&before, &[&first, &next]).unwrap(), before);
    let newer = next.with(|header| header.generation = GENERATION + 1);
    assert_eq!(taken_in(&before, &[&first, &newer]).unwrap(), before);
    let copy = Written::new(2, 1, COPIES_FROM).epoch(&memo(&[1], COPIES_FROM));
    assert_eq!(taken_in(&before, &[&first, &copy]).unwrap(), before);
}

#[test]
fn an_epoch_is_taken_in_only_if_its_points_are_the_next_and_it_is_what_it_says() {
    let first = open();
    let before = state(&[&first]);
    for (what, epoch, points, begins_at) in [
        ("a point is left out", 2, &[2][..], 2),
        ("its own is not its last", 2, &[1], 2),
        ("it has no point", 1, &[], 2),
        ("it is another record", 1, &[1], 3),
        ("it leads back to what is open", 0, &[0], 2),
    ] {
        let next = Written::new(2, epoch, 2).epoch(&memo(points, begins_at));
        assert_eq!(taken_in(&before, &[&first, &next]).unwrap(), before, "{what}");
    }
}

#[test]
fn an_epoch_is_refused_if_the_one_before_it_is_not_all_there() {
    let first = open();
    let next = Written::new(2, 1, 3).epoch(&memo(&[1], 3));
    let refused = taken_in(&state(&[&first]), &[&first, &next]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Integrity);
    let told = refused.to_string();
    assert!(told.contains("record 2 is missing") && told.contains("up to 2 were"), "{told}");
}

#[test]
fn a_segment_that_cannot_be_opened_is_told_and_one_that_is_gone_or_none_is_not() {
    let (first, next) = (open(), Written::new(2, 1, 2).epoch(&memo(&[1], 2)));
    let before = state(&[&first]);
    for (good, segment) in [(0, 1), (1, 2)] {
        let fails = ByHand::with(&[&first, &next]).failing_opens(good, libc::EIO);
        let error = of_storage(&before, fails).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed);
        let expected = format!("reading segment {segment} of the retention journal");
        assert_eq!(error.to_string(), expected);
        let gone = ByHand::with(&[&first, &next]).failing_opens(good, libc::ENOENT);
        assert_eq!(of_storage(&before, gone).unwrap(), before);
    }
    let none = ByHand::with(&[&first]);
    none.put(2, device_of(&[1; 4096]));
    assert_eq!(of_storage(&before, none).unwrap(), before);
}

fn identity(content: bool) -> TargetIdentity {
    let content = content.then(Content::default);
    TargetIdentity { sector_bytes: 512, content, ..TargetIdentity::default() }
}

#[test]
fn what_the_volumes_hold_is_as_the_epoch_says_and_is_not_known_after_a_break() {
    let first = open();
    let mut before = state(&[&first]);
    before.volumes.entry("a".into()).or_default().identity = Some(identity(true));
    assert!(before.knows_content());
    let target = TargetMemo { target: None, target_bytes: 7, identity: Some(identity(true)) };
    let mut sealed = memo(&[1], 2);
    sealed.targets.insert("b".into(), target);
    let next = Written::new(2, 1, 2).epoch(&sealed);
    let after = taken_in(&before, &[&first, &next]).unwrap();
    assert_eq!((after.volumes["b"].target_bytes, after.knows_content()), (7, true));

    let mut breaks = sealed.giving_up_after(PointId(0), &before.progress());
    breaks.points[0].kind = PointKind::Break;
    let next = Written::new(2, 1, 2).epoch(&breaks);
    let after = taken_in(&before, &[&first, &next]).unwrap();
    assert!(!after.knows_content() && !after.volumes.contains_key("b"));
    assert_eq!(after.volumes["a"].identity, Some(identity(false)));
    assert_eq!(after.journal.unwrap().rolling_back_to, Some(PointId(0)));
}
