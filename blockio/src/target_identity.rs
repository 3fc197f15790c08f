//! What tells a target from every other disk: recorded with the group, and compared before anything
//! is written. A name alone is not enough: without a WWID another disk stands behind it tomorrow.
//!
//! What a target holds is recorded (`Content`) only in the same save as the last checkpoint of a
//! run, when nothing is written after it, and taken back in the save before the first write of the
//! next one. So it is true whenever it is there, and after a crash it is not there.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

use crate::apply::Assignment;
use crate::device::buffer::ArenaPool;
use crate::device::{BlockDevice, ReadBatch, Transfer};
use crate::group::GroupView;
use crate::journal::state::VolumeState;
use crate::units::ByteOffset;
use crate::{Error, Result};

mod signature;

use signature::signature;

/// The beginning of a disk, in bytes: tables, and the superblocks of filesystems.
const HEAD_BYTES: usize = 68 << 10;
/// A sample, in bytes: whole sectors of any disk.
const SAMPLE_BYTES: usize = 4096;
/// So many samples are read besides the beginning, evenly spread; the last one is the end.
const SAMPLES: u64 = 16;

/// What an assignment's target is known by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownAs {
    /// Its WWID; without one, its path.
    pub name: String,
    /// The serial number of a disk without a WWID.
    pub serial: Option<String>,
    /// The file behind a loop device.
    pub backing_file: Option<String>,
}

impl From<String> for KnownAs {
    fn from(name: String) -> Self {
        Self { name, ..Self::default() }
    }
}

/// What is recorded of a target besides its name and its size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetIdentity {
    /// As in [`KnownAs`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// As in [`KnownAs`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing_file: Option<String>,
    /// The length of its sectors.
    pub sector_bytes: u64,
    /// What it holds; none while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

/// What a target holds, as far as a few reads tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// The length that places were counted by.
    bytes: u64,
    /// The partition table, by its UUID or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    /// The filesystem, by its UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filesystem: Option<String>,
    /// CRC32C of the beginning, and then of each sample.
    samples: Vec<u32>,
}

impl TargetIdentity {
    /// Of the target of `assignment`, whose content is not known.
    pub(crate) fn of(assignment: &Assignment) -> Self {
        let KnownAs { serial, backing_file, .. } = assignment.identity.clone();
        let sector_bytes = assignment.target.geometry().sector_size.bytes().get();
        Self { serial, backing_file, sector_bytes, content: None }
    }
}

/// The places of samples on a disk of `bytes`, ascending; without the beginning.
fn places(bytes: u64) -> Vec<u64> {
    let sample = SAMPLE_BYTES as u64;
    let last = bytes.saturating_sub(1) / sample;
    let mut all: Vec<u64> = (1..=SAMPLES)
        .map(|number| last / SAMPLES * number + last % SAMPLES * number / SAMPLES)
        .map(|block| block * sample)
        .filter(|at| *at >= HEAD_BYTES as u64)
        .collect();
    all.dedup();
    all
}

/// Where content is read from.
pub(crate) enum Held<'a> {
    /// A file or disk of this host.
    File(&'a File),
    /// A device that somebody has opened, and on which nothing is under way.
    Device(&'a mut dyn BlockDevice),
}

/// What `held` holds now, of so many `bytes`; none if it cannot be read: then there is nothing to
/// be compared, and who writes to it will tell.
pub(crate) fn content(held: Option<Held<'_>>, bytes: u64) -> Option<Content> {
    content_of(held?, bytes).ok()
}

fn content_of(mut held: Held<'_>, bytes: u64) -> io::Result<Content> {
    let length = NonZeroUsize::new(HEAD_BYTES).expect("invariant: not zero");
    let pool = ArenaPool::new(1, length)?;
    let mut read = |at: u64, length: usize| held.read(&pool, at, length, bytes);
    let head = read(0, HEAD_BYTES)?;
    let (table, filesystem) = signature(&head);
    let mut samples = vec![crc32c::crc32c(&head)];
    for at in places(bytes) {
        samples.push(crc32c::crc32c(&read(at, SAMPLE_BYTES)?));
    }
    Ok(Content { bytes, table, filesystem, samples })
}

impl Held<'_> {
    /// What there is from `at` on, up to `end`; `length` bytes at most.
    fn read(&mut self, pool: &ArenaPool, at: u64, length: usize, end: u64) -> io::Result<Vec<u8>> {
        let left = usize::try_from(end.saturating_sub(at)).unwrap_or(length).min(length);
        let mut arena = pool.take().map_err(io::Error::other)?;
        if left == 0 {
            return Ok(Vec::new());
        }
        match self {
            Self::File(file) => {
                let read = read_direct(file, at, &mut arena.as_mut_slice()[..length])?;
                Ok(arena.as_slice()[..left.min(read)].to_vec())
            }
            Self::Device(device) => {
                let sector = device.geometry().sector_size.bytes().get() as usize;
                let length = left.next_multiple_of(sector);
                let reads = vec![Transfer { at: ByteOffset::new(at), position: 0, length }];
                let batch = ReadBatch { arena, reads };
                let arena = device.read_batch(batch).map_err(|error| error.cause)?;
                Ok(arena.as_slice()[..left].to_vec())
            }
        }
    }
}

