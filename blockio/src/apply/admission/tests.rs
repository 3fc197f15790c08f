//! Tests of admission: each rule, with a volume of which little is known.

use std::sync::LazyLock;

use super::*;
use crate::ErrorKind;
use crate::journal::state::Consumed;
use crate::remedy::{Remedy, StreamRemedy};
use crate::stream::{Name, StreamHeader};

static NOTHING: LazyLock<ApplyOptions> = LazyLock::new(ApplyOptions::default);
static RESIZE: LazyLock<ApplyOptions> =
    LazyLock::new(|| ApplyOptions { accept_resize: true, ..ApplyOptions::default() });
static OLDER: LazyLock<ApplyOptions> =
    LazyLock::new(|| ApplyOptions { accept_older: true, ..ApplyOptions::default() });
static BASE: LazyLock<ApplyOptions> =
    LazyLock::new(|| ApplyOptions { accept_base: true, ..ApplyOptions::default() });
static UNFINISHED: LazyLock<ApplyOptions> =
    LazyLock::new(|| ApplyOptions { accept_unfinished: true, ..ApplyOptions::default() });

fn header(from: &str, to: &str, size: u64) -> VolumeHeader {
    let name = |text: &str| (!text.is_empty()).then(|| Name::new(text.as_bytes()).unwrap());
    let size = (size > 0).then(|| ByteCount::new(size));
    VolumeHeader { name: None, size, from: name(from), to: name(to) }
}

fn fingerprint(format: Format, header: &VolumeHeader) -> Fingerprint {
    let volumes = vec![header.clone()];
    Fingerprint::of(&StreamHeader { format, is_in_write_order: true, identity: None, volumes }, 0)
}

/// Asks about an rbd diff for a disk of 1000 bytes, and a volume of a group with state `known`.
fn ask(header: &VolumeHeader, known: Option<&VolumeState>) -> Result<Admission> {
    ask_with(header, known, |_| {})
}

fn ask_with<'a>(
    header: &'a VolumeHeader,
    known: Option<&'a VolumeState>,
    change: impl FnOnce(&mut Question<'a>),
) -> Result<Admission> {
    let input: &'a Fingerprint = Box::leak(Box::new(fingerprint(Format::RbdDiff, header)));
    let mut question = Question {
        shown: "db on /dev/sdb",
        known,
        in_group: true,
        format: Format::RbdDiff,
        header,
        named: Named { input, before: input, has_identity: false, order: None },
        begun_files: &[],
        source_before: known.and_then(|known| known.source_bytes).map(ByteCount::new),
        capacity: ByteCount::new(1000),
        is_image_file: false,
        options: &NOTHING,
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
    assert!(error.has_remedy(), "{error}");
    error.to_string()
}

#[test]
fn the_next_link_of_the_chain_begins_at_the_beginning() {
    let admission = ask(&header("s1", "s2", 1000), Some(&at("s1"))).unwrap();
    assert_eq!(admission, Admission::new());
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
    known.in_between =
        Some(InBetween { input, position: 4096, exact: false, unordered: false, content: None });
    assert_eq!(ask(&begun, Some(&known)).unwrap().start, Start::After(4096));
    let refused = refusal(ask(&other, Some(&known)));
    assert!(refused.contains("byte 4096") && refused.contains("s1..s2"), "{refused}");
}

#[test]
fn a_source_of_another_size_than_before_is_refused_unless_accepted() {
    let resized = header("s1", "s2", 900);
    let refused = refusal(ask(&resized, Some(&at("s1"))));
    assert!(refused.contains("900") && refused.contains("1000"), "{refused}");
    let accept = |question: &mut Question| question.options = &RESIZE;
    assert!(ask_with(&resized, Some(&at("s1")), accept).is_ok());
}

#[test]
fn a_target_too_small_is_refused_and_only_an_image_file_can_be_grown() {
    let large = header("", "", 1001);
    refusal(ask(&large, None));
    let disk = |question: &mut Question| question.options = &RESIZE;
    refusal(ask_with(&large, None, disk));
    let image = |question: &mut Question| question.is_image_file = true;
    assert!(refusal(ask_with(&large, None, image)).contains("only 1000"));
    let both = |question: &mut Question| {
        (question.options, question.is_image_file) = (&RESIZE, true);
    };
    let grown = ask_with(&large, None, both).unwrap();
    assert_eq!(grown.grow_to, Some(ByteCount::new(1001)));
}

#[test]
fn a_target_that_is_larger_is_a_warning() {
    let warnings = ask(&header("", "", 999), None).unwrap().warnings;
    assert!(warnings.iter().any(|text| text.to_string().contains("only 999")), "{warnings:?}");
}

#[test]
fn what_cannot_be_known_of_a_new_volume_is_a_warning() {
    let delta = ask(&header("s1", "s2", 1000), None).unwrap().warnings;
    assert!(delta[0].to_string().contains("assuming that it is there"), "{delta:?}");
    let full = ask(&header("", "s1", 1000), None).unwrap().warnings;
    assert!(full[0].to_string().contains("must read as zeros"), "{full:?}");
}

fn consumed(bytes: u64) -> Consumed {
    Consumed { bytes, digest: "00".repeat(16), chained: true }
}

fn svd(time: u64) -> (Fingerprint, SourceOrder) {
    let mut identity = [0; 16];
    identity[8..].copy_from_slice(&time.to_be_bytes());
    let volumes = vec![VolumeHeader::default()];
    let header = StreamHeader {
        format: Format::Svd,
        is_in_write_order: false,
        identity: Some(identity),
        volumes,
    };
    (Fingerprint::of(&header, 0), SourceOrder { time, sequence: time })
}

/// The names of a stream with an identity.
fn with_identity((input, order): &(Fingerprint, SourceOrder)) -> Named<'_> {
    Named { input, before: input, has_identity: true, order: Some(*order) }
}

