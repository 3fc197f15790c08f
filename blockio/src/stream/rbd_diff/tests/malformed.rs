//! Everything that is not an rbd diff is refused at the right position, and nothing of it is
//! returned.

use crate::extent::ExtentError;
use crate::stream::rbd_diff::tests::{
    Seen, data, decode, decode_sound, diff, export, name, record, size, zero,
};
use crate::stream::rbd_diff::{SKIPPED_RECORD_BYTES_MAX, Version};
use crate::stream::{Malformed, NAME_BYTES_MAX, Name, Problem};

const V1: Version = Version::V1;
const V2: Version = Version::V2;

/// `input` is refused at `offset`, without a batch.
#[track_caller]
fn refused(input: &[u8], offset: usize, problem: Problem) {
    let (seen, outcome) = decode(input);
    assert_eq!(outcome, Err(Malformed::new(offset as u64, problem)));
    let given = seen.iter().any(|event| !matches!(event, Seen::Begin(_)));
    assert!(!given, "{seen:?}");
}

/// A diff of `before` and `wrong` is refused where `wrong` begins.
#[track_caller]
fn refused_record(version: Version, before: &[Vec<u8>], wrong: Vec<u8>, problem: Problem) {
    let offset = 12 + before.concat().len();
    refused(&diff(version, &[&before.concat()[..], &wrong].map(<[u8]>::to_vec)), offset, problem);
}

/// The same, for both versions.
#[track_caller]
fn refused_by_both(records: impl Fn(Version) -> (Vec<Vec<u8>>, Vec<u8>), problem: Problem) {
    for version in [V1, V2] {
        let (before, wrong) = records(version);
        refused_record(version, &before, wrong, problem.clone());
    }
}

#[test]
fn other_formats_and_versions_are_told_apart() {
    for other in [
        b"RBD DIFF V1\n",
        b"rbd diff v1\r",
        b"rbd diff vX\n",
        b"rbd image vX",
        b"QFI\xfb\0\0\0\x03....",
    ] {
        refused(other, 0, Problem::WrongFormat("rbd diff"));
    }
    refused(b"rbd diff v3\n.....", 0, Problem::UnknownVersion(3));
    refused(b"rbd image v1\n.....", 0, Problem::UnknownVersion(1));
    refused(b"rbd image v2\r", 12, Problem::WrongFormat("rbd image"));
}

#[test]
fn an_input_cut_off_anywhere_is_refused_where_it_ends() {
    let lone = |version| {
        let ends = [name(version, b'f', "one"), name(version, b't', "two")].concat();
        let content = [size(version, 99), data(version, 5, b"hello"), zero(version, 50, 40)];
        diff(version, &[ends, content.concat()])
    };
    let skipped = diff(V2, &[record(V2, b'?', &[b"abc"]), size(V2, 9), zero(V2, 0, 9)]);
    for whole in [lone(V1), lone(V2), export(std::slice::from_ref(&skipped)), skipped] {
        decode_sound(&whole);
        for length in 0..whole.len() {
            refused(&whole[..length], length, Problem::Truncated);
        }
    }
}

#[test]
fn bytes_after_the_end_are_refused_and_the_batch_before_them_is_not_given() {
    for version in [V1, V2] {
        let whole = diff(version, &[size(version, 9), data(version, 0, b"abc")]);
        let twice = [&whole[..], &whole].concat();
        refused(&twice, whole.len(), Problem::TrailingBytes);
        refused(&[&whole[..], b"e"].concat(), whole.len(), Problem::TrailingBytes);
        if version == V2 {
            let export = export(&[whole]);
            refused(&[&export[..], b"\n"].concat(), export.len(), Problem::TrailingBytes);
        }
    }
}

