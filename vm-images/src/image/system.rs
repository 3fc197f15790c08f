//! The disk with a whole system: Debian's systemd, dnf and rpm, and what makes it say that it is a
//! CentOS. A root file system without partitions; the initramfs mounts it and starts systemd.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The disk, made if it is not there.
pub(super) fn get(kernel: &Path, cache: &Path, say: &dyn Fn(&str)) -> Result<PathBuf> {
    let _ = (kernel, cache, say);
    bail!("the system on a disk is not built yet")
}
