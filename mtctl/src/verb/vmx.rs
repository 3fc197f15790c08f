//! `mtctl vmx`: shows what .vmx files contain, and turns disk.EnableUUID on. `provisioning::vmware`
//! decides what is right, wrong and refused.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use provisioning::disk::inventory;
use provisioning::finding::Finding;
use provisioning::host::Host;
use provisioning::vmware::fix::{self, UnknownUuids};
use provisioning::vmware::identity::{DiskUuid, by_uuid};
use provisioning::vmware::image::Disk;
use provisioning::vmware::machine::Machine;
use provisioning::vmware::survey::Survey;
use provisioning::vmware::vmx::{ENABLE_UUID, EnableUuid};
use serde::Serialize;
use system::{ErrorKind, size};

use crate::document;
use crate::exit::Exit;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  mtctl vmx /vmfs/volumes/ds1/mt01/mt01.vmx          look at one VM
  mtctl vmx --fix mt01/mt01.vmx                      turn disk.EnableUUID on; the VM must be off
  mtctl vmx mt01/mt01.vmx web01/web01.vmx            also look for disks with the same UUID
  mtctl vmx --json mt01.vmx | jq '.machines[].disks[] | {slot, uuid, wwid_matches}'

Exit codes: 0 every VM is as it should be; 1 a file cannot be read or written; 2 usage;
3 disk.EnableUUID is off, or something else is wrong; 4 --fix was refused, nothing touched.";

/// What was typed after `mtctl vmx`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Configuration file of a virtual machine, next to its other files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Set disk.EnableUUID = "TRUE" if it is off; nothing else of the file changes
    #[arg(long)]
    fix: bool,

    /// With --fix on several VMs: continue if the UUID of a disk cannot be read, although it may be
    /// a clone of another
    #[arg(long, requires = "fix")]
    allow_unknown_uuids: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Reads the files, edits them if asked to, and prints their contents.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let host = Host::running();
    let tree = host.machine();
    let files = absolute(&arguments.files)?;
    let mut survey = Survey::read(tree, &files)?;
    let unknown = match arguments.allow_unknown_uuids {
        true => UnknownUuids::Allowed,
        false => UnknownUuids::Refused,
    };
    let changed = if arguments.fix { fix::run(tree, &survey, unknown)? } else { Vec::new() };
    if !changed.is_empty() {
        survey = Survey::read(tree, &files)?;
    }
    let reports = reports(&host, &survey, &changed);
    let mut out = output::stdout();
    if arguments.json {
        document::print(&mut out, &Json { machines: &reports })?;
    } else {
        for report in &reports {
            print(&mut out, report)?;
        }
    }
    out.flush()?;
    if let Some(error) = survey.clash_error(ErrorKind::NotReady) {
        return Err(error.into());
    }
    Ok(if survey.is_ready() { Exit::Done } else { Exit::NotReady })
}

fn absolute(files: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let each = files.iter().map(|file| {
        std::path::absolute(file).with_context(|| format!("finding {}", file.display()))
    });
    each.collect()
}

#[derive(Serialize)]
struct Json<'a> {
    machines: &'a [Report<'a>],
}

/// One machine as it is printed; the fields are the JSON contract (docs/operating/vmx.md).
#[derive(Serialize)]
struct Report<'a> {
    path: String,
    enable_uuid: bool,
    changed: bool,
    running: bool,
    snapshots: Vec<String>,
    controllers: Vec<ControllerReport<'a>>,
    disks: Vec<DiskReport<'a>>,
    findings: &'a [Finding],
    #[serde(skip)]
    machine: &'a Machine,
}

#[derive(Serialize)]
struct ControllerReport<'a> {
    name: String,
    kind: &'a str,
}

#[derive(Serialize)]
struct DiskReport<'a> {
    slot: &'a str,
    file: &'a str,
    uuid: Option<&'a str>,
    uuid_unknown: bool,
    size_bytes: Option<u64>,
    mode: Option<&'a str>,
    wwid_matches: Option<String>,
}

fn reports<'a>(host: &Host, survey: &'a Survey, changed: &[PathBuf]) -> Vec<Report<'a>> {
    let here = by_uuid(inventory::wwids(host));
    let machines = survey.machines.iter();
    machines.map(|machine| report(machine, &here, changed.contains(&machine.path))).collect()
}

