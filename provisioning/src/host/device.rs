//! Block devices, opened for reading only: identity, size and whether they look blank. Nothing in
//! this crate writes to a device but the mkfs programs that a plan names.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::memory::Node;
use super::{Tree, io_failed};
use crate::error::{Error, ErrorKind, Result};

/// How much of a disk's beginning and end is looked at to call it blank, in bytes each.
pub const CONTENT_PROBE_BYTES: u64 = 16 << 20;
/// One read while probing, in bytes.
const CHUNK_BYTES: usize = 1 << 20;
/// Compared with as a whole, which is as fast as memory in every build; byte by byte is not.
static ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];

/// An open block device. While it lives, the kernel cannot give its device number to another disk.
#[derive(Debug)]
pub struct DeviceReader {
    path: PathBuf,
    device_number: (u32, u32),
    source: Source,
}

#[derive(Debug)]
enum Source {
    Device(File),
    Recorded { blank: bool },
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
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags | libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(&outside)
            .map_err(|cause| open_failed(path, cause))?;
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
                let source = Source::Recorded { blank };
                Ok(Self { path: path.to_owned(), device_number, source })
            }
            Some(_) => Err(not_a_block_device(path)),
            None => Err(open_failed(path, std::io::Error::from_raw_os_error(libc::ENOENT))),
        }
    }

    /// Major and minor number.
    pub fn device_number(&self) -> (u32, u32) {
        self.device_number
    }

    /// A VPD page, by SG_IO.
    pub(super) fn inquire_vpd(&self, page: u8) -> Option<Vec<u8>> {
        match &self.source {
            Source::Device(file) => crate::scsi::inquire_vpd(file.as_fd(), page).ok(),
            Source::Recorded { .. } => None,
        }
    }

    /// Whether the first and the last [`CONTENT_PROBE_BYTES`] hold nothing but zeros.
    ///
    /// # Errors
    /// When the device cannot be read there: an unreadable disk is not a blank one.
    pub fn is_blank(&mut self) -> Result<bool> {
        let file = match &mut self.source {
            Source::Recorded { blank } => return Ok(*blank),
            Source::Device(file) => file,
        };
        ends_are_zero(file).map_err(|cause| io_failed("reading", &self.path, cause))
    }
}

fn ends_are_zero(file: &mut File) -> std::io::Result<bool> {
    let size_bytes = file.seek(SeekFrom::End(0))?;
    let last_begins = size_bytes.saturating_sub(CONTENT_PROBE_BYTES);
    Ok(is_zero(file, 0, CONTENT_PROBE_BYTES)? && is_zero(file, last_begins, CONTENT_PROBE_BYTES)?)
}

fn is_zero(file: &mut File, offset: u64, length: u64) -> std::io::Result<bool> {
    file.seek(SeekFrom::Start(offset))?;
    let mut range = file.take(length);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match range.read(&mut chunk)? {
            0 => return Ok(true),
            count if chunk[..count] != ZEROS[..count] => return Ok(false),
            _ => {}
        }
    }
}

fn open_failed(path: &Path, cause: std::io::Error) -> Error {
    let busy = cause.raw_os_error() == Some(libc::EBUSY);
    let missing = cause.kind() == std::io::ErrorKind::NotFound;
    let context = format!("opening {}", path.display());
    if busy {
        let hint = format!("find its user with: lsblk {0}; fuser -v {0}", path.display());
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
    use std::io::Write;

    use super::*;

    #[test]
    fn a_byte_anywhere_in_the_first_or_last_16_mib_is_content() {
        let size_bytes = 3 * CONTENT_PROBE_BYTES;
        let inside = [0, CONTENT_PROBE_BYTES - 1, 2 * CONTENT_PROBE_BYTES, size_bytes - 1];
        let between = [CONTENT_PROBE_BYTES, 2 * CONTENT_PROBE_BYTES - 1];
        for (offsets, expected) in [(&inside[..], false), (&between[..], true)] {
            for offset in offsets {
                let mut file = tempfile::tempfile().unwrap();
                file.set_len(size_bytes).unwrap();
                file.seek(SeekFrom::Start(*offset)).unwrap();
                file.write_all(&[1]).unwrap();
                assert_eq!(ends_are_zero(&mut file).unwrap(), expected, "byte at {offset}");
            }
        }
    }

    #[test]
    fn a_character_device_is_not_a_block_device() {
        let machine = Tree::directory("/");
        let error = DeviceReader::open(&machine, Path::new("/dev/null")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
}
