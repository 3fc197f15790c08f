//! What a run reports beside its result: warnings, as they occur, and the alarms of the group that
//! it is about. People read warnings on stderr; `--json` has both as fields.

use std::sync::{Mutex, PoisonError};

use blockio::group::{GroupPlace, GroupView, Whereabouts};
use blockio::units::in_hours;

use crate::{group_targets, output, own_run, remedy};

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

/// Prints a warning on stderr, and keeps it for `--json`.
pub(crate) fn warn(text: impl std::fmt::Display) {
    output::complain(&kept(text));
}

/// Keeps a warning for `--json` and returns it as it would be printed, for callers that print it
/// above a moving line.
pub(crate) fn kept(text: impl std::fmt::Display) -> String {
    let text = with_group(&text.to_string());
    let told = output::wrapped(&format!("warning: {text}"), 2);
    let mut warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    match warnings.len() {
        WARNINGS_MAX => warnings.push("and more, which are not kept".to_owned()),
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
pub(crate) fn is_about(place: &GroupPlace, name: &str) {
    let mut group = GROUP.lock().unwrap_or_else(PoisonError::into_inner);
    *group = Some((place.clone(), name.to_owned()));
}

/// Declares that the group of this run is now called `name`, because somebody has renamed it.
pub(crate) fn is_called(name: &str) {
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

fn naming(text: &str, group: &str) -> String {
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

/// The current alarms of the group that this run is about.
pub(crate) fn alarms_of_this_run() -> Vec<String> {
    let group = GROUP.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some((place, name)) = group else { return Vec::new() };
    // A group that a dry run would make does not exist.
    if !place.has_something().unwrap_or(true) {
        return Vec::new();
    }
    GroupView::look(&place, &name).map_or_else(|error| vec![error.chain()], |view| alarms(&view))
}

/// What is wrong with `group` and needs somebody's attention, and what to do about it.
pub(crate) fn alarms(group: &GroupView) -> Vec<String> {
    let mut alarms = Vec::new();
    let name = group.name();
    match group.whereabouts() {
        Whereabouts::RollingBack(to) => alarms.push(format!(
            "a rollback to {} is not finished: mtctl recover --group {name}",
            group.called(to)
        )),
        Whereabouts::InBetween(_) => alarms.push(format!(
            "a run was cut short: apply the same stream again{}, or mtctl recover --group {name}",
            own_run::of_files(group)
        )),
        Whereabouts::NeverWritten
        | Whereabouts::RolledBack(_)
        | Whereabouts::WithinStream(_)
        | Whereabouts::Applied => {}
    }
    alarms.extend(group.notes().iter().map(|note| naming(&remedy::told(note), name)));
    alarms.extend(group_targets::alarms(group));
    if !group.keeps_history() && !group.settings().without_history {
        alarms.push(format!(
            "no history is kept: there is no way back; if none is wanted: mtctl group set --group \
             {name} --retention none"
        ));
    }
    let cut = group.state().journal.as_ref().and_then(|known| known.window_cut_to);
    if let Some(left) = cut {
        alarms.push(format!(
            "for want of room points had to go that were younger than the window; {} were left",
            in_hours(std::time::Duration::from_nanos(left))
        ));
    }
    alarms
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
