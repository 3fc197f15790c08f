//! What distinguishes a target from every other disk: recorded with the group, and compared
//! (`target_check`) before anything is written. A name alone is not enough: without a WWID, it may
//! lead to another disk tomorrow.
//!
//! What a target holds is recorded (`Content`) only in the same save as the last checkpoint of a
//! run, when nothing is written after it, and withdrawn in the save before the first write of the
//! next run. So it is true whenever it is there, and after a crash it is absent.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

use crate::device::buffer::ArenaPool;
use crate::device::{BlockDevice, ReadBatch, Transfer};
use crate::units::ByteOffset;

mod signature;

use signature::signature;

/// The beginning of a disk, in bytes: partition tables, and the superblocks of filesystems.
const HEAD_BYTES: usize = 68 << 10;
/// A sample, in bytes: whole sectors of any disk.
const SAMPLE_BYTES: usize = 4096;
/// The number of samples besides the beginning, evenly spread; the last one is the end.
const SAMPLES: u64 = 16;

/// What identifies an assignment's target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownAs {
    /// Its WWID, or its path if it has none.
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
    /// Its content; `None` while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

/// The content of a target, as far as a few reads show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// The length that the sample offsets are computed from.
    bytes: u64,
    /// The partition table, by its UUID or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    /// The filesystem, by its UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filesystem: Option<String>,
    /// CRC32C of the beginning, then of each sample.
    samples: Vec<u32>,
}

/// The offsets of samples on a disk of `bytes`, ascending; without the beginning.
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
    /// An open device on which nothing is under way.
    Device(&'a mut dyn BlockDevice),
}

/// The current content of `held`, over a length of `bytes`; `None` if it cannot be read: then there
/// is nothing to compare, and a write to it will report the failure.
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
    /// The bytes from `at` up to `end`; `length` bytes at most.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub(crate) fn read(
        &mut self,
        pool: &ArenaPool,
        at: u64,
        length: usize,
        end: u64,
    ) -> io::Result<Vec<u8>> {
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

/// Reads from `at` until `memory` is full or the file ends, and returns the number of bytes.
fn read_direct(file: &File, at: u64, memory: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < memory.len() {
        match file.read_at(&mut memory[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // A direct read can continue only at a sector; a shorter read is the end.
        if filled % 512 != 0 {
            break;
        }
    }
    Ok(filled)
}

impl Content {
    /// How the current content of `held` differs, in words that follow the target's name; `None` if
    /// it does not, or if it cannot be read: a write to it will report the failure.
    pub(crate) fn difference_on(&self, held: Option<Held<'_>>) -> Option<String> {
        self.difference(&content(held, self.bytes)?)
    }

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
                    "it does not hold what the group left there: its {what} is {now}, but was \
                     {before}"
                ));
            }
        }
        let at = std::iter::once(0).chain(places(self.bytes));
        let mut pairs = at.zip(self.samples.iter().zip(&found.samples));
        let place = pairs.find(|(_, (before, now))| before != now).map_or(0, |(at, _)| at);
        Some(format!(
            "it does not hold what the group left there: something else wrote to it, or it is \
             another disk; the first difference found is at byte {place}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 8 << 20;

    #[test]
    fn samples_lie_on_the_disk_and_the_last_one_is_its_end() {
        for bytes in [0, 1, 4096, 70 << 10, SIZE, SIZE + 5, u64::MAX] {
            let all = places(bytes);
            assert!(all.len() <= SAMPLES as usize);
            assert!(
                all.is_sorted() && all.iter().all(|at| at % 4096 == 0 && *at < bytes),
                "{bytes}"
            );
            let end = bytes.saturating_sub(1) / 4096 * 4096;
            assert!(end < HEAD_BYTES as u64 || all.last() == Some(&end), "{bytes}");
        }
    }
}
