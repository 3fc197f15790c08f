//! The images that a view needs, kept up to date while another process continues to write: the
//! existing segments are held open (they may be removed meanwhile), and appended records are
//! followed.
//!
//! # Why no byte of another time is ever read
//!
//! A reader of a part of the disk looks up images of it *after* that, with [`History::follow`].
//! Suppose the disk had been overwritten before it was read. Then its before-image is in the log:
//! it was durable, and can be read, before the disk was written (I1). `follow` finds it, because
//!
//! 1. **it begins after the disk was read**, and relies on nothing that it read before that: in its
//!    current segment, it reads the place of the next record again. Another caller's `follow`
//!    counts if it began after ours was requested;
//! 2. **records have one order**: their numbers are consecutive over all segments of the log and
//!    all sessions, and each becomes durable after those before it. A record that is incomplete is
//!    not durable, so nothing after it is, and none of the data it preserves was overwritten; the
//!    next session begins with its number. So from the current position, number by number, the way
//!    leads to that image, or to a place where the next number is not available;
//! 3. **a record that is not available was removed, or does not exist yet.** Segments are removed
//!    (points expired, epochs were merged) after the state was saved without them, and everything
//!    is then read again, beginning with the state. So if no segment follows, and the state is
//!    still the one that was read before the end was met, nothing was removed in between, and the
//!    end is the end;
//! 4. **nothing outside the log is ever taken for it.** Copies of merged epochs lie between its
//!    segments; their records have numbers of their own
//!    ([`COPIES_FROM`](crate::journal::layout::COPIES_FROM)). A session records itself in the state
//!    before it writes anything: when a reader sees that, it reads again where the session
//!    continues, and which segments of the previous session it ignores;
//! 5. **a found image stays.** An image is read from a segment that was opened before, whatever has
//!    become of its name; its content is never overwritten. The image that was found first counts,
//!    even after everything was read again: a point that is kept has the same bytes through all
//!    merging. If a point is gone, that is reported, and nothing else is read instead.
//!
//! Disks and segments are read without holding a lock on the known images; callers that need to
//! know more wait for one search for the end of the log, which then serves all of them.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::device::buffer::ArenaPool;
use crate::extent::Extent;
use crate::journal::beyond;
use crate::journal::catalogue::{Catalogue, JournalVolume, PointId};
use crate::journal::images::{Found, Images, damaged, open, unreadable};
use crate::journal::index::ImageIndex;
use crate::journal::layout::{COPIES_FROM, Identity};
use crate::journal::saved::{self, NotReadable};
use crate::journal::scan::{Next, SegmentError, SegmentReader};
use crate::journal::state::GroupState;
use crate::journal::strays;
use crate::remedy::{PointRemedy, Remedied};
use crate::storage::{SegmentNumber, Storage};
use crate::units::ByteCount;
use crate::{Error, ErrorKind, Result};

/// How often in a row the state may be replaced while it is read.
const LOOKS_MAX: usize = 1000;

/// The images since a point, of all volumes of a group.
pub(super) struct History {
    storage: Arc<dyn Storage>,
    pool: ArenaPool,
    point: PointId,
    known: RwLock<Known>,
    tail: Mutex<Tail>,
    /// How many searches for the end were begun.
    begun: AtomicU64,
    /// The history that the point belongs to.
    identity: Identity,
    /// The stamp of the state that still had the point at the last check.
    kept_at: AtomicU64,
}

/// What was found so far.
struct Known {
    images: Images,
    /// The volumes, by their numbers in images.
    volumes: Vec<JournalVolume>,
}

/// Where appended records will be found.
struct Tail {
    /// The segment that is being appended to, read up to its end, and its index among the images.
    reader: SegmentReader,
    place: u32,
    /// The number of the segment after it.
    next_segment: u64,
    /// No segment followed, although this record should have been its first.
    looked_again_for: Option<(u64, u64)>,
    /// The same, and everything was read again since then.
    loaded_for: Option<(u64, u64)>,
    seen: Seen,
    /// The number of the last search that found the end.
    complete: u64,
}

