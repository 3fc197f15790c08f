//! The file behind a device, as used by both engines that have one: which transfers it can take,
//! the end of an image that is not whole sectors, and the flush. Batches and queues are up to the
//! engines.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::device::{Geometry, TRANSFER_BYTES_MAX, Transfer};
use crate::extent::Extent;
use crate::units::ByteOffset;

/// Shorter ranges of a disk, in bytes, are written as data: a call for each costs a disk four times
/// as much (docs/performance.md). What that allocates is less than the unit in which most thin
/// disks allocate. An image file is always cleared: its holes are what somebody sees of it.
const CLEAR_BYTES_MIN: u64 = 64 << 10;

/// A disk or an image file, open.
#[derive(Debug)]
pub(super) struct DiskFile {
    file: File,
    geometry: Geometry,
    // The same file through the page cache; only if the last sector is incomplete, and only for
    // that sector: O_DIRECT could only write all of it, and the file would grow.
    tail: Option<File>,
    is_disk: bool,
}

/// The parts of a transfer, which are done in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// Whole sectors inside the file.
    pub(super) whole: Option<Transfer>,
    /// The last sector, of which only a part is inside the file.
    pub(super) tail: Option<Transfer>,
}

/// The parts of an extent that is to read as zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartsToClear {
    /// Whole sectors inside the file.
    pub(super) whole: Option<Extent>,
    /// Whether to write zeros as if they were data.
    pub(super) as_data: bool,
    /// Whether it includes the last sector, of which only a part is inside the file.
    pub(super) has_tail: bool,
}

impl DiskFile {
    pub(super) fn new(file: File, geometry: Geometry) -> io::Result<Self> {
        let end = ByteOffset::new(geometry.capacity.get());
        let is_whole = geometry.sector_size.lba_at(end).is_some();
        let tail = if is_whole { None } else { Some(reopen(&file)?) };
        let is_disk = file.metadata()?.file_type().is_block_device();
        Ok(Self { file, geometry, tail, is_disk })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The end of the whole sectors.
    fn whole_end(&self) -> u64 {
        let end = ByteOffset::new(self.geometry.capacity.get());
        self.geometry.sector_size.align_down(end).get()
    }

    /// Divides `transfer`, with an arena of `arena_bytes`.
    pub(super) fn parts(&self, transfer: Transfer, arena_bytes: usize) -> io::Result<Parts> {
        check(self.geometry, transfer, arena_bytes)?;
        let Transfer { at, position, length } = transfer;
        let (end, whole_end) = (at.get() + length as u64, self.whole_end());
        if end <= whole_end {
            return Ok(Parts { whole: Some(transfer), tail: None });
        }
        // `end` was checked: only the last sector can be incomplete.
        let sector = self.geometry.sector_size.bytes().get() as usize;
        let before = length - sector;
        let whole = (before > 0).then_some(Transfer { at, position, length: before });
        let tail = Transfer {
            at: ByteOffset::new(whole_end),
            position: position + before,
            length: sector,
        };
        Ok(Parts { whole, tail: Some(tail) })
    }

    /// Writes the part of the last sector that is inside the file, durably: no page may stay dirty,
    /// or the kernel would later write it over what O_DIRECT writes next to it. Nothing may be
    /// under way.
    pub(super) fn write_tail(&self, sector: &[u8]) -> io::Result<()> {
        let Some(file) = &self.tail else { return Ok(()) };
        let inside = (self.geometry.capacity.get() - self.whole_end()) as usize;
        file.write_all_at(&sector[..inside], self.whole_end())?;
        file.sync_data()
    }

    /// Reads the last sector; it is zeros past the end of the file.
    pub(super) fn read_tail(&self, sector: &mut [u8]) -> io::Result<()> {
        let Some(file) = &self.tail else { return Ok(()) };
        let inside = (self.geometry.capacity.get() - self.whole_end()) as usize;
        let (inside, outside) = sector.split_at_mut(inside);
        outside.fill(0);
        file.read_exact_at(inside, self.whole_end())
    }

    /// Divides `extent`, which is to read as zeros.
    pub(super) fn parts_to_clear(&self, extent: Extent) -> io::Result<PartsToClear> {
        let inside = clip(self.geometry, extent)?;
        let whole_end = ByteOffset::new(self.whole_end());
        let whole = Extent::between(inside.start(), inside.end().min(whole_end)).ok();
        let as_data = self.is_disk && whole.is_some_and(is_short);
        Ok(PartsToClear { whole, as_data, has_tail: inside.end() > whole_end })
    }

    /// Makes the part of the last sector that is inside the file zeros, as
    /// [`write_tail`](Self::write_tail).
    pub(super) fn clear_tail(&self) -> io::Result<()> {
        self.write_tail(&vec![0; self.geometry.sector_size.bytes().get() as usize])
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Whether a disk writes zeros to `extent` sooner than it clears it.
fn is_short(extent: Extent) -> bool {
    extent.length().get() < CLEAR_BYTES_MIN
}

/// Refuses a transfer that is not valid for this disk and arena: nothing outside of either is
/// touched.
pub(super) fn check(geometry: Geometry, transfer: Transfer, arena_bytes: usize) -> io::Result<()> {
    let sector = geometry.sector_size.bytes().get();
    let disk_end = geometry.capacity.get().checked_next_multiple_of(sector).unwrap_or(u64::MAX);
    let Transfer { at, position, length } = transfer;
    let is_aligned = [at.get(), position as u64, length as u64].iter().all(|n| n % sector == 0);
    let is_on_disk = at.get().checked_add(length as u64).is_some_and(|end| end <= disk_end);
    let is_in_arena = position.checked_add(length).is_some_and(|end| end <= arena_bytes);
    let is_of_length = (1..=TRANSFER_BYTES_MAX).contains(&length);
    if is_aligned && is_on_disk && is_in_arena && is_of_length {
        return Ok(());
    }
    let message =
        format!("no transfer of whole sectors on the disk and in its arena: {transfer:?}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// The part of `extent` that is inside the disk; refuses an extent that is not whole sectors of it.
pub(super) fn clip(geometry: Geometry, extent: Extent) -> io::Result<Extent> {
    let capacity = ByteOffset::new(geometry.capacity.get());
    let is_on_disk = geometry.sector_size.align_up(capacity).is_none_or(|end| extent.end() <= end);
    let is_whole = extent.to_sectors(geometry.sector_size).is_some();
    let inside = Extent::between(extent.start(), extent.end().min(capacity));
    match inside {
        Ok(inside) if is_on_disk && is_whole => Ok(inside),
        _ => {
            let message = format!("no whole sectors on the disk: {extent}");
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
    }
}

/// The disk extent of `transfer`, for messages, including one that [`check`] refused.
pub(super) fn extent_of(transfer: Transfer) -> Extent {
    let length = transfer.length.max(1) as u64;
    let start = transfer.at.get().min(u64::MAX - length);
    Extent::between(ByteOffset::new(start), ByteOffset::new(start + length))
        .expect("invariant: a length of at least one, below the top")
}

fn reopen(file: &File) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = OFlag::from_bits_truncate(fcntl(file, FcntlArg::F_GETFL)?);
    let is_writable = flags & OFlag::O_ACCMODE == OFlag::O_RDWR;
    OpenOptions::new().read(true).write(is_writable).open(path)
}

#[cfg(test)]
mod tests;
