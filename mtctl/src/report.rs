//! Errors on stderr: the chain of causes on one line, then the hint, then the exit code.

use provisioning::ErrorKind;

use crate::exit::Exit;

/// Reports what clap has to say: help and version go to stdout and are no failure.
pub(crate) fn usage(error: &clap::Error) -> Exit {
    // A closed pipe while printing help is nothing to complain about.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}

/// Reports a failed verb.
pub(crate) fn failure(error: &anyhow::Error) -> Exit {
    if is_closed_pipe(error) {
        return Exit::Done;
    }
    eprintln!("mtctl: {error:#}");
    let Some(ours) = error.downcast_ref::<provisioning::Error>() else {
        return Exit::Failed;
    };
    if let Some(hint) = ours.hint() {
        eprintln!("hint: {hint}");
    }
    match ours.kind() {
        ErrorKind::Failed => Exit::Failed,
        ErrorKind::Usage => Exit::Usage,
        ErrorKind::NotReady => Exit::NotReady,
        ErrorKind::Refused => Exit::Refused,
        ErrorKind::Integrity => Exit::Integrity,
    }
}

/// Whether the reader of our stdout went away (`mtctl disks | head`).
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
