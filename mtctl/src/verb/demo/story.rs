//! Tells the story: paragraphs, commands as an operator types them with their output, and their
//! expected results. The chapters themselves are in `chapters`.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use serde::Serialize;
use system::{Error, ErrorKind};

use super::stage::SCRATCH;
use crate::output::{self, Colour, coloured};

/// Indentation of everything except titles, in columns.
const INDENT: usize = 2;

/// Where the system's programs are; root's own PATH may lack half of these directories.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin";

/// The outcome of one command.
#[derive(Debug, Serialize)]
struct Ran {
    command: String,
    exit: Option<i32>,
}

/// The outcome of one chapter.
#[derive(Debug, Serialize)]
struct Told {
    title: &'static str,
    commands: Vec<Ran>,
    ok: bool,
}

/// The document for `--json`.
#[derive(Serialize)]
struct Json<'a> {
    chapters: &'a [Told],
    ok: bool,
}

/// What was printed last, which decides whether a blank line follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Blank,
    SilentCommand,
    Text,
}

/// The narrator.
pub(super) struct Story {
    out: Box<dyn Write>,
    told: Vec<Told>,
    interrupted: Arc<AtomicBool>,
    last: Last,
}

impl Story {
    /// A story told to `out`; it ends before the next command once `interrupted` is set.
    pub(super) fn new(out: Box<dyn Write>, interrupted: Arc<AtomicBool>) -> Self {
        Self { out, told: Vec::new(), interrupted, last: Last::Blank }
    }

    /// Begins the next chapter; the previous one succeeded.
    pub(super) fn begin(&mut self, title: &'static str) -> Result<()> {
        self.told.push(Told { title, commands: Vec::new(), ok: false });
        let number = self.told.len();
        self.heading(&format!("{number}. {title}"))
    }

    /// Marks the chapter as successful.
    pub(super) fn end_well(&mut self) {
        if let Some(chapter) = self.told.last_mut() {
            chapter.ok = true;
        }
    }

    /// Prints a line by itself, without a margin.
    pub(super) fn heading(&mut self, text: &str) -> Result<()> {
        self.blank_line_after(&[Last::Text, Last::SilentCommand])?;
        writeln!(self.out, "{}\n", coloured(text, Colour::Bold))?;
        self.last = Last::Blank;
        Ok(())
    }

    /// Prints a paragraph.
    pub(super) fn say(&mut self, text: &str) -> Result<()> {
        self.lines(&output::wrapped(text, INDENT).replace(&format!("\n{:INDENT$}", ""), "\n"))
    }

    /// Prints lines unchanged.
    pub(super) fn lines(&mut self, text: &str) -> Result<()> {
        self.blank_line_after(&[Last::Text, Last::SilentCommand])?;
        text.lines().try_for_each(|line| line_out(&mut self.out, line))?;
        self.last = Last::Text;
        Ok(self.out.flush()?)
    }

    fn blank_line_after(&mut self, those: &[Last]) -> std::io::Result<()> {
        if those.contains(&self.last) { writeln!(self.out) } else { Ok(()) }
    }

    /// Runs `typed`, which must exit with one of `exits`, and shows its output: only the blocks of
    /// lines (those that belong to one line without a margin) that `is_shown` accepts. Returns all
    /// output.
    ///
    /// # Errors
    /// Returns an error if it cannot be run or has another exit code.
    pub(super) fn run_showing(
        &mut self,
        typed: &str,
        exits: &[i32],
        is_shown: fn(&str) -> bool,
    ) -> Result<String> {
        self.check_interrupted()?;
        self.blank_line_after(&[Last::Text])?;
        let line = format!("$ {}", broken(typed, usize::from(output::width()) - INDENT - 2));
        line.lines().try_for_each(|line| line_out(&mut self.out, &coloured(line, Colour::Bold)))?;
        self.out.flush()?;
        let (text, exit) = self.run_to_the_end(typed, is_shown)?;
        self.check_interrupted()?;
        if let Some(chapter) = self.told.last_mut() {
            chapter.commands.push(Ran { command: typed.to_owned(), exit });
        }
        if exit != Some(0) {
            let code =
                exit.map_or_else(|| "none, but a signal".to_owned(), |code| code.to_string());
            line_out(&mut self.out, &coloured(&format!("[exit code {code}]"), Colour::Dim))?;
        }
        let is_silent = text.is_empty() && exit == Some(0);
        self.last = if is_silent { Last::SilentCommand } else { Last::Text };
        self.out.flush()?;
        expect(exit.is_some_and(|code| exits.contains(&code)), || {
            format!("`{typed}` ended with {exit:?}, expected was one of {exits:?}:\n{text}")
        })?;
        Ok(text)
    }

    /// Like [`Story::run_showing`], but shows everything.
    ///
    /// # Errors
    /// Returns an error if it cannot be run or has another exit code.
    pub(super) fn run(&mut self, typed: &str, exit: i32) -> Result<String> {
        self.run_showing(typed, &[exit], |_| true)
    }

    /// Starts `typed`, which keeps running in the background, and shows what it prints when it is
    /// ready: its first lines, up to one with a margin.
    ///
    /// # Errors
    /// Returns an error if it cannot be run, or ends without reporting that it is ready.
    pub(super) fn start(&mut self, typed: &str) -> Result<Child> {
        self.check_interrupted()?;
        self.blank_line_after(&[Last::Text])?;
        let line = format!("$ {} &", broken(typed, usize::from(output::width()) - INDENT - 4));
        line.lines().try_for_each(|line| line_out(&mut self.out, &coloured(line, Colour::Bold)))?;
        let mut command = command(typed);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("running {typed}"))?;
        let stdout = child.stdout.take().context("invariant: it was piped")?;
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            line_out(&mut self.out, &line)?;
            if line.starts_with(' ') {
                self.last = Last::Text;
                self.out.flush()?;
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
    pub(super) fn stop(&mut self, mut child: Child) -> Result<()> {
        let process = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM)?;
        let status = child.wait()?;
        expect(status.success(), || format!("what ran in the background ended with {status}"))
    }

