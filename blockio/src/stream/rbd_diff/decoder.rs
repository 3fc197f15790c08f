//! Decodes rbd diffs: the order of records, their ranges, the chain inside an export. Pure.

use std::collections::VecDeque;

use crate::extent::Extent;
use crate::little_endian::{u32_at, u64_at};
use crate::stream::collected::{Collected, PayloadSlot};
use crate::stream::rbd_diff::container::{BANNER_START, ImageHeader};
use crate::stream::rbd_diff::record::{BANNER_BYTES, Kind, Skip, Version};
use crate::stream::{
    self, Decoded, End, Format, Malformed, NAME_BYTES_MAX, Name, Problem, StreamHeader, Totals,
    VolumeHeader, Want,
};
use crate::units::{ByteCount, ByteOffset};

/// Decodes one input: a diff, or an export with several. Each diff is a stream of one volume.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    consumed: u64,
    // Where the current record begins.
    record: u64,
    version: Version,
    // The number of diffs after this one.
    diffs_left: u64,
    // What the previous diff leads to, if there was one.
    previous: Option<Option<Name>>,
    diff: Diff,
    batch: Collected,
    events: VecDeque<Decoded>,
}

/// What is taken next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Banner,
    Image(ImageHeader),
    DiffBanner,
    Tag,
    Head(Kind),
    Name { kind: Kind, length: usize },
    Skip(Skip),
    Payload { extent: Extent, place: PayloadSlot },
    End,
}

