//! Histories of every kind in real directories: intact ones are clean, and each kind of damage is
//! found by its name.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::apply::{self, ApplyJob, ApplyOptions, StreamArgument};
use crate::assignment::Assignment;
use crate::device::Engine;
use crate::extent::Extent;
use crate::group::keeper::HistorySettings;
use crate::group::{Group, GroupPlace, GroupView, Rebuilding};
use crate::journal::dump;
use crate::journal::layout::{
    BLOCK_BYTES, COPIES_FROM, Entry, Held, RecordHeader, RecordKind, SegmentHeader,
};
use crate::journal::retention::Policy;
use crate::journal::settings::GroupSettings;
use crate::rollback;
use crate::stream::input::Input;
use crate::stream::{
    Format, Mark, MarkKind, StreamHeader, Timestamp, VolumeHeader, VolumeIndex, native,
};
use crate::units::{ByteCount, ByteOffset};
use crate::volume::{self, TargetRequest};

mod lost;
mod memory;

const SIZE: u64 = 1 << 20;
const BLOCK: u64 = BLOCK_BYTES as u64;
/// The file names of both copies of the state.
const COPIES: [&str; 2] = ["state", "state.copy"];

/// A history in a directory of its own.
struct History(TempDir);

impl History {
    /// Three streams, each with a point in its middle and one at its end.
    fn new() -> Self {
        let history = Self(tempfile::tempdir().unwrap());
        (1..=3).for_each(|round| history.apply(round, HistorySettings::default()));
        history
    }

    /// A history with copies, in segments of `segment_bytes`.
    fn thinned(segment_bytes: u64) -> Self {
        let history = Self(tempfile::tempdir().unwrap());
        let settings =
            HistorySettings { segment_bytes: Some(segment_bytes), ..HistorySettings::default() };
        (1..=3).for_each(|round| history.apply(round, settings.clone()));
        let seconds = std::time::Duration::from_secs;
        let (window, keep_all) = (seconds(100 * 365 * 24 * 3600), std::time::Duration::ZERO);
        let thinned = Policy { window, keep_all, thin_to: seconds(3), ..Policy::default() };
        history.keep_by(thinned);
        (4..14).for_each(|round| history.apply(round, settings.clone()));
        history
    }

    fn place(&self) -> GroupPlace {
        let at = self.0.path().join("g");
        GroupPlace { state: at.clone(), history: Some(at) }
    }

    fn group(&self) -> Group {
        Group::open(&self.place(), "g").unwrap()
    }

    fn keep_by(&self, policy: Policy) {
        let settings = GroupSettings { policy, ..GroupSettings::default() };
        self.group().set(settings).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join("g").join(name)
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.file(&format!("segment-{number:016}"))
    }

    fn assignments(&self) -> Vec<Assignment> {
        let path = self.0.path().join("disk");
        if !path.exists() {
            File::create(&path).unwrap().set_len(SIZE).unwrap();
        }
        let request = TargetRequest { path: path.clone(), ..TargetRequest::default() };
        let target = volume::open(&request).unwrap();
        let identity = path.display().to_string().into();
        vec![Assignment {
            volume: crate::volume_name::VolumeName::unnamed(),
            target: target.into(),
            identity,
        }]
    }

    fn apply(&self, round: u8, history: HistorySettings) {
        let input = Input::from_pipe(std::io::Cursor::new(stream(round)));
        let inputs = vec![StreamArgument::Open { name: "a pipe".to_owned(), input }];
        let options = ApplyOptions {
            format: Some(Format::Native),
            engine: Engine::Blocking,
            ..ApplyOptions::default()
        };
        let assignments = self.assignments();
        let segment_bytes = history.segment_bytes.or(Some(128 << 10));
        let history = HistorySettings { segment_bytes, ..history };
        let source = inputs.into();
        let job = ApplyJob { source, assignments, options, history, pool: None };
        apply::run(&mut self.group(), job, &AtomicBool::new(false), &mut |_| {}).unwrap();
    }

    fn roll_back(&self, to: u64) {
        let job = rollback::RollbackJob {
            accept_target: false,
            may_give_up_points: true,
            without_undo: false,
            group: self.group(),
            assignments: self.assignments(),
            to: PointId(to),
            engine: Engine::Blocking,
            history: HistorySettings::default(),
            pool: None,
        };
        rollback::run(job, &AtomicBool::new(false), &mut |_| {}).unwrap();
    }

