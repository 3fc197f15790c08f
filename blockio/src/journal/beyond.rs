//! What the journal says beyond the state that was saved: that a point was made, or that points are
//! given up. Reads and flushes; changes nothing.
//!
//! The first record of an epoch is durable after all volumes were flushed, and before the state has
//! its point. A crash between the two leaves the record alone; so does a state that is put back
//! from the save before. Nothing tells one from the other, and nothing has to: the volumes are
//! where the record says, since nothing is overwritten in an epoch before the state has it. So what
//! it says is as good as saved, and whoever reads the state takes it in. An epoch with images is
//! another thing (`strays`).

use std::sync::Arc;

use crate::device::buffer::ArenaPool;
use crate::journal::catalogue::{Catalogue, NewPoint, PointId, Span};
use crate::journal::layout::{COPIES_FROM, RecordKind, SegmentHeader};
use crate::journal::memo::{EpochMemo, PointMemo};
use crate::journal::open;
use crate::journal::scan::{Next, SegmentError, SegmentReader};
use crate::journal::state::GroupState;
use crate::storage::{SegmentNumber, Storage};
use crate::{Error, Result};

/// `state`, and what the journal in `storage` says beyond it; `listed` are the segments that were
/// there before it was read.
///
/// # Errors
///
/// `Integrity`: the epoch before is not all there, and it was durable. `Failed`: something cannot
/// be read or flushed.
pub(crate) fn take_in(
    storage: &Arc<dyn Storage>,
    state: GroupState,
    listed: &[SegmentNumber],
    pool: &ArenaPool,
) -> Result<GroupState> {
    let Some(known) = &state.journal else { return Ok(state) };
    if planted!(BeyondTheStateIgnored) {
        return Ok(state);
    }
    let later = listed.iter().filter(|number| number.0 >= known.next_segment);
    for number in later {
        if let Some(begun) = look(storage, &state, known, *number, pool)? {
            return begun.taken_in(storage, state, pool);
        }
    }
    Ok(state)
}

/// An epoch that was begun, and that the state does not have.
struct Begun {
    memo: EpochMemo,
    /// Its segment, up to the end of its first record.
    span: Span,
}

/// The epoch that begins in segment `number`, if it is one that the state is to have next.
fn look(
    storage: &Arc<dyn Storage>,
    state: &GroupState,
    known: &Catalogue,
    number: SegmentNumber,
    pool: &ArenaPool,
) -> Result<Option<Begun>> {
    read(storage, state, known, number, pool).or_else(|error| match error {
        // What is no segment of ours was never come to be one, or is gone.
        SegmentError::Header(_) | SegmentError::Foreign | SegmentError::Number(_) => Ok(None),
        SegmentError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        SegmentError::Io(error) => {
            let context = format!("reading segment {} of the retention journal", number.0);
            Err(Error::failed(context, error))
        }
    })
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
    // A process that was killed may have left it in a cache only, and it is relied on from now on.
    reader.flush()?;
    Ok(Some(Begun { memo, span }))
}

/// A segment of a later epoch, made when there was no newer state than this one.
fn is_next(state: &GroupState, known: &Catalogue, header: &SegmentHeader) -> bool {
    PointId(header.epoch) > known.open_epoch()
        && header.first_record < COPIES_FROM
        && header.generation <= state.generation()
}

/// The points of `memo` are the next ones, and its epoch is theirs.
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
            // The volumes were brought to where the point has them.
            None => state.come_to(&memo.progress, &memo.targets),
            // They are on their way, and what they hold is not known.
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