#[test]
fn metadata_are_refused_twice_and_after_the_first_data() {
    for (tag, letter) in [(b'f', "f"), (b't', "t"), (b's', "s"), (b'p', "p")] {
        let one = |version| match tag {
            b's' => size(version, 9),
            b'p' => record(version, b'p', &[&[0]]),
            tag => name(version, tag, "name"),
        };
        let versions = if tag == b'p' { &[V2][..] } else { &[V1, V2] };
        for version in versions.iter().copied() {
            let twice = (vec![one(version)], one(version));
            refused_record(version, &twice.0, twice.1, Problem::Repeated(letter));
            for first in [data(version, 0, b"abc"), zero(version, 0, 9)] {
                let before = [size(version, 9), first];
                refused_record(version, &before, one(version), Problem::Misplaced(letter));
            }
        }
    }
}

#[test]
fn a_diff_without_its_size_is_refused_where_its_data_begin() {
    for version in [V1, V2] {
        let before = [name(version, b't', "name")];
        for first in [data(version, 0, b"abc"), zero(version, 0, 9), b"e".to_vec()] {
            refused_record(version, &before, first, Problem::Missing("s"));
        }
    }
}

#[test]
fn ranges_that_are_empty_wrap_around_or_pass_the_size_are_refused() {
    let after_data = |version, wrong: Vec<u8>| {
        (vec![size(version, 100), data(version, 0, b"abc"), zero(version, 9, 91)], wrong)
    };
    let empty = || Problem::Range(ExtentError::Empty { start: 7 });
    refused_by_both(|version| after_data(version, data(version, 7, b"")), empty());
    refused_by_both(|version| after_data(version, zero(version, 7, 0)), empty());
    let wrapped = || Problem::Range(ExtentError::Overflow { start: u64::MAX - 1, length: 2 });
    refused_by_both(|version| after_data(version, data(version, u64::MAX - 1, b"ab")), wrapped());
    refused_by_both(|version| after_data(version, zero(version, u64::MAX - 1, 2)), wrapped());
    let past = || Problem::PastEnd { end: 101, size: 100 };
    refused_by_both(|version| after_data(version, data(version, 98, b"abc")), past());
    refused_by_both(|version| after_data(version, zero(version, 0, 101)), past());
}

#[test]
fn names_that_are_empty_or_too_long_are_refused() {
    let most = "n".repeat(NAME_BYTES_MAX);
    let (what, limit) = ("a name's length", NAME_BYTES_MAX as u64);
    let too_large = Problem::TooLarge { what, found: limit + 1, limit };
    for tag in [b'f', b't'] {
        for version in [V1, V2] {
            decode_sound(&diff(version, &[name(version, tag, &most), size(version, 9)]));
        }
        let longer = |version| (vec![size(version, 9)], name(version, tag, &format!("{most}n")));
        refused_by_both(longer, too_large.clone());
        let empty = |version| (vec![size(version, 9)], name(version, tag, ""));
        refused_by_both(empty, Problem::Empty("name of a snapshot"));
    }
}

#[test]
fn unknown_records_of_v1_are_refused() {
    for (tag, text) in [(b'p', "'p'"), (b'x', "'x'"), (0, r"'\x00'"), (b'\n', r"'\n'")] {
        let before = [size(V1, 9), data(V1, 0, b"abc")];
        let problem = Problem::UnknownRecord(text.to_owned());
        refused_record(V1, &before, record(V1, tag, &[&[0; 16]]), problem);
    }
}

#[test]
fn a_length_of_v2_that_is_not_the_record_s_is_refused() {
    let sound = [
        (name(V2, b'f', "abc"), 7),
        (name(V2, b't', "abc"), 7),
        (record(V2, b'p', &[&[0]]), 1),
        (size(V2, 9), 8),
        (data(V2, 0, b"abc"), 19),
        (zero(V2, 0, 9), 16),
    ];
    for (record, expected) in sound {
        for found in
            [0, expected - 1, expected + 1, u64::MAX].into_iter().filter(|n| *n != expected)
        {
            let mut wrong = record.clone();
            wrong[1..9].copy_from_slice(&u64::to_le_bytes(found));
            // A `w` needs the size before it, and a second `s` would be refused for being one.
            let before = if wrong[0] == b's' { vec![] } else { vec![size(V2, 9)] };
            let problem = Problem::Unexpected { what: "the length of a record", found, expected };
            refused_record(V2, &before, wrong, problem);
        }
    }
}

