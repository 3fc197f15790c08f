//! Works on many pieces of a disk in parallel, in bounded memory, with results in order. What is
//! done with a piece is up to `hashing` and `differences`.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;

use rayon::{BroadcastContext, ThreadPool, ThreadPoolBuilder};

use crate::extent::Extent;
use crate::units::{ByteCount, ByteOffset};
use crate::view::{Allocation, View};
use crate::{Error, ErrorKind, Result};

/// One read, in bytes.
pub(super) const READ_BYTES: usize = 1 << 20;
/// More threads than this only wait for the disk; each has memory for two reads.
const THREADS_MAX: usize = 16;
/// How much of a disk is given to the threads before waiting for the slowest of them.
const ROUND_BYTES: u64 = 128 << 20;

/// Watches the progress of the work, and may stop it.
pub struct Watch<'a> {
    /// When set, the work soon ends with an error.
    pub stop: &'a AtomicBool,
    /// Called repeatedly with the number of bytes done.
    pub progress: &'a mut dyn FnMut(u64),
}

/// Threads, and memory for one read of each.
pub(super) struct Crew {
    pool: ThreadPool,
    memory: Mutex<Vec<Vec<u8>>>,
}

impl Crew {
    pub(super) fn new() -> Result<Self> {
        let threads = available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|cause| Error::failed("starting threads", cause))?;
        Ok(Self { pool, memory: Mutex::default() })
    }

    /// Lends memory for one read; it still holds the bytes of its last user.
    pub(super) fn with_memory<T>(&self, work: impl FnOnce(&mut [u8]) -> T) -> T {
        let lock = || self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut memory = lock().pop().unwrap_or_else(|| vec![0; READ_BYTES]);
        let result = work(&mut memory);
        lock().push(memory);
        result
    }

    /// Runs `work` on each piece of `piece_bytes` of `length`, and passes the results to `take` in
    /// the order of the pieces.
    pub(super) fn each_piece<T: Send>(
        &self,
        (length, piece_bytes): (ByteCount, u64),
        watch: &mut Watch<'_>,
        work: impl Fn(Extent) -> Result<T> + Sync,
        mut take: impl FnMut(T),
    ) -> Result<()> {
        let pieces = length.get().div_ceil(piece_bytes);
        let round = (ROUND_BYTES / piece_bytes).max(2 * self.pool.current_num_threads() as u64);
        let stop = watch.stop;
        let one = |index: u64| {
            if stop.load(Ordering::Relaxed) {
                return Err(stopped());
            }
            work(piece(index, piece_bytes, length))
        };
        for first in (0..pieces).step_by(round as usize) {
            let end = first.saturating_add(round).min(pieces);
            self.round(first..end, &one)?.into_iter().for_each(&mut take);
            (watch.progress)(end.saturating_mul(piece_bytes).min(length.get()));
        }
        Ok(())
    }

    /// The results of `one` for each of `indices`, or the first error. An idle thread takes the
    /// next index, so that the disk is read sequentially: some disks are slow at random access.
    fn round<T: Send>(
        &self,
        indices: Range<u64>,
        one: &(impl Fn(u64) -> Result<T> + Sync),
    ) -> Result<Vec<T>> {
        let next = AtomicU64::new(indices.start);
        let of_one_thread = |_: BroadcastContext<'_>| {
            let mut results = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= indices.end {
                    return results;
                }
                let result = one(index);
                if result.is_err() {
                    // The others finish what they have begun, and begin nothing more.
                    next.fetch_max(indices.end, Ordering::Relaxed);
                }
                results.push((index, result));
            }
        };
        let mut results: Vec<_> =
            self.pool.broadcast(of_one_thread).into_iter().flatten().collect();
        results.sort_unstable_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

fn piece(index: u64, piece_bytes: u64, length: ByteCount) -> Extent {
    let start = index * piece_bytes;
    let end = start.saturating_add(piece_bytes).min(length.get());
    Extent::between(ByteOffset::new(start), ByteOffset::new(end))
        .expect("invariant: a piece begins before the end")
}

fn stopped() -> Error {
    Error::new(ErrorKind::Failed, "stopped before the end, as requested")
}

/// Calls `each` with the bytes of `extent` in order, through `memory`; holes are not read.
pub(super) fn read_through(
    view: &View,
    extent: Extent,
    memory: &mut [u8],
    each: impl FnMut(&[u8]),
) -> Result<()> {
    read_parts(&view.allocation(extent)?, memory, |at, bytes| view.read(at, bytes), each)
}

fn read_parts(
    parts: &[Allocation],
    memory: &mut [u8],
    mut read: impl FnMut(ByteOffset, &mut [u8]) -> Result<()>,
    mut each: impl FnMut(&[u8]),
) -> Result<()> {
    for part in parts {
        let mut from = part.extent.start().get();
        let end = part.extent.end().get();
        if part.is_hole {
            memory.fill(0);
        }
        while from < end {
            let length = (end - from).min(memory.len() as u64);
            let bytes = &mut memory[..length as usize];
            if !part.is_hole {
                read(ByteOffset::new(from), bytes)?;
            }
            each(bytes);
            from += length;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start: u64, end: u64, is_hole: bool) -> Allocation {
        let (start, end) = (ByteOffset::new(start), ByteOffset::new(end));
        Allocation { extent: Extent::between(start, end).unwrap(), is_hole }
    }

    #[test]
    fn holes_are_zeros_that_nobody_reads() {
        let parts = [part(3, 10, false), part(10, 40, true), part(40, 41, false)];
        let (mut memory, mut read, mut seen) = (vec![9; 4], Vec::new(), Vec::new());
        let reading = |at: ByteOffset, bytes: &mut [u8]| {
            read.push((at.get(), bytes.len()));
            bytes.fill(7);
            Ok(())
        };
        read_parts(&parts, &mut memory, reading, |bytes| seen.extend_from_slice(bytes)).unwrap();
        assert_eq!(read, [(3, 4), (7, 3), (40, 1)]);
        assert_eq!(seen, [vec![7; 7], vec![0; 30], vec![7; 1]].concat());
    }

    #[test]
    fn results_come_in_order_and_memory_is_used_again() {
        let crew = Crew::new().unwrap();
        let (stop, mut told, mut starts) = (AtomicBool::new(false), Vec::new(), Vec::new());
        let mut progress = |bytes| told.push(bytes);
        let mut watch = Watch { stop: &stop, progress: &mut progress };
        let length = ByteCount::new(3 * ROUND_BYTES + 5);
        let work = |extent: Extent| crew.with_memory(|_| Ok(extent.start().get()));
        crew.each_piece((length, 1 << 20), &mut watch, work, |start| starts.push(start)).unwrap();
        assert_eq!(starts, (0..=3 * ROUND_BYTES).step_by(1 << 20).collect::<Vec<_>>());
        assert_eq!(told.last(), Some(&length.get()));
        assert!(crew.memory.lock().unwrap().len() <= THREADS_MAX);
    }

    #[test]
    fn the_error_of_one_piece_is_the_error_of_all() {
        let crew = Crew::new().unwrap();
        let failing = |index: u64| if index == 3 { Err(stopped()) } else { Ok(index) };
        assert!(crew.round(0..1000, &failing).is_err());
        assert_eq!(crew.round(4..7, &failing).unwrap(), [4, 5, 6]);
    }
}
