//! Runs programs, including the one under test, and checks their output against expectations.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The result of a program.
#[derive(Clone, Debug)]
pub struct Run {
    /// The command, for messages.
    pub command: String,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed on stdout.
    pub stdout: String,
    /// What it printed on stderr.
    pub stderr: String,
}

impl Run {
    /// Asserts that the exit code is `code`, and shows all output on failure.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Asserts that `text` was printed on either stream. Any white space matches one blank, because
    /// long lines are broken for people.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.said().contains(text), "expected {text:?} in {self:#?}");
        self
    }

    /// Asserts that `text` was printed on neither stream.
    #[track_caller]
    pub fn does_not_say(&self, text: &str) -> &Self {
        assert!(!self.said().contains(text), "{text:?} in {self:#?}");
        self
    }

    fn said(&self) -> String {
        let both = format!("{}\n{}", self.stdout, self.stderr);
        both.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// `program` with these arguments: in English, without a terminal, with the system's own PATH, and
/// without the variables that would change the behaviour of mtctl.
pub fn command<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: &[S]) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| {
        name.to_string_lossy().starts_with("MTCTL_") || name.to_string_lossy() == "NO_COLOR"
    }) {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .env("LVM_SUPPRESS_FD_WARNINGS", "1")
        .stdin(Stdio::null());
    command
}

/// Runs `command` to its end.
#[track_caller]
pub fn finish(command: &mut Command) -> Run {
    let output = command.output().unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
    Run {
        command: format!("{command:?}"),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs `command`, and sends it `signal` after `yields` turns of waiting; it may have ended before.
/// Nothing depends on the duration except which moments are tested. `bytes` are sent to its
/// standard input, which stays open.
#[track_caller]
pub fn interrupted(command: &mut Command, signal: Signal, yields: u64, bytes: &[u8]) -> Run {
    let shown = format!("{command:?}");
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = piped.spawn();
    let mut child = child.unwrap_or_else(|error| panic!("starting {shown}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    // It may have ended before it read all of them.
    let _ = stdin.write_all(bytes);
    for _ in 0..yields {
        std::thread::yield_now();
        if child.try_wait().unwrap().is_some() {
            break;
        }
    }
    if child.try_wait().unwrap().is_none() {
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    Run {
        command: shown,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The peak memory of process `id` so far, in bytes; `None` once it has ended.
pub fn peak_bytes_of(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let row = status.lines().find_map(|row| row.strip_prefix("VmHWM:"))?;
    Some(row.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10)
}

/// Runs a tool that must succeed, and returns its stdout.
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) -> String {
    let run = finish(&mut command(program, arguments));
    run.exits(0);
    run.stdout
}

/// Runs a POSIX shell script that must succeed, and returns its stdout.
#[track_caller]
pub fn shell(script: &str) -> String {
    run("sh", &["-euc", script])
}

/// The program as its users get it, built once by cargo: an outdated one must never be tested, and
/// `cargo test -p mt-tests` alone does not build programs of other packages.
pub fn mtctl() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let build = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "-p", "mtctl", "--message-format", "json"])
            .current_dir(workspace)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(build.status.success(), "building mtctl");
        let messages = String::from_utf8(build.stdout).unwrap();
        let program = messages.lines().find_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            (message["target"]["name"] == "mtctl").then_some(())?;
            message["executable"].as_str().map(PathBuf::from)
        });
        program.expect("cargo names the program it built")
    })
}

/// Asserts with `mtctl journal check` that the history of `group` is intact, on the mounted
/// retention volume or with other `options`. Returns the report.
#[track_caller]
pub fn history_is_whole(group: &str, options: &[&str]) -> serde_json::Value {
    let mut arguments = vec!["journal", "check", "--group", group, "--json"];
    arguments.extend(options);
    let run = finish(&mut command(mtctl(), &arguments));
    run.exits(0);
    run.json()
}
