//! Sorts the files of a directory of svd streams into the order in which they were written. Their
//! content after the beginning of the first stream is not read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::plain::Plain;
use crate::stream::svd::Decoder;
use crate::stream::svd::section::{HEADER_BYTES, PREFIX_BYTES, STAMP_BYTES};
use crate::stream::{Decoder as _, Malformed, Problem, Want};
use crate::{Error, ErrorKind, Result};

/// The part of a file that is read: its first word, SVD1 and TFV2.
const HEAD_BYTES: usize = 4 + PREFIX_BYTES + HEADER_BYTES + PREFIX_BYTES + STAMP_BYTES;

/// The files of `directory`, by the first sequence number of each, then by name: a stream may be
/// there twice, and both are kept.
///
/// # Errors
///
/// Of kind `Refused` if their times contradict that order: the source may have restarted its count,
/// or its clock was set, and older data must not overwrite newer data. Of kind `Integrity` if
/// something in it is not an svd stream, which is named: a gap in a chain of changes must be
/// noticed before anything is written. Of kind `Usage` if it is empty. Of kind `Failed` if it
/// cannot be read.
pub fn ordered(directory: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error| Error::failed(format!("reading {}", directory.display()), error);
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let (sequence, time) = first_write_of(&path)?;
        files.push((sequence, path, time));
    }
    if files.is_empty() {
        let context = format!("reading {}: it contains no stream", directory.display());
        return Err(Error::new(ErrorKind::Usage, context));
    }
    files.sort_unstable();
    for pair in files.windows(2) {
        let ((_, one, time), (_, next, later)) = (&pair[0], &pair[1]);
        if time > later {
            return Err(two_orders(directory, one, next));
        }
    }
    Ok(files.into_iter().map(|(_, path, _)| path).collect())
}

fn two_orders(directory: &Path, one: &Path, next: &Path) -> Error {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let context = format!(
        "reading {}: {} comes after {} by its sequence number, but before it by its time: the \
         source restarted its count, or its clock was set",
        directory.display(),
        Plain(&name(next)),
        Plain(&name(one))
    );
    Error::refused(context).with_hint("name the files themselves, in the order of the source")
}

/// Sequence number and time of the first write of the stream in `path`.
fn first_write_of(path: &Path) -> Result<(u64, u64)> {
    let context = format!("reading {}", path.display());
    let head = head_of(path).map_err(|error| Error::failed(context.clone(), error))?;
    first_write(&head).map_err(|malformed| {
        Error::integrity(context, malformed)
            .with_hint("every file in a directory of svd streams must be one: move this one away")
    })
}

/// Only regular files are read: a pipe or a device in the directory would be waited for without
/// end.
fn head_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    File::open(path)?.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Sequence number and time of the stream that begins with `head`.
fn first_write(mut head: &[u8]) -> std::result::Result<(u64, u64), Malformed> {
    let mut decoder = Decoder::new();
    while decoder.event().is_none() {
        let Want::Bytes(length) = decoder.want() else {
            return Err(Malformed::new(decoder.consumed(), Problem::Missing("TFV2")));
        };
        let Some((taken, rest)) = head.split_at_checked(length) else {
            let end = decoder.consumed() + head.len() as u64;
            return Err(Malformed::new(end, Problem::Truncated));
        };
        decoder.take(taken)?;
        head = rest;
    }
    Ok(decoder.first_write())
}
