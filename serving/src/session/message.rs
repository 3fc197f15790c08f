//! The messages of a session: what the bodies in JSON hold. Pure.

use blockio::stream::Totals;
use blockio::stream::content::Chain;
use blockio::stream::native::Cursor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::session::frame::BadFrame;
use crate::{Error, ErrorKind};

/// The sender introduces itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the protocol.
    pub version: u32,
    /// The program, for the log.
    pub program: String,
    /// The name of the sender within its identity.
    pub sender: String,
    /// Larger in each session of this sender.
    pub generation: u64,
}

/// The receiver takes the sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version of the protocol.
    pub version: u32,
    /// The program, for the log.
    pub program: String,
    /// Each side sends something at least that often.
    pub keep_alive_seconds: u64,
}

/// A stream for a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The group.
    pub group: String,
}

/// Where the stream is to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// All of it was applied before: nothing is to be sent.
    #[serde(default)]
    pub taken: bool,
    /// Everything up to there is durable; `None` if nothing is.
    #[serde(default)]
    pub resume: Option<Known>,
}

/// A place in a stream that the receiver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// How many bytes of the stream are before it.
    pub position: u64,
    /// The chain of the records before it.
    #[serde(with = "hex")]
    pub chain: [u8; 16],
}

/// Where the stream does go on. At position 0, which needs nothing else, it begins again after its
/// header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// How many bytes of the stream are before it.
    pub position: u64,
    /// The sequence number of the next record.
    #[serde(default)]
    pub sequence: u64,
    /// The chain of the records before it.
    #[serde(default, with = "hex")]
    pub chain: [u8; 16],
    /// The totals of the records before it.
    #[serde(default)]
    pub totals: Counted,
}

/// The totals of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Extents of any content.
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

impl From<Cursor> for Resume {
    fn from(cursor: Cursor) -> Self {
        let Cursor { position, sequence, totals, chain } = cursor;
        let Totals { extents, data_bytes, zero_bytes, discard_bytes, marks } = totals;
        let totals = Counted { extents, data_bytes, zero_bytes, discard_bytes, marks };
        Self { position, sequence, chain: chain.0, totals }
    }
}

impl From<Resume> for Cursor {
    fn from(resume: Resume) -> Self {
        let Resume { position, sequence, chain, totals } = resume;
        let Counted { extents, data_bytes, zero_bytes, discard_bytes, marks } = totals;
        let totals = Totals { extents, data_bytes, zero_bytes, discard_bytes, marks };
        Self { position, sequence, totals, chain: Chain(chain) }
    }
}

/// All of the stream is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// How many recovery points it made.
    pub points: u64,
}

/// The receiver refuses, and closes the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What kind of refusal.
    pub kind: RefusedKind,
    /// Why.
    pub text: String,
    /// What to do now.
    #[serde(default)]
    pub hint: Option<String>,
}

/// The kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefusedKind {
    /// What was asked for cannot be acted on.
    Usage,
    /// A guard refuses.
    Refused,
    /// Bytes are not what they should be.
    Integrity,
    /// Something did not work; it may work later.
    Failed,
    /// Somebody else is at it; later it will work.
    Busy,
}

impl RefusedKind {
    /// Whether the same may be accepted later.
    #[must_use]
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Failed | Self::Busy)
    }
}

/// The most bytes of a text in a refusal, so that the message fits its frame.
const TEXT_BYTES_MAX: usize = 900;

impl Refused {
    /// The refusal for `error`, with `hint` in the words of the command, if there is one.
    #[must_use]
    pub fn of(error: &Error, hint: Option<&str>) -> Self {
        let kind = match error.kind() {
            ErrorKind::Usage | ErrorKind::NotReady => RefusedKind::Usage,
            ErrorKind::Refused => RefusedKind::Refused,
            ErrorKind::Integrity => RefusedKind::Integrity,
            ErrorKind::Failed => RefusedKind::Failed,
        };
        Self { kind, text: shortened(&error.chain()), hint: hint.map(shortened) }
    }

    /// The same as an error of the sender, which calls the receiver `receiver`.
    #[must_use]
    pub fn into_error(self, receiver: &str) -> Error {
        let kind = match self.kind {
            RefusedKind::Usage => ErrorKind::Usage,
            RefusedKind::Refused => ErrorKind::Refused,
            RefusedKind::Integrity => ErrorKind::Integrity,
            RefusedKind::Failed | RefusedKind::Busy => ErrorKind::Failed,
        };
        let error = Error::new(kind, format!("{receiver}: {}", self.text));
        match self.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// At most [`TEXT_BYTES_MAX`] of `text`; JSON makes two bytes of some characters, and six of
/// control characters: those become blanks.
fn shortened(text: &str) -> String {
    let plain = text.chars().map(|one| if one.is_control() { ' ' } else { one });
    let mut short = String::new();
    for one in plain {
        if short.len() + one.len_utf8() > TEXT_BYTES_MAX {
            break;
        }
        short.push(one);
    }
    short
}

/// The message in `body`.
///
/// # Errors
///
/// It is another one.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, BadFrame> {
    serde_json::from_slice(body).map_err(|error| BadFrame::Message(error.to_string()))
}

/// The body of `message`.
#[must_use]
pub fn body(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("invariant: messages have string keys only")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::frame::MESSAGE_BYTES_MAX;

    #[test]
    fn the_messages_of_the_document_are_read_and_written_as_they_stand_there() {
        let document = include_str!("../../../docs/format/session-v1.md");
        let known = Known { position: 4_194_304, chain: std::array::from_fn(|i| i as u8 * 0x11) };
        let hello = Hello {
            version: 1,
            program: "mtctl 0.1.0".to_owned(),
            sender: "db-1".to_owned(),
            generation: 7,
        };
        let texts = [
            body(&hello),
            body(&Welcome {
                version: 1,
                program: "mtctl 0.1.0".to_owned(),
                keep_alive_seconds: 10,
            }),
            body(&Offer { group: "web".to_owned() }),
            body(&Taken { points: 3 }),
        ];
        let plain = |text: &str| text.split_whitespace().collect::<String>();
        for text in texts {
            let text = String::from_utf8(text).unwrap();
            assert!(plain(document).contains(&plain(&text)), "{text}");
        }
        let resume = body(&known);
        assert!(plain(document).contains(std::str::from_utf8(&resume).unwrap()));
        assert_eq!(read::<Hello>(&body(&hello)).unwrap(), hello);
        assert_eq!(read::<Resume>(b"{\"position\": 0}").unwrap(), Resume::default());
        let answer: Answer = read(b"{\"resume\": null, \"later\": 1}").unwrap();
        assert_eq!(answer, Answer::default());
    }

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let totals =
            Totals { extents: 1, data_bytes: 2, zero_bytes: 3, discard_bytes: 4, marks: 5 };
        let cursor = Cursor { position: 8192, sequence: 2, totals, chain: Chain([7; 16]) };
        let resume: Resume = read(&body(&Resume::from(cursor))).unwrap();
        assert_eq!(Cursor::from(resume), cursor);
    }

    #[test]
    fn a_refusal_fits_its_frame_whatever_it_says() {
        for letter in ['x', 'ü', '\n', '"', '\u{7f}'] {
            let long = String::from(letter).repeat(10_000);
            let error = Error::refused(long.clone());
            let refused = body(&Refused::of(&error, Some(&long)));
            assert!(refused.len() <= MESSAGE_BYTES_MAX as usize, "{letter}: {}", refused.len());
        }
    }
}
