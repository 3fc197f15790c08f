//! The bodies of the known kinds of record: read and written side by side. The order of records,
//! and their totals, are up to the decoder.
//!
//! All tables are in docs/format/change-stream-v1.md. `at` is where a body begins in the stream.

use crate::extent::Extent;
use crate::little_endian::{array, u16_at, u32_at, u64_at};
use crate::stream::native::layout::{FLAG_UNORDERED, VERSION, expect, expect_zeros};
use crate::stream::placement::position_for;
use crate::stream::{
    BATCH_PIECES_MAX, Content, Format, Malformed, Mark, MarkKind, NAME_BYTES_MAX, Name, Piece,
    Problem, StreamHeader, Timestamp, Totals, VOLUMES_MAX, VolumeHeader, VolumeIndex,
};
use crate::units::{ByteCount, ByteOffset};

/// The length of an entry of a batch.
pub(super) const ENTRY_BYTES: usize = 24;
/// The length of the stream's body before its volumes, and of a volume before its names.
const STREAM_BYTES: usize = 32;
const VOLUME_BYTES: usize = 16;
/// The length of a mark before its names, and of an end.
const MARK_BYTES: usize = 16;
const END_BYTES: usize = 48;

const NO_NAME: u16 = u16::MAX;
const NO_SIZE: u64 = u64::MAX;

const ENTRY_DATA: u16 = 1;
const ENTRY_ZERO: u16 = 2;
const ENTRY_DISCARD: u16 = 3;
const MARK_CRASH: u16 = 1;
const MARK_APPLICATION: u16 = 2;
const END_CONSISTENT: u32 = 1;

/// A body, or part of it, read from beginning to end.
struct BodyReader<'a> {
    bytes: &'a [u8],
    taken: usize,
    at: u64,
}

impl<'a> BodyReader<'a> {
    fn new(bytes: &'a [u8], at: u64) -> Self {
        Self { bytes, taken: 0, at }
    }

    /// Where the next field begins in the stream.
    fn place(&self) -> u64 {
        self.at + self.taken as u64
    }

    /// The next `length` bytes.
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let rest = &self.bytes[self.taken..];
        let too_short = Problem::Unexpected {
            what: "what is left of a record's body",
            found: rest.len() as u64,
            expected: length as u64,
        };
        let taken = rest.get(..length).ok_or_else(|| Malformed::new(self.place(), too_short))?;
        self.taken += length;
        Ok(taken)
    }

    /// The next name; its `length` was read before, at `length_at`.
    fn name(&mut self, length: u16, length_at: u64) -> Result<Option<Name>, Malformed> {
        if length == NO_NAME {
            return Ok(None);
        }
        limit(length_at, "the length of a name", u64::from(length), NAME_BYTES_MAX)?;
        self.take(usize::from(length)).map(Name::new)
    }

    fn end(&self) -> Result<(), Malformed> {
        let left = self.bytes.len() - self.taken;
        expect(self.place(), "what is left of a record's body", left as u64, 0_u8)
    }
}

fn limit(at: u64, what: &'static str, found: u64, limit: usize) -> Result<(), Malformed> {
    let limit = limit as u64;
    if found <= limit {
        return Ok(());
    }
    Err(Malformed::new(at, Problem::TooLarge { what, found, limit }))
}

fn write_length(name: Option<&Name>, body: &mut Vec<u8>) {
    // A name is never longer than NAME_BYTES_MAX.
    let length = name.map_or(NO_NAME, |name| name.as_bytes().len() as u16);
    body.extend(length.to_le_bytes());
}

fn write_name(name: Option<&Name>, body: &mut Vec<u8>) {
    body.extend(name.map_or(&[][..], Name::as_bytes));
}

/// The content of the stream's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) identity: [u8; 16],
    pub(super) created: Timestamp,
    pub(super) is_in_write_order: bool,
    pub(super) volumes: Vec<VolumeHeader>,
}

impl Stream {
    /// Refuses another version, before anything else in the body is interpreted.
    pub(super) fn check_version(page: &[u8], at: u64) -> Result<(), Malformed> {
        match u32_at(page, 0) {
            VERSION => Ok(()),
            version => Err(Malformed::new(at, Problem::UnknownVersion(version))),
        }
    }

    /// `flags` are those of the record.
    pub(super) fn read(body: &[u8], flags: u16, at: u64) -> Result<Self, Malformed> {
        let mut fields = BodyReader::new(body, at);
        let fixed = fields.take(STREAM_BYTES)?;
        let count = u32_at(fixed, 4);
        limit(at + 4, "the number of volumes", u64::from(count), VOLUMES_MAX)?;
        if count == 0 {
            return Err(Malformed::new(at + 4, Problem::Missing("volume")));
        }
        let mut volumes = Vec::with_capacity(count as usize);
        for _ in 0..count {
            volumes.push(read_volume(&mut fields)?);
        }
        fields.end()?;
        let created = Timestamp(u64_at(fixed, 24));
        let is_in_write_order = flags & FLAG_UNORDERED == 0;
        Ok(Self { identity: array(fixed, 8), created, is_in_write_order, volumes })
    }