/// What was known of the group at the last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    stamp: u64,
    identity: Identity,
    session: u64,
    next_segment: u64,
    /// Every record before this one is durable.
    next_record: u64,
}

impl Known {
    fn index(&self, name: &str) -> Option<&ImageIndex> {
        self.images.of(self.number(name)?)
    }

    fn number(&self, name: &str) -> Option<u32> {
        let number = self.volumes.iter().position(|volume| volume.name == *name)?;
        u32::try_from(number).ok()
    }
}

impl History {
    /// The images since `point` of the group in `storage`.
    pub(super) fn open(storage: Arc<dyn Storage>, point: PointId, pool: ArenaPool) -> Result<Self> {
        let Loaded { images, volumes, reader, place, seen } = load(&storage, point, &pool)?;
        let tail = Tail {
            next_segment: reader.header().number.0 + 1,
            reader,
            place,
            looked_again_for: None,
            loaded_for: None,
            seen,
            complete: 0,
        };
        let (known, tail) = (RwLock::new(Known { images, volumes }), Mutex::new(tail));
        let (begun, kept_at) = (AtomicU64::new(0), AtomicU64::new(seen.stamp));
        let identity = seen.identity;
        Ok(Self { storage, pool, point, known, tail, begun, identity, kept_at })
    }

    /// The images of `extent` of the volume `name` that are known by now, ascending.
    pub(super) fn found(&self, name: &str, extent: Extent) -> Vec<Found> {
        let known = self.known();
        known.number(name).map_or_else(Vec::new, |number| known.images.found(number, extent))
    }

    /// Applies `look` to the images of the volume `name`; `None` if it has none yet.
    pub(super) fn of<T>(&self, name: &str, look: impl FnOnce(&ImageIndex) -> T) -> Option<T> {
        self.known().index(name).map(look)
    }

    /// The length that the volume `name` had.
    pub(super) fn capacity(&self, name: &str) -> Option<ByteCount> {
        let known = self.known();
        let volume = known.volumes.iter().find(|volume| volume.name == *name)?;
        Some(volume.capacity())
    }

