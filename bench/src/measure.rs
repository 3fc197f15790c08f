//! Runs one command and measures it: wall clock, processor time, memory. Nothing is judged here.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::measure::kernel_threads::Snapshot;
use crate::measure::sender::{Sender, open};
use crate::measure::wait::wait;

mod kernel_threads;
mod sender;
mod wait;

/// The source of a command's standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Nothing.
    None,
    /// This file.
    File(PathBuf),
    /// A Unix socket into which one of our threads sends this file, as fast as it is read.
    Socket(PathBuf),
    /// The same with a pipe.
    Pipe(PathBuf),
}

/// The measurements of one run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measured {
    /// From before the start of the process until it is reaped, in seconds.
    pub(crate) wall_seconds: f64,
    /// Processor time of the process, its threads and its children, in seconds.
    pub(crate) own_seconds: f64,
    /// Processor time of kernel threads during the run, in seconds.
    pub(crate) kernel_seconds: f64,
    /// Processor time of the server of which the command is a client, in seconds.
    pub(crate) server_seconds: f64,
    /// Processor time of the thread that fed the command, in seconds. It belongs to neither.
    pub(crate) sender_seconds: f64,
    /// Processor time of everything on this machine during the run, in seconds: other work shows
    /// here.
    pub(crate) machine_seconds: f64,
    /// The peak memory of the process, or of the server of which it is a client, in MiB.
    pub(crate) peak_mib: f64,
    /// Its standard output.
    pub(crate) output: String,
}

/// Runs `command` to its end; its output is stored in `directory`. If it is the client of a server,
/// `server` is a file with the process id of that.
///
/// # Errors
///
/// It cannot be started, or fails; the error contains the end of its output.
pub(crate) fn run(
    command: &[String],
    input: &Input,
    server: Option<&Path>,
    directory: &Path,
) -> Result<Measured> {
    let (program, arguments) = command.split_first().context("running an empty command")?;
    let (output, errors) = (directory.join("output"), directory.join("errors"));
    let mut process = Command::new(program);
    process
        .args(arguments)
        .stdout(File::create(&output).context("creating a file for output")?)
        .stderr(File::create(&errors).context("creating a file for errors")?);
    let sender = connect(&mut process, input)?;
    let served = server.map(kernel_threads::server).transpose()?;

    let before = Snapshot::take()?;
    let start = Instant::now();
    let child = process.spawn().with_context(|| format!("starting {program}"))?;
    // Closes our copy of its end of the socket, without which the sender would wait forever.
    drop(process);
    let sending = sender.map(Sender::start).transpose()?;
    let ended = wait(&child).with_context(|| format!("waiting for {program}"))?;
    let wall_seconds = start.elapsed().as_secs_f64();
    let after = Snapshot::take()?;

    let sender_seconds = sending.and_then(|sending| sending.join().ok()).unwrap_or(0.0);
    if !ended.success {
        bail!("running \"{}\" failed: {}", command.join(" "), last_words(&errors, &output));
    }
    let now = server.map(kernel_threads::server).transpose()?;
    Ok(Measured {
        wall_seconds,
        own_seconds: ended.processor_seconds,
        kernel_seconds: after.kernel_seconds_since(&before),
        server_seconds: now.zip(served).map_or(0.0, |(now, before)| now.0 - before.0),
        sender_seconds,
        machine_seconds: after.machine_seconds_since(&before),
        peak_mib: now.map_or(ended.peak_kib as f64 / 1024.0, |(_, peak)| peak),
        output: fs::read_to_string(&output).unwrap_or_default(),
    })
}

/// Sets the standard input of `process`; returns who feeds it, if somebody has to.
fn connect(process: &mut Command, input: &Input) -> Result<Option<Sender>> {
    let (sender, stdin) = match input {
        Input::None => (None, Stdio::null()),
        Input::File(path) => (None, Stdio::from(open(path)?)),
        Input::Socket(path) => {
            let (sender, stdin) = Sender::by_socket(path)?;
            (Some(sender), stdin)
        }
        Input::Pipe(path) => {
            let (sender, stdin) = Sender::by_pipe(path)?;
            (Some(sender), stdin)
        }
    };
    process.stdin(stdin);
    Ok(sender)
}

/// The last lines of a command's output.
fn last_words(errors: &Path, output: &Path) -> String {
    let said = [errors, output].map(|path| fs::read_to_string(path).unwrap_or_default()).join("\n");
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(5)..].join("; ")
}

/// Runs a command that is not measured, and returns its output.
///
/// # Errors
///
/// It cannot be started, or fails; the error contains its messages.
pub(crate) fn quietly(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "running {program} {} failed: {said}", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, input: &Input) -> Result<Measured> {
        let directory = tempfile::tempdir().unwrap();
        run(&["sh", "-c", script].map(str::to_owned), input, None, directory.path())
    }

    #[test]
    fn a_busy_process_is_charged_for_its_time_and_a_small_one_for_little_memory() {
        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done";
        let measured = shell(script, &Input::None).unwrap();
        assert!(measured.own_seconds > 0.01, "{measured:?}");
        assert!(measured.wall_seconds > 0.01, "{measured:?}");
        assert!((0.1..64.0).contains(&measured.peak_mib), "{measured:?}");
        assert_eq!(measured.output, "done\n");
    }

    #[test]
    fn a_failure_is_an_error_with_the_last_words() {
        let error = shell("echo no room >&2; exit 3", &Input::None).unwrap_err();
        assert!(format!("{error:#}").ends_with("failed: no room"), "{error:#}");
    }

    #[test]
    fn a_file_comes_through_a_socket_and_a_pipe_whole_and_the_sender_has_spent_some_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), vec![7; 1 << 20]).unwrap();
        let path = file.path().to_owned();
        for input in [Input::Socket(path.clone()), Input::Pipe(path)] {
            let measured = shell("wc -c", &input).unwrap();
            assert_eq!(measured.output.trim(), "1048576", "{input:?}");
            assert!(measured.sender_seconds > 0.0, "{input:?}");
        }
    }

    #[test]
    fn a_server_is_charged_for_what_it_did_while_its_client_ran() {
        let directory = tempfile::tempdir().unwrap();
        let identity = directory.path().join("pid");
        fs::write(&identity, format!("{}\n", std::process::id())).unwrap();
        let command = ["true"].map(str::to_owned);
        let measured = run(&command, &Input::None, Some(&identity), directory.path()).unwrap();
        assert!((0.0..1.0).contains(&measured.server_seconds), "{measured:?}");
        assert!(measured.peak_mib > 1.0, "{measured:?}");
        let nowhere = directory.path().join("none");
        let error = run(&command, &Input::None, Some(&nowhere), directory.path()).unwrap_err();
        assert!(format!("{error:#}").contains("server"), "{error:#}");
    }

    #[test]
    fn a_command_that_does_not_read_its_socket_to_the_end_does_not_hang_us() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), vec![7; 8 << 20]).unwrap();
        let measured = shell("head -c 5 | wc -c", &Input::Socket(file.path().to_owned())).unwrap();
        assert_eq!(measured.output.trim(), "5");
    }
}
