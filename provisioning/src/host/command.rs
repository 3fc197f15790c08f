//! Runs programs: the one seam at which a recorded or a watched host can answer instead of the
//! machine. Which program is run, and when, is decided elsewhere.

use std::fmt;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use system::error::{Error, Result};
use system::lossless_text;

/// Where programs are looked up: never in the caller's PATH.
const PROGRAM_DIRECTORIES: [&str; 6] =
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// How much of each output stream is kept, in bytes; the rest is read and dropped.
const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// A program, its arguments, and what is added to its environment. No shell is involved.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Invocation {
    /// The program's name, looked up in the fixed system directories, or an absolute path.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables added to the environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<(String, String)>,
}

impl Invocation {
    /// `program` without arguments.
    pub fn new(program: impl Into<String>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), environment: Vec::new() }
    }

    /// Adds `argument`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds all of `arguments`.
    #[must_use]
    pub fn arguments<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds a variable to the environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl fmt::Display for Invocation {
    /// Prints the command as it would be typed, quoted for a POSIX shell where needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{name}={} ", quoted(value))?;
        }
        f.write_str(&quoted(&self.program))?;
        for argument in &self.arguments {
            write!(f, " {}", quoted(argument))?;
        }
        Ok(())
    }
}

/// `word`, quoted for a POSIX shell if needed.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:,+@%^".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The result of a program that ran to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOutput {
    /// The exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// What it printed on stdout ([`lossless_text`]).
    pub stdout: String,
    /// What it printed on stderr.
    pub stderr: String,
}

impl CommandOutput {
    /// A successful run that printed `stdout`.
    pub fn success(stdout: impl Into<String>) -> Self {
        Self { status: Some(0), stdout: stdout.into(), stderr: String::new() }
    }

    /// Whether the status was zero.
    pub fn is_success(&self) -> bool {
        self.status == Some(0)
    }

    /// `0`, `17` or `signal`.
    pub(crate) fn status_text(&self) -> String {
        self.status.map_or_else(|| "signal".to_owned(), |status| status.to_string())
    }

    /// Returns stdout, or an error that carries the last lines of stderr.
    ///
    /// # Errors
    /// Returns an error if the status is not zero.
    pub(crate) fn into_stdout(self, invocation: &Invocation) -> Result<String> {
        if self.is_success() {
            return Ok(self.stdout);
        }
        let said = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines[lines.len().saturating_sub(3)..].join(" / ");
        let context = format!("running {invocation} (status {})", self.status_text());
        Err(Error::failed(context, last))
    }
}

/// A way to run commands.
pub trait CommandRunner {
    /// Runs `invocation` to its end, passing each line it prints to `watch`.
    ///
    /// # Errors
    /// Returns an error if the program cannot be found or started.
    fn run(&self, invocation: &Invocation, watch: &mut dyn FnMut(&str)) -> Result<CommandOutput>;
}

/// Runs programs of this machine: no shell, stdin closed, English messages, fixed PATH.
#[derive(Debug)]
pub struct RealRunner;

impl CommandRunner for RealRunner {
    fn run(&self, invocation: &Invocation, watch: &mut dyn FnMut(&str)) -> Result<CommandOutput> {
        let starting = |cause| {
            Error::failed(format!("starting {}", invocation.program), cause)
                .with_hint(format!("is {} installed?", invocation.program))
        };
        let mut child = Command::new(find_program(&invocation.program))
            .args(invocation.arguments.iter().map(|word| os_word(word)))
            .env("LC_ALL", "C")
            .env("PATH", PROGRAM_DIRECTORIES.join(":"))
            .envs(invocation.environment.iter().map(|(name, value)| (name, value)))
            // Ctrl-C is for us: it stops between two changes, never in the middle of a mkfs.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(starting)?;
        let (sender, events) = mpsc::sync_channel(PIECES_QUEUED_MAX);
        read_into(child.stdout.take(), Stream::Stdout, &sender);
        read_into(child.stderr.take(), Stream::Stderr, &sender);
        std::thread::spawn(move || sender.send(FromProgram::Ended(child.wait())));
        let (status, stdout, stderr) = follow(&events, watch);
        let status = status.map_err(starting)?;
        Ok(CommandOutput {
            status: status.code(),
            stdout: stdout.into_text(),
            stderr: stderr.into_text(),
        })
    }
}

/// How many pieces of output may be queued before the program has to wait.
const PIECES_QUEUED_MAX: usize = 64;
/// How long to wait for output after a program has ended. This matters only if the program leaves a
/// process in the background with the same stdout, which may run forever.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
enum Stream {
    Stdout,
    Stderr,
}

/// What a running program does.
enum FromProgram {
    /// It printed; an empty piece marks the end of the stream.
    Printed(Stream, Vec<u8>),
    /// It ended.
    Ended(std::io::Result<ExitStatus>),
}

/// Reads `source` to its end in a thread of its own. It keeps reading after the receiver is gone,
/// so that a process left in the background does not die of a closed pipe.
fn read_into(
    source: Option<impl Read + Send + 'static>,
    stream: Stream,
    sender: &SyncSender<FromProgram>,
) {
    let (Some(mut source), sender) = (source, sender.clone()) else { return };
    std::thread::spawn(move || {
        let mut chunk = [0; 8192];
        while let Ok(count @ 1..) = source.read(&mut chunk) {
            let _ = sender.send(FromProgram::Printed(stream, chunk[..count].to_vec()));
        }
        let _ = sender.send(FromProgram::Printed(stream, Vec::new()));
    });
}

