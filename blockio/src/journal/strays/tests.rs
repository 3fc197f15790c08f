//! Where a segment that no point has comes from: at each boundary, and for every error of the
//! kernel.

use super::*;
use crate::journal::by_hand::{ByHand, GENERATION, Written, device_of, memo, pool, state};
use crate::journal::catalogue::Catalogue;
use crate::journal::state_text;
use crate::remedy::{GroupRemedy, Remedy};

/// An epoch that the state does not have, with an image.
fn later() -> Written {
    Written::new(2, 1, 2).epoch(&memo(&[1], 2)).image(0, 0)
}

fn stray(storage: ByHand, state: &GroupState, number: u64) -> Result<Stray> {
    look(&storage.arc(), state, SegmentNumber(number), &pool())
}

/// Where the only segment comes from.
fn whose(state: &GroupState, segment: &Written) -> Stray {
    stray(ByHand::with(&[segment]), state, segment.header.number.0).unwrap()
}

#[test]
fn what_the_kernel_says_of_a_segment_is_told_and_one_that_is_gone_may_go() {
    for good in [0, 1] {
        let gone = ByHand::with(&[&later()]).failing_opens(good, libc::ENOENT);
        assert_eq!(stray(gone, &state(&[]), 2).unwrap(), Stray::MayGo);
        let fails = ByHand::with(&[&later()]).failing_opens(good, libc::EIO);
        let error = stray(fails, &state(&[]), 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert_eq!(error.to_string(), "reading segment 2 of the retention journal");
    }
}

#[test]
fn a_segment_that_never_came_to_be_one_may_go() {
    let storage = ByHand::default();
    storage.put(2, device_of(&[1; 4096]));
    assert_eq!(stray(storage, &state(&[]), 2).unwrap(), Stray::MayGo);
    // Its blocks were those of another segment.
    let moved = later().with(|header| header.generation = GENERATION + 1);
    let storage = ByHand::with(&[&moved]);
    storage.put(3, device_of(&header_of_disk(&moved)));
    assert_eq!(stray(storage, &state(&[]), 3).unwrap(), Stray::MayGo);
}

fn header_of_disk(of: &Written) -> Vec<u8> {
    let mut block = vec![0; crate::journal::layout::BLOCK_BYTES];
    of.header.write(&mut block);
    block
}

#[test]
fn only_images_of_a_later_epoch_of_the_log_tell_of_a_newer_state() {
    let state = state(&[]);
    assert_eq!(whose(&state, &later()), Stray::OfALaterPoint(PointId(1)));
    let begun = Written::new(2, 1, 2).epoch(&memo(&[1], 2));
    assert_eq!(whose(&state, &begun), Stray::MayGo);
    assert_eq!(whose(&state, &Written::new(2, 0, 2).image(0, 0)), Stray::MayGo);
    let last = Written::new(2, 1, COPIES_FROM - 1).image(0, 0);
    assert_eq!(whose(&state, &last), Stray::OfALaterPoint(PointId(1)));
    let copy = Written::new(2, 1, COPIES_FROM).image(0, 0);
    assert_eq!(whose(&state, &copy), Stray::MayGo);
}

#[test]
fn who_read_the_state_before_a_newer_one_was_saved_finds_nothing_wrong() {
    let now = state(&[]);
    for (saved_since, expected) in [(0, Stray::OfALaterPoint(PointId(1))), (1, Stray::MayGo)] {
        let mut saved = now.clone();
        (0..saved_since).for_each(|_| saved.begin_generation());
        let text = Some(state_text::print(&saved));
        let storage = ByHand::with(&[&later()]).with_copies([Ok(text.clone()), Ok(text)]);
        assert_eq!(stray(storage, &now, 2).unwrap(), expected, "{saved_since}");
    }
    let mut looked_at = now.clone();
    looked_at.begin_generation();
    let text = Some(state_text::print(&now));
    let storage = ByHand::with(&[&later()]).with_copies([Ok(text.clone()), Ok(text)]);
    assert_eq!(stray(storage, &looked_at, 2).unwrap(), Stray::OfALaterPoint(PointId(1)));
}

#[test]
fn a_segment_of_another_history_may_go_only_if_that_was_dropped_and_is_no_newer() {
    let known = state(&[]);
    let segment = Written::new(2, 0, 2);
    let other = segment.clone().with(|header| header.journal = [8; 16]);
    assert_eq!(whose(&known, &other), Stray::OfAnotherJournal);
    let mut dropped = known.clone();
    dropped.drop_history();
    assert_eq!(whose(&dropped, &segment), Stray::MayGo);
    dropped.journal = Some(Catalogue::new([8; 16], 1));
    assert_eq!(whose(&dropped, &segment), Stray::MayGo);
    let newer = segment.with(|header| header.generation = GENERATION + 1);
    for state in [&known, &dropped] {
        assert_eq!(whose(state, &newer), Stray::Newer(GENERATION + 1));
    }
}

#[test]
fn nothing_goes_if_one_of_all_must_not() {
    let [may_go, newer] = [Written::new(1, 0, 1), later()];
    let storage = ByHand::with(&[&may_go, &newer]).arc();
    let require =
        |listed: &[SegmentNumber]| require_all_may_go(&storage, &state(&[]), listed, &pool());
    assert!(require(&[SegmentNumber(1)]).is_ok());
    let error = require(&[SegmentNumber(1), SegmentNumber(2)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    let told = error.to_string();
    assert!(told.starts_with("segment 2 of the retention journal is newer than"), "{told}");
    let remedy = GroupRemedy::PutNewerStateBack;
    assert_eq!(Remedy::of(&error), Some(&remedy.into()));
}

#[test]
fn a_history_whose_last_segment_is_gone_or_of_another_is_not_there() {
    let segment = Written::new(1, 0, 1).epoch(&memo(&[0], 1));
    let state = state(&[&segment]);
    let notice = |storage: ByHand| not_there(&storage.arc(), &state, &pool());
    assert_eq!(notice(ByHand::with(&[&segment])).unwrap(), None);
    let told = |why: &str| {
        Some(Notice::HistoryNotThere { segment: SegmentNumber(1), why: why.to_owned() })
    };
    assert_eq!(notice(ByHand::default()).unwrap(), told("there is none"));
    let other = segment.clone().with(|header| header.journal = [8; 16]);
    let foreign = notice(ByHand::with(&[&other])).unwrap();
    assert_eq!(foreign, told("it belongs to another journal"));
    // Damage is reported elsewhere.
    let damaged = ByHand::default();
    damaged.put(1, device_of(&[1; 4096]));
    assert_eq!(notice(damaged).unwrap(), None);
    let fails = ByHand::with(&[&segment]).failing_opens(0, libc::EIO);
    assert_eq!(notice(fails).unwrap_err().kind(), ErrorKind::Failed);
}
