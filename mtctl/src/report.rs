//! Errors on stderr: the chain of causes on one line, then the hint, then the exit code; or all of
//! this as one JSON object, if `--json` is among the arguments.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::ffi::OsString;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use serde::Serialize;
use system::ErrorKind;

use crate::attention;
use crate::exit::Exit;
use crate::output::{self, plain};
use crate::{own_run, remedy};

/// Whether errors are printed as JSON; set once, before an error can occur.
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// Makes errors JSON if `arguments` ask for it, even if the arguments cannot be parsed otherwise.
pub(crate) fn as_json_if_asked(arguments: &[OsString]) {
    let options = arguments.iter().take_while(|argument| *argument != "--");
    AS_JSON.store(options.into_iter().any(|one| one == "--json"), Ordering::Relaxed);
}

/// Stable: fields are added, never changed.
#[derive(Serialize)]
struct Json<'a> {
    error: JsonError<'a>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct JsonError<'a> {
    kind: &'static str,
    message: &'a str,
    hint: Option<&'a str>,
    exit_code: u8,
}

/// Prints on stderr why a run ended with `exit`.
pub(crate) fn tell(message: &str, hint: Option<&str>, exit: Exit) -> Exit {
    own_run::failed(message);
    let hint = hint.map(attention::with_group);
    let hint = hint.as_deref();
    if !AS_JSON.load(Ordering::Relaxed) {
        output::complain(&format!("mtctl: {}", plain(message)));
        if let Some(hint) = hint {
            output::complain(&format!("hint: {}", plain(hint)));
        }
        return exit;
    }
    let (message, hint) = (shown(message), hint.map(shown));
    let (kind, exit_code) = (exit.kind(), exit.code());
    let error = JsonError { kind, message: &message, hint: hint.as_deref(), exit_code };
    let warnings = attention::warnings();
    if let Ok(text) = serde_json::to_string(&Json { error, warnings }) {
        // If the reader has gone, that is no reason to stop or to panic.
        let _ = writeln!(std::io::stderr(), "{}", output::escaped_json(&text));
    }
    exit
}

fn shown(text: &str) -> String {
    system::lossless_text::shown(text).into_owned()
}

/// Reports a message of clap: help and version go to stdout and are not failures.
pub(crate) fn usage(error: &clap::Error) -> Exit {
    if error.use_stderr() && AS_JSON.load(Ordering::Relaxed) {
        let text = error.to_string();
        // The rest is the usage line and a pointer to the help, which becomes the hint.
        let message = text.split("\n\nUsage:").next().unwrap_or_default();
        let message = message.trim_start_matches("error: ").split_whitespace();
        let message = message.collect::<Vec<_>>().join(" ");
        return tell(&message, Some("see mtctl VERB --help"), Exit::Usage);
    }
    let printed = error.print().and_then(|()| std::io::stdout().flush());
    match printed {
        _ if error.use_stderr() => Exit::Usage,
        // A closed pipe while printing help is not an error.
        Err(cause) if cause.kind() != std::io::ErrorKind::BrokenPipe => {
            tell(&format!("writing to standard output: {cause}"), None, Exit::Failed)
        }
        Ok(()) | Err(_) => Exit::Done,
    }
}

/// Reports a failed verb.
pub(crate) fn failure(error: &anyhow::Error) -> Exit {
    let ours = error.downcast_ref::<system::Error>();
    let hint = ours.and_then(remedy::hint).or_else(|| permission(error.as_ref()));
    tell(
        &format!("{error:#}"),
        hint.as_deref(),
        ours.map_or(Exit::Failed, |error| exit_of(error.kind())),
    )
}

/// What to do about `error`, if the kernel denied something to a user other than root.
fn permission(error: &(dyn StdError + 'static)) -> Option<Cow<'static, str>> {
    let mut is_forbidden = false;
    let mut next = Some(error);
    while let Some(cause) = next {
        let of_file = cause.downcast_ref().map(std::io::Error::kind);
        let of_call = cause.downcast_ref::<Errno>();
        is_forbidden |= of_file == Some(std::io::ErrorKind::PermissionDenied)
            || matches!(of_call, Some(Errno::EACCES | Errno::EPERM));
        next = cause.source();
    }
    let is_root = nix::unistd::geteuid().is_root();
    (is_forbidden && !is_root).then_some(Cow::Borrowed("run it as root: sudo mtctl …"))
}

/// Reports an error that ended a verb which still had a result to print.
pub(crate) fn ours(error: &system::Error) -> Exit {
    tell(&error.chain(), hint_or_permission(error).as_deref(), exit_of(error.kind()))
}

/// The same for a verb that may have written: 2 and 4 promise that nothing was touched.
pub(crate) fn ours_after_writing(error: &system::Error) -> Exit {
    let exit = match error.kind() {
        ErrorKind::Refused | ErrorKind::Usage => Exit::Failed,
        kind @ (ErrorKind::Failed | ErrorKind::NotReady | ErrorKind::Integrity) => exit_of(kind),
    };
    tell(&error.chain(), hint_or_permission(error).as_deref(), exit)
}

fn hint_or_permission(error: &system::Error) -> Option<Cow<'_, str>> {
    remedy::hint(error).or_else(|| permission(error))
}

/// The exit code of a kind of failure.
pub(crate) fn exit_of(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::Failed => Exit::Failed,
        ErrorKind::Usage => Exit::Usage,
        ErrorKind::NotReady => Exit::NotReady,
        ErrorKind::Refused => Exit::Refused,
        ErrorKind::Integrity => Exit::Integrity,
    }
}

/// Converts an error of `provisioning` for a verb on disks. A host that is not ready is drift only
/// to the verbs that make it ready; to the others it is a failure.
pub(crate) fn as_of_blockio(error: system::Error) -> system::Error {
    let kind = match error.kind() {
        ErrorKind::NotReady => ErrorKind::Failed,
        kind @ (ErrorKind::Failed
        | ErrorKind::Usage
        | ErrorKind::Refused
        | ErrorKind::Integrity) => kind,
    };
    error.of_kind(kind)
}
