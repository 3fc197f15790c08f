//! The images that a view needs, kept up to date while somebody else goes on writing: the segments
//! that were there are held open (they may be removed meanwhile), and what is appended is followed.
//!
//! Why nothing is ever missed: a before-image is durable, and so can be read, before what it is of
//! is overwritten. Who reads the disk first and looks for new images after that either finds the
//! image, or has read the disk before it was overwritten.

use std::io;
use std::sync::Arc;

use crate::device::buffer::ArenaPool;
use crate::journal::catalogue::{Catalogue, JournalVolume, PointId};
use crate::journal::images::{Images, damaged, open};
use crate::journal::index::Index;
use crate::journal::scan::{Next, SegmentError, SegmentReader};
use crate::journal::state;
use crate::storage::{SegmentNumber, Storage};
use crate::units::ByteCount;
use crate::{Error, ErrorKind, Result};

/// The images since a point, of all volumes of a group.
pub(super) struct History {
    storage: Arc<dyn Storage>,
    pool: ArenaPool,
    point: PointId,
    images: Images,
    /// The volumes, by the numbers that images have of them.
    volumes: Vec<JournalVolume>,
    /// The segment that is being appended to, read up to its end, and its place among the images.
    tail: (SegmentReader, u32),
    /// The number of the segment that comes after it.
    next_segment: u64,
    /// A segment did not follow, though this record should have been its first.
    looked_again_for: Option<(u64, u64)>,
    /// The same, and everything was looked at anew since.
    loaded_for: Option<(u64, u64)>,
    seen: Seen,
}

/// What was known of the group when it was looked at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    stamp: u64,
    identity: [u8; 16],
    session: u64,
    next_segment: u64,
}

impl History {
    /// The images since `point` of the group in `storage`.
    pub(super) fn open(storage: Arc<dyn Storage>, point: PointId, pool: ArenaPool) -> Result<Self> {
        let Loaded { images, volumes, tail, seen } = load(&storage, point, &pool)?;
        let next_segment = tail.0.header().number.0 + 1;
        let looked_again_for = None;
        Ok(Self {
            storage,
            pool,
            point,
            images,
            volumes,
            tail,
            next_segment,
            looked_again_for,
            loaded_for: None,
            seen,
        })
    }

    pub(super) fn images(&self) -> &Images {
        &self.images
    }

    /// The images of the volume `name`; none while nothing of it was overwritten.
    pub(super) fn index(&self, name: &str) -> Option<&Index> {
        let number = self.volumes.iter().position(|volume| volume.name == name)?;
        self.images.of(u32::try_from(number).ok()?)
    }

    /// How long the volume `name` was.
    pub(super) fn capacity(&self, name: &str) -> Option<ByteCount> {
        let volume = self.volumes.iter().find(|volume| volume.name == name)?;
        Some(volume.capacity())
    }

    /// Takes what was appended since. Says whether there was something.
    pub(super) fn follow(&mut self) -> Result<bool> {
        if planted!(ViewDoesNotLookAgain) {
            return Ok(false);
        }
        let stamp = self.storage.state_stamp().map_err(failed("looking at the group's state"))?;
        let mut has_news = stamp != self.seen.stamp && self.look_at_the_state(stamp)?;
        loop {
            let (reader, place) = &mut self.tail;
            let number = reader.header().number;
            let next = reader.next().map_err(|error| damaged(number, &error.to_string()))?;
            if let Next::Record(record) = next {
                let is_whole = reader.is_payload_whole(&record);
                if is_whole.map_err(|error| damaged(number, &error.to_string()))? {
                    self.images.take(*place, &record, reader)?;
                    has_news = true;
                    continue;
                }
                // It is being written, or was when a process ended: nothing that it is about was
                // overwritten. In the latter case another session goes on in another segment.
                reader.put_back(&record);
            }
            if !self.next_segment()? {
                return Ok(has_news);
            }
        }
    }

    /// Goes on to the segment after the one that is read; false while there is none.
    ///
    /// Between the segments of the log may be others: copies of what earlier epochs preserved, for
    /// which nothing was overwritten. That none of the log was missed is told by the numbers of
    /// its records.
    fn next_segment(&mut self) -> Result<bool> {
        loop {
            let number = SegmentNumber(self.next_segment);
            let (reader, _) = &self.tail;
            let next = match open(&self.storage, &self.seen.identity, number, &self.pool) {
                Ok(next) => next,
                Err(SegmentError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                    if number.0 >= self.seen.next_segment {
                        return Ok(false);
                    }
                    self.next_segment += 1;
                    continue;
                }
                // Its header is not there yet, and so nothing else is: what is there may be of
                // another segment that had the same blocks.
                Err(SegmentError::Header(_) | SegmentError::Foreign | SegmentError::Number(_)) => {
                    return Ok(false);
                }
                Err(error @ SegmentError::Io(_)) => {
                    return Err(damaged(number, &error.to_string()));
                }
            };
            if next.header().epoch < reader.header().epoch {
                self.next_segment += 1;
                continue;
            }
            let expected = (number.0, reader.next_record());
            if next.header().first_record == reader.next_record() {
                let place = self.images.begin_segment(&self.storage, number)?;
                self.tail = (next, place);
                self.next_segment += 1;
                return Ok(true);
            }
            // Records may have come just before the segment ended. If not, some are gone, and where
            // they went is known to the state. If that has nothing else to say, the segment has
            // no header of its own yet: what is there is of another that had its blocks, and no
            // record is in it.
            if self.loaded_for == Some(expected) {
                return Ok(false);
            }
            if self.looked_again_for == Some(expected) {
                self.load()?;
                self.loaded_for = Some(expected);
            }
            self.looked_again_for = Some(expected);
            return Ok(true);
        }
    }

