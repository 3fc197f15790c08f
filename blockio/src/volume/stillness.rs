//! Whether a disk or an image file stayed unchanged while it was read. Claims and locks, which keep
//! out those who ask for them, are up to `volume`; writers that do not ask are detected here,
//! afterwards.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::{Target, TargetKind, users};
use crate::{Error, Result};

/// The state of a target when reading began.
#[derive(Debug)]
pub struct Stillness {
    shown: String,
    file: File,
    kind: TargetKind,
    before: Mark,
}

/// What changes when somebody writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Sectors written to the disk since it was attached.
    Sectors(Option<u64>),
    /// The length, and the time of the last write in seconds and nanoseconds.
    File(u64, i64, i64),
}

impl Stillness {
    /// Begins to watch: first flushes to the disk whatever was written up to now and is only in
    /// memory.
    ///
    /// # Errors
    ///
    /// `Failed`: it could not be flushed, or its counters cannot be read.
    pub fn begin(target: &Target) -> Result<Self> {
        let shown = target.path().display().to_string();
        let failed = |cause| not_told(&shown, cause);
        let file = target.file().try_clone().map_err(failed)?;
        let kind = target.kind();
        let before = mark(&file, kind).map_err(failed)?;
        Ok(Self { shown, file, kind, before })
    }

    /// Ends the watch: nothing was written since it began, as far as the kernel reports.
    ///
    /// # Errors
    ///
    /// `Refused`: something was written. `Failed`: the kernel does not report it.
    pub fn end(self) -> Result<()> {
        let now = mark(&self.file, self.kind).map_err(|cause| not_told(&self.shown, cause))?;
        if now == self.before {
            return Ok(());
        }
        let context = format!("reading {}: something wrote to it meanwhile", self.shown);
        Err(Error::refused(context).with_hint(format!(
            "what was read is not one state of it; find the writer with: fuser -v {}",
            self.shown
        )))
    }
}

/// Pages of a disk are counted only when they are written back, so that is done first.
pub(super) fn mark(file: &File, kind: TargetKind) -> io::Result<Mark> {
    if kind == TargetKind::BlockDevice {
        file.sync_all()?;
    }
    let metadata = file.metadata()?;
    Ok(match kind {
        TargetKind::BlockDevice => Mark::Sectors(users::sectors_changed(metadata.rdev())),
        TargetKind::ImageFile => {
            Mark::File(metadata.len(), metadata.mtime(), metadata.mtime_nsec())
        }
    })
}

fn not_told(shown: &str, cause: io::Error) -> Error {
    Error::failed(format!("finding out whether anything writes to {shown}"), cause)
}
