//! A group's state as text: the whole state, and then the changes since, one piece per save. Pure.
//!
//! A piece is one line of JSON and one line with its CRC32C, so that it can be read by eye, and an
//! edit by hand, or half a file, is noticed. The checksum continues from that of the piece before
//! it: a piece fits after the text that it was made for, and after no other.

use crate::journal::change::{Change, DoesNotFollow};
use crate::journal::state::{GroupState, VERSION};

/// Why a text is not a state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// There is no second line, or it is not a checksum.
    #[error("its checksum is missing: it is incomplete")]
    NoChecksum,
    /// The first line does not match its checksum.
    #[error("its checksum is {found:08x}, but the file says {expected:08x}")]
    Checksum {
        /// The checksum of the first line.
        found: u32,
        /// The checksum in the second line.
        expected: u32,
    },
    /// Not JSON of this shape.
    #[error("it is not in the form that this version writes")]
    Json(#[from] serde_json::Error),
    /// The version is not one that this program knows.
    #[error("its version is {0}, but this program knows only 1 to {VERSION}")]
    Version(u32),
    /// An appended piece is damaged, and not only where a crash would have left it.
    #[error("what was appended to it is damaged")]
    Appended,
}

impl From<DoesNotFollow> for StateError {
    fn from(_: DoesNotFollow) -> Self {
        Self::Appended
    }
}

/// The end of a text, and what may be appended there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The length of the text.
    pub(crate) bytes: u64,
    /// How much of it was appended.
    appended_bytes: u64,
    checksum: u32,
}

/// At least this many bytes may be appended; beyond that, as much as the whole state takes.
const APPENDED_BYTES_MIN: u64 = 64 << 10;
/// At most this many bytes may be appended: every reader has to read them with the whole.
const APPENDED_BYTES_MAX: u64 = 4 << 20;

/// `state` as a whole, and the end to append changes to.
pub(crate) fn print_whole(state: &GroupState) -> (String, End) {
    let (text, checksum) = piece(state, 0);
    let end = End { bytes: text.len() as u64, appended_bytes: 0, checksum };
    (text, end)
}

/// `state` as a whole.
#[must_use]
pub fn print(state: &GroupState) -> String {
    print_whole(state).0
}

impl End {
    /// `change` as an appended piece, and the new end. `None` once too much would be appended: then
    /// the whole state is written again, which enough changes have paid for.
    pub(crate) fn append(&self, change: &Change) -> Option<(String, Self)> {
        let (text, checksum) = piece(change, self.checksum);
        let (bytes, appended_bytes) =
            (self.bytes + text.len() as u64, self.appended_bytes + text.len() as u64);
        let whole_bytes = self.bytes - self.appended_bytes;
        let fits = appended_bytes <= whole_bytes.clamp(APPENDED_BYTES_MIN, APPENDED_BYTES_MAX);
        fits.then_some((text, Self { bytes, appended_bytes, checksum }))
    }
}

fn piece(of: &impl serde::Serialize, after: u32) -> (String, u32) {
    let json = serde_json::to_string(of).expect("invariant: maps with text keys print as JSON");
    let checksum = crc32c::crc32c_append(after, json.as_bytes());
    // Not copied: the JSON may be long.
    let mut text = json;
    text.push_str(&format!("\ncrc32c {checksum:08x}\n"));
    (text, checksum)
}

/// A parsed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) state: GroupState,
    /// The last piece is incomplete, and was ignored.
    pub(crate) is_torn: bool,
    /// The version that wrote it.
    pub(crate) version: u32,
}

/// Parses `text` to a state.
///
/// An incomplete last piece is ignored: a crash left it during the append, and nothing that depends
/// on it has been done. That holds for one copy: a crash never tears both.
///
/// # Errors
///
/// Why it is not a state.
pub fn parse(text: &str) -> Result<GroupState, StateError> {
    parse_copy(text).map(|parsed| parsed.state)
}

/// As [`parse`], and whether its end is torn.
pub(crate) fn parse_copy(text: &str) -> Result<Parsed, StateError> {
    let (json, mut checksum, mut rest) = split(text, 0)?;
    let mut state: GroupState = serde_json::from_str(json)?;
    let version = state.version();
    if !(1..=VERSION).contains(&version) {
        return Err(StateError::Version(version));
    }
    while !rest.is_empty() {
        let Ok((json, next, after)) = split(rest, checksum) else {
            return match may_be_torn(rest) {
                true => Ok(Parsed { state: state.of_today(), is_torn: true, version }),
                false => Err(StateError::Appended),
            };
        };
        let change: Change = serde_json::from_str(json)?;
        change.apply(&mut state)?;
        (checksum, rest) = (next, after);
    }
    // It will be saved in the current version.
    Ok(Parsed { state: state.of_today(), is_torn: false, version })
}

/// The JSON of the first piece of `text`, its checksum, and the text after it.
fn split(text: &str, after: u32) -> Result<(&str, u32, &str), StateError> {
    let (json, rest) = text.split_once('\n').ok_or(StateError::NoChecksum)?;
    let (last, rest) = rest.split_once('\n').ok_or(StateError::NoChecksum)?;
    let expected = last
        .strip_prefix("crc32c ")
        .and_then(|hex| u32::from_str_radix(hex, 16).ok())
        .ok_or(StateError::NoChecksum)?;
    let found = crc32c::crc32c_append(after, json.as_bytes());
    match found == expected {
        true => Ok((json, found, rest)),
        false => Err(StateError::Checksum { found, expected }),
    }
}

/// Whether `rest` is no more than part of one piece: each is durable before the next is appended.
fn may_be_torn(rest: &str) -> bool {
    rest.split_inclusive('\n').count() <= 2
}

#[cfg(test)]
mod tests;
