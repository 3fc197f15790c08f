//! All images since a recovery point: found by reading the headers of its records and of all later
//! ones; the images themselves are read on request. No image is returned unless its record matches
//! its checksum.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::device::buffer::{Arena, ArenaPool};
use crate::device::{BlockDevice, ReadBatch, TRANSFER_BYTES_MAX, Transfer};
use crate::extent::Extent;
use crate::journal::catalogue::{Catalogue, PointId, Span};
use crate::journal::index::{Image, ImageIndex, ImageLocation};
use crate::journal::layout::{BLOCK_BYTES, Held, Identity, RecordKind, padded};
use crate::journal::memo::EpochMemo;
use crate::journal::scan::{Next, Record, SegmentError, SegmentReader, WINDOW_BYTES, read};
use crate::journal::state::Progress;
use crate::remedy::{PointRemedy, Remedied};
use crate::storage::{SegmentNumber, Storage};
use crate::units::ByteOffset;
use crate::{Error, ErrorKind, Result};

/// How many segments are compared with their checksums simultaneously.
const CHECKERS: usize = 4;

/// The images of all volumes since a point.
pub(crate) struct Images {
    segments: Vec<Arc<Segment>>,
    indexes: Vec<ImageIndex>,
    memo: Option<EpochMemo>,
}

/// A segment that has some of the images.
struct Segment {
    number: SegmentNumber,
    device: Mutex<Box<dyn BlockDevice>>,
    records: Mutex<Vec<Checked>>,
}

/// A record, and whether its payload was already compared with its checksum.
#[derive(Clone, Copy, Debug)]
struct Checked {
    payload_at: u64,
    payload_bytes: u32,
    checksum: u32,
    is_whole: bool,
}

impl Images {
    /// One more than the highest number of a volume with images.
    pub(crate) fn volume_count(&self) -> usize {
        self.indexes.len()
    }

    /// The images since `point` of `catalogue`, as far as its spans go. `observe` receives the
    /// number of bytes of each segment.
    ///
    /// # Errors
    ///
    /// `Integrity`: a segment is missing or damaged. `Failed`: it cannot be read.
    pub(crate) fn since(
        storage: &Arc<dyn Storage>,
        catalogue: &Catalogue,
        point: PointId,
        pool: &ArenaPool,
    ) -> Result<Self> {
        let mut images = Self { segments: Vec::new(), indexes: Vec::new(), memo: None };
        images.indexes.resize_with(catalogue.volumes.len(), ImageIndex::default);
        let from = catalogue.points.iter().filter(|one| one.id >= point);
        let mut spans: Vec<&Span> = from.flat_map(|one| &one.spans).collect();
        if planted!(MergeKeepsTheLaterImage) {
            spans.reverse();
        }
        for span in spans {
            let number = span.segment;
            let mut reader = open(storage, &catalogue.identity, number, pool)
                .map_err(|error| unreadable(number, error))?;
            let place = images.next_place()?;
            let mut records = Vec::new();
            while reader.next_record() < span.next_record {
                match reader.next().map_err(|error| unreadable(number, error))? {
                    Next::Record(record) => {
                        records.extend(images.index(place, &record, &mut reader)?);
                    }
                    Next::End(why) => {
                        let missing = reader.next_record();
                        return Err(damaged(number, &format!("record {missing}: {why}")));
                    }
                }
            }
            images.segments.push(Segment::new(number, reader.into_device(), records));
        }
        Ok(images)
    }

    /// Adds segment `number`, open as `device`, as the next one.
    pub(crate) fn begin_segment(
        &mut self,
        number: SegmentNumber,
        device: Box<dyn BlockDevice>,
    ) -> Result<u32> {
        let place = self.next_place()?;
        self.segments.push(Segment::new(number, device, Vec::new()));
        Ok(place)
    }

    fn next_place(&self) -> Result<u32> {
        u32::try_from(self.segments.len())
            .map_err(|error| Error::failed("reading the history: too many segments", error))
    }

    /// Adds `record` of the segment at `place`, whose payload was already compared with its
    /// checksum.
    pub(crate) fn take(
        &mut self,
        place: u32,
        record: &Record,
        reader: &mut SegmentReader,
    ) -> Result<()> {
        let records = self.index(place, record, reader)?;
        let whole = records.map(|record| Checked { is_whole: true, ..record });
        lock(&self.segments[place as usize].records).extend(whole);
        Ok(())
    }

