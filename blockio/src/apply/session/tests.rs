//! A session, step by step: it is fed by hand, and its clock is set by hand.

use std::cell::RefCell;
use std::fs::File;
use std::rc::Rc;
use std::sync::Mutex;

use super::*;
use crate::apply::source::{Answer, Arrival};
use crate::assignment::OpenDevice;
use crate::device::Geometry;
use crate::device::memory::MemoryDevice;
use crate::extent::Extent;
use crate::journal::catalogue::PointKind;
use crate::stream::{
    BatchHeader, End, Mark, MarkKind, Name, Timestamp, Totals, VolumeHeader, VolumeIndex,
};
use crate::units::{ByteCount, ByteOffset, SectorSize};
use crate::verify::{Bounds, verify};

mod admitting;
mod due;
mod whole;

const SIZE: u64 = 1 << 20;

/// A source that returns nothing by itself; it keeps what it is told.
#[derive(Debug, Default)]
struct Silent(Arc<Mutex<Vec<u64>>>);

impl Source for Silent {
    fn is_also(&self, _: &File) -> Option<String> {
        None
    }

    fn begin(&mut self, _: &Beginning<'_>) -> Result<u64> {
        Ok(0)
    }

    fn next(&mut self, _: Duration) -> Arrival {
        Arrival::Nothing
    }

    fn answer(&mut self, _: Answer) {}

    fn durable(&mut self, position: u64) {
        self.0.lock().unwrap().push(position);
    }
}

/// Everything that was reported.
#[derive(Default)]
struct Told {
    durable: Arc<Mutex<Vec<u64>>>,
    heard: Rc<RefCell<Vec<String>>>,
}

impl Told {
    /// The positions reported to the source as durable, since the last call.
    fn durable(&self) -> Vec<u64> {
        std::mem::take(&mut self.durable.lock().unwrap())
    }

    /// The reports to the operator since the last call.
    fn heard(&self) -> Vec<String> {
        self.heard.take()
    }
}

fn disk() -> MemoryDevice {
    let (capacity, sector_size) = (ByteCount::new(SIZE), SectorSize::Bytes512);
    MemoryDevice::new(Geometry { capacity, sector_size })
}

fn on(volume: &str, device: MemoryDevice) -> Assignment {
    let shown = format!("disk of {volume}");
    Assignment {
        volume: volume.into(),
        target: crate::assignment::Disk::Device(OpenDevice::new(shown.clone(), Box::new(device))),
        identity: shown.into(),
    }
}

/// A group with its history in memory.
fn with_history() -> Group {
    Group::in_storage(crate::sim::storage(1 << 14), "g").unwrap()
}

/// A group without a history: its state is in `directory`.
fn without_history(directory: &tempfile::TempDir) -> Group {
    Group::open(&crate::group::GroupPlace::without_history(directory.path()), "g").unwrap()
}

/// Begins a session and runs `steps` on it.
fn session(
    assignments: Vec<Assignment>,
    mut group: Group,
    options: ApplyOptions,
    steps: impl FnOnce(&mut Session<'_>, &Told),
) {
    let told = Told::default();
    let source = Box::new(Silent(Arc::clone(&told.durable)));
    let history = crate::apply::HistorySettings { in_thread: false, ..Default::default() };
    let job = ApplyJob { source, assignments, options, history, pool: None };
    let heard = Rc::clone(&told.heard);
    let mut observe = move |event: ApplyEvent<'_>| match event {
        ApplyEvent::Notice(notice) => heard.borrow_mut().push(notice.to_string()),
        ApplyEvent::VolumeFailed(error) => heard.borrow_mut().push(format!("failed: {error}")),
        ApplyEvent::Progress { .. } => {}
    };
    let stop = AtomicBool::new(false);
    steps(&mut Session::begin(&mut group, job, &stop, &mut observe).unwrap(), &told);
}

/// The same, with one volume, "db", of a group without a history.
fn plain_session(options: ApplyOptions, steps: impl FnOnce(&mut Session<'_>, &Told)) {
    let directory = tempfile::tempdir().unwrap();
    session(vec![on("db", disk())], without_history(&directory), options, steps);
}

/// The header of a native stream of these volumes, in write order.
fn header(volumes: &[&str]) -> StreamHeader {
    let of = |name: &&str| VolumeHeader {
        name: Name::new(name.as_bytes()),
        size: Some(ByteCount::new(SIZE)),
        ..VolumeHeader::default()
    };
    let volumes = volumes.iter().map(of).collect();
    let identity = Some([7; 16]);
    StreamHeader { format: Format::Native, is_in_write_order: true, identity, volumes }
}

/// The header of an rbd diff of "db" between two snapshots.
fn link(from: &str, to: &str) -> StreamHeader {
    let name = |text: &str| (!text.is_empty()).then(|| Name::new(text.as_bytes()).unwrap());
    let mut header = StreamHeader { format: Format::RbdDiff, identity: None, ..header(&["db"]) };
    (header.volumes[0].from, header.volumes[0].to) = (name(from), name(to));
    header
}

fn begin(header: StreamHeader) -> Fed {
    Fed::Begin { header, is_first: true, order: None, consumed: 10 }
}

fn at(byte: u64) -> Position {
    Position { byte, content: None }
}

/// 512 bytes of `fill` at the beginning of the first volume, in a batch that ends at `byte`.
fn batch(byte: u64, fill: u8) -> Fed {
    let mut arena = ArenaPool::new(1, ARENA_BYTES).unwrap().take().unwrap();
    arena.as_mut_slice()[..512].fill(fill);
    let piece = Piece {
        volume: VolumeIndex(0),
        extent: Extent::new(ByteOffset::ZERO, ByteCount::new(512)).unwrap(),
        content: Content::Data { position: 0 },
    };
    let header = BatchHeader { pieces: vec![piece], payload_bytes: 512, checksum: None };
    let bounds = [Bounds { source: None, target: Some(ByteCount::new(SIZE)) }];
    Fed::Batch(verify(Batch { header, arena }, &bounds).unwrap(), at(byte))
}

fn mark(byte: u64) -> Fed {
    let (time, kind) = (Timestamp(byte), MarkKind::CrashConsistent);
    Fed::Mark(Mark { time, kind, name: None, group: None }, at(byte))
}

fn end(byte: u64, marks: u64) -> Fed {
    Fed::End(End { totals: Totals { marks, ..Totals::default() }, consistent: true }, at(byte))
}

fn feed(session: &mut Session<'_>, fed: Fed) {
    assert!(matches!(session.take(fed), Ok(Next::Go)));
}

fn a_second_ago() -> Instant {
    Instant::now().checked_sub(CHECKPOINT_AFTER).unwrap()
}

/// An instant before which the test is over.
fn in_an_hour() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

fn point() -> NewPoint {
    NewPoint { time: 1, kind: PointKind::Crash, name: None }
}
