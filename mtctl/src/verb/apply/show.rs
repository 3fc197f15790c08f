//! The outcome of an apply, for people and for programs.

use std::io::Write;
use std::time::Duration;

use blockio::apply::{Ending, Outcome, Summary};
use serde::Serialize;
use system::size;

use crate::document;
use crate::output;

/// Stable: fields are added, never changed.
#[derive(Serialize)]
struct Json {
    bytes: u64,
    extents: u64,
    zero_bytes: u64,
    seconds: f64,
    recovery_points: u64,
    resumed_from: Option<u64>,
    inputs_left_out: u64,
    complete: bool,
    dry_run: bool,
    failed_volumes: Vec<String>,
}

/// How to show an outcome.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// As JSON.
    pub(super) as_json: bool,
    /// It is of a dry run.
    pub(super) is_dry: bool,
    /// A group remembers how far the streams are applied.
    pub(super) is_in_group: bool,
}

/// Prints `outcome`.
pub(super) fn outcome(outcome: &Outcome, elapsed: Duration, shown: Shown) -> anyhow::Result<()> {
    let mut out = output::stdout();
    if shown.as_json {
        return document::print(&mut out, &json(outcome, elapsed, shown.is_dry));
    }
    let summary = &outcome.summary;
    let done = if shown.is_dry { "would apply" } else { "applied" };
    if nothing_to_do(outcome) {
        writeln!(out, "nothing to do: every stream was already applied")?;
    } else {
        let text = format!("{done} {}", in_words(summary, elapsed));
        writeln!(out, "{}", output::wrapped(&text, 2))?;
    }
    let more = match &outcome.ending {
        Ending::Stopped => format!("stopped; {}", how_to_go_on(shown.is_in_group)),
        Ending::Incomplete => {
            "the stream is incomplete: send it again with --resume to continue".to_owned()
        }
        Ending::Complete | Ending::Failed(_) => String::new(),
    };
    if !more.is_empty() {
        writeln!(out, "{}", output::wrapped(&more, 2))?;
    }
    Ok(out.flush()?)
}

fn how_to_go_on(is_in_group: bool) -> &'static str {
    match is_in_group {
        true => "the same command continues from here",
        false => "without --group nothing is remembered: start again with the first stream",
    }
}

/// Whether every stream had been applied before.
pub(super) fn nothing_to_do(outcome: &Outcome) -> bool {
    let Summary { extents, recovery_points, inputs_left_out, .. } = outcome.summary;
    let complete = matches!(outcome.ending, Ending::Complete);
    complete && inputs_left_out > 0 && extents == 0 && recovery_points == 0
}

fn in_words(summary: &Summary, elapsed: Duration) -> String {
    let mut text = format!(
        "{} in {}, {} of zeros, in {:.1} s",
        size::binary(summary.bytes),
        output::counted(summary.extents, "extent"),
        size::binary(summary.zero_bytes),
        elapsed.as_secs_f64(),
    );
    // In a shorter time, the rate says more about starting than about writing.
    if elapsed >= Duration::from_millis(500) && summary.bytes > 0 {
        let rate = summary.bytes as f64 / elapsed.as_secs_f64();
        text += &format!(" ({}/s)", size::binary(rate as u64));
    }
    if summary.recovery_points > 0 {
        text += &format!("; {}", output::counted(summary.recovery_points, "recovery point"));
    }
    if let Some(position) = summary.resumed_from {
        text += &format!("; resumed after byte {position} of the stream");
    }
    match summary.inputs_left_out {
        0 => {}
        1 => text += "; 1 stream was already applied",
        more => text += &format!("; {more} streams were already applied"),
    }
    text
}

fn json(outcome: &Outcome, elapsed: Duration, dry_run: bool) -> Json {
    let Summary { bytes, extents, zero_bytes, recovery_points, resumed_from, inputs_left_out } =
        outcome.summary;
    let all_volumes = outcome.failed_volumes.is_empty();
    Json {
        bytes,
        extents,
        zero_bytes,
        seconds: elapsed.as_secs_f64(),
        recovery_points,
        resumed_from,
        inputs_left_out,
        complete: matches!(outcome.ending, Ending::Complete) && all_volumes,
        dry_run,
        failed_volumes: outcome.failed_volumes.iter().map(system::Error::chain).collect(),
    }
}
