//! `mtctl check`: is this host a master target? Every requirement is judged in
//! `provisioning::check`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use provisioning::check::{self, Finding, Status};
use provisioning::host::Host;
use provisioning::observe;

use crate::configuration;
use crate::desired_options::DesiredOptions;
use crate::document;
use crate::exit::Exit;
use crate::host_options::HostOptions;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  mtctl check                       every requirement, and what to do about unmet ones
  mtctl check --profile asr         the requirements of the vendor's procedure
  mtctl check --json | jq -r '.findings[] | select(.status == \"fail\") | .hint'
  mtctl check --record host.json    also record what was read, for support

Exit codes: 0 ready; 3 not ready. Nothing is changed.";

/// What was typed after `mtctl check`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    desired: DesiredOptions,

    /// Check the system mounted at DIR, with the disks of this machine
    #[arg(long, value_name = "DIR", conflicts_with_all = ["recorded", "record"])]
    root: Option<PathBuf>,

    #[command(flatten)]
    host: HostOptions,
}

/// Checks, and prints the findings.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let host = match &arguments.root {
        Some(root) => Host::with_image(root)?,
        None => arguments.host.open()?,
    };
    let configured = configuration::load(host.system())?;
    let desired = arguments.desired.resolve(configured.prepare, host.system())?;
    let observed = observe::observe(&host, &desired)?;
    arguments.host.finish(&host, "mtctl check")?;
    let check = check::check(&observed, &desired);
    let mut out = output::stdout();
    if arguments.host.json {
        document::print(&mut out, &check)?;
    } else {
        print(&mut out, &check.findings)?;
        let verdict = if check.ready { "ready" } else { "NOT ready: fix what failed above" };
        writeln!(out, "\nThis host is {verdict}.")?;
    }
    out.flush()?;
    Ok(if check.ready { Exit::Done } else { Exit::NotReady })
}

/// The number of columns from which messages fit beside their ids.
const BESIDE_COLUMNS: u16 = 80;
const INDENT: usize = 6;

fn print(out: &mut impl Write, findings: &[Finding]) -> std::io::Result<()> {
    let id_width = findings.iter().map(|finding| finding.id.len()).max().unwrap_or(0);
    for finding in findings {
        let (word, style) = match finding.status {
            Status::Pass => ("pass", output::GREEN),
            Status::Skip => ("skip", output::DIM),
            Status::Warn => ("WARN", output::YELLOW),
            Status::Fail => ("FAIL", output::RED),
        };
        let word = output::coloured(word, style);
        let text = format!("{}: {}", finding.subject, finding.message);
        if output::width() < BESIDE_COLUMNS {
            let text = output::wrapped(&text, INDENT);
            writeln!(out, "{word}  {}\n{:INDENT$}{text}", finding.id, "")?;
        } else {
            let text = output::wrapped(&text, INDENT + id_width + 2);
            writeln!(out, "{word}  {:id_width$}  {text}", finding.id)?;
        }
        if !finding.hint.is_empty() && finding.status >= Status::Warn {
            writeln!(out, "{:INDENT$}-> {}", "", hint(&finding.hint))?;
        }
    }
    Ok(())
}

/// A command is meant to be copied, and is broken where a shell joins it again; prose, and hints
/// that consist of several commands, are wrapped.
fn hint(text: &str) -> String {
    let indent = INDENT + 3;
    let is_command = !text.contains("; ") && !text.contains(", ");
    match is_command {
        true => output::broken_command(text, indent),
        false => output::wrapped(text, indent),
    }
}
