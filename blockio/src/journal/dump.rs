//! The retention journal as text, one line per record, for analysing what happened to it. Damage
//! ends a segment, with a line that says so; judging it is the job of `check`.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::device::buffer::ArenaPool;
use crate::journal::catalogue::{Catalogue, Point, PointKind, Span};
use crate::journal::images;
use crate::journal::layout::{Held, RecordHeader, RecordKind};
use crate::journal::scan::{Next, NoRecord, Record, SegmentError, SegmentReader, WINDOW_BYTES};
use crate::storage::Storage;
use crate::{Error, Result};

/// What to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DumpOptions<'a> {
    /// Only the epoch of this point.
    pub point: Option<&'a Point>,
    /// A line for each image as well.
    pub extents: bool,
}

/// Passes the history of `known` in `storage` to `print`, line by line, without line ends.
///
/// # Errors
///
/// Those of `print`; `Failed`: no memory. Damage is printed as a line.
pub fn dump(
    storage: &Arc<dyn Storage>,
    known: &Catalogue,
    options: DumpOptions<'_>,
    print: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<()> {
    let pool = ArenaPool::new(3, WINDOW_BYTES)
        .map_err(|error| Error::failed("allocating memory for reading", error))?;
    let dump = Dump { storage, known, pool, options };
    for point in &known.points {
        if options.point.is_some_and(|only| only.id != point.id) {
            continue;
        }
        print(&point_line(point))?;
        let is_open = point.id == known.open_epoch();
        for (nth, span) in point.spans.iter().enumerate() {
            let is_last = is_open && nth + 1 == point.spans.len();
            dump.segment(span, is_last, print)?;
        }
    }
    Ok(())
}

struct Dump<'a> {
    storage: &'a Arc<dyn Storage>,
    known: &'a Catalogue,
    pool: ArenaPool,
    options: DumpOptions<'a>,
}

impl Dump<'_> {
    fn segment(
        &self,
        span: &Span,
        goes_on: bool,
        print: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        let number = span.segment.0;
        let mut reader =
            match images::open(self.storage, &self.known.identity, span.segment, &self.pool) {
                Ok(reader) => reader,
                Err(error) => return print(&format!("segment {number}: {}", in_words(&error))),
            };
        print(&segment_line(&reader, span))?;
        while goes_on || reader.next_record() < span.next_record {
            let at = reader.at();
            match reader.next() {
                Ok(Next::Record(record)) => {
                    print(&record_line(&record, at))?;
                    if self.options.extents {
                        self.extents(&record, print)?;
                    }
                }
                Ok(Next::End(NoRecord::Header(_) | NoRecord::SegmentEnds))
                    if reader.next_record() >= span.next_record =>
                {
                    break;
                }
                Ok(Next::End(why)) => {
                    let record = reader.next_record();
                    print(&format!("  record {record} at {at}: DAMAGED: {why}"))?;
                    break;
                }
                Err(error) => {
                    print(&format!("  at {at}: DAMAGED: {}", in_words(&error)))?;
                    break;
                }
            }
        }
        Ok(())
    }

    fn extents(&self, record: &Record, print: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        for entry in &record.header.entries {
            let held = match entry.held {
                Held::Data => "data",
                Held::Zeros => "zeros",
            };
            let name = self.known.volumes.get(entry.volume as usize).map(|one| one.name.as_str());
            let volume = match name {
                Some("") => "the volume".to_owned(),
                Some(name) => format!("\"{}\"", name.escape_default()),
                None => format!("unknown volume {}", entry.volume),
            };
            let (start, end) = (entry.extent.start().get(), entry.extent.end().get());
            print(&format!("    {volume} {start}..{end} {held}"))?;
        }
        Ok(())
    }
}

fn point_line(point: &Point) -> String {
    let name = point.name.as_ref().map(|name| format!(" \"{}\"", name.escape_default()));
    let (segments, bytes) = (point.spans.len(), point.journal_bytes());
    let start = if point.kind == PointKind::Start { " (start)" } else { "" };
    let name = name.unwrap_or_default();
    format!("point {}{start}{name}  segments {segments}  bytes {bytes}", point.id)
}

fn segment_line(reader: &SegmentReader, span: &Span) -> String {
    let header = reader.header();
    format!(
        "segment {}  epoch {}  records {}..{}  used {}  of {}  salt {:016x}",
        header.number.0,
        header.epoch,
        span.first_record,
        span.next_record,
        span.bytes,
        header.length_bytes,
        header.salt
    )
}

fn record_line(record: &Record, at: u64) -> String {
    let RecordHeader { number, kind, entries, payload_bytes, payload_checksum, .. } =
        &record.header;
    let kind = match kind {
        RecordKind::Images => "images",
        RecordKind::EpochBegins => "epoch-begins",
        RecordKind::VolumeBegins => "volume-begins",
        RecordKind::CopyEnds => "copy-ends",
    };
    let mut line = format!("  record {number}  {kind}  at {at}");
    if !entries.is_empty() {
        // A forged header may claim for each entry the full length of a volume.
        let lengths = entries.iter().map(|entry| u128::from(entry.extent.length().get()));
        let bytes: u128 = lengths.sum();
        let _ = write!(line, "  entries {}  of {bytes}", entries.len());
    }
    let _ = write!(line, "  payload {payload_bytes}  crc32c {payload_checksum:08x}");
    line
}

fn in_words(error: &SegmentError) -> String {
    match error {
        SegmentError::Io(cause) => cause.to_string(),
        SegmentError::Header(_) | SegmentError::Foreign | SegmentError::Number(_) => {
            error.to_string()
        }
    }
}

#[cfg(test)]
mod tests;
