//! The messages before a disk is chosen: the greeting, the options of a client, and their replies.
//! The order in which they may come is up to `handshake`.

use nom::combinator::all_consuming;
use nom::multi::length_count;
use nom::number::complete::{be_u16, be_u32, be_u64};
use nom::{IResult, Parser};

use crate::nbd::protocol::{
    ALLOCATION_CONTEXT, Breach, PAYLOAD_BYTES_MAX, TransmissionFlags, string,
};

/// The length of an option without its data, in bytes.
pub(crate) const OPTION_HEADER_BYTES: usize = 16;
/// The longest data of an option that is parsed, in bytes; longer data is skipped and refused.
pub(crate) const OPTION_DATA_BYTES_MAX: u32 = 64 << 10;
/// The name of the only metadata context.
pub(crate) const ALLOCATION: &str = "base:allocation";

const GREETING_MAGIC: &[u8; 8] = b"NBDMAGIC";
const OPTION_MAGIC: u64 = 0x4948_4156_454F_5054;
const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const FIXED_NEWSTYLE: u16 = 1 << 0;
const NO_ZEROES: u16 = 1 << 1;
/// The minimum, preferred and maximum size of a request, in bytes: any, a page, and the most.
const BLOCK_SIZES: [u32; 3] = [1, 4096, PAYLOAD_BYTES_MAX];
/// How many zeros end the reply to the oldest option, unless the client does not want them.
const TRAILING_ZEROES: usize = 124;

/// The first message of the server.
#[must_use]
pub(crate) fn greeting() -> [u8; 18] {
    let mut greeting = [0; 18];
    greeting[..8].copy_from_slice(GREETING_MAGIC);
    greeting[8..16].copy_from_slice(&OPTION_MAGIC.to_be_bytes());
    greeting[16..].copy_from_slice(&(FIXED_NEWSTYLE | NO_ZEROES).to_be_bytes());
    greeting
}

/// The client's reply to the greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientFlags {
    /// Do not send the zeros after the reply to [`Code::ExportName`].
    pub no_zeroes: bool,
}

impl ClientFlags {
    /// Parses the flags.
    ///
    /// # Errors
    ///
    /// [`Breach::ClientFlags`]: a flag that was not offered.
    pub fn parse(bytes: [u8; 4]) -> Result<Self, Breach> {
        let flags = u32::from_be_bytes(bytes);
        if flags & !u32::from(FIXED_NEWSTYLE | NO_ZEROES) != 0 {
            return Err(Breach::ClientFlags(flags));
        }
        Ok(Self { no_zeroes: flags & u32::from(NO_ZEROES) != 0 })
    }
}

/// The option codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Choose an export, the old way: no error can be reported.
    ExportName,
    /// End the negotiation.
    Abort,
    /// List the exports.
    List,
    /// Describe an export.
    Info,
    /// Describe an export, and choose it.
    Go,
    /// Use structured replies from now on.
    StructuredReply,
    /// List metadata contexts.
    ListMetaContext,
    /// Select metadata contexts.
    SetMetaContext,
    /// Anything else, to be refused: STARTTLS, EXTENDED_HEADERS, future options.
    Unknown,
}

/// The header of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The option number, which replies repeat.
    pub number: u32,
    /// The length of the data that follows, in bytes: not bounded yet.
    pub length: u32,
}

impl Header {
    /// Parses a header.
    ///
    /// # Errors
    ///
    /// [`Breach::OptionMagic`].
    pub fn parse(bytes: &[u8; OPTION_HEADER_BYTES]) -> Result<Self, Breach> {
        let parsed: IResult<_, _, ()> = (be_u64, be_u32, be_u32).parse(bytes.as_slice());
        let (_, (magic, number, length)) =
            parsed.expect("invariant: a header has the length of its fields");
        match magic {
            OPTION_MAGIC => Ok(Self { number, length }),
            _ => Err(Breach::OptionMagic(magic)),
        }
    }

    /// The code for the number.
    #[must_use]
    pub fn code(self) -> Code {
        match self.number {
            1 => Code::ExportName,
            2 => Code::Abort,
            3 => Code::List,
            6 => Code::Info,
            7 => Code::Go,
            8 => Code::StructuredReply,
            9 => Code::ListMetaContext,
            10 => Code::SetMetaContext,
            _ => Code::Unknown,
        }
    }
}

/// The data of [`Code::Info`] and [`Code::Go`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfoRequest<'a> {
    /// The export; empty for the default one.
    pub name: &'a str,
    /// Whether the reply must include the name.
    pub wants_name: bool,
}

const INFO_EXPORT: u16 = 0;
const INFO_NAME: u16 = 1;
const INFO_BLOCK_SIZE: u16 = 3;

impl<'a> InfoRequest<'a> {
    /// Parses the data of the option; `None` if it is malformed.
    #[must_use]
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        // Whatever count the client states, `length_count` allocates 64 KiB at most beforehand.
        let fields = (string, length_count(be_u16, be_u16));
        let (_, (name, wanted)) = all_consuming(fields).parse(data).ok()?;
        Some(Self { name, wants_name: wanted.contains(&INFO_NAME) })
    }
}

