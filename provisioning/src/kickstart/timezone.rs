//! Names of the time zone database, by their shape. Whether a zone exists, the installer knows.

use super::refusal;
use crate::error::Result;

const NAME_MAX: usize = 64;
const PARTS_MAX: usize = 3;

/// A name such as `Europe/Berlin`, `America/Argentina/Ushuaia` or `UTC`.
pub(super) struct Timezone(String);

impl Timezone {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let parts = text.split('/').collect::<Vec<_>>();
        let good = text.len() <= NAME_MAX
            && parts.len() <= PARTS_MAX
            && parts.iter().all(|part| is_part(part));
        if !good {
            return Err(refusal::of("--timezone", text, "it is not the name of a time zone")
                .with_hint("use a name such as Europe/Berlin or UTC; timedatectl lists them"));
        }
        Ok(Self(text.to_owned()))
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

/// Letters first (no `.`, no `..`, no option), then letters, digits, `_`, `+`, `-`.
fn is_part(part: &str) -> bool {
    part.starts_with(|first: char| first.is_ascii_alphabetic())
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte))
}