/// Asks about a stream without ends.
fn ask_plain(
    format: Format,
    named: &(Fingerprint, SourceOrder),
    known: &VolumeState,
    options: &'static ApplyOptions,
) -> Result<Admission> {
    let header = header("", "", 0);
    ask_with(&header, Some(known), |question| {
        question.format = format;
        question.named = with_identity(named);
        question.options = options;
    })
}

#[test]
fn the_last_link_with_what_it_held_is_compared_and_not_believed() {
    let second = header("s1", "s2", 1000);
    let mut known = at("s2");
    known.complete(fingerprint(Format::RbdDiff, &second));
    known.lineage.last_content = Some(consumed(77));
    assert_eq!(ask(&second, Some(&known)).unwrap().start, Start::Again(77));
}

#[test]
fn names_that_run_together_are_two_streams() {
    for (one, other) in [
        (("a", "b..c"), ("a..b", "c")),
        (("a.", "b"), ("a", ".b")),
        (("a", "b/7"), ("a", "b")),
        (("a", "%2e"), ("a", ".")),
    ] {
        let of = |ends: (&str, &str)| fingerprint(Format::RbdDiff, &header(ends.0, ends.1, 7));
        assert_ne!(of(one), of(other), "{one:?} {other:?}");
    }
    let none = fingerprint(Format::RbdDiff, &VolumeHeader::default());
    let empty = VolumeHeader { to: Name::new(b""), ..VolumeHeader::default() };
    assert_ne!(none, fingerprint(Format::RbdDiff, &empty));
    let plain = fingerprint(Format::RbdDiff, &header("2026.11.29", "day-2", 7));
    assert_eq!(plain.to_string(), "rbd-diff:2026.11.29..day-2/7@0", "as it always was");
}

#[test]
fn what_a_version_before_recorded_as_begun_is_gone_on_with() {
    let begun = header("a.", "b", 1000);
    let stream = || {
        let volumes = vec![begun.clone()];
        StreamHeader { format: Format::RbdDiff, is_in_write_order: false, identity: None, volumes }
    };
    let before = Fingerprint::of_before(&stream(), 0);
    assert_ne!(before, Fingerprint::of(&stream(), 0));
    let between = |content| InBetween {
        input: before.clone(),
        position: 9,
        exact: false,
        unordered: false,
        content,
    };
    let mut known = VolumeState { in_between: Some(between(None)), ..at("a.") };
    let go_on = |known: &VolumeState| {
        ask_with(&begun, Some(known), |question| question.named.before = &before)
    };
    assert_eq!(go_on(&known).unwrap().start, Start::After(9));
    known.in_between = Some(between(Some(consumed(9))));
    refusal(go_on(&known));
}

#[test]
fn after_a_diff_to_the_head_only_another_from_the_same_beginning_is_known_to_fit() {
    let to_head = header("s1", "", 1000);
    let mut known = VolumeState { ends_at: None, ..at("") };
    known.complete(fingerprint(Format::RbdDiff, &to_head));
    let mut of_before = known.clone();
    known.lineage.head = Some(Head { since: Some("s1".to_owned()) });
    // A state of a version that did not save the head derives it from the names of the last stream.
    of_before.lineage.head = None;
    for known in [&known, &of_before] {
        assert_eq!(ask(&to_head, Some(known)).unwrap().start, Start::Beginning);
        assert!(ask(&header("s1", "s2", 1000), Some(known)).is_ok());
        for (from, to) in [("s2", "s3"), ("", "s3"), ("s2", "")] {
            let link = header(from, to, 1000);
            let refused = refusal(ask(&link, Some(known)));
            assert!(refused.contains("from \"s1\" to an unnamed state"), "{refused}");
            let accepted = ask_with(&link, Some(known), |question| question.options = &BASE);
            assert_eq!(accepted.unwrap().warnings.len(), 1);
        }
    }
}

