//! Block devices, opened for reading only: identity, size and content. Nothing in this crate writes
//! to a device except the programs that a plan names.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::memory::Node;
use super::{Tree, content, io_failed, mapped};
use crate::blank::{self, Content};
use system::error::{Error, ErrorKind, Result};

/// An open block device. While it is open, the kernel does not reuse its device number for another
/// disk.
#[derive(Debug)]
pub struct DeviceReader {
    path: PathBuf,
    device_number: (u32, u32),
    source: Source,
}

#[derive(Debug)]
enum Source {
    Device(File),
    Recorded(Content),
}

impl DeviceReader {
    pub(super) fn open(machine: &Tree, path: &Path) -> Result<Self> {
        Self::open_with(machine, path, 0)
    }

    pub(super) fn open_exclusively(machine: &Tree, path: &Path) -> Result<Self> {
        Self::open_with(machine, path, libc::O_EXCL)
    }

    fn open_with(machine: &Tree, path: &Path, flags: i32) -> Result<Self> {
        let inside = machine.canonical(path);
        if let Some(memory) = machine.as_memory() {
            let node = inside.and_then(|inside| memory.node(&inside));
            return Self::from_node(path, node, flags & libc::O_EXCL != 0);
        }
        let outside = machine.outside_path(path)?;
        let file = open_directly(&outside, flags).map_err(|cause| open_failed(path, cause))?;
        let metadata = file.metadata().map_err(|cause| io_failed("opening", path, cause))?;
        if !metadata.file_type().is_block_device() {
            return Err(not_a_block_device(path));
        }
        let status = machine.status(path).ok_or_else(|| not_a_block_device(path))?;
        let opened = nix::sys::stat::makedev(
            u64::from(status.device_number.0),
            u64::from(status.device_number.1),
        );
        if opened != metadata.rdev() {
            let context = format!("{} changed while it was being opened", path.display());
            return Err(Error::refused(context));
        }
        let device_number = status.device_number;
        Ok(Self { path: path.to_owned(), device_number, source: Source::Device(file) })
    }

    fn from_node(path: &Path, node: Option<Node>, exclusively: bool) -> Result<Self> {
        match node {
            Some(Node::BlockDevice { busy: true, .. }) if exclusively => {
                Err(open_failed(path, std::io::Error::from_raw_os_error(libc::EBUSY)))
            }
            Some(Node::BlockDevice { device_number, blank, .. }) => {
                Ok(Self { path: path.to_owned(), device_number, source: Source::Recorded(blank) })
            }
            Some(_) => Err(not_a_block_device(path)),
            None => Err(open_failed(path, std::io::Error::from_raw_os_error(libc::ENOENT))),
        }
    }

    /// Major and minor number.
    pub fn device_number(&self) -> (u32, u32) {
        self.device_number
    }

    /// A VPD page, read by SG_IO.
    pub(super) fn inquire_vpd(&self, page: u8) -> Option<Vec<u8>> {
        match &self.source {
            Source::Device(file) => crate::scsi::inquire_vpd(file.as_fd(), page).ok(),
            Source::Recorded(_) => None,
        }
    }

    /// The path by which it was opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What lies on it, judged by the places that `seed` selects ([`blank::look`]).
    ///
    /// # Errors
    /// Returns an error if the device cannot be read there: an unreadable disk is not a blank one.
    pub(super) fn content(&self, machine: &Tree, seed: u64) -> Result<Content> {
        let file = match &self.source {
            Source::Recorded(content) => return Ok(content.clone()),
            Source::Device(file) => file,
        };
        let failed = |cause| io_failed("reading", &self.path, cause);
        let mut end = file;
        let size_bytes = end.seek(SeekFrom::End(0)).map_err(failed)?;
        if let Some(found) = content::find(file, &blank::ends(size_bytes)).map_err(failed)? {
            return Ok(Content::Found(found));
        }
        let (major, minor) = self.device_number;
        let sector = format!("/sys/dev/block/{major}:{minor}/queue/logical_block_size");
        let sector = machine.attribute(sector).and_then(|text| text.parse().ok()).unwrap_or(512);
        let mapped = mapped::mapped(machine, file, self.device_number, size_bytes, sector);
        let look = blank::look(size_bytes, sector, seed, mapped.as_deref());
        let found = content::find(file, &look.pieces).map_err(failed)?;
        let content = found.map_or(Content::Blank(look.proof), Content::Found);
        tracing::debug!(path = %self.path.display(), seed, %content, "looked for content");
        Ok(content)
    }
}

/// Opens for reading, bypassing the page cache if possible.
fn open_directly(outside: &Path, flags: i32) -> std::io::Result<File> {
    let open = |more: i32| {
        let flags = flags | more | libc::O_NONBLOCK | libc::O_CLOEXEC;
        OpenOptions::new().read(true).custom_flags(flags).open(outside)
    };
    match open(libc::O_DIRECT) {
        Err(cause) if cause.raw_os_error() == Some(libc::EINVAL) => open(0),
        opened => opened,
    }
}

fn open_failed(path: &Path, cause: std::io::Error) -> Error {
    let busy = cause.raw_os_error() == Some(libc::EBUSY);
    let missing = cause.kind() == std::io::ErrorKind::NotFound;
    let context = format!("opening {}", path.display());
    if busy {
        let hint = format!("find what uses it with: lsblk {0}; fuser -v {0}", path.display());
        return Error::refused(context).caused_by(cause).with_hint(hint);
    }
    let kind = if missing { ErrorKind::Usage } else { ErrorKind::Failed };
    Error::new(kind, context).caused_by(cause)
}

fn not_a_block_device(path: &Path) -> Error {
    Error::new(ErrorKind::Usage, format!("{} is not a block device", path.display()))
        .with_hint("mtctl disks --all lists the block devices of this host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_device_is_not_a_block_device() {
        let machine = Tree::directory("/");
        let error = DeviceReader::open(&machine, Path::new("/dev/null")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
}
