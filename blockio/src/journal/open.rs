//! What the open epoch contains when a journal is opened: which segments, up to which record, and
//! which blocks were preserved; and that the state belongs to the history. Reads and flushes;
//! changes nothing.
//!
//! Records that were durable when the state was saved are relied on; a later record counts if all
//! of it is intact, payload included, and no record before it is missing.

use std::sync::Arc;

use crate::device::buffer::ArenaPool;
use crate::extent::Extent;
use crate::journal::catalogue::{Catalogue, PointId, Span};
use crate::journal::layout::RecordKind;
use crate::journal::scan::{Next, Record, SegmentError, SegmentReader};
use crate::journal::state::GroupState;
use crate::journal::strays;
use crate::journal::touched::Touched;
use crate::notice::Notice;
use crate::remedy::{GroupRemedy, Remedied};
use crate::storage::{SegmentNumber, Storage};
use crate::units::ByteOffset;
use crate::{Error, ErrorKind, Result};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// The segments of the open epoch, up to their used length.
    pub(crate) spans: Vec<Span>,
    /// The number of the next segment.
    pub(crate) next_segment: u64,
    /// The number of the next record.
    pub(crate) next_record: u64,
    /// The preserved blocks, by the number of the volume.
    pub(crate) touched: Vec<Touched>,
    /// Whether nothing was overwritten in the epoch.
    pub(crate) is_empty: bool,
    /// Segments that no point has, and that may be removed.
    pub(crate) strays: Vec<SegmentNumber>,
    /// Notices for the operator.
    pub(crate) notes: Vec<Notice>,
}

impl Opened {
    /// Updates `catalogue`, whose open epoch this is.
    pub(crate) fn describe(&self, catalogue: &mut Catalogue) {
        catalogue.next_segment = self.next_segment;
        catalogue.next_record = self.next_record;
        if let Some(last) = catalogue.points.last_mut() {
            Arc::make_mut(last).spans.clone_from(&self.spans);
        }
    }
}

/// Examines the open epoch of the history in `state`.
///
/// # Errors
///
/// `Integrity`: something that was durable is missing or damaged, or the state is older than the
/// history, or of another one. `Failed`: it cannot be read.
pub(crate) fn open_epoch(
    storage: &Arc<dyn Storage>,
    state: &GroupState,
    pool: &ArenaPool,
) -> Result<Opened> {
    let Some(catalogue) = &state.journal else { return Ok(Opened::default()) };
    let mut opening = Opening::new(storage, state, catalogue, pool);
    opening.run()?;
    opening.found.strays = opening.strays()?;
    strays::require_all_may_go(storage, state, &opening.found.strays, pool)?;
    Ok(opening.found)
}

/// All of the open epoch of `state`, where the next epoch begins with record `next`, so this one
/// was durable up to there.
///
/// # Errors
///
/// `Integrity`: part of it is missing. `Failed`: it cannot be read.
pub(crate) fn whole_epoch(
    storage: &Arc<dyn Storage>,
    state: &GroupState,
    next: u64,
    pool: &ArenaPool,
) -> Result<Vec<Span>> {
    let Some(catalogue) = &state.journal else { return Ok(Vec::new()) };
    let mut opening = Opening::new(storage, state, catalogue, pool);
    opening.run()?;
    match opening.found.next_record == next {
        true => Ok(opening.found.spans),
        false => Err(missing(opening.found.next_record, next.saturating_sub(1))),
    }
}

struct Opening<'a> {
    storage: Arc<dyn Storage>,
    state: &'a GroupState,
    catalogue: &'a Catalogue,
    pool: &'a ArenaPool,
    found: Opened,
}

impl<'a> Opening<'a> {
    fn new(
        storage: &Arc<dyn Storage>,
        state: &'a GroupState,
        catalogue: &'a Catalogue,
        pool: &'a ArenaPool,
    ) -> Self {
        let found = Opened {
            next_segment: catalogue.next_segment,
            next_record: catalogue.next_record,
            is_empty: true,
            ..Opened::default()
        };
        Self { storage: Arc::clone(storage), state, catalogue, pool, found }
    }

    /// Finds the segments and records of the epoch.
    fn run(&mut self) -> Result<()> {
        let open = self.catalogue.points.last().map_or(&[][..], |point| &point.spans);
        if let Some(first) = open.first() {
            self.found.next_record = first.first_record;
        }
        for (place, span) in open.iter().enumerate() {
            let until = open.get(place + 1).map(|next| next.first_record);
            self.known(span, until)?;
        }
        self.followers()?;
        self.check_complete()
    }

    /// Reads a segment that the saved state has; the last one may have more records than the state
    /// says.
    fn known(&mut self, span: &Span, until: Option<u64>) -> Result<()> {
        let number = span.segment;
        let mut reader = self.reader(number).map_err(|error| damaged(number, &error))?;
        let first = reader.header().first_record;
        if first != self.found.next_record {
            return Err(missing(self.found.next_record, first.saturating_sub(1)));
        }
        self.read(&mut reader, number, until)
    }

    /// Reads the segments of this epoch that were made after the state was saved.
    fn followers(&mut self) -> Result<()> {
        let epoch = self.catalogue.open_epoch();
        for number in self.later()? {
            // A segment whose header never reached the disk has no records.
            let Ok(mut reader) = self.reader(number) else { break };
            let header = *reader.header();
            let follows = PointId(header.epoch) == epoch
                && header.first_record == self.found.next_record
                && number.0 == self.found.next_segment;
            if !follows {
                break;
            }
            self.read(&mut reader, number, None)?;
            self.found.next_segment = number.0 + 1;
        }
        Ok(())
    }