#[test]
fn a_protection_that_is_neither_yes_nor_no_is_refused() {
    for length in [1_u64, 8] {
        let wrong = [&b"p"[..], &length.to_le_bytes(), b"\x02"].concat();
        let problem = Problem::TooLarge { what: "the protection", found: 2, limit: 1 };
        refused_record(V2, &[size(V2, 9)], wrong, problem);
    }
}

#[test]
fn a_record_too_long_to_be_skipped_is_refused() {
    let found = SKIPPED_RECORD_BYTES_MAX + 1;
    let (what, limit) = ("a skipped record", SKIPPED_RECORD_BYTES_MAX);
    let problem = Problem::TooLarge { what, found, limit };
    let wrong = [&b"?"[..], &found.to_le_bytes()].concat();
    refused_record(V2, &[size(V2, 9)], wrong.clone(), problem.clone());
    refused(&[&b"rbd image v2\n"[..], &wrong].concat(), 13, problem);
    let most = vec![0; usize::try_from(SKIPPED_RECORD_BYTES_MAX).unwrap()];
    decode_sound(&diff(V2, &[record(V2, b'?', &[&most]), size(V2, 9)]));
}

#[test]
fn an_export_of_another_shape_is_refused() {
    let start = &b"rbd image v2\n"[..];
    for tag in [b'O', b'T', b'U', b'C'] {
        let what = "the length of a record of the image";
        let problem = Problem::Unexpected { what, found: 4, expected: 8 };
        refused(&[start, &record(V2, tag, &[&[0; 4]])].concat(), 13, problem);
    }
    let wrong = [start, b"Erbd image diffs v1\n", &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
    refused(&wrong, 14, Problem::WrongFormat("rbd image diffs"));
    refused(&[start, b"Erbd image diffs v2\n", &[0; 8]].concat(), 33, Problem::Missing("diff"));
    let first = |version| diff(version, &[size(version, 9)]);
    let offset = export(&[]).len();
    refused(&export(&[first(V1)]), offset, Problem::UnknownVersion(1));
    refused(&export(&[b"rbd image v2".to_vec()]), offset, Problem::WrongFormat("rbd diff"));
}

#[test]
fn an_export_whose_diffs_do_not_follow_each_other_is_refused() {
    let v2 = V2;
    let link = |from: &str, to: &str| {
        let [from, to] = [(b'f', from), (b't', to)].map(|(tag, snapshot)| match snapshot {
            "" => Vec::new(),
            snapshot => name(v2, tag, snapshot),
        });
        diff(v2, &[size(v2, 9), from, to])
    };
    let cases = [
        (link("", "a"), link("b", "c"), 17, Some("b"), Some("a")),
        (link("", "a"), link("", "c"), 17 + 14, None, Some("a")),
        (link("", ""), link("", "c"), 17 + 14, None, None),
        (link("", ""), link("b", "c"), 17, Some("b"), None),
    ];
    for (first, second, offset, found, expected) in cases {
        let begin = export(&[]).len() + first.len() + 12;
        let (seen, outcome) = decode(&export(&[first, second]));
        let [found, expected] =
            [found, expected].map(|name| name.and_then(|name| Name::new(name.as_bytes())));
        let problem = Problem::Chain { found, expected };
        assert_eq!(outcome, Err(Malformed::new((begin + offset) as u64, problem)));
        assert!(matches!(seen[..], [Seen::Begin(_), Seen::End(_)]), "{seen:?}");
    }
}

#[test]
fn a_broken_chain_is_told_with_both_names() {
    let chain = |found: Option<&[u8]>, expected: Option<&[u8]>| {
        let [found, expected] = [found, expected].map(|name| name.and_then(Name::new));
        Problem::Chain { found, expected }.to_string()
    };
    let told = chain(Some(b"b"), Some(b"a"));
    assert_eq!(told, r#"changes from "b", but those before end at "a""#);
    let told = chain(None, Some(b"a"));
    assert_eq!(told, r#"changes from no snapshot, but those before end at "a""#);
}
