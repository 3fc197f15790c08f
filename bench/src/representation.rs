//! One workload in the formats that the contenders read. All are made from one list of extents.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::measure::quietly;
use crate::target::{Target, write_all};
use crate::tools::Tools;
use crate::workload::{Filling, Kind, Workload};

mod iolog;
pub(crate) mod native;

/// The files of a workload. A format that it does not need, or that no tool can make, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Representations {
    /// Our own change stream.
    pub(crate) native: Option<PathBuf>,
    /// For fio's replay: offsets and lengths, without payload.
    pub(crate) iolog: Option<PathBuf>,
    /// For qemu-img commit: the changes relative to the target, in clusters of 64 KiB.
    pub(crate) overlay: Option<PathBuf>,
    /// The whole image after the changes, with holes where it is zero.
    pub(crate) image: Option<PathBuf>,
    /// The patch for bdsync.
    pub(crate) patch: Option<PathBuf>,
}

impl Representations {
    /// Makes the files of `workload`. Afterwards, the target has its original contents.
    pub(crate) fn make(workload: &Workload, target: &Target, tools: &Tools) -> Result<Self> {
        let mut made = Self::default();
        if workload.kind == Kind::Image {
            made.image = Some(image(workload, target)?);
            return Ok(made);
        }
        made.iolog = Some(iolog::write(workload, &target.path("iolog"))?);
        // The one that takes the most memory comes first, because its image is deleted again.
        match workload.name {
            "mixed-delta" => {
                let after = image_after(workload, target)?;
                made.overlay = Some(overlay(target, &after)?);
                made.patch = tools.patching().then(|| patch(target, &after)).transpose()?;
                fs::remove_file(&after).context("deleting an image")?;
            }
            "sequential-1m" => made.image = Some(image_after(workload, target)?),
            _ => {}
        }
        let path = target.path("stream.mtcs");
        made.native = Some(native::write(workload, target.bytes(), &path)?);
        Ok(made)
    }

    /// Deletes the files.
    pub(crate) fn delete(self) -> Result<()> {
        let files = [self.native, self.iolog, self.overlay, self.image, self.patch];
        for file in files.into_iter().flatten() {
            fs::remove_file(&file).with_context(|| format!("deleting {}", file.display()))?;
        }
        Ok(())
    }
}

/// Only the image: data, and holes that were never written.
fn image(workload: &Workload, target: &Target) -> Result<PathBuf> {
    let path = target.path("image.raw");
    let file = File::create(&path).context("creating an image")?;
    file.set_len(target.bytes()).context("sizing an image")?;
    write_all(&file, &workload.data, Filling::Payload)?;
    Ok(path)
}

/// A copy of the target's contents after the changes.
fn image_after(workload: &Workload, target: &Target) -> Result<PathBuf> {
    let path = target.path("image.raw");
    fs::copy(target.backing(), &path).context("copying the target")?;
    let file = File::options().write(true).open(&path).context("opening an image")?;
    write_all(&file, &workload.data, Filling::Payload)?;
    Ok(path)
}

/// A qcow2 overlay over the target that contains the differences of `after`.
fn overlay(target: &Target, after: &Path) -> Result<PathBuf> {
    let path = target.path("overlay.qcow2");
    let (name, after) = (path.to_string_lossy(), after.to_string_lossy());
    quietly("qemu-img", &["create", "-q", "-f", "qcow2", "-b", &after, "-F", "raw", &name])?;
    quietly("qemu-img", &["rebase", "-q", "-b", target.device(), "-F", "raw", &name])?;
    Ok(path)
}

/// A binary patch that turns the target into `after`.
fn patch(target: &Target, after: &Path) -> Result<PathBuf> {
    let path = target.path("patch.bdsync");
    let script = format!(
        "bdsync 'bdsync --server' {} {} >{}",
        after.display(),
        target.device(),
        path.display()
    );
    quietly("sh", &["-c", &script])?;
    Ok(path)
}
