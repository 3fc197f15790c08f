//! Errors on stderr: the chain of causes on one line, then the hint, then the exit code.

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
    match Library::of(error) {
        Some(library) => hint_and_exit(library),
        None => Exit::Failed,
    }
}

/// Reports an error of a library that ended a verb which had something to print all the same.
pub(crate) fn ours<'a>(error: impl Into<Library<'a>>) -> Exit {
    let library = error.into();
    output::complain(&format!("mtctl: {}", library.chain()));
    hint_and_exit(library)
}

/// An error of one of the two libraries.
#[derive(Clone, Copy)]
pub(crate) enum Library<'a> {
    Provisioning(&'a provisioning::Error),
    BlockIo(&'a blockio::Error),
}

impl<'a> From<&'a provisioning::Error> for Library<'a> {
    fn from(error: &'a provisioning::Error) -> Self {
        Self::Provisioning(error)
    }
}

impl<'a> From<&'a blockio::Error> for Library<'a> {
    fn from(error: &'a blockio::Error) -> Self {
        Self::BlockIo(error)
    }
}

impl<'a> Library<'a> {
    fn of(error: &'a anyhow::Error) -> Option<Self> {
        let provisioning = error.downcast_ref().map(Self::Provisioning);
        provisioning.or_else(|| error.downcast_ref().map(Self::BlockIo))
    }

    fn chain(self) -> String {
        match self {
            Self::Provisioning(error) => error.chain(),
            Self::BlockIo(error) => error.chain(),
        }
    }

    fn hint(self) -> Option<&'a str> {
        match self {
            Self::Provisioning(error) => error.hint(),
            Self::BlockIo(error) => error.hint(),
        }
    }

    fn exit(self) -> Exit {
        match self {
            Self::Provisioning(error) => match error.kind() {
                provisioning::ErrorKind::Failed => Exit::Failed,
                provisioning::ErrorKind::Usage => Exit::Usage,
                provisioning::ErrorKind::NotReady => Exit::NotReady,
                provisioning::ErrorKind::Refused => Exit::Refused,
                provisioning::ErrorKind::Integrity => Exit::Integrity,
            },
            Self::BlockIo(error) => exit_of(error.kind()),
        }
    }
}

/// The exit code of a kind of failure of `blockio`.
pub(crate) fn exit_of(kind: blockio::ErrorKind) -> Exit {
    match kind {
        blockio::ErrorKind::Failed => Exit::Failed,
        blockio::ErrorKind::Usage => Exit::Usage,
        blockio::ErrorKind::Refused => Exit::Refused,
        blockio::ErrorKind::Integrity => Exit::Integrity,
    }
}

/// What `provisioning` had to say, where a verb of `blockio` asked it: with the same exit code.
pub(crate) fn as_of_blockio(error: provisioning::Error) -> blockio::Error {
    let kind = match error.kind() {
        provisioning::ErrorKind::Failed | provisioning::ErrorKind::NotReady => {
            blockio::ErrorKind::Failed
        }
        provisioning::ErrorKind::Usage => blockio::ErrorKind::Usage,
        provisioning::ErrorKind::Refused => blockio::ErrorKind::Refused,
        provisioning::ErrorKind::Integrity => blockio::ErrorKind::Integrity,
    };
    let told = blockio::Error::new(kind, error.chain());
    match error.hint() {
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}

fn hint_and_exit(library: Library<'_>) -> Exit {
    if let Some(hint) = library.hint() {
        output::complain(&format!("hint: {hint}"));
    }
    library.exit()
}