    fn check(&self) -> Report {
        let storage = crate::group::storage(&self.place()).unwrap();
        check(&storage, &AtomicBool::new(false), &mut |_| {}).unwrap()
    }

    /// All findings, by class.
    fn classes(&self) -> Vec<Class> {
        let report = self.check();
        report.damage.iter().chain(&report.remarks).map(|finding| finding.class).collect()
    }

    fn catalogue(&self) -> Catalogue {
        GroupView::look(&self.place(), "g").unwrap().state().journal.clone().unwrap()
    }

    fn change_state(&self, change: impl FnOnce(&mut GroupState)) {
        self.group().overwrite(change).unwrap();
    }

    fn change(&self, change: impl FnOnce(&mut Catalogue)) {
        self.change_state(|state| change(state.journal.as_mut().unwrap()));
    }

    /// The first span of the epoch that begins at point 1, which has images.
    fn span(&self) -> Span {
        self.catalogue().point(PointId(1)).unwrap().spans[0]
    }

    fn bytes(&self, number: u64, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        File::open(self.segment(number)).unwrap().read_exact_at(&mut bytes, at).unwrap();
        bytes
    }

    fn write(&self, number: u64, at: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(self.segment(number)).unwrap();
        file.write_all_at(bytes, at).unwrap();
    }

    fn flip(&self, number: u64, at: u64, bit: u8) {
        let byte = self.bytes(number, at, 1)[0];
        self.write(number, at, &[byte ^ (1 << bit)]);
    }

    fn header(&self, number: u64, change: impl FnOnce(&mut SegmentHeader)) {
        let mut block = self.bytes(number, 0, BLOCK_BYTES);
        let mut header = SegmentHeader::read(&block).unwrap();
        change(&mut header);
        header.write(&mut block);
        self.write(number, 0, &block);
    }

    /// The nth record of a segment: its offset, and its header.
    fn record(&self, number: u64, nth: usize) -> (u64, RecordHeader) {
        let mut at = BLOCK;
        for _ in 0..nth {
            at += RecordHeader::read(&self.bytes(number, at, BLOCK_BYTES)).unwrap().record_bytes()
                as u64;
        }
        (at, RecordHeader::read(&self.bytes(number, at, BLOCK_BYTES)).unwrap())
    }

    fn change_record(&self, number: u64, nth: usize, change: impl FnOnce(&mut RecordHeader)) {
        let (at, mut header) = self.record(number, nth);
        change(&mut header);
        let mut place = vec![0; header.header_bytes()];
        header.write(&mut place);
        self.write(number, at, &place);
    }
}

/// A native stream that overwrites three places, with a point in its middle and one at its end.
fn stream(round: u8) -> Vec<u8> {
    let size = Some(ByteCount::new(SIZE));
    let volumes = vec![VolumeHeader { size, ..VolumeHeader::default() }];
    let header =
        StreamHeader { format: Format::Native, is_in_write_order: true, identity: None, volumes };
    let mut bytes = Vec::new();
    let mut encoder = native::Encoder::new(&mut bytes, &header, Default::default()).unwrap();
    let put = |encoder: &mut native::Encoder<_>, at: u64, fill: u8| {
        encoder.data(VolumeIndex(0), ByteOffset::new(at), &[fill; 20_000]).unwrap();
    };
    put(&mut encoder, 5000, round);
    put(&mut encoder, 300_000, round);
    let time = Timestamp(1_700_000_000_000_000_000 + u64::from(round) * 1_000_000_000);
    let mark = Mark { kind: MarkKind::CrashConsistent, time, name: None, group: None };
    encoder.mark(&mark).unwrap();
    put(&mut encoder, 8000, round | 0x40);
    put(&mut encoder, 600_000, round | 0x40);
    encoder.finish(true).unwrap();
    bytes
}

#[test]
fn a_history_of_every_sort_is_clean() {
    let history = History::new();
    let first = history.check();
    assert!(first.is_clean() && first.remarks.is_empty(), "{first:?}");
    assert!(first.points > 3 && first.records > 6 && first.unreachable.is_empty());
    history.roll_back(2);
    assert_eq!(history.classes(), []);
    history.roll_back(4);
    assert_eq!(history.classes(), []);
    history.apply(4, HistorySettings::default());
    assert_eq!(history.classes(), []);
    let before = history.check().points;
    let nothing = std::time::Duration::ZERO;
    let policy = Policy { window: nothing, keep_all: nothing, ..Policy::default() };
    history.keep_by(policy);
    history.apply(5, HistorySettings::default());
    assert_eq!(history.classes(), []);
    // One more was made, and more expired.
    assert!(history.check().points <= before);
}

