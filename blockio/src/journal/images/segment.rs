//! A segment that has some of the images: its records are compared with their checksums, all of
//! them or those that hold what is read, and images are read from it. Which of them counts is not
//! known here.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::device::buffer::{Arena, ArenaPool};
use crate::device::shared::Shared;
use crate::device::{
    BlockDevice, DeviceError, Engine, ReadBatch, Reading, TRANSFER_BYTES_MAX, Transfer,
};
use crate::journal::index::ImageLocation;
use crate::journal::layout::padded;
use crate::remedy::{PointRemedy, Remedied};
use crate::storage::SegmentNumber;
use crate::units::ByteOffset;
use crate::{Error, ErrorKind, Result};

/// How much of a record is read at a time to be compared with its checksum, in bytes: what is under
/// way stays in the cache of a core until the checksum has been computed.
const PIECE_BYTES: usize = 1 << 20;
/// What nobody wants is read along with what is wanted before and after it up to this length, in
/// bytes: that is faster than another read.
const GAP_BYTES_MAX: u64 = 128 << 10;
const NO_RECORD: &str = "an image is in no record";
/// How many pieces of a segment are read ahead, or being compared.
const PIECES: usize = 2;

/// Where bytes are, their position in the arena that they are read into, and how many there are.
pub(super) type PlacedRead = (ImageLocation, usize, usize);

/// A segment.
pub(super) struct Segment {
    number: SegmentNumber,
    device: Shared,
    records: Mutex<Vec<Checked>>,
}

/// A record, and whether its payload was already compared with its checksum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    pub(super) payload_at: u64,
    pub(super) payload_bytes: u32,
    pub(super) checksum: u32,
    pub(super) is_whole: bool,
}

impl Checked {
    /// Where its payload ends, in whole blocks.
    fn end(&self) -> u64 {
        self.payload_at + padded(self.payload_bytes as usize) as u64
    }
}

/// Records that are read together: from the payload of the first to the end of the last.
struct Run {
    from: u64,
    until: u64,
    /// Their indexes.
    records: Range<usize>,
}

/// A part of the payload of a record.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// The index of its record.
    record: usize,
    at: u64,
    length: usize,
    is_last: bool,
}

impl Segment {
    /// Segment `number`, open as `device`, with `records`, ascending.
    pub(super) fn new(
        number: SegmentNumber,
        device: Box<dyn BlockDevice>,
        records: Vec<Checked>,
    ) -> Self {
        Self { number, device: Shared::new(device), records: Mutex::new(records) }
    }

    /// Adds records after the last.
    pub(super) fn extend(&self, records: impl Iterator<Item = Checked>) {
        lock(&self.records).extend(records);
    }

    /// The bytes of all records.
    pub(super) fn record_bytes(&self) -> u64 {
        lock(&self.records).iter().map(|record| u64::from(record.payload_bytes)).sum()
    }

    /// The same segment with a queue of transfers, for whoever reads much of it; `None` if `engine`
    /// has none.
    pub(super) fn queue(&self, engine: Engine) -> Option<Box<dyn BlockDevice>> {
        match engine {
            Engine::Blocking => None,
            Engine::Auto | Engine::Uring => self.device.another(engine),
        }
    }

    /// Reads `places` of this segment into `arena`, through `queue` if there is one.
    ///
    /// # Errors
    ///
    /// `Integrity`: a record does not match its checksum. `Failed`: it cannot be read.
    pub(super) fn read(
        &self,
        places: &[PlacedRead],
        arena: Arena,
        pool: &ArenaPool,
        queue: Option<&mut dyn BlockDevice>,
    ) -> Result<Arena> {
        let mut reads: Vec<Transfer> = Vec::with_capacity(places.len());
        for (place, position, length) in places {
            let ImageLocation::Segment { at, .. } = place else { continue };
            self.check_what_holds(*at, *length as u64, pool)?;
            let next = Transfer { at: ByteOffset::new(*at), position: *position, length: *length };
            match reads.last_mut().filter(|last| continues(last, &next)) {
                Some(last) => last.length += next.length,
                None => reads.push(next),
            }
        }
        let batch = ReadBatch { arena, reads };
        let read = match queue {
            Some(queue) => queue.read_batch(batch),
            None => self.device.read_batch(batch),
        };
        read.map_err(|error| self.unreadable(error))
    }