    /// Indexes the content of `record`; returns the record if it has images.
    fn index(
        &mut self,
        place: u32,
        record: &Record,
        reader: &mut SegmentReader,
    ) -> Result<Option<Checked>> {
        let header = &record.header;
        let number = reader.header().number;
        match header.kind {
            RecordKind::Images => {}
            RecordKind::EpochBegins if self.memo.is_none() => {
                let text = reader.text(record).map_err(|e| unreadable(number, e))?;
                let memo = text.and_then(|text| EpochMemo::parse(&text));
                let wrong = || damaged(number, &format!("record {} is incomplete", header.number));
                self.memo = Some(memo.ok_or_else(wrong)?);
                return Ok(None);
            }
            RecordKind::EpochBegins | RecordKind::VolumeBegins | RecordKind::CopyEnds => {
                return Ok(None);
            }
        }
        let mut at = record.payload_at;
        for entry in &header.entries {
            let volume = entry.volume as usize;
            if self.indexes.len() <= volume {
                self.indexes.resize_with(volume + 1, ImageIndex::default);
            }
            let found = match entry.held {
                Held::Data => ImageLocation::Segment { segment: place, at },
                Held::Zeros => ImageLocation::Zeros,
            };
            self.indexes[volume].add(Image { extent: entry.extent, place: found });
            at += entry.payload_bytes();
        }
        Ok(Some(Checked {
            payload_at: record.payload_at,
            payload_bytes: header.payload_bytes,
            checksum: header.payload_checksum,
            is_whole: false,
        }))
    }

    /// The progress of the volumes at the point.
    pub(crate) fn progress(&self) -> Progress {
        self.memo.as_ref().map(|memo| memo.progress.clone()).unwrap_or_default()
    }

    /// The memo of the point in the journal.
    pub(crate) fn memo(&self) -> EpochMemo {
        self.memo.clone().unwrap_or_default()
    }

    /// The images of a volume.
    pub(crate) fn of(&self, volume: u32) -> Option<&ImageIndex> {
        self.indexes.get(volume as usize)
    }

    /// The images of `extent` of a volume, ascending: they stay readable whatever happens to this
    /// value.
    pub(crate) fn found(&self, volume: u32, extent: Extent) -> Vec<Found> {
        let images = self.of(volume).map_or_else(Vec::new, |index| index.images_of(extent));
        let found = images.into_iter().map(|image| {
            let segment = segment_of(image.place).map(|place| &self.segments[place as usize]);
            Found { image, segment: segment.cloned() }
        });
        found.collect()
    }

    /// Reads from `places` (each in a segment, with the position in the arena and a length, both in
    /// whole blocks) into `arena`.
    ///
    /// # Errors
    ///
    /// `Integrity`: a record does not match its checksum. `Failed`: it cannot be read.
    pub(crate) fn read(
        &self,
        places: &[(ImageLocation, usize, usize)],
        mut arena: Arena,
        pool: &ArenaPool,
    ) -> Result<Arena> {
        let mut sorted: Vec<_> = places.to_vec();
        sorted.sort_by_key(|(place, ..)| match place {
            ImageLocation::Zeros => (u32::MAX, 0),
            ImageLocation::Segment { segment, at } => (*segment, *at),
        });
        for of_one in sorted.chunk_by(|one, other| segment_of(one.0) == segment_of(other.0)) {
            let Some(segment) = segment_of(of_one[0].0) else {
                for (_, position, length) in of_one {
                    arena.as_mut_slice()[*position..position + length].fill(0);
                }
                continue;
            };
            arena = self.segments[segment as usize].read(of_one, arena, pool)?;
        }
        Ok(arena)
    }

