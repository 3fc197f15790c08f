//! The log of the kernel's dm-log-writes: everything that was written to a disk, in the order in
//! which it became durable, so that the disk can be reconstructed as it was at any moment. Pure:
//! bytes in, entries out, and an image in memory to which they are applied.
//!
//! On the log device (drivers/md/dm-log-writes.c; all numbers little endian): a sector with magic,
//! version, number of entries and bytes in a sector; then for each entry a sector that describes
//! it, followed by the written data. A write is logged with the flush after it, or immediately if
//! it bypasses the cache (FUA). A mark is a text from an observer.

use std::ops::Range;

use anyhow::{Context, Result, ensure};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 1 << 1;
const DISCARD: u64 = 1 << 2;
const MARK: u64 = 1 << 3;
/// Marks a file system's metadata; meaningless here.
const METADATA: u64 = 1 << 4;
/// Length of the fields at the beginning of an entry's sector.
const ENTRY_BYTES: usize = 32;

/// The history of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// In order.
    pub entries: Vec<Entry>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes of the disk that it affects; empty for a flush alone and for a mark.
    pub extent: Range<u64>,
    /// Their new contents.
    pub becomes: Become,
    /// Everything before it in the log is durable after it.
    pub is_flush: bool,
    /// It is durable itself, whatever else is not flushed.
    pub is_fua: bool,
}

/// What an entry does to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Become {
    /// The bytes at this offset in the log.
    Written(usize),
    /// Undefined contents; zeros here.
    Discarded,
    /// Unchanged; the text of a mark.
    Marked(String),
}

impl Log {
    /// Parses the log device `log`.
    ///
    /// # Errors
    ///
    /// It is not a log, has another version, or ends before its last entry does.
    pub fn parse(log: &[u8]) -> Result<Self> {
        ensure!(number(log, 0)? == MAGIC, "not a log of dm-log-writes");
        let version = number(log, 8)?;
        ensure!(version == VERSION, "a log of version {version}");
        let count = number(log, 16)?;
        let sector_bytes = number(log, 24)? & u64::from(u32::MAX);
        let is_known = sector_bytes.is_power_of_two() && (512..=4096).contains(&sector_bytes);
        ensure!(is_known, "sectors of {sector_bytes} bytes");
        let mut at = usize::try_from(sector_bytes)?;
        let mut entries = Vec::new();
        for index in 0..count {
            let (entry, end) =
                entry(log, at, sector_bytes).with_context(|| format!("entry {index}"))?;
            entries.push(entry);
            at = end;
        }
        Ok(Self { entries })
    }

    /// The places in the log after which something became durable: `entries[..place]` is then
    /// certainly on the disk. Of several flushes with no change between them, only the last is a
    /// place.
    pub fn barriers(&self) -> Vec<usize> {
        let mut places: Vec<usize> = Vec::new();
        let mut has_changed = true;
        for (at, entry) in self.entries.iter().enumerate() {
            has_changed |= !entry.extent.is_empty();
            if entry.is_flush || entry.is_fua {
                if !has_changed {
                    places.pop();
                }
                places.push(at + 1);
                has_changed = false;
            }
        }
        places
    }
}

impl Entry {
    /// Applies the entry to `image`; `log` is the log that it was parsed from.
    ///
    /// # Errors
    ///
    /// It lies outside the image.
    pub fn replay(&self, log: &[u8], image: &mut [u8]) -> Result<()> {
        let range = usize::try_from(self.extent.start)?..usize::try_from(self.extent.end)?;
        let length = range.len();
        let place = image.get_mut(range).context("an entry past the end of the disk")?;
        match &self.becomes {
            Become::Written(from) => {
                let bytes = log.get(*from..from + length).context("another log")?;
                place.copy_from_slice(bytes);
            }
            Become::Discarded => place.fill(0),
            Become::Marked(_) => {}
        }
        Ok(())
    }
}

/// The entry described at `at`, and the offset of the next one.
fn entry(log: &[u8], at: usize, sector_bytes: u64) -> Result<(Entry, usize)> {
    let (sector, sectors) = (number(log, at)?, number(log, at + 8)?);
    let (flags, text_bytes) = (number(log, at + 16)?, number(log, at + 24)?);
    let known = FLUSH | FUA | DISCARD | MARK | METADATA;
    ensure!(flags & !known == 0, "unknown flags {flags:#x}");
    let bytes = |sectors: u64| sectors.checked_mul(sector_bytes).context("too many sectors");
    let (start, length) = (bytes(sector)?, bytes(sectors)?);
    let extent = start..start.checked_add(length).context("too far away")?;
    let content = at + usize::try_from(sector_bytes)?;
    let (becomes, end) = if flags & MARK != 0 {
        let begin = at + ENTRY_BYTES;
        let end =
            begin.checked_add(usize::try_from(text_bytes)?).context("an unterminated mark")?;
        ensure!(end <= content, "a mark of {text_bytes} bytes");
        let text = log.get(begin..end).context("the log ends in a mark")?;
        (Become::Marked(String::from_utf8_lossy(text).into_owned()), content)
    } else if flags & DISCARD != 0 {
        (Become::Discarded, content)
    } else {
        let end = content.checked_add(usize::try_from(length)?).context("truncated data")?;
        (Become::Written(content), end)
    };
    ensure!(end <= log.len(), "the log ends within it");
    let (is_flush, is_fua) = (flags & FLUSH != 0, flags & FUA != 0);
    Ok((Entry { extent, becomes, is_flush, is_fua }, end))
}

/// The eight bytes at `at`.
fn number(log: &[u8], at: usize) -> Result<u64> {
    let bytes = log.get(at..at + 8).context("the log ends too early")?;
    Ok(u64::from_le_bytes(bytes.try_into()?))
}

#[cfg(test)]
mod tests;