#[test]
fn a_history_is_clean_while_it_is_written_and_expires() {
    let history = History::new();
    let second = std::time::Duration::from_secs(1);
    let policy = Policy { window: second, keep_all: second, ..Policy::default() };
    history.keep_by(policy);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 4..12 {
                history.apply(round, HistorySettings::default());
            }
        });
        while !writer.is_finished() {
            let report = history.check();
            assert!(report.is_clean(), "{report:?}");
        }
    });
    assert_eq!(history.classes(), []);
}

#[test]
fn a_state_that_is_made_anew_leads_to_every_point_also_where_only_a_copy_does() {
    let history = History::thinned(128 << 10);
    let known = history.catalogue();
    let copies = known.spans().filter(|span| span.first_record >= COPIES_FROM).count();
    assert!(copies > 0, "nothing was copied: {known:?}");
    assert_eq!(history.classes(), []);
    let disk = || fs::read(history.0.path().join("disk")).unwrap();
    let held: Vec<_> = known
        .points
        .iter()
        .map(|point| {
            history.roll_back(point.id.0);
            (point.id, disk())
        })
        .collect();
    let before = history.group().view().state().clone();
    COPIES.iter().for_each(|name| fs::remove_file(history.file(name)).unwrap());
    let rebuilding = Rebuilding::open(&history.place(), "g").unwrap();
    assert!(rebuilding.state().generation() > before.generation());
    drop(rebuilding.save().unwrap());
    assert_eq!(history.classes(), [Class::RollbackUnfinished]);
    for (id, expected) in held {
        history.roll_back(id.0);
        assert!(disk() == expected, "point {id}");
    }
    let after = history.group().view().state().clone();
    assert_eq!(after.settings, before.settings);
    assert_eq!(after.volumes, before.volumes);
    assert_eq!(history.classes(), []);
}

#[test]
fn where_a_durable_record_of_the_open_epoch_is_damaged_nothing_is_made_of_what_is_before_it() {
    let history = History::new();
    // Written to the open epoch: two sessions, of which the first has several records.
    history.roll_back(2);
    history.roll_back(4);
    let known = history.catalogue();
    let spans = known.points.last().unwrap().spans.clone();
    let rebuilt = || {
        let storage = crate::group::storage(&history.place()).unwrap();
        crate::journal::rebuild::rebuild(&storage).map(|rebuilt| rebuilt.state)
    };
    let points = |state: GroupState| state.journal.unwrap().points.len();
    assert_eq!(points(rebuilt().unwrap()), known.points.len());
    // Only the very last one may have been left by a crash.
    let last = *spans.last().unwrap();
    let (at, header) = history.record(last.segment.0, 0);
    assert_eq!(header.number + 1, last.next_record, "{spans:?}");
    let payload = at + header.header_bytes() as u64;
    history.flip(last.segment.0, payload, 3);
    assert_eq!(points(rebuilt().unwrap()), known.points.len());
    history.flip(last.segment.0, payload, 3);
    // An earlier one cannot.
    let first = spans[0];
    let (at, header) = history.record(first.segment.0, 1);
    history.flip(first.segment.0, at + header.header_bytes() as u64, 3);
    assert!(rebuilt().is_err(), "points were made of a history with a hole");
}

/// Damage to a history.
type Accident = fn(&History);