    /// Compares every record with its checksum, several segments simultaneously if `in_threads`;
    /// `observe` receives the bytes of each, and ends the check by returning an error.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and the error of `observe`.
    pub(crate) fn check(
        &self,
        pool: &ArenaPool,
        in_threads: bool,
        observe: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let one_by_one = |observe: &mut dyn FnMut(u64) -> Result<()>| {
            let mut all = self.segments.iter().flat_map(|segment| segment.check_all(pool));
            all.try_for_each(|bytes| observe(bytes?))
        };
        if !in_threads {
            return one_by_one(observe);
        }
        let next = AtomicUsize::new(0);
        let (outbox, inbox) = channel();
        let work = |outbox: Sender<Result<u64>>| {
            while let Some(segment) = self.segments.get(next.fetch_add(1, Ordering::Relaxed)) {
                for bytes in segment.check_all(pool) {
                    let has_failed = bytes.is_err();
                    // Nobody receives any more once something has failed.
                    if outbox.send(bytes).is_err() || has_failed {
                        return;
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            let (mut started, work) = (0, &work);
            for _ in 0..CHECKERS {
                let outbox = outbox.clone();
                let thread = std::thread::Builder::new().name("check".to_owned());
                match thread.spawn_scoped(scope, move || work(outbox)) {
                    Ok(_) => started += 1,
                    // The other threads do its work.
                    Err(error) => {
                        tracing::warn!(%error, "starting the threads that check the history")
                    }
                }
            }
            drop(outbox);
            if started == 0 {
                return one_by_one(observe);
            }
            inbox.into_iter().try_for_each(|bytes| observe(bytes?))
        })
    }

    /// The bytes of all records.
    pub(crate) fn record_bytes(&self) -> u64 {
        let of_segment = |segment: &Arc<Segment>| -> u64 {
            lock(&segment.records).iter().map(|record| u64::from(record.payload_bytes)).sum()
        };
        self.segments.iter().map(of_segment).sum()
    }
}

impl Segment {
    fn new(
        number: SegmentNumber,
        device: Box<dyn BlockDevice>,
        records: Vec<Checked>,
    ) -> Arc<Self> {
        Arc::new(Self { number, device: Mutex::new(device), records: Mutex::new(records) })
    }

    fn read(
        &self,
        places: &[(ImageLocation, usize, usize)],
        arena: Arena,
        pool: &ArenaPool,
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
        lock(&self.device).read_batch(ReadBatch { arena, reads }).map_err(|error| {
            let context = format!("reading segment {} of the history", self.number.0);
            Error::failed(context, error.cause)
        })
    }

    /// Checks that the records that hold `length` bytes from `at` on match their checksums.
    fn check_what_holds(&self, at: u64, length: u64, pool: &ArenaPool) -> Result<()> {
        planted!(ImageNotChecked => { return Ok(()) });
        let first = lock(&self.records).partition_point(|one| one.payload_at <= at);
        let mut number = first.saturating_sub(1);
        loop {
            let record = lock(&self.records).get(number).copied();
            match record {
                Some(record) if record.payload_at < at + length => self.check(number, pool)?,
                _ => return Ok(()),
            };
            number += 1;
        }
    }

    /// Compares all records with their checksums, one after the other.
    fn check_all<'a>(&'a self, pool: &'a ArenaPool) -> impl Iterator<Item = Result<u64>> + 'a {
        let count = lock(&self.records).len();
        (0..count).map(move |number| self.check(number, pool))
    }

    /// Compares a record with its checksum, once; returns its bytes.
    fn check(&self, number: usize, pool: &ArenaPool) -> Result<u64> {
        let record = lock(&self.records)[number];
        if record.is_whole {
            return Ok(u64::from(record.payload_bytes));
        }
        let (mut checksum, mut done) = (0, 0);
        while done < record.payload_bytes as usize {
            let length = (record.payload_bytes as usize - done).min(WINDOW_BYTES.get());
            let at = record.payload_at + done as u64;
            let mut device = lock(&self.device);
            let arena = read(device.as_mut(), pool.take()?, at, padded(length));
            let arena = arena.map_err(|error| {
                let context = format!("reading segment {} of the history", self.number.0);
                Error::failed(context, error.cause)
            })?;
            checksum = crc32c::crc32c_append(checksum, &arena.as_slice()[..length]);
            done += length;
        }
        if checksum != record.checksum {
            let at = record.payload_at;
            return Err(damaged(self.number, &format!("the images at byte {at} are damaged")));
        }
        lock(&self.records)[number].is_whole = true;
        Ok(u64::from(record.payload_bytes))
    }
}

/// An image, with the segment that has it.
pub(crate) struct Found {
    image: Image,
    segment: Option<Arc<Segment>>,
}

impl Found {
    /// The extent that it is an image of.
    pub(crate) fn extent(&self) -> Extent {
        self.image.extent
    }

    /// Reads it into `into`, which has the same length.
    ///
    /// # Errors
    ///
    /// As [`Images::read`].
    pub(crate) fn read(&self, into: &mut [u8], pool: &ArenaPool) -> Result<()> {
        let (ImageLocation::Segment { segment, at }, Some(held)) =
            (self.image.place, &self.segment)
        else {
            into.fill(0);
            return Ok(());
        };
        let skipped = (at % BLOCK_BYTES as u64) as usize;
        let (begin, total) = (at - skipped as u64, skipped + into.len());
        for from in (0..total).step_by(TRANSFER_BYTES_MAX) {
            let until = total.min(from + TRANSFER_BYTES_MAX);
            let at = begin + from as u64;
            let place = ImageLocation::Segment { segment, at };
            // Done before memory is taken: the comparison takes memory itself, and a waiter must
            // hold none.
            held.check_what_holds(at, padded(until - from) as u64, pool)?;
            let arena = held.read(&[(place, 0, padded(until - from))], pool.take()?, pool)?;
            // The skipped bytes lie before the first byte wanted.
            let first = from.max(skipped);
            into[first - skipped..until - skipped]
                .copy_from_slice(&arena.as_slice()[first - from..until - from]);
        }
        Ok(())
    }
}

fn continues(last: &Transfer, next: &Transfer) -> bool {
    last.at.get() + last.length as u64 == next.at.get()
        && last.position + last.length == next.position
        && last.length + next.length <= TRANSFER_BYTES_MAX
}

fn segment_of(place: ImageLocation) -> Option<u32> {
    match place {
        ImageLocation::Zeros => None,
        ImageLocation::Segment { segment, .. } => Some(segment),
    }
}

/// Opens a segment for sequential reading.
pub(crate) fn open(
    storage: &Arc<dyn Storage>,
    identity: &Identity,
    number: SegmentNumber,
    pool: &ArenaPool,
) -> Result<SegmentReader, SegmentError> {
    let device = storage.open_segment(number).map_err(SegmentError::Io)?;
    SegmentReader::new(device, pool.clone(), identity, number)
}

/// A thread that panicked was only copying: nothing behind the mutex is half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error for a segment that cannot be read: either it is damaged, or it may be intact and
/// something else failed (a disk, a limit of this process).
pub(crate) fn unreadable(number: SegmentNumber, error: SegmentError) -> Error {
    let cause = match error {
        SegmentError::Io(cause) => cause,
        other => return damaged(number, &other.to_string()),
    };
    match cause.kind() {
        std::io::ErrorKind::NotFound => damaged(number, "it is missing"),
        std::io::ErrorKind::UnexpectedEof => damaged(number, "it is truncated"),
        _ => {
            let hint = crate::storage::remedy(&cause).unwrap_or("check the retention volume");
            let context = format!("reading segment {} of the history", number.0);
            Error::failed(context, cause).with_hint(hint)
        }
    }
}

/// The error for a damaged segment.
pub(crate) fn damaged(number: SegmentNumber, what: &str) -> Error {
    let context = format!("reading segment {} of the history: {what}", number.0);
    Error::new(ErrorKind::Integrity, context).remedied(PointRemedy::ListLost)
}

const _: () = assert!(TRANSFER_BYTES_MAX % BLOCK_BYTES == 0);

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::device::memory::MemoryDevice;
    use crate::device::{Geometry, WriteBatch};
    use crate::rollback::tests::Bench;
    use crate::units::{ByteCount, SectorSize};

    fn transfer(at: u64, position: usize, length: usize) -> Transfer {
        Transfer { at: ByteOffset::new(at), position, length }
    }

    #[test]
    fn a_read_goes_on_where_the_last_ended_on_the_disk_and_in_memory_up_to_a_transfer() {
        let last = transfer(3 * 4096, 4096, 8192);
        assert!(continues(&last, &transfer(5 * 4096, 3 * 4096, 4096)));
        assert!(!continues(&last, &transfer(6 * 4096, 3 * 4096, 4096)));
        assert!(!continues(&last, &transfer(5 * 4096, 4 * 4096, 4096)));
        let rest = TRANSFER_BYTES_MAX - 8192;
        assert!(continues(&last, &transfer(5 * 4096, 3 * 4096, rest)));
        assert!(!continues(&last, &transfer(5 * 4096, 3 * 4096, rest + 512)));
    }

    #[test]
    fn what_is_missing_or_cut_short_is_damage_and_what_fails_is_not() {
        let number = SegmentNumber(3);
        let kind = |errno: std::io::Error| unreadable(number, SegmentError::Io(errno)).kind();
        assert_eq!(kind(std::io::ErrorKind::NotFound.into()), ErrorKind::Integrity);
        assert_eq!(kind(std::io::ErrorKind::UnexpectedEof.into()), ErrorKind::Integrity);
        assert_eq!(kind(std::io::Error::from_raw_os_error(libc::EIO)), ErrorKind::Failed);
        assert_eq!(unreadable(number, SegmentError::Foreign).kind(), ErrorKind::Integrity);
    }

    /// A segment in memory that holds `bytes` after its first block. Each record is given by its
    /// position, its length, and whether its checksum is right.
    fn segment(bytes: &[u8], records: &[(u64, usize, bool)]) -> Arc<Segment> {
        let capacity = ByteCount::new((BLOCK_BYTES + bytes.len()) as u64);
        let mut device =
            MemoryDevice::new(Geometry { capacity, sector_size: SectorSize::Bytes4096 });
        for (piece, at) in bytes.chunks(TRANSFER_BYTES_MAX).zip(0..) {
            let mut arena = pool().take().unwrap();
            arena.as_mut_slice()[..piece.len()].copy_from_slice(piece);
            let at = (BLOCK_BYTES + at * TRANSFER_BYTES_MAX) as u64;
            let writes = vec![transfer(at, 0, piece.len())];
            let batch = WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() };
            device.write_batch(batch).unwrap();
        }
        let record = |(payload_at, length, is_right): &(u64, usize, bool)| {
            let from = *payload_at as usize - BLOCK_BYTES;
            let checksum = crc32c::crc32c(&bytes[from..from + length]) ^ u32::from(!is_right);
            let (payload_at, payload_bytes) = (*payload_at, *length as u32);
            Checked { payload_at, payload_bytes, checksum, is_whole: false }
        };
        Segment::new(SegmentNumber(1), Box::new(device), records.iter().map(record).collect())
    }

