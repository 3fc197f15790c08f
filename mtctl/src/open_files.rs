//! Limits on open files and on the length of a file. As many files may be open as an administrator
//! allows, because a view of an old recovery point keeps every later segment open; and exceeding
//! the permitted length is an error rather than the end of the process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit, usually 1024, to the hard limit. If that fails, it is not an error yet:
/// opening one file too many is, and reports it then.
pub(crate) fn allow_all() {
    system::signals::survive_file_length_limit();
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
