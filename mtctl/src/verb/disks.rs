//! `mtctl disks`: every disk, who uses it and what it could be used for.
//! `provisioning::disk::inventory` finds them.

use std::io::Write;

use clap::Args;
use provisioning::blank::Content;
use provisioning::disk::{Disk, IdentitySource, Purpose, inventory, inventory::Signatures};
use provisioning::groups::{self, Groups, Unreadable};
use provisioning::guard;
use provisioning::observe;
use serde::Serialize;
use system::size;

use crate::document;
use crate::exit::Exit;
use crate::host_options::HostOptions;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  mtctl disks                       every SCSI, SATA, NVMe and virtio disk, and multipath maps
  mtctl disks --all                 also loop devices, logical volumes and arrays
  mtctl disks --json | jq -r '.disks[] | select(.eligible_for | index(\"retention\")) | .path'

Run it as root: otherwise it cannot look at the content of disks, and calls none blank.";

/// What was typed after `mtctl disks`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Also loop devices, logical volumes, crypt mappings and software RAID arrays
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    host: HostOptions,
}

#[derive(Serialize)]
struct Json<'a> {
    disks: &'a [Disk],
    /// Any disk may be a target of these groups, so none is fit for retention.
    #[serde(skip_serializing_if = "<[Unreadable]>::is_empty")]
    unreadable_groups: &'a [Unreadable],
}

/// Lists the disks.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let host = arguments.host.open()?;
    let mounts = observe::mount_table(&host)?;
    let groups = groups::observe(&host, mounts.mounts());
    let (swaps, signatures) = (observe::swaps(&host)?, Signatures::Cached);
    let mut disks = inventory::observe(&host, mounts.mounts(), &swaps, &groups, signatures);
    arguments.host.finish(&host, "mtctl disks")?;
    disks.retain(|disk| match arguments.all {
        true => disk.is_listed_with_all(),
        false => disk.is_listed_by_default(),
    });
    let mut out = output::stdout();
    if arguments.host.json {
        let json = Json { disks: &disks, unreadable_groups: &groups.unreadable };
        document::print(&mut out, &json)?;
    } else if disks.is_empty() {
        writeln!(out, "no disks; mtctl disks --all also lists loop devices, volumes and arrays")?;
    } else {
        print(&mut out, &disks)?;
    }
    if !arguments.host.json {
        print_unreadable(&mut out, &groups)?;
    }
    Ok(Exit::Done)
}

/// Two lines for each disk: what it is above, and where that comes from below.
fn print(out: &mut impl Write, disks: &[Disk]) -> anyhow::Result<()> {
    let mut table = output::table(&["DISK", "SIZE", "DEVICE", "ID", "USED BY"]);
    for disk in disks {
        table.add_lines([
            lines([Some(disk.path.display().to_string()), disk.scsi_address.clone()]),
            lines([Some(size::binary(disk.size_bytes)), sectors(disk)]),
            lines([device(disk), disk.controller.clone()]),
            lines([Some(id(disk)), id_source(disk)]),
            lines([Some(used_by(disk)), fit_for(disk)]),
        ]);
    }
    output::print_table(out, &table)?;
    for disk in disks {
        if let Some(content @ (Content::Blank(_) | Content::Found(_))) = &disk.content {
            let text = format!("{}: {content}", disk.path.display());
            writeln!(out, "note: {}", output::wrapped(&text, 6))?;
        }
        for said in disk.problem.iter().chain(&disk.notes) {
            let text = format!("{}: {said}", disk.path.display());
            writeln!(out, "note: {}", output::wrapped(&text, 6))?;
        }
    }
    Ok(out.flush()?)
}

/// Prints what keeps every disk from being fit for retention.
fn print_unreadable(out: &mut impl Write, groups: &Groups) -> anyhow::Result<()> {
    if let Err(refusal) = guard::check_understood(groups) {
        let text = format!("no disk is fit for retention: {}; {}", refusal.reason, refusal.hint);
        writeln!(out, "note: {}", output::wrapped(&text, 6))?;
    }
    Ok(out.flush()?)
}

fn lines<const N: usize>(texts: [Option<String>; N]) -> String {
    texts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// Shown only for sectors other than the usual 512 bytes.
fn sectors(disk: &Disk) -> Option<String> {
    (disk.sector_bytes != 512).then(|| format!("{} B sectors", disk.sector_bytes))
}

fn device(disk: &Disk) -> Option<String> {
    let words = [&disk.vendor, &disk.model, &disk.revision];
    let text = words.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
    if text.is_empty() { Some(disk.kind.name().to_lowercase()) } else { Some(text) }
}

fn id(disk: &Disk) -> String {
    let serial = || disk.serial.as_ref().map(|serial| format!("serial {serial}"));
    let wwid = disk.wwid.as_ref().map(ToString::to_string);
    wwid.or_else(serial).unwrap_or_else(|| "-".to_owned())
}

fn id_source(disk: &Disk) -> Option<String> {
    match disk.identity {
        IdentitySource::Page83 => Some("page 0x83".to_owned()),
        IdentitySource::Page80 => Some("page 0x80".to_owned()),
        IdentitySource::None => Some("NO SCSI ID".to_owned()),
        IdentitySource::NotScsi => None,
    }
}

fn used_by(disk: &Disk) -> String {
    if disk.used_by.is_empty() {
        return "-".to_owned();
    }
    disk.used_by.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn fit_for(disk: &Disk) -> Option<String> {
    let words: Vec<&str> = disk
        .eligible_for
        .iter()
        .map(|purpose| match purpose {
            Purpose::Retention => "retention",
            Purpose::Target => "target",
        })
        .collect();
    (!words.is_empty()).then(|| format!("fit for: {}", words.join(", ")))
}
