//! The end of the journal that is being written: records go into segments, several become durable
//! with one flush, and a caller that waits for them holds a ticket. What the records hold, and when
//! an epoch ends, is decided by `keeper`.
//!
//! Order, and what a crash in between leaves:
//!
//! 1. a segment is made, and its header is written;
//! 2. records are written, then flushed, the header with the first of them: a crash in between
//!    leaves any of their sectors. Such a record either fails its checksums, or is complete; none
//!    of the data it preserves was overwritten yet, so either is right. Whoever opens the journal
//!    next relies on this: nothing in a segment without a valid header was ever relied on, and it
//!    may be removed (`strays`);
//! 3. only then are their tickets durable (BARRIER 1), and only then may a state be saved that has
//!    the segment.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use crate::device::Engine;
use crate::device::buffer::ArenaPool;
use crate::device::{BlockDevice, Transfer, WriteBatch};
use crate::journal::catalogue::{Catalogue, PointId, Span};
use crate::journal::draft::{Draft, Stamp};
use crate::journal::layout::{BLOCK_BYTES, Identity, SegmentHeader};
use crate::storage::{SegmentNumber, StateCopy, Storage, remedy};
use crate::units::ByteOffset;
use crate::{Error, ErrorKind, Result};

mod writer;

pub(crate) use writer::Ticket;
use writer::{Done, Worker, WriterCommand};

const BLOCK: NonZeroUsize = NonZeroUsize::new(BLOCK_BYTES).expect("invariant: not zero");

/// Where the next record goes.
#[derive(Debug)]
struct LogPosition {
    segment: SegmentNumber,
    at: u64,
    length: u64,
    first_record: u64,
    /// Everything submitted before the segment was made.
    begun: Ticket,
    /// The end of the durable records in it, in bytes.
    durable_at: u64,
    /// The ends of the records after that, in order.
    ends: VecDeque<(Ticket, u64)>,
}

impl LogPosition {
    /// Whether no record went into the segment.
    fn is_empty(&self) -> bool {
        self.at == BLOCK_BYTES as u64
    }

    /// A ticket for everything before the segment, and for its first record.
    fn begun_at(&self) -> Ticket {
        let has_durable = self.durable_at > BLOCK_BYTES as u64;
        self.ends.front().filter(|_| !has_durable).map_or(self.begun, |(first, _)| *first)
    }
}

/// The end of a journal.
pub(crate) struct Log {
    storage: Arc<dyn Storage>,
    identity: Identity,
    salt: u64,
    worker: Worker,
    place: Option<LogPosition>,
    epoch: PointId,
    next_segment: u64,
    next_record: u64,
    engine: Engine,
    /// The first record of this session: all before it are durable.
    first_record: u64,
    /// The segments of the open epoch that are full, or from an earlier session.
    spans: Vec<Span>,
    submitted: Ticket,
    durable: Ticket,
    has_failed: bool,
}

/// Where a log continues.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) identity: Identity,
    pub(crate) epoch: PointId,
    pub(crate) next_segment: u64,
    pub(crate) next_record: u64,
    pub(crate) spans: Vec<Span>,
    /// The I/O engine.
    pub(crate) engine: Engine,
}

/// Where a log ends, with all of it durable: the part of it that may be saved. Only [`Log`] makes
/// one.
#[derive(Debug)]
pub(crate) struct DurableEnd {
    next_segment: u64,
    next_record: u64,
    /// The segments of the open epoch, up to their used length.
    spans: Vec<Span>,
}

impl DurableEnd {
    /// Updates `catalogue`, whose open epoch is the log's.
    pub(crate) fn describe(&self, catalogue: &mut Catalogue) {
        catalogue.next_segment = self.next_segment;
        catalogue.next_record = self.next_record;
        if let Some(last) = catalogue.points.last_mut().filter(|last| last.spans != self.spans) {
            Arc::make_mut(last).spans.clone_from(&self.spans);
        }
    }
}

/// Proof that every record up to a ticket is durable (BARRIER 1). Only [`Log`] makes one.
#[must_use = "the blocks that the records preserve may be overwritten now, and not before"]
#[derive(Debug)]
pub(crate) struct ImagesDurable(());

