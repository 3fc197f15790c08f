//! Alarms: what is wrong with a group and needs somebody's attention, and what to do about it.

use blockio::group::{GroupView, Whereabouts};
use blockio::units::in_hours;

use crate::{attention, group_targets, remedy};

/// The current alarms of the group that this run is about.
pub(crate) fn of_this_run() -> Vec<String> {
    let Some((place, name)) = attention::group() else { return Vec::new() };
    // A group that a dry run would make does not exist.
    if !place.has_something().unwrap_or(true) {
        return Vec::new();
    }
    GroupView::look(&place, &name).map_or_else(|error| vec![error.chain()], |view| of(&view))
}

/// What is wrong with `group` and needs somebody's attention, and what to do about it.
pub(crate) fn of(group: &GroupView) -> Vec<String> {
    let mut alarms = Vec::new();
    let name = group.name();
    match group.whereabouts() {
        Whereabouts::RollingBack(to) => alarms.push(format!(
            "a rollback to {} is unfinished: mtctl recover --group {name}",
            group.called(to)
        )),
        Whereabouts::InBetween(_) => alarms.push(format!(
            "a run was cut short: apply the same stream again{}, or mtctl recover --group {name}",
            begun_files(group)
        )),
        Whereabouts::NeverWritten
        | Whereabouts::RolledBack(_)
        | Whereabouts::WithinStream(_)
        | Whereabouts::Applied => {}
    }
    alarms.extend(group.notes().iter().map(|note| attention::naming(&remedy::told(note), name)));
    alarms.extend(group_targets::alarms(group));
    if !group.keeps_history() && !group.settings().without_history {
        alarms.push(format!(
            "no history is kept, so nothing can be rolled back; if that is intended: mtctl group \
             set --group {name} --retention none"
        ));
    }
    let cut = group.state().journal.as_ref().and_then(|known| known.window_cut_to);
    if let Some(left) = cut {
        alarms.push(format!(
            "points younger than the window were dropped for lack of room; {} of history are left",
            in_hours(std::time::Duration::from_nanos(left))
        ));
    }
    alarms
}

/// The files of the streams whose application to the disks of `group` was interrupted, in a form
/// that follows "the same stream"; empty if they are not known.
pub(crate) fn begun_files(group: &GroupView) -> String {
    match group.begun_files().as_slice() {
        [] => String::new(),
        files => format!(" ({})", files.join(", ")),
    }
}
