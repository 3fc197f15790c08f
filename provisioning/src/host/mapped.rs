//! Asks a device which of its blocks are allocated: the holes of the file behind a loop device, GET
//! LBA STATUS of a thin SCSI disk. Most devices do not report this.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use system::loop_device;

use super::Tree;
use crate::scsi::{get_lba_status, lba_status};

/// The largest number of ranges of a file that are collected.
const RANGES_MAX: usize = 1 << 20;

/// The bytes of the device that may hold something, ascending; `None` if the device does not report
/// them, or reports that all of it does.
pub(super) fn mapped(
    machine: &Tree,
    device: &File,
    number: (u32, u32),
    size_bytes: u64,
    sector_bytes: u32,
) -> Option<Vec<Range<u64>>> {
    // Data that somebody else has written and that is still in the page cache has no blocks yet.
    let _ = device.sync_data();
    let base = format!("/sys/dev/block/{}:{}", number.0, number.1);
    let found = if let Some(path) = machine.attribute(format!("{base}/loop/backing_file")) {
        behind_a_loop_device(machine, device, &path, size_bytes)?
    } else if is_thin(machine, &base) {
        of_a_thin_disk(device, size_bytes, sector_bytes)?
    } else {
        return None;
    };
    let is_all = |range: &Range<u64>| range.start == 0 && range.end >= size_bytes;
    (!found.iter().any(is_all)).then_some(found)
}

/// Whether a SCSI disk, or the first path of a map, reports thin provisioning.
fn is_thin(machine: &Tree, base: &str) -> bool {
    let lower = machine.list(format!("{base}/slaves")).into_iter().next();
    let base = lower.map_or_else(|| base.to_owned(), |name| format!("/sys/block/{name}"));
    let disks = machine.list(format!("{base}/device/scsi_disk"));
    disks.iter().any(|disk| {
        let attribute = format!("{base}/device/scsi_disk/{disk}/thin_provisioning");
        machine.attribute(attribute).as_deref() == Some("1")
    })
}

fn of_a_thin_disk(device: &File, size_bytes: u64, sector_bytes: u32) -> Option<Vec<Range<u64>>> {
    let sector = u64::from(sector_bytes);
    let ask = &mut |block| get_lba_status(device.as_fd(), block);
    let blocks = lba_status::mapped(size_bytes / sector, ask)?;
    let in_bytes = |range: Range<u64>| range.start * sector..range.end * sector;
    Some(blocks.into_iter().map(in_bytes).collect())
}

fn behind_a_loop_device(
    machine: &Tree,
    device: &File,
    path: &str,
    size_bytes: u64,
) -> Option<Vec<Range<u64>>> {
    let backing = loop_device::backing(device).ok()??;
    let outside = machine.outside_path(path).ok()?;
    let mut options = OpenOptions::new();
    let file =
        options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(outside).ok()?;
    let metadata = file.metadata().ok()?;
    let is_the_one = (metadata.dev(), metadata.ino()) == (backing.filesystem, backing.inode);
    if !is_the_one || !metadata.is_file() {
        return None;
    }
    let end = backing.offset.checked_add(size_bytes)?;
    let on_the_device = |range: Range<u64>| {
        let start = range.start.max(backing.offset);
        (start < range.end.min(end))
            .then(|| start - backing.offset..range.end.min(end) - backing.offset)
    };
    Some(data(&file)?.into_iter().filter_map(on_the_device).collect())
}

/// The parts of a file that are not holes; `None` if the filesystem cannot report them.
fn data(file: &File) -> Option<Vec<Range<u64>>> {
    let seek = |at: i64, whence: Whence| match lseek(file, at, whence) {
        Ok(offset) => Some(Some(offset)),
        // Past the last data of the file.
        Err(Errno::ENXIO) => Some(None),
        Err(_) => None,
    };
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = seek(at, Whence::SeekData)? {
        let end = seek(start, Whence::SeekHole)??;
        if end <= start || found.len() >= RANGES_MAX {
            return None;
        }
        found.push(u64::try_from(start).ok()?..u64::try_from(end).ok()?);
        at = end;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn the_data_of_a_sparse_file_is_told() {
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        file.set_len(64 << 20).unwrap();
        assert_eq!(data(&file).unwrap(), []);
        file.write_all_at(b"x", 40 << 20).unwrap();
        let found = data(&file).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(&(40 << 20)), "{found:?}");
    }
}
