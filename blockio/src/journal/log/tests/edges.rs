//! What is durable when it is reported as such, what fits, and what remains when a log ends.

use std::sync::mpsc::{Receiver, Sender};

use super::*;
use crate::device::memory::MemoryDevice;
use crate::device::{DeviceError, Flushed, Geometry, ReadBatch, Settled, TRANSFER_BYTES_MAX};
use crate::journal::by_hand::ByHand;
use crate::journal::layout::RECORD_BYTES_MAX;
use crate::journal::log::writer::Writing;

const LENGTH: u64 = 8 << 20;

fn device() -> MemoryDevice {
    let (capacity, sector_size) = (ByteCount::new(LENGTH), SectorSize::Bytes512);
    MemoryDevice::new(Geometry { capacity, sector_size })
}

fn log(storage: Arc<dyn Storage>, in_thread: bool) -> Log {
    let end = End {
        identity: Identity::default(),
        epoch: PointId(1),
        next_segment: 2,
        next_record: 1,
        spans: Vec::new(),
        engine: Engine::default(),
    };
    Log::new(storage, end, 7, in_thread).unwrap()
}

/// A log that writes to `device`, as a segment of `length` bytes.
fn log_on(device: Box<dyn BlockDevice>, length: u64, in_thread: bool) -> Log {
    let mut log = log(Arc::new(Nothing), in_thread);
    log.worker.take(WriterCommand::Segment(device));
    let (segment, at) = (SegmentNumber(1), BLOCK_BYTES as u64);
    let (begun, durable_at, ends) = (Ticket(0), at, VecDeque::new());
    log.place = Some(LogPosition { segment, at, length, first_record: 1, begun, durable_at, ends });
    log
}

/// A record of `bytes` bytes, in memory that is full of other data.
fn record(log: &Log, bytes: usize) -> Draft {
    let length = NonZeroUsize::new(RECORD_BYTES_MAX).unwrap();
    let mut arena = ArenaPool::new(1, length).unwrap().take().unwrap();
    arena.as_mut_slice().fill(0xee);
    let text = "x".repeat(bytes - BLOCK_BYTES);
    Draft::of_text(RecordKind::EpochBegins, &text, arena, log.stamp()).unwrap()
}

#[test]
fn a_record_goes_only_where_there_is_room_for_all_of_it() {
    let block = BLOCK_BYTES as u64;
    for (room, fits) in [(2 * block, true), (2 * block - 1, false)] {
        let mut log = log_on(Box::new(device()), block + room, false);
        let draft = record(&log, 2 * BLOCK_BYTES);
        assert_eq!(log.has_room(2 * BLOCK_BYTES), fits);
        assert_eq!(log.submit(draft).is_ok(), fits, "{room}");
        assert_eq!(log.next_numbers().1, if fits { 2 } else { 1 });
    }
}

#[test]
fn a_record_is_durable_once_it_was_asked_for_and_flushed_and_not_before() {
    let mut log = log_on(Box::new(device()), LENGTH, false);
    let ticket = log.submit(record(&log, 2 * BLOCK_BYTES)).unwrap();
    assert_eq!(log.durable, Ticket(0));
    assert!(log.poll(ticket).unwrap().is_some());
    assert_eq!(log.durable, ticket);

    let mut log = log_on(Box::new(device().failing_flushes(0, libc::EIO)), LENGTH, false);
    let ticket = log.submit(record(&log, 2 * BLOCK_BYTES)).unwrap();
    assert!(log.poll(Ticket(0)).unwrap().is_some());
    assert!(log.poll(ticket).is_err());
    assert!(log.poll(ticket).is_err());
}

#[test]
fn no_end_is_told_of_records_that_are_not_durable_or_of_another_epoch() {
    let mut log = log_on(Box::new(device()), LENGTH, false);
    let ticket = log.submit(record(&log, 2 * BLOCK_BYTES)).unwrap();
    let end = log.durable_end(PointId(1)).unwrap();
    assert_eq!((end.next_segment, end.next_record, end.spans.len()), (2, 2, 1));
    assert_eq!(log.durable, ticket);
    let refused = log.durable_end(PointId(2)).unwrap_err();
    assert!(refused.to_string().contains("the beginning of epoch 1 was not recorded"));

    let mut log = log_on(Box::new(device().failing_flushes(0, libc::EIO)), LENGTH, false);
    let _ = log.submit(record(&log, 2 * BLOCK_BYTES)).unwrap();
    assert!(log.durable_end(PointId(1)).is_err());
}

