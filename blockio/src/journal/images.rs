//! All images since a recovery point: found by reading the headers of its records and of all later
//! ones; the images themselves are read on request. No image is returned unless its record matches
//! its checksum.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use crate::device::buffer::{Arena, ArenaPool};
use crate::device::{BlockDevice, Engine, TRANSFER_BYTES_MAX};
use crate::extent::Extent;
use crate::journal::catalogue::{Catalogue, PointId, Span};
use crate::journal::index::{Image, ImageIndex, ImageLocation};
use crate::journal::layout::{BLOCK_BYTES, Held, Identity, RecordKind, padded};
use crate::journal::memo::EpochMemo;
use crate::journal::scan::{Next, Record, SegmentError, SegmentReader};
use crate::journal::state::Progress;
use crate::storage::{SegmentNumber, Storage};
use crate::{Error, ErrorKind, Result};

mod segment;

pub(crate) use segment::damaged;
use segment::{Checked, PlacedRead, Segment};

/// How many segments are compared with their checksums simultaneously.
const CHECKERS: usize = 2;
/// From this length on, what is read of a segment is worth a queue, in bytes.
const QUEUE_FROM_BYTES: usize = 256 << 10;
/// How many segments have a queue simultaneously.
const QUEUES: usize = 4;

/// The images of all volumes since a point.
pub(crate) struct Images {
    segments: Vec<Arc<Segment>>,
    indexes: Vec<ImageIndex>,
    memo: Option<EpochMemo>,
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
            let segment = Segment::new(number, reader.into_device(), records);
            images.segments.push(Arc::new(segment));
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
        self.segments.push(Arc::new(Segment::new(number, device, Vec::new())));
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
        self.segments[place as usize].extend(whole.into_iter());
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
        places: &[PlacedRead],
        arena: Arena,
        pool: &ArenaPool,
    ) -> Result<Arena> {
        self.read_with(places, arena, |segment, of_one, arena| {
            self.segments[segment as usize].read(of_one, arena, pool, None)
        })
    }

    /// As [`read`](Self::read), in long reads of whole records into `through`, which is returned as
    /// well: for who wants most of what segments have.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(crate) fn read_through(
        &self,
        places: &[PlacedRead],
        arena: Arena,
        through: Arena,
        pool: &ArenaPool,
    ) -> Result<(Arena, Arena)> {
        let mut through = Some(through);
        let arena = self.read_with(places, arena, |segment, of_one, mut arena| {
            let taken = through.take().map_or_else(|| pool.take(), Ok)?;
            let segment = &self.segments[segment as usize];
            through = Some(segment.read_through(of_one, &mut arena, taken)?);
            Ok(arena)
        })?;
        Ok((arena, through.map_or_else(|| pool.take(), Ok)?))
    }

    /// Reads `places`: `read` receives those of one segment after the other.
    fn read_with<R>(&self, places: &[PlacedRead], mut arena: Arena, mut read: R) -> Result<Arena>
    where
        R: FnMut(u32, &[PlacedRead], Arena) -> Result<Arena>,
    {
        let mut sorted: Vec<_> = places.to_vec();
        sorted.sort_by_key(|(place, ..)| place.order());
        for of_one in sorted.chunk_by(|one, other| segment_of(one.0) == segment_of(other.0)) {
            match segment_of(of_one[0].0) {
                Some(segment) => arena = read(segment, of_one, arena)?,
                None => {
                    for (_, position, length) in of_one {
                        arena.as_mut_slice()[*position..position + length].fill(0);
                    }
                }
            }
        }
        Ok(arena)
    }

    /// Compares every record with its checksum, several segments simultaneously if `in_threads`,
    /// through queues if `engine` has some; `observe` receives the bytes of each, and ends the
    /// check by returning an error.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and the error of `observe`.
    pub(crate) fn check(
        &self,
        pool: &ArenaPool,
        (in_threads, engine): (bool, Engine),
        observe: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let check = |segment: &Segment, observe: &mut dyn FnMut(u64) -> Result<()>| {
            segment.check_all(segment.queue(engine), pool, observe)
        };
        let one_by_one = |observe: &mut dyn FnMut(u64) -> Result<()>| {
            self.segments.iter().try_for_each(|segment| check(segment, observe))
        };
        if !in_threads {
            return one_by_one(observe);
        }
        let next = AtomicUsize::new(0);
        let (outbox, inbox) = channel();
        let work = |outbox: Sender<Result<u64>>| {
            while let Some(segment) = self.segments.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Nobody receives any more once something has failed.
                let gone = |_| Error::new(ErrorKind::Failed, "the check of the history has ended");
                let mut tell = |bytes| outbox.send(Ok(bytes)).map_err(gone);
                if let Err(error) = check(segment, &mut tell) {
                    let _ = outbox.send(Err(error));
                    return;
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
        self.segments.iter().map(|segment| segment.record_bytes()).sum()
    }
}

/// Reads much of the images of a point: each segment through a queue of its own, as far as there
/// are queues.
pub(crate) struct ImageReader<'a> {
    images: &'a Images,
    engine: Engine,
    pool: &'a ArenaPool,
    /// The segments that have one, by their index; the one that was used last is at the end.
    queues: VecDeque<(u32, Box<dyn BlockDevice>)>,
}

