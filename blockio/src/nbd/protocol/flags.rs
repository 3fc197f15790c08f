//! The flags of NBD, each with its bit.

use bitflags::bitflags;

bitflags! {
    /// The capabilities of an export, as announced in the handshake.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct TransmissionFlags: u16 {
        /// Flags are present.
        const HAS_FLAGS = 1 << 0;
        /// Writes are refused.
        const READ_ONLY = 1 << 1;
        /// `Flush` is supported.
        const SEND_FLUSH = 1 << 2;
        /// Writes may request to be durable when they are answered.
        const SEND_FUA = 1 << 3;
        /// `Trim` is supported.
        const SEND_TRIM = 1 << 5;
        /// `WriteZeroes` is supported.
        const SEND_WRITE_ZEROES = 1 << 6;
        /// A read may request a reply in one chunk (structured replies only).
        const SEND_DF = 1 << 7;
        /// Several connections see the same bytes.
        const CAN_MULTI_CONN = 1 << 8;
    }

    /// Flags of a request besides its command. A client may set others, which are kept: they are
    /// refused with an answer.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct CommandFlags: u16 {
        /// The write must be durable when answered.
        const FUA = 1 << 0;
        /// Zeros must take up space.
        const NO_HOLE = 1 << 1;
        /// Reply in one chunk.
        const DF = 1 << 2;
        /// Reply with one extent.
        const REQ_ONE = 1 << 3;
        /// Write zeros only if that is fast.
        const FAST_ZERO = 1 << 4;
    }

    /// The status of an extent, in the context `base:allocation`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct AllocationFlags: u32 {
        /// Nothing is stored for it.
        const HOLE = 1 << 0;
        /// It reads as zeros.
        const ZERO = 1 << 1;
    }
}
