//! Where a group's history is kept: one state, in two copies that are each replaced whole or
//! appended to, and segments, which are files of a fixed length written like disks. Their content
//! belongs to `group` and `journal`.
//!
//! What a crash leaves is part of the contract, and everything above relies on it:
//! - a copy of the state that was replaced is the new one once `replace_state` has returned; before
//!   that it is the old one or the new one, never half of each;
//! - text appended to a copy of the state is there once `append_state` has returned; before that
//!   any leading part of it may be there, or only its length;
//! - a segment that was created is there once `create_segment` has returned, with any content, and
//!   with its length once it was flushed; before that it is there or not;
//! - a segment that was removed is gone once the next `replace_state` of the second copy has
//!   returned (`append_state` does not count); before that it is there or not;
//! - data written to a segment is durable after a flush of the segment, as with every disk.

use std::io;
use std::path::PathBuf;

use crate::device::BlockDevice;
use crate::device::Engine;
use system::error::more_open_files;

pub mod directory;

/// What to do after `error` in the directory of a history, if that is known. The order matters for
/// its file system: one that is mounted before it was checked can drop the journal that holds its
/// pending writes (docs/adr/0010).
pub(crate) fn remedy(error: &io::Error) -> Option<&'static str> {
    if let Some(more) = more_open_files(error) {
        return Some(more);
    }
    if matches!(error.raw_os_error(), Some(libc::EISDIR | libc::ENXIO | libc::ELOOP | libc::EEXIST))
    {
        return Some("move away what is in its place: it is not one of our files");
    }
    // EUCLEAN is also EFSCORRUPTED.
    let is_of_file_system =
        matches!(error.raw_os_error(), Some(libc::EIO | libc::EROFS | libc::EUCLEAN));
    // By its type: fsck(8) would probe what the disk looks like, and a before-image could decide
    // that.
    is_of_file_system.then_some(
        "see dmesg; unmount the retention volume, run `fsck.ext4 -y` on its device (XFS repairs \
         itself when mounted), and mount it again",
    )
}

/// The number of a segment: segments are numbered from 1 in the order in which they are made, and
/// no number is reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentNumber(pub u64);

/// Room on the retention volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Total room, in bytes.
    pub total_bytes: u64,
    /// Free room, in bytes.
    pub free_bytes: u64,
}

/// One of the two copies of the state. Which one counts when they differ is decided by
/// `journal::saved`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateCopy {
    /// In the state directory: written first.
    First,
    /// Next to the segments: it is there when the directory of the first copy is lost, or replaced.
    Second,
}

impl StateCopy {
    /// Both, in the order in which they are written.
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];
}

/// Where a group's history is kept.
pub trait Storage: Send + Sync {
    /// The file that holds a copy of the state, for messages; `None` if it is not in a file.
    fn state_file(&self, _copy: StateCopy) -> Option<PathBuf> {
        None
    }

    /// A copy of the state; `None` if it was never saved.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    fn read_state(&self, copy: StateCopy) -> io::Result<Option<String>>;

    /// Durably replaces a copy of the state with `text`.
    ///
    /// # Errors
    ///
    /// The kernel's error; the old text is still there then, or the new one is.
    fn replace_state(&self, copy: StateCopy, text: &str) -> io::Result<()>;

    /// Durably appends `text` to a copy of the state that is `at` bytes long. Returns false and
    /// writes nothing if there is no copy of that length.
    ///
    /// # Errors
    ///
    /// The kernel's error; any part of `text` may be there then.
    fn append_state(&self, copy: StateCopy, at: u64, text: &str) -> io::Result<bool>;

    /// Durably creates segment `number` of `bytes`, with room reserved for all of them; `engine`
    /// will write it.
    ///
    /// # Errors
    ///
    /// ENOSPC: there is no room, and nothing was created. EEXIST: the segment exists already.
    /// Otherwise the kernel's error.
    fn create_segment(
        &self,
        number: SegmentNumber,
        bytes: u64,
        engine: Engine,
    ) -> io::Result<Box<dyn BlockDevice>>;

    /// Opens segment `number` for reading and flushing.
    ///
    /// # Errors
    ///
    /// ENOENT: it does not exist. Otherwise the kernel's error.
    fn open_segment(&self, number: SegmentNumber) -> io::Result<Box<dyn BlockDevice>>;

    /// A number that changes whenever a copy of the state is replaced or appended to.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    fn state_stamp(&self) -> io::Result<u64>;

    /// Gives back the room past `bytes` of segment `number`, whose length stays the same: the part
    /// past `bytes` then reads as zeros, or as before.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    fn shorten_segment(&self, number: SegmentNumber, bytes: u64) -> io::Result<()>;

    /// Removes segment `number`; succeeds if it does not exist. Readers that have it open can
    /// continue to read it.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    fn remove_segment(&self, number: SegmentNumber) -> io::Result<()>;

    /// The existing segments, ascending.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    fn segments(&self) -> io::Result<Vec<SegmentNumber>>;

    /// How much room there is.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    fn space(&self) -> io::Result<Space>;

    /// As [`space`](Self::space), after waiting for removed files to be given back: some
    /// filesystems do that later.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    fn space_after_removal(&self) -> io::Result<Space> {
        self.space()
    }
}

/// Storage where nothing was ever kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nothing;

impl Storage for Nothing {
    fn read_state(&self, _: StateCopy) -> io::Result<Option<String>> {
        Ok(None)
    }

    fn replace_state(&self, _: StateCopy, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn append_state(&self, _: StateCopy, _: u64, _: &str) -> io::Result<bool> {
        Ok(false)
    }

    fn state_stamp(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn create_segment(
        &self,
        _: SegmentNumber,
        _: u64,
        _: Engine,
    ) -> io::Result<Box<dyn BlockDevice>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn open_segment(&self, _: SegmentNumber) -> io::Result<Box<dyn BlockDevice>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn shorten_segment(&self, _: SegmentNumber, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn remove_segment(&self, _: SegmentNumber) -> io::Result<()> {
        Ok(())
    }

    fn segments(&self) -> io::Result<Vec<SegmentNumber>> {
        Ok(Vec::new())
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space { total_bytes: 0, free_bytes: 0 })
    }
}