    pub(super) fn write(&self, body: &mut Vec<u8>) {
        body.extend(VERSION.to_le_bytes());
        // At most VOLUMES_MAX, as checked by `Encoder::new`.
        body.extend((self.volumes.len() as u32).to_le_bytes());
        body.extend(self.identity);
        body.extend(self.created.0.to_le_bytes());
        for volume in &self.volumes {
            write_volume(volume, body);
        }
    }

    pub(super) fn into_header(self) -> StreamHeader {
        let identity = Some(self.identity);
        StreamHeader {
            format: Format::Native,
            identity,
            is_in_write_order: self.is_in_write_order,
            volumes: self.volumes,
        }
    }
}

fn read_volume(fields: &mut BodyReader<'_>) -> Result<VolumeHeader, Malformed> {
    let at = fields.place();
    let fixed = fields.take(VOLUME_BYTES)?;
    expect(at + 14, "a reserved field", u16_at(fixed, 14), 0_u16)?;
    let size = Some(u64_at(fixed, 0)).filter(|size| *size != NO_SIZE).map(ByteCount::new);
    let name = fields.name(u16_at(fixed, 8), at + 8)?;
    let from = fields.name(u16_at(fixed, 10), at + 10)?;
    let to = fields.name(u16_at(fixed, 12), at + 12)?;
    Ok(VolumeHeader { name, size, from, to })
}

fn write_volume(volume: &VolumeHeader, body: &mut Vec<u8>) {
    let names = [volume.name.as_ref(), volume.from.as_ref(), volume.to.as_ref()];
    body.extend(volume.size.map_or(NO_SIZE, ByteCount::get).to_le_bytes());
    names.iter().for_each(|name| write_length(*name, body));
    body.extend([0; 2]);
    names.iter().for_each(|name| write_name(*name, body));
}

/// Reads the entries of a batch with `payload_bytes` of payload for volumes of the `sizes`: the
/// pieces, and where the last one's payload ends.
///
/// A piece's position must be the first that its offset allows after the previous piece. This one
/// comparison ensures that no two pieces share a byte, none is out of place, and nothing is hidden
/// in gaps.
pub(super) fn read_batch(
    body: &[u8],
    at: u64,
    payload_bytes: usize,
    sizes: &[Option<ByteCount>],
) -> Result<(Vec<Piece>, usize), Malformed> {
    let count = body.len() / ENTRY_BYTES;
    limit(at, "the number of a batch's entries", count as u64, BATCH_PIECES_MAX)?;
    if count == 0 {
        return Err(Malformed::new(at, Problem::Missing("entry in a batch")));
    }
    let mut pieces = Vec::with_capacity(count);
    let mut free = 0;
    let mut fields = BodyReader::new(body, at);
    while fields.taken < body.len() {
        let at = fields.place();
        let entry = fields.take(ENTRY_BYTES)?;
        let (piece, end) = read_entry(entry, at, free, payload_bytes)?;
        check_volume(&piece, at, sizes)?;
        pieces.push(piece);
        free = end;
    }
    Ok((pieces, free))
}

/// Reads one piece; returns it, and where the payload is free after it.
fn read_entry(
    entry: &[u8],
    at: u64,
    free: usize,
    payload_bytes: usize,
) -> Result<(Piece, usize), Malformed> {
    let start = ByteOffset::new(u64_at(entry, 0));
    let length = ByteCount::new(u64_at(entry, 8));
    let extent = Extent::new(start, length).map_err(|error| Malformed::new(at, error.into()))?;
    let position = u32_at(entry, 16);
    let volume = VolumeIndex(u16_at(entry, 20));
    let kind = u16_at(entry, 22);
    if kind == ENTRY_DATA {
        let end = data_end(extent, position, at, free, payload_bytes)?;
        let content = Content::Data { position: position as usize };
        return Ok((Piece { volume, extent, content }, end));
    }
    let content = match kind {
        ENTRY_ZERO => Content::Zero,
        ENTRY_DISCARD => Content::Discard,
        _ => return Err(Malformed::new(at + 22, unknown("entry", kind))),
    };
    expect(at + 16, "the position of an entry without payload", position, 0_u32)?;
    Ok((Piece { volume, extent, content }, free))
}

fn data_end(
    extent: Extent,
    position: u32,
    at: u64,
    free: usize,
    payload_bytes: usize,
) -> Result<usize, Malformed> {
    let expected = position_for(extent.start(), free, usize::MAX).unwrap_or(usize::MAX);
    expect(at + 16, "the position of a piece in the payload", position, expected as u64)?;
    let end = u64::from(position).checked_add(extent.length().get());
    let end = end.unwrap_or(u64::MAX);
    limit(at + 8, "the end of a piece in the payload", end, payload_bytes)?;
    // At most `payload_bytes`.
    Ok(end as usize)
}