    /// Adds everything that was appended up to now.
    pub(super) fn follow(&self) -> Result<()> {
        if planted!(ViewDoesNotLookAgain) {
            return Ok(());
        }
        let begun = self.begun.load(Ordering::SeqCst);
        // The content of the mutex is valid at any moment: a thread that panicked was reading.
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.complete > begun {
            // A search that began after our request has finished.
            return Ok(());
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        self.find_the_end(&mut tail)?;
        tail.complete = number;
        Ok(())
    }

    fn find_the_end(&self, tail: &mut Tail) -> Result<()> {
        if !planted!(ViewTrustsItsWindow) {
            tail.reader.forget();
        }
        for _ in 0..LOOKS_MAX {
            let stamp = self.stamp()?;
            if stamp != tail.seen.stamp {
                let looked = self.look_at_the_state(tail, stamp);
                // The state may have been replaced again, and segments removed with that.
                if looked.is_err() && self.stamp()? != stamp {
                    continue;
                }
                looked?;
            }
            let found = self.read_to_the_end(tail);
            // Segments may have been removed while we looked for them.
            if self.stamp()? == tail.seen.stamp || planted!(ViewTrustsItsWindow) {
                return found.and_then(|()| self.require_all_known(tail));
            }
            if found.is_err() {
                self.load(tail)?;
            }
        }
        let context = format!("looking at point {}: the group keeps changing", self.point);
        Err(Error::new(ErrorKind::Failed, context))
    }

    /// Requires that all images belong to volumes in the state; others belong to a newer state.
    fn require_all_known(&self, tail: &Tail) -> Result<()> {
        let known = self.known();
        match known.images.volume_count() <= known.volumes.len() {
            true => Ok(()),
            false => {
                let number = tail.reader.header().number;
                Err(damaged(number, "it has images of a volume that is unknown to the state"))
            }
        }
    }

    fn read_to_the_end(&self, tail: &mut Tail) -> Result<()> {
        loop {
            let number = tail.reader.header().number;
            let wrong = |error: SegmentError| unreadable(number, error);
            if let Next::Record(record) = tail.reader.next().map_err(wrong)? {
                if tail.reader.is_payload_whole(&record).map_err(wrong)? {
                    self.known_mut().images.take(tail.place, &record, &mut tail.reader)?;
                    continue;
                }
                // It is being written, or was when a process ended: none of the data it preserves
                // was overwritten. In the latter case another session continues in another segment.
                tail.reader.put_back(&record);
            }
            if !self.next_segment(tail)? {
                return Ok(());
            }
        }
    }

    /// Continues with the segment after the current one; returns false while there is none.
    ///
    /// Between the segments of the log there may be others: copies of what earlier epochs
    /// preserved, for which nothing was overwritten. The numbers of the records prove that no
    /// segment of the log was missed.
    fn next_segment(&self, tail: &mut Tail) -> Result<bool> {
        loop {
            let number = SegmentNumber(tail.next_segment);
            let next = match open(&self.storage, &tail.seen.identity, number, &self.pool) {
                Ok(next) => next,
                // It does not exist yet; or its header does not, so its records do not either: its
                // blocks may hold those of another segment that had them before.
                Err(error) if is_none(&error) && number.0 >= tail.seen.next_segment => {
                    return self.ends(tail);
                }
                // It was whole once, and is gone, or damaged. It was a copy, which does not concern
                // us, or it is missed by the numbers of its records.
                Err(error) if is_none(&error) => {
                    tail.next_segment += 1;
                    continue;
                }
                Err(error) => return Err(unreadable(number, error)),
            };
            let (header, of_tail) = (*next.header(), *tail.reader.header());
            if header.first_record >= COPIES_FROM || header.epoch < of_tail.epoch {
                tail.next_segment += 1;
                continue;
            }
            let expected = (number.0, tail.reader.next_record());
            if header.first_record == expected.1 {
                return self.go_on_with(tail, next);
            }
            // Records may have arrived just before the segment ended. If not, some are gone, and
            // the state knows where they went. If the state has nothing new, the segment does not
            // have its own header yet: its blocks hold those of another segment that had them
            // before, and no record is in it.
            if tail.loaded_for == Some(expected) {
                return self.ends(tail);
            }
            if tail.looked_again_for == Some(expected) {
                self.load(tail)?;
                tail.loaded_for = Some(expected);
            }
            tail.looked_again_for = Some(expected);
            return Ok(true);
        }
    }

    /// Returns false because the log ends here, unless the state knows of more; then that is
    /// searched for again.
    fn ends(&self, tail: &mut Tail) -> Result<bool> {
        let next = tail.reader.next_record();
        if next >= tail.seen.next_record {
            return Ok(false);
        }
        let expected = (tail.next_segment, next);
        if tail.loaded_for == Some(expected) {
            return Err(damaged(tail.reader.header().number, "a record after it is missing"));
        }
        self.load(tail)?;
        tail.loaded_for = Some(expected);
        Ok(true)
    }

    /// Makes `next` the current segment. Returns false if it is already gone again.
    fn go_on_with(&self, tail: &mut Tail, next: SegmentReader) -> Result<bool> {
        let number = next.header().number;
        let device = match self.storage.open_segment(number) {
            Ok(device) => device,
            Err(error) => return Err(unreadable(number, SegmentError::Io(error))),
        };
        tail.place = self.known_mut().images.begin_segment(number, device)?;
        tail.reader = next;
        tail.next_segment += 1;
        Ok(true)
    }

    fn load(&self, tail: &mut Tail) -> Result<()> {
        let loaded = load(&self.storage, self.point, &self.pool)?;
        let Loaded { images, volumes, reader, place, seen } = loaded;
        *self.known_mut() = Known { images, volumes };
        (tail.reader, tail.place, tail.seen) = (reader, place, seen);
        tail.next_segment = tail.reader.header().number.0 + 1;
        tail.looked_again_for = None;
        Ok(())
    }

    /// The state was replaced: usually by the current writer; or there is another writer, and
    /// everything is read again.
    fn look_at_the_state(&self, tail: &mut Tail, stamp: u64) -> Result<()> {
        let known = read_if_any(&self.storage, &self.pool)?;
        let catalogue = match as_of(tail.seen.identity, known) {
            Ok(catalogue) => catalogue,
            Err(why) => return Err(self.is_gone(why)),
        };
        if catalogue.session != tail.seen.session {
            return self.load(tail);
        }
        tail.seen.stamp = stamp;
        tail.seen.next_segment = catalogue.next_segment;
        tail.seen.next_record = catalogue.next_record;
        self.known_mut().volumes = catalogue.volumes;
        Ok(())
    }

    /// Why the point is no longer kept; `None` while it is kept, and while that cannot be
    /// determined.
    pub(super) fn gone(&self) -> Option<Error> {
        let stamp = self.stamp().ok()?;
        if self.kept_at.load(Ordering::Relaxed) == stamp {
            return None;
        }
        let known = read_if_any(&self.storage, &self.pool).ok()?;
        match as_of(self.identity, known) {
            Err(why) => Some(self.is_gone(why)),
            Ok(known) if known.point(self.point).is_none() => {
                Some(self.is_gone("it has expired, or was given up").remedied(PointRemedy::List))
            }
            Ok(_) => {
                self.kept_at.store(stamp, Ordering::Relaxed);
                None
            }
        }
    }

    fn is_gone(&self, why: &str) -> Error {
        let context = format!("point {} is gone: {why}", self.point);
        Error::new(ErrorKind::Failed, context)
    }

    fn stamp(&self) -> Result<u64> {
        self.storage.state_stamp().map_err(failed("looking at the group's state"))
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// No I/O is done while this is held.
    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there is no segment, or none of ours.
fn is_none(error: &SegmentError) -> bool {
    match error {
        SegmentError::Header(_) | SegmentError::Foreign | SegmentError::Number(_) => true,
        SegmentError::Io(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// A history as loaded.
struct Loaded {
    images: Images,
    volumes: Vec<JournalVolume>,
    reader: SegmentReader,
    place: u32,
    seen: Seen,
}

fn load(storage: &Arc<dyn Storage>, point: PointId, pool: &ArenaPool) -> Result<Loaded> {
    // The state may be replaced while segments are opened, and some may be removed with that.
    let mut attempts = 0;
    loop {
        attempts += 1;
        let stamp = storage.state_stamp().map_err(failed("looking at the group's state"))?;
        let loaded = try_load(storage, point, pool, stamp);
        let is_same = storage.state_stamp().is_ok_and(|now| now == stamp);
        if is_same || loaded.is_ok() || attempts == LOOKS_MAX {
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
    let (state, listed) = read_state(storage, pool)?;
    let expired = || {
        Error::new(ErrorKind::Usage, format!("point {point} has expired, or was given up"))
            .remedied(PointRemedy::List)
    };
    let has_it = |known: &Catalogue| known.point(point).is_some();
    if !state.journal.as_ref().is_some_and(has_it) {
        return Err(expired());
    }
    strays::require_none_newer(storage, &state, &listed, pool)?;
    let catalogue = state.journal.ok_or_else(expired)?;
    let Catalogue { identity, session, next_segment, next_record, .. } = catalogue;
    let volumes = catalogue.volumes.clone();
    let seen = Seen { stamp, identity, session, next_segment, next_record };
    let images = Images::since(storage, &catalogue, point, pool)?;
    let (images, reader, place) = tail(storage, &catalogue, images, pool)?;
    Ok(Loaded { images, volumes, reader, place, seen })
}

/// Where appended records will be found.
fn tail(
    storage: &Arc<dyn Storage>,
    catalogue: &Catalogue,
    mut images: Images,
    pool: &ArenaPool,
) -> Result<(Images, SegmentReader, u32)> {
    let last = catalogue.points.last().and_then(|point| point.spans.last());
    let last = last.ok_or_else(|| Error::new(ErrorKind::Usage, "there is nothing yet"))?;
    let number = last.segment;
    let mut reader = open(storage, &catalogue.identity, number, pool)
        .map_err(|error| unreadable(number, error))?;
    while reader.next_record() < last.next_record {
        let Ok(Next::Record(_)) = reader.next() else {
            return Err(damaged(number, "a record is missing"));
        };
    }
    let device = storage
        .open_segment(number)
        .map_err(|error| unreadable(number, SegmentError::Io(error)))?;
    let place = images.begin_segment(number, device)?;
    Ok((images, reader, place))
}

/// The history in `state` if it is `identity`, else what became of that history.
fn as_of(identity: Identity, state: Option<GroupState>) -> Result<Catalogue, &'static str> {
    let Some(state) = state else { return Err("the group was forgotten") };
    match state.journal {
        Some(known) if known.identity == identity => Ok(known),
        None if state.volumes.is_empty() => Err("the group released its disks"),
        None => Err("the group was committed"),
        Some(_) => Err("the group was committed or released its disks, and has another history \
                        now"),
    }
}

/// The state, and the segments that existed before it was read.
fn read_state(
    storage: &Arc<dyn Storage>,
    pool: &ArenaPool,
) -> Result<(GroupState, Vec<SegmentNumber>)> {
    let listed = storage.segments().map_err(failed("listing the journal"))?;
    let state = read_saved(storage)?.unwrap_or_default();
    Ok((beyond::take_in(storage, state, &listed, pool)?, listed))
}

/// The state; `None` if the group no longer exists.
fn read_if_any(storage: &Arc<dyn Storage>, pool: &ArenaPool) -> Result<Option<GroupState>> {
    let listed = storage.segments().map_err(failed("listing the journal"))?;
    let saved = read_saved(storage)?;
    saved.map(|state| beyond::take_in(storage, state, &listed, pool)).transpose()
}

fn read_saved(storage: &Arc<dyn Storage>) -> Result<Option<GroupState>> {
    let doing = "reading the group's state";
    match saved::read(storage.as_ref()) {
        Ok(saved) => Ok(saved.map(|saved| saved.state)),
        Err(NotReadable::Failed { file, cause }) => {
            Err(Error::failed(format!("{doing}, {file}"), cause))
        }
        Err(problem) => Err(Error::integrity(doing, problem)),
    }
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| Error::failed(doing, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::layout::NoHeader;
    use crate::rollback::tests::{Bench, LAST, MARKED};

    #[test]
    fn a_segment_that_cannot_be_read_is_not_taken_for_one_that_is_not_there() {
        assert!(is_none(&SegmentError::Io(io::ErrorKind::NotFound.into())));
        assert!(is_none(&SegmentError::Header(NoHeader::Magic)));
        assert!(!is_none(&SegmentError::Io(io::Error::from_raw_os_error(libc::EIO))));
    }

    #[test]
    fn what_another_process_preserves_is_found_over_all_its_segments() {
        let bench = Bench::new();
        let pool = crate::group::keeper::record_pool().unwrap();
        let history = History::open(Arc::clone(&bench.storage), LAST, pool).unwrap();
        let bytes = || history.of("a", ImageIndex::bytes);
        history.follow().unwrap();
        assert_eq!(bytes(), Some(0));
        bench.roll_back(MARKED);
        assert!(bench.known().points.last().unwrap().spans.len() > 3);
        history.follow().unwrap();
        assert_eq!(bytes(), Some(128 << 10));
    }

    #[test]
    fn that_a_point_is_gone_is_told_also_where_nothing_is_read() {
        let bench = Bench::new();
        let pool = || crate::group::keeper::record_pool().unwrap();
        let open = |point| History::open(Arc::clone(&bench.storage), point, pool()).unwrap();
        let (marked, last) = (open(MARKED), open(LAST));
        bench.roll_back(MARKED);
        bench.roll_back(LAST);
        assert!(marked.gone().is_none() && last.gone().is_none());
        bench.roll_back_without_undo(MARKED);
        assert!(marked.gone().is_none());
        let told = last.gone().unwrap();
        assert_eq!((told.kind(), told.to_string().contains("expired")), (ErrorKind::Failed, true));
        bench.group().commit().unwrap();
        assert!(marked.gone().unwrap().to_string().contains("committed"));
    }
}