/// What is known of the current diff.
#[derive(Debug, Default)]
struct Diff {
    from: Option<Name>,
    to: Option<Name>,
    size: Option<ByteCount>,
    has_protection: bool,
    /// Where `from` is stated, for reporting a broken chain.
    from_offset: Option<u64>,
    /// Data records have begun: no more metadata is allowed.
    has_begun: bool,
    totals: Totals,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the input's first byte.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Banner,
            consumed: 0,
            record: 0,
            version: Version::V1,
            diffs_left: 0,
            previous: None,
            diff: Diff::default(),
            batch: Collected::default(),
            events: VecDeque::new(),
        }
    }

    fn malformed(&self, problem: Problem) -> Malformed {
        Malformed::new(self.record, problem)
    }

    fn take_banner(&mut self, bytes: &[u8]) -> Result<State, Malformed> {
        if bytes == BANNER_START {
            return Ok(State::Image(ImageHeader::BannerEnd));
        }
        if let Some(version) = Version::from_banner(bytes) {
            self.version = version;
            return Ok(State::Tag);
        }
        let diff = bytes.strip_prefix(b"rbd diff v").and_then(|rest| rest.strip_suffix(b"\n"));
        let number = diff.or_else(|| bytes.strip_prefix(b"rbd image v"));
        Err(self.malformed(match number {
            Some([digit @ b'0'..=b'9']) => Problem::UnknownVersion(u32::from(digit - b'0')),
            _ => Problem::WrongFormat("rbd diff"),
        }))
    }

    fn take_image(&mut self, header: ImageHeader, bytes: &[u8]) -> Result<State, Malformed> {
        let mut header = header;
        Ok(match header.take(self.record, bytes)? {
            None => State::Image(header),
            Some(diffs) => {
                self.diffs_left = diffs - 1;
                State::DiffBanner
            }
        })
    }

    /// Inside an export every diff is of v2.
    fn take_diff_banner(&mut self, bytes: &[u8]) -> Result<State, Malformed> {
        self.version = Version::V2;
        match Version::from_banner(bytes) {
            Some(Version::V2) => Ok(State::Tag),
            Some(Version::V1) => Err(self.malformed(Problem::UnknownVersion(1))),
            None => Err(self.malformed(Problem::WrongFormat("rbd diff"))),
        }
    }

    fn take_tag(&mut self, tag: u8) -> Result<State, Malformed> {
        let kind = Kind::of(tag, self.version);
        match kind {
            Kind::From => self.check_metadata("f", self.diff.from.is_some())?,
            Kind::To => self.check_metadata("t", self.diff.to.is_some())?,
            Kind::Protection => self.check_metadata("p", self.diff.has_protection)?,
            Kind::Size => self.check_metadata("s", self.diff.size.is_some())?,
            Kind::Write | Kind::Zero => self.begin()?,
            Kind::End => {
                self.begin()?;
                return Ok(self.end_diff());
            }
            Kind::Unknown(tag) if self.version == Version::V1 => {
                let problem = Problem::UnknownRecord(format!("'{}'", tag.escape_ascii()));
                return Err(self.malformed(problem));
            }
            Kind::Unknown(_) => {}
        }
        Ok(State::Head(kind))
    }

    /// Metadata comes before data, each record once. The format does not define its order.
    fn check_metadata(&self, record: &'static str, there_already: bool) -> Result<(), Malformed> {
        if self.diff.has_begun {
            return Err(self.malformed(Problem::Misplaced(record)));
        }
        if there_already {
            return Err(self.malformed(Problem::Repeated(record)));
        }
        Ok(())
    }

    /// Begins the diff at the first record that is not metadata.
    fn begin(&mut self) -> Result<(), Malformed> {
        if self.diff.has_begun {
            return Ok(());
        }
        let size = self.diff.size.ok_or_else(|| self.malformed(Problem::Missing("s")))?;
        self.check_chain()?;
        self.diff.has_begun = true;
        let (from, to) = (self.diff.from.clone(), self.diff.to.clone());
        let volume = VolumeHeader { name: None, size: Some(size), from, to };
        self.events.push_back(Decoded::Begin(StreamHeader {
            is_in_write_order: false,
            format: Format::RbdDiff,
            identity: None,
            volumes: vec![volume],
        }));
        Ok(())
    }

    /// Inside an export a diff begins where the previous one ended.
    fn check_chain(&self) -> Result<(), Malformed> {
        let Some(previous) = &self.previous else { return Ok(()) };
        if previous.is_some() && *previous == self.diff.from {
            return Ok(());
        }
        let offset = self.diff.from_offset.unwrap_or(self.record);
        let (found, expected) = (self.diff.from.clone(), previous.clone());
        Err(Malformed::new(offset, Problem::Chain { found, expected }))
    }

    fn take_head(&mut self, kind: Kind, bytes: &[u8]) -> Result<State, Malformed> {
        let stated = (self.version == Version::V2).then(|| u64_at(bytes, 0));
        // In v2, the fields follow the length.
        let fields = &bytes[if stated.is_some() { 8 } else { 0 }..];
        match kind {
            Kind::From | Kind::To => self.take_name_length(kind, stated, u32_at(fields, 0)),
            Kind::Protection => self.take_protection(stated, fields[0]),
            Kind::Size => {
                self.check_length(stated, 8)?;
                self.diff.size = Some(ByteCount::new(u64_at(fields, 0)));
                Ok(State::Tag)
            }
            Kind::Write => {
                let extent = self.extent(u64_at(fields, 0), u64_at(fields, 8))?;
                self.check_length(stated, extent.length().get().saturating_add(16))?;
                let totals = &mut self.diff.totals;
                totals.data_bytes = totals.data_bytes.saturating_add(extent.length().get());
                totals.extents += 1;
                Ok(self.payload(extent))
            }
            Kind::Zero => {
                let extent = self.extent(u64_at(fields, 0), u64_at(fields, 8))?;
                self.check_length(stated, 16)?;
                Ok(self.add_zero(extent))
            }
            Kind::Unknown(_) => Ok(self.skip(Skip::new(self.record, stated.unwrap_or(0))?)),
            Kind::End => Ok(State::Tag),
        }
    }

    /// For v2: a record must have the length that it states.
    fn check_length(&self, stated: Option<u64>, expected: u64) -> Result<(), Malformed> {
        match stated.filter(|found| *found != expected) {
            None => Ok(()),
            Some(found) => {
                let what = "the length of a record";
                Err(self.malformed(Problem::Unexpected { what, found, expected }))
            }
        }
    }

    fn take_name_length(
        &self,
        kind: Kind,
        stated: Option<u64>,
        length: u32,
    ) -> Result<State, Malformed> {
        self.check_length(stated, 4 + u64::from(length))?;
        match usize::try_from(length) {
            Ok(0) => Err(self.malformed(Problem::Empty("name of a snapshot"))),
            Ok(length) if length <= NAME_BYTES_MAX => Ok(State::Name { kind, length }),
            _ => {
                let (what, limit) = ("a name's length", NAME_BYTES_MAX as u64);
                Err(self.malformed(Problem::TooLarge { what, found: u64::from(length), limit }))
            }
        }
    }

    fn take_name(&mut self, kind: Kind, bytes: &[u8]) -> State {
        let name = Name::new(bytes);
        if kind == Kind::From {
            self.diff.from_offset = Some(self.record);
            self.diff.from = name;
        } else {
            self.diff.to = name;
        }
        State::Tag
    }

    /// One byte, a boolean. Up to Ceph 16 its length is nevertheless given as 8.
    fn take_protection(&mut self, stated: Option<u64>, value: u8) -> Result<State, Malformed> {
        if stated != Some(8) {
            self.check_length(stated, 1)?;
        }
        if value > 1 {
            let (what, limit) = ("the protection", 1);
            return Err(self.malformed(Problem::TooLarge { what, found: value.into(), limit }));
        }
        self.diff.has_protection = true;
        Ok(State::Tag)
    }

    fn extent(&self, start: u64, length: u64) -> Result<Extent, Malformed> {
        let extent = Extent::new(ByteOffset::new(start), ByteCount::new(length))
            .map_err(|error| self.malformed(Problem::Range(error)))?;
        let (end, size) = (extent.end().get(), self.diff.size.unwrap_or_default().get());
        if end > size {
            return Err(self.malformed(Problem::PastEnd { end, size }));
        }
        Ok(extent)
    }

    fn payload(&self, extent: Extent) -> State {
        State::Payload { extent, place: self.batch.place(extent) }
    }

    fn add_zero(&mut self, extent: Extent) -> State {
        let totals = &mut self.diff.totals;
        totals.zero_bytes = totals.zero_bytes.saturating_add(extent.length().get());
        totals.extents += 1;
        self.batch.add_zero(extent);
        self.close_batch_if_full();
        State::Tag
    }

    fn skip(&self, skip: Option<Skip>) -> State {
        skip.map_or(State::Tag, State::Skip)
    }

    /// Called right after the piece that fills it: a batch ends where [`stream::Decoder::consumed`]
    /// is.
    fn close_batch_if_full(&mut self) {
        if self.batch.is_full() {
            self.close_batch();
        }
    }

    fn close_batch(&mut self) {
        self.events.extend(self.batch.close().map(Decoded::Batch));
    }

    /// After `e`. The last batch of the last diff is held back until the input has really ended:
    /// bytes after it show that this is not the intended file.
    fn end_diff(&mut self) -> State {
        if self.diffs_left == 0 {
            return State::End;
        }
        self.diffs_left -= 1;
        self.finish_diff();
        State::DiffBanner
    }

    fn finish_diff(&mut self) {
        self.close_batch();
        let diff = std::mem::take(&mut self.diff);
        self.events.push_back(Decoded::End(End { totals: diff.totals, consistent: true }));
        self.previous = Some(diff.to);
    }
}