/// One for each kind of damage.
const ACCIDENTS: &[(Class, Accident)] = &[
    (Class::StateNotReadable, |h| {
        COPIES.iter().for_each(|name| fs::write(h.file(name), "{}").unwrap());
    }),
    (Class::StateNotReadable, |h| {
        COPIES.iter().for_each(|name| fs::remove_file(h.file(name)).unwrap());
    }),
    (Class::StateCopyWrong, |h| fs::write(h.file("state"), "{}").unwrap()),
    (Class::StateCopyWrong, |h| fs::write(h.file("state.copy"), "{}").unwrap()),
    (Class::StateCopyWrong, |h| fs::remove_file(h.file("state")).unwrap()),
    (Class::StateOlder, |h| {
        let before = COPIES.map(|name| (name, fs::read(h.file(name)).unwrap()));
        h.apply(4, HistorySettings::default());
        before.iter().for_each(|(name, text)| fs::write(h.file(name), text).unwrap());
    }),
    (Class::StateOlder, |h| {
        let before = COPIES.map(|name| (name, fs::read(h.file(name)).unwrap()));
        // The images that it preserves come after what the state knows.
        h.roll_back(2);
        before.iter().for_each(|(name, text)| fs::write(h.file(name), text).unwrap());
    }),
    (Class::HistoryUnknown, |h| {
        let other = h.catalogue().next_segment;
        fs::copy(h.segment(h.number()), h.segment(other)).unwrap();
        h.header(other, |header| {
            header.journal[0] ^= 1;
            header.number.0 = other;
        });
    }),
    (Class::SegmentMissing, |h| fs::remove_file(h.segment(h.number())).unwrap()),
    (Class::SegmentMissing, |h| {
        fs::remove_file(h.segment(h.number())).unwrap();
        fs::create_dir(h.segment(h.number())).unwrap();
    }),
    (Class::SegmentNotReadable, |h| {
        fs::remove_file(h.segment(h.number())).unwrap();
        // The kernel refuses to follow it.
        std::os::unix::fs::symlink("x".repeat(300), h.segment(h.number())).unwrap();
    }),
    (Class::SegmentHeaderDamaged, |h| h.flip(h.number(), 40, 0)),
    (Class::SegmentForeign, |h| h.header(h.number(), |header| header.journal[0] ^= 1)),
    (Class::SegmentNumberWrong, |h| h.header(h.number(), |header| header.number.0 += 1)),
    (Class::SegmentEpochWrong, |h| h.header(h.number(), |header| header.epoch += 50)),
    (Class::RecordMissing, |h| h.change_record(h.number(), 1, |record| record.number += 5)),
    (Class::RecordMissing, |h| h.change(|known| known.next_record += 5)),
    (Class::RecordHeaderDamaged, |h| h.flip(h.number(), h.record(h.number(), 1).0 + 36, 0)),
    (Class::PayloadDamaged, |h| {
        let (at, header) = h.record(h.number(), 1);
        h.flip(h.number(), at + header.header_bytes() as u64, 7);
    }),
    (Class::RecordForeign, |h| h.change_record(h.number(), 1, |record| record.salt ^= 1)),
    (Class::SpanLengthWrong, |h| h.change_span(|span| span.bytes += BLOCK)),
    (Class::SpanTooShort, |h| {
        let (at, _) = h.record(h.number(), 1);
        h.change_span(|span| (span.bytes, span.next_record) = (at, span.first_record + 1));
    }),
    (Class::VolumeUnknown, |h| {
        h.change_record(h.number(), 1, |record| record.entries[0].volume = 7);
    }),
    (Class::ImageOutsideVolume, |h| {
        h.change_record(h.number(), 1, |record| {
            let length = record.entries[0].extent.length();
            record.entries[0].extent = Extent::new(ByteOffset::new(SIZE), length).unwrap();
        });
    }),
    (Class::ImageTwice, |h| {
        h.change_record(h.number(), 1, |record| {
            let again = Entry { held: Held::Zeros, ..record.entries[0] };
            record.entries.push(again);
        });
    }),
    (Class::EpochWithoutBeginning, |h| {
        let (at, header) = h.record(h.number(), 0);
        let text = vec![b'x'; header.payload_bytes as usize];
        h.write(h.number(), at + header.header_bytes() as u64, &text);
        h.change_record(h.number(), 0, |record| record.payload_checksum = crc32c::crc32c(&text));
    }),
    (Class::SegmentOfNoPoint, |h| {
        fs::copy(h.segment(h.number()), h.segment(99_999)).unwrap();
    }),
    (Class::TornTail, |h| {
        let known = h.catalogue();
        let last = *known.points.last().unwrap().spans.last().unwrap();
        let (_, mut header) = h.record(last.segment.0, 0);
        header.number = last.next_record;
        header.payload_checksum ^= 1;
        let mut place = vec![0; header.header_bytes()];
        header.write(&mut place);
        h.write(last.segment.0, last.bytes, &place);
    }),
    (Class::RollbackUnfinished, |h| {
        h.change(|known| known.rolling_back_to = Some(PointId(2)));
    }),
];

impl History {
    /// The number of the segment of [`span`](Self::span).
    fn number(&self) -> u64 {
        self.span().segment.0
    }

    fn change_span(&self, change: impl FnOnce(&mut Span)) {
        self.change(|known| {
            let point = known.points.iter_mut().find(|point| point.id == PointId(1)).unwrap();
            change(&mut Arc::make_mut(point).spans[0]);
        });
    }
}

