//! Errors on stderr: the chain of causes on one line, then the hint, then the exit code.

use provisioning::ErrorKind;

use crate::exit::Exit;
use crate::output;

/// Reports what clap has to say: help and version go to stdout and are no failure.
pub(crate) fn usage(error: &clap::Error) -> Exit {
    // A closed pipe while printing help is nothing to complain about.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}

/// Reports a failed verb.
pub(crate) fn failure(error: &anyhow::Error) -> Exit {
    output::complain(&format!("mtctl: {error:#}"));
    let Some(ours) = error.downcast_ref::<provisioning::Error>() else {
        return Exit::Failed;
    };
    hint_and_exit(ours)
}

/// Reports an error of the library that ended a verb which had something to print all the same.
pub(crate) fn ours(error: &provisioning::Error) -> Exit {
    output::complain(&format!("mtctl: {}", error.chain()));
    hint_and_exit(error)
}

fn hint_and_exit(error: &provisioning::Error) -> Exit {
    if let Some(hint) = error.hint() {
        output::complain(&format!("hint: {hint}"));
    }
    match error.kind() {
        ErrorKind::Failed => Exit::Failed,
        ErrorKind::Usage => Exit::Usage,
        ErrorKind::NotReady => Exit::NotReady,
        ErrorKind::Refused => Exit::Refused,
        ErrorKind::Integrity => Exit::Integrity,
    }
}
