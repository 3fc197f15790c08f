//! Reads the records of a stream in order; their contents are read by `body`.

use crate::little_endian::{array, u32_at};
use crate::stream::content::Chain;
use crate::stream::native::body::{self, Stream};
use crate::stream::native::compression::Method;
use crate::stream::native::cursor::Cursor;
use crate::stream::native::layout::{
    COMPRESSION_AT, FLAG_CRITICAL, FLAG_UNORDERED, FLAGS_AT, HEADER_CHECKSUM_AT, KIND_AT,
    KIND_BATCH, KIND_END, KIND_MARK, KIND_STREAM, PAGE_BYTES, PAYLOAD_BYTES_AT,
    PAYLOAD_CHECKSUM_AT, RECORD_MAGIC, RESERVED_AT, SEQUENCE_AT, SHARED_BYTES, STORED_BYTES_AT,
    STREAM_MAGIC, Shared, TAG_AT, Tag, expect, expect_zeros, header_checksum, padded,
};
use crate::stream::{BatchHeader, Decoded, End, Malformed, Problem, Timestamp, Totals, Want};
use crate::units::ByteCount;

/// A record that may be skipped is taken in pieces of at most this many bytes.
const SKIP_BYTES: usize = 64 << 10;

/// Decodes the native format.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    // The header of the current record, as far as taken.
    header: Vec<u8>,
    consumed: u64,
    // Where the current record begins.
    record_at: u64,
    sequence: u64,
    chain: Chain,
    stream: Option<Known>,
    totals: Totals,
    event: Option<Decoded>,
}

/// What later records are checked against.
#[derive(Debug)]
struct Known {
    tag: Tag,
    created: Timestamp,
    sizes: Vec<Option<ByteCount>>,
}

