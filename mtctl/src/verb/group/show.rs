//! `mtctl group show`: one group, its volumes, and how it is kept.

use std::io::Write;

use blockio::group::GroupView;
use blockio::journal::state::VolumeState;
use blockio::volume_name::VolumeName;
use clap::Args;
use serde::Serialize;
use system::size;

use super::list::{Summary, summary};
use crate::alarms;
use crate::document;
use crate::exit::Exit;
use crate::group_place::GroupOptions;
use crate::{output, policy_options};

const EXAMPLES: &str = "\
Examples:
  mtctl group show --group web
  mtctl group show --group web --check               exit 6 if it has an alarm
  mtctl group show --group web --json";

/// What was typed after `mtctl group show`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    of: GroupOptions,

    /// Exit with 6 if the group has an alarm
    #[arg(long)]
    check: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Stable: fields are added, never changed.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    summary: Summary,
    disks: Vec<JsonVolume<'a>>,
    settings: Vec<JsonSetting>,
}

#[derive(Serialize)]
struct JsonVolume<'a> {
    volume: &'a VolumeName,
    target: Option<&'a str>,
    target_bytes: u64,
    where_it_is: String,
}

#[derive(Serialize)]
struct JsonSetting {
    option: &'static str,
    value: String,
}

/// Shows the group.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let group = GroupView::look(&arguments.of.place()?, &arguments.of.group)?;
    let mut out = output::stdout();
    if arguments.json {
        // The summary contains its alarms.
        document::print_with(&mut out, &json(&group), None)?;
    } else {
        print(&mut out, &group)?;
    }
    out.flush()?;
    let is_alarm = arguments.check && !alarms::of(&group).is_empty();
    Ok(if is_alarm { Exit::Alarm } else { Exit::Done })
}

fn json(group: &GroupView) -> Json<'_> {
    let disks = group.state().volumes.iter().map(|(name, volume)| JsonVolume {
        volume: name,
        target: volume.target.as_deref(),
        target_bytes: volume.target_bytes,
        where_it_is: where_it_is(volume),
    });
    let settings = policy_options::typed(&group.settings()).into_iter();
    let settings = settings.map(|(option, value)| JsonSetting { option, value });
    Json { summary: summary(group), disks: disks.collect(), settings: settings.collect() }
}

fn print(out: &mut impl Write, group: &GroupView) -> anyhow::Result<()> {
    let told = summary(group);
    writeln!(out, "group {}: {}", told.group, told.detail)?;
    let mut table = output::table(&["VOLUME", "DISK", "SIZE", "WHERE IT IS"]);
    for (name, volume) in &group.state().volumes {
        table.add_row([
            name.in_a_table(),
            volume.target.clone().unwrap_or_else(|| "-".to_owned()),
            size::binary(volume.target_bytes),
            where_it_is(volume),
        ]);
    }
    output::print_table(out, &table)?;
    for (option, value) in policy_options::typed(&group.settings()) {
        writeln!(out, "{option:<19} {value}")?;
    }
    if !group.keeps_history() && group.settings().without_history {
        writeln!(out, "no history is kept, as requested (--retention none)")?;
    }
    for alarm in &told.alarms {
        writeln!(out, "{}", output::wrapped(&format!("ALARM: {alarm}"), 2))?;
    }
    Ok(())
}

fn where_it_is(volume: &VolumeState) -> String {
    match (&volume.in_between, &volume.ends_at, volume.applied.last()) {
        (Some(between), ..) if !between.exact => {
            format!("in-between: {} after byte {}", between.input, between.position)
        }
        (Some(between), ..) => format!("{} up to byte {}", between.input, between.position),
        // An input of several streams is called by its first; where it ends is what counts.
        (None, Some(snapshot), _) => format!("at snapshot {snapshot}"),
        (None, None, Some(applied)) => format!("end of {applied}"),
        (None, None, None) => "nothing applied yet".to_owned(),
    }
}
