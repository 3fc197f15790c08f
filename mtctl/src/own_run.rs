//! This run of a verb in the log of runs of its group: that it began, and how it ended. A verb only
//! needs one line, at the point where it begins to change something.

use std::sync::{Mutex, MutexGuard, PoisonError};

use blockio::apply::StreamArgument;
use blockio::group::{GroupView, RunBegin, RunEnd, RunLog, RunStream};
use blockio::journal::selector;
use blockio::stream::Format;
use jiff::Timestamp;
use nix::unistd::{Uid, User, getuid};

use crate::attention;
use crate::exit::Exit;
use crate::policy_options::Change;

/// The most streams of a run that are recorded by name.
const STREAMS_MAX: usize = 200;
/// How much of an error is recorded, in characters.
const ERROR_CHARACTERS_MAX: usize = 1000;
/// The kernel's value if nobody logged in.
const NO_LOGIN: u32 = u32::MAX;

/// The run of this process, from the point where it begins to change its group.
static RUN: Mutex<Option<Running>> = Mutex::new(None);

struct Running {
    log: RunLog,
    bytes: Option<u64>,
    error: Option<String>,
}

fn own() -> MutexGuard<'static, Option<Running>> {
    RUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A record for `verb` with what is known about every run: who, when, where.
pub(crate) fn of(verb: &str) -> RunBegin {
    RunBegin {
        time: now(),
        verb: verb.to_owned(),
        user: user(),
        user_id: getuid().as_raw(),
        login_user_id: login().filter(|login| *login != getuid().as_raw()),
        sudo_user: sudo_user().filter(|caller| *caller != name_of(getuid().as_raw())),
        host: host(),
        process: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..RunBegin::default()
    }
}

/// The name of this host according to the kernel.
pub(crate) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.unwrap_or_default().trim_end().to_owned()
}

/// The same, with the disks of `group`.
pub(crate) fn on_disks(group: &GroupView, verb: &str) -> RunBegin {
    let disks = group.state().volumes.values().filter_map(|volume| volume.target.clone());
    RunBegin { disks: disks.collect(), ..of(verb) }
}

/// The same, with `point` as messages name it.
pub(crate) fn at(group: &GroupView, verb: &str, point: &str) -> RunBegin {
    let point = Some(point.to_owned()).filter(|point| !point.is_empty());
    RunBegin { point, ..on_disks(group, verb) }
}

/// The changes of settings, in words.
pub(crate) fn told(changes: &[Change]) -> Option<String> {
    let told: Vec<_> = changes.iter().map(|one| format!("{} {}", one.option, one.to)).collect();
    (!told.is_empty()).then(|| told.join(" "))
}

/// The streams that are to be applied, each with its file and identity, and the number of streams
/// beyond those that are listed.
pub(crate) fn streams(inputs: &[StreamArgument], format: Option<Format>) -> (Vec<RunStream>, u64) {
    let named = inputs.iter().take(STREAMS_MAX).map(|input| RunStream {
        path: input.absolute_name(),
        identity: input.identity(format).map(|one| one.to_string()),
    });
    (named.collect(), inputs.len().saturating_sub(STREAMS_MAX) as u64)
}

/// Declares that the run began, recorded in `log`. A failure to record it is a warning and ends
/// nothing.
pub(crate) fn begins(log: std::io::Result<Option<RunLog>>) {
    match log.transpose() {
        None => {}
        Some(Ok(log)) => *own() = Some(Running { log, bytes: None, error: None }),
        Some(Err(error)) => warn(&error),
    }
}

/// Notes how many bytes were applied or written back.
pub(crate) fn wrote(bytes: u64) {
    if let Some(running) = own().as_mut() {
        running.bytes = Some(bytes);
    }
}

/// Notes an error; the first one counts.
pub(crate) fn failed(message: &str) {
    if let Some(running) = own().as_mut() {
        let text = || message.chars().take(ERROR_CHARACTERS_MAX).collect();
        running.error.get_or_insert_with(text);
    }
}

/// Records that the run ended with `exit`, if one began.
pub(crate) fn ended(exit: Exit) {
    let Some(Running { log, bytes, error }) = own().take() else { return };
    let end = RunEnd { time: now(), exit_code: exit.code(), bytes, error };
    if let Err(error) = log.end(end) {
        warn(&error);
    }
}

fn warn(error: &std::io::Error) {
    attention::warn(format!("this run could not be recorded in the history of the group: {error}"));
}

fn now() -> String {
    let nanoseconds = Timestamp::now().as_nanosecond();
    selector::time(u64::try_from(nanoseconds).unwrap_or_default())
}

/// The user who called sudo, else the login user, else the user of the process.
fn user() -> String {
    sudo_user().unwrap_or_else(|| name_of(login().unwrap_or_else(|| getuid().as_raw())))
}

fn sudo_user() -> Option<String> {
    std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty())
}

/// The login user, by number.
fn login() -> Option<u32> {
    let login = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    login.trim().parse().ok().filter(|id| *id != NO_LOGIN)
}

fn name_of(id: u32) -> String {
    match User::from_uid(Uid::from_raw(id)) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => id.to_string(),
    }
}
