//! Compacts two epochs that were merged: of a block that both preserved, only the earlier image
//! counts. Superseded images are dropped by copying the others into new segments.
//!
//! When that is done, and what a crash leaves: `group/keeper/merging`.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::device::Engine;
use crate::device::buffer::ArenaPool;
use crate::journal::catalogue::{Catalogue, Point, PointId, Span};
use crate::journal::draft::{Draft, Outline};
use crate::journal::images::Images;
use crate::journal::index::{Image, ImageIndex, ImageLocation};
use crate::journal::layout::{COPIES_FROM, RecordKind, header_bytes, padded};
use crate::journal::log::{End, Log, failed};
use crate::journal::memo::{self, CopyMemo};
use crate::storage::{SegmentNumber, Storage};
use crate::{Error, ErrorKind, Result};

/// A copy is worth writing if its size is at most this percentage of the originals.
const WORTH_PERCENT: u64 = 75;

/// How many arenas, of the length of a record, a copy needs.
pub(crate) const COPY_ARENAS: usize = 2;

/// The context of a copy.
pub(crate) struct Compaction {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) catalogue: Catalogue,
    /// At least [`COPY_ARENAS`] of the length of a record.
    pub(crate) pool: ArenaPool,
    /// Different from the salt of the log: the remains of an earlier copy must not be taken for
    /// this one.
    pub(crate) salt: u64,
    /// The segment numbers available to the copy: the saved state has a later next one.
    pub(crate) numbers: Range<u64>,
    pub(crate) segment_bytes: u64,
    /// The generation of the last saved state.
    pub(crate) generation: u64,
    /// The I/O engine.
    pub(crate) engine: Engine,
    /// Between whoever waits for the copy and whoever writes it.
    pub(crate) control: Arc<Control>,
}

/// Between whoever waits for a copy and whoever writes it.
#[derive(Debug, Default)]
pub(crate) struct Control {
    stop: AtomicBool,
    records: AtomicU64,
}

impl Control {
    /// Ends the copy with its next record.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether the copy is to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// How many records were copied so far.
    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }
}

/// What came of a copy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    /// Its segments, which are durable.
    Spans(Vec<Span>),
    /// It would not be much shorter, or there is no room for it.
    NotWorthIt,
    /// It was stopped.
    Stopped,
}

impl Compaction {
    /// Copies the images that count in the epoch that `point` begins.
    ///
    /// # Errors
    ///
    /// `Integrity`: an image is damaged. `Failed`: something cannot be read or written. Nothing is
    /// left of the copy then, nor if it was stopped.
    pub(crate) fn run(&self, point: &Point) -> Result<Copied> {
        let copied = self.try_run(point);
        if !matches!(copied, Ok(Copied::Spans(_) | Copied::NotWorthIt)) {
            // Half a copy is useless, and its room is needed.
            for number in self.numbers.clone() {
                let _ = self.storage.remove_segment(SegmentNumber(number));
            }
        }
        copied
    }

    fn try_run(&self, point: &Point) -> Result<Copied> {
        let only = Catalogue { points: vec![Arc::new(point.clone())], ..self.catalogue.clone() };
        let images = Images::since(&self.storage, &only, point.id, &self.pool)?;
        let counts: u64 = (0..only.volumes.len())
            .filter_map(|number| images.of(number as u32))
            .flat_map(|index| index.iter())
            .filter(|image| image.place != ImageLocation::Zeros)
            .map(|image| image.extent.length().get())
            .sum();
        let has = point.journal_bytes();
        let space = self
            .storage
            .space()
            .map_err(failed(&*self.storage, "querying the free space of its volume"))?;
        let is_worth = counts.saturating_mul(100) <= has.saturating_mul(WORTH_PERCENT);
        let needs = counts.saturating_add(counts / 8).saturating_add(2 * self.segment_bytes);
        if !is_worth || space.free_bytes < needs {
            return Ok(Copied::NotWorthIt);
        }
        let end = End {
            identity: self.catalogue.identity,
            epoch: point.id,
            next_segment: self.numbers.start,
            next_record: COPIES_FROM,
            spans: Vec::new(),
            engine: self.engine,
        };
        let mut log = Log::new(Arc::clone(&self.storage), end, self.salt, false)?;
        Ok(match self.copy(&images, point, &mut log)? {
            true => Copied::Spans(log.spans()),
            false => Copied::Stopped,
        })
    }

