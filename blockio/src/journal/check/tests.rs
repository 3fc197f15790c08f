//! Histories of every sort on real directories: whole they are clean, and each kind of damage is
//! found by its name.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::apply::{self, Assignment, Job, Options, StreamArgument};
use crate::device::open::Engine;
use crate::group::{Group, Place};
use crate::journal::dump;
use crate::journal::keeper::Settings;
use crate::journal::layout::{BLOCK_BYTES, RecordHeader, SegmentHeader};
use crate::journal::retention::Policy;
use crate::rollback;
use crate::stream::reader::Input;
use crate::stream::{
    Format, Mark, MarkKind, StreamHeader, Timestamp, VolumeHeader, VolumeIndex, native,
};
use crate::units::{ByteCount, ByteOffset};
use crate::volume::{self, TargetRequest};

const SIZE: u64 = 1 << 20;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// A history in a directory of its own.
struct History(TempDir);

impl History {
    /// Three streams, each with a point in its middle and one at its end.
    fn new() -> Self {
        let history = Self(tempfile::tempdir().unwrap());
        (1..=3).for_each(|round| history.apply(round, Settings::default()));
        history
    }

    fn place(&self) -> Place {
        let at = self.0.path().join("g");
        Place { state: at.clone(), history: Some(at) }
    }

    fn group(&self) -> Group {
        Group::open(&self.place(), "g").unwrap()
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.0.path().join(format!("g/segment-{number:016}"))
    }

    fn assignments(&self) -> Vec<Assignment> {
        let path = self.0.path().join("disk");
        if !path.exists() {
            File::create(&path).unwrap().set_len(SIZE).unwrap();
        }
        let request = TargetRequest { path: path.clone(), ..TargetRequest::default() };
        let target = volume::open(&request).unwrap();
        let identity = path.display().to_string();
        vec![Assignment { source: None, target: target.into(), identity }]
    }

    fn apply(&self, round: u8, history: Settings) {
        let input = Input::from_pipe(std::io::Cursor::new(stream(round)));
        let inputs = vec![StreamArgument::Open { name: "a pipe".to_owned(), input }];
        let options = Options {
            format: Some(Format::Native),
            engine: Engine::Blocking,
            ..Options::default()
        };
        let (assignments, group) = (self.assignments(), Some(self.group()));
        let history = Settings { segment_bytes: Some(128 << 10), ..history };
        let job = Job { inputs, assignments, group, options, history, ..Job::default() };
        apply::run(job, &AtomicBool::new(false), &mut |_| {}).unwrap();
    }

    fn roll_back(&self, to: u64) {
        let job = rollback::Job {
            group: self.group(),
            assignments: self.assignments(),
            to: PointId(to),
            engine: Engine::Blocking,
            history: Settings::default(),
            pool: None,
        };
        rollback::run(job, &AtomicBool::new(false), &mut |_| {}).unwrap();
    }

    fn check(&self) -> Report {
        let storage = crate::group::storage(&self.place()).unwrap();
        check(&storage, &AtomicBool::new(false), &mut |_| {}).unwrap()
    }

    /// All that was found, by name.
    fn classes(&self) -> Vec<Class> {
        let report = self.check();
        report.damage.iter().chain(&report.remarks).map(|finding| finding.class).collect()
    }

    fn catalogue(&self) -> Catalogue {
        Group::look(&self.place(), "g").unwrap().state().journal.clone().unwrap()
    }

    fn change_state(&self, change: impl FnOnce(&mut GroupState)) {
        self.group().update(change).unwrap();
    }

    fn change(&self, change: impl FnOnce(&mut Catalogue)) {
        self.change_state(|state| change(state.journal.as_mut().unwrap()));
    }

    /// The spans of the epoch that begins at point 1, which has images.
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

    /// The nth record of a segment: where it is, and its header.
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

/// A native stream that overwrites something in three places, with a point in its middle and one at
/// its end.
fn stream(round: u8) -> Vec<u8> {
    let size = Some(ByteCount::new(SIZE));
    let volumes = vec![VolumeHeader { size, ..VolumeHeader::default() }];
    let header = StreamHeader { format: Format::Native, identity: None, volumes };
    let mut bytes = Vec::new();
    let mut encoder = native::Encoder::new(&mut bytes, &header, Default::default()).unwrap();
    let mut put = |encoder: &mut native::Encoder<_>, at: u64, fill: u8| {
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
    history.apply(4, Settings::default());
    assert_eq!(history.classes(), []);
    let nothing = std::time::Duration::ZERO;
    let policy = Policy { window: nothing, keep_all: nothing, ..Policy::default() };
    history.apply(5, Settings { policy, ..Settings::default() });
    assert_eq!(history.classes(), []);
    assert!(history.check().points < first.points);
}
