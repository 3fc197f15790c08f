//! `make bench`: whole commands, measured against their peers on one device in memory. How and why:
//! docs/performance.md. Micro benchmarks are in `cargo bench`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};

use crate::machine::{Machine, available_mib};
use crate::report::{Report, WorkloadReport};
use crate::rounds::{Bench, say};
use crate::target::Target;
use crate::tools::Tools;
use crate::workload::Workload;

mod contender;
mod document;
mod history;
mod limits;
mod machine;
mod measure;
mod profile;
mod read_stream;
mod report;
mod representation;
mod rounds;
mod statistics;
mod target;
mod thinning;
mod throttle;
mod tools;
mod views;
mod workload;

/// Measures whole commands that write changes to a disk, against each other, in interleaved rounds.
#[derive(Debug, Parser)]
#[command(name = "mt-bench", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    options: BenchOptions,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Find out where the time goes: by thread and stage, and what threads wait for
    Profile(profile::ProfileOptions),
    /// Only read standard input: a contender
    #[command(hide = true)]
    ReadStream,
}

#[derive(Debug, Args)]
struct BenchOptions {
    /// How often each contender runs
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Only this workload; can be given several times
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(workload::NAMES))]
    workload: Vec<String>,
    /// Also the limits that have no workload; all of them without --workload
    #[arg(long)]
    limits: bool,
    /// Rates of slow devices, in MB/s, for the workloads with history [default: 500,1000,2000, or
    /// none with --workload or --limits]
    #[arg(long, value_name = "MB/s", value_delimiter = ',')]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rates: Option<Vec<u64>>,
    /// Size of the target in GiB; less if memory is short
    #[arg(long, value_name = "GiB", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1024))]
    size: u64,
    /// Where the results are written
    #[arg(long, value_name = "FILE", default_value = "bench/results.json")]
    output: PathBuf,
    /// Put the tables into this Markdown file, between its two comments `results`
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
}

/// The rates of slow devices, in MB/s.
const RATES: [u64; 3] = [500, 1000, 2000];

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    if matches!(arguments.verb, Some(Verb::ReadStream)) {
        return read_stream::run().map(|()| ExitCode::SUCCESS);
    }
    if !nix::unistd::Uid::effective().is_root() {
        bail!("making loop devices needs root\nhint: make bench, or sudo target/release/mt-bench");
    }
    // A signal ends the run between two commands, so that everything is cleaned up.
    let interrupted = system::signals::stop_flag()?;
    match &arguments.verb {
        Some(Verb::Profile(options)) => {
            profile::run(options, &interrupted).map(|()| ExitCode::SUCCESS)
        }
        _ => measure(&arguments.options, &interrupted),
    }
}

fn measure(options: &BenchOptions, interrupted: &AtomicBool) -> Result<ExitCode> {
    let begun = Instant::now();
    let tools = Tools::find()?;
    let mut notes = Vec::new();
    let bytes = affordable(options.size << 30, &mut notes)?;
    say(&format!("filling a target of {} MiB in memory", bytes >> 20));
    let target = Target::new(bytes)?;
    let rounds = usize::from(options.rounds);
    let bench = Bench { target: &target, tools: &tools, rounds, interrupted };
    let mut workloads = Vec::new();
    for name in chosen(options) {
        workloads.push(WorkloadReport::new(bench.run(&Workload::new(name, bytes))?));
    }
    for name in workload::SLOWED.into_iter().filter(|name| is_slowed(options, name)) {
        // A slow device takes its time: half of the bytes are enough.
        let workload = Workload::new(name, bytes / 2);
        let found = bench.run_slowed(&workload, options.rates.as_deref().unwrap_or(&RATES))?;
        workloads.extend(found.into_iter().map(WorkloadReport::new));
    }
    let limits = match options.workload.is_empty() || options.limits {
        true => limits::measure(&target, &tools, rounds)?,
        false => Vec::new(),
    };
    let report = Report {
        date: machine::date()?,
        machine: Machine::here()?,
        versions: tools.versions.clone(),
        target_bytes: bytes,
        rounds,
        seconds: begun.elapsed().as_secs_f64(),
        notes,
        workloads,
        limits,
        must_show: Vec::new(),
    }
    .judged();
    report::print(&report);
    if let Some(path) = &options.document {
        document::replace(path, "results", &report::markdown(&report))?;
    }
    write(&report, &options.output)?;
    Ok(if report.is_wrong() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// `wanted` bytes, or less if memory is short: it has to hold the target, a stream, a copy of it
/// and a retention volume larger by a third at the same time, with some left for the contenders.
fn affordable(wanted: u64, notes: &mut Vec<String>) -> Result<u64> {
    const STEP: u64 = 256 << 20;
    let available = available_mib()? << 20;
    let most = available.saturating_sub(1 << 30) * 10 / 42 / STEP * STEP;
    if most >= wanted {
        return Ok(wanted);
    }
    ensure!(most > 0, "{} MiB of free memory are not enough to measure anything", available >> 20);
    let note = format!(
        "the target has {} MiB instead of {}: {} MiB of memory were available",
        most >> 20,
        wanted >> 20,
        available >> 20
    );
    say(&note);
    notes.push(note);
    Ok(most)
}

/// The requested workloads, or all, in their order.
fn chosen(options: &BenchOptions) -> impl Iterator<Item = &'static str> {
    let (asked, limits) = (&options.workload, options.limits);
    let all = workload::NAMES.into_iter();
    all.filter(move |name| (asked.is_empty() && !limits) || asked.iter().any(|asked| asked == name))
}

/// Whether the workload `name` is measured on slow devices, too.
fn is_slowed(options: &BenchOptions, name: &str) -> bool {
    let everything = options.workload.is_empty() && !options.limits;
    let is_asked = options.workload.is_empty() || options.workload.iter().any(|n| n == name);
    everything || (options.rates.is_some() && is_asked)
}

fn write(report: &Report, path: &Path) -> Result<()> {
    let mut text = serde_json::to_string_pretty(report).context("writing JSON")?;
    text.push('\n');
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    say(&format!("results are in {}", path.display()));
    Ok(())
}