impl Log {
    /// A log that continues at `end`, in a new segment with a new `salt`; with `in_thread`, it
    /// writes while the caller does something else.
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        end: End,
        salt: u64,
        in_thread: bool,
    ) -> Result<Self> {
        let End { identity, epoch, next_segment, next_record, spans, engine } = end;
        Ok(Self {
            storage,
            identity,
            salt,
            worker: if in_thread { Worker::thread()? } else { Worker::inline() },
            place: None,
            epoch,
            next_segment,
            next_record,
            engine,
            first_record: next_record,
            spans,
            submitted: Ticket(0),
            durable: Ticket(0),
            has_failed: false,
        })
    }

    /// The common part of the headers of this session's records.
    pub(crate) fn stamp(&self) -> Stamp {
        let mut tag = [0; 8];
        tag.copy_from_slice(&self.identity[..8]);
        Stamp { salt: self.salt, tag }
    }

    /// Whether a record of `bytes` fits into the current segment.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.place.as_ref().is_some_and(|place| place.length - place.at >= bytes as u64)
    }

    /// The segments of the open epoch, up to their used length.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let begun = self.place.as_ref().filter(|place| !place.is_empty());
        let open = begun.map(|place| Span {
            segment: place.segment,
            bytes: place.at,
            first_record: place.first_record,
            next_record: self.next_record,
        });
        self.spans.iter().copied().chain(open).collect()
    }

    /// The next free numbers of segments and of records.
    pub(crate) fn next_numbers(&self) -> (u64, u64) {
        (self.next_segment, self.next_record)
    }

    /// Skips the segment numbers before `next`, which are in use.
    pub(crate) fn skip_segments(&mut self, next: u64) {
        self.next_segment = self.next_segment.max(next);
    }

    /// Makes the next segment, of `bytes`, in `epoch`, while the last saved state is of
    /// `generation`; records go there from now on.
    ///
    /// # Errors
    ///
    /// The kernel's error; nothing has changed then.
    pub(crate) fn begin_segment(
        &mut self,
        epoch: PointId,
        bytes: u64,
        generation: u64,
    ) -> std::io::Result<()> {
        let number = SegmentNumber(self.next_segment);
        let mut device = self.storage.create_segment(number, bytes, self.engine)?;
        let header = SegmentHeader {
            journal: self.identity,
            number,
            epoch: epoch.0,
            first_record: self.next_record,
            salt: self.salt,
            length_bytes: bytes,
            generation,
        };
        if let Err(error) = write_header(device.as_mut(), &header) {
            let _ = self.storage.remove_segment(number);
            return Err(error);
        }
        self.end_segment()?;
        if epoch != self.epoch {
            self.spans.clear();
            self.epoch = epoch;
        }
        self.next_segment += 1;
        let (at, first_record) = (BLOCK_BYTES as u64, self.next_record);
        self.place = Some(LogPosition {
            segment: number,
            at,
            length: bytes,
            first_record,
            begun: self.submitted,
            durable_at: at,
            ends: VecDeque::new(),
        });
        device.hand_over();
        self.worker.take(WriterCommand::Segment(device));
        Ok(())
    }

    /// Ends the current segment and gives back its unused room; the next record goes into another
    /// one.
    pub(crate) fn end_segment(&mut self) -> std::io::Result<()> {
        self.spans = self.spans();
        match self.place.take() {
            Some(place) => self.storage.shorten_segment(place.segment, place.at),
            None => Ok(()),
        }
    }

    /// Begins to write `draft`; there must be room for it.
    ///
    /// # Errors
    ///
    /// An earlier record could not be written.
    pub(crate) fn submit(&mut self, draft: Draft) -> Result<Ticket> {
        let bytes = draft.record_bytes() as u64;
        let Some(place) = &mut self.place else { return Err(no_segment()) };
        if place.length - place.at < bytes {
            return Err(no_segment());
        }
        let (at, number) = (ByteOffset::new(place.at), self.next_record);
        place.at += bytes;
        self.next_record += 1;
        self.submitted.0 += 1;
        place.ends.push_back((self.submitted, place.at));
        let (ticket, durable_before) = (self.submitted, self.first_record + self.durable.0);
        self.worker.take(WriterCommand::Record { draft, number, durable_before, at, ticket });
        Ok(self.submitted)
    }

    /// A ticket for everything submitted so far.
    pub(crate) fn submitted(&self) -> Ticket {
        self.submitted
    }

    /// The proof for everything submitted up to `ticket`, if that is durable by now.
    ///
    /// # Errors
    ///
    /// A record could not be written.
    pub(crate) fn poll(&mut self, ticket: Ticket) -> Result<Option<ImagesDurable>> {
        while self.durable < ticket {
            self.require_not_failed()?;
            match self.worker.done() {
                Some(done) => self.note(done)?,
                None => return Ok(None),
            }
        }
        Ok(Some(ImagesDurable(())))
    }

    /// Waits until everything up to `ticket` is durable.
    ///
    /// # Errors
    ///
    /// A record could not be written.
    pub(crate) fn wait(&mut self, ticket: Ticket) -> Result<ImagesDurable> {
        while self.durable < ticket {
            self.require_not_failed()?;
            let done = self.worker.wait();
            let done = done.map_err(failed(&*self.storage, "waiting for records to be written"))?;
            self.note(done)?;
        }
        Ok(ImagesDurable(()))
    }

    /// Waits until all of the log is durable, and returns where it ends in `epoch`. A state saved
    /// without that would have records that exist nowhere, or would lack the record of an epoch
    /// that it considers open.
    ///
    /// # Errors
    ///
    /// A record could not be written. This includes the record that begins an epoch: then only the
    /// log is in that epoch, and the state is not.
    pub(crate) fn durable_end(&mut self, epoch: PointId) -> Result<DurableEnd> {
        planted!(EndSavedUnseen => { return Ok(self.end()) });
        let _ = self.wait(self.submitted)?;
        match epoch == self.epoch {
            true => Ok(self.end()),
            false => {
                let doing = format!("the beginning of epoch {} was not recorded", self.epoch.0);
                Err(not_done(&*self.storage, &doing, SEE_TO_IT))
            }
        }
    }

    /// As [`durable_end`](Self::durable_end), for the records that are durable by now: those after
    /// them are found in the journal.
    ///
    /// # Errors
    ///
    /// As [`durable_end`](Self::durable_end).
    pub(crate) fn durable_end_so_far(&mut self, epoch: PointId) -> Result<DurableEnd> {
        // The segments before the last have no end of their own here; and the last is in no state
        // before its header is durable, which its first record is flushed with.
        let begun = self.place.as_ref().map(LogPosition::begun_at);
        if let Some(begun) = begun {
            let _ = self.wait(begun)?;
        }
        let _ = self.poll(self.submitted)?;
        if epoch != self.epoch || self.durable == self.submitted {
            return self.durable_end(epoch);
        }
        let next_record = self.first_record + self.durable.0;
        let mut end = self.end();
        if let (Some(place), Some(last)) = (&self.place, end.spans.last_mut()) {
            (last.bytes, last.next_record, end.next_record) =
                (place.durable_at, next_record, next_record);
        }
        Ok(end)
    }

    fn end(&self) -> DurableEnd {
        let (mut next_segment, next_record) = self.next_numbers();
        // Whoever opens the journal looks for a segment without records, too.
        if let Some(place) = self.place.as_ref().filter(|place| place.is_empty()) {
            next_segment = place.segment.0;
        }
        DurableEnd { next_segment, next_record, spans: self.spans() }
    }

    /// A failure is reported once by the writer: waiting again would never end.
    fn require_not_failed(&self) -> Result<()> {
        match self.has_failed {
            true => Err(not_done(&*self.storage, "an earlier attempt failed", SEE_TO_IT)),
            false => Ok(()),
        }
    }

    fn note(&mut self, done: Done) -> Result<()> {
        match done {
            Done::Durable(ticket) => {
                self.durable = self.durable.max(ticket);
                if let Some(place) = &mut self.place {
                    let durable = place.ends.partition_point(|(ticket, _)| *ticket <= self.durable);
                    for (_, at) in place.ends.drain(..durable) {
                        place.durable_at = at;
                    }
                }
                Ok(())
            }
            Done::Failed(error) => {
                self.has_failed = true;
                Err(failed(&*self.storage, &error.attempt.to_string())(error.cause))
            }
            Done::Gone => {
                self.has_failed = true;
                Err(not_done(&*self.storage, "the thread that writes it has ended", SEE_TO_IT))
            }
        }
    }
}

