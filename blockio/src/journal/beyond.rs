//! What the journal records beyond the saved state: that a point was made, that points are given
//! up, or that a volume begins. Reads and flushes; changes nothing.
//!
//! The first record of an epoch becomes durable after all volumes were flushed, and before the
//! state has its point. A crash between the two leaves only the record; so does a state that is put
//! back from the save before. The two cases cannot be distinguished, and need not be: the volumes
//! are where the record says, because nothing is overwritten in an epoch before the state has it.
//! So the content of the record is as good as saved, and every reader of the state takes it in. An
//! epoch with images is a different case (`strays`).
//!
//! Everything intact in the open epoch is believed (`open`), whichever earlier state of that epoch
//! was put back; so are the volumes that begin in it. Each volume was saved in a state before its
//! record was written.

use std::sync::Arc;

use crate::device::buffer::ArenaPool;
use crate::journal::catalogue::{Catalogue, NewPoint, PointId, Span};
use crate::journal::layout::{BLOCK_BYTES, COPIES_FROM, RecordKind, SegmentHeader};
use crate::journal::memo::{EpochMemo, PointMemo, VolumeMemo};
use crate::journal::open;
use crate::journal::scan::{Next, SegmentError, SegmentReader};
use crate::journal::state::GroupState;
use crate::storage::{SegmentNumber, Storage};
use crate::{Error, Result};

/// Adds to `state` what the journal in `storage` records beyond it; `listed` are the segments that
/// existed before it was read.
///
/// # Errors
///
/// `Integrity`: part of the epoch before is missing, although it was durable. `Failed`: something
/// cannot be read or flushed.
pub(crate) fn take_in(
    storage: &Arc<dyn Storage>,
    mut state: GroupState,
    listed: &[SegmentNumber],
    pool: &ArenaPool,
) -> Result<GroupState> {
    if planted!(BeyondTheStateIgnored) {
        return Ok(state);
    }
    let Some(known) = &state.journal else { return Ok(state) };
    let later = listed.iter().copied().filter(|number| number.0 >= known.next_segment);
    let later: Vec<_> = later.collect();
    let volumes = volumes(storage, known, &later, pool)?;
    volumes.into_iter().for_each(|volume| state.begin_volume(volume));
    for number in later {
        let Some(known) = &state.journal else { return Ok(state) };
        if let Some(begun) = look(storage, &state, known, number, pool)? {
            return begun.taken_in(storage, state, pool);
        }
    }
    Ok(state)
}

/// The volumes that begin in the open epoch after the part of it that the state has.
fn volumes(
    storage: &Arc<dyn Storage>,
    known: &Catalogue,
    later: &[SegmentNumber],
    pool: &ArenaPool,
) -> Result<Vec<VolumeMemo>> {
    let mut found = Vec::new();
    let last = known.points.last().and_then(|point| point.spans.last());
    let Some(last) = last else { return Ok(found) };
    let mut next = Some((last.segment, last.bytes, last.next_record));
    let mut later = later.iter();
    while let Some((number, at, record)) = next {
        let read = volumes_in(storage, known, number, (at, record), pool, &mut found);
        let ended = match read {
            Ok(ended) => ended.unwrap_or(record),
            Err(error) => check_not_ours(number, error).map(|()| record)?,
        };
        next = later.next().map(|number| (*number, BLOCK_BYTES as u64, ended));
    }
    Ok(found)
}

/// The volumes that begin in segment `number` from this byte and record on; returns the number of
/// the record after its last, or `None` if the segment does not continue from there.
fn volumes_in(
    storage: &Arc<dyn Storage>,
    known: &Catalogue,
    number: SegmentNumber,
    (at, record): (u64, u64),
    pool: &ArenaPool,
    found: &mut Vec<VolumeMemo>,
) -> Result<Option<u64>, SegmentError> {
    let device = storage.open_segment(number).map_err(SegmentError::Io)?;
    let mut reader = SegmentReader::new(device, pool.clone(), &known.identity, number)?;
    let header = *reader.header();
    let is_first = at == BLOCK_BYTES as u64;
    if PointId(header.epoch) != known.open_epoch() || (is_first && header.first_record != record) {
        return Ok(None);
    }
    reader.go_to(at, record);
    while let Next::Record(record) = reader.next()? {
        if record.header.kind != RecordKind::VolumeBegins {
            continue;
        }
        let text = reader.text(&record)?;
        // A crash can have left a partial record at the end.
        let Some(memo) = text.and_then(|text| serde_json::from_str(&text).ok()) else { break };
        found.push(memo);
    }
    Ok(Some(reader.next_record()))
}