#[test]
fn after_an_image_without_a_name_a_diff_is_taken_with_a_warning() {
    let mut known = VolumeState { ends_at: None, ..at("") };
    let volumes = vec![VolumeHeader::default()];
    let raw = StreamHeader {
        format: Format::Raw,
        is_in_write_order: false,
        identity: Some([1; 16]),
        volumes,
    };
    known.complete(Fingerprint::of(&raw, 0));
    let admission = ask(&header("s1", "s2", 1000), Some(&known)).unwrap();
    assert!(
        admission.warnings[0].to_string().contains("assuming that it is there"),
        "{admission:?}"
    );
}

#[test]
fn an_svd_stream_that_is_older_than_the_last_is_left_out_or_refused() {
    let mut known = VolumeState::default();
    for time in [10, 30] {
        known.complete(svd(time).0);
        known.lineage.latest = Some(svd(time).1);
    }
    known.lineage.last_content = Some(consumed(5));
    let ask = |time, options| ask_plain(Format::Svd, &svd(time), &known, options);
    assert_eq!(ask(10, &NOTHING).unwrap().start, Start::Nowhere, "it was applied");
    assert_eq!(ask(30, &NOTHING).unwrap().start, Start::Again(5));
    assert_eq!(ask(31, &NOTHING).unwrap().start, Start::Beginning);
    let refused = refusal(ask(20, &NOTHING));
    assert!(refused.contains("the disk has newer data"), "{refused}");
    assert_eq!(ask(20, &OLDER).unwrap().start, Start::Beginning);
}

#[test]
fn a_native_stream_that_may_be_a_forgotten_one_is_refused() {
    let native = |number: u64| {
        let mut identity = [0; 16];
        identity[..8].copy_from_slice(&number.to_be_bytes());
        let volumes = vec![VolumeHeader::default()];
        let header = StreamHeader {
            format: Format::Native,
            is_in_write_order: true,
            identity: Some(identity),
            volumes,
        };
        (Fingerprint::of(&header, 0), SourceOrder { time: number, sequence: 0 })
    };
    let mut known = VolumeState::default();
    for number in 0..=APPLIED_COUNT_MAX as u64 {
        known.complete(native(number).0);
        known.lineage.latest = Some(native(number).1);
    }
    let ask = |number, options| ask_plain(Format::Native, &native(number), &known, options);
    assert_eq!(ask(1, &NOTHING).unwrap().start, Start::Nowhere, "it is remembered");
    let refused = refusal(ask(0, &NOTHING));
    assert!(refused.contains("may have been applied long ago"), "{refused}");
    assert_eq!(ask(0, &OLDER).unwrap().start, Start::Beginning);
    assert_eq!(ask(999, &NOTHING).unwrap().start, Start::Beginning);
}

#[test]
fn a_stream_that_was_begun_is_given_up_only_when_that_is_said() {
    let (begun, other) = (header("s1", "s2", 1000), header("s1", "s3", 1000));
    let ask = |exact, format: Format, options| {
        let input = fingerprint(Format::RbdDiff, &begun);
        let between = InBetween { input, position: 4096, exact, unordered: false, content: None };
        let known = VolumeState { in_between: Some(between), ..at("s1") };
        ask_with(&other, Some(&known), |question| {
            (question.format, question.options) = (format, options);
        })
    };
    let files = Vec::new;
    let remedy = |outcome: Result<Admission>| Remedy::of(&outcome.unwrap_err()).cloned();
    let give_up = Some(StreamRemedy::FinishOrGiveUp { files: files() }.into());
    assert_eq!(remedy(ask(true, Format::RbdDiff, &NOTHING)), give_up);
    assert_eq!(remedy(ask(false, Format::Raw, &NOTHING)), give_up);
    assert_eq!(ask(true, Format::RbdDiff, &UNFINISHED).unwrap().start, Start::Beginning);
    assert_eq!(ask(false, Format::Raw, &UNFINISHED).unwrap().start, Start::Beginning);
    // The content of the disk is unknown, and this replaces only part of it.
    let replace = Some(StreamRemedy::FinishOrReplace { files: files() }.into());
    assert_eq!(remedy(ask(false, Format::RbdDiff, &UNFINISHED)), replace);
}

mod rules;
