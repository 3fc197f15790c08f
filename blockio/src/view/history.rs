//! The images that a view needs, kept up to date while somebody else goes on writing: the segments
//! that were there are held open (they may be removed meanwhile), and what is appended is followed.
//!
//! # Why no byte of another time is ever read
//!
//! Who reads a part of the disk asks for images of it *after* that, with [`History::follow`]. Let
//! the disk have been overwritten before it was read. Then its before-image is in the log: it was
//! durable, and can be read, before the disk was written (I1). That `follow` finds it, since
//!
//! 1. **it begins after the disk was read**, and believes nothing that it read before that: of the
//!    segment that it is in, it reads again where the next record would be. Somebody else's
//!    `follow` counts if it began after ours was asked for;
//! 2. **records have one order**: their numbers are consecutive over all segments of the log and
//!    all sessions, and each becomes durable after those before it. A record that is not whole is
//!    not durable, so nothing after it is, and nothing of it was overwritten; the next session
//!    begins with its number. So from where we are, number by number, the way leads to that image,
//!    or to a place where the next number is not to be had;
//! 3. **what is not to be had was removed, or is not there yet.** Segments are removed (points
//!    went, epochs were merged) after the state was saved without them, and everything is then
//!    looked at anew, beginning with the state. So where a segment does not follow, and the state
//!    is still the one that was looked at before the end was met, nothing was removed in between,
//!    and the end is the end;
//! 4. **what is not of the log is never taken for it.** Copies of merged epochs lie between its
//!    segments; their records have numbers of their own
//!    ([`COPIES_FROM`](crate::journal::layout::COPIES_FROM)). A session says in the state that it
//!    writes before it writes anything: what it goes on with, and which segments of the session
//!    before it does without, is looked at anew when that is seen;
//! 5. **what was found stays.** An image is read from a segment that was opened before, whatever
//!    has become of its name; what is in it is never written again. An image that was found first
//!    counts, also after everything was looked at anew: a point that is kept has the same bytes
//!    through all merging. A point that is gone is told, and nothing else is read instead.
//!
//! What is read from a disk or from segments is read without a lock on what is known; who needs to
//! know more waits for one look at the end of the log, which then does for all who wait.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::device::buffer::ArenaPool;
use crate::extent::Extent;
use crate::journal::beyond;
use crate::journal::catalogue::{Catalogue, JournalVolume, PointId};
use crate::journal::images::{Found, Images, damaged, open, unreadable};
use crate::journal::index::Index;
use crate::journal::layout::{COPIES_FROM, Identity};
use crate::journal::saved::{self, NotReadable};
use crate::journal::scan::{Next, SegmentError, SegmentReader};
use crate::journal::state::GroupState;
use crate::journal::strays;
use crate::storage::{SegmentNumber, Storage};
use crate::units::ByteCount;
use crate::{Error, ErrorKind, Result};

/// So often in a row the state may be replaced while it is looked at.
const LOOKS_MAX: usize = 1000;

const SEE_WHICH_ARE_KEPT: &str = "see which are kept with: mtctl points list";

/// The images since a point, of all volumes of a group.
pub(super) struct History {
    storage: Arc<dyn Storage>,
    pool: ArenaPool,
    point: PointId,
    known: RwLock<Known>,
    tail: Mutex<Tail>,
    /// How many looks at the end were begun.
    begun: AtomicU64,
    /// Which history it is a point of.
    identity: Identity,
    /// The stamp of the state that had the point when that was asked last.
    kept_at: AtomicU64,
}

/// What was found.
struct Known {
    images: Images,
    /// The volumes, by the numbers that images have of them.
    volumes: Vec<JournalVolume>,
}

/// Where what is appended will be found.
struct Tail {
    /// The segment that is being appended to, read up to its end, and its place among the images.
    reader: SegmentReader,
    place: u32,
    /// The number of the segment that comes after it.
    next_segment: u64,
    /// A segment did not follow, though this record should have been its first.
    looked_again_for: Option<(u64, u64)>,
    /// The same, and everything was looked at anew since.
    loaded_for: Option<(u64, u64)>,
    seen: Seen,
    /// The last look at the end that found it, by its number.
    complete: u64,
}