    fn run_to_the_end(
        &mut self,
        typed: &str,
        is_shown: fn(&str) -> bool,
    ) -> Result<(String, Option<i32>)> {
        // Both streams share one pipe, so that the output keeps its order.
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let mut command = command(typed);
        command.stdout(Stdio::from(write.try_clone()?)).stderr(Stdio::from(write));
        let spawned = command.stdin(Stdio::null()).spawn();
        // It holds the writing ends of the pipe.
        drop(command);
        let mut child = spawned.with_context(|| format!("running {typed}"))?;
        let shown = self.show(File::from(read), is_shown);
        // Waited for even if the reader has gone, because it works on the disks.
        let status = child.wait()?;
        Ok((shown?, status.code()))
    }

    /// Reads to the end even if the reader has gone: a program that prints into a closed pipe may
    /// break off in the middle of its work.
    fn show(&mut self, read: File, is_shown: fn(&str) -> bool) -> Result<String> {
        let mut text = String::new();
        let mut told = Ok(());
        let (mut is_block_shown, mut hidden) = (true, 0_usize);
        for line in BufReader::new(read).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            let plain = without_colours(&line);
            text.push_str(&plain);
            text.push('\n');
            if !plain.starts_with(' ') && !plain.is_empty() {
                is_block_shown = is_shown(&plain);
                hidden += usize::from(!is_block_shown);
            }
            if is_block_shown && told.is_ok() {
                let mut lines = fitted(&line).into_iter();
                told = lines.try_for_each(|line| line_out(&mut self.out, &line));
                told = told.and_then(|()| self.out.flush());
            }
        }
        if hidden > 0 && told.is_ok() {
            let line = format!("[and {hidden} more lines, about this machine]");
            told = line_out(&mut self.out, &coloured(&line, Colour::Dim));
        }
        told?;
        Ok(text)
    }

    fn check_interrupted(&self) -> Result<()> {
        if !self.interrupted.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Failed, "interrupted")
            .with_hint("nothing is left behind; begin again with: mtctl demo")
            .into())
    }

    /// Prints the story as JSON.
    pub(super) fn json(&self, out: &mut impl Write, ok: bool) -> Result<()> {
        output::print_result(out, &Json { chapters: &self.told, ok })
    }
}

/// Fails with `otherwise` if `holds` is false: something in the story is not as it should be.
///
/// # Errors
/// Returns an error if `holds` is false.
pub(super) fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Error::failed("this is not as it should be", otherwise().trim_end())
        .with_hint("nothing is left behind; please report this with all of the output above")
        .into())
}

fn line_out(out: &mut impl Write, line: &str) -> std::io::Result<()> {
    if line.is_empty() {
        return writeln!(out);
    }
    writeln!(out, "{:INDENT$}{line}", "")
}

/// An error is one line, however long, so that logs can be searched; here it is wrapped for
/// reading.
fn fitted(line: &str) -> Vec<String> {
    if !line.starts_with("mtctl: ") && !line.starts_with("hint: ") {
        return vec![line.to_owned()];
    }
    output::wrapped(line, INDENT + 2).lines().map(|line| line.trim_start().to_owned()).collect()
}

/// The program that `typed` names; for `mtctl`, this very program.
fn command(typed: &str) -> Command {
    let mut words = typed.split_whitespace();
    let program = words.next().unwrap_or_default();
    let program = if program == "mtctl" { "/proc/self/exe" } else { program };
    let mut command = Command::new(program);
    command.args(words).current_dir("/").env("LC_ALL", "C").env("PATH", PATH);
    // Settings of this machine's operator do not apply to the demo's disks.
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("MTCTL_")) {
        command.env_remove(name);
    }
    command.env("MTCTL_LOG", "warn");
    command.env("COLUMNS", (usize::from(output::width()) - INDENT).to_string());
    command.env("BLKID_FILE", format!("{SCRATCH}/blkid.tab"));
    if output::may_colour() {
        command.env("CLICOLOR_FORCE", "1");
    }
    command
}

/// `typed` with escaped line breaks, so that no line has more than `columns`.
fn broken(typed: &str, columns: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in typed.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() + 2 <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) => lines.push(format!("      {word}")),
            None => lines.push(word.to_owned()),
        }
    }
    lines.join(" \\\n")
}

/// `line` without the escape sequences that colour it.
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_is_broken_where_a_shell_joins_it_again() {
        assert_eq!(broken("mtctl disks --all", 80), "mtctl disks --all");
        let text = broken("mtctl prepare --only retention --yes", 24);
        assert_eq!(text, "mtctl prepare --only \\\n      retention --yes");
    }

    #[test]
    fn colours_are_taken_out_of_what_is_compared() {
        assert_eq!(without_colours("\x1b[32mok\x1b[0m  1 changed"), "ok  1 changed");
        assert_eq!(without_colours("plain"), "plain");
    }

    #[test]
    fn what_is_not_as_expected_is_a_failure_and_no_refusal() {
        assert!(expect(true, String::new).is_ok());
        let error = expect(false, || "1 and not 2".to_owned()).unwrap_err();
        let ours = error.downcast_ref::<Error>().unwrap();
        assert_eq!(ours.kind(), ErrorKind::Failed);
    }
}
