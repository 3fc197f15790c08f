//! One segment, from its header to its last record, compared with the state. What that means for
//! the points is up to `check`.

use std::sync::Arc;

use crate::device::buffer::ArenaPool;
use crate::journal::catalogue::{Catalogue, PointId, Span};
use crate::journal::check::finding::{Class, Finding, Found};
use crate::journal::check::reading::Reading;
use crate::journal::images;
use crate::journal::layout::{Entry, NoHeader, RecordKind, SegmentHeader};
use crate::journal::memo::EpochMemo;
use crate::journal::scan::{Next, NoRecord, Record, SegmentError, SegmentReader};
use crate::journal::state::GroupState;
use crate::journal::touched::Touched;
use crate::plain::Plain;
use crate::storage::{SegmentNumber, Storage};
use crate::{Error, Result};

/// What is known of the epoch being read.
#[derive(Debug, Default)]
pub(super) struct Epoch {
    number: Option<u64>,
    /// The number of its next record.
    next_record: u64,
    /// What was preserved in it, by the number of the volume.
    touched: Vec<Touched>,
    /// The points that it leads back to, according to its first record; empty if that does not say.
    leads_to: Vec<PointId>,
    /// Part of it could not be read: nothing after that can be compared with it.
    is_unsure: bool,
    /// An earlier segment was not read at all: it may have been the first of this epoch.
    has_lost_segment: bool,
}

impl Epoch {
    /// The number of the next record of the open epoch.
    pub(super) fn next_record(&self, known: &Catalogue) -> u64 {
        let is_open = self.number == Some(known.open_epoch().0);
        if is_open { self.next_record } else { known.next_record }
    }

    /// Whether part of it was already found damaged.
    pub(super) fn is_unsure(&self) -> bool {
        self.is_unsure
    }

    /// The last of `points` (for which the state has no segment) that this epoch does not lead back
    /// to: the segment that did is lost.
    pub(super) fn lost_before(&self, points: &[PointId]) -> Option<PointId> {
        let is_lost = |id: &PointId| !self.leads_to.is_empty() && !self.leads_to.contains(id);
        points.iter().copied().rfind(is_lost)
    }

    /// Enters the segment with `header`; returns whether it is the first of its epoch.
    fn enter(&mut self, header: &SegmentHeader) -> bool {
        if self.number == Some(header.epoch) {
            return false;
        }
        let is_unsure = self.has_lost_segment;
        *self = Self {
            number: Some(header.epoch),
            next_record: header.first_record,
            is_unsure,
            ..Self::default()
        };
        !is_unsure
    }
}

/// A segment, and what the state says of it.
#[derive(Clone, Copy)]
pub(super) struct SegmentCheck<'a> {
    pub(super) state: &'a GroupState,
    pub(super) known: &'a Catalogue,
    pub(super) point: PointId,
    /// The next point.
    pub(super) until: Option<PointId>,
    pub(super) span: &'a Span,
    /// Whether it is the last segment of a copy.
    pub(super) ends_copy: bool,
    /// Whether it is the last segment of the open epoch: it may have more records than the state
    /// says.
    pub(super) is_open: bool,
}

/// Opens segment `number`.
pub(super) fn open(
    storage: &Arc<dyn Storage>,
    pool: &ArenaPool,
    known: &Catalogue,
    number: SegmentNumber,
) -> Result<SegmentReader, SegmentError> {
    images::open(storage, &known.identity, number, pool)
}