impl stream::Decoder for Decoder {
    fn event(&mut self) -> Option<Decoded> {
        self.events.pop_front()
    }

    fn want(&self) -> Want {
        match self.state {
            State::Banner | State::DiffBanner => Want::Bytes(BANNER_BYTES),
            State::Image(header) => Want::Bytes(header.want()),
            State::Tag => Want::Bytes(1),
            State::Head(kind) => Want::Bytes(kind.head_bytes(self.version)),
            State::Name { length, .. } => Want::Bytes(length),
            State::Skip(skip) => Want::Bytes(skip.want()),
            State::Payload { place: PayloadSlot { position, length }, .. } => {
                Want::Payload { position, length }
            }
            State::End => Want::End,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if matches!(self.state, State::Banner | State::Image(_) | State::DiffBanner | State::Tag) {
            self.record = self.consumed;
        }
        let start = self.consumed;
        self.consumed += bytes.len() as u64;
        self.state = match self.state {
            State::Banner => self.take_banner(bytes)?,
            State::Image(header) => self.take_image(header, bytes)?,
            State::DiffBanner => self.take_diff_banner(bytes)?,
            State::Tag => self.take_tag(bytes[0])?,
            State::Head(kind) => self.take_head(kind, bytes)?,
            State::Name { kind, .. } => self.take_name(kind, bytes),
            State::Skip(skip) => self.skip(skip.after(bytes.len())),
            // Payload does not come here; if it did, it would be useless.
            State::Payload { .. } => self.state,
            State::End => return Err(Malformed::new(start, Problem::TrailingBytes)),
        };
        Ok(())
    }

    fn payload_taken(&mut self) -> Result<(), Malformed> {
        if let State::Payload { extent, place } = self.state {
            self.consumed += place.length as u64;
            let rest = self.batch.add_data(extent, place);
            self.close_batch_if_full();
            self.state = rest.map_or(State::Tag, |rest| self.payload(rest));
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Malformed> {
        if self.state != State::End {
            return Err(Malformed::new(self.consumed, Problem::Truncated));
        }
        self.finish_diff();
        Ok(())
    }

    fn consumed(&self) -> u64 {
        self.consumed
    }
}
