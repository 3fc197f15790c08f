//! Writes a stream, forward only: to a file, a pipe, a socket.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::extent::Extent;
use crate::little_endian::array;
use crate::stream::native::body::{self, Stream};
use crate::stream::native::compression::{Method, pack};
use crate::stream::native::cursor::Cursor;
use crate::stream::native::layout::{
    FLAG_CRITICAL, FLAG_UNORDERED, KIND_BATCH, KIND_END, KIND_MARK, KIND_STREAM, PAGE_BYTES,
    RECORD_MAGIC, STREAM_MAGIC, Shared, Tag, padded,
};
use crate::stream::placement::position_for;
use crate::stream::{
    BATCH_BYTES_MAX, BATCH_PIECES_MAX, Content, Mark, Piece, StreamHeader, Timestamp, Totals,
    VOLUMES_MAX, VolumeIndex,
};
use crate::units::{ByteCount, ByteOffset};
use crate::{Error, ErrorKind, Result};

/// Options for writing a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderOptions {
    /// The most payload of a batch, in bytes: a multiple of 4096, at most [`BATCH_BYTES_MAX`].
    pub batch_bytes: usize,
    /// How payload is compressed if that makes it shorter.
    pub compression: Option<Method>,
    /// When the stream was begun; `None` for now.
    pub created: Option<Timestamp>,
}

impl Default for EncoderOptions {
    /// Batches of 2 MiB, not compressed.
    fn default() -> Self {
        Self { batch_bytes: 2 << 20, compression: None, created: None }
    }
}

/// Writes one native stream. If dropped before [`finish`](Self::finish), or after an error, it
/// leaves a stream without an end, which every reader refuses.
#[derive(Debug)]
pub struct Encoder<W> {
    output: W,
    options: EncoderOptions,
    tag: Tag,
    sizes: Vec<Option<ByteCount>>,
    cursor: Cursor,
    // The batch being filled: its pieces and its payload.
    pieces: Vec<Piece>,
    payload: Vec<u8>,
    // The record being made; kept for their allocations.
    body: Vec<u8>,
    header: Vec<u8>,
}

impl<W: Write> Encoder<W> {
    /// Begins a stream of the volumes of `header`, with its identity, or a new one if it has none.
    ///
    /// # Errors
    ///
    /// `Usage` if there are no volumes, more than [`VOLUMES_MAX`], or `batch_bytes` is not valid
    /// for [`EncoderOptions`]; `Failed` if `output` cannot be written.
    pub fn new(output: W, header: &StreamHeader, options: EncoderOptions) -> Result<Self> {
        check(header, &options)?;
        let identity = header.identity.unwrap_or_else(|| Uuid::new_v4().into_bytes());
        let created = options.created.unwrap_or_else(now);
        let mut encoder = Self {
            output,
            options,
            tag: array(&identity, 0),
            sizes: header.volumes.iter().map(|volume| volume.size).collect(),
            cursor: Cursor::default(),
            pieces: Vec::new(),
            payload: Vec::with_capacity(options.batch_bytes),
            body: Vec::new(),
            header: Vec::new(),
        };
        let (is_in_write_order, volumes) = (header.is_in_write_order, header.volumes.clone());
        let stream = Stream { identity, created, is_in_write_order, volumes };
        stream.write(&mut encoder.body);
        let flags = if is_in_write_order { 0 } else { FLAG_UNORDERED };
        encoder.record(Shared { kind: KIND_STREAM, flags, ..Shared::default() })?;
        Ok(encoder)
    }

    /// Writes `bytes` for `volume` from `start` on, in as many batches as it takes.
    ///
    /// # Errors
    ///
    /// `Usage` if `bytes` is empty, or ends past the volume's end; `Failed` if the output cannot be
    /// written.
    pub fn data(&mut self, volume: VolumeIndex, start: ByteOffset, bytes: &[u8]) -> Result<()> {
        let length = ByteCount::new(bytes.len() as u64);
        let extent = Extent::new(start, length).map_err(|error| {
            Error::new(ErrorKind::Usage, "encoding data for a stream").caused_by(error)
        })?;
        self.check(volume, extent)?;
        let (mut start, mut rest) = (start.get(), bytes);
        while !rest.is_empty() {
            let taken = self.part(volume, ByteOffset::new(start), rest)?;
            rest = &rest[taken..];
            // Not past the end of `extent`.
            start += taken as u64;
        }
        Ok(())
    }