    /// Returns false if it was stopped.
    fn copy(&self, images: &Images, point: &Point, log: &mut Log) -> Result<bool> {
        self.submit_text(log, point, RecordKind::EpochBegins, &memo::text(&images.memo())?)?;
        let in_order = in_the_order_of_segments(images);
        let extents = in_order.iter().map(|(volume, image)| (*volume, image.extent));
        let outlines = Outline::of_all(extents, self.segment_bytes / 2);
        let mut places = Places::new(in_order.iter().map(|(_, image)| *image));
        let mut through = self.pool.take()?;
        for outline in outlines {
            if self.control.is_stopped() {
                return Ok(false);
            }
            let mut position = header_bytes(outline.entries().len());
            let mut wanted = Vec::with_capacity(outline.entries().len());
            for entry in outline.entries() {
                let bytes = entry.extent.length().get();
                // At most ENTRY_BYTES_MAX.
                let length = padded(bytes as usize);
                wanted.extend(places.next(bytes).map(|place| (place, position, length)));
                position += length;
            }
            let arena;
            (arena, through) =
                images.read_through(&wanted, self.pool.take()?, through, &self.pool)?;
            self.submit(log, point, Draft::of_images(outline, arena, log.stamp()))?;
            self.control.records.fetch_add(1, Ordering::Relaxed);
        }
        drop(through);
        let until = self.until(point).map(|until| CopyMemo { until }).unwrap_or_default();
        self.submit_text(log, point, RecordKind::CopyEnds, &memo::text(&until)?)?;
        let all = log.submitted();
        if !planted!(CopyNotFlushed) {
            let _ = log.wait(all)?;
        }
        log.end_segment().map_err(failed(&*self.storage, "ending a segment"))?;
        Ok(true)
    }

    /// The point after `point`: the copy leads from it.
    fn until(&self, point: &Point) -> Option<PointId> {
        self.catalogue.points.iter().map(|one| one.id).find(|id| *id > point.id)
    }

    fn submit_text(
        &self,
        log: &mut Log,
        point: &Point,
        kind: RecordKind,
        text: &str,
    ) -> Result<()> {
        let draft = Draft::of_text(kind, text, self.pool.take()?, log.stamp())?;
        self.submit(log, point, draft)
    }

    fn submit(&self, log: &mut Log, point: &Point, draft: Draft) -> Result<()> {
        if !log.has_room(draft.record_bytes()) {
            if log.next_numbers().0 >= self.numbers.end {
                let context = "merging takes more segments than were reserved for it";
                return Err(Error::new(ErrorKind::Failed, context));
            }
            log.begin_segment(point.id, self.segment_bytes, self.generation)
                .map_err(failed(&*self.storage, "making a segment"))?;
        }
        log.submit(draft).map(drop)
    }
}

/// All images with their volumes, in the order in which segments have them, so that each segment is
/// read from its beginning to its end.
fn in_the_order_of_segments(images: &Images) -> Vec<(u32, Image)> {
    let volumes = 0..images.volume_count() as u32;
    let of_volume = |number| images.of(number).into_iter().flat_map(ImageIndex::iter);
    let mut all: Vec<_> = volumes.flat_map(|v| of_volume(v).map(move |image| (v, image))).collect();
    all.sort_by_key(|(_, image)| image.place.order());
    all
}

