//! How many files may be open at once, and how long one may be: as many as an administrator allows,
//! as a view of an old recovery point has every segment since then open; and one that may not be as
//! long is an error, and not the end of the process.

use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit, which is 1024 as a rule, to the hard one. That it cannot be is no
/// failure: opening one file too many is, and says so then.
pub(crate) fn allow_all() {
    // Whoever handles the signal is told of it by the write that failed (EFBIG).
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
