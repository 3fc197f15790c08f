//! Change streams: what every format has in common. One [`Frame`] type behind every decoder.
//!
//! Bytes become frames in two steps. A [`Decoder`] is pure: it requests a number of bytes, takes
//! them, and returns events; it never reads, never allocates by a number from the stream, and never
//! sees payload that it does not have to look at. A [`Reader`](reader::Reader) reads, puts payload
//! where the device can take it from without a copy, and returns frames. Whether to believe what a
//! stream says about itself is decided by [`verify`](crate::verify), not here.
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
use crate::stream::content::Chain;
use crate::units::ByteCount;

mod collected;
pub mod content;
pub mod drive;
pub mod input;
pub mod malformed;
mod name;
pub mod naming;
pub mod native;
pub mod open;
pub mod placement;
pub mod raw;
pub mod rbd_diff;
pub mod reader;
pub mod svd;

pub use malformed::{Malformed, Problem};
pub use name::{NAME_BYTES_MAX, Name};

/// The most payload that a batch holds, in bytes: what is held back until it is verified.
pub const BATCH_BYTES_MAX: usize = 8 << 20;
/// The most pieces of a batch: 4096 pieces of 512 bytes in each MiB would be more, and become two
/// batches.
pub const BATCH_PIECES_MAX: usize = 16_384;
/// The most volumes of one stream.
pub const VOLUMES_MAX: usize = 1024;
/// The most that a decoder requests at a time other than payload, in bytes.
pub const WANT_BYTES_MAX: usize = 4 << 20;

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The native format.
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

/// The index of one of the stream's volumes, counted from 0 in the order of
/// [`StreamHeader::volumes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeIndex(pub u16);

/// A moment, in nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

/// What a stream says of itself before its first extent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamHeader {
    /// The format it came in.
    pub format: Format,
    /// The number that distinguishes this stream from every other, as well as the format allows:
    /// the UUID of a native stream, or whatever an svd stream or a raw image can be recognised by.
    /// `None` for rbd diffs.
    pub identity: Option<[u8; 16]>,
    /// Whether its batches come in the order in which the source was written: after each of them
    /// the source was in a state that a crash could have left. Otherwise only marks and the end are
    /// such states.
    pub is_in_write_order: bool,
    /// Its volumes; never empty.
    pub volumes: Vec<VolumeHeader>,
}

/// What a stream says of one of its volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeHeader {
    /// Its name at the source; `None` in formats for a single volume.
    pub name: Option<Name>,
    /// The size of the source; `None` in svd.
    pub size: Option<ByteCount>,
    /// The snapshot that the changes begin at; `None` if they begin at an empty disk.
    pub from: Option<Name>,
    /// The snapshot that the changes end at; `None` if they end at a state without a name.
    pub to: Option<Name>,
}

/// The content of an extent of a batch.
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
    /// Data that the source no longer needs. It reads as zeros afterwards: content that differs
    /// from device to device could not be compared with anything.
    Discard,
}

/// One extent of a batch and its content. Where two pieces of a batch overlap, the later one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The volume.
    pub volume: VolumeIndex,
    /// The extent.
    pub extent: Extent,
    /// Its content.
    pub content: Content,
}

/// A batch as a decoder reports it: the pieces, without the memory that holds the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The pieces, in the order of the stream; at most [`BATCH_PIECES_MAX`].
    pub pieces: Vec<Piece>,
    /// How many bytes of the arena are used; at most [`BATCH_BYTES_MAX`].
    pub payload_bytes: usize,
    /// The CRC32C of those bytes, where the format has one.
    pub checksum: Option<u32>,
}

/// A batch: the pieces and their payload. It is the unit of verification: all of it is written, or
/// nothing.
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
    /// The state after a power cut.
    CrashConsistent,
    /// The state that the application prepared.
    ApplicationConsistent,
}

/// A recovery point in the stream: everything before it makes up one state of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When the source was in this state.
    pub time: Timestamp,
    /// How consistent it is.
    pub kind: MarkKind,
    /// The name that the operator or the application gave it.
    pub name: Option<Name>,
    /// The protection group it belongs to.
    pub group: Option<Name>,
}

/// The totals of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Pieces: extents of any content, as the stream divides them.
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
    /// Its totals; the decoder has compared them with those that the stream states.
    pub totals: Totals,
    /// Whether the state at the end is one that the source was in: false for an svd stream whose
    /// write order was not kept, and for a raw image from a pipe that may have been cut.
    pub consistent: bool,
}

/// What a decoder returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A stream begins. An input can hold several: svd back to back, the diffs of an rbd export.
    Begin(StreamHeader),
    /// A batch is complete; the payload read since the last batch belongs to it.
    Batch(BatchHeader),
    /// A recovery point.
    Mark(Mark),
    /// The stream ended properly.
    End(End),
}

/// What a reader returns: [`Decoded`] with the payload.
#[derive(Debug)]
pub enum Frame {
    /// A stream begins.
    Begin(StreamHeader),
    /// A batch with its payload, which stays in the arena and is not copied.
    Batch(Batch),
    /// A recovery point.
    Mark(Mark),
    /// The stream ended properly.
    End(End),
}

/// What a decoder needs next. Never zero bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Exactly this many bytes, for [`Decoder::take`]; at most [`WANT_BYTES_MAX`].
    Bytes(usize),
    /// As `Bytes`, or the end of the input: [`Decoder::end`].
    BytesOrEnd(usize),
    /// Payload for the batch's arena, for [`Decoder::payload_taken`].
    Payload {
        /// Position in the arena; `position + length` is at most [`BATCH_BYTES_MAX`].
        position: usize,
        /// How many bytes.
        length: usize,
    },
    /// Compressed payload: read `stored` bytes, and unpack them to the start of the arena with
    /// [`native::compression::unpack`]; then call [`Decoder::payload_taken`].
    Compressed {
        /// The compression method.
        method: native::compression::Method,
        /// The number of bytes in the stream; at most [`BATCH_BYTES_MAX`].
        stored: usize,
        /// The number of bytes once unpacked; at most [`BATCH_BYTES_MAX`].
        unpacked: usize,
    },
    /// The end of the input; one more byte (for [`Decoder::take`]) is one too many.
    End,
}

/// A format as a state machine without input or output: pure, so that it can be fuzzed.
///
/// The caller's loop: first every [`event`](Self::event) there is; then what is
/// [`want`](Self::want)ed. After an error the caller stops, and drops the batch begun.
pub trait Decoder: Send {
    /// The next event that resulted from the bytes taken.
    fn event(&mut self) -> Option<Decoded>;

    /// What is needed next. Call this only when there is no event.
    fn want(&self) -> Want;

    /// Takes all of the bytes wanted.
    ///
    /// # Errors
    ///
    /// What is wrong with them, and where in the stream.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Malformed>;

    /// The wanted payload is in the arena (or was skipped: a decoder never looks at it).
    ///
    /// # Errors
    ///
    /// What is wrong, and where in the stream.
    fn payload_taken(&mut self) -> Result<(), Malformed>;

    /// The input ended where something was wanted.
    ///
    /// # Errors
    ///
    /// [`Problem::Truncated`] unless the input may end here.
    fn end(&mut self) -> Result<(), Malformed>;

    /// How many bytes of the input were taken so far, including payload.
    fn consumed(&self) -> u64;

    /// The chain of the records whose headers were taken so far, in a format that has one.
    fn chain(&self) -> Option<Chain> {
        None
    }
}