/// The places of entries that take all of some images, one after the other.
struct Places<I> {
    images: I,
    // Of the image that the last entry took a part of.
    place: ImageLocation,
    left: u64,
}

impl<I: Iterator<Item = Image>> Places<I> {
    fn new(images: I) -> Self {
        Self { images, place: ImageLocation::Zeros, left: 0 }
    }

    /// The place of the next entry, which takes `bytes`.
    fn next(&mut self, bytes: u64) -> Option<ImageLocation> {
        if self.left == 0 {
            let image = self.images.next()?;
            (self.place, self.left) = (image.place, image.extent.length().get());
        }
        let place = self.place;
        self.left = self.left.checked_sub(bytes)?;
        self.place = place.after(bytes);
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::extent::Extent;
    use crate::group::keeper::record_pool;
    use crate::journal::catalogue::{NewPoint, PointId, PointKind};
    use crate::units::{ByteCount, ByteOffset};

    const MIB: u64 = 1 << 20;

    /// An epoch in which `volumes` volumes were overwritten, `each_bytes` of each, once for each of
    /// the given contents.
    fn merged(
        storage: &Arc<dyn Storage>,
        pool: &ArenaPool,
        (volumes, each_bytes): (u32, u64),
        held: &[u8],
    ) -> Point {
        let epoch = PointId(0);
        let end = End {
            identity: [7; 16],
            epoch,
            next_segment: 1,
            next_record: 1,
            spans: Vec::new(),
            engine: Engine::default(),
        };
        let mut log = Log::new(Arc::clone(storage), end, 1, true).unwrap();
        log.begin_segment(epoch, 256 * MIB, 1).unwrap();
        let begin =
            Draft::of_text(RecordKind::EpochBegins, "{}", pool.take().unwrap(), log.stamp());
        log.submit(begin.unwrap()).unwrap();
        let extent = Extent::new(ByteOffset::ZERO, ByteCount::new(each_bytes)).unwrap();
        for byte in held.iter().copied() {
            for volume in 0..volumes {
                for outline in Outline::of(volume, &[extent], u64::MAX) {
                    let mut arena = pool.take().unwrap();
                    arena.as_mut_slice().fill(byte);
                    log.submit(Draft::of_images(outline, arena, log.stamp())).unwrap();
                }
            }
        }
        let _ = log.wait(log.submitted()).unwrap();
        log.end_segment().unwrap();
        let mut catalogue = Catalogue::new([7; 16], 0);
        let new = NewPoint { time: 1, kind: PointKind::Crash, name: None };
        catalogue.seal(log.spans(), new, 1);
        catalogue.points[0].as_ref().clone()
    }

    /// Copies an epoch with the memory used in production, and returns the size of the copy in
    /// bytes; panics if it never ends.
    fn compacted(volumes: u32, each_bytes: u64) -> u64 {
        let (told, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            // Its disks keep the memory that they write from until they are reaped, as rings do.
            let storage = crate::sim::storage(1 << 20);
            let pool = record_pool().unwrap();
            let point = merged(&storage, &pool, (volumes, each_bytes), &[1, 2]);
            let mut catalogue = Catalogue::new([7; 16], 0);
            let volume = |number: u32| crate::journal::catalogue::JournalVolume {
                name: format!("v{number}").into(),
                sector_bytes: 512,
                capacity_bytes: each_bytes,
            };
            catalogue.volumes = (0..volumes).map(volume).collect();
            let compaction = Compaction {
                storage: Arc::clone(&storage),
                catalogue: catalogue.clone(),
                pool: pool.clone(),
                salt: 9,
                numbers: 2..20,
                segment_bytes: 64 * MIB,
                generation: 1,
                engine: Engine::default(),
                control: Arc::default(),
            };
            let Copied::Spans(spans) = compaction.run(&point).unwrap() else { panic!("no copy") };
            let copied = Point { spans, ..point };
            catalogue.points = vec![Arc::new(copied.clone())];
            let images = Images::since(&storage, &catalogue, PointId(0), &pool).unwrap();
            images.check(&pool, (false, Engine::Blocking), &mut |_| Ok(())).unwrap();
            let of_each =
                |number| images.of(number).map_or(0, crate::journal::index::ImageIndex::bytes);
            assert!((0..volumes).all(|number| of_each(number) == each_bytes));
            for image in images.of(volumes - 1).unwrap().iter() {
                let arena = pool.take().unwrap();
                let last = image.extent.length().get() - 4096;
                let places = [(image.place, 0, 4096), (image.place.after(last), 4096, 4096)];
                let read = images.read(&places, arena, &pool).unwrap();
                assert!(read.as_slice()[..8192] == [1; 8192]);
            }
            told.send(copied.journal_bytes()).unwrap();
        });
        heard.recv_timeout(Duration::from_secs(60)).expect("the copy never ended")
    }

