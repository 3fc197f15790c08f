//! The boundary of each rule: just inside it, and just outside.

use super::*;

/// A stream without ends, made by its source at `time`, with an identity made of `number`.
fn numbered(format: Format, number: u8, time: u64) -> (Fingerprint, SourceOrder) {
    let volumes = vec![VolumeHeader::default()];
    let identity = Some([number; 16]);
    let header = StreamHeader { format, is_in_write_order: true, identity, volumes };
    (Fingerprint::of(&header, 0), SourceOrder { time, sequence: 0 })
}

/// A volume to which these were applied to their end.
fn after(applied: &[(Fingerprint, SourceOrder)]) -> VolumeState {
    let mut known = VolumeState::default();
    for (fingerprint, order) in applied {
        known.complete(fingerprint.clone());
        known.lineage.latest = Some(*order);
    }
    known
}

fn begun(input: &Fingerprint, position: u64) -> Option<InBetween> {
    let (exact, unordered, content) = (false, false, None);
    Some(InBetween { input: input.clone(), position, exact, unordered, content })
}

#[test]
fn only_the_order_of_svd_streams_is_asked_about_within_an_input() {
    let (earlier, later) = (numbered(Format::Svd, 1, 10), numbered(Format::Svd, 2, 20));
    let (header, known) = (header("", "", 0), after(&[later]));
    let next = |format| {
        let named = with_identity(&earlier);
        admit_next(&Question {
            shown: "db on /dev/sdb",
            known: Some(&known),
            in_group: true,
            format,
            header: &header,
            named,
            begun_files: &[],
            source_before: None,
            capacity: ByteCount::new(1000),
            is_image_file: false,
            options: &NOTHING,
        })
    };
    assert!(refusal(next(Format::Svd)).contains("has newer data"));
    assert_eq!(next(Format::Native).unwrap().start, Start::Beginning);
}

#[test]
fn a_volume_that_is_ahead_in_a_later_stream_leaves_out_a_native_one_that_it_had() {
    let later = numbered(Format::Native, 2, 20).0;
    for format in [Format::Native, Format::Svd] {
        let (had, new) = (numbered(format, 1, 10), numbered(format, 3, 15));
        let known =
            VolumeState { in_between: begun(&later, 7), ..after(std::slice::from_ref(&had)) };
        let ask = |named| ask_plain(format, named, &known, &NOTHING);
        match format {
            Format::Native => assert_eq!(ask(&had).unwrap().start, Start::Nowhere),
            _ => assert!(refusal(ask(&had)).contains("was begun")),
        }
        assert!(refusal(ask(&new)).contains("was begun"));
    }
}

#[test]
fn the_last_link_is_known_by_either_of_its_spellings() {
    let link = header("a.", "b", 1000);
    let (now, before) = (fingerprint(Format::RbdDiff, &link), svd(1).0);
    for last in [&now, &before] {
        let mut known = at("b");
        known.complete(last.clone());
        let asked = ask_with(&link, Some(&known), |question| question.named.before = &before);
        let admission = asked.unwrap();
        assert_eq!(admission.start, Start::Nowhere);
        assert!(admission.warnings[0].to_string().contains("not recorded"), "{admission:?}");
    }
}

#[test]
fn an_svd_stream_as_late_as_the_last_one_is_not_older() {
    // Its content was not recorded: it is applied again.
    let known = after(&[svd(30)]);
    let again = ask_plain(Format::Svd, &svd(30), &known, &NOTHING);
    assert_eq!(again.unwrap().start, Start::Beginning);
}

