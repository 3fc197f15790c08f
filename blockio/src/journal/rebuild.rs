//! Rebuilds the state of a group from the segments of its journal alone: for when both copies of it
//! are lost, or one that is older than the history was put in its place. Reads only; `group` saves
//! the result.
//!
//! The result leads back to every point that the segments still lead back to: at least to those of
//! the lost state, and to some that had been given up and whose segments still exist. Not in the
//! journal, and so not recovered: the names of points that expired, and which streams were applied
//! since the newest point. So if anything was overwritten since the newest point, the volumes count
//! as on their way to it: a rollback, to it or to another point, comes first. Pins are not in the
//! journal either: they are taken from the old state, if that can be read and is of the same
//! history.
//!
//! # Which segments count
//!
//! An *item* is what leads to one point from a later one: the records of the log with its epoch, or
//! a copy. It counts if it is whole and leads from the point of the next item that counts; the last
//! one leads from the disks. If both exist, the log is taken, because it has more points. A copy is
//! whole if its last record says so; that record also says where the copy leads from. The log is
//! whole if its records have consecutive numbers up to the one at which the next item began in the
//! log.
//!
//! The log ends before the first record that is incomplete: a crash left it, and the data that it
//! and all later records preserve was never overwritten. The exception is a later record that says
//! that the incomplete one was durable: then it was damaged since, and nothing before it can be
//! recovered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::device::buffer::ArenaPool;
use crate::journal::catalogue::{Catalogue, Point, PointId, PointKind, Span};
use crate::journal::layout::{COPIES_FROM, Identity, RecordKind, SegmentHeader};
use crate::journal::memo::{CopyMemo, EpochMemo, PointMemo, VolumeMemo};
use crate::journal::saved;
use crate::journal::scan::{
    Next, READER_ARENAS, SegmentError, SegmentReader, WINDOW_BYTES, header_of,
};
use crate::journal::state::GroupState;
use crate::notice::Notice;
use crate::remedy::{GroupRemedy, Remedied};
use crate::storage::{SegmentNumber, Storage};
use crate::{Error, ErrorKind, Result};

/// A state that was rebuilt.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// The state.
    pub state: GroupState,
    /// What could not be recovered, and what the operator should know.
    pub notes: Vec<Notice>,
}

/// Rebuilds the state of the group in `storage`.
///
/// # Errors
///
/// `Usage`: there is no history. `Integrity`: its segments do not contain enough, or belong to
/// several histories. `Failed`: they cannot be read.
pub fn rebuild(storage: &Arc<dyn Storage>) -> Result<Rebuilt> {
    let pool = ArenaPool::new(READER_ARENAS, WINDOW_BYTES)
        .map_err(|error| Error::failed("allocating memory for reading", error))?;
    let mut reading = Reading { storage, pool, notes: Vec::new(), volumes: BTreeMap::new() };
    let found = reading.headers()?;
    let Some(identity) = newest_history(&found) else { return Err(nothing()) };
    let (headers, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|header| header.journal == identity);
    let (copies, log): (Vec<_>, Vec<_>) =
        headers.iter().copied().partition(|header| header.first_record >= COPIES_FROM);
    let mut items = reading.log(&log)?;
    let open = items.last().map(|item| (item.epoch, item.has_images));
    items.extend(reading.copies(&copies)?);
    let counting = counting(items, &mut reading.notes);
    let points = points(&counting)?;
    let Some((newest, _)) = counting.last().zip(points.last()) else { return Err(nothing()) };
    let volumes = reading.volumes;
    let mut state = GroupState::kept_as(newest.memo.settings, newest.memo.dropped.clone());
    // A crash during a commit leaves part of the committed history.
    if others.iter().any(|header| !state.has_dropped(&header.journal)) {
        return Err(of_other_histories(&others));
    }
    for volume in volumes.values() {
        let known = state.volumes.entry(volume.is.name.clone()).or_default();
        known.target.clone_from(&volume.target);
        known.target_bytes = volume.is.capacity_bytes;
    }
    let progress = &newest.memo.progress;
    state.come_to(progress, &newest.memo.targets);
    let was_written = open.is_none_or(|(epoch, has_images)| epoch != newest.epoch || has_images);
    if was_written || newest.memo.gives_up_after.is_some() {
        state.forget_content();
    }
    reading.notes.extend(of_targets(&state));
    let generation = headers.iter().map(|header| header.generation).max().unwrap_or_default();
    let before = saved::read(storage.as_ref()).ok().flatten().map(|saved| saved.state);
    let generation = generation.max(before.as_ref().map_or(0, GroupState::generation));
    state.begin_after(generation);
    let known = points.iter().map(|point| point.id.0);
    let ids = headers.iter().filter(|one| one.first_record < COPIES_FROM).map(|one| one.epoch);
    let mut catalogue = Catalogue {
        next_segment: headers.iter().map(|header| header.number.0 + 1).max().unwrap_or(1),
        next_record: newest.next_record,
        next_point: known.chain(ids).max().map_or(1, |last| last + 1),
        volumes: numbered(volumes)?,
        // More than the number of times it was opened: each open was saved.
        session: state.generation(),
        rolling_back_to: was_written.then_some(newest.epoch),
        points: points.into_iter().map(Arc::new).collect(),
        ..Catalogue::new(identity, 0)
    };
    if let Some(before) = before.and_then(|before| before.journal) {
        let pinned: BTreeSet<_> =
            before.points.iter().filter(|point| point.pinned).map(|point| point.id).collect();
        let is_same = before.identity == identity;
        let points = catalogue.points.iter_mut().filter(|_| is_same);
        points.for_each(|point| {
            let is_pinned = pinned.contains(&point.id);
            Arc::make_mut(point).pinned = is_pinned;
        });
    }
    give_up(&mut catalogue, &counting);
    state.journal = Some(catalogue);
    Ok(Rebuilt { state, notes: reading.notes })
}