    /// Adds as much of `bytes` as this batch, or the next one, has room for.
    fn part(&mut self, volume: VolumeIndex, start: ByteOffset, bytes: &[u8]) -> Result<usize> {
        let capacity = self.options.batch_bytes;
        let mut position = position_for(start, self.payload.len(), capacity);
        if position.is_none() || self.pieces.len() >= BATCH_PIECES_MAX {
            self.flush()?;
            position = position_for(start, 0, capacity);
        }
        let position = position.expect("invariant: an empty batch has room from any position on");
        let taken = bytes.len().min(capacity - position);
        self.payload.resize(position, 0);
        self.payload.extend_from_slice(&bytes[..taken]);
        let extent = Extent::new(start, ByteCount::new(taken as u64))
            .expect("invariant: a part of an extent is one");
        self.add(Piece { volume, extent, content: Content::Data { position } })?;
        Ok(taken)
    }

    /// Writes zeros.
    ///
    /// # Errors
    ///
    /// `Usage` past the volume's end; `Failed` if the output cannot be written.
    pub fn zero(&mut self, volume: VolumeIndex, extent: Extent) -> Result<()> {
        self.check(volume, extent)?;
        self.add(Piece { volume, extent, content: Content::Zero })
    }

    /// Writes a discard: data that the source no longer needs.
    ///
    /// # Errors
    ///
    /// `Usage` past the volume's end; `Failed` if the output cannot be written.
    pub fn discard(&mut self, volume: VolumeIndex, extent: Extent) -> Result<()> {
        self.check(volume, extent)?;
        self.add(Piece { volume, extent, content: Content::Discard })
    }

    /// Writes a recovery point after everything written so far.
    ///
    /// # Errors
    ///
    /// `Failed` if the output cannot be written.
    pub fn mark(&mut self, mark: &Mark) -> Result<()> {
        self.flush()?;
        self.cursor.totals.marks += 1;
        body::write_mark(mark, &mut self.body);
        self.record(Shared { kind: KIND_MARK, ..Shared::default() })
    }

    /// Writes the batch being filled, so that everything so far is in whole records.
    ///
    /// # Errors
    ///
    /// `Failed` if the output cannot be written.
    pub fn end_batch(&mut self) -> Result<()> {
        self.flush()
    }

    /// Ends the stream, and flushes the output. `consistent` as in [`End`](crate::stream::End).
    ///
    /// # Errors
    ///
    /// `Failed` if the output cannot be written.
    pub fn finish(mut self, consistent: bool) -> Result<Totals> {
        self.end(consistent)?;
        Ok(self.cursor.totals)
    }

    /// The same, for a caller who may go back to an earlier place
    /// ([`go_on_at`](Self::go_on_at)).
    ///
    /// # Errors
    ///
    /// `Failed` if the output cannot be written.
    pub fn end(&mut self, consistent: bool) -> Result<()> {
        self.flush()?;
        body::write_end(&self.cursor.totals, consistent, &mut self.body);
        self.record(Shared { kind: KIND_END, ..Shared::default() })?;
        self.output.flush().map_err(unwritable)
    }

    /// Where it writes to.
    pub fn output(&mut self) -> &mut W {
        &mut self.output
    }

    /// Goes on as if nothing had been written after `cursor`, a place of this stream; the batch
    /// being filled is dropped. The output is the caller's business.
    pub fn go_on_at(&mut self, cursor: Cursor) {
        self.pieces.clear();
        self.payload.clear();
        self.cursor = cursor;
    }

