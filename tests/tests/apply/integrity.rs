//! Invalid streams, in every format and every way: exit code 5, the position is named, and nothing
//! of the batch in question is written.

use blockio::stream::native::layout::{
    COMPRESSION_AT, KIND_AT, PAYLOAD_BYTES_AT, PAYLOAD_CHECKSUM_AT, SEQUENCE_AT, SHARED_BYTES,
    TAG_AT, seal,
};
use blockio::stream::rbd_diff::Version;
use mt_tests::change_stream::{Change, native, rbd_diff, svd, volume};
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{MIB, after, apply, file, holds};

const SIZE: u64 = 4 * MIB;

/// Applies and inspects `stream`: both must end with exit code 5 and print `place`, and the target
/// must hold `written` and nothing else.
#[track_caller]
fn is_refused(
    machine: &ScratchMachine,
    what: &str,
    stream: &[u8],
    place: &str,
    written: &[Change],
) {
    println!("{what}");
    let before = Random::new(21).bytes(SIZE as usize);
    let target = file(machine, "target", &before);
    let stream = file(machine, "stream", stream);
    let run = apply(machine, &[&stream, "--target", &target]);
    run.exits(5).says(place).says(&stream);
    holds(&target, &after(&before, written));
    // The same with a group; a dry run finds it as well, and writes nothing at all.
    let target = file(machine, "target", &before);
    apply(machine, &[&stream, "--target", &target, "--dry-run"]).exits(5).says(place);
    holds(&target, &before);
}

fn at(offset: usize) -> String {
    format!("at byte {offset} of the stream")
}

/// Offsets of the records of [`two_batches`]: stream, batch, batch, mark, end.
const RECORDS: [usize; 5] = [0, 4096, 73_728, 139_264, 143_360];
const LENGTH: usize = 147_456;

fn two_batches() -> ([Change; 2], Vec<u8>) {
    let mut random = Random::new(22);
    let changes = [
        Change::data(0, random.bytes(64 << 10)),
        Change::data(MIB + 512, random.bytes((60 << 10) - 512)),
    ];
    let stream = native(volume("", SIZE, "", ""), &changes);
    assert_eq!(stream.len(), LENGTH);
    (changes, stream)
}

/// `stream` with `change` at `place` in the record that begins at `record`, with a valid checksum:
/// what a faulty program would write.
fn resealed(stream: &[u8], record: usize, place: usize, change: &[u8]) -> Vec<u8> {
    let mut stream = stream.to_vec();
    stream[record + place..][..change.len()].copy_from_slice(change);
    seal(&mut stream[record..record + 4096]);
    stream
}

fn flipped(stream: &[u8], place: usize) -> Vec<u8> {
    let mut stream = stream.to_vec();
    stream[place] ^= 0x10;
    stream
}

#[test]
fn a_damaged_byte_of_a_native_stream_keeps_its_batch_from_the_disk() {
    on_a_scratch_machine(|machine| {
        let (changes, good) = two_batches();
        let (first, second) = (&changes[..0], &changes[..1]);
        let payload = |end| format!("in the batch that ends at byte {end} of the stream");
        let record = |index: usize| RECORDS[index];
        let cases = [
            ("the first magic", 3, "it is not a change stream in a known format".to_owned(), first),
            ("the stream's header", 70, at(record(0)), first),
            ("the first batch's header", record(1) + 70, at(record(1)), first),
            ("the first payload", record(1) + 4096, payload(record(2)), first),
            ("the last byte of the first payload", record(2) - 1, payload(record(2)), first),
            ("the second magic", record(2), at(record(2)), second),
            ("the second batch's header", record(2) + 64, at(record(2)), second),
            ("the second payload", record(2) + 5000, payload(record(3)), second),
        ];
        for (what, place, says, written) in cases {
            is_refused(machine, what, &flipped(&good, place), &says, written);
        }
        let mark = flipped(&good, record(3) + 80);
        is_refused(machine, "the mark", &mark, &at(record(3)), &changes);
        let end = flipped(&good, record(4) + 64);
        is_refused(machine, "the end", &end, &at(record(4)), &changes);
    });
}

