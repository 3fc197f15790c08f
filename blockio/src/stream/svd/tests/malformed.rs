//! Every error in a stream is refused at its position, and nothing of the stream is returned.

use crate::extent::ExtentError;
use crate::stream::svd::section::Order;
use crate::stream::svd::tests::{SEQUENCE, TIME, Writer, decode, marks, marks_in, stream};
use crate::stream::svd::{Decoder, MARKS_MAX};
use crate::stream::{Decoded, Malformed, Problem, drive};

// Where the sections of `two_writes` begin.
const SVD1: usize = 4;
const TFV2: usize = 144;
const LODC: usize = 176;
const DDV2: usize = 196;
const SECOND: usize = DDV2 + 32 + 512;
const TLV2: usize = SECOND + 32 + 512;

fn two_writes() -> Vec<u8> {
    let data = [7; 512];
    stream(&[(4096, 0, 0, &data), (8192, 2, 5, &data)])
}

/// The stream of two writes with `bytes` at `at`.
fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut stream = two_writes();
    stream[at..at + bytes.len()].copy_from_slice(bytes);
    stream
}

fn unexpected(what: &'static str, found: u64, expected: u64) -> Problem {
    Problem::Unexpected { what, found, expected }
}

/// `bytes` are refused with this problem at `offset`; only what was complete before the current
/// batch is returned.
#[track_caller]
fn refuses(bytes: &[u8], offset: usize, problem: Problem) {
    let (events, malformed) = drive::events(&mut Decoder::new(), bytes);
    assert_eq!(malformed, Some(Malformed::new(offset as u64, problem)));
    assert!(events.iter().all(|event| matches!(event, Decoded::Begin(_))), "{events:?}");
}

#[test]
fn a_stream_that_ends_early_is_refused_where_it_ends() {
    refuses(&[], 0, Problem::Truncated);
    for length in [1, 3, 4, 15, TFV2, LODC + 19, DDV2, DDV2 + 40, SECOND, TLV2, TLV2 + 31] {
        refuses(&two_writes()[..length], length, Problem::Truncated);
    }
}

#[test]
fn sections_that_are_not_where_they_must_be_are_refused() {
    let data = [7; 512];
    refuses(b"QFI\xFB....", 0, Problem::WrongFormat("svd"));
    refuses(&with(SVD1, b"TFV2"), SVD1, Problem::Missing("SVD1"));
    refuses(&with(TFV2, b"LODC"), TFV2, Problem::Missing("TFV2"));
    refuses(&with(LODC, b"DDV2"), LODC, Problem::Missing("LODC"));
    refuses(&with(LODC, b"TLV2"), LODC, Problem::Missing("LODC"));
    refuses(&with(DDV2, b"DRTL"), DDV2, Problem::Missing("TLV2"));
    refuses(&with(DDV2, b"BTRD"), DDV2, Problem::Missing("TLV2"));
    refuses(&with(SECOND, b"LODC"), SECOND, Problem::Misplaced("LODC"));
    refuses(&with(SECOND, b"USER"), SECOND, Problem::Misplaced("USER"));
    refuses(&with(TLV2, b"DRTL"), TLV2, Problem::Missing("TLV2"));
    for at in [SVD1, TFV2, LODC, DDV2, SECOND, TLV2] {
        refuses(&with(at, b"ZE\0O"), at, Problem::UnknownRecord("ZE\\x00O".to_owned()));
    }
    let mut without_last = two_writes();
    without_last.truncate(TLV2);
    without_last.extend(stream(&[(0, 0, 0, &data)]));
    refuses(&without_last, TLV2, Problem::Missing("TLV2"));
}

#[test]
fn a_stream_without_data_and_without_marks_is_refused() {
    refuses(&marks(&[]), LODC, Problem::Missing("LODC"));
}

#[test]
fn counts_and_flags_that_differ_are_refused() {
    for at in [SVD1, TFV2, LODC, DDV2, SECOND, TLV2] {
        refuses(&with(at + 4, &[2]), at + 4, unexpected("the count", 2, 1));
        refuses(&with(at + 8, &[1]), at + 8, unexpected("the flags", 1, 0));
    }
}

#[test]
fn a_header_of_a_timestamp_that_differs_is_refused() {
    for section in [TFV2, TLV2] {
        let at = section + 12;
        refuses(&with(at, &[4]), at, unexpected("the timestamp's type", 4, 3));
        refuses(&with(at + 2, &[1]), at + 2, unexpected("the timestamp's flags", 1, 0));
        refuses(&with(at + 3, &[20]), at + 3, unexpected("the timestamp's length", 20, 24));
    }
}

#[test]
fn a_time_past_what_nanoseconds_can_say_is_refused() {
    let limit = u64::MAX / 100;
    let problem = Problem::TooLarge { what: "a time", found: limit + 1, limit };
    refuses(&with(TFV2 + 24, &(limit + 1).to_le_bytes()), TFV2 + 24, problem);
}

#[test]
fn a_total_that_is_not_the_sum_of_the_records_is_refused() {
    let what = "the total of LODC";
    refuses(&with(LODC + 12, &1089_u64.to_le_bytes()), TLV2, unexpected(what, 1089, 1088));
    refuses(&with(LODC + 12, &1087_u64.to_le_bytes()), SECOND + 12, unexpected(what, 1087, 1088));
    refuses(&with(LODC + 12, &[0; 8]), DDV2 + 12, unexpected(what, 0, 544));
    refuses(&with(LODC + 12, &[0xFF; 8]), TLV2, unexpected(what, u64::MAX, 1088));
}

