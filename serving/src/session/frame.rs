//! The frames of a session: kind, length, body. Pure.

use nom::Parser;
use nom::bytes::complete::tag;
use nom::error::Error;
use nom::number::complete::{le_u8, le_u32};
use thiserror::Error as ThisError;

/// The length of a frame's header, in bytes.
pub const HEADER_BYTES: usize = 8;
/// The longest body in JSON, in bytes.
pub const MESSAGE_BYTES_MAX: u32 = 4 << 10;
/// The longest body with records, in bytes.
pub const RECORDS_BYTES_MAX: u32 = 1 << 20;
/// The length of a position, in bytes.
pub const POSITION_BYTES: u32 = 8;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The sender introduces itself.
    Hello,
    /// The receiver takes it.
    Welcome,
    /// A stream for a group.
    Offer,
    /// Bytes of the stream.
    Records,
    /// Where the stream is to go on.
    Answer,
    /// Where it does go on.
    Resume,
    /// Everything up to a position is durable.
    Durable,
    /// The connection is alive.
    KeepAlive,
    /// All of the stream is durable.
    Taken,
    /// Nothing follows.
    End,
    /// The receiver refuses, and says why.
    Refused,
}

/// All kinds with their numbers.
const KINDS: [(u8, Kind); 11] = [
    (1, Kind::Hello),
    (2, Kind::Welcome),
    (3, Kind::Offer),
    (4, Kind::Records),
    (5, Kind::Answer),
    (6, Kind::Resume),
    (7, Kind::Durable),
    (8, Kind::KeepAlive),
    (9, Kind::Taken),
    (10, Kind::End),
    (11, Kind::Refused),
];

impl Kind {
    fn number(self) -> u8 {
        let found = KINDS.iter().find(|(_, kind)| *kind == self);
        found.map(|(number, _)| *number).expect("invariant: every kind is in the table")
    }

    /// The least and the most that the body of such a frame may have, in bytes.
    fn body_bytes(self) -> (u32, u32) {
        match self {
            Self::Records => (1, RECORDS_BYTES_MAX),
            Self::Durable => (POSITION_BYTES, POSITION_BYTES),
            Self::KeepAlive | Self::End => (0, 0),
            Self::Hello
            | Self::Welcome
            | Self::Offer
            | Self::Answer
            | Self::Resume
            | Self::Taken
            | Self::Refused => (2, MESSAGE_BYTES_MAX),
        }
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// The length of its body, in bytes.
    pub length: u32,
}

/// What is wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum BadFrame {
    /// Its kind is not known.
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    /// Its reserved bytes are not zero.
    #[error("a frame whose reserved bytes are not zero")]
    Reserved,
    /// Its body is too long or too short.
    #[error("a frame of {length} bytes, where {least} to {most} are allowed")]
    Length {
        /// Of the body.
        length: u32,
        /// Allowed.
        least: u32,
        /// Allowed.
        most: u32,
    },
    /// Its body is not the JSON that it should be.
    #[error("a message that cannot be read: {0}")]
    Message(String),
    /// It does not belong there.
    #[error("a frame that is not expected there: {0:?}")]
    NotExpected(Kind),
}

impl Header {
    /// The header in these bytes.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(bytes: &[u8; HEADER_BYTES]) -> Result<Self, BadFrame> {
        let mut layout = (le_u8::<_, Error<&[u8]>>, tag(&[0, 0, 0][..]), le_u32);
        let Ok((_, (number, _, length))) = layout.parse(&bytes[..]) else {
            return Err(BadFrame::Reserved);
        };
        let found = KINDS.iter().find(|(known, _)| *known == number);
        let kind = found.map(|(_, kind)| *kind).ok_or(BadFrame::UnknownKind(number))?;
        let (least, most) = kind.body_bytes();
        if !(least..=most).contains(&length) {
            return Err(BadFrame::Length { length, least, most });
        }
        Ok(Self { kind, length })
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = self.kind.number();
        bytes[4..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn a_frame_that_breaks_a_rule_is_refused_for_that_rule() {
        let read = |bytes: [u8; 8]| Header::read(&bytes);
        assert_eq!(read([0, 0, 0, 0, 0, 0, 0, 0]), Err(BadFrame::UnknownKind(0)));
        assert_eq!(read([12, 0, 0, 0, 0, 0, 0, 0]), Err(BadFrame::UnknownKind(12)));
        for reserved in 1..4 {
            let mut bytes = [8, 0, 0, 0, 0, 0, 0, 0];
            bytes[reserved] = 1;
            assert_eq!(read(bytes), Err(BadFrame::Reserved));
        }
        let (length, least, most) = ((1 << 20) + 1, 1, 1 << 20);
        assert_eq!(read([4, 0, 0, 0, 1, 0, 16, 0]), Err(BadFrame::Length { length, least, most }));
        assert!(read([4, 0, 0, 0, 0, 0, 16, 0]).is_ok());
        for (kind, length) in [(7, 7), (7, 9), (8, 1), (10, 1), (1, 1), (4, 0)] {
            let refused = read([kind, 0, 0, 0, length, 0, 0, 0]);
            assert!(matches!(refused, Err(BadFrame::Length { .. })), "{kind} {length}");
        }
    }

    proptest! {
        #[test]
        fn a_header_that_is_read_is_the_one_that_was_written(bytes in any::<[u8; HEADER_BYTES]>()) {
            if let Ok(header) = Header::read(&bytes) {
                prop_assert_eq!(header.bytes(), bytes);
            }
        }
    }
}
