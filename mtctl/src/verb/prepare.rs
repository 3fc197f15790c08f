//! `mtctl prepare`: shows what will be done, asks, and does it. `provisioning::plan` decides what
//! has to be done, and `provisioning::apply` does it.

mod progress;
mod show;

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::Args;
use clap::builder::PossibleValuesParser;
use provisioning::host::Host;
use provisioning::observe;
use provisioning::plan::{Plan, Standing};
use provisioning::prepare::{Finished, Preparation, Purpose};
use provisioning::spec::{Desired, DiskName};
use provisioning::step::{Outcome, Report, StepId};
use system::{Error, ErrorKind};

use crate::configuration;
use crate::desired_options::{DesiredOptions, FilesystemName};
use crate::document;
use crate::exit::Exit;
use crate::host_options::HostOptions;
use crate::output;
use crate::report;
use show::WhyDry;

const EXAMPLES: &str = "\
Examples:
  mtctl prepare                                   show the plan, ask, carry it out
  mtctl prepare --dry-run                         only show the plan; exit 0: nothing to do
  mtctl prepare --retention-disk /dev/sdb --yes   without asking, on the disk named
  mtctl prepare --retention-disk naa.6000c29… --destroy naa.6000c29…
                                                  on a disk with content, which is destroyed
  mtctl prepare --skip packages                   if the repositories are unreachable
  mtctl prepare --only multipath lvm              these steps only
  mtctl prepare --root /mnt/image --yes           a mounted system; nothing else is mounted

Steps: platform scsi-ids enable-uuid packages filesystems multipath lvm retention tuning
custom-changes reboot. Without a terminal, it is a dry run unless --yes is given.
Exit codes: 0 done or nothing to do; 1 failed; 2 usage; 3 drift, or not ready; 4 refused by a
guard, nothing touched.";

/// What was typed after `mtctl prepare`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The disk to become the retention volume [default: the one blank disk, if there is just one]
    #[arg(long, value_name = "PATH|WWID")]
    retention_disk: Option<String>,

    /// Filesystem of a new retention volume [default: ext4]
    #[arg(long, value_name = "NAME", env = "MTCTL_FILESYSTEM", hide_env = true)]
    filesystem: Option<FilesystemName>,

    /// Destroy the content of this disk; it must be the retention disk, named again
    #[arg(long, value_name = "PATH|WWID", requires = "retention_disk")]
    destroy: Option<String>,

    #[command(flatten)]
    desired: DesiredOptions,

    /// Prepare the system mounted at DIR: its files are edited, and nothing is mounted
    #[arg(long, value_name = "DIR", conflicts_with_all = ["recorded", "record"])]
    root: Option<PathBuf>,

    /// Take only these steps
    #[arg(long, value_name = "STEP", num_args = 1.., value_delimiter = ',', value_parser = steps())]
    only: Vec<String>,

    /// Skip these steps
    #[arg(long, value_name = "STEP", num_args = 1.., value_delimiter = ',', value_parser = steps())]
    skip: Vec<String>,

    /// The .vmx of this machine, if it is reachable: disk.EnableUUID is set there
    #[arg(long, value_name = "FILE")]
    vmx: Option<PathBuf>,

    /// Show the plan and change nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    host: HostOptions,
}

fn steps() -> PossibleValuesParser {
    PossibleValuesParser::new(StepId::ALL.map(StepId::name))
}

/// Shows the plan, asks, and carries it out.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let host = arguments.host.open()?;
    let host = match &arguments.root {
        Some(root) => Host::with_image(root)?,
        None => host,
    };
    let desired = desired(arguments, &host)?;
    let why_dry = why_dry(arguments, has_terminal());
    let purpose = if why_dry.is_some() { Purpose::Look } else { Purpose::Change };
    let preparation = Preparation::begin(&host, desired, purpose)?;
    arguments.host.finish(&host, "mtctl prepare")?;
    let plan = preparation.plan();
    if plan.is_refused() || plan.is_empty() || why_dry.is_some() {
        show_only(arguments, &preparation, why_dry)?;
        complain_of_refusals(plan, arguments.host.json);
        return Ok(exit_undone(plan));
    }
    if !arguments.host.json {
        show::plan(&mut output::shown(std::io::stdout().lock()), plan).map_err(plan_not_shown)?;
    }
    if !arguments.yes && !agreed()? {
        output::complain("nothing was done");
        return Ok(Exit::Refused);
    }
    let finished = carry_out(preparation, arguments.host.json)?;
    finish(arguments, &finished)
}

/// Whether somebody can see the plan and the question, and can answer.
fn has_terminal() -> bool {
    std::io::stdin().is_terminal()
        && std::io::stdout().is_terminal()
        && std::io::stderr().is_terminal()
}