    fn pool() -> ArenaPool {
        ArenaPool::new(2, NonZeroUsize::new(TRANSFER_BYTES_MAX).unwrap()).unwrap()
    }

    #[test]
    fn only_the_records_that_hold_what_is_asked_for_are_compared() {
        let (first, second, third) = (4096, 4 * 4096, 8 * 4096);
        let records = [(first, 8192, true), (second, 8192, false), (third, 4096, true)];
        let holds = |at, length| {
            let segment = segment(&[3; 10 * 4096], &records);
            segment.check_what_holds(at, length, &pool()).is_ok()
        };
        assert!(holds(first, 8192) && holds(first + 4096, 4096));
        assert!(holds(first, second - first) && !holds(first, second - first + 1));
        assert!(!holds(second, 1) && !holds(second + 4096, 4096) && !holds(second, 8 * 4096));
        assert!(holds(third, 4096));
    }

    #[test]
    fn an_image_is_read_from_within_a_block_and_over_several_transfers() {
        let bytes: Vec<u8> = (0..3 << 20).map(|at: usize| (at / 512 * 7 % 251) as u8).collect();
        let held = segment(&bytes, &[(4096, bytes.len(), true)]);
        for (from, length) in [(8192 + 512, (5 << 19) + 512), (0, 4096), (1024, 512), (0, 3 << 20)]
        {
            let start = ByteOffset::new(1 << 30);
            let extent = Extent::new(start, ByteCount::new(length as u64)).unwrap();
            let place = ImageLocation::Segment { segment: 0, at: (BLOCK_BYTES + from) as u64 };
            let image = Image { extent, place };
            let found = Found { image, segment: Some(Arc::clone(&held)) };
            let mut into = vec![0; length];
            found.read(&mut into, &pool()).unwrap();
            assert!(into == bytes[from..from + length], "{length} from {from}");
        }
    }

    #[test]
    fn images_of_a_volume_that_the_catalogue_does_not_have_yet_are_found() {
        let bench = Bench::new();
        let pool = crate::group::keeper::record_pool().unwrap();
        let known = bench.known();
        let since =
            |known: &Catalogue, point| Images::since(&bench.storage, known, point, &pool).unwrap();
        let all = since(&known, PointId(0));
        let none = Catalogue { volumes: Vec::new(), ..known.clone() };
        let found = since(&none, PointId(0));
        assert_eq!([all.volume_count(), found.volume_count()], [2, 2]);
        for volume in [0, 1] {
            let bytes = |images: &Images| images.of(volume).map_or(0, ImageIndex::bytes);
            assert!(bytes(&all) > 0 && bytes(&all) == bytes(&found));
        }
        assert_eq!(since(&none, known.open_epoch()).volume_count(), 0);
        assert_eq!(since(&known, known.open_epoch()).volume_count(), 2);
    }
}
