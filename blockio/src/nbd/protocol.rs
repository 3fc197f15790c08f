//! The bytes of NBD: its numbers, parsing requests, building replies. Pure: there is no I/O here,
//! and nothing from a client is believed before its length is checked. The messages before a disk
//! is chosen are in [`option`].

use nom::combinator::verify;
use nom::multi::length_data;
use nom::number::complete::{be_u16, be_u32, be_u64};
use nom::{IResult, Parser};

mod flags;
pub mod option;

pub use flags::{AllocationFlags, CommandFlags, TransmissionFlags};

/// The longest read or write that a client may request, in bytes.
pub(crate) const PAYLOAD_BYTES_MAX: u32 = 32 << 20;
/// The longest name of an export, and the longest message, in bytes.
pub(crate) const STRING_BYTES_MAX: usize = 4096;
/// The length of a request without its payload, in bytes.
pub(crate) const REQUEST_BYTES: usize = 28;
/// The length of a simple reply without its payload, in bytes.
pub(crate) const SIMPLE_REPLY_BYTES: usize = 16;
/// The length of a structured reply's header, in bytes.
pub(crate) const CHUNK_HEADER_BYTES: usize = 20;
/// The context ID of `base:allocation` here.
pub(crate) const ALLOCATION_CONTEXT: u32 = 1;

const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
const CHUNK_MAGIC: u32 = 0x668e_33ef;

/// The command of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandType {
    /// Read bytes.
    Read,
    /// Write bytes; they follow the request.
    Write,
    /// The client disconnects; there is no reply.
    Disconnect,
    /// Make written data durable.
    Flush,
    /// The data is no longer needed.
    Trim,
    /// Write zeros.
    WriteZeroes,
    /// Query what is known to be zeros.
    BlockStatus,
    /// Anything else, to be refused.
    Unknown(u16),
}

impl CommandType {
    fn of(number: u16) -> Self {
        match number {
            0 => Self::Read,
            1 => Self::Write,
            2 => Self::Disconnect,
            3 => Self::Flush,
            4 => Self::Trim,
            6 => Self::WriteZeroes,
            7 => Self::BlockStatus,
            other => Self::Unknown(other),
        }
    }

    /// The flags that are allowed with it.
    #[must_use]
    pub(crate) fn flags_allowed(self) -> CommandFlags {
        let own = match self {
            Self::Read => CommandFlags::DF,
            Self::WriteZeroes => CommandFlags::NO_HOLE | CommandFlags::FAST_ZERO,
            Self::BlockStatus => CommandFlags::REQ_ONE,
            Self::Write | Self::Disconnect | Self::Flush | Self::Trim | Self::Unknown(_) => {
                CommandFlags::empty()
            }
        };
        own | CommandFlags::FUA
    }
}

/// One request, without the payload of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its flags, including any that nobody knows.
    pub flags: CommandFlags,
    /// The command.
    pub command: CommandType,
    /// The client's ID of this request, which the reply repeats.
    pub cookie: u64,
    /// Offset on the disk, in bytes.
    pub offset: u64,
    /// Length, in bytes: not checked against the disk.
    pub length: u32,
}

/// A protocol violation by a client; nothing it sends afterwards can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// A request without the request magic.
    #[error("a request begins with {0:#010x}")]
    RequestMagic(u32),
    /// An option without the option magic.
    #[error("an option begins with {0:#018x}")]
    OptionMagic(u64),
    /// Flags that this server did not offer.
    #[error("client flags {0:#x}")]
    ClientFlags(u32),
    /// A write of more than `PAYLOAD_BYTES_MAX`.
    #[error("a write of {0} bytes")]
    WriteTooLong(u32),
    /// The old way to choose an export, with the name of no export.
    #[error("there is no export of that name")]
    NoSuchExport,
}

impl Request {
    /// Parses a request.
    ///
    /// # Errors
    ///
    /// [`Breach::RequestMagic`], and [`Breach::WriteTooLong`]: a payload of that length is not
    /// read.
    pub fn parse(bytes: &[u8; REQUEST_BYTES]) -> Result<Self, Breach> {
        let parsed: IResult<_, _, ()> =
            (be_u32, be_u16, be_u16, be_u64, be_u64, be_u32).parse(bytes.as_slice());
        let (_, (magic, flags, command, cookie, offset, length)) =
            parsed.expect("invariant: a request has the length of its fields");
        if magic != REQUEST_MAGIC {
            return Err(Breach::RequestMagic(magic));
        }
        let (flags, command) = (CommandFlags::from_bits_retain(flags), CommandType::of(command));
        let request = Self { flags, command, cookie, offset, length };
        if request.command == CommandType::Write && request.length > PAYLOAD_BYTES_MAX {
            return Err(Breach::WriteTooLong(request.length));
        }
        Ok(request)
    }
}

