//! Runs cases: which ones, how many at a time, and the table of results.

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;

use crate::case::{Case, Lab, Tally};
use crate::hardware::Hardware;
use crate::image::{self, Image, Kind};
use crate::tool;

/// The host memory needed by one machine, in MiB: its own, and QEMU's translations.
const MACHINE_MIB: u64 = 1700;
/// The variable that makes the folders of failed cases be kept.
const KEEP: &str = "MTCTL_VM_KEEP";
/// The programs that the cases need on this host, beside those that build images.
const NEEDED: [&str; 5] = ["qemu-system-x86_64", "qemu-img", "tgtd", "tgtadm", "nbdkit"];

/// Boots virtual machines and takes them through stories.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only cases whose name contains one of these.
    cases: Vec<String>,
    /// Print the names and do nothing.
    #[arg(long)]
    list: bool,
    /// Build the images, boot each once, and print sizes and times.
    #[arg(long)]
    images: bool,
    /// So many machines at a time; as many as processors and memory allow by default.
    #[arg(long)]
    jobs: Option<usize>,
    /// What `cargo test` says to every test program; of no effect here.
    #[arg(long, hide = true)]
    nocapture: bool,
    /// As `--nocapture`.
    #[arg(short, long, hide = true)]
    quiet: bool,
}

/// The result of a case.
struct Outcome {
    name: &'static str,
    seconds: f64,
    tally: Tally,
    failure: Option<String>,
}

/// The program: carries out the command line for `cases`, and returns whether all succeeded.
pub fn run(cases: &[Case]) -> bool {
    let arguments = Arguments::parse();
    let is_wanted = |case: &Case| {
        arguments.cases.is_empty() || arguments.cases.iter().any(|part| case.name.contains(part))
    };
    let mut wanted: Vec<&Case> = cases.iter().filter(|case| is_wanted(case)).collect();
    // Cases that may take long begin first, so that the run does not end with one machine alone.
    wanted.sort_by_key(|case| std::cmp::Reverse(case.limit));
    if arguments.list {
        wanted.iter().for_each(|case| println!("{}", case.name));
        return true;
    }
    let lacking = tool::missing(&[&NEEDED[..], &image::BUILT_WITH].concat());
    if !lacking.is_empty() {
        return skip(&wanted, &format!("not installed: {}", lacking.join(", ")));
    }
    let told = match arguments.images {
        true => show_images().map(|()| true),
        false => run_all(&wanted, arguments.jobs).map(|outcomes| report(&outcomes)),
    };
    told.unwrap_or_else(|error| {
        println!("cannot tell whether machines run here: {error:#}");
        false
    })
}

/// Builds every image, and boots it.
fn show_images() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mtctl = stripped(mt_tests::program::mtctl(), folder.path())?;
    for kind in Kind::ALL {
        let described = image::describe(kind, &say)?;
        let mut lab = Lab::new(image::get(kind, &say)?, &mtctl, SHORT)?;
        let begun = Instant::now();
        let machine = lab.boot(&Hardware::default())?;
        let seconds = begun.elapsed().as_secs_f64();
        println!("{described}, ready for scripts {seconds:.1} s after power-on");
        machine.shut_down()?;
    }
    Ok(())
}

fn say(text: &str) {
    println!("vm: {text}");
}

/// Skips every case for the same reason.
fn skip(cases: &[&Case], reason: &str) -> bool {
    for case in cases {
        if let Err(error) = mt_tests::skip::record(case.name, reason) {
            println!("recording a skip: {error}");
            return false;
        }
    }
    println!("0 passed, 0 failed, {} skipped: {reason}", cases.len());
    true
}

fn run_all(cases: &[&Case], jobs: Option<usize>) -> Result<Vec<Outcome>> {
    let mut images: Vec<(Kind, Image)> = Vec::new();
    for kind in Kind::ALL {
        if cases.iter().any(|case| case.image == kind) {
            images.push((kind, image::get(kind, &say)?));
        }
    }
    let folder = tempfile::tempdir()?;
    let mtctl = stripped(mt_tests::program::mtctl(), folder.path())?;
    let jobs = jobs.unwrap_or_else(jobs_here).max(1);
    // The expectation is printed with the case, and its place here. Nobody needs the frames
    // between.
    std::panic::set_hook(Box::new(|panic| {
        if let Some(place) = panic.location() {
            println!("at {}:{}:", place.file(), place.line());
        }
    }));
    println!("running {} cases in machines, {jobs} at a time", cases.len());
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let image = images.iter().find(|(kind, _)| *kind == case.image);
                    let Some((_, image)) = image else { continue };
                    let outcome = run_one(case, image, &mtctl);
                    print_outcome(&outcome);
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push(outcome);
                    }
                }
            });
        }
    });
    Ok(outcomes.into_inner().unwrap_or_default())
}

/// The number of concurrent cases: each needs a processor and enough memory.
fn jobs_here() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = system::memory::bytes(&text, "MemAvailable").unwrap_or(0);
    let machines = (available >> 20) / MACHINE_MIB;
    processors.min(usize::try_from(machines).unwrap_or(1))
}

/// A copy without symbols, because an emulated machine reads every byte of it at each boot.
fn stripped(program: &Path, folder: &Path) -> Result<PathBuf> {
    let to = folder.join("mtctl");
    tool::run("strip", &["-o".as_ref(), to.as_os_str(), program.as_os_str()])
        .context("stripping the symbols of mtctl")?;
    Ok(to)
}

fn run_one(case: &Case, image: &Image, mtctl: &Path) -> Outcome {
    let begun = Instant::now();
    let mut tally = Tally::default();
    let failure = match Lab::new(image.clone(), mtctl, case.limit) {
        Ok(mut lab) => {
            let told = catch_unwind(AssertUnwindSafe(|| (case.story)(&mut lab)));
            tally = lab.tally;
            let failure = match told {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("{error:#}")),
                Err(panic) => Some(message(panic.as_ref())),
            };
            match failure {
                Some(text) if std::env::var_os(KEEP).is_some() => {
                    Some(format!("{text}\nits folder was kept: {}", lab.keep().display()))
                }
                failure => failure,
            }
        }
        Err(error) => Some(format!("{error:#}")),
    };
    let seconds = begun.elapsed().as_secs_f64();
    Outcome { name: case.name, seconds, tally, failure }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

fn print_outcome(outcome: &Outcome) {
    let Outcome { name, seconds, tally, failure } = outcome;
    let Tally { boots, cuts, faults } = tally;
    let word = if failure.is_some() { "FAILED" } else { "passed" };
    println!("{word} {name:58} {seconds:6.1} s {boots:3} boots {cuts:3} cuts {faults:3} faults");
    if let Some(failure) = failure {
        println!("---- {name}\n{failure}\n----");
    }
}

/// Prints the last lines; returns whether nothing failed.
fn report(outcomes: &[Outcome]) -> bool {
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    let passed = outcomes.len() - failed;
    let sum = |of: fn(&Tally) -> u32| outcomes.iter().map(|one| of(&one.tally)).sum::<u32>();
    let (boots, cuts, faults) = (sum(|t| t.boots), sum(|t| t.cuts), sum(|t| t.faults));
    println!("{boots} boots, {cuts} power cuts, {faults} faults");
    println!("{passed} passed, {failed} failed, 0 skipped");
    // The same last line as every other test program, for tools that count them together.
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored; in machines");
    failed == 0
}

/// The time limit of a case that boots once or twice and does little: a case that reaches it hangs.
/// A slow host with other work takes twice as long as CI.
pub const SHORT: Duration = Duration::from_secs(600);
