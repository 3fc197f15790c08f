//! `mtctl journal check`: whether the history of a group is intact. `blockio::journal::check` finds
//! the problems; this verb shows them, with what to do.

use std::io::Write;

use blockio::group::GroupView;
use blockio::journal::catalogue::{Catalogue, PointId, PointKind};
use blockio::journal::check::{self, Class, Finding, Report};
use blockio::notice::Notice;
use clap::Args;
use system::size;

use crate::attention;
use crate::byte_progress::ByteProgress;
use crate::document;
use crate::exit::Exit;
use crate::group_place::GroupOptions;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  mtctl journal check --group web
  mtctl journal check --group web --json | jq '.unreachable'

It reads the whole history and verifies its checksums; it changes nothing, and can run while streams
are applied. The exit code is 0 if the history is intact, and 5 if something is damaged: it then
lists the points that can no longer be reached; all others still can.";

/// What was typed after `mtctl journal check`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    of: GroupOptions,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Checks the history.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let stop = crate::stop::flag()?;
    let storage = arguments.of.storage()?;
    // Problems of the state are found below; if all of the history is missing, that is the better
    // message.
    let mut start = None;
    if let Ok(group) = GroupView::look(&arguments.of.place()?, &arguments.of.group) {
        let is_of_all = |note: &&Notice| matches!(note, Notice::HistoryNotThere { .. });
        attention::warn_of(&group.notes().iter().filter(is_of_all).cloned().collect::<Vec<_>>());
        let mut points = group.state().journal.iter().flat_map(Catalogue::all);
        start = points.find(|point| point.kind == PointKind::Start).map(|point| point.id);
    }
    let mut progress: Option<ByteProgress> = None;
    let report = check::check(&storage, &stop, &mut |now| {
        progress.get_or_insert_with(|| ByteProgress::new(Some(now.of))).at(now.done);
    })?;
    drop(progress);
    let mut out = output::stdout();
    if arguments.json {
        document::print(&mut out, &report)?;
    } else {
        print(&mut out, &arguments.of.group, &report, start)?;
    }
    out.flush()?;
    Ok(if report.is_clean() { Exit::Done } else { Exit::Integrity })
}

fn print(
    out: &mut impl Write,
    group: &str,
    report: &Report,
    start: Option<PointId>,
) -> anyhow::Result<()> {
    let findings: Vec<_> = report.damage.iter().chain(&report.remarks).collect();
    if !findings.is_empty() {
        table(out, &findings)?;
    }
    let mut say = |text: &str| writeln!(out, "{}", output::wrapped(text, 2));
    if report.unlisted > 0 {
        say(&format!("{} not listed", output::counted(report.unlisted, "more finding")))?;
    }
    if report.removed_meanwhile > 0 {
        let count = output::counted(report.removed_meanwhile, "segment");
        say(&format!("{count} expired during this check and were left out"))?;
    }
    say(&format!(
        "{}, {}, {}, {} of history",
        output::counted(report.points, "point"),
        output::counted(report.segments, "segment"),
        output::counted(report.records, "record"),
        size::binary(report.bytes)
    ))?;
    verdict(out, group, report, start)
}

fn table(out: &mut impl Write, findings: &[&Finding]) -> anyhow::Result<()> {
    let mut table = output::table(&["", "WHAT", "POINT", "SEGMENT", "BYTE", "RECORD", "IN WORDS"]);
    let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    for finding in findings {
        table.add_row([
            if finding.class.is_damage() { "DAMAGE" } else { "remark" }.to_owned(),
            class(finding.class),
            number(finding.point.map(|point| point.0)),
            number(finding.segment),
            number(finding.byte),
            number(finding.record),
            finding.detail.clone(),
        ]);
    }
    Ok(output::print_table(out, &table)?)
}

/// The name that JSON uses.
fn class(class: Class) -> String {
    match serde_json::to_value(class) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(_) | Err(_) => format!("{class:?}"),
    }
}

/// Prints the verdict, and what to do now.
fn verdict(
    out: &mut impl Write,
    group: &str,
    report: &Report,
    start: Option<PointId>,
) -> anyhow::Result<()> {
    let mut say = |text: &str| writeln!(out, "{}", output::wrapped(text, 2));
    if report.remarks.iter().any(|finding| finding.class == Class::RollbackUnfinished) {
        say(&format!("hint: finish the rollback: mtctl recover --group {group}"))?;
    }
    if report.is_clean() {
        say(&format!("the history of group {group} is intact"))?;
        return Ok(());
    }
    say(&format!("the history of group {group} is DAMAGED"))?;
    if !report.unreachable.is_empty() {
        let list = ranges(report.unreachable.iter().map(|point| point.0));
        let start = start.filter(|start| report.unreachable.contains(start));
        let start = start.map_or_else(String::new, |start| format!(" ({start} is the start)"));
        say(&format!("points that cannot be reached{start}: {list}"))?;
    }
    Ok(say(&format!("hint: {}", advice(report)))?)
}

fn advice(report: &Report) -> &'static str {
    let is_of_state = |class| matches!(class, Class::StateNotReadable | Class::StateOlder);
    if report.damage.iter().any(|finding| is_of_state(finding.class)) {
        "the disks are untouched, but their history cannot be used with this state: put back the \
         one that belongs to it, or rebuild it: mtctl journal rebuild"
    } else if report.damage.iter().all(|finding| finding.class == Class::StateCopyWrong) {
        "every point can still be reached: the other copy of the state is complete, and the next \
         command that writes replaces this one; find out who changed it"
    } else if report.unreachable.is_empty() {
        "every point can still be reached; keep this output for whoever investigates"
    } else {
        "all other points can be reached; if you need a lost one, first copy the retention \
         volume, then check its disk: journalctl -k"
    }
}

/// Prints numbers as `1-3, 7`.
fn ranges(numbers: impl Iterator<Item = u64>) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let text = |(first, last): &(u64, u64)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    runs.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_one_another_are_one_range() {
        assert_eq!(ranges([0, 1, 2, 5, 7, 8].into_iter()), "0-2, 5, 7-8");
        assert_eq!(ranges(std::iter::empty()), "");
    }
}
