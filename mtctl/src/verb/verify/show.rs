//! The result of a comparison, for people and programs, and as an exit code.

use std::io::Write;

use blockio::digest::Findings;
use blockio::extent::Extent;
use serde::Serialize;
use system::size;
use system::{Error, ErrorKind};

use crate::document;
use crate::exit::Exit;
use crate::output;
use crate::report;

/// The most ranges that are printed for people.
const RANGES_MAX: usize = 20;

/// What was compared with what, and the result.
pub(super) struct Comparison {
    /// The name of the disk.
    pub(super) subject: String,
    /// The name of what it was compared with.
    pub(super) against: String,
    /// The unit of the subject's sector numbers, in bytes.
    pub(super) sector_bytes: u64,
    /// The unit of ranges, in bytes.
    pub(super) unit_bytes: u64,
    /// The differences.
    pub(super) findings: Findings,
}

/// Stable: fields are added, never changed.
#[derive(Serialize)]
struct Json<'a> {
    subject: &'a str,
    against: &'a str,
    equal: bool,
    length_bytes: u64,
    against_length_bytes: u64,
    compared_bytes: u64,
    sector_bytes: u64,
    unit_bytes: u64,
    differing_bytes: u64,
    range_count: u64,
    ranges: Vec<JsonRange>,
}

#[derive(Serialize)]
struct JsonRange {
    start: u64,
    length_bytes: u64,
    first_lba: u64,
    sectors: u64,
}

/// Prints the comparison, and returns its exit code.
///
/// # Errors
///
/// Stdout cannot be written.
pub(super) fn comparison(comparison: &Comparison, as_json: bool) -> anyhow::Result<Exit> {
    let mut out = output::stdout();
    match as_json {
        true => document::print(&mut out, &json(comparison))?,
        false => print(&mut out, comparison)?,
    }
    out.flush()?;
    if comparison.findings.is_equal() {
        return Ok(Exit::Done);
    }
    let Comparison { subject, against, .. } = comparison;
    let context = format!("verifying {subject}: it is not the same as {against}");
    Ok(report::ours(&Error::new(ErrorKind::Integrity, context)))
}

fn json(comparison: &Comparison) -> Json<'_> {
    let Comparison { subject, against, sector_bytes, unit_bytes, findings } = comparison;
    let range = |extent: &Extent| {
        let (first_lba, end) = sectors(*extent, *sector_bytes);
        JsonRange {
            start: extent.start().get(),
            length_bytes: extent.length().get(),
            first_lba,
            sectors: end - first_lba,
        }
    };
    Json {
        subject,
        against,
        equal: findings.is_equal(),
        length_bytes: findings.lengths.0.get(),
        against_length_bytes: findings.lengths.1.get(),
        compared_bytes: findings.compared.get(),
        sector_bytes: *sector_bytes,
        unit_bytes: *unit_bytes,
        differing_bytes: findings.differing.get(),
        range_count: findings.extent_count,
        ranges: findings.extents.iter().map(range).collect(),
    }
}

fn print(out: &mut impl Write, comparison: &Comparison) -> anyhow::Result<()> {
    let Comparison { subject, against, sector_bytes, unit_bytes, findings } = comparison;
    let (subject, against) = (output::plain(subject), output::plain(against));
    let (length, other) = (findings.lengths.0.get(), findings.lengths.1.get());
    let compared = findings.compared.get();
    if findings.is_equal() {
        writeln!(out, "{subject} equals {against}: {length} bytes ({})", shown(length))?;
        return Ok(());
    }
    if length != other {
        writeln!(out, "{subject} has {length} bytes ({}),", shown(length))?;
        writeln!(out, "{against} has {other} bytes ({})", shown(other))?;
        writeln!(out, "compared: the first {compared} bytes ({})", shown(compared))?;
    }
    if compared < length.min(other) {
        writeln!(out, "the digest of a longer disk says nothing about the rest")?;
    }
    if findings.extent_count == 0 {
        if compared > 0 {
            writeln!(out, "no byte differs")?;
        }
        return Ok(());
    }
    let ranges = output::counted(findings.extent_count, "range");
    let (differing, unit) = (shown(findings.differing.get()), shown(*unit_bytes));
    writeln!(out, "differing: {ranges}, {differing} in units of {unit}:")?;
    let mut table = output::table(&["BYTES", "LBA", "LENGTH"]);
    for &extent in findings.extents.iter().take(RANGES_MAX) {
        let (first, end) = sectors(extent, *sector_bytes);
        table.add_row([
            format!("{}..{}", extent.start(), extent.end()),
            format!("{first}..{end}"),
            shown(extent.length().get()),
        ]);
    }
    output::print_table(out, &table)?;
    let more = findings.extent_count.saturating_sub(RANGES_MAX as u64);
    if more > 0 {
        writeln!(out, "and {more} more: --json lists them")?;
    }
    Ok(())
}

fn shown(bytes: u64) -> String {
    size::binary(bytes)
}

/// The sectors that `extent` touches: the first one, and the first one after it.
fn sectors(extent: Extent, sector_bytes: u64) -> (u64, u64) {
    (extent.start().get() / sector_bytes, extent.end().get().div_ceil(sector_bytes))
}