    fn later(&self) -> Result<Vec<SegmentNumber>> {
        let all = self.storage.segments().map_err(|e| Error::failed("listing the journal", e))?;
        Ok(all.into_iter().filter(|number| number.0 >= self.catalogue.next_segment).collect())
    }

    fn reader(&self, number: SegmentNumber) -> Result<SegmentReader, SegmentError> {
        let device = self.storage.open_segment(number).map_err(SegmentError::Io)?;
        SegmentReader::new(device, self.pool.clone(), &self.catalogue.identity, number)
    }

    fn read(
        &mut self,
        reader: &mut SegmentReader,
        number: SegmentNumber,
        until: Option<u64>,
    ) -> Result<()> {
        let failed = |error: SegmentError| damaged(number, &error);
        if !planted!(SegmentsNotFlushedAtOpen) {
            // The records read below may be only in a cache, left there by a killed process; a
            // later power cut must not take back what is relied on.
            reader.flush().map_err(failed)?;
        }
        while until.is_none_or(|until| reader.next_record() < until) {
            let Next::Record(record) = reader.next().map_err(failed)? else { break };
            if !self.is_whole(reader, &record).map_err(failed)? {
                reader.put_back(&record);
                let (record, segment) = (record.header.number, number);
                self.found.notes.push(Notice::TornRecord { record, segment });
                break;
            }
            self.take(number, &record)?;
        }
        self.found.next_record = reader.next_record();
        self.found.spans.push(Span {
            segment: number,
            bytes: reader.at(),
            first_record: reader.header().first_record,
            next_record: reader.next_record(),
        });
        Ok(())
    }

    fn is_whole(&self, reader: &mut SegmentReader, record: &Record) -> Result<bool, SegmentError> {
        let was_durable = record.header.number < self.catalogue.next_record;
        if was_durable || planted!(PayloadNotChecked) {
            return Ok(true);
        }
        reader.is_payload_whole(record)
    }

    fn take(&mut self, segment: SegmentNumber, record: &Record) -> Result<()> {
        match record.header.kind {
            RecordKind::EpochBegins | RecordKind::VolumeBegins | RecordKind::CopyEnds => {}
            RecordKind::Images => {
                self.found.is_empty = false;
                if planted!(FirstTouchSetNotRebuilt) {
                    return Ok(());
                }
                for entry in &record.header.entries {
                    let number = entry.volume as usize;
                    // A volume is saved before there is a record of it, and the journal has its
                    // description.
                    let Some(volume) = self.catalogue.volumes.get(number) else {
                        return Err(of_no_volume(segment, record.header.number));
                    };
                    // The length of the entry may be arbitrary, and memory is allocated for it.
                    let end = self.state.end_of(volume);
                    let whole = Extent::between(ByteOffset::ZERO, end);
                    let inside = whole.ok().and_then(|whole| entry.extent.intersect(whole));
                    let Some(extent) = inside else { continue };
                    if self.found.touched.len() <= number {
                        self.found.touched.resize_with(number + 1, Touched::default);
                    }
                    self.found.touched[number].insert(&[extent]);
                }
            }
        }
        Ok(())
    }

    /// Checks that nothing that was durable is missing.
    fn check_complete(&self) -> Result<()> {
        if self.found.next_record >= self.catalogue.next_record {
            return Ok(());
        }
        Err(missing(self.found.next_record, self.catalogue.next_record - 1))
    }

    /// Segments that no point has.
    fn strays(&self) -> Result<Vec<SegmentNumber>> {
        let all =
            self.storage.segments().map_err(|error| Error::failed("listing the journal", error))?;
        let mut known: Vec<_> = self.catalogue.spans().map(|span| span.segment).collect();
        known.extend(self.found.spans.iter().map(|span| span.segment));
        known.sort_unstable();
        Ok(all.into_iter().filter(|number| known.binary_search(number).is_err()).collect())
    }
}

fn of_no_volume(number: SegmentNumber, record: u64) -> Error {
    let context = format!(
        "reading segment {} of the retention journal: record {record} has data of a volume that \
         neither the state nor the journal knows",
        number.0
    );
    Error::new(ErrorKind::Integrity, context).remedied(GroupRemedy::CheckJournal)
}

fn missing(record: u64, last: u64) -> Error {
    let context = format!(
        "reading the retention journal: record {record} is missing or damaged, although records up \
         to {last} were durable"
    );
    Error::new(ErrorKind::Integrity, context).remedied(GroupRemedy::CheckJournal)
}

fn damaged(number: SegmentNumber, error: &SegmentError) -> Error {
    let context = format!("reading segment {} of the retention journal: {error}", number.0);
    let (kind, cause) = match error {
        SegmentError::Io(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            (ErrorKind::Failed, Some(cause.to_string()))
        }
        SegmentError::Io(cause) => (ErrorKind::Integrity, Some(cause.to_string())),
        SegmentError::Header(_) | SegmentError::Foreign | SegmentError::Number(_) => {
            (ErrorKind::Integrity, None)
        }
    };
    let error = Error::new(kind, context).remedied(GroupRemedy::CheckJournal);
    cause.into_iter().fold(error, |error, cause| error.caused_by(cause))
}

#[cfg(test)]
mod tests;
