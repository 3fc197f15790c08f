//! The edit of one file, as an action.

use crate::observe::Observed;
use crate::step::{Action, FileChange};

/// The action that gives the file at `path` the contents `after`, unless it already has them. A
/// missing file is equivalent to an empty one.
pub(super) fn write(observed: &Observed, path: &str, after: String) -> Option<Action> {
    let before = observed.file(path).map(str::to_owned);
    if before.as_deref().unwrap_or_default() == after {
        return None;
    }
    Some(Action::WriteFile(FileChange { path: path.into(), before, after }))
}
