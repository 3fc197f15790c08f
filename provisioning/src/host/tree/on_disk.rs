//! A tree's operations on disk, for paths outside the tree: bounded reads, lists, atomic
//! replacement. The tree resolves links, not this module.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::host::file::{FileKind, FileStatus, FileWriteMode, io_failed};
use system::error::Error;
use system::lossless_text;
use system::replacement::{self, Replacement};

/// Larger files are refused: nothing that this crate reads comes near this size.
const FILE_BYTES_MAX: u64 = 32 << 20;

pub(super) fn below(root: &Path, inside: &Path) -> PathBuf {
    root.join(lossless_text::to_path(inside.strip_prefix("/").unwrap_or(inside)))
}

pub(super) fn is_directory() -> std::io::Error {
    std::io::Error::from(std::io::ErrorKind::IsADirectory)
}

pub(super) fn not_read(path: &Path, cause: std::io::Error) -> Error {
    let hint = match cause.kind() {
        std::io::ErrorKind::FileTooLarge => {
            let most = FILE_BYTES_MAX >> 20;
            format!("at most {most} MiB of it are read; see: ls -l {}", path.display())
        }
        std::io::ErrorKind::IsADirectory => {
            format!("there must be a file or nothing; see: ls -ld {}", path.display())
        }
        _ => return io_failed("reading", path, cause),
    };
    io_failed("reading", path, cause).with_hint(hint)
}

pub(super) fn is_absence(cause: &std::io::Error) -> bool {
    matches!(cause.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

pub(super) fn read_bounded(outside: &Path) -> std::io::Result<Vec<u8>> {
    let bytes = read_head(outside, FILE_BYTES_MAX + 1)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge));
    }
    Ok(bytes)
}

pub(super) fn read_head(outside: &Path, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Opening a FIFO for reading would block forever.
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(outside)?;
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn directory_names(outside: &Path) -> std::io::Result<Vec<String>> {
    let name = |entry: fs::DirEntry| lossless_text::of_path(entry.file_name().as_ref());
    fs::read_dir(outside)?.map(|entry| entry.map(name)).collect()
}

pub(super) fn status_of(metadata: &fs::Metadata) -> FileStatus {
    let kind = metadata.file_type();
    let split = |number| {
        (u32::try_from(nix::sys::stat::major(number)), u32::try_from(nix::sys::stat::minor(number)))
    };
    let number = |number| match split(number) {
        (Ok(major), Ok(minor)) => (major, minor),
        _ => (0, 0),
    };
    FileStatus {
        kind: match () {
            () if kind.is_file() => FileKind::File,
            () if kind.is_dir() => FileKind::Directory,
            () if kind.is_block_device() => FileKind::BlockDevice,
            () => FileKind::Other,
        },
        mode: metadata.permissions().mode() & 0o7777,
        device_number: number(metadata.rdev()),
        location: (number(metadata.dev()), metadata.ino()),
    }
}

/// How the name begins that a file has until it replaces the one at `outside`.
fn unfinished_prefix(outside: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(outside.file_name().unwrap_or_default());
    prefix.push(".mtctl-");
    prefix
}

fn directory_of(outside: &Path) -> &Path {
    outside.parent().unwrap_or(Path::new("/"))
}

pub(super) fn remove_unfinished(outside: &Path) -> std::io::Result<()> {
    replacement::remove_parts(directory_of(outside), unfinished_prefix(outside))
}

pub(super) fn replace_file(
    outside: &Path,
    bytes: &[u8],
    mode: FileWriteMode,
) -> std::io::Result<()> {
    let directory = directory_of(outside);
    fs::create_dir_all(directory)?;
    let former = fs::metadata(outside).ok();
    let bits = match (mode, &former) {
        (FileWriteMode::Exactly(bits), _) => bits,
        (FileWriteMode::Keep, Some(former)) => former.permissions().mode() & 0o7777,
        (FileWriteMode::Keep, None) => 0o644,
    };
    let mut part = Replacement::begin(directory, unfinished_prefix(outside), 0o600)?;
    let file = part.file();
    file.write_all(bytes)?;
    if let Some(former) = &former {
        std::os::unix::fs::fchown(&*file, Some(former.uid()), Some(former.gid()))?;
    }
    // After chown, which may clear bits.
    file.set_permissions(fs::Permissions::from_mode(bits))?;
    part.replace(outside)
}
