//! Segments that no point has. They were left by crashes and may be removed; or they belong to a
//! state that is newer than the present one, or to another journal, and must not be. Nothing is
//! removed here.

use std::sync::Arc;

use crate::device::buffer::ArenaPool;
use crate::journal::catalogue::PointId;
use crate::journal::layout::{COPIES_FROM, RecordKind, SegmentHeader};
use crate::journal::saved::{self, Saved};
use crate::journal::scan::{Next, SegmentError, SegmentReader, header_of};
use crate::journal::state::GroupState;
use crate::notice::Notice;
use crate::remedy::{GroupRemedy, Remedied};
use crate::storage::{SegmentNumber, Storage};
use crate::{Error, ErrorKind, Result};

/// Where a segment that no point has comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stray {
    /// It was begun, or given up, just before a crash; or its history was committed.
    MayGo,
    /// It was made when the state had this generation: there was a newer state than this one.
    Newer(u64),
    /// It has images of a later point than the last one in the state: nothing is overwritten after
    /// a point before the state has it, so there was a newer state.
    OfALaterPoint(PointId),
    /// It is of a journal that the state does not know.
    OfAnotherJournal,
}

/// Where segment `number` of `storage`, which no point of `state` has, comes from.
///
/// # Errors
///
/// `Failed`: it cannot be read.
pub(crate) fn look(
    storage: &Arc<dyn Storage>,
    state: &GroupState,
    number: SegmentNumber,
    pool: &ArenaPool,
) -> Result<Stray> {
    match header_of(storage.as_ref(), number, pool) {
        Ok(header) => match judge(state, number, &header) {
            Stray::MayGo if is_later(state, number, &header) => {
                look_into(storage, state, &header, pool)
            }
            stray => Ok(stray),
        },
        // A header is durable before a record of its segment is relied on: nothing was kept there.
        // The same holds if the header is that of another segment, which had the same blocks of the
        // volume before.
        Err(SegmentError::Header(_) | SegmentError::Foreign | SegmentError::Number(_)) => {
            Ok(Stray::MayGo)
        }
        Err(SegmentError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Stray::MayGo)
        }
        Err(SegmentError::Io(error)) => {
            let context = format!("reading segment {} of the retention journal", number.0);
            Err(Error::failed(context, error))
        }
    }
}

/// Whether a segment belongs to an epoch that the state does not know yet, or to a history that the
/// state only records as begun. Usually a crash left it, before the point or the history was saved,
/// and it only has the record that the epoch begins.
fn is_later(state: &GroupState, number: SegmentNumber, header: &SegmentHeader) -> bool {
    let known = state.journal.as_ref().filter(|known| known.identity == header.journal);
    let is_later = match known {
        Some(known) => PointId(header.epoch) > known.open_epoch(),
        // The state that drops a history is newer than everything in it.
        None => header.generation >= state.generation(),
    };
    is_later && header.number == number && header.first_record < COPIES_FROM
}

fn look_into(
    storage: &Arc<dyn Storage>,
    state: &GroupState,
    header: &SegmentHeader,
    pool: &ArenaPool,
) -> Result<Stray> {
    let unreadable = |error: std::io::Error| {
        let context = format!("reading segment {} of the retention journal", header.number.0);
        Error::failed(context, error)
    };
    let device = match storage.open_segment(header.number) {
        Ok(device) => device,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Stray::MayGo),
        Err(error) => return Err(unreadable(error)),
    };
    let reader = SegmentReader::new(device, pool.clone(), &header.journal, header.number);
    let mut reader = match reader {
        Ok(reader) => reader,
        Err(SegmentError::Io(error)) => return Err(unreadable(error)),
        Err(_) => return Ok(Stray::MayGo),
    };
    loop {
        match reader.next() {
            Ok(Next::Record(record)) if record.header.kind == RecordKind::Images => break,
            Ok(Next::Record(_)) => {}
            Err(SegmentError::Io(error)) => return Err(unreadable(error)),
            Ok(Next::End(_)) | Err(_) => return Ok(Stray::MayGo),
        }
    }
    // A reader may have read the state just before the point was saved.
    let now = saved::read(storage.as_ref());
    let is_newer = |saved: &Saved| saved.state.generation() > state.generation();
    match now.ok().flatten().is_some_and(|saved| is_newer(&saved)) {
        true => Ok(Stray::MayGo),
        false => Ok(Stray::OfALaterPoint(PointId(header.epoch))),
    }
}

