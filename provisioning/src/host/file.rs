//! What a tree says about a file, and the error if an operation on one fails.

use std::path::{Path, PathBuf};

use system::error::Error;

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A block device.
    BlockDevice,
    /// Anything else: character devices, sockets, pipes.
    Other,
}

/// What `stat` reports for a path, following links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// The kind of file.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Major and minor number of the device it *is* (0, 0 for files).
    pub device_number: (u32, u32),
    /// Major and minor number of the device it is *on*, and its inode.
    pub location: ((u32, u32), u64),
}

/// The permission bits of a file to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileWriteMode {
    /// Those of the file it replaces, or 0644.
    Keep,
    /// Exactly these.
    Exactly(u32),
}

/// What exists at a path, without following a link.
pub(super) enum Lookup {
    /// A symbolic link and where it points.
    Link(PathBuf),
    /// Anything else that exists.
    Other,
}

/// The error for an I/O operation on `path` that failed; `doing` is a gerund.
pub(crate) fn io_failed(doing: &str, path: &Path, cause: std::io::Error) -> Error {
    Error::failed(format!("{doing} {}", path.display()), cause)
}

/// Whether `error` says that this user may not do it.
pub(crate) fn is_forbidden(error: &Error) -> bool {
    let cause = std::error::Error::source(error);
    let cause = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied)
}
