//! `make profile`: where the time of each workload goes, by thread and stage, and what threads wait
//! for. The kernel tells (perf): a clock on every processor, and every switch from one thread to
//! another, each with its stack.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::contender::Contender;
use crate::history::RetentionVolume;
use crate::limits;
use crate::machine::{self, Machine};
use crate::profile::ledger::Ledger;
use crate::profile::table::{Profile, Profiles};
use crate::rounds::{Bench, say};
use crate::target::Target;
use crate::tools::Tools;
use crate::workload::Workload;

mod events;
mod flame;
mod ledger;
mod stack;
mod table;

/// How often the clock ticks, per second. It is not a multiple of anything that is done regularly.
const FREQUENCY: u32 = 1999;
/// The names of the workloads that are profiled.
const NAMES: [&str; 9] =
    ["file", "pipe", "socket", "first-touch", "hot", "rollback", "view", "thinning", "points"];

/// What is profiled: the name, the workload of the benchmark, and its contender.
const PROFILED: [(&str, &str, &str); 8] = [
    ("file", "streamed-mixed", "mtctl apply, file"),
    ("pipe", "streamed-mixed", "mtctl apply, pipe"),
    ("socket", "streamed-mixed", "mtctl apply, socket"),
    ("first-touch", "history-mixed", "mtctl apply, history"),
    ("hot", "history-hot", "mtctl apply, history"),
    ("rollback", "rollback-dense", "mtctl rollback"),
    ("view", "view-read", "mtctl export, oldest point"),
    ("thinning", "thinning", "mtctl apply, thinned meanwhile"),
];
/// Those with a picture in the documentation.
const PICTURED: [&str; 3] = ["socket", "first-touch", "rollback"];

/// Where the time of each workload goes, by thread and stage.
#[derive(Debug, Args)]
pub(crate) struct ProfileOptions {
    /// How often each workload runs; the tables have the averages
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Only this workload; can be given several times
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(NAMES))]
    workload: Vec<String>,
    /// Size of the target in GiB
    #[arg(long, value_name = "GiB", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1024))]
    size: u64,
    /// Where flame graphs are written: of those asked for with --workload, or else of three
    #[arg(long, value_name = "DIR", default_value = "docs/profile")]
    flames: PathBuf,
    /// Where the results are written
    #[arg(long, value_name = "FILE", default_value = "bench/profile.json")]
    output: PathBuf,
    /// Put the tables into this Markdown file, between its two comments `profile`
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
}

/// Profiles the workloads, and prints and writes what was found.
///
/// # Errors
///
/// perf is missing, or a command failed.
pub(crate) fn run(options: &ProfileOptions, interrupted: &AtomicBool) -> Result<()> {
    let tools = Tools::find()?;
    ensure!(tools.versions.contains_key("perf"), "there is no perf\nhint: packaging/setup bench");
    let target = Target::new(options.size << 30)?;
    let rounds = usize::from(options.rounds);
    let bench = Bench { target: &target, tools: &tools, rounds, interrupted };
    let mut found = Vec::new();
    for name in NAMES {
        let is_wanted = options.workload.is_empty() || options.workload.iter().any(|n| n == name);
        if is_wanted {
            found.push(profile(name, &bench, options)?);
        }
    }
    let profiles = Profiles {
        date: machine::date()?,
        machine: Machine::here()?,
        versions: tools.versions.clone(),
        target_bytes: target.bytes(),
        rounds,
        profiles: found,
    };
    profiles.print();
    if let Some(document) = &options.document {
        crate::document::replace(document, "profile", &profiles.markdown())?;
    }
    let mut text = serde_json::to_string_pretty(&profiles).context("writing JSON")?;
    text.push('\n');
    fs::write(&options.output, text)
        .with_context(|| format!("writing {}", options.output.display()))?;
    say(&format!("results are in {}", options.output.display()));
    Ok(())
}

/// Profiles one workload.
fn profile(name: &'static str, bench: &Bench<'_>, options: &ProfileOptions) -> Result<Profile> {
    let Some((_, workload, contender)) = PROFILED.iter().find(|(known, ..)| *known == name) else {
        let volume = RetentionVolume::new(bench.target, false)?;
        let apply = limits::making_points(&volume, bench.tools)?;
        return record(name, &apply, 0, bench, options);
    };
    let workload = Workload::new(workload, bench.target.bytes());
    bench.prepared(&workload, |contenders, skipped| {
        let Some(found) = contenders.iter().find(|found| found.name == *contender) else {
            bail!("{contender} cannot be measured: {skipped:?}");
        };
        record(name, found, workload.bytes(), bench, options)
    })
}

/// Runs `contender` under perf, as often as asked for.
fn record(
    name: &'static str,
    contender: &Contender,
    bytes: u64,
    bench: &Bench<'_>,
    options: &ProfileOptions,
) -> Result<Profile> {
    let directory = bench.target.directory();
    let data = directory.join("perf.data");
    let mut ledger = Ledger::new(FREQUENCY);
    // The first run warms up.
    contender.run(&contender.command, directory)?;
    for round in 1..=bench.rounds {
        bench.check_signals()?;
        say(&format!("{name}: run {round} of {}", bench.rounds));
        contender.run(&recorded(&contender.command, &data), directory)?;
        read(&data, &mut ledger).context("reading what perf recorded")?;
        fs::remove_file(&data).context("deleting what perf recorded")?;
    }
    let is_pictured = match options.workload.is_empty() {
        true => PICTURED.contains(&name),
        false => true,
    };
    if is_pictured {
        let title = format!("{name}: processor time of {} runs", bench.rounds);
        fs::create_dir_all(&options.flames).context("making the directory for flame graphs")?;
        let path = options.flames.join(format!("{name}.svg"));
        fs::write(&path, flame::svg(&title, ledger.stacks()))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(Profile::new(name, contender, bytes, &ledger, bench.rounds))
}

/// `command`, watched by perf, together with everything else on the machine.
fn recorded(command: &[String], data: &Path) -> Vec<String> {
    let clock = format!("cpu-clock/freq={FREQUENCY}/");
    let data = data.to_string_lossy();
    let perf = [
        "perf",
        "record",
        "--quiet",
        "--all-cpus",
        "--event",
        &clock,
        "--event",
        "sched:sched_switch",
        "--event",
        "sched:sched_wakeup/call-graph=no/",
        "--call-graph",
        "fp",
        "--mmap-pages",
        "16M",
        "--output",
        &data,
        "--",
    ];
    perf.into_iter().map(str::to_owned).chain(command.iter().cloned()).collect()
}

/// Adds what perf recorded to `ledger`.
fn read(data: &Path, ledger: &mut Ledger) -> Result<()> {
    let mut script = Command::new("perf")
        .args(["script", "--no-inline", "--ns", "--fields"])
        .args(["comm,pid,tid,cpu,time,event,ip,sym,trace", "--input"])
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("starting perf script")?;
    let output = script.stdout.take().context("reading from perf script")?;
    let mut lines = BufReader::new(output)
        .split(b'\n')
        .map_while(|line| Some(String::from_utf8_lossy(&line.ok()?).into_owned()));
    ledger.begin();
    while let Some(event) = events::next(&mut lines) {
        ledger.add(&event);
    }
    ensure!(script.wait().context("waiting for perf script")?.success(), "perf script failed");
    Ok(())
}