impl<'a> ImageReader<'a> {
    /// A reader of `images`, through the queues of `engine`, with memory for records.
    pub(crate) fn new(images: &'a Images, engine: Engine, pool: &'a ArenaPool) -> Self {
        Self { images, engine, pool, queues: VecDeque::new() }
    }

    /// As [`Images::read`].
    ///
    /// # Errors
    ///
    /// As [`Images::read`].
    pub(crate) fn read(&mut self, places: &[PlacedRead], arena: Arena) -> Result<Arena> {
        let images = self.images;
        images.read_with(places, arena, |segment, of_one, arena| {
            let bytes: usize = of_one.iter().map(|(_, _, length)| length).sum();
            let pool = self.pool;
            let queue = self.queue(segment, bytes);
            images.segments[segment as usize].read(of_one, arena, pool, queue)
        })
    }

    /// The queue of `segment`, of which `bytes` are read.
    fn queue(&mut self, segment: u32, bytes: usize) -> Option<&mut dyn BlockDevice> {
        match self.queues.iter().position(|(known, _)| *known == segment) {
            Some(place) => {
                let known = self.queues.remove(place)?;
                self.queues.push_back(known);
            }
            None if bytes < QUEUE_FROM_BYTES => return None,
            None => {
                let queue = self.images.segments[segment as usize].queue(self.engine)?;
                if self.queues.len() == QUEUES {
                    self.queues.pop_front();
                }
                self.queues.push_back((segment, queue));
            }
        }
        let (_, queue) = self.queues.back_mut()?;
        Some(queue.as_mut())
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
            let arena = held.read(&[(place, 0, padded(until - from))], pool.take()?, pool, None)?;
            // The skipped bytes lie before the first byte wanted.
            let first = from.max(skipped);
            into[first - skipped..until - skipped]
                .copy_from_slice(&arena.as_slice()[first - from..until - from]);
        }
        Ok(())
    }
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

const _: () = assert!(TRANSFER_BYTES_MAX % BLOCK_BYTES == 0);

#[cfg(test)]
mod tests {
    use super::segment::tests::{pool, segment};
    use super::*;
    use crate::rollback::tests::Bench;
    use crate::units::{ByteCount, ByteOffset};

    #[test]
    fn what_is_missing_or_cut_short_is_damage_and_what_fails_is_not() {
        let number = SegmentNumber(3);
        let kind = |errno: std::io::Error| unreadable(number, SegmentError::Io(errno)).kind();
        assert_eq!(kind(std::io::ErrorKind::NotFound.into()), ErrorKind::Integrity);
        assert_eq!(kind(std::io::ErrorKind::UnexpectedEof.into()), ErrorKind::Integrity);
        assert_eq!(kind(std::io::Error::from_raw_os_error(libc::EIO)), ErrorKind::Failed);
        assert_eq!(unreadable(number, SegmentError::Foreign).kind(), ErrorKind::Integrity);
    }

    #[test]
    fn an_image_is_read_from_within_a_block_and_over_several_transfers() {
        let bytes: Vec<u8> = (0..3 << 20).map(|at: usize| (at / 512 * 7 % 251) as u8).collect();
        let held = Arc::new(segment(&bytes, &[(4096, bytes.len(), true)]));
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
