//! A pipe that is silent: who waits for it, how long, and what is done meanwhile.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::*;
use crate::assignment::{Disk, OpenDevice};
use crate::device::buffer::Arena;
use crate::device::memory::MemoryDevice;
use crate::device::{BlockDevice, DeviceError, Flushed, Geometry, ReadBatch, Settled, WriteBatch};
use crate::units::SectorSize;

/// A silent pipe; it sets the stop flag when it has been waited for that often.
#[derive(Debug)]
struct StopsAfter {
    inputs: Inputs,
    stop: Arc<AtomicBool>,
    waits: usize,
    asked: Arc<Mutex<Vec<Duration>>>,
}

/// How long a source waits here at most: long compared to everything else that a run does.
const WAIT: Duration = Duration::from_millis(20);

impl Source for StopsAfter {
    fn is_also(&self, target: &File) -> Option<String> {
        self.inputs.is_also(target)
    }

    fn begin(&mut self, run: &Beginning<'_>) -> Result<u64> {
        self.inputs.begin(run)
    }

    fn next(&mut self, patience: Duration) -> Arrival {
        self.asked.lock().unwrap().push(patience);
        if !patience.is_zero() {
            self.waits -= 1;
            self.stop.store(self.waits == 0, Ordering::Relaxed);
        }
        self.inputs.next(patience.min(WAIT))
    }

    fn answer(&mut self, answer: Answer) {
        self.inputs.answer(answer);
    }

    fn durable(&mut self, _: u64) {}
}

#[test]
fn a_run_stops_while_its_pipe_is_silent_and_until_then_it_mostly_waits() {
    let diff = diff(rbd_diff::Version::V1, ("", "a"), 0, 1);
    // Before the first byte, in the first bytes, in a payload, and before the end.
    for (format, sent) in [(None, 0), (None, 5), (Some(Format::RbdDiff), diff.len() / 2)] {
        let place = Place::new();
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(&diff[..sent]).unwrap();
        let input = Input::from_file(File::from(std::os::fd::OwnedFd::from(reader))).unwrap();
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let source = StopsAfter {
            inputs: Inputs::new(vec![StreamArgument::Open { name: "silent".to_owned(), input }]),
            stop: Arc::clone(&stop),
            waits: 3,
            asked: Arc::clone(&asked),
        };
        let job = ApplyJob {
            source: Box::new(source),
            assignments: vec![place.target("disk", None)],
            options: ApplyOptions { format, engine: Engine::Blocking, ..ApplyOptions::default() },
            ..ApplyJob::default()
        };
        let begun = Instant::now();
        let outcome = run(&mut Group::default(), job, &stop, &mut |_| {}).unwrap();
        assert!(matches!(outcome.ending, Ending::Stopped), "{outcome:?}");
        assert!(begun.elapsed() >= 3 * WAIT, "{sent} bytes sent: it did not wait");
        let asked = asked.lock().unwrap();
        let silent = &asked[asked.len() - 6..];
        let (now, a_while) = (Duration::ZERO, Duration::from_millis(100));
        assert_eq!(silent, [now, a_while, now, a_while, now, a_while], "{sent} bytes sent");
    }
}

/// A disk on which what was begun is never known to be done, unless it is waited for.
struct Slow(MemoryDevice, Vec<Arc<Arena>>);

impl BlockDevice for Slow {
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn engine_name(&self) -> &'static str {
        "slow"
    }

    fn read_batch(&mut self, batch: ReadBatch) -> std::result::Result<Arena, DeviceError> {
        self.0.read_batch(batch)
    }

    fn write_batch(&mut self, batch: WriteBatch) -> std::result::Result<(), DeviceError> {
        self.1.push(Arc::clone(&batch.arena));
        self.0.write_batch(batch)
    }

    fn reap(&mut self) -> std::result::Result<bool, DeviceError> {
        panic!("there is memory: nobody has to wait for a write")
    }

    fn collect(&mut self) -> std::result::Result<bool, DeviceError> {
        Ok(true)
    }

    fn settle(&mut self) -> std::result::Result<Settled, DeviceError> {
        self.1.clear();
        self.0.settle()
    }

    fn flush(&mut self, settled: Settled) -> std::result::Result<Flushed, DeviceError> {
        self.0.flush(settled)
    }
}

#[test]
fn while_a_pipe_is_silent_writes_under_way_are_looked_after_less_and_less_often() {
    let volumes = [("db", SIZE)];
    let bytes = native_bytes(None, &volumes, 7);
    let (reader, mut writer) = std::io::pipe().unwrap();
    // All but the record at the end.
    writer.write_all(&bytes[..bytes.len() - 4096]).unwrap();
    let input = Input::from_file(File::from(std::os::fd::OwnedFd::from(reader))).unwrap();
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let source = StopsAfter {
        inputs: Inputs::new(vec![StreamArgument::Open { name: "silent".to_owned(), input }]),
        stop: Arc::clone(&stop),
        waits: 10,
        asked: Arc::clone(&asked),
    };
    let (capacity, sector_size) = (ByteCount::new(SIZE), SectorSize::Bytes512);
    let disk = Slow(MemoryDevice::new(Geometry { capacity, sector_size }), Vec::new());
    let disk = OpenDevice::new("a slow disk".to_owned(), Box::new(disk));
    let target = Assignment {
        volume: "db".into(),
        target: Disk::Device(disk),
        identity: "a slow disk".to_owned().into(),
    };
    let job = ApplyJob {
        source: Box::new(source),
        assignments: vec![target],
        options: of(Format::Native),
        ..ApplyJob::default()
    };
    let outcome = run(&mut Group::default(), job, &stop, &mut |_| {}).unwrap();
    assert!(matches!(outcome.ending, Ending::Stopped), "{outcome:?}");
    let asked = asked.lock().unwrap();
    let waits: Vec<_> = asked.iter().map(Duration::as_millis).filter(|wait| *wait > 0).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 100, 100, 100]);
}
