//! Decodes svd streams, one or several back to back: the order of sections, their consistency, and
//! the pieces. Pure.

use std::collections::VecDeque;

use crate::extent::Extent;
use crate::stream::collected::{Collected, PayloadSlot};
use crate::stream::svd::section::{
    Deltas, HEADER_BYTES, Kind, Order, PREFIX_BYTES, Prefix, RECORD_BYTES, Record, STAMP_BYTES,
    SectionBytes, Stamp, TOTAL_BYTES,
};
use crate::stream::svd::{MARK_BYTES_MAX, MARKS_MAX};
use crate::stream::{
    self, Decoded, End, Format, Malformed, Mark, MarkKind, Name, Problem, StreamHeader, Timestamp,
    Totals, VolumeHeader, Want,
};
use crate::units::{ByteCount, ByteOffset};

/// The unit of the stream's clock, in nanoseconds.
const NANOSECONDS_PER_TICK: u64 = 100;

/// Decodes one input: one or more streams, each of one unnamed volume.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    phase: Phase,
    order: Order,
    consumed: u64,
    current: Stream,
    /// Whether the streams so far end in a state that the source was in.
    consistent: bool,
    batch: Collected,
    events: VecDeque<Decoded>,
}

/// What is taken next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Word,
    Prefix,
    Body(Prefix),
    Payload { extent: Extent, place: PayloadSlot },
}

/// Which sections are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Header,
    First,
    /// A total, which begins a stream of data; or a mark, which begins one of marks only.
    TotalOrMark,
    Records,
    Marks,
}