    fn load(&mut self) -> Result<()> {
        let Loaded { images, volumes, tail, seen } = load(&self.storage, self.point, &self.pool)?;
        (self.images, self.volumes, self.tail, self.seen) = (images, volumes, tail, seen);
        self.next_segment = self.tail.0.header().number.0 + 1;
        self.looked_again_for = None;
        Ok(())
    }

    /// The state was replaced: by the one who writes, as ever; or somebody else writes now, and
    /// everything is looked at anew.
    fn look_at_the_state(&mut self, stamp: u64) -> Result<bool> {
        let catalogue = read_catalogue(&self.storage)?;
        let identity = catalogue.as_ref().map(|known| known.identity);
        let session = catalogue.as_ref().map(|known| known.session);
        if identity != Some(self.seen.identity) {
            let context = format!("point {} is gone: the group was committed", self.point);
            return Err(Error::new(ErrorKind::Failed, context));
        }
        if session == Some(self.seen.session) {
            self.seen.stamp = stamp;
            self.seen.next_segment = catalogue.as_ref().map_or(0, |known| known.next_segment);
            self.volumes = catalogue.map(|known| known.volumes).unwrap_or_default();
            return Ok(false);
        }
        self.load()?;
        Ok(true)
    }
}

/// What there is of a history.
struct Loaded {
    images: Images,
    volumes: Vec<JournalVolume>,
    tail: (SegmentReader, u32),
    seen: Seen,
}

fn load(storage: &Arc<dyn Storage>, point: PointId, pool: &ArenaPool) -> Result<Loaded> {
    // The state may be replaced while segments are opened, and some be removed with that.
    let mut attempts = 0;
    loop {
        attempts += 1;
        let stamp = storage.state_stamp().map_err(failed("looking at the group's state"))?;
        let loaded = try_load(storage, point, pool, stamp);
        let is_same = storage.state_stamp().is_ok_and(|now| now == stamp);
        if is_same || loaded.is_ok() || attempts == 10 {
            return loaded;
        }
    }
}

fn try_load(
    storage: &Arc<dyn Storage>,
    point: PointId,
    pool: &ArenaPool,
    stamp: u64,
) -> Result<Loaded> {
    let catalogue = read_catalogue(storage)?.filter(|known| known.point(point).is_some());
    let catalogue = catalogue.ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("point {point} has expired"))
            .with_hint("see which are kept with: mtctl points list")
    })?;
    let Catalogue { identity, session, next_segment, .. } = catalogue;
    let volumes = catalogue.volumes.clone();
    let seen = Seen { stamp, identity, session, next_segment };
    let images = Images::since(storage, &catalogue, point, pool)?;
    let (images, tail) = tail(storage, &catalogue, images, pool)?;
    Ok(Loaded { images, volumes, tail, seen })
}

/// Where what is appended will be found.
fn tail(
    storage: &Arc<dyn Storage>,
    catalogue: &Catalogue,
    mut images: Images,
    pool: &ArenaPool,
) -> Result<(Images, (SegmentReader, u32))> {
    let last = catalogue.points.last().and_then(|point| point.spans.last());
    let last = last.ok_or_else(|| Error::new(ErrorKind::Usage, "nothing is kept there yet"))?;
    let number = last.segment;
    let mut reader = open(storage, &catalogue.identity, number, pool)
        .map_err(|error| damaged(number, &error.to_string()))?;
    while reader.next_record() < last.next_record {
        let Ok(Next::Record(_)) = reader.next() else {
            return Err(damaged(number, "a record is missing"));
        };
    }
    let place = images.begin_segment(storage, number)?;
    Ok((images, (reader, place)))
}

/// The history of the group in `storage`, if it has one.
fn read_catalogue(storage: &Arc<dyn Storage>) -> Result<Option<Catalogue>> {
    let text = storage.read_state().map_err(failed("reading the group's state"))?;
    let Some(text) = text else { return Ok(None) };
    let state = state::parse(&text)
        .map_err(|problem| Error::integrity("reading the group's state", problem))?;
    Ok(state.journal)
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| Error::failed(doing, error)
}
