//! No verb takes more than 128 MiB, whatever its input: streams with the largest headers, the most
//! marks and entries, compressed bombs; images and zeros of terabytes; histories with the most
//! points, and forged ones. Each row of the tables is a run of the program, measured from outside.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

mod documents;
mod histories;
mod streams;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use mt_tests::program::{command, mtctl};
use mt_tests::scratch_machine::ScratchMachine;

const MIB: u64 = 1 << 20;
/// The bound that is promised for every verb and every input.
const PEAK_BYTES_MAX: u64 = 128 * MIB;

/// One row of a table: a command to run.
struct Row {
    /// Its input, in words.
    input: &'static str,
    /// The verb and its arguments.
    words: Vec<String>,
    /// The file that is piped into it.
    piped: Option<String>,
    /// Its exit code.
    code: u8,
    /// It runs until it is stopped.
    is_stopped: bool,
}

impl Row {
    /// `verb` is split at blanks, and every `{}` in it is replaced by the next of `names`.
    fn new(code: u8, input: &'static str, verb: &str, names: &[&str]) -> Self {
        let mut names = names.iter();
        let words = verb.split_whitespace().map(|word| match word.contains("{}") {
            true => word.replace("{}", names.next().unwrap()),
            false => word.to_owned(),
        });
        Self { input, words: words.collect(), piped: None, code, is_stopped: false }
    }

    fn stopped(self) -> Self {
        Self { is_stopped: true, ..self }
    }

    fn piped(self, from: &str) -> Self {
        Self { piped: Some(from.to_owned()), ..self }
    }
}

/// Runs `row`; returns its peak memory in bytes, and what is wrong.
fn peak(machine: &ScratchMachine, row: &Row) -> (u64, Option<String>) {
    let (report, said) = (machine.file("peak"), machine.file("said"));
    let program = mtctl().to_str().unwrap();
    // With a limit of its own, a hanging row is reported as such rather than by a timeout of all
    // tests.
    let limit: &[_] = match row.is_stopped {
        true => &["--preserve-status", "--signal", "INT", "1"],
        false => &["60"],
    };
    let mut words = vec![report.to_str().unwrap(), "timeout"];
    words.extend(limit);
    words.push(program);
    words.extend(row.words.iter().map(String::as_str));
    let mut command = command(env!("CARGO_BIN_EXE_peak_of"), &words);
    // Its output may be larger than this test should hold.
    command.stdout(Stdio::null()).stderr(fs::File::create(&said).unwrap());
    let mut feeder = row.piped.as_ref().map(|from| feeder(from));
    if let Some(feeder) = &mut feeder {
        command.stdin(feeder.stdout.take().unwrap());
    }
    let ended = command.status().unwrap();
    drop(command);
    if let Some(mut feeder) = feeder {
        // It is killed by its pipe if not everything is read.
        feeder.wait().unwrap();
    }
    let peak = fs::read_to_string(&report).unwrap().parse().unwrap();
    let is_expected = ended.code() == Some(row.code.into());
    let wrong = (!is_expected).then(|| format!("{ended}: {}", beginning(&said)));
    (peak, wrong)
}

fn feeder(from: &str) -> std::process::Child {
    Command::new("cat").arg(from).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn beginning(said: &Path) -> String {
    let said = fs::read(said).unwrap();
    String::from_utf8_lossy(&said[..said.len().min(600)]).into_owned()
}

/// Runs all of `rows`, prints the peak memory of each, and fails if one took too much or had
/// another exit code.
#[track_caller]
fn all_are_small(machine: &ScratchMachine, rows: &[Row]) {
    let mut wrong = Vec::new();
    for row in rows {
        let began = Instant::now();
        let (peak, why) = peak(machine, row);
        let verb: Vec<_> = row.words.iter().take_while(|word| !word.contains('/')).collect();
        let words = verb.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(" ");
        let shown = format!("{:>4} MiB  {words} < {}", peak / MIB, row.input);
        println!("{shown}, {:?}", began.elapsed());
        if peak >= PEAK_BYTES_MAX || why.is_some() {
            wrong.push(format!("{shown} {}", why.unwrap_or_default()));
        }
        // No running program takes less.
        assert!(peak > MIB, "{peak} bytes are no measurement");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
