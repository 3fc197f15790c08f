//! Where a group's history is kept: one state, in two copies that are each replaced whole or
//! appended to, and segments, which are files of a fixed length written like disks. What is in them
//! is `group`'s and `journal`'s.
//!
//! What a crash leaves is part of the contract, and everything above relies on it:
//! - a copy of the state that was replaced is the new one once `replace_state` came back; before
//!   that it is the old one or the new one, never half of each;
//! - what was appended to a copy of the state is there once `append_state` came back; before that
//!   any part of it is, from its beginning on, or its length alone;
//! - a segment that was created is there once `create_segment` came back, with its length and any
//!   content; before that it is there or not;
//! - a segment that was removed is so once the next `replace_state` of the second copy came back;
//!   before that it is there or not;
//! - what is written to a segment is durable after a flush of it, as with every disk.

use std::io;
use std::path::PathBuf;

use crate::device::BlockDevice;
use crate::device::open::Engine;
use crate::error::more_open_files;

pub mod directory;

/// What to do after `error` of the directory that a history is in, if that is known. For its file
/// system in this order: one that is mounted before it was checked can drop the journal in which it
/// has what it did not write (docs/adr/0010).
pub(crate) fn remedy(error: &io::Error) -> Option<&'static str> {
    if let Some(more) = more_open_files(error) {
        return Some(more);
    }
    if matches!(error.raw_os_error(), Some(libc::EISDIR | libc::ENXIO | libc::ELOOP | libc::EEXIST))
    {
        return Some("move away what is in its place, which is no file of ours");
    }
    // The last one is EFSCORRUPTED as well.
    let is_of_file_system =
        matches!(error.raw_os_error(), Some(libc::EIO | libc::EROFS | libc::EUCLEAN));
    // By its type: fsck(8) would ask what the disk looks like, which a before-image may decide.
    is_of_file_system.then_some(
        "see dmesg; unmount the retention volume, run `fsck.ext4 -y` on its device (an XFS heals \
         when it is mounted), mount it",
    )
}

/// The number of a segment: they are numbered from 1 on in the order in which they are made, and no
/// number comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentNumber(pub u64);

/// Room on the volume that the segments are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All there is, in bytes.
    pub total_bytes: u64,
    /// What may still be taken, in bytes.
    pub free_bytes: u64,
}

/// One of the two copies of the state. Which one counts when they differ is `journal::saved`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateCopy {
    /// Where the state is kept: written first.
    First,
    /// Where the segments are: it is there when the directory of the first is lost, or another
    /// one.
    Second,
}

impl StateCopy {
    /// Both, in the order in which they are written.
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];
}

/// Where a group's history is kept.
pub trait Storage: Send + Sync {
    /// The file that a copy of the state is in, for messages; none if it is in no file.
    fn state_file(&self, _copy: StateCopy) -> Option<PathBuf> {
        None
    }

    /// A copy of the state, if it was ever saved.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    fn read_state(&self, copy: StateCopy) -> io::Result<Option<String>>;

    /// Makes `text` a copy of the state, durably.
    ///
    /// # Errors
    ///
    /// What the kernel said; the old one is still there then, or the new one is.
    fn replace_state(&self, copy: StateCopy, text: &str) -> io::Result<()>;

    /// Appends `text` to a copy of the state that is `at` bytes long, durably; or says that there
    /// is none of that length, and writes nothing.
    ///
    /// # Errors
    ///
    /// What the kernel said; any part of it may be there then.
    fn append_state(&self, copy: StateCopy, at: u64, text: &str) -> io::Result<bool>;

    /// Makes segment `number` of `bytes`, with room set aside for all of them, durably; it will be
    /// written by `engine`.
    ///
    /// # Errors
    ///
    /// ENOSPC: there is no room, and nothing was made. EEXIST: it is there already. Else what the
    /// kernel said.
    fn create_segment(
        &self,
        number: SegmentNumber,
        bytes: u64,
        engine: Engine,
    ) -> io::Result<Box<dyn BlockDevice>>;

    /// Opens segment `number`, to be read, and flushed.
    ///
    /// # Errors
    ///
    /// ENOENT: it is not there. Else what the kernel said.
    fn open_segment(&self, number: SegmentNumber) -> io::Result<Box<dyn BlockDevice>>;

    /// A number that is another one whenever a copy of the state was replaced, or appended to.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    fn state_stamp(&self) -> io::Result<u64>;

    /// Gives back the room past `bytes` of segment `number`, whose length stays as it is: what was
    /// there reads as zeros from then on, or as it was.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    fn shorten_segment(&self, number: SegmentNumber, bytes: u64) -> io::Result<()>;

    /// Removes segment `number`; one that is not there is removed. Who has it open can go on
    /// reading it.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    fn remove_segment(&self, number: SegmentNumber) -> io::Result<()>;

    /// The segments that are there, ascending.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    fn segments(&self) -> io::Result<Vec<SegmentNumber>>;

    /// How much room there is.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    fn space(&self) -> io::Result<Space>;

    /// The same, once what was removed is given back: some filesystems do that later.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    fn space_after_removal(&self) -> io::Result<Space> {
        self.space()
    }
}

/// Where nothing was ever kept.
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