fn why_dry(arguments: &Arguments, has_terminal: bool) -> Option<WhyDry> {
    match () {
        () if arguments.dry_run => Some(WhyDry::Asked),
        () if arguments.host.is_recorded() => Some(WhyDry::Recorded),
        () if arguments.yes || (has_terminal && !arguments.host.json) => None,
        () => Some(WhyDry::NobodyToAsk),
    }
}

/// For a script, pending changes and a host that is not ready are the same answer: it is not done.
fn exit_undone(plan: &Plan) -> Exit {
    match () {
        () if plan.is_refused() => Exit::Refused,
        () if !plan.is_empty() || plan.is_not_ready() => Exit::NotReady,
        () => Exit::Done,
    }
}

/// The plan is a result and goes to stdout; the reason why none of it is done is reported like a
/// failure.
fn complain_of_refusals(plan: &Plan, in_json: bool) {
    for step in &plan.steps {
        if let Standing::Refused(refusal) = &step.standing {
            let message = format!("{}: {}", step.id, refusal.reason);
            report::tell(&message, Some(&refusal.hint), Exit::Refused);
        }
    }
    if plan.is_refused() && !in_json {
        output::complain("Refused: nothing was touched.");
    }
}

fn desired(arguments: &Arguments, host: &Host) -> system::Result<Desired> {
    let configured = configuration::load(host.system())?;
    let mut desired = arguments.desired.resolve(configured.prepare, host.system())?;
    let disk = |typed: &Option<String>| -> system::Result<Option<DiskName>> {
        let name = typed.as_deref().map(DiskName::parse).transpose()?;
        name.iter().try_for_each(|name| observe::check_nameable(host, name))?;
        Ok(name)
    };
    desired.retention_disk = disk(&arguments.retention_disk)?.or(desired.retention_disk);
    desired.destroy = disk(&arguments.destroy)?;
    desired.filesystem = arguments.filesystem.map(Into::into).or(desired.filesystem);
    let named = |names: &[String]| {
        StepId::ALL.into_iter().filter(|id| names.iter().any(|name| name == id.name())).collect()
    };
    desired.only = named(&arguments.only);
    desired.skip = named(&arguments.skip);
    desired.vmx = match &arguments.vmx {
        Some(path) => Some(std::path::absolute(path).map_err(|cause| {
            Error::new(ErrorKind::Usage, format!("reading {}", path.display())).caused_by(cause)
        })?),
        None => None,
    };
    Ok(desired)
}

fn show_only(
    arguments: &Arguments,
    preparation: &Preparation<'_>,
    why_dry: Option<WhyDry>,
) -> anyhow::Result<()> {
    let plan = preparation.plan();
    let mut out = output::stdout();
    if arguments.host.json {
        document::print(&mut out, &preparation.report_undone())?;
    } else {
        show::plan(&mut out, plan)?;
        show::summary(&mut out, plan, why_dry)?;
    }
    Ok(out.flush()?)
}

fn agreed() -> anyhow::Result<bool> {
    let mut stderr = std::io::stderr();
    write!(stderr, "\nCarry this out? Type yes: ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("yes"))
}

/// Carries the plan out; a signal stops it between two changes. No signal ends this process while a
/// program is running, however often it arrives: the program's output would lose its reader, and a
/// package manager killed by that leaves a broken database. Ctrl-\ still ends it.
fn carry_out(preparation: Preparation<'_>, quiet: bool) -> anyhow::Result<Finished> {
    let interrupted = system::signals::stop_flag()?;
    let mut progress = progress::Progress::new(quiet);
    Ok(preparation.carry_out(&mut |event| {
        progress.on(event);
        match interrupted.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }))
}

fn finish(arguments: &Arguments, finished: &Finished) -> anyhow::Result<Exit> {
    let Finished { report, error } = finished;
    let printed = print_report(arguments, report);
    if error.is_none() {
        printed?;
    }
    Ok(match error {
        Some(error) => report::ours(error),
        None if is_not_ready(report) => Exit::NotReady,
        None => Exit::Done,
    })
}

fn print_report(arguments: &Arguments, report: &Report) -> anyhow::Result<()> {
    let mut out = output::stdout();
    if arguments.host.json {
        return document::print(&mut out, report);
    }
    show::report(&mut out, report)?;
    Ok(out.flush()?)
}

/// Where only looking was requested, a closed pipe is not an error. Here it is, because otherwise
/// somebody would believe that changes were made which were not even begun.
fn plan_not_shown(cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Failed, format!("showing the plan, nothing was touched: {cause}"))
}

fn is_not_ready(report: &Report) -> bool {
    report.steps.iter().any(|step| step.outcome == Outcome::Failed)
}

#[cfg(test)]
mod tests;
