//! Tells the story: paragraphs, and commands as an operator types them, with their output.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::adapter::strip_str;
use anyhow::{Context, Result};
use system::{Error, ErrorKind};
use textwrap::{Options, WordSplitter};

use crate::expectation::{expect, says};
use crate::namespace::SCRATCH;

/// Indentation of everything except titles, in columns.
const INDENT: &str = "  ";
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Where the system's programs are; root's own PATH may lack half of these directories.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin";

/// What was printed last, which decides whether a blank line follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Blank,
    SilentCommand,
    Text,
}

/// The narrator.
pub(crate) struct Story {
    /// The program, held open: the directory that it is in may get covered.
    mtctl: File,
    /// Set by a signal, after which no other command is run.
    interrupted: Arc<AtomicBool>,
    last: Last,
}

impl Story {
    /// A story about the `mtctl` beside this program.
    ///
    /// # Errors
    /// Returns an error if there is none.
    pub(crate) fn new() -> Result<Self> {
        let path = std::env::current_exe()?.with_file_name("mtctl");
        let mtctl = File::open(&path).map_err(|cause| {
            Error::failed(format!("opening {}", path.display()), cause)
                .with_hint("cargo build -p mtctl -p mt-demo")
        })?;
        Ok(Self { mtctl, interrupted: system::signals::stop_flag_then_exit()?, last: Last::Blank })
    }

    /// The path at which the program can be read and run.
    pub(crate) fn mtctl(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.mtctl.as_raw_fd()).into()
    }

    /// Prints a line by itself, without a margin.
    pub(crate) fn heading(&mut self, text: &str) {
        self.blank_line_after(&[Last::Text, Last::SilentCommand]);
        print(&format!("{BOLD}{text}{PLAIN}\n\n"));
        self.last = Last::Blank;
    }

    /// Prints a paragraph.
    pub(crate) fn say(&mut self, text: &str) {
        self.lines(&wrapped(text, width()).join("\n"));
    }

    /// Prints lines unchanged.
    pub(crate) fn lines(&mut self, text: &str) {
        self.blank_line_after(&[Last::Text, Last::SilentCommand]);
        text.lines().for_each(print_line);
        self.last = Last::Text;
    }

    fn blank_line_after(&self, those: &[Last]) {
        if those.contains(&self.last) {
            print("\n");
        }
    }

    /// Runs `typed`, which must exit with `exit`, and shows its output. Returns it without colours.
    ///
    /// # Errors
    /// Returns an error if it cannot be run or has another exit code.
    pub(crate) fn run(&mut self, typed: &str, exit: i32) -> Result<String> {
        self.run_showing(typed, &[exit], |_| true)
    }

    /// The same, and the output must contain `words`.
    ///
    /// # Errors
    /// Returns an error if it cannot be run, has another exit code or prints something else.
    pub(crate) fn run_saying(&mut self, typed: &str, exit: i32, words: &str) -> Result<()> {
        says(&self.run(typed, exit)?, words)
    }

    /// Like [`Story::run`], for one of several `exits`. Of the output, only those blocks (a line
    /// without a margin, and those with one below it) are shown that `is_shown` accepts.
    ///
    /// # Errors
    /// Returns an error if it cannot be run or has another exit code.
    pub(crate) fn run_showing(
        &mut self,
        typed: &str,
        exits: &[i32],
        is_shown: fn(&str) -> bool,
    ) -> Result<String> {
        self.show_typed(typed, "")?;
        // Both streams share one pipe, so that the output keeps its order.
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let mut command = self.command(typed);
        command.stdout(write.try_clone()?).stderr(write);
        let mut child = command.spawn().with_context(|| format!("running {typed}"))?;
        // It holds the writing ends of the pipe.
        drop(command);
        let mut bytes = Vec::new();
        File::from(read).read_to_end(&mut bytes)?;
        let exit = child.wait()?.code();
        self.check_interrupted()?;
        let coloured = String::from_utf8_lossy(&bytes);
        show(&coloured, is_shown);
        if exit != Some(0) {
            let code =
                exit.map_or_else(|| "none: a signal ended it".into(), |code| code.to_string());
            print_line(&format!("{DIM}[exit code {code}]{PLAIN}"));
        }
        let is_silent = bytes.is_empty() && exit == Some(0);
        self.last = if is_silent { Last::SilentCommand } else { Last::Text };
        let text = strip_str(&coloured).to_string();
        expect(exit.is_some_and(|code| exits.contains(&code)), || {
            format!("`{typed}` exited with {exit:?}, expected one of {exits:?}:\n{text}")
        })?;
        Ok(text)
    }

    /// Starts `typed`, which keeps running in the background, and shows what it prints when it is
    /// ready: its first lines, up to one with a margin.
    ///
    /// # Errors
    /// Returns an error if it cannot be run, or ends without reporting that it is ready.
    pub(crate) fn start(&mut self, typed: &str) -> Result<Child> {
        self.show_typed(typed, " &")?;
        let mut command = self.command(typed);
        let mut child =
            command.stdout(Stdio::piped()).spawn().with_context(|| format!("running {typed}"))?;
        let stdout = child.stdout.take().context("invariant: it was piped")?;
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            print_line(&line);
            if line.starts_with(' ') {
                self.last = Last::Text;
                return Ok(child);
            }
        }
        let status = child.wait()?;
        expect(false, || format!("`{typed}` ended with {status}"))?;
        Ok(child)
    }

    /// Ends a background command, as Ctrl-C does.
    ///
    /// # Errors
    /// Returns an error if it does not succeed.
    pub(crate) fn stop(&mut self, mut child: Child) -> Result<()> {
        let process = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM)?;
        let status = child.wait()?;
        expect(status.success(), || format!("the background command ended with {status}"))
    }

    fn show_typed(&self, typed: &str, end: &str) -> Result<()> {
        self.check_interrupted()?;
        self.blank_line_after(&[Last::Text]);
        let lines = wrapped(typed, width() - "$ ".len() - " \\".len());
        let joined = lines.join(" \\\n      ");
        for line in format!("$ {joined}{end}").lines() {
            print_line(&format!("{BOLD}{line}{PLAIN}"));
        }
        Ok(())
    }

    /// The command that `typed` means.
    fn command(&self, typed: &str) -> Command {
        let mut words = typed.split_whitespace();
        let name = words.next().unwrap_or_default();
        let program = if name == "mtctl" { self.mtctl() } else { name.into() };
        let mut command = Command::new(program);
        command.arg0(name).args(words).stdin(Stdio::null()).current_dir("/");
        // Settings of this machine's operator do not apply to the demo's disks.
        let names = std::env::vars_os().map(|(name, _)| name);
        for name in names.filter(|name| name.to_string_lossy().starts_with("MTCTL_")) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").env("PATH", PATH).env("MTCTL_LOG", "warn");
        command.env("BLKID_FILE", format!("{SCRATCH}/blkid.tab"));
        // Colours are taken out again where this program's own output has none.
        command.env("CLICOLOR_FORCE", "1").env("COLUMNS", width().to_string());
        command
    }

    fn check_interrupted(&self) -> Result<()> {
        if !self.interrupted.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Failed, "interrupted")
            .with_hint("nothing is left behind; to start again: make demo")
            .into())
    }
}

