//! How many files may be open at once: as many as an administrator allows, as a view of an old
//! recovery point has every segment since then open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit, which is 1024 as a rule, to the hard one. That it cannot be is no
/// failure: opening one file too many is, and says so then.
pub(crate) fn allow_all() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
