//! What counts in an open epoch: durable records, and intact ones after them.

use super::*;
use crate::journal::by_hand::{ByHand, Written, memo, pool, state};

/// The open epoch: a segment with its first record.
fn first() -> Written {
    Written::new(1, 0, 1).epoch(&memo(&[0], 1))
}

fn opened(state: &GroupState, segments: &[&Written]) -> Result<Opened> {
    open_epoch(&ByHand::with(segments).arc(), state, &pool())
}

#[test]
fn a_segment_ends_where_the_next_one_that_was_saved_begins() {
    let (first, second) = (first(), Written::new(2, 0, 2).epoch(&memo(&[0], 2)));
    let state = state(&[&first, &second]);
    // It was written by a session that was killed, and another one did not continue from it.
    let longer = first.clone().epoch(&memo(&[0], 2));
    let found = opened(&state, &[&longer, &second]).unwrap();
    assert_eq!(found.spans, [first.span(), second.span()]);
    assert_eq!(found.next_record, 3);
}

#[test]
fn what_was_durable_is_believed_and_what_follows_only_if_it_is_whole() {
    let (saved, damaged) = (first(), first().damaged());
    let found = opened(&state(&[&saved]), &[&damaged]).unwrap();
    assert_eq!((found.next_record, found.notes.len()), (2, 0));
    let torn = saved.clone().epoch(&memo(&[0], 2)).damaged();
    let found = opened(&state(&[&saved]), &[&torn]).unwrap();
    assert_eq!((found.next_record, found.spans), (2, vec![saved.span()]));
    assert_eq!(found.notes, [Notice::TornRecord { record: 2, segment: SegmentNumber(1) }]);
    let whole = saved.clone().epoch(&memo(&[0], 2));
    let found = opened(&state(&[&saved]), &[&whole]).unwrap();
    assert_eq!((found.next_record, found.spans, found.notes), (3, vec![whole.span()], vec![]));
}

#[test]
fn what_was_durable_and_is_missing_is_told_from_the_first_to_the_last() {
    let saved = first();
    let mut state = state(&[&saved]);
    state.journal.as_mut().unwrap().next_record = 5;
    let error = opened(&state, &[&saved]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    let told = error.to_string();
    assert!(
        told.contains("record 2 is missing or damaged, although records up to 4 were"),
        "{told}"
    );
}

#[test]
fn a_segment_that_is_gone_is_damage_and_one_that_cannot_be_opened_is_not() {
    let saved = first();
    for (errno, expected) in [(libc::ENOENT, ErrorKind::Integrity), (libc::EIO, ErrorKind::Failed)]
    {
        let storage = ByHand::with(&[&saved]).failing_opens(0, errno).arc();
        let error = open_epoch(&storage, &state(&[&saved]), &pool()).unwrap_err();
        assert_eq!(error.kind(), expected, "{}", error.chain());
        assert!(error.chain().contains("os error"), "{}", error.chain());
    }
    let none = Written::new(1, 0, 1).with(|header| header.journal = [8; 16]);
    let error = opened(&state(&[&saved]), &[&none]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
}

#[test]
fn what_is_relied_on_of_the_open_epoch_was_flushed_before() {
    let saved = first();
    let storage = ByHand::default();
    storage.put(1, saved.clone().device().failing_flushes(0, libc::EIO));
    let error = open_epoch(&storage.arc(), &state(&[&saved]), &pool()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
}