/// The error of a request, in the protocol's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EPERM: the export is read-only.
    ReadOnly,
    /// EIO: the disk failed.
    Disk,
    /// EINVAL: not understood, or past the end.
    Invalid,
    /// ENOSPC: past the end, or no room for the data.
    NoSpace,
    /// EOVERFLOW: too long for one piece.
    TooLong,
    /// ENOTSUP: not supported.
    Unsupported,
}

impl Fault {
    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::ReadOnly => 1,
            Self::Disk => 5,
            Self::Invalid => 22,
            Self::NoSpace => 28,
            Self::TooLong => 75,
            Self::Unsupported => 95,
        }
    }
}

/// A part of a structured reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// No content: the request is done.
    Nothing,
    /// Data: its offset (8 bytes) and the bytes follow.
    Data,
    /// A hole: its offset (8 bytes) and its length (4 bytes) follow.
    Hole,
    /// Block status: the context (4 bytes) and descriptors (8 bytes each) follow.
    BlockStatus,
    /// An error: its number (4 bytes), and a message after its length (2 bytes) follow.
    Error,
}

impl Chunk {
    fn number(self) -> u16 {
        match self {
            Self::Nothing => 0,
            Self::Data => 1,
            Self::Hole => 2,
            Self::BlockStatus => 5,
            Self::Error => 1 << 15 | 1,
        }
    }
}

/// A simple reply without its payload.
#[must_use]
pub(crate) fn simple_reply(cookie: u64, fault: Option<Fault>) -> [u8; SIMPLE_REPLY_BYTES] {
    let mut reply = [0; SIMPLE_REPLY_BYTES];
    reply[..4].copy_from_slice(&SIMPLE_REPLY_MAGIC.to_be_bytes());
    reply[4..8].copy_from_slice(&fault.map_or(0, Fault::number).to_be_bytes());
    reply[8..].copy_from_slice(&cookie.to_be_bytes());
    reply
}

/// The header of a chunk that `length` bytes follow; `is_last` ends the reply.
#[must_use]
pub(crate) fn chunk_header(
    cookie: u64,
    chunk: Chunk,
    is_last: bool,
    length: u32,
) -> [u8; CHUNK_HEADER_BYTES] {
    let mut header = [0; CHUNK_HEADER_BYTES];
    header[..4].copy_from_slice(&CHUNK_MAGIC.to_be_bytes());
    header[4..6].copy_from_slice(&u16::from(is_last).to_be_bytes());
    header[6..8].copy_from_slice(&chunk.number().to_be_bytes());
    header[8..16].copy_from_slice(&cookie.to_be_bytes());
    header[16..].copy_from_slice(&length.to_be_bytes());
    header
}

/// A whole chunk for a hole.
#[must_use]
pub(crate) fn hole_chunk(cookie: u64, is_last: bool, offset: u64, length: u32) -> Vec<u8> {
    let mut chunk = chunk_header(cookie, Chunk::Hole, is_last, 12).to_vec();
    chunk.extend(offset.to_be_bytes());
    chunk.extend(length.to_be_bytes());
    chunk
}

/// A whole chunk that ends a reply with an error, without a message.
#[must_use]
pub(crate) fn error_chunk(cookie: u64, fault: Fault) -> Vec<u8> {
    let mut chunk = chunk_header(cookie, Chunk::Error, true, 6).to_vec();
    chunk.extend(fault.number().to_be_bytes());
    chunk.extend(0_u16.to_be_bytes());
    chunk
}

/// A whole chunk that ends a reply with the block status: lengths, each with its
/// flags.
#[must_use]
pub(crate) fn block_status_chunk(cookie: u64, descriptors: &[(u32, AllocationFlags)]) -> Vec<u8> {
    let length = (4 + 8 * descriptors.len()) as u32;
    let mut chunk = chunk_header(cookie, Chunk::BlockStatus, true, length).to_vec();
    chunk.extend(ALLOCATION_CONTEXT.to_be_bytes());
    for (length, flags) in descriptors {
        chunk.extend(length.to_be_bytes());
        chunk.extend(flags.bits().to_be_bytes());
    }
    chunk
}

/// A string preceded by its length, of at most [`STRING_BYTES_MAX`].
fn string(input: &[u8]) -> IResult<&[u8], &str, ()> {
    let length = verify(be_u32, |length| *length as usize <= STRING_BYTES_MAX);
    length_data(length).map_opt(|bytes| std::str::from_utf8(bytes).ok()).parse(input)
}

#[cfg(test)]
mod tests;