fn judge(state: &GroupState, number: SegmentNumber, header: &SegmentHeader) -> Stray {
    if header.number != number {
        return Stray::MayGo;
    }
    let is_ours = state.journal.as_ref().is_some_and(|known| known.identity == header.journal);
    if !is_ours && !state.has_dropped(&header.journal) {
        return Stray::OfAnotherJournal;
    }
    match header.generation > state.generation() {
        true => Stray::Newer(header.generation),
        false => Stray::MayGo,
    }
}

/// Requires that all of `listed`, which no point of `state` has, may be removed.
///
/// # Errors
///
/// `Integrity`: one must not be removed. `Failed`: one cannot be read.
pub(crate) fn require_all_may_go(
    storage: &Arc<dyn Storage>,
    state: &GroupState,
    listed: &[SegmentNumber],
    pool: &ArenaPool,
) -> Result<()> {
    listed
        .iter()
        .try_for_each(|number| refuse(state, *number, look(storage, state, *number, pool)?))
}

fn refuse(state: &GroupState, number: SegmentNumber, stray: Stray) -> Result<()> {
    let told = in_words(state, stray).filter(|_| !planted!(OlderStateBelieved));
    let Some(told) = told else { return Ok(()) };
    let context = format!("segment {} of the retention journal {told}", number.0);
    Err(Error::new(ErrorKind::Integrity, context).remedied(GroupRemedy::PutNewerStateBack))
}

/// Why it must not be removed, as text that follows "segment 7"; `None` if it may be.
pub(crate) fn in_words(state: &GroupState, stray: Stray) -> Option<String> {
    match stray {
        Stray::MayGo => None,
        Stray::Newer(generation) => Some(format!(
            "is newer than the state: it was made at generation {generation}, the state is of {}",
            state.generation()
        )),
        Stray::OfALaterPoint(point) => Some(format!(
            "is newer than the state: it holds images for point {point}, which the state does not \
             know"
        )),
        Stray::OfAnotherJournal => {
            Some("belongs to another history, which the state does not know".to_owned())
        }
    }
}

/// What is wrong with the last segment of `state`, if anything: if the history was committed since,
/// or is another one, the other segments are gone as well.
///
/// # Errors
///
/// `Failed`: it cannot be read.
pub(crate) fn not_there(
    storage: &Arc<dyn Storage>,
    state: &GroupState,
    pool: &ArenaPool,
) -> Result<Option<Notice>> {
    let Some(known) = &state.journal else { return Ok(None) };
    let Some(last) = known.spans().last() else { return Ok(None) };
    let segment = last.segment;
    let why = match header_of(storage.as_ref(), segment, pool) {
        Ok(header) if header.journal == known.identity => return Ok(None),
        Ok(_) => SegmentError::Foreign.to_string(),
        Err(SegmentError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            "there is none".to_owned()
        }
        Err(SegmentError::Io(error)) => {
            let context = format!("reading segment {} of the retention journal", segment.0);
            return Err(Error::failed(context, error));
        }
        // Damage is reported by `check`.
        Err(_) => return Ok(None),
    };
    Ok(Some(Notice::HistoryNotThere { segment, why }))
}

/// Requires that the state is not older than its history, nor of another one: for readers. Segments
/// with a number that the state has assigned are its own.
///
/// The state was read after the segments were `listed`: a segment made at some generation cannot be
/// listed before a state of that generation can be read.
///
/// # Errors
///
/// `Integrity`: the state is older or of another history. `Failed`: a segment cannot be read.
pub(crate) fn require_none_newer(
    storage: &Arc<dyn Storage>,
    state: &GroupState,
    listed: &[SegmentNumber],
    pool: &ArenaPool,
) -> Result<()> {
    let next = state.journal.as_ref().map_or(0, |known| known.next_segment);
    for number in listed.iter().filter(|number| number.0 >= next) {
        refuse(state, *number, look(storage, state, *number, pool)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