    /// Where the last record that was written ends. A batch being filled is not part of it.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    fn check(&self, volume: VolumeIndex, extent: Extent) -> Result<()> {
        let Some(size) = self.sizes.get(usize::from(volume.0)) else {
            let context = format!("encoding a piece of volume {}, which does not exist", volume.0);
            return Err(Error::new(ErrorKind::Usage, context));
        };
        match size.map(ByteCount::get).filter(|size| extent.end().get() > *size) {
            None => Ok(()),
            Some(size) => {
                let context = format!("encoding {extent} of a volume of {size} bytes");
                Err(Error::new(ErrorKind::Usage, context))
            }
        }
    }

    /// Adds `piece` to the batch; joins it with the last piece if it continues that.
    fn add(&mut self, piece: Piece) -> Result<()> {
        if let Some(joined) = self.pieces.last().and_then(|last| joined(last, &piece)) {
            self.pieces.pop();
            self.pieces.push(joined);
            return Ok(());
        }
        // For data, room was made before, and its payload is already in this batch.
        if self.pieces.len() >= BATCH_PIECES_MAX {
            self.flush()?;
        }
        self.pieces.push(piece);
        Ok(())
    }

    /// Writes the batch, if it is not empty.
    fn flush(&mut self) -> Result<()> {
        if self.pieces.is_empty() {
            return Ok(());
        }
        for piece in self.pieces.drain(..) {
            body::count(&mut self.cursor.totals, &piece);
            body::write_entry(&piece, &mut self.body);
        }
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(padded(payload.len()), 0);
        self.batch(&payload)?;
        payload.clear();
        self.payload = payload;
        Ok(())
    }

    fn batch(&mut self, payload: &[u8]) -> Result<()> {
        let packed = self.options.compression.and_then(|method| {
            // At least a page: less would not make the record shorter.
            pack(method, payload, PAGE_BYTES).map(|packed| (method, packed))
        });
        let compression = match packed {
            None => 0,
            Some((Method::Lz4, _)) => 1,
            Some((Method::Zstd, _)) => 2,
        };
        let stored = packed.as_ref().map_or(payload, |(_, packed)| packed);
        self.record(Shared {
            kind: KIND_BATCH,
            // Both at most BATCH_BYTES_MAX.
            stored_bytes: stored.len() as u32,
            payload_bytes: payload.len() as u32,
            payload_checksum: crc32c::crc32c(payload),
            compression,
            ..Shared::default()
        })?;
        self.output.write_all(stored).map_err(unwritable)?;
        let padding = padded(stored.len()) - stored.len();
        self.output.write_all(&[0; PAGE_BYTES][..padding]).map_err(unwritable)
    }

    /// Writes a header with the content of `body`.
    fn record(&mut self, shared: Shared) -> Result<()> {
        let sequence = self.cursor.sequence;
        let magic = if sequence == 0 { STREAM_MAGIC } else { RECORD_MAGIC };
        let tag = self.tag;
        let flags = shared.flags | FLAG_CRITICAL;
        let shared = Shared { magic, flags, sequence, tag, ..shared };
        shared.write(&self.body, &mut self.header);
        self.body.clear();
        self.cursor.sequence += 1;
        self.cursor.chain = self.cursor.chain.and(&self.header);
        let stored = padded(shared.stored_bytes as usize);
        self.cursor.position += (self.header.len() + stored) as u64;
        self.output.write_all(&self.header).map_err(unwritable)
    }
}

/// Both as one, if the second continues the first: on the volume, and in the payload.
fn joined(first: &Piece, second: &Piece) -> Option<Piece> {
    let lengths = usize::try_from(first.extent.length().get()).ok();
    let goes_on = match (first.content, second.content) {
        (Content::Data { position: before }, Content::Data { position }) => {
            lengths.and_then(|length| before.checked_add(length)) == Some(position)
        }
        (before, after) => before == after,
    };
    let touches = first.volume == second.volume && first.extent.end() == second.extent.start();
    let extent = first.extent.join(second.extent).filter(|_| goes_on && touches)?;
    Some(Piece { extent, ..*first })
}

fn check(header: &StreamHeader, options: &EncoderOptions) -> Result<()> {
    let volumes = header.volumes.len();
    if !(1..=VOLUMES_MAX).contains(&volumes) {
        let context =
            format!("beginning a stream of {volumes} volumes: 1 to {VOLUMES_MAX} are allowed");
        return Err(Error::new(ErrorKind::Usage, context));
    }
    let bytes = options.batch_bytes;
    if !(PAGE_BYTES..=BATCH_BYTES_MAX).contains(&bytes) || bytes % PAGE_BYTES != 0 {
        let context = format!(
            "beginning a stream of batches of {bytes} bytes: a multiple of {PAGE_BYTES} up to \
             {BATCH_BYTES_MAX} is allowed"
        );
        return Err(Error::new(ErrorKind::Usage, context));
    }
    Ok(())
}

/// The current time; a clock before 1970 or after 2554 must not prevent writing a stream.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn unwritable(error: std::io::Error) -> Error {
    Error::failed("writing the stream", error)
}
