//! Checks that the whole history is there. Reads everything that the recovery points of a group
//! need, compares it with its checksums, and reports what is wrong, where, and which points cannot
//! be reached because of it. Changes nothing, and works while others use the group: a segment that
//! was removed in order meanwhile is not missing. There is no repair: before-images that are lost
//! cannot be recovered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use crate::device::buffer::ArenaPool;
use crate::journal::beyond;
use crate::journal::catalogue::{Catalogue, FIRST_RECORD, PointId, Span};
use crate::journal::layout::COPIES_FROM;
use crate::journal::saved::{self, NotReadable, Saved};
use crate::journal::scan::{READER_ARENAS, WINDOW_BYTES};
use crate::journal::state::GroupState;
use crate::journal::strays::{self, Stray};
use crate::notice::Notice;
use crate::storage::{SegmentNumber, Storage};
use crate::{Error, ErrorKind, Result};

use finding::{Found, Reach};
use reading::Reading;
use segment::{Epoch, SegmentCheck};

mod finding;
mod reading;
mod segment;

use finding::FINDINGS_COUNT_MAX;
pub use finding::{Class, Finding};
pub use reading::Progress;

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Damage, in the order of the history; at most `FINDINGS_COUNT_MAX`.
    pub damage: Vec<Finding>,
    /// Remarks, which are not damage; at most the same number.
    pub remarks: Vec<Finding>,
    /// The number of findings that are not listed.
    pub unlisted: u64,
    /// The points that cannot be reached, ascending; may include the start.
    pub unreachable: Vec<PointId>,
    /// The number of points checked.
    pub points: u64,
    /// The number of segments read.
    pub segments: u64,
    /// The number of records read.
    pub records: u64,
    /// How many bytes were read and compared.
    pub bytes: u64,
    /// The number of segments that another process removed in order meanwhile.
    pub removed_meanwhile: u64,
}

impl Report {
    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Checks the history in `storage`. `stop` ends it at the next record.
///
/// # Errors
///
/// `Failed`: the directories cannot be read, or the check was stopped. Damage is not an error: it
/// is in the report.
pub fn check(
    storage: &Arc<dyn Storage>,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Progress),
) -> Result<Report> {
    let pool = ArenaPool::new(READER_ARENAS, WINDOW_BYTES)
        .map_err(|error| Error::failed("allocating memory for reading", error))?;
    // List the segments before reading the state: a segment on this list that is in no state was
    // not made after the state was read.
    let listed = list(storage)?;
    let mut report = Report::default();
    let mut is_cut_off = false;
    let state = match saved(storage)? {
        Ok(Some(Saved { state, notes })) => {
            let wrong = |note: Notice| of_the_state(Class::StateCopyWrong, note.to_string());
            report.damage.extend(notes.into_iter().map(wrong));
            match beyond::take_in(storage, state.clone(), &listed, &pool) {
                Err(error) if error.kind() == ErrorKind::Integrity => {
                    is_cut_off = true;
                    report.damage.push(of_the_state(Class::RecordMissing, error.to_string()));
                    state
                }
                taken_in => taken_in?,
            }
        }
        Ok(None) if listed.is_empty() => GroupState::default(),
        Ok(None) => {
            let detail = format!("it is missing, although {} segments are there", listed.len());
            report.damage.push(of_the_state(Class::StateNotReadable, detail));
            return Ok(report);
        }
        Err(problem) => {
            report.damage.push(of_the_state(Class::StateNotReadable, problem));
            return Ok(report);
        }
    };
    let catalogue = state.journal.clone();
    let of = catalogue.as_ref().map_or(0, Catalogue::journal_bytes);
    let seen = catalogue.iter().flat_map(|known| known.spans()).map(|span| span.segment).collect();
    let reading = Reading { storage, pool, stop, observe, of, records: 0, bytes: 0 };
    let mut check = Check { reading, report, seen, blocked: None };
    if let Some(known) = &catalogue {
        check.history(&state, known)?;
    }
    check.strays(catalogue.as_ref(), &listed)?;
    if is_cut_off {
        let points = catalogue.iter().flat_map(|known| &known.points);
        check.report.unreachable = points.map(|point| point.id).collect();
    }
    let Reading { records, bytes, .. } = check.reading;
    Ok(Report { records, bytes, ..check.report })
}