fn check_volume(piece: &Piece, at: u64, sizes: &[Option<ByteCount>]) -> Result<(), Malformed> {
    let index = piece.volume.0;
    let last = sizes.len().saturating_sub(1);
    limit(at + 20, "the number of a volume", u64::from(index), last)?;
    let end = piece.extent.end().get();
    match sizes.get(usize::from(index)).copied().flatten().map(ByteCount::get) {
        Some(size) if end > size => Err(Malformed::new(at, Problem::PastEnd { end, size })),
        _ => Ok(()),
    }
}

pub(super) fn write_entry(piece: &Piece, body: &mut Vec<u8>) {
    let (kind, position) = match piece.content {
        // Below BATCH_BYTES_MAX.
        Content::Data { position } => (ENTRY_DATA, position as u32),
        Content::Zero => (ENTRY_ZERO, 0),
        Content::Discard => (ENTRY_DISCARD, 0),
    };
    body.extend(piece.extent.start().get().to_le_bytes());
    body.extend(piece.extent.length().get().to_le_bytes());
    body.extend(position.to_le_bytes());
    body.extend(piece.volume.0.to_le_bytes());
    body.extend(kind.to_le_bytes());
}

pub(super) fn read_mark(body: &[u8], at: u64) -> Result<Mark, Malformed> {
    let mut fields = BodyReader::new(body, at);
    let fixed = fields.take(MARK_BYTES)?;
    let kind = match u16_at(fixed, 8) {
        MARK_CRASH => MarkKind::CrashConsistent,
        MARK_APPLICATION => MarkKind::ApplicationConsistent,
        kind => return Err(Malformed::new(at + 8, unknown("mark", kind))),
    };
    expect(at + 14, "a reserved field", u16_at(fixed, 14), 0_u16)?;
    let name = fields.name(u16_at(fixed, 10), at + 10)?;
    let group = fields.name(u16_at(fixed, 12), at + 12)?;
    fields.end()?;
    Ok(Mark { time: Timestamp(u64_at(fixed, 0)), kind, name, group })
}

pub(super) fn write_mark(mark: &Mark, body: &mut Vec<u8>) {
    let kind = match mark.kind {
        MarkKind::CrashConsistent => MARK_CRASH,
        MarkKind::ApplicationConsistent => MARK_APPLICATION,
    };
    let names = [mark.name.as_ref(), mark.group.as_ref()];
    body.extend(mark.time.0.to_le_bytes());
    body.extend(kind.to_le_bytes());
    names.iter().for_each(|name| write_length(*name, body));
    body.extend([0; 2]);
    names.iter().for_each(|name| write_name(*name, body));
}

/// Reads an end record, compares its totals with those `counted`, and returns whether the state is
/// consistent.
pub(super) fn read_end(body: &[u8], at: u64, counted: &Totals) -> Result<bool, Malformed> {
    let mut fields = BodyReader::new(body, at);
    let fixed = fields.take(END_BYTES)?;
    fields.end()?;
    for (index, (what, number)) in totals(counted).into_iter().enumerate() {
        expect(at + 8 * index as u64, what, u64_at(fixed, 8 * index), number)?;
    }
    let flags = u32_at(fixed, 40);
    expect(at + 40, "an unknown flag of the end record", flags & !END_CONSISTENT, 0_u32)?;
    expect_zeros(at + 44, "a reserved field", &fixed[44..])?;
    Ok(flags == END_CONSISTENT)
}

pub(super) fn write_end(counted: &Totals, consistent: bool, body: &mut Vec<u8>) {
    for (_, number) in totals(counted) {
        body.extend(number.to_le_bytes());
    }
    let flags = if consistent { END_CONSISTENT } else { 0 };
    body.extend(flags.to_le_bytes());
    body.extend([0; 4]);
}

/// The totals in the order of the end record.
fn totals(of: &Totals) -> [(&'static str, u64); 5] {
    [
        ("the number of extents at the end", of.extents),
        ("the number of data bytes at the end", of.data_bytes),
        ("the number of zero bytes at the end", of.zero_bytes),
        ("the number of discarded bytes at the end", of.discard_bytes),
        ("the number of marks at the end", of.marks),
    ]
}

/// Counts `piece`. Zeros can be repeated without limit: numbers saturate.
pub(super) fn count(totals: &mut Totals, piece: &Piece) {
    let bytes = match piece.content {
        Content::Data { .. } => &mut totals.data_bytes,
        Content::Zero => &mut totals.zero_bytes,
        Content::Discard => &mut totals.discard_bytes,
    };
    *bytes = bytes.saturating_add(piece.extent.length().get());
    totals.extents = totals.extents.saturating_add(1);
}

fn unknown(of: &str, kind: u16) -> Problem {
    Problem::UnknownRecord(format!("{kind} of {of}"))
}