#[test]
fn each_kind_of_damage_is_found_by_its_name() {
    for (class, accident) in ACCIDENTS {
        let history = History::new();
        assert_eq!(history.record(history.number(), 0).1.kind, RecordKind::EpochBegins);
        accident(&history);
        let report = history.check();
        let list = if class.is_damage() { &report.damage } else { &report.remarks };
        assert!(list.iter().any(|finding| finding.class == *class), "{class:?}: {report:?}");
        assert_eq!(report.is_clean(), !class.is_damage(), "{class:?}: {report:?}");
    }
}

#[test]
fn the_points_before_damage_cannot_be_reached_and_those_after_it_can() {
    let history = History::new();
    let (at, header) = history.record(history.number(), 1);
    history.flip(history.number(), at + header.header_bytes() as u64, 7);
    let report = history.check();
    assert_eq!(report.unreachable, [PointId(0), PointId(1)]);
    let [found] = report.damage.as_slice() else { panic!("{report:?}") };
    assert_eq!(found.point, Some(PointId(1)));
    assert_eq!((found.segment, found.byte), (Some(history.number()), Some(at)));
    assert_eq!(found.record, Some(header.number));
    history.roll_back(2);
}

#[test]
fn behind_a_damaged_header_the_next_record_is_found_again() {
    let history = History::new();
    let whole = history.check().records;
    history.flip(history.number(), BLOCK, 0);
    let report = history.check();
    assert_eq!(report.damage.len(), 1, "{report:?}");
    assert_eq!(report.records, whole - 1);
}

#[test]
fn a_dump_has_a_line_for_every_record_and_every_image() {
    let history = History::new();
    let (known, report) = (history.catalogue(), history.check());
    let storage = crate::group::storage(&history.place()).unwrap();
    let mut lines = Vec::new();
    let options = dump::DumpOptions { extents: true, ..dump::DumpOptions::default() };
    dump::dump(&storage, &known, options, &mut |line| {
        lines.push(line.to_owned());
        Ok(())
    })
    .unwrap();
    let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count() as u64;
    assert_eq!(count("point "), report.points);
    assert_eq!(count("segment "), report.segments);
    assert_eq!(count("  record "), report.records);
    assert!(lines.iter().any(|line| line.starts_with("    the volume 4096..")), "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains("DAMAGED")), "{lines:#?}");
}

#[test]
fn any_flipped_bit_of_what_is_used_is_reported() {
    let history = History::new();
    let used = used(&history);
    let total: u64 = used.iter().map(|(_, range)| range.end - range.start).sum();
    let mut runner = proptest::test_runner::TestRunner::default();
    let flips = (0..total, 0..8_u8);
    runner
        .run(&flips, |(mut nth, bit)| {
            let (number, at) = used
                .iter()
                .find_map(|(number, range)| {
                    let length = range.end - range.start;
                    let here = (nth < length).then_some((*number, range.start + nth));
                    nth = nth.saturating_sub(length);
                    here
                })
                .unwrap();
            history.flip(number, at, bit);
            let report = history.check();
            history.flip(number, at, bit);
            prop_assert!(!report.is_clean(), "bit {bit} of byte {at} of segment {number}");
            Ok(())
        })
        .unwrap();
    assert_eq!(history.classes(), []);
}

#[test]
fn whatever_is_in_a_segment_nothing_panics() {
    let history = History::new();
    let segments: Vec<_> = history.catalogue().spans().copied().collect();
    let garbage = proptest::collection::vec(any::<u8>(), 1..300);
    let mut runner = proptest::test_runner::TestRunner::default();
    runner
        .run(&(any::<prop::sample::Index>(), 0..40_000_u64, garbage), |(which, at, garbage)| {
            let span = which.get(&segments);
            let before = history.bytes(span.segment.0, at, garbage.len());
            history.write(span.segment.0, at, &garbage);
            let report = history.check();
            history.write(span.segment.0, at, &before);
            prop_assert!(report.points > 0);
            Ok(())
        })
        .unwrap();
}

/// The bytes of segments that are covered by a checksum: everything except the padding of a text.
fn used(history: &History) -> Vec<(u64, std::ops::Range<u64>)> {
    let mut used = Vec::new();
    for span in history.catalogue().spans() {
        let number = span.segment.0;
        used.push((number, 0..BLOCK));
        for nth in 0..(span.next_record - span.first_record) as usize {
            let (at, header) = history.record(number, nth);
            let bytes = header.header_bytes() as u64 + u64::from(header.payload_bytes);
            used.push((number, at..at + bytes));
        }
    }
    used
}