/// Follows a program to its end, and its output to the end or for another [`DRAIN_TIME_MAX`].
fn follow(
    events: &Receiver<FromProgram>,
    watch: &mut dyn FnMut(&str),
) -> (std::io::Result<ExitStatus>, Kept, Kept) {
    let (mut stdout, mut stderr) = (Kept::default(), Kept::default());
    let mut ended = None;
    let mut line = Vec::new();
    let mut deadline: Option<Instant> = None;
    while ended.is_none() || !stdout.has_ended || !stderr.has_ended {
        let event = match deadline {
            None => events.recv().ok(),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                events.recv_timeout(left).ok()
            }
        };
        match event {
            None => break,
            Some(FromProgram::Ended(status)) => {
                ended = Some(status);
                deadline = Some(Instant::now() + DRAIN_TIME_MAX);
            }
            Some(FromProgram::Printed(Stream::Stderr, bytes)) => stderr.take(&bytes),
            Some(FromProgram::Printed(Stream::Stdout, bytes)) => {
                stdout.take(&bytes);
                watch_lines(&mut line, &bytes, watch);
            }
        }
    }
    if !line.is_empty() {
        watch(String::from_utf8_lossy(&line).trim_end());
    }
    let unknown = || Err(std::io::Error::other("it did not end in time"));
    (ended.unwrap_or_else(unknown), stdout, stderr)
}

/// Passes every line that `bytes` complete to `watch`; an incomplete rest stays in `line`.
fn watch_lines(line: &mut Vec<u8>, bytes: &[u8], watch: &mut dyn FnMut(&str)) {
    for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
        let room = OUTPUT_BYTES_MAX.saturating_sub(line.len()).min(piece.len());
        line.extend_from_slice(&piece[..room]);
        if piece.ends_with(b"\n") {
            watch(String::from_utf8_lossy(line).trim_end());
            line.clear();
        }
    }
}

/// The bounded beginning of an output stream.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    has_ended: bool,
}

impl Kept {
    fn take(&mut self, bytes: &[u8]) {
        let room = OUTPUT_BYTES_MAX.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
        self.has_ended = bytes.is_empty();
    }

    fn into_text(self) -> String {
        lossless_text::from_bytes(self.bytes)
    }
}

/// `word` as the kernel expects it: a name that was read can be used again, whatever its bytes.
fn os_word(word: &str) -> std::ffi::OsString {
    std::os::unix::ffi::OsStringExt::from_vec(lossless_text::to_bytes(word))
}

/// The path of `program` in the first system directory that has it, or the name itself for the
/// error message.
fn find_program(program: &str) -> std::path::PathBuf {
    if program.contains('/') {
        return os_word(program).into();
    }
    PROGRAM_DIRECTORIES
        .iter()
        .map(|directory| std::path::Path::new(directory).join(program))
        .find(|candidate| candidate.exists())
        .unwrap_or_else(|| program.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_prints_as_a_shell_would_need_it() {
        let invocation = Invocation::new("mkfs.ext4").arguments(["-L", "it's me", "/dev/sdb"]);
        assert_eq!(invocation.to_string(), r"mkfs.ext4 -L 'it'\''s me' /dev/sdb");
    }

    #[test]
    fn a_failing_program_puts_its_last_words_into_the_error() {
        let script = Invocation::new("sh").arguments(["-c", "echo no such disk >&2; exit 7"]);
        let error = RealRunner
            .run(&script, &mut |_| {})
            .and_then(|output| output.into_stdout(&script))
            .unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        assert!(error.to_string().contains("status 7"), "{error}");
        assert_eq!(cause.as_deref(), Some("no such disk"));
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_with_a_hint() {
        let error = RealRunner.run(&Invocation::new("no-such-program"), &mut |_| {}).unwrap_err();
        assert_eq!(error.hint(), Some("is no-such-program installed?"));
    }

    #[test]
    fn lines_are_watched_as_they_come() {
        let script = Invocation::new("sh").arguments(["-c", "echo one; echo two"]);
        let mut seen = Vec::new();
        let output = RealRunner.run(&script, &mut |line| seen.push(line.to_owned())).unwrap();
        assert_eq!(seen, ["one", "two"]);
        assert_eq!(output.stdout, "one\ntwo\n");
    }

    #[test]
    fn what_is_left_running_in_the_background_is_not_waited_for() {
        let text = "printf 'one\\ntwo'; (sleep 60 & echo $! >&2)";
        let script = Invocation::new("sh").arguments(["-c", text]);
        let mut seen = Vec::new();
        let begun = Instant::now();
        let output = RealRunner.run(&script, &mut |line| seen.push(line.to_owned())).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        assert_eq!((output.status, output.stdout.as_str()), (Some(0), "one\ntwo"));
        assert_eq!(seen, ["one", "two"]);
        let kill = Invocation::new("kill").argument(output.stderr.trim());
        RealRunner.run(&kill, &mut |_| {}).unwrap();
    }

    #[test]
    fn more_than_a_pipe_holds_is_read_from_both_streams() {
        let text = "yes out | head -c 300000; yes err | head -c 300000 >&2";
        let script = Invocation::new("sh").arguments(["-c", text]);
        let output = RealRunner.run(&script, &mut |_| {}).unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (300_000, 300_000));
    }
}
