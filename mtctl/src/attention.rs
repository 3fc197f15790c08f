//! Warnings, and the group that this run is about, which they name. People read warnings on stderr;
//! `--json` has them as a field.

use std::sync::{Mutex, PoisonError};

use blockio::group::GroupPlace;
use blockio::notice::Notice;

use crate::{output, remedy};

/// The most warnings that are kept for `--json`: a run may go on for days.
const WARNINGS_MAX: usize = 1000;

/// Verbs named in texts of the libraries, which do not know the name of the group.
const VERBS_ON_A_GROUP: [&str; 5] = [
    "mtctl journal check",
    "mtctl journal rebuild",
    "mtctl points list",
    "mtctl group release",
    "mtctl group show",
];

/// The warnings of this run.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// The group that this run is about.
static GROUP: Mutex<Option<(GroupPlace, String)>> = Mutex::new(None);

/// The group that this run is about, and its place.
pub(crate) fn group() -> Option<(GroupPlace, String)> {
    GROUP.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Prints a warning on stderr, and keeps it for `--json`.
pub(crate) fn warn(text: impl std::fmt::Display) {
    output::complain(&kept(text));
}

/// Prints what an operator should know although nothing failed, and what can be done about it.
pub(crate) fn warn_of(notices: &[Notice]) {
    notices.iter().map(remedy::told).for_each(warn);
}

/// Keeps a warning for `--json` and returns it as it would be printed, for callers that print it
/// above a moving line.
pub(crate) fn kept(text: impl std::fmt::Display) -> String {
    let text = with_group(&text.to_string());
    let told = output::wrapped(&format!("warning: {text}"), 2);
    let mut warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    match warnings.len() {
        WARNINGS_MAX => warnings.push("more warnings followed; they were not recorded".to_owned()),
        0..WARNINGS_MAX => warnings.push(text),
        _ => {}
    }
    told
}

/// The warnings so far.
pub(crate) fn warnings() -> Vec<String> {
    WARNINGS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Declares that this run is about the group `name` at `place`.
pub(crate) fn set_group(place: &GroupPlace, name: &str) {
    let mut group = GROUP.lock().unwrap_or_else(PoisonError::into_inner);
    *group = Some((place.clone(), name.to_owned()));
}

/// Declares that the group of this run is now called `name`, because somebody has renamed it.
pub(crate) fn rename_group(name: &str) {
    let mut group = GROUP.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, known)) = group.as_mut() {
        name.clone_into(known);
    }
}

/// `text` with the name of this run's group added to commands on a group, because they are there to
/// be copied.
pub(crate) fn with_group(text: &str) -> String {
    let group = GROUP.lock().unwrap_or_else(PoisonError::into_inner);
    group.as_ref().map_or_else(|| text.to_owned(), |(_, name)| naming(text, name))
}

/// `text` with `group` named in every command on a group.
pub(crate) fn naming(text: &str, group: &str) -> String {
    let mut named = text.to_owned();
    for verb in VERBS_ON_A_GROUP {
        let parts: Vec<&str> = named.split(verb).collect();
        let mut joined = parts[0].to_owned();
        for part in &parts[1..] {
            joined += verb;
            if !part.starts_with(" --group") {
                joined += &format!(" --group {group}");
            }
            joined += part;
        }
        named = joined;
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_on_a_group_names_it_once() {
        for (text, expected) in [
            ("see `mtctl journal check`", "see `mtctl journal check --group web`"),
            ("mtctl points list --group db", "mtctl points list --group db"),
            ("mtctl disks lists them", "mtctl disks lists them"),
        ] {
            assert_eq!(naming(text, "web"), expected);
        }
    }
}