#[test]
fn a_native_stream_with_a_wrong_field_under_a_right_checksum_is_refused_at_the_field() {
    on_a_scratch_machine(|machine| {
        let (changes, good) = two_batches();
        let written = &changes[..1];
        let batch = RECORDS[2];
        let cases: [(&str, usize, &[u8]); 6] = [
            ("a kind that nobody knows", KIND_AT, &[77, 0]),
            ("a sequence number left out", SEQUENCE_AT, &[3]),
            ("a record of another stream", TAG_AT, &[good[batch + TAG_AT] ^ 1]),
            ("a payload of 4 GiB", PAYLOAD_BYTES_AT, &[255; 4]),
            ("a compression that nobody knows", COMPRESSION_AT, &[9]),
            ("reserved bytes in use", 50, &[1]),
        ];
        for (what, field, change) in cases {
            let stream = resealed(&good, batch, field, change);
            is_refused(machine, what, &stream, &at(batch + field), written);
        }
        let stream = resealed(&good, batch, PAYLOAD_CHECKSUM_AT, &[1, 2, 3, 4]);
        is_refused(machine, "another checksum", &stream, "04030201", written);
        let lost = [&good[..batch], &good[RECORDS[3]..]].concat();
        is_refused(machine, "a lost batch", &lost, &at(batch + SEQUENCE_AT), written);
        let twice = [&good[..batch], &good[RECORDS[1]..]].concat();
        is_refused(machine, "a batch twice", &twice, &at(batch + SEQUENCE_AT), written);
        let totals = resealed(&good, RECORDS[4], SHARED_BYTES, &[0xEE]);
        is_refused(machine, "other totals", &totals, "at byte 1434", &changes);
    });
}

#[test]
fn a_native_stream_without_its_end_or_with_more_behind_it_is_refused() {
    on_a_scratch_machine(|machine| {
        let (changes, good) = two_batches();
        for (cut, count) in
            [(10, 0), (4096, 0), (5000, 0), (100_000, 1), (139_264, 2), (143_360, 2)]
        {
            let what = format!("cut at byte {cut}");
            is_refused(machine, &what, &good[..cut], &at(cut), &changes[..count]);
        }
        let more = [&good[..], b"x"].concat();
        is_refused(machine, "a byte behind it", &more, &at(LENGTH), &changes);
        let two = [&good[..], &good].concat();
        is_refused(machine, "the same stream behind it", &two, &at(LENGTH), &changes);
    });
}

#[test]
fn a_range_past_the_end_of_the_target_is_refused_before_its_batch_is_written() {
    on_a_scratch_machine(|machine| {
        let mut of = volume("", SIZE, "", "");
        of.size = None;
        let changes = [
            Change::data(0, vec![5; 64 << 10]),
            Change::data(MIB, vec![6; 30 << 10]),
            Change::data(SIZE - 100, vec![7; 101]),
        ];
        let stream = native(of, &changes);
        is_refused(machine, "native", &stream, "in the batch that ends at byte", &changes[..1]);
        let stream = svd(1, &[(0, &[1; 512]), (SIZE, &[2; 512])]);
        is_refused(machine, "svd", &stream, "in the batch that ends at byte", &[]);
    });
}

/// An rbd diff, assembled byte by byte.
struct Diff {
    version: Version,
    bytes: Vec<u8>,
}

impl Diff {
    fn new(version: Version) -> Self {
        let banner = match version {
            Version::V1 => b"rbd diff v1\n",
            Version::V2 => b"rbd diff v2\n",
        };
        Self { version, bytes: banner.to_vec() }
    }

    /// Adds a record with this content; v2 declares `length` for it.
    fn saying(mut self, tag: u8, content: &[u8], length: u64) -> Self {
        self.bytes.push(tag);
        if self.version == Version::V2 {
            self.bytes.extend(length.to_le_bytes());
        }
        self.bytes.extend(content);
        self
    }

    fn record(self, tag: u8, content: &[u8]) -> Self {
        self.saying(tag, content, content.len() as u64)
    }

    fn name(self, tag: u8, length: u32) -> Self {
        let content = [&length.to_le_bytes()[..], &vec![b'n'; length as usize]].concat();
        self.record(tag, &content)
    }

    fn size(self) -> Self {
        self.record(b's', &SIZE.to_le_bytes())
    }

    fn write(self, start: u64, bytes: &[u8]) -> Self {
        let numbers = [start.to_le_bytes(), (bytes.len() as u64).to_le_bytes()].concat();
        self.record(b'w', &[&numbers[..], bytes].concat())
    }

    fn zero(self, start: u64, length: u64) -> Self {
        self.record(b'z', &[start.to_le_bytes(), length.to_le_bytes()].concat())
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(b'e');
        self.bytes
    }
}