/// The notices about targets that are not known.
fn of_targets(state: &GroupState) -> Vec<Notice> {
    let without = state.volumes.iter().filter(|(_, volume)| volume.target.is_none());
    let mut notes: Vec<_> =
        without.map(|(name, _)| Notice::NoTarget { volume: name.clone() }).collect();
    if !state.knows_content() {
        notes.push(Notice::ContentNotKnown);
    }
    notes
}

/// What leads to one point from a later one.
#[derive(Clone, Debug)]
struct Item {
    epoch: PointId,
    memo: EpochMemo,
    spans: Vec<Span>,
    /// The number after that of its last record.
    next_record: u64,
    /// Whether it has images, and not only its beginning.
    has_images: bool,
    /// For a copy: it leads from this point, or from any point before it.
    copy_until: Option<PointId>,
    /// Whether no record of it is missing, except at the end of the log.
    is_whole: bool,
}

impl Item {
    /// Whether it leads to its point from that of `next`, or from the disks if there is no `next`.
    fn leads_from(&self, next: Option<&Self>) -> bool {
        match (next, self.copy_until) {
            (None, copy_until) => copy_until.is_none(),
            (Some(next), Some(until)) => next.epoch <= until,
            (Some(next), None) => next.memo.begins_at == self.next_record,
        }
    }
}

struct Reading<'a> {
    storage: &'a Arc<dyn Storage>,
    pool: ArenaPool,
    notes: Vec<Notice>,
    volumes: BTreeMap<u32, VolumeMemo>,
}

/// One segment, read up to its end.
#[derive(Default)]
struct Segment {
    memo: Option<EpochMemo>,
    copy_ends: Option<CopyMemo>,
    has_images: bool,
    records: u64,
    durable_before: u64,
    span: Option<Span>,
}

