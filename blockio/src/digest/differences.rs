//! Compares two views byte by byte: the ranges are exact to the sector.

use super::crew::{Crew, READ_BYTES, Watch};
use super::findings::Findings;
use crate::Result;
use crate::extent::Extent;
use crate::units::ByteOffset;
use crate::view::View;

/// Where `one` and `other` differ, in sectors of `one`, up to the end of the shorter.
///
/// # Errors
///
/// `Failed`: one of them could not be read, or the comparison was stopped.
pub fn differences(one: &View, other: &View, watch: &mut Watch<'_>) -> Result<Findings> {
    let lengths = (one.geometry().capacity, other.geometry().capacity);
    let compared = lengths.0.min(lengths.1);
    let mut findings = Findings::of(lengths.0, lengths.1, compared);
    let crew = Crew::new()?;
    crew.each_piece(
        (compared, READ_BYTES as u64),
        watch,
        |extent| {
            crew.with_memory(|mine| {
                crew.with_memory(|theirs| within(extent, (one, mine), (other, theirs)))
            })
        },
        |differing: Vec<Extent>| differing.into_iter().for_each(|extent| findings.add(extent)),
    )?;
    Ok(findings)
}

/// The sectors that differ in `extent`, which fits into one read.
fn within(
    extent: Extent,
    (one, mine): (&View, &mut [u8]),
    (other, theirs): (&View, &mut [u8]),
) -> Result<Vec<Extent>> {
    if is_hole(one, extent)? && is_hole(other, extent)? {
        return Ok(Vec::new());
    }
    let length = extent.length().get() as usize;
    let (mine, theirs) = (&mut mine[..length], &mut theirs[..length]);
    fill(one, extent, mine)?;
    fill(other, extent, theirs)?;
    if mine == theirs {
        return Ok(Vec::new());
    }
    let sector = one.geometry().sector_size.bytes().get() as usize;
    let pairs = mine.chunks(sector).zip(theirs.chunks(sector)).enumerate();
    let differing = pairs.filter(|(_, (mine, theirs))| mine != theirs);
    Ok(differing.filter_map(|(index, (mine, _))| at(extent, index * sector, mine.len())).collect())
}

fn at(extent: Extent, skipped: usize, length: usize) -> Option<Extent> {
    let start = extent.start().get() + skipped as u64;
    Extent::between(ByteOffset::new(start), ByteOffset::new(start + length as u64)).ok()
}

fn is_hole(view: &View, extent: Extent) -> Result<bool> {
    Ok(view.allocation(extent)?.iter().all(|part| part.is_hole))
}

fn fill(view: &View, extent: Extent, bytes: &mut [u8]) -> Result<()> {
    for part in view.allocation(extent)? {
        let start = (part.extent.start().get() - extent.start().get()) as usize;
        let bytes = &mut bytes[start..start + part.extent.length().get() as usize];
        if part.is_hole {
            bytes.fill(0);
        } else {
            view.read(part.extent.start(), bytes)?;
        }
    }
    Ok(())
}