#[test]
fn while_all_streams_are_remembered_a_native_one_may_be_earlier_than_the_last() {
    let earlier = numbered(Format::Native, 1, 5);
    let mut known = after(&[numbered(Format::Native, 2, 7)]);
    let (as_late, later) = (numbered(Format::Native, 3, 7), numbered(Format::Native, 3, 8));
    let ask = |known: &VolumeState, named: &(Fingerprint, SourceOrder)| {
        ask_plain(Format::Native, named, known, &NOTHING)
    };
    assert_eq!(ask(&known, &earlier).unwrap().start, Start::Beginning);
    // Few streams are remembered, and there were others before them.
    known.lineage.forgets = true;
    assert!(refusal(ask(&known, &earlier)).contains("long ago"));
    assert!(refusal(ask(&known, &as_late)).contains("long ago"));
    assert_eq!(ask(&known, &later).unwrap().start, Start::Beginning);
}

#[test]
fn the_ends_of_a_native_link_say_where_it_belongs_whatever_is_forgotten() {
    let link = header("s1", "s2", 0);
    let named = numbered(Format::Native, 1, 5);
    let mut known = after(&[numbered(Format::Native, 2, 7)]);
    (known.lineage.forgets, known.ends_at) = (true, Some("s1".to_owned()));
    let asked = ask_with(&link, Some(&known), |question| {
        question.format = Format::Native;
        question.named = with_identity(&named);
    });
    assert_eq!(asked.unwrap().start, Start::Beginning);
}

#[test]
fn what_has_no_name_of_its_own_is_not_gone_on_with_in_the_middle() {
    let cases = [
        (Format::RbdDiff, header("s1", "", 1000), false, 0),
        (Format::RbdDiff, header("s1", "s2", 1000), false, 4096),
        // A pipe: a size given by the operator does not distinguish it from others of the same
        // length.
        (Format::Raw, header("", "", 0), false, 0),
        (Format::Raw, header("", "", 1000), false, 0),
        (Format::Raw, header("", "", 1000), true, 4096),
        (Format::Native, header("", "", 0), true, 4096),
        (Format::Svd, header("", "", 0), true, 4096),
    ];
    for (format, header, has_identity, position) in cases {
        let input = fingerprint(format, &header);
        let known = VolumeState { in_between: begun(&input, 4096), ..VolumeState::default() };
        let asked = ask_with(&header, Some(&known), |question| {
            question.format = format;
            question.named = Named { input: &input, before: &input, has_identity, order: None };
        });
        assert_eq!(asked.unwrap().start, Start::After(position), "{format} {header:?}");
    }
}

#[test]
fn without_a_group_nobody_is_told_that_nothing_is_known() {
    let no_group = |question: &mut Question| question.in_group = false;
    let delta = ask_with(&header("s1", "s2", 1000), None, no_group).unwrap();
    assert_eq!(delta.warnings, []);
}

#[test]
fn an_image_needs_no_disk_of_zeros_and_follows_whatever_the_volume_is_at() {
    let image = header("", "", 1000);
    let raw = |question: &mut Question| question.format = Format::Raw;
    for known in [None, Some(at("s1"))] {
        let admission = ask_with(&image, known.as_ref(), raw).unwrap();
        assert_eq!((admission.start, admission.warnings), (Start::Beginning, vec![]));
    }
}

#[test]
fn a_link_after_a_stream_without_ends_is_taken_only_when_that_is_said() {
    let known = after(&[numbered(Format::Native, 1, 1)]);
    let link = header("s1", "s2", 1000);
    let refused = refusal(ask(&link, Some(&known)));
    assert!(refused.contains("led to an unnamed state"), "{refused}");
    let accepted = ask_with(&link, Some(&known), |question| question.options = &BASE).unwrap();
    assert!(accepted.warnings[0].to_string().contains("assuming that"), "{accepted:?}");
}

#[test]
fn a_stream_with_either_of_its_ends_is_a_link() {
    for (format, from, to, expected) in [
        (Format::RbdDiff, "", "", true),
        (Format::Native, "s1", "", true),
        (Format::Native, "", "s2", true),
        (Format::Native, "", "", false),
        (Format::Raw, "", "", false),
    ] {
        assert_eq!(is_chained(format, &header(from, to, 0)), expected, "{format} {from}..{to}");
    }
}