/// Reads from `at` until `memory` is full or the file ends, and says how much that was.
fn read_direct(file: &File, at: u64, memory: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < memory.len() {
        match file.read_at(&mut memory[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // A direct read goes on at a sector only; what is shorter is the end.
        if filled % 512 != 0 {
            break;
        }
    }
    Ok(filled)
}

/// Every target of `assignments` is the one that `group` has written to, as far as that can be
/// known; gives what the operator should know. `accept`: he says that it is.
///
/// # Errors
///
/// `Refused`: one is another, or holds something else, with what differs.
pub fn check(
    group: &GroupView,
    assignments: &mut [Assignment],
    accept: bool,
) -> Result<Vec<String>> {
    compare(group, assignments, accept, Depth::WithContent)
}

/// As [`check`], without a look at what the targets hold: for who compares that better.
///
/// # Errors
///
/// As [`check`].
pub fn check_kind(
    group: &GroupView,
    assignments: &mut [Assignment],
    accept: bool,
) -> Result<Vec<String>> {
    compare(group, assignments, accept, Depth::Kind)
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    Kind,
    WithContent,
}

fn compare(
    group: &GroupView,
    assignments: &mut [Assignment],
    accept: bool,
    depth: Depth,
) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for assignment in assignments {
        let label = assignment.source.clone().unwrap_or_default();
        let label = label.as_str();
        is_no_other_volume(group, label, assignment)?;
        let Some(known) = group.state().volumes.get(label) else { continue };
        let found = difference_of_disk(known, assignment, &mut notes);
        let found = match (found, depth) {
            (None, Depth::WithContent) => difference_of_content(group, known, assignment),
            (found, _) => found,
        };
        let Some(difference) = found else { continue };
        let shown = assignment.target.shown();
        if accept {
            notes.push(format!("{shown}: {difference}; it is taken all the same"));
            continue;
        }
        let name = group.name();
        return Err(Error::refused(format!("{shown}: {difference}")).with_hint(format!(
            "name the disk that has been written so far, or begin another group; if it is the \
             one (`mtctl group show --group {name}` has what is known), say so: --accept-target"
        )));
    }
    Ok(notes)
}

/// One disk under two names would be preserved twice, and could never be gone back with.
fn is_no_other_volume(group: &GroupView, label: &str, assignment: &Assignment) -> Result<()> {
    let own = group.state().volumes.get(label).and_then(|known| known.target.as_ref());
    if own == Some(&assignment.identity.name) {
        return Ok(());
    }
    let others = group.state().volumes.iter().filter(|(name, _)| *name != label);
    for (name, known) in others {
        let is_it = known.target.as_ref() == Some(&assignment.identity.name)
            && difference_of_kind(known, assignment).is_none();
        if !is_it && !is_the_same_by_more_than_its_name(known, assignment) {
            continue;
        }
        let (shown, of) = (assignment.target.shown(), group.name());
        let typed = match name.as_str() {
            "" => "--target DEVICE".to_owned(),
            name => format!("--map {name}=DEVICE"),
        };
        return Err(Error::refused(format!(
            "{shown}: group {of} has this disk as its volume \"{name}\", and a disk is one volume"
        ))
        .with_hint(format!(
            "name it as it was named before: {typed}; to begin anew, first give it up: mtctl \
             group release --group {of}"
        )));
    }
    Ok(())
}

fn is_the_same_by_more_than_its_name(known: &VolumeState, assignment: &Assignment) -> bool {
    let Some(recorded) = &known.identity else { return false };
    let now = &assignment.identity;
    let same = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
    same(&recorded.backing_file, &now.backing_file) || same(&recorded.serial, &now.serial)
}

/// What differs from what is known, in words that follow the target's name; none if nothing does.
fn difference_of_disk(
    known: &VolumeState,
    assignment: &Assignment,
    notes: &mut Vec<String>,
) -> Option<String> {
    let (now, shown) = (&assignment.identity.name, assignment.target.shown());
    if let Some(before) = known.target.as_ref().filter(|before| *before != now) {
        let Some(same) = what_is_the_same(known, assignment) else {
            return Some(format!(
                "the group knows this volume's target as {before}, and this is {now}"
            ));
        };
        notes.push(format!("{shown}: the group knows it as {before}; {same} is the same"));
    }
    difference_of_kind(known, assignment)
}

fn difference_of_content(
    group: &GroupView,
    known: &VolumeState,
    assignment: &mut Assignment,
) -> Option<String> {
    let is_at_rest = known.in_between.as_ref().is_none_or(|between| between.exact);
    let is_known = is_at_rest && group.rolling_back_to().is_none();
    let content = known.identity.as_ref()?.content.as_ref().filter(|_| is_known)?;
    // What cannot be read is told by who writes to it.
    let found = self::content(assignment.target.held(), content.bytes)?;
    content.difference(&found)
}

fn what_is_the_same(known: &VolumeState, assignment: &Assignment) -> Option<String> {
    if !is_the_same_by_more_than_its_name(known, assignment) {
        return None;
    }
    let KnownAs { serial, backing_file, .. } = &assignment.identity;
    let serial = serial.as_ref().map(|serial| format!("its serial number {serial}"));
    backing_file.as_ref().map(|file| format!("the file behind it, {file},")).or(serial)
}

fn difference_of_kind(known: &VolumeState, assignment: &Assignment) -> Option<String> {
    let (bytes, sectors) = {
        let geometry = assignment.target.geometry();
        (geometry.capacity.get(), geometry.sector_size.bytes().get())
    };
    if bytes < known.target_bytes {
        return Some(format!("it has {bytes} bytes, and the group knows {}", known.target_bytes));
    }
    let recorded = known.identity.as_ref()?;
    let now = &assignment.identity;
    let differ = |what: &str, before: &Option<String>, now: &Option<String>| {
        let before = before.as_ref().filter(|before| now.as_ref() != Some(before))?;
        let now = now.as_deref().unwrap_or("none");
        Some(format!("its {what} is {now}, and of the one that the group knows it is {before}"))
    };
    differ("backing file", &recorded.backing_file, &now.backing_file)
        .or_else(|| differ("serial number", &recorded.serial, &now.serial))
        .or_else(|| {
            let before = recorded.sector_bytes;
            (sectors > before && before > 0)
                .then(|| format!("it has sectors of {sectors} bytes, and the group knows {before}"))
        })
}

impl Content {
    fn difference(&self, found: &Self) -> Option<String> {
        if self == found {
            return None;
        }
        let shown = |name: &Option<String>| name.clone().unwrap_or_else(|| "none".to_owned());
        for (what, before, now) in [
            ("partition table", &self.table, &found.table),
            ("filesystem", &self.filesystem, &found.filesystem),
        ] {
            if before != now {
                let (before, now) = (shown(before), shown(now));
                return Some(format!(
                    "it does not hold what the group left there: its {what} is {now}, and was \
                     {before}"
                ));
            }
        }
        let at = std::iter::once(0).chain(places(self.bytes));
        let mut pairs = at.zip(self.samples.iter().zip(&found.samples));
        let place = pairs.find(|(_, (before, now))| before != now).map_or(0, |(at, _)| at);
        Some(format!(
            "it does not hold what the group left there: something else wrote to it, or it is \
             another disk; the first sample that differs is at byte {place}"
        ))
    }
}

#[cfg(test)]
mod tests;
