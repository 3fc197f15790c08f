//! Errors on stderr, in the form that was asked for: for people the chain of causes on one line,
//! then the hint; with `--json` one JSON object on one line. Then the exit code.

use std::ffi::{OsStr, OsString};
use std::sync::OnceLock;

use serde::Serialize;

use crate::exit::Exit;
use crate::output;

/// Decided once, before anything can fail: what cannot be parsed is an error of the same form.
static IN_JSON: OnceLock<bool> = OnceLock::new();

/// Errors are told as `arguments` ask for.
pub(crate) fn speak_as(arguments: &[OsString]) {
    let options = arguments.iter().take_while(|argument| *argument != "--");
    let _ = IN_JSON.set(options.into_iter().any(|argument| argument == OsStr::new("--json")));
}

/// An error, for programs: `{"error":{…}}`.
#[derive(Serialize)]
struct Told<'a> {
    error: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    kind: &'static str,
    message: &'a str,
    hint: Option<&'a str>,
    exit_code: u8,
}

/// Tells an error that ends the run, or a part of it, with `exit`.
pub(crate) fn tell(message: &str, hint: Option<&str>, exit: Exit) {
    if IN_JSON.get() == Some(&true) {
        let error = Fields { kind: exit.kind(), message, hint, exit_code: exit.code() };
        // Text and numbers only: it is always JSON.
        return output::complain(&serde_json::to_string(&Told { error }).unwrap_or_default());
    }
    output::complain(&format!("mtctl: {message}"));
    if let Some(hint) = hint {
        output::complain(&format!("hint: {hint}"));
    }
}

/// Reports what clap has to say: help and version go to stdout and are no failure.
pub(crate) fn usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        // A closed pipe while printing help is nothing to complain about.
        let _ = error.print();
        return Exit::Done;
    }
    if IN_JSON.get() == Some(&true) {
        let text = error.render().to_string();
        let (message, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
        let message = message.trim().trim_start_matches("error: ");
        tell(message, Some(rest.trim()).filter(|rest| !rest.is_empty()), Exit::Usage);
    } else {
        let _ = error.print();
    }
    Exit::Usage
}

/// Reports a failed verb.
pub(crate) fn failure(error: &anyhow::Error) -> Exit {
    let library = Library::of(error);
    let exit = library.map_or(Exit::Failed, Library::exit);
    tell(&format!("{error:#}"), library.and_then(Library::hint), exit);
    exit
}

/// Reports an error of a library that ended a verb which had something to print all the same.
pub(crate) fn ours<'a>(error: impl Into<Library<'a>>) -> Exit {
    ours_as(error, |exit| exit)
}

/// The same, where the verb ends with another exit code than the error alone has.
pub(crate) fn ours_as<'a>(error: impl Into<Library<'a>>, exit: fn(Exit) -> Exit) -> Exit {
    let library = error.into();
    let exit = exit(library.exit());
    tell(&library.chain(), library.hint(), exit);
    exit
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