/// The data of [`Code::ListMetaContext`] and [`Code::SetMetaContext`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextRequest<'a> {
    /// The export; empty for the default one.
    pub name: &'a str,
    /// Patterns of contexts, as many as the data has room for.
    pub queries: Vec<&'a str>,
}

impl<'a> ContextRequest<'a> {
    /// Parses the data of the option; `None` if it is malformed.
    #[must_use]
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let (mut data, (name, count)) = (string, be_u32).parse(data).ok()?;
        // Grows with the actual data, not with the count that the client states.
        let mut queries = Vec::new();
        for _ in 0..count {
            let (rest, query) = string(data).ok()?;
            queries.push(query);
            data = rest;
        }
        data.is_empty().then_some(Self { name, queries })
    }

    /// Whether `base:allocation` is to be listed: by an empty query, by `base:`, or by its name.
    #[must_use]
    pub(crate) fn lists_allocation(&self) -> bool {
        let matches = |query: &&str| *query == "base:" || *query == ALLOCATION;
        self.queries.is_empty() || self.queries.iter().any(matches)
    }

    /// Whether `base:allocation` is selected: only by its name.
    #[must_use]
    pub(crate) fn chooses_allocation(&self) -> bool {
        self.queries.contains(&ALLOCATION)
    }
}

/// The type of a reply to an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done.
    Acknowledged,
    /// An entry of the list of exports.
    Server,
    /// Information about an export.
    Info,
    /// A metadata context.
    MetaContext,
    /// The option is unknown.
    Unsupported,
    /// The option is known, but its data is wrong, or it comes too early.
    Invalid,
    /// No export has that name.
    UnknownExport,
    /// The data is too long.
    TooBig,
}

impl Reply {
    fn number(self) -> u32 {
        const ERROR: u32 = 1 << 31;
        match self {
            Self::Acknowledged => 1,
            Self::Server => 2,
            Self::Info => 3,
            Self::MetaContext => 4,
            Self::Unsupported => ERROR | 1,
            Self::Invalid => ERROR | 3,
            Self::UnknownExport => ERROR | 6,
            Self::TooBig => ERROR | 9,
        }
    }
}

/// A reply to `option` with `data`; for an error, the data is a message for people.
#[must_use]
pub(crate) fn reply(option: Header, reply: Reply, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20 + data.len());
    bytes.extend(REPLY_MAGIC.to_be_bytes());
    bytes.extend(option.number.to_be_bytes());
    bytes.extend(reply.number().to_be_bytes());
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(data);
    bytes
}

/// One export in the list.
#[must_use]
pub(crate) fn server_reply(option: Header, name: &str) -> Vec<u8> {
    let mut data = (name.len() as u32).to_be_bytes().to_vec();
    data.extend(name.as_bytes());
    reply(option, Reply::Server, &data)
}

/// The reply for `base:allocation`; a list has no ID.
#[must_use]
pub(crate) fn allocation_reply(option: Header) -> Vec<u8> {
    let id = if option.code() == Code::SetMetaContext { ALLOCATION_CONTEXT } else { 0 };
    let mut data = id.to_be_bytes().to_vec();
    data.extend(ALLOCATION.as_bytes());
    reply(option, Reply::MetaContext, &data)
}

/// Describes an export: all replies to [`Code::Info`] and [`Code::Go`], including the last.
#[must_use]
pub(crate) fn info_replies(
    option: Header,
    name: Option<&str>,
    bytes: u64,
    transmission_flags: TransmissionFlags,
) -> Vec<u8> {
    let mut export = INFO_EXPORT.to_be_bytes().to_vec();
    export.extend(bytes.to_be_bytes());
    export.extend(transmission_flags.bits().to_be_bytes());
    let mut sizes = INFO_BLOCK_SIZE.to_be_bytes().to_vec();
    BLOCK_SIZES.iter().for_each(|size| sizes.extend(size.to_be_bytes()));
    let mut all = reply(option, Reply::Info, &export);
    all.extend(reply(option, Reply::Info, &sizes));
    if let Some(name) = name {
        let data = [&INFO_NAME.to_be_bytes(), name.as_bytes()].concat();
        all.extend(reply(option, Reply::Info, &data));
    }
    all.extend(reply(option, Reply::Acknowledged, &[]));
    all
}

/// The reply to [`Code::ExportName`].
#[must_use]
pub(crate) fn export_name_reply(
    client: ClientFlags,
    bytes: u64,
    transmission_flags: TransmissionFlags,
) -> Vec<u8> {
    let mut reply = bytes.to_be_bytes().to_vec();
    reply.extend(transmission_flags.bits().to_be_bytes());
    if !client.no_zeroes {
        reply.resize(reply.len() + TRAILING_ZEROES, 0);
    }
    reply
}