impl Reading<'_> {
    /// The headers of all segments, by number.
    fn headers(&mut self) -> Result<Vec<SegmentHeader>> {
        let all = self.storage.segments();
        let all = all.map_err(|error| Error::failed("listing the journal", error))?;
        let mut headers = Vec::new();
        for number in all {
            match header_of(self.storage.as_ref(), number, &self.pool) {
                Ok(header) if header.number == number => headers.push(header),
                Err(SegmentError::Io(error)) => return Err(unreadable(number, error)),
                Ok(_) | Err(_) => {
                    self.notes.push(Notice::NoHeader(number));
                }
            }
        }
        Ok(headers)
    }

    /// The epochs of the log, in order.
    fn log(&mut self, headers: &[SegmentHeader]) -> Result<Vec<Item>> {
        let mut items: Vec<Item> = Vec::new();
        let last_epoch = headers.last().map(|header| header.epoch);
        let mut durable_before = 0;
        for (place, header) in headers.iter().enumerate() {
            let until = headers.get(place + 1).map(|next| next.first_record);
            // An epoch is durable before the next one begins.
            let is_open = Some(header.epoch) == last_epoch;
            let read = self.segment(header, until, is_open)?;
            durable_before = durable_before.max(read.durable_before);
            let Some(span) = read.span else { continue };
            let epoch = PointId(header.epoch);
            match (items.last_mut().filter(|last| last.epoch == epoch), read.memo) {
                // A segment beyond the end of the log.
                (Some(item), _) if is_open && item.next_record != span.first_record => {}
                (Some(item), _) => {
                    item.is_whole &= item.next_record == span.first_record;
                    item.spans.push(span);
                    item.next_record = span.next_record;
                    item.has_images |= read.has_images;
                }
                (None, Some(memo)) => items.push(Item {
                    epoch,
                    // Version 1 does not record it.
                    memo: memo.as_record(span.first_record),
                    spans: vec![span],
                    next_record: span.next_record,
                    has_images: read.has_images,
                    copy_until: None,
                    is_whole: true,
                }),
                // The first segment of the epoch is gone.
                (None, None) => {}
            }
        }
        if let Some(last) = items.last_mut() {
            last.is_whole &= durable_before <= last.next_record;
        }
        Ok(items)
    }

    /// The copies that are whole.
    fn copies(&mut self, headers: &[SegmentHeader]) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for of_one in headers.chunk_by(|one, other| one.salt == other.salt) {
            let (mut spans, mut memo, mut ends, mut next) = (Vec::new(), None, None, COPIES_FROM);
            for header in of_one {
                let read = self.segment(header, None, true)?;
                let Some(span) = read.span.filter(|span| span.first_record == next) else { break };
                next = span.next_record;
                spans.push(span);
                memo = memo.or(read.memo);
                ends = ends.or(read.copy_ends);
            }
            let (Some(memo), Some(CopyMemo { until })) = (memo, ends) else { continue };
            let epoch = PointId(of_one.first().map_or(0, |header| header.epoch));
            items.push(Item {
                epoch,
                memo,
                spans,
                next_record: 0,
                has_images: true,
                copy_until: Some(until),
                is_whole: true,
            });
        }
        Ok(items)
    }

    /// Reads a segment up to record `until`, or to the end of its intact records.
    fn segment(
        &mut self,
        header: &SegmentHeader,
        until: Option<u64>,
        may_end_here: bool,
    ) -> Result<Segment> {
        let number = header.number;
        let failed = |error: SegmentError| match error {
            SegmentError::Io(error) => unreadable(number, error),
            other => Error::integrity(format!("reading segment {}", number.0), other),
        };
        let device =
            self.storage.open_segment(number).map_err(|error| unreadable(number, error))?;
        let mut reader = SegmentReader::new(device, self.pool.clone(), &header.journal, number)
            .map_err(failed)?;
        let mut read = Segment::default();
        while until.is_none_or(|until| reader.next_record() < until) {
            let Next::Record(record) = reader.next().map_err(failed)? else { break };
            // At the end of the log a crash can have left a partial record.
            if may_end_here && !reader.is_payload_whole(&record).map_err(failed)? {
                reader.put_back(&record);
                break;
            }
            read.records += 1;
            read.durable_before = read.durable_before.max(record.header.durable_before);
            let text = match record.header.kind {
                RecordKind::Images => {
                    read.has_images = true;
                    continue;
                }
                RecordKind::EpochBegins | RecordKind::VolumeBegins | RecordKind::CopyEnds => {
                    reader.text(&record).map_err(failed)?.unwrap_or_default()
                }
            };
            match record.header.kind {
                RecordKind::EpochBegins => {
                    let memo = EpochMemo::parse(&text);
                    let volumes = memo.iter().flat_map(|memo| memo.volumes.clone());
                    self.volumes.extend(volumes.map(|volume| (volume.number, volume)));
                    read.memo = memo;
                }
                RecordKind::VolumeBegins => {
                    let volume: Option<VolumeMemo> = serde_json::from_str(&text).ok();
                    self.volumes.extend(volume.map(|volume| (volume.number, volume)));
                }
                RecordKind::CopyEnds => read.copy_ends = serde_json::from_str(&text).ok(),
                RecordKind::Images => {}
            }
        }
        read.span = (read.records > 0).then(|| Span {
            segment: number,
            bytes: reader.at(),
            first_record: header.first_record,
            next_record: reader.next_record(),
        });
        let ends_early = until.is_none_or(|until| reader.next_record() < until);
        if may_end_here && ends_early {
            // A later record may say that the damaged one was durable.
            while reader.skip_damage(u64::MAX, u64::MAX).map_err(failed)? {
                if let Next::Record(record) = reader.next().map_err(failed)? {
                    read.durable_before = read.durable_before.max(record.header.durable_before);
                }
            }
        }
        Ok(read)
    }
}

/// The history that was written last.
fn newest_history(headers: &[SegmentHeader]) -> Option<Identity> {
    headers.iter().max_by_key(|header| header.generation).map(|header| header.journal)
}

fn of_other_histories(others: &[SegmentHeader]) -> Error {
    let numbers: Vec<_> = others.iter().map(|header| header.number.0.to_string()).collect();
    let numbers = numbers.join(", ");
    let context = format!("rebuilding the state: segments {numbers} belong to another history");
    Error::new(ErrorKind::Integrity, context)
        .with_hint("find out whose they are, and move these files to another directory")
}