const SEE_TO_IT: &str = "check the retention volume";

/// The error for an operation that the retention volume did not do: where, and what to do now.
fn not_done(storage: &dyn Storage, doing: &str, remedy: &str) -> Error {
    let file = storage.state_file(StateCopy::Second);
    let place = file.as_deref().and_then(Path::parent);
    let place = place.map_or_else(String::new, |place| format!(" at {}", place.display()));
    let hint = format!(
        "nothing was overwritten without being preserved; {remedy}, and run the same command again"
    );
    Error::new(ErrorKind::Failed, format!("the retention journal{place}: {doing}")).with_hint(hint)
}

/// [`not_done`], with the kernel's error as its cause.
pub(crate) fn failed<'a>(
    storage: &'a dyn Storage,
    doing: &'a str,
) -> impl FnOnce(std::io::Error) -> Error + 'a {
    move |cause| not_done(storage, doing, remedy(&cause).unwrap_or(SEE_TO_IT)).caused_by(cause)
}

impl Drop for Log {
    fn drop(&mut self) {
        // Gives back reserved room that is not used. The next process that opens the journal begins
        // another segment, so nobody ever writes there.
        let _ = self.end_segment();
    }
}

fn no_segment() -> Error {
    Error::new(ErrorKind::Failed, "writing the retention journal: no segment has room")
}