impl SegmentCheck<'_> {
    pub(super) fn run(
        &self,
        reading: &mut Reading<'_>,
        epoch: &mut Epoch,
        found: &mut Found,
    ) -> Result<()> {
        let number = self.span.segment;
        let mut reader = match open(reading.storage, &reading.pool, self.known, number) {
            Ok(reader) => reader,
            Err(error) => {
                (epoch.is_unsure, epoch.has_lost_segment) = (true, true);
                return self.unreadable(error, None, found);
            }
        };
        reading.read(reader.at())?;
        let header = *reader.header();
        let is_first = epoch.enter(&header);
        self.header(&header, epoch, found);
        if is_first {
            self.beginning(&mut reader, epoch, found);
        }
        match self.records(&mut reader, reading, epoch, found)? {
            Ok(()) => {}
            Err(error) => {
                epoch.is_unsure = true;
                self.unreadable(error, Some(reader.at()), found)?;
            }
        }
        epoch.next_record = reader.next_record();
        Ok(())
    }

    /// Checks that its header agrees with the state.
    fn header(&self, header: &SegmentHeader, epoch: &Epoch, found: &mut Found) {
        let of = PointId(header.epoch);
        if of < self.point || self.until.is_some_and(|until| of >= until) {
            let detail = format!(
                "it holds images for point {of}, but the state lists it under point {}",
                self.point
            );
            self.add(Class::SegmentEpochWrong, Some(0), None, detail, found);
        }
        let expected = match epoch.is_unsure {
            true => self.span.first_record,
            false => epoch.next_record,
        };
        let first = header.first_record;
        if first != self.span.first_record || first != expected {
            let detail = format!("it begins with record {first}, but {expected} is next");
            self.add(Class::RecordMissing, Some(0), Some(expected.min(first)), detail, found);
        }
    }

    /// Checks the first record of an epoch, which says where its streams were.
    fn beginning(&self, reader: &mut SegmentReader, epoch: &mut Epoch, found: &mut Found) {
        let (at, number) = (reader.at(), reader.next_record());
        // A record that cannot be read is reported when its turn comes.
        let Ok(Next::Record(record)) = reader.next() else { return };
        let says = match record.header.kind {
            RecordKind::Images | RecordKind::VolumeBegins | RecordKind::CopyEnds => {
                Some("the first record of the epoch is not the one that begins it")
            }
            RecordKind::EpochBegins => match reader.text(&record) {
                Ok(Some(text)) => match EpochMemo::parse(&text) {
                    Some(memo) => {
                        epoch.leads_to = memo.points.iter().map(|point| point.id).collect();
                        None
                    }
                    None => Some("the record that begins the epoch does not say where it begins"),
                },
                Ok(None) | Err(_) => None,
            },
        };
        reader.put_back(&record);
        if let Some(says) = says {
            let class = Class::EpochWithoutBeginning;
            self.add(class, Some(at), Some(number), says.to_owned(), found);
        }
    }

    /// Checks all records. Records that were durable when the state was saved must be there; later
    /// ones count as far as they are intact.
    fn records(
        &self,
        reader: &mut SegmentReader,
        reading: &mut Reading<'_>,
        epoch: &mut Epoch,
        found: &mut Found,
    ) -> Result<Result<(), SegmentError>> {
        let mut last = None;
        loop {
            let is_due = reader.next_record() < self.span.next_record;
            if !is_due && !found.has_damage() && !self.is_open {
                return Ok(self.end(reader, last, found));
            }
            if !is_due && !self.is_open {
                return Ok(Ok(()));
            }
            let at = reader.at();
            let next = match reader.next() {
                Ok(next) => next,
                Err(error) => return Ok(Err(error)),
            };
            let record = match next {
                Next::Record(record) => record,
                Next::End(why) if is_due => match self.damage(why, reader, epoch, found) {
                    Ok(true) => continue,
                    Ok(false) => return Ok(Ok(())),
                    Err(error) => return Ok(Err(error)),
                },
                Next::End(why) => {
                    self.tail(why, reader, found);
                    return Ok(Ok(()));
                }
            };
            match reader.is_payload_whole(&record) {
                Ok(true) => self.images(&record, is_due, epoch, found),
                Ok(false) if is_due => {
                    let number = record.header.number;
                    let detail = "its images are damaged".to_owned();
                    self.add(Class::PayloadDamaged, Some(at), Some(number), detail, found);
                }
                Ok(false) => {
                    reader.put_back(&record);
                    let (at, number) = (Some(at), Some(record.header.number));
                    let detail = "the last record is incomplete: it is ignored".to_owned();
                    self.add(Class::TornTail, at, number, detail, found);
                    return Ok(Ok(()));
                }
                Err(error) => return Ok(Err(error)),
            }
            last = Some(record.header.kind);
            reading.records += 1;
            reading.read(record.header.record_bytes() as u64)?;
        }
    }

    /// Reports that a record that should be here is not; returns whether there is a later one to
    /// continue with.
    fn damage(
        &self,
        why: NoRecord,
        reader: &mut SegmentReader,
        epoch: &mut Epoch,
        found: &mut Found,
    ) -> Result<bool, SegmentError> {
        let (at, number) = (reader.at(), reader.next_record());
        let class = match why {
            NoRecord::SegmentEnds | NoRecord::Number(_) | NoRecord::Header(NoHeader::Short) => {
                Class::RecordMissing
            }
            NoRecord::Header(
                NoHeader::Magic | NoHeader::Version(_) | NoHeader::Checksum | NoHeader::Field(_),
            )
            | NoRecord::Long => Class::RecordHeaderDamaged,
            NoRecord::Foreign => Class::RecordForeign,
        };
        epoch.is_unsure = true;
        let goes_on = reader.skip_damage(self.span.bytes, self.span.next_record)?;
        let until = if goes_on { reader.next_record() } else { self.span.next_record };
        let last = until.saturating_sub(1).max(number);
        let detail = match last == number {
            true => format!("{why}"),
            false => format!("{why}; records {number} to {last} are lost"),
        };
        self.add(class, Some(at), Some(number), detail, found);
        Ok(goes_on)
    }

    /// Examines the end after the last record: usually there is nothing.
    fn tail(&self, why: NoRecord, reader: &SegmentReader, found: &mut Found) {
        let is_torn = match why {
            NoRecord::Header(NoHeader::Checksum | NoHeader::Field(_)) | NoRecord::Long => true,
            NoRecord::SegmentEnds
            | NoRecord::Header(NoHeader::Magic | NoHeader::Version(_) | NoHeader::Short)
            | NoRecord::Foreign
            | NoRecord::Number(_) => false,
        };
        if is_torn {
            let (at, number) = (Some(reader.at()), Some(reader.next_record()));
            self.add(Class::TornTail, at, number, format!("{why}: it is ignored"), found);
        }
    }

    /// Checks that a segment ends where the state says.
    fn end(
        &self,
        reader: &mut SegmentReader,
        last: Option<RecordKind>,
        found: &mut Found,
    ) -> Result<(), SegmentError> {
        let (at, number) = (reader.at(), reader.next_record());
        if self.ends_copy && last != Some(RecordKind::CopyEnds) {
            let detail = "the copy does not end here, but the state lists no more of it".to_owned();
            self.add(Class::RecordMissing, Some(at), Some(number), detail, found);
        }
        if at != self.span.bytes {
            let said = self.span.bytes;
            let detail = format!("its records end at byte {at}, but the state says {said}");
            self.add(Class::SpanLengthWrong, Some(at), None, detail, found);
        }
        if let Next::Record(record) = reader.next()? {
            if reader.is_payload_whole(&record)? {
                let detail = "complete records follow that the state does not list".to_owned();
                self.add(Class::SpanTooShort, Some(at), Some(number), detail, found);
            }
            reader.put_back(&record);
        }
        Ok(())
    }

    /// Checks that every image belongs to a volume, is inside it, and is the first of its blocks in
    /// this epoch.
    fn images(&self, record: &Record, is_due: bool, epoch: &mut Epoch, found: &mut Found) {
        let (mut at, number) = (Some(record.payload_at), Some(record.header.number));
        for entry in &record.header.entries {
            let volume = entry.volume as usize;
            let Some(known) = self.known.volumes.get(volume) else {
                // It got its number after the state was saved.
                if is_due {
                    let detail = format!("volume {volume} is unknown");
                    self.add(Class::VolumeUnknown, at, number, detail, found);
                }
                continue;
            };
            let end = self.state.end_of(known);
            let (extent, name) = (entry.extent, &known.name);
            if extent.end() > end {
                // An image that is not due may be of a volume that has grown since. What counts as
                // touched is limited to the known size, because a record may claim a range of any
                // length.
                if is_due {
                    let name = Plain(name);
                    let detail = format!("{extent} of volume \"{name}\", which ends at {end}");
                    self.add(Class::ImageOutsideVolume, at, number, detail, found);
                }
            } else if !is_new(epoch, entry) {
                let detail = format!("{extent} of volume \"{}\" was preserved before", Plain(name));
                self.add(Class::ImageTwice, at, number, detail, found);
            }
            at = at.map(|at| at.saturating_add(entry.payload_bytes()));
        }
    }

    /// # Errors
    ///
    /// `Failed`: this process cannot read any further, which says nothing about the segment.
    fn unreadable(&self, error: SegmentError, at: Option<u64>, found: &mut Found) -> Result<()> {
        let (class, detail) = match error {
            SegmentError::Io(cause) if is_for_want_of_means(&cause) => {
                let context = format!("reading segment {}", self.span.segment.0);
                return Err(Error::failed(context, cause));
            }
            SegmentError::Io(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                (Class::SegmentMissing, "it is missing".to_owned())
            }
            SegmentError::Io(cause) => (Class::SegmentNotReadable, cause.to_string()),
            SegmentError::Header(_) => (Class::SegmentHeaderDamaged, error.to_string()),
            SegmentError::Foreign => (Class::SegmentForeign, error.to_string()),
            SegmentError::Number(_) => (Class::SegmentNumberWrong, error.to_string()),
        };
        self.add(class, at, None, detail, found);
        Ok(())
    }

    fn add(
        &self,
        class: Class,
        byte: Option<u64>,
        record: Option<u64>,
        detail: String,
        found: &mut Found,
    ) {
        let (point, segment) = (Some(self.point), Some(self.span.segment.0));
        found.add(Finding { class, point, segment, byte, record, detail });
    }
}