#[derive(Debug)]
enum State {
    /// At the beginning of a record.
    Page,
    /// In a header of more than a page.
    Rest(Shared),
    /// At the payload of a batch.
    Payload { batch: BatchHeader, method: Option<Method>, stored: usize },
    /// After compressed payload, with `left` bytes of padding.
    Padding { batch: BatchHeader, left: usize },
    /// In the payload of a skipped record.
    Skip { left: usize },
    /// After the end record.
    End,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Page,
            header: Vec::new(),
            consumed: 0,
            record_at: 0,
            sequence: 0,
            chain: Chain::default(),
            stream: None,
            totals: Totals::default(),
            event: None,
        }
    }

    /// Goes on at `cursor`, where a record of this stream ends: the records before it are neither
    /// there nor needed. Call this after the stream header, before anything else is taken.
    ///
    /// # Errors
    ///
    /// It is not between the header and the next record, or the cursor is not after the header.
    pub fn go_on_at(&mut self, cursor: Cursor) -> Result<(), Malformed> {
        let is_after_header = self.sequence == 1 && matches!(self.state, State::Page);
        let is_whole = cursor.position % PAGE_BYTES as u64 == 0;
        if !is_after_header || !is_whole || cursor.position < self.consumed || cursor.sequence == 0
        {
            return Err(Malformed::new(self.consumed, Problem::Misplaced("cursor")));
        }
        let Cursor { position, sequence, totals, chain } = cursor;
        (self.consumed, self.sequence, self.totals, self.chain) =
            (position, sequence, totals, chain);
        Ok(())
    }

    /// The place between two records where it is; `None` within one.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        let is_between = matches!(self.state, State::Page | State::End);
        is_between.then_some(Cursor {
            position: self.consumed,
            sequence: self.sequence,
            totals: self.totals,
            chain: self.chain,
        })
    }

    /// When the stream was begun; known once its header was taken.
    #[must_use]
    pub fn created(&self) -> Option<Timestamp> {
        self.stream.as_ref().map(|known| known.created)
    }

    fn take_page(&mut self, page: &[u8]) -> Result<(), Malformed> {
        self.record_at = self.consumed;
        let shared = Shared::read(page);
        self.check_beginning(&shared, page)?;
        shared.check_lengths(self.record_at)?;
        self.header.clear();
        self.header.extend_from_slice(page);
        if shared.header_bytes() > PAGE_BYTES {
            self.state = State::Rest(shared);
            return Ok(());
        }
        self.take_header(&shared)
    }

    /// Checks that this is a stream of our version; then the other fields are where we expect them.
    fn check_beginning(&self, shared: &Shared, page: &[u8]) -> Result<(), Malformed> {
        let at = self.record_at;
        if self.stream.is_some() {
            let [found, expected] = [shared.magic, RECORD_MAGIC].map(u64::from_le_bytes);
            return expect(at, "the magic of a record", found, expected);
        }
        if shared.magic != STREAM_MAGIC {
            return Err(Malformed::new(at, Problem::WrongFormat("native")));
        }
        Stream::check_version(&page[SHARED_BYTES..], at + SHARED_BYTES as u64)
    }

    /// Takes a complete header if it passes verification.
    fn take_header(&mut self, shared: &Shared) -> Result<(), Malformed> {
        let at = self.record_at;
        let found = header_checksum(&self.header);
        let expected = u32_at(&self.header, HEADER_CHECKSUM_AT);
        if found != expected {
            let what = "a record's header";
            return Err(Malformed::new(at, Problem::Checksum { what, found, expected }));
        }
        expect(at + SEQUENCE_AT as u64, "a sequence number", shared.sequence, self.sequence)?;
        self.check_fields(shared)?;
        self.sequence += 1;
        self.chain = self.chain.and(&self.header);
        // Bodies are read from a borrow of the header while the rest of `self` changes.
        let header = std::mem::take(&mut self.header);
        let outcome = self.take_body(shared, &header);
        self.header = header;
        outcome
    }

    /// Checks the rules for records of every kind, including skipped ones.
    fn check_fields(&self, shared: &Shared) -> Result<(), Malformed> {
        let at = self.record_at;
        let known = if shared.kind == KIND_STREAM { FLAG_UNORDERED } else { 0 };
        let flags = shared.flags & !(FLAG_CRITICAL | known);
        expect(at + FLAGS_AT as u64, "an unknown flag of a record", flags, 0_u16)?;
        if let Some(known) = &self.stream {
            let [found, expected] = [shared.tag, known.tag].map(u64::from_le_bytes);
            expect(at + TAG_AT as u64, "the tag of a record's stream", found, expected)?;
        }
        let reserved = &self.header[RESERVED_AT..SHARED_BYTES];
        expect_zeros(at + RESERVED_AT as u64, "a reserved field", reserved)?;
        let end = SHARED_BYTES + shared.body_bytes as usize;
        expect_zeros(at + end as u64, "the padding of a header", &self.header[end..])
    }

    fn take_body(&mut self, shared: &Shared, header: &[u8]) -> Result<(), Malformed> {
        let at = self.record_at + SHARED_BYTES as u64;
        let body = &header[SHARED_BYTES..SHARED_BYTES + shared.body_bytes as usize];
        if self.stream.is_none() {
            return self.take_stream(shared, body, at);
        }
        match shared.kind {
            KIND_STREAM => {
                let at = self.record_at + KIND_AT as u64;
                Err(Malformed::new(at, Problem::Repeated("stream header")))
            }
            KIND_BATCH => self.take_batch(shared, body, at),
            KIND_MARK => {
                self.check_alone(shared)?;
                let mark = body::read_mark(body, at)?;
                self.totals.marks = self.totals.marks.saturating_add(1);
                self.give(Decoded::Mark(mark));
                Ok(())
            }
            KIND_END => {
                self.check_alone(shared)?;
                let consistent = body::read_end(body, at, &self.totals)?;
                self.event = Some(Decoded::End(End { totals: self.totals, consistent }));
                self.state = State::End;
                Ok(())
            }
            _ => self.skip(shared),
        }
    }

    fn take_stream(&mut self, shared: &Shared, body: &[u8], at: u64) -> Result<(), Malformed> {
        let kind_at = self.record_at + KIND_AT as u64;
        expect(kind_at, "the kind of the first record", shared.kind, KIND_STREAM)?;
        self.check_alone(shared)?;
        let stream = Stream::read(body, shared.flags, at)?;
        let tag = array(&stream.identity, 0);
        let [found, expected] = [shared.tag, tag].map(u64::from_le_bytes);
        let tag_at = self.record_at + TAG_AT as u64;
        expect(tag_at, "the tag of a record's stream", found, expected)?;
        let sizes = stream.volumes.iter().map(|volume| volume.size).collect();
        self.stream = Some(Known { tag, created: stream.created, sizes });
        self.give(Decoded::Begin(stream.into_header()));
        Ok(())
    }

    fn take_batch(&mut self, shared: &Shared, body: &[u8], at: u64) -> Result<(), Malformed> {
        self.check_critical(shared)?;
        let method = self.check_payload(shared)?;
        let payload_bytes = shared.payload_bytes as usize;
        let sizes = self.stream.as_ref().map_or(&[][..], |known| &known.sizes);
        let (pieces, end) = body::read_batch(body, at, payload_bytes, sizes)?;
        let (what, payload_at) =
            ("the length of a payload", self.record_at + PAYLOAD_BYTES_AT as u64);
        expect(payload_at, what, payload_bytes as u64, padded(end) as u64)?;
        pieces.iter().for_each(|piece| body::count(&mut self.totals, piece));
        let checksum = Some(shared.payload_checksum);
        let batch = BatchHeader { pieces, payload_bytes, checksum };
        if payload_bytes == 0 {
            self.give(Decoded::Batch(batch));
        } else {
            let stored = shared.stored_bytes as usize;
            self.state = State::Payload { batch, method, stored };
        }
        Ok(())
    }

    /// Checks that the two lengths and the method of a batch's payload are consistent.
    fn check_payload(&self, shared: &Shared) -> Result<Option<Method>, Malformed> {
        let at = self.record_at;
        let stored_at = at + STORED_BYTES_AT as u64;
        let method = match shared.compression {
            0 => {
                let (stored, payload) = (shared.stored_bytes, shared.payload_bytes);
                expect(stored_at, "the length of a plain payload", stored, payload)?;
                return Ok(None);
            }
            1 => Method::Lz4,
            2 => Method::Zstd,
            other => {
                let problem = Problem::UnknownRecord(format!("{other} of compression"));
                return Err(Malformed::new(at + COMPRESSION_AT as u64, problem));
            }
        };
        if shared.stored_bytes == 0 {
            return Err(Malformed::new(stored_at, Problem::Missing("compressed payload")));
        }
        let (what, found) = ("the length of a compressed payload", shared.stored_bytes.into());
        let limit = u64::from(shared.payload_bytes).saturating_sub(1);
        if found > limit {
            return Err(Malformed::new(stored_at, Problem::TooLarge { what, found, limit }));
        }
        Ok(Some(method))
    }

    /// Known kinds have always been critical: no writer makes one that may be skipped.
    fn check_critical(&self, shared: &Shared) -> Result<(), Malformed> {
        let at = self.record_at + FLAGS_AT as u64;
        let flags = shared.flags & FLAG_CRITICAL;
        expect(at, "the flags of a record of this kind", flags, FLAG_CRITICAL)
    }

    /// Only batches have payload.
    fn check_alone(&self, shared: &Shared) -> Result<(), Malformed> {
        self.check_critical(shared)?;
        let fields = [
            (STORED_BYTES_AT, shared.stored_bytes),
            (PAYLOAD_BYTES_AT, shared.payload_bytes),
            (PAYLOAD_CHECKSUM_AT, shared.payload_checksum),
            (COMPRESSION_AT, shared.compression.into()),
        ];
        for (field, found) in fields {
            let at = self.record_at + field as u64;
            expect(at, "a payload field of a record without payload", found, 0_u32)?;
        }
        Ok(())
    }

    fn skip(&mut self, shared: &Shared) -> Result<(), Malformed> {
        if shared.flags & FLAG_CRITICAL != 0 {
            let problem = Problem::UnknownRecord(shared.kind.to_string());
            return Err(Malformed::new(self.record_at + KIND_AT as u64, problem));
        }
        self.skip_bytes(padded(shared.stored_bytes as usize));
        Ok(())
    }

    fn skip_bytes(&mut self, left: usize) {
        self.state = if left == 0 { State::Page } else { State::Skip { left } };
    }

    /// Ends a record that resulted in `event`.
    fn give(&mut self, event: Decoded) {
        self.event = Some(event);
        self.state = State::Page;
    }
}

