//! `mtctl history`: who did what to a group, when, and with what result.

use std::io::Write;

use blockio::group::{self, GroupPlace, Run, RunBegin, RunEnd, RunStream};
use clap::Args;
use serde::Serialize;
use system::size;

use crate::completion;
use crate::document;
use crate::exit::Exit;
use crate::group_list;
use crate::group_place::GroupOptions;
use crate::retention_options::RetentionOptions;
use crate::{output, own_run};

const EXAMPLES: &str = "\
Examples:
  mtctl history --group web
  mtctl history --last 20
  mtctl history --group web --json | jq '.runs[] | select(.exit_code != 0)'

It lists verbs that changed a group, from the moment they began to, and also restore and export. A
run that was killed, or whose host lost power, did not end; a run in progress has not ended yet.
About the last thousand runs of each group are kept, also after commit and release.";

/// What was typed after `mtctl history`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Only this protection group
    #[arg(long, value_name = "NAME", add = completion::groups())]
    group: Option<String>,

    /// Only the last N runs
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    last: Option<usize>,

    #[command(flatten)]
    at: RetentionOptions,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Stable: fields are added, never changed.
#[derive(Serialize)]
struct Json<'a> {
    runs: Vec<JsonRun<'a>>,
}

#[derive(Serialize)]
struct JsonRun<'a> {
    group: &'a str,
    time: &'a str,
    verb: &'a str,
    user: &'a str,
    user_id: u32,
    login_user_id: Option<u32>,
    sudo_user: Option<&'a str>,
    host: &'a str,
    process: u32,
    version: &'a str,
    streams: &'a [RunStream],
    more_streams: u64,
    disks: &'a [String],
    point: Option<&'a str>,
    detail: Option<&'a str>,
    /// `ended`, `running` or `did-not-end`.
    state: &'static str,
    ended: Option<&'a str>,
    exit_code: Option<u8>,
    bytes: Option<u64>,
    error: Option<&'a str>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let count = text.parse().map_err(|error| format!("{error}"))?;
    if count == 0 { Err("it must be at least 1".to_owned()) } else { Ok(count) }
}

/// A run, its group, and whether it may still be running.
struct Shown {
    group: String,
    run: Run,
    is_running: bool,
}

/// Shows the runs.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut runs = Vec::new();
    for (name, place) in places(arguments)? {
        let of_group = group::runs(&place)?;
        // Of the runs that hold the group, only the last one can still be running.
        let last = of_group.iter().rposition(|run| !run.is_beside);
        runs.extend(of_group.into_iter().enumerate().map(|(index, run)| Shown {
            group: name.clone(),
            is_running: run.end.is_none()
                && (run.is_beside || Some(index) == last)
                && is_at_it(&run.begin),
            run,
        }));
    }
    // All times have the same form, so they sort as text.
    runs.sort_by(|one, other| one.run.begin.time.cmp(&other.run.begin.time));
    let too_many = runs.len().saturating_sub(arguments.last.unwrap_or(usize::MAX));
    let runs = runs.split_off(too_many);
    let mut out = output::stdout();
    if arguments.json {
        document::print(&mut out, &Json { runs: runs.iter().map(json).collect() })?;
        return Ok(Exit::Done);
    }
    if runs.is_empty() {
        writeln!(out, "nothing is recorded")?;
    } else {
        print(&mut out, &runs, arguments.group.is_none())?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// The selected groups, and their places.
fn places(arguments: &Arguments) -> anyhow::Result<Vec<(String, GroupPlace)>> {
    if let Some(name) = &arguments.group {
        group::check_name(name)?;
        let place = arguments.at.place_of(name)?;
        // A first run that was killed before it saved anything leaves only its own record.
        if group::runs(&place)?.is_empty() {
            let of = GroupOptions { group: name.clone(), at: arguments.at.clone() };
            let _ = of.place()?;
        }
        return Ok(vec![(name.clone(), place)]);
    }
    let place = |name: String| {
        let place = arguments.at.place_of(&name)?;
        Ok((name, place))
    };
    group_list::names(&arguments.at)?.into_iter().map(place).collect()
}

/// Whether the process that began the run exists: on this host, with that number, and an mtctl.
fn is_at_it(begin: &RunBegin) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{}/comm", begin.process));
    begin.host == own_run::host() && name.is_ok_and(|name| name.trim() == "mtctl")
}