#[test]
fn a_record_of_several_transfers_is_written_to_its_end_and_not_further() {
    let look = device();
    let mut log = log_on(Box::new(look.clone()), LENGTH, false);
    let bytes = 2 * TRANSFER_BYTES_MAX + BLOCK_BYTES;
    let ticket = log.submit(record(&log, bytes)).unwrap();
    let _ = log.wait(ticket).unwrap();
    let written = look.contents();
    let (record, rest) = written[BLOCK_BYTES..].split_at(bytes);
    assert!(record[BLOCK_BYTES..].iter().all(|byte| *byte == b'x'));
    assert!(rest.iter().all(|byte| *byte == 0));
}

#[test]
fn a_segment_that_is_begun_is_no_news_until_a_record_is_in_it() {
    let ((jobs, inbox), (outbox, done)) = (channel(), channel());
    jobs.send(WriterCommand::Segment(Box::new(device()))).unwrap();
    drop(jobs);
    Writing::default().run(&inbox, &outbox);
    assert!(done.try_recv().is_err());
}

#[test]
fn room_that_was_not_used_is_given_back_when_the_log_ends() {
    let storage = Arc::new(ByHand::default());
    let mut log = log(Arc::clone(&storage) as Arc<dyn Storage>, false);
    log.begin_segment(PointId(1), 32 * BLOCK_BYTES as u64, 1).unwrap();
    let ticket = log.submit(record(&log, 2 * BLOCK_BYTES)).unwrap();
    let _ = log.wait(ticket).unwrap();
    assert_eq!(*storage.shortened.lock().unwrap(), []);
    drop(log);
    assert_eq!(*storage.shortened.lock().unwrap(), [(2, 3 * BLOCK_BYTES as u64)]);
}

/// A disk that reports when it begins to write, and waits until it may.
struct Held {
    begins: Sender<()>,
    may: Receiver<()>,
    disk: MemoryDevice,
}

impl BlockDevice for Held {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn engine_name(&self) -> &'static str {
        "held"
    }

    fn read_batch(&mut self, batch: ReadBatch) -> std::result::Result<Arena, DeviceError> {
        self.disk.read_batch(batch)
    }

    fn write_batch(&mut self, batch: WriteBatch) -> std::result::Result<(), DeviceError> {
        self.begins.send(()).unwrap();
        self.may.recv().unwrap();
        self.disk.write_batch(batch)
    }

    fn reap(&mut self) -> std::result::Result<bool, DeviceError> {
        self.disk.reap()
    }

    fn settle(&mut self) -> std::result::Result<Settled, DeviceError> {
        self.disk.settle()
    }

    fn flush(&mut self, settled: Settled) -> std::result::Result<Flushed, DeviceError> {
        self.disk.flush(settled)
    }
}

#[test]
fn a_log_that_ends_waits_for_what_its_thread_writes() {
    let ((begins, began), (let_go, may)) = (channel(), channel());
    let disk = device();
    let held = Held { begins, may, disk: disk.clone() };
    let mut log = log_on(Box::new(held), LENGTH, true);
    let _ = log.submit(record(&log, 2 * BLOCK_BYTES)).unwrap();
    began.recv().unwrap();
    let (ended, ends) = channel();
    let dropping = std::thread::spawn(move || {
        drop(log);
        ended.send(()).unwrap();
    });
    assert!(ends.recv_timeout(Duration::from_millis(20)).is_err(), "it did not wait");
    let_go.send(()).unwrap();
    ends.recv_timeout(Duration::from_secs(30)).unwrap();
    dropping.join().unwrap();
    assert_eq!(disk.contents()[2 * BLOCK_BYTES], b'x');
}

