//! A group's state as text: whole, and then what was changed since, a piece for each save. Pure.
//!
//! A piece is one line of JSON and one line with its CRC32C, so that it can be read by eye and
//! a change by hand, or half a file, is noticed. The checksum goes on from that of the piece before
//! it: a piece fits behind the text that it was made for, and behind no other.

use crate::journal::change::{Change, DoesNotFollow};
use crate::journal::state::{GroupState, VERSION};

/// Why a text is no state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// There is no second line, or it is no checksum.
    #[error("where its checksum belongs is none: it is not whole")]
    NoChecksum,
    /// The first line is not what was written.
    #[error("its checksum is {found:08x}, and what is written there says {expected:08x}")]
    Checksum {
        /// Of the first line.
        found: u32,
        /// In the second.
        expected: u32,
    },
    /// Not JSON of this shape.
    #[error("it is not what this version writes")]
    Json(#[from] serde_json::Error),
    /// Of another version of this program.
    #[error("its version is {0}, and this program knows 1 to {VERSION}")]
    Version(u32),
    /// What was appended is damaged, and not only where a crash would have left it.
    #[error("what was appended to it is damaged")]
    Appended,
}

impl From<DoesNotFollow> for StateError {
    fn from(_: DoesNotFollow) -> Self {
        Self::Appended
    }
}

/// Where a text ends, and what may be appended there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// How long it is.
    pub(crate) bytes: u64,
    /// What was appended of it.
    appended_bytes: u64,
    checksum: u32,
}

/// As much may be appended as the whole takes, but always so many bytes …
const APPENDED_BYTES_MIN: u64 = 64 << 10;
/// … and never more than so many: that is read beside the whole by whoever looks.
const APPENDED_BYTES_MAX: u64 = 4 << 20;

/// `state` as a whole, and where what changes can be appended.
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
    /// `change` as it is appended, and where more can be then; none once that would be too much: it
    /// is written anew then, for which enough has changed meanwhile.
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
    // Not copied: it may be long.
    let mut text = json;
    text.push_str(&format!("\ncrc32c {checksum:08x}\n"));
    (text, checksum)
}

/// What a text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) state: GroupState,
    /// A last piece is not whole, and is none.
    pub(crate) is_torn: bool,
    /// What wrote it.
    pub(crate) version: u32,
}

/// The state that `text` is.
///
/// A last piece that is not whole is none: a crash left it while it was appended, and nothing that
/// depends on it has been done. That holds for one copy: a crash never tears both.
///
/// # Errors
///
/// Why it is none.
pub fn parse(text: &str) -> Result<GroupState, StateError> {
    parse_copy(text).map(|parsed| parsed.state)
}

/// The same, and whether its end is torn.
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
    // It is saved as one of today.
    Ok(Parsed { state: state.of_today(), is_torn: false, version })
}

/// The JSON of the first piece of `text`, its checksum, and what follows it.
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
