//! Change streams: what every format has in common. One [`Frame`] type behind every decoder.
//!
//! Bytes become frames in two steps. A [`Decoder`] is pure: it says how many bytes it wants next,
//! takes them, and gives events; it never reads, never allocates by a number it was told, and never
//! sees payload that it does not have to look at. A [`Reader`](reader::Reader) reads, puts payload
//! where the device can take it from without a copy, and gives frames. Nothing here believes what a
//! stream says about itself: that is [`verify`](crate::verify)'s.
//!
//! | module | format |
//! |---|---|
//! | [`native`] | our own, docs/format/change-stream-v1.md |
//! | [`rbd_diff`] | Ceph's rbd diff v1 and v2, alone and inside an export of format 2 |
//! | [`svd`] | the public ASR Linux disk filter driver's change stream |
//! | [`raw`] | a raw image; its holes are zeros |

use std::fmt;

use crate::device::buffer::Arena;
use crate::extent::Extent;
use crate::units::ByteCount;

mod collected;
pub mod content;
pub mod drive;
pub mod malformed;
pub mod naming;
pub mod native;
pub mod open;
pub mod placement;
pub mod raw;
pub mod rbd_diff;
pub mod reader;
pub mod svd;

pub use malformed::{Malformed, Problem};

/// The most payload that a batch holds, in bytes: what is held back until it is verified.
pub const BATCH_BYTES_MAX: usize = 8 << 20;
/// The most pieces of a batch: 4096 of 512 bytes to each MiB would be more, and are two batches.
pub const BATCH_PIECES_MAX: usize = 16_384;
/// The most volumes of one stream.
pub const VOLUMES_MAX: usize = 1024;
/// The longest name of a volume, a snapshot, a mark or a group, in bytes.
pub const NAME_BYTES_MAX: usize = 1024;
/// The most that a decoder wants at once other than payload, in bytes.
pub const WANT_BYTES_MAX: usize = 4 << 20;

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Our own.
    Native,
    /// rbd diff v1 or v2, or an rbd export of format 2.
    RbdDiff,
    /// The disk filter driver's.
    Svd,
    /// A raw image.
    Raw,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::RbdDiff => "rbd-diff",
            Self::Svd => "svd",
            Self::Raw => "raw",
        })
    }
}

/// Which of the stream's volumes, counted from 0 in the order of [`StreamHeader::volumes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeIndex(pub u16);

/// A name as a stream has it: at most [`NAME_BYTES_MAX`] bytes of any kind, usually UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// The name; none if it is longer than [`NAME_BYTES_MAX`].
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= NAME_BYTES_MAX).then(|| Self(bytes.into()))
    }

    /// The bytes, as they were in the stream.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// As text: UTF-8 as it is, with control characters and what is not UTF-8 escaped. Groups know
/// their volumes by it, so it stays as it is; on a terminal it is shown as [`Plain`].
///
/// [`Plain`]: crate::plain::Plain
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() {
                    write!(f, "{}", character.escape_default())?;
                } else {
                    write!(f, "{character}")?;
                }
            }
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A moment, in nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

/// What a stream says of itself before its first extent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamHeader {
    /// In which format it came.
    pub format: Format,
    /// The number that tells this stream from every other, as well as the format can: the UUID of
    /// a native one, what an svd stream or a raw image can be recognised by. None of rbd diffs.
    pub identity: Option<[u8; 16]>,
    /// Its batches come in the order in which the source was written: after each of them it was in
    /// a state that a crash could have left. Else only marks and the end are such states.
    pub is_in_write_order: bool,
    /// Its volumes; never empty.
    pub volumes: Vec<VolumeHeader>,
}

/// What a stream says of one of its volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeHeader {
    /// Its name at the source; formats for one volume have none.
    pub name: Option<Name>,
    /// The size of the source; svd does not say.
    pub size: Option<ByteCount>,
    /// The snapshot that the changes begin at; none: they begin at nothing, an empty disk.
    pub from: Option<Name>,
    /// The snapshot that the changes end at; none: at a state without a name.
    pub to: Option<Name>,
}

/// What an extent of a batch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Bytes, in the batch's arena from `position` on; `position` is congruent to the extent's
    /// start modulo [`placement::ALIGNMENT`].
    Data {
        /// Where in the arena, in bytes.
        position: usize,
    },
    /// Zeros.
    Zero,
    /// Nothing that the source needs any more. It reads as zeros afterwards: what differs from
    /// device to device could not be compared with anything.
    Discard,
}

/// One extent of a batch with what it holds. In a batch the later piece wins where two overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// On which volume.
    pub volume: VolumeIndex,
    /// Where.
    pub extent: Extent,
    /// What.
    pub content: Content,
}