#[test]
fn the_end_so_far_is_that_of_the_records_that_are_durable() {
    let ((begins, began), (let_go, may)) = (channel(), channel());
    let held = Held { begins, may, disk: device() };
    let mut log = log_on(Box::new(held), LENGTH, true);
    let first = log.submit(record(&log, 2 * BLOCK_BYTES)).unwrap();
    began.recv().unwrap();
    let_go.send(()).unwrap();
    let _ = log.wait(first).unwrap();
    let _ = log.submit(record(&log, 2 * BLOCK_BYTES)).unwrap();
    began.recv().unwrap();
    let end = log.durable_end_so_far(PointId(1)).unwrap();
    let [last] = end.spans.as_slice() else { panic!("{:?}", end.spans) };
    assert_eq!((last.bytes, last.next_record), (3 * BLOCK_BYTES as u64, 2));
    assert_eq!((end.next_record, end.next_segment), (2, 2));
    let_go.send(()).unwrap();
    let end = log.durable_end(PointId(1)).unwrap();
    assert_eq!((end.spans[0].bytes, end.next_record), (5 * BLOCK_BYTES as u64, 3));
}

#[test]
fn there_is_an_end_so_far_in_a_segment_only_once_its_header_is_durable() {
    let ((begins, began), (let_go, may)) = (channel(), channel());
    let held = Held { begins, may, disk: device() };
    let mut log = log_on(Box::new(held), LENGTH, true);
    let _ = log.submit(record(&log, 2 * BLOCK_BYTES)).unwrap();
    began.recv().unwrap();
    let (told, heard) = channel();
    let asking = std::thread::spawn(move || {
        let end = log.durable_end_so_far(PointId(1)).unwrap();
        told.send((end.spans, end.next_record, end.next_segment)).unwrap();
    });
    assert!(heard.recv_timeout(Duration::from_millis(20)).is_err(), "it did not wait");
    let_go.send(()).unwrap();
    let (spans, next_record, next_segment) = heard.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!((spans.len(), next_record, next_segment), (1, 2, 2));
    asking.join().unwrap();
}

#[test]
fn an_end_so_far_waits_for_the_segments_before_the_last() {
    let ((begins, began), (let_go, may)) = (channel(), channel());
    let held = Held { begins, may, disk: device() };
    let mut log = log_on(Box::new(held), LENGTH, true);
    let _ = log.submit(record(&log, 2 * BLOCK_BYTES)).unwrap();
    began.recv().unwrap();
    // Another segment, as `begin_segment` makes it.
    let first = log.place.take().unwrap();
    log.spans.push(Span {
        segment: first.segment,
        bytes: first.at,
        first_record: first.first_record,
        next_record: 2,
    });
    log.worker.take(WriterCommand::Segment(Box::new(device())));
    let (at, begun) = (BLOCK_BYTES as u64, log.submitted);
    log.place = Some(LogPosition {
        segment: SegmentNumber(2),
        at,
        length: LENGTH,
        first_record: 2,
        begun,
        durable_at: at,
        ends: VecDeque::new(),
    });
    let (told, heard) = channel();
    let asking = std::thread::spawn(move || {
        let end = log.durable_end_so_far(PointId(1)).unwrap();
        told.send((end.spans.len(), end.next_record)).unwrap();
    });
    assert!(heard.recv_timeout(Duration::from_millis(20)).is_err(), "it did not wait");
    let_go.send(()).unwrap();
    assert_eq!(heard.recv_timeout(Duration::from_secs(30)).unwrap(), (1, 2));
    asking.join().unwrap();
}

#[test]
fn a_segment_without_a_record_is_in_no_state() {
    let storage = Arc::new(ByHand::default());
    let mut log = log(Arc::clone(&storage) as Arc<dyn Storage>, false);
    log.begin_segment(PointId(1), 32 * BLOCK_BYTES as u64, 1).unwrap();
    let end = log.durable_end(PointId(1)).unwrap();
    assert_eq!((end.spans.len(), end.next_segment), (0, 2));
    let ticket = log.submit(record(&log, 2 * BLOCK_BYTES)).unwrap();
    let _ = log.wait(ticket).unwrap();
    let end = log.durable_end(PointId(1)).unwrap();
    assert_eq!((end.spans.len(), end.next_segment), (1, 3));
}

#[test]
fn there_is_no_end_so_far_of_another_epoch_or_of_a_log_that_failed() {
    let mut log = log_on(Box::new(device().failing_flushes(0, libc::EIO)), LENGTH, false);
    assert!(log.durable_end_so_far(PointId(2)).is_err());
    let _ = log.submit(record(&log, 2 * BLOCK_BYTES)).unwrap();
    assert!(log.durable_end_so_far(PointId(1)).is_err());
}
