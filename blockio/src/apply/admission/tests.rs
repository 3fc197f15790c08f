//! Tests of admission: each rule, with a volume that knows a little.

use super::*;
use crate::ErrorKind;
use crate::journal::state::InBetween;
use crate::stream::{Name, StreamHeader};

fn header(from: &str, to: &str, size: u64) -> VolumeHeader {
    let name = |text: &str| (!text.is_empty()).then(|| Name::new(text.as_bytes()).unwrap());
    let size = (size > 0).then(|| ByteCount::new(size));
    VolumeHeader { name: None, size, from: name(from), to: name(to) }
}

fn fingerprint(format: Format, header: &VolumeHeader) -> Fingerprint {
    let volumes = vec![header.clone()];
    Fingerprint::of(&StreamHeader { format, identity: None, volumes }, 0)
}

/// An rbd diff for a disk of 1000 bytes, and a volume of a group that knows `known`.
fn ask(header: &VolumeHeader, known: Option<&VolumeState>) -> Result<Admission> {
    ask_with(header, known, |_| {})
}

fn ask_with(
    header: &VolumeHeader,
    known: Option<&VolumeState>,
    change: impl FnOnce(&mut Question<'_>),
) -> Result<Admission> {
    let mut question = Question {
        shown: "db on /dev/sdb",
        known,
        in_group: true,
        format: Format::RbdDiff,
        header,
        input: &fingerprint(Format::RbdDiff, header),
        identity: "6000c29",
        capacity: ByteCount::new(1000),
        is_image_file: false,
        accept_resize: false,
    };
    change(&mut question);
    admit(&question)
}

fn at(snapshot: &str) -> VolumeState {
    VolumeState {
        target: Some("6000c29".to_owned()),
        source_bytes: Some(1000),
        target_bytes: 1000,
        ends_at: Some(snapshot.to_owned()),
        ..VolumeState::default()
    }
}

fn refusal(outcome: Result<Admission>) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.hint().is_some(), "{error}");
    error.to_string()
}

#[test]
fn the_next_link_of_the_chain_begins_at_the_beginning() {
    let admission = ask(&header("s1", "s2", 1000), Some(&at("s1"))).unwrap();
    assert_eq!(admission, Admission { start: Start::Beginning, grow_to: None, warnings: vec![] });
}

#[test]
fn a_gap_in_the_chain_is_refused_and_named() {
    let gap = refusal(ask(&header("s2", "s3", 1000), Some(&at("s1"))));
    assert!(gap.contains("begins at \"s2\"") && gap.contains("at \"s1\""), "{gap}");
    let anew = refusal(ask(&header("", "s3", 1000), Some(&at("s1"))));
    assert!(anew.contains("begins at nothing"), "{anew}");
}

#[test]
fn the_last_link_again_is_nothing_to_do_and_an_earlier_one_is_a_gap() {
    let (first, second) = (header("", "s1", 1000), header("s1", "s2", 1000));
    let mut known = at("s2");
    known.complete(fingerprint(Format::RbdDiff, &first));
    known.complete(fingerprint(Format::RbdDiff, &second));
    assert_eq!(ask(&second, Some(&known)).unwrap().start, Start::Nowhere);
    refusal(ask(&first, Some(&known)));
}

#[test]
fn an_svd_stream_that_comes_twice_is_applied_twice() {
    let header = header("", "", 0);
    let mut known = VolumeState::default();
    known.complete(fingerprint(Format::Svd, &header));
    let again = ask_with(&header, Some(&known), |question| question.format = Format::Svd);
    assert_eq!(again.unwrap().start, Start::Beginning);
}

#[test]
fn a_volume_in_between_takes_only_the_stream_that_was_begun() {
    let (begun, other) = (header("s1", "s2", 1000), header("s1", "s3", 1000));
    let mut known = at("s1");
    let input = fingerprint(Format::RbdDiff, &begun);
    known.in_between = Some(InBetween { input, position: 4096, exact: false });
    assert_eq!(ask(&begun, Some(&known)).unwrap().start, Start::After(4096));
    let refused = refusal(ask(&other, Some(&known)));
    assert!(refused.contains("byte 4096") && refused.contains("s1..s2"), "{refused}");
}

#[test]
fn another_disk_than_before_is_refused_whatever_the_stream() {
    let other = |question: &mut Question<'_>| question.identity = "6000c30";
    let refused = refusal(ask_with(&header("s1", "s2", 1000), Some(&at("s1")), other));
    assert!(refused.contains("6000c29") && refused.contains("6000c30"), "{refused}");
}

#[test]
fn a_source_of_another_size_than_before_is_refused_unless_accepted() {
    let resized = header("s1", "s2", 900);
    let refused = refusal(ask(&resized, Some(&at("s1"))));
    assert!(refused.contains("900") && refused.contains("1000"), "{refused}");
    let accept = |question: &mut Question<'_>| question.accept_resize = true;
    assert!(ask_with(&resized, Some(&at("s1")), accept).is_ok());
}

#[test]
fn a_target_too_small_is_refused_and_only_an_image_file_can_be_grown() {
    let large = header("", "", 1001);
    refusal(ask(&large, None));
    let disk = |question: &mut Question<'_>| question.accept_resize = true;
    refusal(ask_with(&large, None, disk));
    let image = |question: &mut Question<'_>| question.is_image_file = true;
    assert!(refusal(ask_with(&large, None, image)).contains("only 1000"));
    let both = |question: &mut Question<'_>| {
        (question.accept_resize, question.is_image_file) = (true, true);
    };
    let grown = ask_with(&large, None, both).unwrap();
    assert_eq!(grown.grow_to, Some(ByteCount::new(1001)));
}

#[test]
fn a_target_that_is_larger_is_a_warning() {
    let warnings = ask(&header("", "", 999), None).unwrap().warnings;
    assert!(warnings.iter().any(|text| text.contains("only 999")), "{warnings:?}");
}

#[test]
fn what_cannot_be_known_of_a_new_volume_is_a_warning() {
    let delta = ask(&header("s1", "s2", 1000), None).unwrap().warnings;
    assert!(delta[0].contains("taken to be there"), "{delta:?}");
    let full = ask(&header("", "s1", 1000), None).unwrap().warnings;
    assert!(full[0].contains("must read as zeros"), "{full:?}");
}
