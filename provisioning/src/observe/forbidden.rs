//! Files that this user may not read: noted, and left for a finding to report.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::host::is_forbidden;
use system::error::Result;

/// The result of `read`, or `None` if permission was denied: then `path` is added to `unreadable`.
/// A run that only looks need not be root.
pub(super) fn unless_forbidden<T>(
    read: Result<T>,
    path: &Path,
    unreadable: &mut BTreeSet<PathBuf>,
) -> Result<Option<T>> {
    match read {
        Err(error) if is_forbidden(&error) => {
            unreadable.insert(path.to_owned());
            Ok(None)
        }
        read => read.map(Some),
    }
}
