//! The kernel modules of a test VM: those named here, and their dependencies.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::tool;

/// Controllers, device-mapper, file systems, and what connects the VM with its host. A module that
/// a kernel does not have is left out.
pub const WANTED: &[&str] = &[
    "vmw_pvscsi",
    "virtio_scsi",
    "sym53c8xx",
    "mptsas",
    "mptspi",
    "sd_mod",
    "sg",
    "ses",
    "virtio_blk",
    "virtio_pci",
    "virtio_console",
    "virtio_net",
    "9p",
    "9pnet_virtio",
    "dm-mod",
    "dm-multipath",
    "dm-round-robin",
    "dm-service-time",
    "dm-queue-length",
    "dm-log-writes",
    "dm-flakey",
    "dm-delay",
    "dm-snapshot",
    "dm-thin-pool",
    "scsi_dh_alua",
    "scsi_debug",
    "raid1",
    "ext4",
    "xfs",
    "btrfs",
    "reiserfs",
    "vfat",
    "nls_ascii",
    "nls_cp437",
    "loop",
    "nbd",
    "brd",
    "target_core_mod",
    "target_core_file",
    "tcm_loop",
    "configfs",
    "ublk_drv",
    "ahci",
    "sr_mod",
    "crc32c_generic",
    "crc32c_intel",
    "overlay",
];

/// Copies the modules from the unpacked package of kernel `version` into `tree`, with an index.
///
/// # Errors
///
/// `depmod` or `modprobe` fails, or a file cannot be copied.
pub fn copy(package: &Path, version: &str, tree: &Path) -> Result<()> {
    let package_text = package.to_string_lossy();
    tool::run("depmod", &["-b", &package_text, version])?;
    let mut files = BTreeSet::new();
    for name in WANTED {
        let shown =
            tool::run("modprobe", &["-d", &package_text, "-S", version, "--show-depends", name]);
        let lines = shown.unwrap_or_default();
        files.extend(lines.lines().filter_map(|line| {
            let path = line.strip_prefix("insmod ")?.split_whitespace().next()?;
            Some(path.to_owned())
        }));
    }
    let within = format!("/lib/modules/{version}/");
    let into = tree.join("usr/lib/modules").join(version);
    let begin = package.join(&within[1..]);
    for file in files {
        let (_, inside) = file.split_once(&within).context("a module outside its folder")?;
        let to = into.join(inside);
        fs::create_dir_all(to.parent().unwrap_or(&into))?;
        fs::copy(&file, &to).with_context(|| format!("copying {file}"))?;
    }
    for name in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        fs::copy(begin.join(name), into.join(name)).with_context(|| format!("copying {name}"))?;
    }
    tool::run("depmod", &["-b", &tree.to_string_lossy(), version]).map(drop)
}