/// The items that count, oldest first; adds a notice of the points that are lost with the others.
fn counting(mut items: Vec<Item>, notes: &mut Vec<Notice>) -> Vec<Item> {
    // Within an epoch the log sorts last, and among copies the latest: that one is tried first.
    let segment = |item: &Item| item.spans.first().map(|span| span.segment);
    items.sort_by_key(|item| (item.epoch, item.copy_until.is_none(), segment(item)));
    let last_of_log = items.iter().rev().find(|one| one.copy_until.is_none());
    let last_of_log = last_of_log.map(|item| item.epoch);
    let mut counting: Vec<Item> = Vec::new();
    let mut lost = BTreeSet::new();
    for item in items.into_iter().rev() {
        let next = counting.last();
        if next.is_some_and(|next| next.epoch == item.epoch) {
            continue;
        }
        // Only the last epoch of the log leads from the disks.
        let is_last = next.is_some() || Some(item.epoch) == last_of_log;
        if item.is_whole && is_last && item.leads_from(next) {
            lost.remove(&item.epoch);
            counting.push(item);
        } else {
            lost.insert(item.epoch);
        }
    }
    counting.reverse();
    if !lost.is_empty() {
        notes.push(Notice::PointsLost(lost.into_iter().collect()));
    }
    counting
}

/// The points of `items`, with what leads to each.
fn points(items: &[Item]) -> Result<Vec<Point>> {
    if items.iter().all(|item| item.memo.points.is_empty()) {
        let context = "rebuilding the state: the segments were written by an earlier version of \
                       mtctl, and do not say which volumes and points they belong to";
        return Err(Error::new(ErrorKind::Integrity, context)
            .with_hint("restore the group's file `state` from a copy"));
    }
    let mut points: Vec<Point> = Vec::new();
    for item in items {
        let mut own = item.memo.points.clone();
        // The segments merged into it do not lead back to points after it.
        own.retain(|point| point.id <= item.epoch);
        if own.last().is_none_or(|last| last.id != item.epoch) {
            own.push(unnamed(item.epoch, items));
        }
        own.retain(|one| points.last().is_none_or(|last| one.id > last.id));
        points.extend(own.into_iter().map(|PointMemo { id, time, taken, kind, name }| Point {
            id,
            time,
            taken,
            kind,
            name,
            pinned: false,
            spans: Vec::new(),
        }));
        if let Some(last) = points.last_mut() {
            last.spans.clone_from(&item.spans);
        }
    }
    Ok(points)
}

/// Gives up what the journal says was given up: a rollback without undo overwrote what led back to
/// it. The journal does not record whether that rollback finished: if nothing follows it, it is
/// continued.
fn give_up(catalogue: &mut Catalogue, items: &[Item]) {
    for item in items {
        let Some(to) = item.memo.gives_up_after else { continue };
        let between = catalogue.points_after(to).map(|point| point.id);
        let between: Vec<_> = between.take_while(|id| *id < item.epoch).collect();
        let _ = catalogue.forget(&between);
        if item.epoch == catalogue.open_epoch() {
            // The point may have expired since: what led back to it now leads to the one before.
            let before = catalogue.ways_back().rfind(|point| point.id <= to);
            catalogue.rolling_back_to = before.map(|point| point.id);
        }
    }
}

/// A point of which only the number is known: it counts as made together with the next known point,
/// so that it does not expire because of what is not known.
fn unnamed(id: PointId, items: &[Item]) -> PointMemo {
    let mut later = items.iter().filter(|item| item.epoch >= id).flat_map(|i| &i.memo.points);
    let (time, taken) = later.find(|one| one.id >= id).map_or((0, 0), |one| (one.time, one.taken));
    let kind = if id == PointId(0) { PointKind::Start } else { PointKind::Crash };
    PointMemo { id, time, taken, kind, name: None }
}

/// The volumes by number; no number may be missing.
fn numbered(
    volumes: BTreeMap<u32, VolumeMemo>,
) -> Result<Vec<crate::journal::catalogue::JournalVolume>> {
    let is_numbered = volumes.keys().copied().eq(0..volumes.len() as u32);
    if is_numbered {
        return Ok(volumes.into_values().map(|volume| volume.is).collect());
    }
    let context = "rebuilding the state: the segments do not describe all of their volumes";
    Err(Error::new(ErrorKind::Integrity, context)
        .with_hint("restore the group's file `state` from a copy"))
}

fn nothing() -> Error {
    let context = "rebuilding the state: no segment says which point it belongs to";
    Error::new(ErrorKind::Usage, context).remedied(GroupRemedy::NameHistory)
}

fn unreadable(number: SegmentNumber, error: std::io::Error) -> Error {
    Error::failed(format!("reading segment {}", number.0), error)
}

#[cfg(test)]
mod tests;