fn write_header(device: &mut dyn BlockDevice, header: &SegmentHeader) -> std::io::Result<()> {
    let mut arena = ArenaPool::new(1, BLOCK)?.take().map_err(std::io::Error::other)?;
    header.write(arena.as_mut_slice());
    let writes = vec![Transfer { at: ByteOffset::ZERO, position: 0, length: BLOCK_BYTES }];
    let batch = WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() };
    // A failure is noticed here, and the room is free again: later, the run would have to end.
    device.write_batch(batch).map_err(|error| error.cause)?;
    let _ = device.settle().map_err(|error| error.cause)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::device::Geometry;
    use crate::device::buffer::Arena;
    use crate::device::memory::MemoryDevice;
    use crate::journal::layout::RecordKind;
    use crate::storage::Nothing;
    use crate::storage::directory::Directory;
    use crate::units::{ByteCount, SectorSize};

    mod edges;

    fn text(arena: Arena, stamp: Stamp) -> Draft {
        Draft::of_text(RecordKind::EpochBegins, "{}", arena, stamp).unwrap()
    }

    /// There is more than one wait: that of the checkpoint that failed, and that at the end of the
    /// run.
    #[test]
    fn for_a_record_that_could_not_be_written_nobody_waits_for_ever() {
        let end = End {
            identity: Identity::default(),
            epoch: PointId(1),
            next_segment: 2,
            next_record: 1,
            spans: Vec::new(),
            engine: Engine::default(),
        };
        let mut log = Log::new(Arc::new(Nothing), end, 7, true).unwrap();
        let (length, sector_size) = (1 << 20, SectorSize::Bytes512);
        let device = MemoryDevice::new(Geometry { capacity: ByteCount::new(length), sector_size });
        log.worker.take(WriterCommand::Segment(Box::new(device.failing_flushes(0, libc::EIO))));
        let (segment, at) = (SegmentNumber(1), BLOCK_BYTES as u64);
        let (begun, durable_at, ends) = (Ticket(0), at, VecDeque::new());
        log.place =
            Some(LogPosition { segment, at, length, first_record: 1, begun, durable_at, ends });
        let arena = ArenaPool::new(1, BLOCK.saturating_mul(BLOCK)).unwrap().take().unwrap();
        let ticket = log.submit(text(arena, log.stamp())).unwrap();
        let (told, heard) = channel();
        std::thread::spawn(move || {
            let tell = |log: &mut Log| told.send(log.wait(ticket).map_err(|error| error.chain()));
            tell(&mut log).and_then(|()| tell(&mut log))
        });
        let again = [(), ()].map(|()| heard.recv_timeout(Duration::from_secs(30)).unwrap());
        assert_eq!(
            again[0].as_ref().unwrap_err(),
            "the retention journal: flushing: Input/output error (os error 5)"
        );
        assert_eq!(
            again[1].as_ref().unwrap_err(),
            "the retention journal: an earlier attempt failed"
        );
    }

    #[test]
    fn what_the_retention_volume_did_not_do_is_told_with_its_place_and_what_to_do() {
        let place = tempfile::tempdir().unwrap();
        let storage = Directory::open(place.path(), place.path()).unwrap();
        let cause = std::io::Error::from_raw_os_error(libc::EIO);
        let error = failed(&storage, "making a segment")(cause);
        let expected =
            format!("the retention journal at {}: making a segment", place.path().display());
        assert!(error.chain().starts_with(&expected), "{}", error.chain());
        assert!(error.chain().contains("Input/output error"), "{}", error.chain());
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains("run the same command again"), "{hint}");
        assert!(hint.contains("run `fsck.ext4 -y` on its device"), "{hint}");
        let cause = std::io::Error::from_raw_os_error(libc::ENOSPC);
        let other = failed(&storage, "making a segment")(cause);
        assert!(!other.hint().unwrap_or_default().contains("fsck"), "{other:?}");
    }
}