/// What was known of the group when it was looked at last.
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
    fn index(&self, name: &str) -> Option<&Index> {
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

    /// What `look` says of the images of the volume `name`; none while it has none.
    pub(super) fn of<T>(&self, name: &str, look: impl FnOnce(&Index) -> T) -> Option<T> {
        self.known().index(name).map(look)
    }

    /// How long the volume `name` was.
    pub(super) fn capacity(&self, name: &str) -> Option<ByteCount> {
        let known = self.known();
        let volume = known.volumes.iter().find(|volume| volume.name == *name)?;
        Some(volume.capacity())
    }

    /// Takes what was appended up to now.
    pub(super) fn follow(&self) -> Result<()> {
        if planted!(ViewDoesNotLookAgain) {
            return Ok(());
        }
        let begun = self.begun.load(Ordering::SeqCst);
        // What is behind it is true of any moment: who panicked was reading.
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.complete > begun {
            // Somebody looked who began after we asked.
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
                // It may have been replaced again, and segments been removed with that.
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
        let context = format!("looking at point {}: the group changes all the time", self.point);
        Err(Error::new(ErrorKind::Failed, context))
    }

    /// Images of a volume of which the state knows nothing are of a newer one.
    fn require_all_known(&self, tail: &Tail) -> Result<()> {
        let known = self.known();
        match known.images.volume_count() <= known.volumes.len() {
            true => Ok(()),
            false => {
                let number = tail.reader.header().number;
                Err(damaged(number, "it has images of a volume that the state does not know"))
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
                // It is being written, or was when a process ended: nothing that it is about was
                // overwritten. In the latter case another session goes on in another segment.
                tail.reader.put_back(&record);
            }
            if !self.next_segment(tail)? {
                return Ok(());
            }
        }
    }

    /// Goes on to the segment after the one that is read; false while there is none.
    ///
    /// Between the segments of the log may be others: copies of what earlier epochs preserved, for
    /// which nothing was overwritten. That none of the log was missed is told by the numbers of
    /// its records.
    fn next_segment(&self, tail: &mut Tail) -> Result<bool> {
        loop {
            let number = SegmentNumber(tail.next_segment);
            let next = match open(&self.storage, &tail.seen.identity, number, &self.pool) {
                Ok(next) => next,
                // It is not there yet; or its header is not, and so nothing else is: what is there
                // may be of another segment that had the same blocks.
                Err(error) if is_none(&error) && number.0 >= tail.seen.next_segment => {
                    return self.ends(tail);
                }
                // It was whole once, and is gone, or damaged: a copy, which is none of ours, or
                // what is missed by the numbers of its records.
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
            // Records may have come just before the segment ended. If not, some are gone, and where
            // they went is known to the state. If that has nothing else to say, the segment has
            // no header of its own yet: what is there is of another that had its blocks, and no
            // record is in it.
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

    /// The log ends here: false, but where the state knows of more, and that is looked for anew.
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

    /// `next` is the segment that follows. False if it is gone again already.
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

    /// The state was replaced: by the one who writes, as ever; or somebody else writes now, and
    /// everything is looked at anew.
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

    /// Why the point is kept no longer; none while it is kept, and while that cannot be seen.
    pub(super) fn gone(&self) -> Option<Error> {
        let stamp = self.stamp().ok()?;
        if self.kept_at.load(Ordering::Relaxed) == stamp {
            return None;
        }
        let known = read_if_any(&self.storage, &self.pool).ok()?;
        match as_of(self.identity, known) {
            Err(why) => Some(self.is_gone(why)),
            Ok(known) if known.point(self.point).is_none() => {
                Some(self.is_gone("it expired, or was given up").with_hint(SEE_WHICH_ARE_KEPT))
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

    /// Nothing is read while this is held.
    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing, or nothing of ours, is there.
fn is_none(error: &SegmentError) -> bool {
    match error {
        SegmentError::Header(_) | SegmentError::Foreign | SegmentError::Number(_) => true,
        SegmentError::Io(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// What there is of a history.
struct Loaded {
    images: Images,
    volumes: Vec<JournalVolume>,
    reader: SegmentReader,
    place: u32,
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
            .with_hint(SEE_WHICH_ARE_KEPT)
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

/// Where what is appended will be found.
fn tail(
    storage: &Arc<dyn Storage>,
    catalogue: &Catalogue,
    mut images: Images,
    pool: &ArenaPool,
) -> Result<(Images, SegmentReader, u32)> {
    let last = catalogue.points.last().and_then(|point| point.spans.last());
    let last = last.ok_or_else(|| Error::new(ErrorKind::Usage, "nothing is kept there yet"))?;
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

/// The history in `state` that is `identity`, else what became of that one.
fn as_of(identity: Identity, state: Option<GroupState>) -> Result<Catalogue, &'static str> {
    let Some(state) = state else { return Err("the group was forgotten") };
    match state.journal {
        Some(known) if known.identity == identity => Ok(known),
        None if state.volumes.is_empty() => Err("the group gave up its disks"),
        None => Err("the group was committed"),
        Some(_) => Err("the group was committed or gave up its disks, and has another history"),
    }
}

/// The state, and the segments that were there before it was read.
fn read_state(
    storage: &Arc<dyn Storage>,
    pool: &ArenaPool,
) -> Result<(GroupState, Vec<SegmentNumber>)> {
    let listed = storage.segments().map_err(failed("listing the journal"))?;
    let state = read_saved(storage)?.unwrap_or_default();
    Ok((beyond::take_in(storage, state, &listed, pool)?, listed))
}

/// The state; none if there is no group any more.
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
        let bytes = || history.of("a", Index::bytes);
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
