//! The name of a volume in a group.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plain::Plain;

/// The name of a volume in its group, taken from its streams. A volume whose streams have a single
/// volume and do not name it is *unnamed*: saved as an empty text.
///
/// It is escaped when shown to people, because the maker of the stream chose it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VolumeName(String);

impl VolumeName {
    /// The name of a volume whose streams do not name it.
    #[must_use]
    pub fn unnamed() -> Self {
        Self::default()
    }

    /// Whether its streams do not name it.
    #[must_use]
    pub fn is_unnamed(&self) -> bool {
        self.0.is_empty()
    }

    /// For a table: a dash if unnamed.
    #[must_use]
    pub fn in_a_table(&self) -> String {
        if self.is_unnamed() { "-".to_owned() } else { self.to_string() }
    }

    /// For a sentence: `volume "db"`, or `the unnamed volume`.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self.is_unnamed() {
            true => "the unnamed volume".to_owned(),
            false => format!("volume \"{self}\""),
        }
    }

    /// Several of them for a sentence: `db, log, the unnamed volume`.
    pub fn listed<'a>(names: impl IntoIterator<Item = &'a Self>) -> String {
        let mut names: Vec<_> = names.into_iter().collect();
        // The unnamed volume comes last: it is easily overlooked.
        names.sort_by_key(|name| name.is_unnamed());
        let shown = names.into_iter().map(|name| match name.is_unnamed() {
            true => name.in_words(),
            false => name.to_string(),
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// The saved form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for VolumeName {
    fn from(name: String) -> Self {
        Self(name)
    }
}

impl From<&str> for VolumeName {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl PartialEq<str> for VolumeName {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl Borrow<str> for VolumeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Plain(&self.0), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_name_is_a_dash_in_a_table() {
        assert_eq!(VolumeName::unnamed().in_a_table(), "-");
        assert_eq!(VolumeName::from("db").in_a_table(), "db");
    }

    #[test]
    fn what_has_no_name_is_said_to_have_none() {
        let names = ["", "db", "log"].map(VolumeName::from);
        assert_eq!(VolumeName::listed(&names), "db, log, the unnamed volume");
        assert_eq!(names[1].in_words(), "volume \"db\"");
        assert_eq!(names[0].in_words(), "the unnamed volume");
    }

    #[test]
    fn a_name_is_saved_as_it_is_and_shown_without_what_a_terminal_obeys() {
        let name = VolumeName::from("a\u{1b}[2J");
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"a\\u001b[2J\"");
        assert!(!name.to_string().contains('\u{1b}'), "{name}");
        assert!(VolumeName::unnamed().is_unnamed() && !name.is_unnamed());
    }
}