/// A batch as a decoder tells it: the pieces, without the memory that the payload lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The pieces, in the order of the stream; at most [`BATCH_PIECES_MAX`].
    pub pieces: Vec<Piece>,
    /// How many bytes of the arena are used; at most [`BATCH_BYTES_MAX`].
    pub payload_bytes: usize,
    /// The CRC32C of those bytes, where the format has one.
    pub checksum: Option<u32>,
}

/// A batch: the pieces and their payload. The unit of verification: all of it is written or none.
#[derive(Debug)]
pub struct Batch {
    /// The pieces.
    pub header: BatchHeader,
    /// The memory that holds the payload.
    pub arena: Arena,
}

/// How consistent a recovery point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarkKind {
    /// As after a power cut.
    CrashConsistent,
    /// As the application wanted it.
    ApplicationConsistent,
}

/// A recovery point in the stream: what came before it is one state of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When the source was in this state.
    pub time: Timestamp,
    /// How consistent it is.
    pub kind: MarkKind,
    /// What the operator or the application called it.
    pub name: Option<Name>,
    /// The protection group it belongs to.
    pub group: Option<Name>,
}

/// What a stream held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Pieces: extents of any content, as the stream tells them apart.
    pub extents: u64,
    /// Bytes of data.
    pub data_bytes: u64,
    /// Bytes of zeros.
    pub zero_bytes: u64,
    /// Bytes discarded.
    pub discard_bytes: u64,
    /// Marks.
    pub marks: u64,
}

/// A stream came to its proper end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// What it held; a decoder has compared it with what the stream says it held.
    pub totals: Totals,
    /// Whether the state at the end is one that the source was in: false for an svd stream whose
    /// write order was not kept, and for a raw image from a pipe that may have been cut.
    pub consistent: bool,
}

/// What a decoder gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A stream begins. An input can hold several: svd back to back, the diffs of an rbd export.
    Begin(StreamHeader),
    /// A batch is complete; the payload that was read since the last one is its.
    Batch(BatchHeader),
    /// A recovery point.
    Mark(Mark),
    /// The stream ended properly.
    End(End),
}

/// What a reader gives: [`Event`] with the payload.
#[derive(Debug)]
pub enum Frame {
    /// A stream begins.
    Begin(StreamHeader),
    /// A batch with its payload; boxed by its arena, not copied.
    Batch(Batch),
    /// A recovery point.
    Mark(Mark),
    /// The stream ended properly.
    End(End),
}

/// What a decoder wants next. Never zero bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Exactly so many bytes, for [`Decoder::take`]; at most [`WANT_BYTES_MAX`].
    Bytes(usize),
    /// The same, or the end of the input: [`Decoder::end`].
    BytesOrEnd(usize),
    /// Payload for the batch's arena, for [`Decoder::payload_taken`].
    Payload {
        /// Where in the arena; `position + length` is at most [`BATCH_BYTES_MAX`].
        position: usize,
        /// How many bytes.
        length: usize,
    },
    /// Compressed payload: read so many bytes, and unpack them to the arena's beginning with
    /// [`native::compression::unpack`]; then [`Decoder::payload_taken`].
    Compressed {
        /// How.
        method: native::compression::Method,
        /// How many bytes are in the stream; at most [`BATCH_BYTES_MAX`].
        stored: usize,
        /// How many bytes they become; at most [`BATCH_BYTES_MAX`].
        unpacked: usize,
    },
    /// The end of the input; a byte more (for [`Decoder::take`]) is one too many.
    End,
}

/// A format as a state machine without input or output: pure, so that it can be fuzzed.
///
/// The caller's loop: first every [`event`](Self::event) there is; then what is
/// [`want`](Self::want)ed. After an error nothing more is asked, and the batch begun is dropped.
pub trait Decoder: Send {
    /// The next event that came of what was taken.
    fn event(&mut self) -> Option<Event>;

    /// What is wanted next. Asked only when there is no event.
    fn want(&self) -> Want;

    /// Takes the bytes wanted, all of them.
    ///
    /// # Errors
    ///
    /// What is wrong with them, and where in the stream.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Malformed>;

    /// The payload wanted is in the arena (or was skipped: a decoder never looks at it).
    ///
    /// # Errors
    ///
    /// What is wrong, and where in the stream.
    fn payload_taken(&mut self) -> Result<(), Malformed>;

    /// The input ended where something was wanted.
    ///
    /// # Errors
    ///
    /// [`Problem::Truncated`] unless it may end here.
    fn end(&mut self) -> Result<(), Malformed>;

    /// How many bytes of the input were taken so far, payload included.
    fn consumed(&self) -> u64;
}
