//! Streams that begin: where they are applied from, and what the source is answered.

use super::*;
use crate::apply::session::record::ends;
use crate::journal::state::{GroupState, Head, InBetween};
use crate::volume::{self, TargetRequest};

/// Puts the volume "db" in the middle of the stream that begins with `header`, or at its end.
fn know(session: &mut Session<'_>, header: &StreamHeader, position: u64, exact: Option<bool>) {
    let input = Fingerprint::of(header, 10);
    let content = Some(consumed(position));
    let change = |state: &mut GroupState| {
        let known = state.volumes.entry("db".into()).or_default();
        match exact {
            Some(exact) => {
                let unordered = false;
                known.in_between = Some(InBetween { input, position, exact, unordered, content });
            }
            None => {
                known.complete(input);
                known.lineage.last_content = content;
            }
        }
    };
    session.group.overwrite(change).unwrap();
}

fn consumed(bytes: u64) -> Consumed {
    Consumed { bytes, digest: "00".repeat(16), chained: true }
}

/// The byte from which the stream is applied, and the content it is compared with up to there.
fn answer(session: &mut Session<'_>, header: StreamHeader) -> (u64, Vec<Consumed>) {
    match session.first_stream(header, None, 10).unwrap() {
        Answer::Apply { resume_after, expected, .. } => (resume_after, expected),
        Answer::SkipInput => panic!("it is skipped"),
    }
}

#[test]
fn a_stream_that_is_new_is_applied_from_its_beginning() {
    plain_session(ApplyOptions::default(), |session, _| {
        assert_eq!(answer(session, header(&["db"])), (0, vec![]));
        assert!(!session.input.as_ref().unwrap().is_again);
        assert_eq!(session.summary.resumed_from, None);
        assert_eq!(session.volumes.get(0).unsure_from, None);
    });
}

#[test]
fn one_that_was_begun_is_gone_on_with_and_told() {
    for exact in [true, false] {
        plain_session(ApplyOptions::default(), |session, _| {
            know(session, &header(&["db"]), 77, Some(exact));
            assert_eq!(answer(session, header(&["db"])), (77, vec![consumed(77)]));
            assert_eq!(session.summary.resumed_from, Some(77));
            assert!(!session.input.as_ref().unwrap().is_again);
            // It is unknown what the run that was cut short wrote.
            let unsure_from = (!exact).then_some(77);
            assert_eq!(session.volumes.get(0).unsure_from, unsure_from);
        });
    }
}

#[test]
fn one_that_comes_again_is_compared_and_not_told_as_gone_on_with() {
    plain_session(ApplyOptions::default(), |session, _| {
        know(session, &link("s1", "s2"), 77, None);
        assert_eq!(answer(session, link("s1", "s2")), (77, vec![consumed(77)]));
        assert_eq!(session.summary.resumed_from, None);
        assert!(session.input.as_ref().unwrap().is_again);
    });
}

#[test]
fn what_is_begun_anew_is_not_held_against_what_was_begun() {
    plain_session(ApplyOptions::default(), |session, _| {
        know(session, &link("s1", ""), 77, Some(true));
        assert_eq!(answer(session, link("s1", "")), (0, vec![]), "it has no name");
    });
}

#[test]
fn another_stream_of_an_input_is_asked_about_unless_it_was_applied_before() {
    for (consumed, is_refused) in [(49, false), (50, false), (51, true)] {
        plain_session(ApplyOptions::default(), |session, _| {
            let change = |state: &mut GroupState| {
                let known = state.volumes.entry("db".into()).or_default();
                known.ends_at = Some("s1".to_owned());
            };
            session.group.overwrite(change).unwrap();
            feed(session, begin(link("s1", "s2")));
            session.input.as_mut().unwrap().resumed = 50;
            // The part between them is missing.
            let next = session.next_stream(link("s8", "s9"), None, consumed);
            assert_eq!(next.is_err(), is_refused, "at byte {consumed}");
        });
    }
}

#[test]
fn points_by_the_clock_are_not_promised_for_a_stream_out_of_order() {
    let directory = tempfile::tempdir().unwrap();
    let every = Some(Duration::from_secs(60));
    for (group, point_every, is_in_write_order, is_refused) in [
        (with_history(), every, false, true),
        (with_history(), every, true, false),
        (with_history(), None, false, false),
        (without_history(&directory), every, false, false),
    ] {
        let options = ApplyOptions { point_every, ..ApplyOptions::default() };
        session(vec![on("db", disk())], group, options, |session, _| {
            let stream = StreamHeader { is_in_write_order, ..header(&["db"]) };
            let required = session.require_order_if_timed(&stream);
            assert_eq!(required.is_err(), is_refused, "{point_every:?} {is_in_write_order}");
        });
    }
}

#[test]
fn only_a_dry_run_that_would_grow_an_image_file_has_no_bound() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    File::create(&path).unwrap().set_len(SIZE).unwrap();
    for (dry_run, accept_resize, is_image, is_bound) in [
        (true, true, true, false),
        (true, true, false, true),
        (true, false, true, true),
        (false, true, true, true),
        (false, false, false, true),
    ] {
        let mut assignment = on("db", disk());
        if is_image {
            let request = TargetRequest { path: path.clone(), ..TargetRequest::default() };
            assignment.target = volume::open(&request).unwrap().into();
        }
        let options = ApplyOptions { dry_run, accept_resize, ..ApplyOptions::default() };
        session(vec![assignment], Group::default(), options, |session, _| {
            let bounds = session.bounds(&header(&["db"]), &[0]).unwrap();
            let target = is_bound.then(|| ByteCount::new(SIZE));
            assert_eq!(bounds, [Bounds { source: Some(ByteCount::new(SIZE)), target }]);
        });
    }
}

#[test]
fn only_a_link_that_ends_at_no_snapshot_leads_to_the_head() {
    let of = |header: StreamHeader| ends(header.format, &header.volumes[0]);
    let named = of(link("s1", "s2"));
    assert_eq!((named.at.as_deref(), named.head), (Some("s2"), None));
    assert_eq!(of(link("s1", "")).head, Some(Head { since: Some("s1".to_owned()) }));
    let plain = of(header(&["db"]));
    assert_eq!((plain.at, plain.head), (None, None));
}

#[test]
fn volumes_that_no_stream_had_are_told_unless_inputs_were_left_out() {
    for left_out in [0, 1] {
        let both = vec![on("db", disk()), on("typo", disk())];
        session(both, Group::default(), ApplyOptions::default(), |session, told| {
            feed(session, begin(header(&["db"])));
            session.summary.inputs_left_out = left_out;
            let _ = told.heard();
            assert!(matches!(session.take(Fed::Done), Ok(Next::End(Ending::Complete))));
            let heard = told.heard();
            match left_out {
                0 => assert!(heard.len() == 1 && heard[0].contains("typo on disk"), "{heard:?}"),
                _ => assert!(heard.is_empty(), "{heard:?}"),
            }
        });
    }
}