fn report<'a>(
    machine: &'a Machine,
    here: &BTreeMap<DiskUuid, PathBuf>,
    changed: bool,
) -> Report<'a> {
    let controllers = machine.controllers.iter();
    Report {
        path: text(&machine.path),
        enable_uuid: machine.enable_uuid == EnableUuid::On,
        changed,
        running: machine.is_running(),
        snapshots: machine.snapshots.clone(),
        controllers: controllers
            .map(|controller| ControllerReport { name: controller.name(), kind: &controller.kind })
            .collect(),
        disks: machine.disks.iter().map(|disk| disk_report(disk, here)).collect(),
        findings: &machine.findings,
        machine,
    }
}

fn disk_report<'a>(disk: &'a Disk, here: &BTreeMap<DiskUuid, PathBuf>) -> DiskReport<'a> {
    let matches = disk.uuid.as_ref().and_then(|uuid| here.get(uuid));
    DiskReport {
        slot: &disk.attachment.slot,
        file: disk.attachment.file.as_str(),
        uuid: disk.uuid.as_ref().map(DiskUuid::as_str),
        uuid_unknown: disk.is_unknown,
        size_bytes: disk.capacity_bytes,
        mode: disk.attachment.mode.as_deref(),
        wwid_matches: matches.map(|path| text(path)),
    }
}

fn print(out: &mut impl Write, report: &Report<'_>) -> std::io::Result<()> {
    let machine = report.machine;
    writeln!(out, "{}", output::plain(&report.path))?;
    let setting = match &machine.enable_uuid {
        EnableUuid::On if report.changed => "on (just written)".to_owned(),
        EnableUuid::On => "on".to_owned(),
        EnableUuid::Off(value) => format!("off (\"{}\")", output::plain(value)),
        EnableUuid::Absent if machine.is_encrypted => "unknown (encrypted)".to_owned(),
        EnableUuid::Absent => "off (not set)".to_owned(),
    };
    let state = match (machine.locks.first(), &machine.suspended_to) {
        (Some(lock), _) => format!("running ({})", output::plain(text(lock))),
        (None, Some(file)) => format!("suspended ({})", output::plain(file)),
        (None, None) => "off (no lock)".to_owned(),
    };
    let snapshots = match &report.snapshots[..] {
        [] => "none".to_owned(),
        names => output::plain(names.join(", ")),
    };
    writeln!(out, "  {ENABLE_UUID}: {setting}\n  VM: {state}\n  snapshots: {snapshots}")?;
    for line in table(report).lines() {
        writeln!(out, " {}", line.trim_end())?;
    }
    for finding in report.findings {
        print_finding(out, finding)?;
    }
    writeln!(out)
}

fn print_finding(out: &mut impl Write, finding: &Finding) -> std::io::Result<()> {
    let status = finding.status.name();
    let (subject, message) = (output::plain(&finding.subject), output::plain(&finding.message));
    writeln!(out, "  {status} {} {subject}: {message}", finding.id)?;
    writeln!(out, "       hint: {}", output::plain(&finding.hint))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// One less than a line may have, because the caller indents.
const WIDTH_COLUMNS: u16 = 99;

/// One row for each disk, and one for each controller without disks; at most [`WIDTH_COLUMNS`]
/// wide.
fn table(report: &Report<'_>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH_COLUMNS);
    table.set_header(["SLOT", "CONTROLLER", "SIZE", "UUID", "THIS HOST", "FILE"]);
    for controller in &report.controllers {
        let slots = format!("{}:", controller.name);
        let disks = report.disks.iter().filter(|disk| disk.slot.starts_with(&slots));
        let mut is_empty = true;
        for disk in disks {
            is_empty = false;
            table.add_row([
                disk.slot.to_owned(),
                output::plain(controller.kind),
                disk.size_bytes.map_or("-".to_owned(), size::binary),
                disk.uuid.unwrap_or(if disk.uuid_unknown { "unknown" } else { "-" }).to_owned(),
                disk.wwid_matches.clone().unwrap_or("-".to_owned()),
                output::plain(disk.file),
            ]);
        }
        if is_empty {
            table.add_row([
                &controller.name,
                &output::plain(controller.kind),
                "-",
                "-",
                "-",
                "no disk",
            ]);
        }
    }
    table
}
