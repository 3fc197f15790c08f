//! Recovery points in tables and in JSON.

use std::io::Write;

use blockio::journal::catalogue::{Point, PointKind};
use blockio::journal::selector;
use jiff::tz::TimeZone;
use serde::Serialize;
use system::size;

use crate::output;

/// Stable: fields are added, never changed.
#[derive(Serialize)]
pub(super) struct JsonPoint<'a> {
    id: u64,
    time: String,
    kind: PointKind,
    name: Option<&'a str>,
    pinned: bool,
    journal_bytes: u64,
}

/// `point` for a JSON document.
pub(super) fn json(point: &Point) -> JsonPoint<'_> {
    JsonPoint {
        id: point.id.0,
        time: selector::time(point.time),
        kind: point.kind,
        name: point.name.as_deref(),
        pinned: point.pinned,
        journal_bytes: point.journal_bytes(),
    }
}

/// The most points in one table: laying one out takes some KiB for each row.
const POINTS_IN_TABLE_MAX: usize = 4096;

/// The time zone for display; `None` is UTC.
pub(super) fn zone(local: bool) -> Option<TimeZone> {
    local.then(TimeZone::system)
}

/// Prints `points`, with the header repeated every [`POINTS_IN_TABLE_MAX`] points.
pub(super) fn table(
    out: &mut impl Write,
    points: &[&Point],
    zone: &Option<TimeZone>,
) -> anyhow::Result<()> {
    points.chunks(POINTS_IN_TABLE_MAX).try_for_each(|part| part_of_table(out, part, zone))
}

fn part_of_table(
    out: &mut impl Write,
    points: &[&Point],
    zone: &Option<TimeZone>,
) -> anyhow::Result<()> {
    let time = |time| match zone {
        None => selector::time(time),
        Some(zone) => selector::time_in(time, zone),
    };
    let mut table = output::table(&["ID", "TIME", "KIND", "NAME", "PINNED", "JOURNAL"]);
    for point in points {
        table.add_row([
            point.id.to_string(),
            time(point.time),
            kind(point.kind).to_owned(),
            point.name.clone().unwrap_or_else(|| "-".to_owned()),
            if point.pinned { "pinned" } else { "-" }.to_owned(),
            size::binary(point.journal_bytes()),
        ]);
    }
    Ok(output::print_table(out, &table)?)
}

fn kind(kind: PointKind) -> &'static str {
    match kind {
        PointKind::Start => "start",
        PointKind::Break => "break",
        PointKind::Crash => "crash",
        PointKind::App => "app",
    }
}