struct Check<'a> {
    reading: Reading<'a>,
    report: Report,
    /// Segments that some point has.
    seen: BTreeSet<SegmentNumber>,
    /// This point cannot be reached, nor can any before it.
    blocked: Option<PointId>,
}

impl Check<'_> {
    fn history(&mut self, state: &GroupState, known: &Catalogue) -> Result<()> {
        self.report.points = known.points.len() as u64;
        let mut epoch = Epoch::default();
        let mut without = Vec::new();
        for (place, point) in known.points.iter().enumerate() {
            let until = known.points.get(place + 1).map(|next| next.id);
            for (nth, span) in point.spans.iter().enumerate() {
                let next = point.spans.get(nth + 1);
                let segment = SegmentCheck {
                    state,
                    known,
                    point: point.id,
                    until,
                    span,
                    ends_copy: ends_copy(span, next),
                    is_open: until.is_none() && next.is_none(),
                };
                self.segment(&segment, &mut epoch)?;
                // Before the first record of a history there was nothing.
                let may_be_lost = nth == 0 && span.first_record > FIRST_RECORD;
                let lost = if may_be_lost { epoch.lost_before(&without) } else { None };
                if let Some(lost) = lost {
                    let detail = "the state lists no segment that leads back to it".to_owned();
                    self.records_missing(lost, None, detail);
                }
            }
            match point.spans.is_empty() {
                true => without.push(point.id),
                false => without.clear(),
            }
        }
        self.spans(known);
        self.followers(state, known, &mut epoch)?;
        self.check_complete(known, &epoch)?;
        if let Some(to) = known.rolling_back_to {
            let called = crate::journal::selector::called(known, to);
            let detail = format!("a rollback to {called} was begun and never finished");
            self.remark(Class::RollbackUnfinished, Some(to), None, detail);
        }
        let blocked = self.blocked;
        let gone = known.points.iter().map(|point| point.id);
        self.report.unreachable.extend(gone.filter(|id| Some(*id) <= blocked));
        self.report.unreachable.sort_unstable();
        self.report.unreachable.dedup();
        Ok(())
    }

    /// Checks that no segment is missing from the state's list. The records of the log are numbered
    /// without a gap over all epochs, except for those that copies replaced, and the open epoch has
    /// a segment as soon as there is a record.
    fn spans(&mut self, known: &Catalogue) {
        let mut spans: Vec<_> = known
            .points
            .iter()
            .flat_map(|point| point.spans.iter().map(|span| (point.id, *span)))
            .collect();
        let mut lost = Vec::new();
        if known.points.last().is_some_and(|last| last.spans.is_empty()) && known.next_record > 1 {
            lost.push((known.open_epoch(), known.next_record, known.next_record));
        }
        spans.retain(|(_, span)| span.first_record < COPIES_FROM);
        // In histories of earlier versions, copies are recognised by their position: a copy was
        // made after the segments that follow it.
        let mut before = u64::MAX;
        spans.reverse();
        spans.retain(|(_, span)| {
            let is_of_the_log = span.segment.0 < before;
            before = before.min(span.segment.0);
            is_of_the_log
        });
        spans.reverse();
        for pair in spans.windows(2) {
            let ((point, one), (next_point, other)) = (pair[0], pair[1]);
            let has_copy = self.has_copy_between(known, (point, one), (next_point, other));
            if one.next_record < other.first_record && !has_copy {
                lost.push((point, one.next_record, other.first_record));
            }
        }
        for (point, from, until) in lost {
            let detail = match from < until {
                true => format!("records {from} to {} are in no segment of any point", until - 1),
                false => "the state lists no segment of the open epoch".to_owned(),
            };
            self.records_missing(point, Some(from), detail);
        }
    }

    /// Reports that records of the epoch of `point` are in no segment.
    fn records_missing(&mut self, point: PointId, record: Option<u64>, detail: String) {
        let (class, segment, byte) = (Class::RecordMissing, None, None);
        let mut found = Found::default();
        found.add(Finding { class, point: Some(point), segment, byte, record, detail });
        self.take(found, point);
    }

    /// Whether a copy lies between these two segments of the log, and has the records between them.
    fn has_copy_between(
        &self,
        known: &Catalogue,
        (from, one): (PointId, Span),
        (until, other): (PointId, Span),
    ) -> bool {
        let between = known.points.iter().filter(|point| (from..=until).contains(&point.id));
        let mut spans = between.flat_map(|point| &point.spans);
        spans.any(|span| {
            // In earlier histories a copy is numbered from 1.
            let is_later = span.segment > other.segment;
            let is_numbered_anew = span.first_record < one.next_record;
            (is_later && is_numbered_anew) || span.first_record >= COPIES_FROM
        })
    }

    fn segment(&mut self, segment: &SegmentCheck<'_>, epoch: &mut Epoch) -> Result<()> {
        let mut found = Found::default();
        let before = self.reading.bytes;
        segment.run(&mut self.reading, epoch, &mut found)?;
        // Bytes that could not be read count as done.
        self.reading.bytes = self.reading.bytes.max(before + segment.span.bytes);
        self.reading.report();
        let number = segment.span.segment;
        if found.has_damage() && !self.is_still_needed(segment.known, number) {
            self.report.removed_meanwhile += 1;
            return Ok(());
        }
        self.report.segments += 1;
        self.take(found, segment.point);
        Ok(())
    }

    fn take(&mut self, found: Found, point: PointId) {
        match found.worst {
            Some(Reach::AllBefore) => self.blocked = self.blocked.max(Some(point)),
            Some(Reach::ThisPoint) => self.report.unreachable.push(point),
            Some(Reach::NoPoint | Reach::Remark) | None => {}
        }
        self.report.unlisted += found.unlisted;
        for finding in found.findings {
            let list = match finding.class.is_damage() {
                true => &mut self.report.damage,
                false => &mut self.report.remarks,
            };
            if list.len() < FINDINGS_COUNT_MAX {
                list.push(finding);
            } else {
                self.report.unlisted += 1;
            }
        }
    }

    /// Checks the segments of the open epoch that were made after the state was saved.
    fn followers(
        &mut self,
        state: &GroupState,
        known: &Catalogue,
        epoch: &mut Epoch,
    ) -> Result<()> {
        let later = list(self.reading.storage)?;
        for number in later.into_iter().filter(|number| number.0 >= known.next_segment) {
            let next = epoch.next_record(known);
            let Ok(reader) = segment::open(self.reading.storage, &self.reading.pool, known, number)
            else {
                continue;
            };
            let header = *reader.header();
            // The others are copies of earlier epochs in the making, or of an epoch that begins.
            if PointId(header.epoch) != known.open_epoch() || header.first_record != next {
                continue;
            }
            drop(reader);
            self.seen.insert(number);
            let span = Span { segment: number, bytes: 0, first_record: next, next_record: next };
            let point = known.open_epoch();
            let segment = SegmentCheck {
                state,
                known,
                point,
                until: None,
                span: &span,
                ends_copy: false,
                is_open: true,
            };
            self.segment(&segment, epoch)?;
        }
        Ok(())
    }

    /// Checks that the end has every record that was durable when the state was saved.
    fn check_complete(&mut self, known: &Catalogue, epoch: &Epoch) -> Result<()> {
        let next = epoch.next_record(known);
        let (point, last) = (known.open_epoch(), known.points.last());
        let is_whole = next >= known.next_record || epoch.is_unsure();
        if is_whole || last.is_none_or(|last| last.spans.is_empty()) {
            return Ok(());
        }
        let until = known.next_record - 1;
        let detail = format!("records {next} to {until} were durable, but no segment has them");
        self.records_missing(point, Some(next), detail);
        Ok(())
    }

    /// Reports segments that no point has: neither at the beginning of the check, nor now.
    fn strays(&mut self, known: Option<&Catalogue>, listed: &[SegmentNumber]) -> Result<()> {
        // Segments after those that the state knows may belong to a newer state.
        let next = known.map_or(0, |known| known.next_segment);
        let is_sure = |one: &SegmentNumber| self.seen.contains(one) && one.0 < next;
        let unknown: Vec<_> = listed.iter().filter(|one| !is_sure(one)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let still = list(self.reading.storage)?;
        let now = read_state(self.reading.storage)?.unwrap_or_default();
        // Its damage was reported before.
        let now = beyond::take_in(self.reading.storage, now.clone(), &still, &self.reading.pool)
            .unwrap_or(now);
        let has = |number: SegmentNumber| {
            now.journal.iter().flat_map(Catalogue::spans).any(|span| span.segment == number)
        };
        for number in unknown {
            if still.contains(number) && !has(*number) {
                let stray = strays::look(self.reading.storage, &now, *number, &self.reading.pool)?;
                if stray != Stray::MayGo || !self.seen.contains(number) {
                    self.stray(&now, *number, stray);
                }
            }
        }
        Ok(())
    }

    fn stray(&mut self, state: &GroupState, number: SegmentNumber, stray: Stray) {
        let Some(why) = strays::in_words(state, stray) else {
            let detail = "no point needs it; the next apply removes it".to_owned();
            return self.remark(Class::SegmentOfNoPoint, None, Some(number.0), detail);
        };
        let class = match stray {
            Stray::Newer(_) | Stray::OfALaterPoint(_) => Class::StateOlder,
            Stray::MayGo | Stray::OfAnotherJournal => Class::HistoryUnknown,
        };
        // The segments of a newer state do not lead back to the points of this one.
        if stray != Stray::OfAnotherJournal {
            let points = state.journal.iter().flat_map(|known| &known.points);
            self.report.unreachable = points.map(|point| point.id).collect();
        }
        self.report.damage.push(Finding {
            class,
            point: None,
            segment: Some(number.0),
            byte: None,
            record: None,
            detail: format!("it {why}"),
        });
    }

    /// Whether the saved state, read again now, still has the segment.
    fn is_still_needed(&self, then: &Catalogue, number: SegmentNumber) -> bool {
        // A state that cannot be read does not excuse the damage.
        let Ok(Ok(state)) = read_state(self.reading.storage) else { return true };
        state.journal.is_some_and(|now| {
            // A segment made after the state is recognised by its number alone.
            let is_later = number.0 >= then.next_segment;
            let is_there = is_later || now.spans().any(|span| span.segment == number);
            now.identity == then.identity && is_there
        })
    }

    fn remark(
        &mut self,
        class: Class,
        point: Option<PointId>,
        segment: Option<u64>,
        detail: String,
    ) {
        if self.report.remarks.len() == FINDINGS_COUNT_MAX {
            self.report.unlisted += 1;
            return;
        }
        let (byte, record) = (None, None);
        self.report.remarks.push(Finding { class, point, segment, byte, record, detail });
    }
}