    /// Copies `places` of this segment, ascending, to `arena`: the records that hold them are read
    /// into `through` one after the other, as many at a time as fit, and are compared with their
    /// checksums there. Returns `through`, which holds at least one record.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(super) fn read_through(
        &self,
        places: &[PlacedRead],
        arena: &mut Arena,
        mut through: Arena,
    ) -> Result<Arena> {
        let wanted = places.iter().filter_map(|(place, position, length)| match place {
            ImageLocation::Segment { at, .. } => Some((*at, *position, *length)),
            ImageLocation::Zeros => None,
        });
        let wanted: Vec<_> = wanted.collect();
        let mut rest = wanted.as_slice();
        while !rest.is_empty() {
            let room = through.as_slice().len() as u64;
            let Run { from, until, records } = self.run(rest.iter().map(|(at, ..)| *at), room)?;
            through = self.read_whole(from, until, through)?;
            for number in records {
                let record = lock(&self.records)[number];
                if !record.is_whole && !planted!(ImageNotChecked) {
                    let begin = (record.payload_at - from) as usize;
                    let payload = &through.as_slice()[begin..][..record.payload_bytes as usize];
                    self.compared(number, crc32c::crc32c(payload))?;
                }
            }
            let (here, later) = rest.split_at(rest.partition_point(|(at, ..)| *at < until));
            for (at, position, length) in here {
                let begin = (at - from) as usize;
                let found = through.as_slice().get(begin..begin + length);
                let found = found.ok_or_else(|| damaged(self.number, NO_RECORD))?;
                arena.as_mut_slice()[*position..position + length].copy_from_slice(found);
            }
            rest = later;
        }
        Ok(through)
    }

    /// The records that hold the first of the bytes `at`, ascending, and as many more of them as
    /// can be read into `room` without much that nobody wants.
    fn run(&self, at: impl Iterator<Item = u64>, room: u64) -> Result<Run> {
        let records = lock(&self.records);
        let mut run: Option<Run> = None;
        for at in at {
            let number = records.partition_point(|one| one.payload_at <= at).checked_sub(1);
            let holds = number.and_then(|number| Some((number, records.get(number)?)));
            let holds = holds.filter(|(_, record)| at < record.end());
            let (number, record) = holds.ok_or_else(|| damaged(self.number, NO_RECORD))?;
            let from = run.as_ref().map_or(record.payload_at, |run| run.from);
            let first = run.as_ref().map_or(number, |run| run.records.start);
            let before = run.as_ref().map_or(from, |run| run.until);
            let is_near = record.payload_at <= before + GAP_BYTES_MAX;
            if run.is_some() && (!is_near || record.end() - from > room) {
                break;
            }
            run = Some(Run { from, until: record.end(), records: first..number + 1 });
        }
        run.ok_or_else(|| damaged(self.number, NO_RECORD))
    }

    /// Reads the bytes `from..until`, in whole blocks, to the beginning of `arena`.
    fn read_whole(&self, from: u64, until: u64, arena: Arena) -> Result<Arena> {
        // No longer than the arena.
        let total = (until - from) as usize;
        let reads = (0..total).step_by(TRANSFER_BYTES_MAX).map(|position| Transfer {
            at: ByteOffset::new(from + position as u64),
            position,
            length: (total - position).min(TRANSFER_BYTES_MAX),
        });
        let batch = ReadBatch { arena, reads: reads.collect() };
        self.device.read_batch(batch).map_err(|error| self.unreadable(error))
    }

    /// Checks that the records that hold `length` bytes from `at` on match their checksums.
    pub(super) fn check_what_holds(&self, at: u64, length: u64, pool: &ArenaPool) -> Result<()> {
        planted!(ImageNotChecked => { return Ok(()) });
        let unknown: Vec<_> = {
            let records = lock(&self.records);
            let first = records.partition_point(|one| one.payload_at <= at).saturating_sub(1);
            let end = records.partition_point(|one| one.payload_at < at + length);
            (first..end).filter(|number| !records[*number].is_whole).collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        // Taken before a device is: those who hold memory may be waiting for the device.
        let arena = pool.take()?;
        self.device.with(|one| self.check(one, &unknown, (arena, pool), &mut |_| Ok(())))
    }

    /// Compares all records with their checksums, one after the other, each only once, reading
    /// through `queue` if there is one; `observe` receives the bytes of each, and ends the check by
    /// returning an error.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and the error of `observe`.
    pub(super) fn check_all(
        &self,
        queue: Option<Box<dyn BlockDevice>>,
        pool: &ArenaPool,
        observe: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let (mut known, mut numbers) = (0, Vec::new());
        for (record, number) in lock(&self.records).iter().zip(0..) {
            match record.is_whole {
                true => known += u64::from(record.payload_bytes),
                false => numbers.push(number),
            }
        }
        if known > 0 {
            observe(known)?;
        }
        let arena = pool.take()?;
        match queue {
            Some(mut queue) => self.check(queue.as_mut(), &numbers, (arena, pool), observe),
            None => self.device.with(|one| self.check(one, &numbers, (arena, pool), observe)),
        }
    }

    /// Compares the records `numbers`, read from `device` some pieces ahead: into the arena, and
    /// into more of the pool if others leave it some.
    fn check(
        &self,
        device: &mut dyn BlockDevice,
        numbers: &[usize],
        (arena, pool): (Arena, &ArenaPool),
        observe: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let mut pieces = self.pieces(numbers).into_iter().peekable();
        let mut under_way: VecDeque<(Piece, Reading)> = VecDeque::new();
        let (mut empty, mut checksum) = (vec![arena], 0);
        loop {
            while pieces.peek().is_some() && under_way.len() < PIECES {
                let Some(arena) = empty.pop().or_else(|| pool.try_take()) else { break };
                let Some(piece) = pieces.next() else { break };
                under_way.push_back((piece, self.begin(device, piece, arena)?));
            }
            let Some((piece, reading)) = under_way.pop_front() else { return Ok(()) };
            let arena = match reading {
                Reading::Done(arena) => arena,
                Reading::UnderWay => device.finish_read().map_err(|e| self.unreadable(e))?,
            };
            checksum = crc32c::crc32c_append(checksum, &arena.as_slice()[..piece.length]);
            empty.push(arena);
            if piece.is_last {
                observe(self.compared(piece.record, checksum)?)?;
                checksum = 0;
            }
        }
    }

    fn begin(&self, device: &mut dyn BlockDevice, piece: Piece, arena: Arena) -> Result<Reading> {
        if piece.length == 0 {
            // A record of nothing but zeros has no payload.
            return Ok(Reading::Done(arena));
        }
        let at = ByteOffset::new(piece.at);
        let reads = vec![Transfer { at, position: 0, length: padded(piece.length) }];
        device.begin_read(ReadBatch { arena, reads }).map_err(|error| self.unreadable(error))
    }

    /// The payloads of the records `numbers`, in pieces.
    fn pieces(&self, numbers: &[usize]) -> Vec<Piece> {
        let records = lock(&self.records);
        let mut pieces = Vec::new();
        for &record in numbers {
            let (from, total) =
                (records[record].payload_at, records[record].payload_bytes as usize);
            let mut done = 0;
            loop {
                let length = (total - done).min(PIECE_BYTES);
                let at = from + done as u64;
                done += length;
                pieces.push(Piece { record, at, length, is_last: done == total });
                if done == total {
                    break;
                }
            }
        }
        pieces
    }

    /// Compares the `checksum` of the payload of a record; returns its bytes.
    fn compared(&self, number: usize, checksum: u32) -> Result<u64> {
        let record = &mut lock(&self.records)[number];
        if checksum != record.checksum {
            let at = record.payload_at;
            return Err(damaged(self.number, &format!("the images at byte {at} are damaged")));
        }
        record.is_whole = true;
        Ok(u64::from(record.payload_bytes))
    }

    fn unreadable(&self, error: DeviceError) -> Error {
        Error::failed(format!("reading segment {} of the history", self.number.0), error.cause)
    }
}

fn continues(last: &Transfer, next: &Transfer) -> bool {
    last.at.get() + last.length as u64 == next.at.get()
        && last.position + last.length == next.position
        && last.length + next.length <= TRANSFER_BYTES_MAX
}

/// A thread that panicked was only copying: nothing behind the mutex is half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error for a damaged segment.
pub(crate) fn damaged(number: SegmentNumber, what: &str) -> Error {
    let context = format!("reading segment {} of the history: {what}", number.0);
    Error::new(ErrorKind::Integrity, context).remedied(PointRemedy::ListLost)
}

#[cfg(test)]
pub(super) mod tests;