#[test]
fn a_record_that_is_no_range_is_refused() {
    let empty = ExtentError::Empty { start: 8192 };
    refuses(&with(SECOND + 12, &[0; 4]), SECOND + 12, Problem::Range(empty));
    let overflow = ExtentError::Overflow { start: u64::MAX, length: 512 };
    refuses(&with(SECOND + 16, &[0xFF; 8]), SECOND + 12, Problem::Range(overflow));
}

#[test]
fn deltas_that_do_not_begin_at_zero_or_decrease_are_refused() {
    for (at, what) in [(24, "the sequence delta"), (28, "the time delta")] {
        refuses(&with(DDV2 + at, &[1]), DDV2 + at, unexpected(what, 1, 0));
    }
    let data = [7; 512];
    for (at, what, third) in
        [(24, "the sequence delta", (0, 1, 5)), (28, "the time delta", (0, 2, 4))]
    {
        let (offset, sequence, time) = third;
        let bytes = stream(&[(0, 0, 0, &data), (0, 2, 5, &data), (offset, sequence, time, &data)]);
        let (found, before) = if at == 24 { (1, 2) } else { (4, 5) };
        refuses(&bytes, TLV2 + at, Problem::Decreasing { what, found, before });
    }
}

#[test]
fn a_last_timestamp_that_is_not_the_first_and_the_last_deltas_is_refused() {
    for (at, what, sum) in
        [(16, "the last sequence number", SEQUENCE + 2), (24, "the last time", TIME + 5)]
    {
        let found = sum - 1;
        let bytes = with(TLV2 + at, &found.to_le_bytes());
        refuses(&bytes, TLV2 + at, unexpected(what, found, sum));
    }
}

#[test]
fn a_last_timestamp_past_64_bits_is_refused() {
    let limit = 1;
    let problem = Problem::TooLarge { what: "the sequence delta", found: 2, limit };
    let mut bytes = with(TFV2 + 16, &(u64::MAX - 1).to_le_bytes());
    bytes[TLV2 + 16..TLV2 + 24].fill(0);
    refuses(&bytes, TLV2 + 16, problem);
}

#[test]
fn marks_that_are_too_long_or_empty_or_in_a_wrong_place_are_refused() {
    let long = [b'x'; 257];
    let problem = Problem::TooLarge { what: "a mark's length", found: 257, limit: 256 };
    refuses(&marks(&[&long]), LODC + 8, problem);
    refuses(&marks(&[b"one", b""]), LODC + 15 + 8, Problem::Empty("mark"));
    let mut mixed = marks(&[b"one"]);
    mixed.splice(LODC + 15.., two_writes()[LODC..].to_vec());
    refuses(&mixed, LODC + 15, Problem::Misplaced("LODC"));
}

#[test]
fn the_flags_after_marks_are_zero_or_the_length_of_the_last_one() {
    let mut bytes = marks(&[b"one", b"four"]);
    let last = LODC + 15 + 16;
    assert_eq!(bytes[last + 8], 4);
    bytes[last + 8] = 0;
    assert_eq!(decode(&bytes).len(), 4);
    bytes[last + 8] = 3;
    refuses(&bytes, last + 8, unexpected("the flags", 3, 0));
}

#[test]
fn marks_are_held_back_until_their_stream_is_whole() {
    let mut bytes = marks(&[b"one"]);
    let last = LODC + 15;
    bytes[last + 24] ^= 1;
    refuses(&bytes, last + 24, unexpected("the last time", TIME ^ 1, TIME));
}

#[test]
fn more_marks_than_are_held_back_are_refused() {
    let (most, order) = (vec![&b"m"[..]; MARKS_MAX], Order::Little);
    assert_eq!(decode(&marks_in(order, &most)).len(), MARKS_MAX + 2);
    let more = [&most[..], &[b"m"]].concat();
    let (found, limit) = (MARKS_MAX as u64 + 1, MARKS_MAX as u64);
    let problem = Problem::TooLarge { what: "a number of marks", found, limit };
    refuses(&marks_in(order, &more), LODC + 13 * MARKS_MAX, problem);
}

#[test]
fn bytes_after_the_end_that_are_no_stream_are_refused() {
    let mut bytes = two_writes();
    let end = bytes.len();
    bytes.extend(b"DDV2");
    let (events, malformed) = drive::events(&mut Decoder::new(), &bytes);
    assert_eq!(malformed, Some(Malformed::new(end as u64, Problem::TrailingBytes)));
    // The stream before them was complete.
    assert!(matches!(events.last(), Some(Decoded::End(_))));
}

#[test]
fn offsets_of_a_later_stream_count_from_the_beginning_of_the_input() {
    let (first, second) = (two_writes(), with(DDV2 + 4, &[2]));
    let at = first.len() + DDV2 + 4;
    let (_, malformed) = drive::events(&mut Decoder::new(), &[first, second].concat());
    assert_eq!(malformed, Some(Malformed::new(at as u64, unexpected("the count", 2, 1))));
}

#[test]
fn a_writer_of_tests_writes_what_the_driver_would() {
    assert_eq!(Writer::begin(Order::Little).bytes.len(), LODC);
    assert_eq!(two_writes().len(), TLV2 + 32);
    assert_eq!(two_writes().len(), 228 + 2 * (32 + 512));
}