#[test]
fn an_rbd_diff_that_is_malformed_is_refused_at_the_record_and_writes_nothing_of_its_batch() {
    on_a_scratch_machine(|machine| {
        for version in [Version::V1, Version::V2] {
            let metadata = || Diff::new(version).size();
            let begun = || metadata().write(0, b"first").zero(4096, 4096);
            let bad = begun().bytes.len();
            let is = |what: &str, stream: &[u8], offset: usize| {
                let what = format!("{version:?}: {what}");
                is_refused(machine, &what, stream, &at(offset), &[]);
            };
            is("no size", &Diff::new(version).write(0, b"x").end(), 12);
            is("an empty name", &Diff::new(version).name(b'f', 0).size().end(), 12);
            is("a name of 1025 bytes", &Diff::new(version).name(b't', 1025).size().end(), 12);
            is("two sizes", &metadata().size().end(), metadata().bytes.len());
            is("a size behind data", &begun().size().end(), bad);
            is("a name behind data", &begun().name(b'f', 3).end(), bad);
            is("a range of no bytes", &begun().zero(0, 0).end(), bad);
            is("a range past the end", &begun().zero(SIZE - 1, 2).end(), bad);
            is("a write past the end", &begun().write(SIZE, b"x").end(), bad);
            is("a range past 64 bits", &begun().zero(u64::MAX, 2).end(), bad);
            if version == Version::V1 {
                is("a record that nobody knows", &begun().record(b'q', b"").end(), bad);
            } else {
                let wrong = begun().saying(b'z', &[0; 16], 17).end();
                is("a record of another length", &wrong, bad);
            }
            is("no end", &begun().bytes, bad);
            is("a cut record", &begun().write(0, &[5; 99]).bytes[..bad + 30], bad + 30);
            is("a byte behind it", &[&begun().end()[..], b"x"].concat(), bad + 1);
        }
    });
}

#[test]
fn an_rbd_diff_that_goes_wrong_late_keeps_what_came_in_whole_batches() {
    on_a_scratch_machine(|machine| {
        let mut random = Random::new(23);
        let changes =
            [Change::data(0, random.bytes(2 << 20)), Change::data(3 * MIB, random.bytes(1000))];
        let good = rbd_diff(Version::V1, &volume("", SIZE, "", ""), &changes);
        let cut = &good[..good.len() - 1];
        is_refused(machine, "no end", cut, &at(cut.len()), &changes[..1]);
    });
}

#[test]
fn an_svd_stream_that_is_malformed_is_refused_at_the_field_and_writes_nothing_of_its_batch() {
    on_a_scratch_machine(|machine| {
        let good = svd(7, &[(0, &[1; 512]), (8192, &[2; 512])]);
        let changed = |place: usize, change: &[u8]| {
            let mut stream = good.clone();
            stream[place..place + change.len()].copy_from_slice(change);
            stream
        };
        let (lost, record, last) = (176, 196, good.len() - 32);
        let is = |what: &str, stream: &[u8], offset: usize| {
            is_refused(machine, what, stream, &at(offset), &[]);
        };
        is("a tag that nobody knows", &changed(record, b"QQQQ"), record);
        is("a count of two", &changed(record + 4, &[2]), record + 4);
        is("another total", &changed(lost + 12, &[0]), record + 544 + 12);
        is("a record of no bytes", &changed(record + 12, &[0; 4]), record + 12);
        is("a first delta", &changed(record + 24, &[1]), record + 24);
        is("another last number", &changed(last + 16, &[99]), last + 16);
        is("no end", &good[..last], last);
        is("a cut record", &good[..last - 10], last - 10);
        let mut many = good.clone();
        many.extend(&svd(9, &[(512, &[3; 512])])[..300]);
        // The first stream is intact, and streams may follow each other directly.
        let written = [Change::data(0, [1; 512]), Change::data(8192, [2; 512])];
        is_refused(machine, "the second is cut", &many, &at(many.len()), &written);
        let more = [&good[..], b"xxxx"].concat();
        is_refused(machine, "bytes behind it", &more, &at(good.len()), &written);
    });
}

#[test]
fn what_is_no_stream_at_all_is_refused_by_its_first_bytes() {
    on_a_scratch_machine(|machine| {
        is_refused(machine, "nothing", b"", "", &[]);
        is_refused(machine, "a cut banner", b"rbd diff v", "the input ends", &[]);
        is_refused(machine, "text", b"hello, world, this is text\n", "hint", &[]);
        is_refused(machine, "zeros", &[0; 8192], "--format raw", &[]);
    });
}
