//! `make bench`: whole commands, measured against their peers on one device in memory. How and why:
//! docs/performance.md. Micro benchmarks are in `cargo bench`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use clap::builder::PossibleValuesParser;

use crate::machine::{Machine, available_mib};
use crate::report::{Report, WorkloadReport};
use crate::rounds::{Bench, say};
use crate::target::Target;
use crate::tools::Tools;
use crate::workload::Workload;

mod contender;
mod history;
mod limits;
mod machine;
mod measure;
mod report;
mod representation;
mod rounds;
mod statistics;
mod target;
mod tools;
mod workload;

/// Measures whole commands that write changes to a disk, against each other, in interleaved rounds.
#[derive(Debug, Parser)]
#[command(name = "mt-bench")]
struct Arguments {
    /// How often each contender runs
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Only this workload; can be given several times
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(workload::NAMES))]
    workload: Vec<String>,
    /// Also the limits that have no workload; all of them without --workload
    #[arg(long)]
    limits: bool,
    /// Size of the target in GiB; less if memory is short
    #[arg(long, value_name = "GiB", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1024))]
    size: u64,
    /// Where the results are written
    #[arg(long, value_name = "FILE", default_value = "bench/results.json")]
    output: PathBuf,
}

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
    if !nix::unistd::Uid::effective().is_root() {
        bail!("making loop devices needs root\nhint: make bench, or sudo target/release/mt-bench");
    }
    // A signal ends the run between two commands, so that everything is cleaned up.
    let interrupted = system::signals::stop_flag()?;
    let tools = Tools::find()?;
    let mut notes = Vec::new();
    let bytes = affordable(arguments.size << 30, &mut notes)?;
    say(&format!("filling a target of {} MiB in memory", bytes >> 20));
    let target = Target::new(bytes)?;
    let rounds = usize::from(arguments.rounds);
    let bench = Bench { target: &target, tools: &tools, rounds, interrupted: &interrupted };
    let mut workloads = Vec::new();
    for name in chosen(arguments) {
        let results = bench.run(Workload::new(name, bytes))?;
        workloads.push(WorkloadReport::new(results));
    }
    let limits = match arguments.workload.is_empty() || arguments.limits {
        true => limits::measure(&target, &tools, rounds)?,
        false => Vec::new(),
    };
    let report = Report {
        date: machine::date()?,
        machine: Machine::here()?,
        versions: tools.versions.clone(),
        target_bytes: bytes,
        rounds,
        notes,
        workloads,
        limits,
        must_show: Vec::new(),
    }
    .judged();
    report::print(&report);
    write(&report, &arguments.output)?;
    Ok(if report.is_wrong() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// `wanted` bytes, or less if memory is short: it has to hold the target, a stream of the same size
/// and a retention volume larger by a third at the same time, with some left for the contenders.
fn affordable(wanted: u64, notes: &mut Vec<String>) -> Result<u64> {
    const STEP: u64 = 256 << 20;
    let available = available_mib()? << 20;
    let most = available.saturating_sub(1 << 30) * 10 / 35 / STEP * STEP;
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
fn chosen(arguments: &Arguments) -> impl Iterator<Item = &'static str> {
    let (asked, limits) = (&arguments.workload, arguments.limits);
    let all = workload::NAMES.into_iter();
    all.filter(move |name| (asked.is_empty() && !limits) || asked.iter().any(|asked| asked == name))
}

fn write(report: &Report, path: &Path) -> Result<()> {
    let mut text = serde_json::to_string_pretty(report).context("writing JSON")?;
    text.push('\n');
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    say(&format!("results are in {}", path.display()));
    Ok(())
}