/// Whether open files or memory are exhausted.
fn is_for_want_of_means(cause: &std::io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// Whether none of its blocks was preserved before; marks all of them as preserved.
fn is_new(epoch: &mut Epoch, entry: &Entry) -> bool {
    let volume = entry.volume as usize;
    if epoch.touched.len() <= volume {
        epoch.touched.resize_with(volume + 1, Touched::default);
    }
    let touched = &mut epoch.touched[volume];
    let extents = [entry.extent];
    let new = touched.first_touches(&extents, entry.extent.end());
    touched.insert(&extents);
    let length: u64 = new.iter().map(|extent| extent.length().get()).sum();
    length >= entry.extent.length().get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extent::Extent;
    use crate::journal::catalogue::JournalVolume;
    use crate::journal::layout::{Held, RecordHeader};
    use crate::units::ByteOffset;

    #[test]
    fn that_no_more_files_can_be_opened_says_nothing_of_a_segment() {
        let (state, known) = (GroupState::default(), Catalogue::new([7; 16], 0));
        let segment = SegmentNumber(1);
        let span = Span { segment, bytes: 0, first_record: 1, next_record: 1 };
        let (point, until) = (PointId(0), None);
        let (ends_copy, is_open) = (false, false);
        let check = SegmentCheck {
            state: &state,
            known: &known,
            point,
            until,
            span: &span,
            ends_copy,
            is_open,
        };
        let met = |errno| {
            let mut found = Found::default();
            let cause = std::io::Error::from_raw_os_error(errno);
            check.unreadable(SegmentError::Io(cause), None, &mut found).map(|()| found)
        };
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
            assert_eq!(met(errno).unwrap_err().kind(), crate::ErrorKind::Failed);
        }
        assert_eq!(met(libc::EIO).unwrap().findings[0].class, Class::SegmentNotReadable);
        assert_eq!(met(libc::ENOENT).unwrap().findings[0].class, Class::SegmentMissing);
    }

    fn header(epoch: u64, first_record: u64) -> SegmentHeader {
        let (journal, number) = ([7; 16], SegmentNumber(1));
        let (salt, length_bytes, generation) = (5, 1 << 20, 1);
        SegmentHeader { journal, number, epoch, first_record, salt, length_bytes, generation }
    }

    /// The findings of `run` on a segment of point 2 that has records from 5 on, in a group whose
    /// volume `a` has two blocks.
    fn found(run: impl FnOnce(&SegmentCheck<'_>, &mut Found)) -> Vec<Class> {
        let (state, mut known) = (GroupState::default(), Catalogue::new([7; 16], 0));
        let name = "a".into();
        known.volumes.push(JournalVolume { name, sector_bytes: 512, capacity_bytes: 8192 });
        let span = Span::from((1, 4096, 5, 9));
        let check = SegmentCheck {
            state: &state,
            known: &known,
            point: PointId(2),
            until: Some(PointId(4)),
            span: &span,
            ends_copy: false,
            is_open: false,
        };
        let mut found = Found::default();
        run(&check, &mut found);
        found.findings.into_iter().map(|finding| finding.class).collect()
    }

    #[test]
    fn a_segment_preserves_for_its_point_or_one_before_the_next() {
        let epoch = Epoch { next_record: 5, ..Epoch::default() };
        let of = |id| found(|check, found| check.header(&header(id, 5), &epoch, found));
        let wrong = [Class::SegmentEpochWrong];
        assert_eq!([of(2), of(3)], [[], []]);
        assert_eq!([of(1), of(4)], [wrong, wrong]);
    }

    #[test]
    fn a_segment_begins_with_the_record_that_comes_next_and_that_the_state_says() {
        let at = |first, next_record, is_unsure| {
            let epoch = Epoch { next_record, is_unsure, ..Epoch::default() };
            found(|check, found| check.header(&header(2, first), &epoch, found))
        };
        assert_eq!(at(5, 5, false), []);
        assert_eq!(at(5, 4, false), [Class::RecordMissing]);
        assert_eq!(at(6, 6, false), [Class::RecordMissing]);
        // After damage, only what the state says counts.
        assert_eq!(at(5, 4, true), []);
        assert_eq!(at(6, 6, true), [Class::RecordMissing]);
    }

    #[test]
    fn an_image_may_end_where_its_volume_ends_and_no_further() {
        let of = |end: u64, is_due| {
            let extent = Extent::between(ByteOffset::ZERO, ByteOffset::new(end)).unwrap();
            let entries = vec![Entry { volume: 0, held: Held::Zeros, extent }];
            let (salt, tag, kind) = (5, [7; 8], RecordKind::Images);
            let (number, payload_bytes, payload_checksum, durable_before) = (5, 0, 0, 0);
            let header = RecordHeader {
                number,
                salt,
                tag,
                kind,
                entries,
                payload_bytes,
                payload_checksum,
                durable_before,
            };
            let record = Record { header, payload_at: 8192 };
            found(|check, found| check.images(&record, is_due, &mut Epoch::default(), found))
        };
        assert_eq!([of(8192 - 512, true), of(8192, true)], [[], []]);
        assert_eq!(of(8192 + 512, true), [Class::ImageOutsideVolume]);
        assert_eq!(of(8192 + 512, false), []);
    }

    #[test]
    fn the_next_record_of_an_epoch_is_known_where_it_is_the_open_one() {
        let mut known = Catalogue::new([7; 16], 0);
        known.next_record = 5;
        let epoch = |number| Epoch { number, next_record: 7, ..Epoch::default() };
        assert_eq!(epoch(Some(0)).next_record(&known), 7);
        assert_eq!(epoch(Some(1)).next_record(&known), 5);
        assert_eq!(epoch(None).next_record(&known), 5);
    }

    #[test]
    fn an_epoch_after_a_segment_that_was_not_read_may_not_begin_with_the_one_that_was() {
        let mut epoch = Epoch::default();
        assert!(epoch.enter(&header(1, 5)) && !epoch.is_unsure());
        assert!(!epoch.enter(&header(1, 9)));
        (epoch.is_unsure, epoch.has_lost_segment) = (true, true);
        assert!(!epoch.enter(&header(2, 12)) && epoch.is_unsure());
        assert!(epoch.enter(&header(3, 15)) && !epoch.is_unsure());
    }

    #[test]
    fn a_point_is_lost_that_an_epoch_which_tells_does_not_lead_back_to() {
        let ids = [1, 2, 3].map(PointId);
        let of = |leads_to: &[PointId]| {
            Epoch { leads_to: leads_to.to_vec(), ..Epoch::default() }.lost_before(&ids)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&ids), None);
        assert_eq!(of(&ids[2..]), Some(PointId(2)));
        assert_eq!(of(&[PointId(9)]), Some(PointId(3)));
    }
}
