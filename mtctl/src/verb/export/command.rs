//! Runs a command while a point is served (`--run`), and reports its exit code.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use blockio::nbd::{Listen, Server};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::exit::Exit;

/// How often to check whether the command has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the command may take to end after it was asked to.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Checks that `text` contains something to run.
///
/// # Errors
///
/// Says what is wrong, in words that follow "invalid value".
pub(super) fn typed(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// Serves while the shell runs `command`, and until `stop` is set: then the command is asked to
/// end. Returns how serving ended, and the exit code of the command.
///
/// # Errors
///
/// There is no shell, or the command cannot be waited for.
pub(super) fn beside(
    server: &Server,
    command: &str,
    stop: &AtomicBool,
) -> anyhow::Result<(system::Result<()>, Exit)> {
    let mut child = shell(server, command).spawn().context("running sh, for --run")?;
    thread::scope(|scope| {
        let serving = scope.spawn(|| server.serve(stop));
        let ended = wait(&mut child, stop);
        stop.store(true, Ordering::Relaxed);
        let served = serving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let status = ended.context("waiting for the command of --run")?;
        Ok((served, exit(status)))
    })
}

/// The variables have the names that nbdkit uses; `uris` is ours, for points of several volumes.
fn shell(server: &Server, command: &str) -> Command {
    let address = server.address();
    let uris: Vec<_> = server.exports().iter().map(|export| address.uri(&export.name)).collect();
    let uri = match uris.as_slice() {
        [only] => only.clone(),
        _ => address.uri(""),
    };
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).env("uri", uri).env("uris", uris.join("\n"));
    match address {
        Listen::Unix(path) => shell.env("unixsocket", path),
        Listen::Tcp(_) => shell.env_remove("unixsocket"),
    };
    shell
}

fn wait(child: &mut Child, stop: &AtomicBool) -> std::io::Result<ExitStatus> {
    let mut asked: Option<Instant> = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        match asked {
            None if stop.load(Ordering::Relaxed) => {
                // The child has not been waited for, so the process number is still its own.
                if let Ok(number) = i32::try_from(child.id()) {
                    let _ = kill(Pid::from_raw(number), Signal::SIGTERM);
                }
                asked = Some(Instant::now());
            }
            Some(asked) if asked.elapsed() >= ENDS_WITHIN => child.kill()?,
            None | Some(_) => {}
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// The code that a shell would report: 128 plus the number of the signal that ended it.
fn exit(status: ExitStatus) -> Exit {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    match code {
        Some(0) => Exit::Done,
        code => Exit::OfCommand(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_a_signal_ended_has_the_exit_code_that_a_shell_gives_it() {
        let cases = [(0, Exit::Done), (7 << 8, Exit::OfCommand(7)), (15, Exit::OfCommand(143))];
        for (raw, expected) in cases {
            assert_eq!(exit(ExitStatus::from_raw(raw)), expected);
        }
    }

    #[test]
    fn a_command_is_asked_to_end_when_serving_does() {
        let mut child = Command::new("sh").args(["-c", "exec sleep 1000"]).spawn().unwrap();
        let status = wait(&mut child, &AtomicBool::new(true)).unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGTERM as i32));
    }
}