/// What is known of the current stream.
#[derive(Debug, Default)]
struct Stream {
    first: Stamp,
    /// The total length of the records, as stated by the stream, and as counted so far.
    total: u64,
    taken: u64,
    /// The deltas of the last record.
    deltas: Deltas,
    marks: Vec<Mark>,
    /// The length of the last mark, in bytes.
    mark_bytes: u32,
    totals: Totals,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// The driver counts its writes: number and time of the first distinguish a stream from all others.
fn identity(first: Stamp) -> [u8; 16] {
    let mut identity = [0; 16];
    identity[..8].copy_from_slice(&first.sequence.to_be_bytes());
    identity[8..].copy_from_slice(&first.time.to_be_bytes());
    identity
}

/// Number and time of the first write of the stream with this `identity`.
pub(in crate::stream) fn stamp(identity: &[u8; 16]) -> (u64, u64) {
    let number = u128::from_be_bytes(*identity);
    // The two halves.
    ((number >> 64) as u64, number as u64)
}

impl Decoder {
    /// A decoder at the input's first byte.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Word,
            phase: Phase::Header,
            order: Order::Little,
            consumed: 0,
            current: Stream::default(),
            consistent: true,
            batch: Collected::default(),
            events: VecDeque::new(),
        }
    }

    /// Sequence number and time of its first write; known once its `Begin` was returned.
    pub(super) fn first_write(&self) -> (u64, u64) {
        (self.current.first.sequence, self.current.first.time)
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Malformed> {
        let problem = match self.consumed {
            0 => Problem::WrongFormat("svd"),
            _ => Problem::TrailingBytes,
        };
        self.order = Order::of(word).ok_or(Malformed::new(self.consumed, problem))?;
        (self.state, self.phase) = (State::Prefix, Phase::Header);
        self.current = Stream::default();
        Ok(())
    }

    fn prefix(&mut self, fields: SectionBytes<'_>) -> Result<(), Malformed> {
        let prefix = Prefix::read(fields)?;
        self.check_order(prefix.kind).map_err(|problem| fields.wrong(0, problem))?;
        fields.must_be(Prefix::COUNT_AT, "the count", prefix.count, 1)?;
        match prefix.kind {
            Kind::Mark => check_mark_bytes(fields, prefix.flags.into())?,
            // The driver leaves the length of the last mark there.
            Kind::Last if prefix.flags == self.current.mark_bytes => {}
            _ => fields.must_be(Prefix::FLAGS_AT, "the flags", prefix.flags, 0)?,
        }
        self.state = State::Body(prefix);
        Ok(())
    }

    /// Checks that a section of `kind` is allowed here.
    fn check_order(&self, kind: Kind) -> Result<(), Problem> {
        match (self.phase, kind) {
            (Phase::Header, Kind::Header)
            | (Phase::First, Kind::First)
            | (Phase::TotalOrMark, Kind::Total | Kind::Mark)
            | (Phase::Records, Kind::Record)
            | (Phase::Marks, Kind::Mark | Kind::Last) => Ok(()),
            (Phase::Records, Kind::Last) => self.check_total(self.current.taken),
            (Phase::Header, _) => Err(Problem::Missing(Kind::Header.name())),
            (Phase::First, _) => Err(Problem::Missing(Kind::First.name())),
            (Phase::TotalOrMark, _) => Err(Problem::Missing(Kind::Total.name())),
            (Phase::Records | Phase::Marks, Kind::Stream) => {
                Err(Problem::Missing(Kind::Last.name()))
            }
            (Phase::Records | Phase::Marks, kind) => Err(Problem::Misplaced(kind.name())),
        }
    }

    /// Refuses the total that the stream states unless it is `sum`.
    fn check_total(&self, sum: u64) -> Result<(), Problem> {
        match self.current.total {
            total if total == sum => Ok(()),
            found => Err(Problem::Unexpected { what: "the total of LODC", found, expected: sum }),
        }
    }

    fn body(&mut self, prefix: Prefix, fields: SectionBytes<'_>) -> Result<(), Malformed> {
        self.state = State::Prefix;
        match prefix.kind {
            Kind::Stream => return Err(fields.wrong(0, Problem::Misplaced(prefix.kind.name()))),
            Kind::Header => self.phase = Phase::First,
            Kind::First => self.first(fields)?,
            Kind::Total => {
                self.current.total = fields.u64(0);
                self.phase = Phase::Records;
            }
            Kind::Record => self.record(fields)?,
            Kind::Mark => self.mark(prefix, fields)?,
            Kind::Last => self.last(fields)?,
        }
        Ok(())
    }

    fn first(&mut self, fields: SectionBytes<'_>) -> Result<(), Malformed> {
        self.current.first = Stamp::read(fields)?;
        nanoseconds(self.current.first).map_err(|problem| fields.wrong(Stamp::TIME_AT, problem))?;
        self.phase = Phase::TotalOrMark;
        self.events.push_back(Decoded::Begin(StreamHeader {
            is_in_write_order: false,
            format: Format::Svd,
            identity: Some(identity(self.current.first)),
            volumes: vec![VolumeHeader::default()],
        }));
        Ok(())
    }

    fn record(&mut self, fields: SectionBytes<'_>) -> Result<(), Malformed> {
        let record = Record::read(fields);
        let length = ByteCount::new(record.length.into());
        let extent = Extent::new(ByteOffset::new(record.offset), length)
            .map_err(|error| fields.wrong(0, error.into()))?;
        let taken = self.current.taken.saturating_add(record.bytes());
        if taken > self.current.total {
            self.check_total(taken).map_err(|problem| fields.wrong(0, problem))?;
        }
        self.check_deltas(fields, record.deltas)?;
        self.current.taken = taken;
        self.current.deltas = record.deltas;
        self.current.totals.extents += 1;
        self.current.totals.data_bytes += length.get();
        self.expect_payload(extent);
        Ok(())
    }

    fn check_deltas(&self, fields: SectionBytes<'_>, found: Deltas) -> Result<(), Malformed> {
        let before = self.current.deltas;
        let (first, deltas) = (
            self.current.totals.extents == 0,
            [
                (Record::SEQUENCE_AT, "the sequence delta", found.sequence, before.sequence),
                (Record::TIME_AT, "the time delta", found.time, before.time),
            ],
        );
        for (at, what, found, before) in deltas {
            if first {
                fields.must_be(at, what, found, 0)?;
            } else if found < before {
                let (found, before) = (found.into(), before.into());
                return Err(fields.wrong(at, Problem::Decreasing { what, found, before }));
            }
        }
        Ok(())
    }

    fn expect_payload(&mut self, extent: Extent) {
        self.state = State::Payload { extent, place: self.batch.place(extent) };
    }

    fn mark(&mut self, prefix: Prefix, fields: SectionBytes<'_>) -> Result<(), Malformed> {
        if self.current.marks.len() >= MARKS_MAX {
            let limit = MARKS_MAX as u64;
            let problem = Problem::TooLarge { what: "a number of marks", found: limit + 1, limit };
            return Err(Malformed::new(fields.start - PREFIX_BYTES as u64, problem));
        }
        let time = nanoseconds(self.current.first).map_err(|problem| fields.wrong(0, problem))?;
        let (kind, name) = (MarkKind::ApplicationConsistent, Name::new(fields.bytes));
        self.current.marks.push(Mark { time, kind, name, group: None });
        self.current.mark_bytes = prefix.flags;
        self.phase = Phase::Marks;
        Ok(())
    }

    fn last(&mut self, fields: SectionBytes<'_>) -> Result<(), Malformed> {
        let (last, current) = (Stamp::read(fields)?, &self.current);
        for (at, what, delta_of, found, first, delta) in [
            (
                Stamp::SEQUENCE_AT,
                "the last sequence number",
                "the sequence delta",
                last.sequence,
                current.first.sequence,
                current.deltas.sequence,
            ),
            (
                Stamp::TIME_AT,
                "the last time",
                "the time delta",
                last.time,
                current.first.time,
                current.deltas.time,
            ),
        ] {
            let limit = u64::MAX - first;
            let too_large = Problem::TooLarge { what: delta_of, found: delta.into(), limit };
            let expected = first.checked_add(delta.into());
            let expected = expected.ok_or_else(|| fields.wrong(at, too_large))?;
            fields.must_be(at, what, found, expected)?;
        }
        self.finish();
        Ok(())
    }

    /// The stream is complete: returns what was held back of it.
    fn finish(&mut self) {
        let Stream { marks, deltas, mut totals, .. } = std::mem::take(&mut self.current);
        match totals.extents {
            // Nothing has changed: the state is as consistent as before.
            0 => {}
            1 => self.consistent = true,
            // If many records have no deltas, the order of writes was not kept. A write that was
            // split, and is alone in its stream, looks the same, and is treated as the worse case.
            _ => self.consistent = deltas != Deltas::default(),
        }
        self.events.extend(self.batch.close().map(Decoded::Batch));
        if self.consistent {
            totals.marks = marks.len() as u64;
            self.events.extend(marks.into_iter().map(Decoded::Mark));
        }
        self.events.push_back(Decoded::End(End { totals, consistent: self.consistent }));
        self.state = State::Word;
    }
}