    #[test]
    fn an_epoch_of_more_than_all_memory_is_copied() {
        let bytes = compacted(1, 40 * MIB);
        assert!((40 * MIB..42 * MIB).contains(&bytes), "{bytes}");
    }

    #[test]
    fn an_epoch_of_as_many_volumes_as_there_is_memory_for_is_copied() {
        let bytes = compacted(9, 64 << 10);
        assert!(((9 * 64) << 10..2 * MIB).contains(&bytes), "{bytes}");
    }

    /// A copy of 64 KiB of a volume with `free_blocks` blocks free, in segments before `most`.
    fn of_64_kib(free_blocks: usize, held: &[u8], most: u64) -> (Compaction, Point) {
        let each_bytes = 64 << 10;
        // The segment of the epoch has 256 MiB.
        let storage = crate::sim::storage((256 << 20 >> 12) + free_blocks);
        let pool = record_pool().unwrap();
        let point = merged(&storage, &pool, (1, each_bytes), held);
        let mut catalogue = Catalogue::new([7; 16], 0);
        catalogue.volumes.push(crate::journal::catalogue::JournalVolume {
            name: "v".into(),
            sector_bytes: 512,
            capacity_bytes: each_bytes,
        });
        let compaction = Compaction {
            storage,
            catalogue,
            pool,
            salt: 9,
            numbers: 2..most,
            segment_bytes: 64 << 10,
            generation: 1,
            engine: Engine::default(),
            control: Arc::default(),
        };
        (compaction, point)
    }

    /// Whether 64 KiB of a volume are copied with `free_blocks` blocks free.
    fn is_copied(free_blocks: usize, held: &[u8]) -> bool {
        let (compaction, point) = of_64_kib(free_blocks, held, 10);
        match compaction.run(&point).unwrap() {
            Copied::Spans(_) => true,
            Copied::NotWorthIt => false,
            Copied::Stopped => panic!("nobody stopped it"),
        }
    }

    #[test]
    fn an_epoch_is_copied_where_an_eighth_more_and_two_segments_are_free() {
        let needs = 16 + 2 + 2 * 16;
        assert!(is_copied(needs, &[1, 2, 3]));
        assert!(!is_copied(needs - 1, &[1, 2, 3]));
    }

    #[test]
    fn an_epoch_of_which_all_counts_is_not_worth_a_copy() {
        assert!(!is_copied(1000, &[1]));
    }

    #[test]
    fn of_a_copy_that_fails_or_is_stopped_nothing_is_left() {
        let (compaction, point) = of_64_kib(1000, &[1, 2, 3], 2);
        let failed = compaction.run(&point).unwrap_err();
        assert!(failed.to_string().contains("more segments than were reserved"), "{failed}");
        let (compaction, point) = of_64_kib(1000, &[1, 2, 3], 10);
        compaction.control.stop();
        assert_eq!(compaction.run(&point).unwrap(), Copied::Stopped);
        assert_eq!(compaction.storage.segments().unwrap(), [SegmentNumber(1)]);
    }
}