/// Whether it is the last segment of a copy; `next` follows it in the same point.
fn ends_copy(span: &Span, next: Option<&Span>) -> bool {
    let goes_on = next.is_some_and(|next| next.first_record == span.next_record);
    span.first_record >= COPIES_FROM && !goes_on
}

fn list(storage: &Arc<dyn Storage>) -> Result<Vec<SegmentNumber>> {
    storage.segments().map_err(|error| Error::failed("listing the journal", error))
}

/// A finding about the state, in no segment.
fn of_the_state(class: Class, detail: String) -> Finding {
    Finding { class, point: None, segment: None, byte: None, record: None, detail }
}

/// The state, or what is wrong with it.
fn read_state(storage: &Arc<dyn Storage>) -> Result<Result<GroupState, String>> {
    let state = |saved: Option<Saved>| saved.map(|saved| saved.state).unwrap_or_default();
    Ok(saved(storage)?.map(state))
}

/// The state and the notices about its copies, or what is wrong with it.
fn saved(storage: &Arc<dyn Storage>) -> Result<Result<Option<Saved>, String>> {
    match saved::read(storage.as_ref()) {
        Ok(saved) => Ok(Ok(saved)),
        Err(NotReadable::Failed { file, cause }) => {
            Err(Error::failed(format!("reading the state of the group, {file}"), cause))
        }
        Err(problem) => Ok(Err(problem.to_string())),
    }
}

#[cfg(test)]
mod tests;