/// Shows the output of a command.
fn show(text: &str, is_shown: fn(&str) -> bool) {
    let (mut is_block_shown, mut hidden) = (true, 0_usize);
    for line in text.lines() {
        let plain = strip_str(line).to_string();
        if !plain.starts_with(' ') && !plain.is_empty() {
            is_block_shown = is_shown(&plain);
            hidden += usize::from(!is_block_shown);
        }
        if is_block_shown {
            fitted(line).iter().for_each(|line| print_line(line));
        }
    }
    if hidden > 0 {
        print_line(&format!("{DIM}[and {hidden} more lines, about this machine]{PLAIN}"));
    }
}

/// An error is one line, however long, so that logs can be searched; here it is wrapped for
/// reading.
fn fitted(line: &str) -> Vec<String> {
    match line.starts_with("mtctl: ") || line.starts_with("hint: ") {
        true => wrapped(line, width()),
        false => vec![line.to_owned()],
    }
}

/// `text` in lines of `columns`, broken at blanks only.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let options =
        Options::new(columns).break_words(false).word_splitter(WordSplitter::NoHyphenation);
    textwrap::wrap(text, options).into_iter().map(Into::into).collect()
}

/// The columns of a terminal, else 80, without the indentation.
fn width() -> usize {
    textwrap::termwidth().clamp(40, 100) - INDENT.len()
}

fn print_line(line: &str) {
    let indent = if line.is_empty() { "" } else { INDENT };
    print(&format!("{indent}{line}\n"));
}

/// Prints to stdout. If nobody reads it any more, the story goes on: it is also a check.
fn print(text: &str) {
    let mut out = anstream::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