/// How many bytes follow a section's prefix, without a record's data.
fn body_bytes(prefix: Prefix) -> usize {
    match prefix.kind {
        Kind::Header => HEADER_BYTES,
        Kind::First | Kind::Last => STAMP_BYTES,
        Kind::Total => TOTAL_BYTES,
        Kind::Record => RECORD_BYTES,
        // At most MARK_BYTES_MAX.
        Kind::Mark => prefix.flags as usize,
        Kind::Stream => PREFIX_BYTES,
    }
}

fn check_mark_bytes(fields: SectionBytes<'_>, found: u64) -> Result<(), Malformed> {
    let problem = match found {
        0 => Problem::Empty("mark"),
        1..=MARK_BYTES_MAX => return Ok(()),
        _ => Problem::TooLarge { what: "a mark's length", found, limit: MARK_BYTES_MAX },
    };
    Err(fields.wrong(Prefix::FLAGS_AT, problem))
}

fn nanoseconds(stamp: Stamp) -> Result<Timestamp, Problem> {
    let (what, found, limit) = ("a time", stamp.time, u64::MAX / NANOSECONDS_PER_TICK);
    found.checked_mul(NANOSECONDS_PER_TICK).map(Timestamp).ok_or(Problem::TooLarge {
        what,
        found,
        limit,
    })
}

impl stream::Decoder for Decoder {
    fn event(&mut self) -> Option<Decoded> {
        self.events.pop_front()
    }

    fn want(&self) -> Want {
        match self.state {
            State::Word if self.consumed > 0 => Want::BytesOrEnd(4),
            State::Word => Want::Bytes(4),
            State::Prefix => Want::Bytes(PREFIX_BYTES),
            State::Body(prefix) => Want::Bytes(body_bytes(prefix)),
            State::Payload { place, .. } => {
                Want::Payload { position: place.position, length: place.length }
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let fields = SectionBytes { order: self.order, start: self.consumed, bytes };
        match self.state {
            State::Word => self.word(bytes)?,
            State::Prefix => self.prefix(fields)?,
            State::Body(prefix) => self.body(prefix, fields)?,
            State::Payload { .. } => {
                return Err(fields.wrong(0, Problem::Misplaced("bytes")));
            }
        }
        self.consumed += bytes.len() as u64;
        Ok(())
    }

    fn payload_taken(&mut self) -> Result<(), Malformed> {
        let State::Payload { extent, place } = self.state else {
            return Err(Malformed::new(self.consumed, Problem::Misplaced("payload")));
        };
        self.consumed += place.length as u64;
        self.state = State::Prefix;
        let rest = self.batch.add_data(extent, place);
        if self.batch.is_full() {
            self.events.extend(self.batch.close().map(Decoded::Batch));
        }
        if let Some(rest) = rest {
            self.expect_payload(rest);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Malformed> {
        match self.state {
            State::Word if self.consumed > 0 => Ok(()),
            _ => Err(Malformed::new(self.consumed, Problem::Truncated)),
        }
    }

    fn consumed(&self) -> u64 {
        self.consumed
    }
}