/// An epoch that was begun, and that the state does not have.
struct Begun {
    memo: EpochMemo,
    /// Its segment, up to the end of its first record.
    span: Span,
}

/// The epoch that begins in segment `number`, if it is the next one for the state.
fn look(
    storage: &Arc<dyn Storage>,
    state: &GroupState,
    known: &Catalogue,
    number: SegmentNumber,
    pool: &ArenaPool,
) -> Result<Option<Begun>> {
    let read = read(storage, state, known, number, pool);
    read.or_else(|error| check_not_ours(number, error).map(|()| None))
}

/// Ignores a segment that is not ours: it was never completed, is gone, or is damaged, which is
/// reported elsewhere.
fn check_not_ours(number: SegmentNumber, error: SegmentError) -> Result<()> {
    match error {
        SegmentError::Header(_) | SegmentError::Foreign | SegmentError::Number(_) => Ok(()),
        SegmentError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        SegmentError::Io(error) => {
            let context = format!("reading segment {} of the retention journal", number.0);
            Err(Error::failed(context, error))
        }
    }
}

fn read(
    storage: &Arc<dyn Storage>,
    state: &GroupState,
    known: &Catalogue,
    number: SegmentNumber,
    pool: &ArenaPool,
) -> Result<Option<Begun>, SegmentError> {
    let device = storage.open_segment(number).map_err(SegmentError::Io)?;
    let mut reader = SegmentReader::new(device, pool.clone(), &known.identity, number)?;
    let header = *reader.header();
    if !is_next(state, known, &header) {
        return Ok(None);
    }
    let Next::Record(record) = reader.next()? else { return Ok(None) };
    if record.header.kind != RecordKind::EpochBegins {
        return Ok(None);
    }
    let memo = reader.text(&record)?.and_then(|text| EpochMemo::parse(&text));
    let Some(memo) = memo.filter(|memo| follows(known, memo, &header)) else { return Ok(None) };
    let span = Span {
        segment: number,
        bytes: reader.at(),
        first_record: header.first_record,
        next_record: reader.next_record(),
    };
    while let Next::Record(record) = reader.next()? {
        if record.header.kind == RecordKind::Images {
            return Ok(None);
        }
    }
    // A killed process may have left it only in a cache, and it is relied on from now on.
    reader.flush()?;
    Ok(Some(Begun { memo, span }))
}

/// Whether it is a segment of a later epoch, made when there was no newer state than this one.
fn is_next(state: &GroupState, known: &Catalogue, header: &SegmentHeader) -> bool {
    PointId(header.epoch) > known.open_epoch()
        && header.first_record < COPIES_FROM
        && header.generation <= state.generation()
}

/// Whether the points of `memo` are the next ones, and `header` is of their epoch.
fn follows(known: &Catalogue, memo: &EpochMemo, header: &SegmentHeader) -> bool {
    let ids = memo.points.iter().map(|point| point.id.0);
    let is_consecutive = ids.zip(known.next_point..).all(|(id, next)| id == next);
    let last = memo.points.last().map(|point| point.id);
    is_consecutive && last == Some(PointId(header.epoch)) && memo.begins_at == header.first_record
}

impl Begun {
    fn taken_in(
        self,
        storage: &Arc<dyn Storage>,
        mut state: GroupState,
        pool: &ArenaPool,
    ) -> Result<GroupState> {
        let Self { memo, span } = self;
        let mut ended = open::whole_epoch(storage, &state, span.first_record, pool)?;
        match memo.gives_up_after {
            // The volumes were brought to where they are at the point.
            None => state.come_to(&memo.progress, &memo.targets),
            // A rollback is under way: the content of the volumes is unknown.
            Some(_) => state.forget_content(),
        }
        let Some(catalogue) = &mut state.journal else { return Ok(state) };
        for PointMemo { id: _, time, taken, kind, name } in memo.points {
            let spans = std::mem::take(&mut ended);
            match memo.gives_up_after {
                None => drop(catalogue.seal(spans, NewPoint { time, kind, name }, taken)),
                Some(to) => catalogue.break_off(to, spans, taken),
            }
        }
        catalogue.next_segment = span.segment.0 + 1;
        catalogue.next_record = span.next_record;
        if let Some(last) = catalogue.points.last_mut() {
            Arc::make_mut(last).spans = vec![span];
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests;
