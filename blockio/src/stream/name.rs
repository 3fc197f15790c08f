//! Names in streams: arbitrary bytes, shown as text.

use std::fmt;

/// The longest name of a volume, a snapshot, a mark or a group, in bytes.
pub const NAME_BYTES_MAX: usize = 1024;

/// A name in a stream: at most [`NAME_BYTES_MAX`] arbitrary bytes, usually UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// `bytes` as a name; `None` if longer than [`NAME_BYTES_MAX`].
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

/// As text: UTF-8 as it is, with control characters and invalid UTF-8 escaped. Groups identify
/// their volumes by this text, so it must not change; on a terminal it is shown as [`Plain`].
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