fn json(shown: &Shown) -> JsonRun<'_> {
    let Shown { group, run: Run { begin, end, .. }, is_running } = shown;
    JsonRun {
        group,
        time: &begin.time,
        verb: &begin.verb,
        user: &begin.user,
        user_id: begin.user_id,
        login_user_id: begin.login_user_id,
        sudo_user: begin.sudo_user.as_deref(),
        host: &begin.host,
        process: begin.process,
        version: &begin.version,
        streams: &begin.streams,
        more_streams: begin.more_streams,
        disks: &begin.disks,
        point: begin.point.as_deref(),
        detail: begin.detail.as_deref(),
        state: match (end, is_running) {
            (Some(_), _) => "ended",
            (None, true) => "running",
            (None, false) => "did-not-end",
        },
        ended: end.as_ref().map(|end| end.time.as_str()),
        exit_code: end.as_ref().map(|end| end.exit_code),
        bytes: end.as_ref().and_then(|end| end.bytes),
        error: end.as_ref().and_then(|end| end.error.as_deref()),
    }
}

/// The most runs in one table: laying one out takes some KiB for each row.
const RUNS_IN_TABLE_MAX: usize = 4096;

fn print(out: &mut impl Write, runs: &[Shown], of_all_groups: bool) -> anyhow::Result<()> {
    for part in runs.chunks(RUNS_IN_TABLE_MAX) {
        let header = ["GROUP", "BEGAN", "WHO", "WHAT", "RESULT"];
        let skipped = usize::from(!of_all_groups);
        let mut table = output::table(&header[skipped..]);
        for shown in part {
            let begin = &shown.run.begin;
            let (began, who) = (begin.time.clone(), begin.user.clone());
            let row = [shown.group.clone(), began, who, what(begin), result(shown)];
            table.add_row(row.into_iter().skip(skipped));
        }
        output::print_table(out, &table)?;
    }
    Ok(())
}

fn what(begin: &RunBegin) -> String {
    let mut text = begin.verb.clone();
    for stream in &begin.streams {
        let name = stream.path.rsplit('/').next().unwrap_or_default();
        text += &format!(" {name}");
    }
    if begin.more_streams > 0 {
        text += &format!(" and {} more", begin.more_streams);
    }
    for more in begin.point.iter().chain(&begin.detail) {
        text += &format!(" {more}");
    }
    text
}

fn result(Shown { run, is_running, .. }: &Shown) -> String {
    let Some(RunEnd { exit_code, bytes, error, .. }) = &run.end else {
        return if *is_running { "running" } else { "DID NOT END" }.to_owned();
    };
    let mut text = match exit_code {
        0 => "done".to_owned(),
        code => format!("exit {code}"),
    };
    if let Some(bytes) = bytes {
        text += &format!(", {}", size::binary(*bytes));
    }
    if let Some(error) = error {
        text += &format!(": {error}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told_by_file_names_and_its_result_in_words() {
        let stream = |path: &str| RunStream { path: path.to_owned(), identity: None };
        let streams = vec![stream("/srv/day1.mts"), stream("standard input")];
        let begin =
            RunBegin { verb: "apply".to_owned(), streams, more_streams: 2, ..RunBegin::default() };
        assert_eq!(what(&begin), "apply day1.mts standard input and 2 more");
        let shown = |end, is_running| {
            let run = Run { begin: begin.clone(), end, is_beside: false };
            result(&Shown { group: "g".to_owned(), run, is_running })
        };
        assert_eq!(shown(None, true), "running");
        assert_eq!(shown(None, false), "DID NOT END");
        let end = RunEnd { bytes: Some(1 << 20), ..RunEnd::default() };
        assert_eq!(shown(Some(end.clone()), false), "done, 1 MiB");
        let end = RunEnd { exit_code: 5, error: Some("it is torn".to_owned()), ..end };
        assert_eq!(shown(Some(end), false), "exit 5, 1 MiB: it is torn");
    }
}