impl crate::stream::Decoder for Decoder {
    fn event(&mut self) -> Option<Decoded> {
        self.event.take()
    }

    fn want(&self) -> Want {
        match &self.state {
            State::Page => Want::Bytes(PAGE_BYTES),
            State::Rest(shared) => Want::Bytes(shared.header_bytes() - PAGE_BYTES),
            State::Payload { batch, method: None, .. } => {
                Want::Payload { position: 0, length: batch.payload_bytes }
            }
            State::Payload { batch, method: Some(method), stored } => {
                let (method, stored) = (*method, *stored);
                Want::Compressed { method, stored, unpacked: batch.payload_bytes }
            }
            State::Padding { left, .. } => Want::Bytes(*left),
            State::Skip { left } => Want::Bytes((*left).min(SKIP_BYTES)),
            State::End => Want::End,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let at = self.consumed;
        let outcome = match std::mem::replace(&mut self.state, State::Page) {
            State::Page => self.take_page(bytes),
            State::Rest(shared) => {
                self.header.extend_from_slice(bytes);
                self.take_header(&shared)
            }
            State::Padding { batch, .. } => expect_zeros(at, "the padding of a payload", bytes)
                .map(|()| self.give(Decoded::Batch(batch))),
            State::Skip { left } => {
                self.skip_bytes(left.saturating_sub(bytes.len()));
                Ok(())
            }
            State::Payload { .. } | State::End => Err(Malformed::new(at, Problem::TrailingBytes)),
        };
        self.consumed += bytes.len() as u64;
        outcome
    }

    fn payload_taken(&mut self) -> Result<(), Malformed> {
        match std::mem::replace(&mut self.state, State::Page) {
            State::Payload { batch, stored, .. } => {
                self.consumed += stored as u64;
                match padded(stored) - stored {
                    0 => self.give(Decoded::Batch(batch)),
                    left => self.state = State::Padding { batch, left },
                }
                Ok(())
            }
            _ => Err(Malformed::new(self.consumed, Problem::Misplaced("payload"))),
        }
    }

    fn end(&mut self) -> Result<(), Malformed> {
        match self.state {
            State::End => Ok(()),
            _ => Err(Malformed::new(self.consumed, Problem::Truncated)),
        }
    }

    fn consumed(&self) -> u64 {
        self.consumed
    }

    fn chain(&self) -> Option<Chain> {
        Some(self.chain)
    }
}
