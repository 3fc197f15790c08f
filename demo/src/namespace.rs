//! The namespace of the story: a mount namespace with scratch copies of what `prepare` edits. When
//! this process ends, however it ends, the kernel removes it: nothing here is visible outside, and
//! nothing needs cleaning.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use system::mount::MountTable;
use system::{Error, lossless_text};

/// A directory that every machine has; a filesystem in memory covers it and hides its contents.
pub(crate) const SCRATCH: &str = "/tmp";
/// The limit on memory, whatever the sizes of the disks.
const SCRATCH_OPTIONS: &str = "size=1g,mode=755";
/// The directory in which people mount disks.
const MOUNTS: &str = "/mnt";
const FSTAB: &str = "# The demo's own fstab: that of this machine is hidden.
";

/// Enters a namespace of our own, in which /etc, /var/lib and /mnt are scratch copies.
///
/// # Errors
/// Returns [`system::ErrorKind::Refused`] without root, or if this is not permitted.
pub(crate) fn enter() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::refused("the demo makes and mounts loop devices, which needs root")
            .with_hint("run it as root: make demo")
            .into());
    }
    unshare(CloneFlags::CLONE_NEWNS).map_err(|cause| {
        Error::refused("making a mount namespace").caused_by(cause).with_hint(
            "a container needs CAP_SYS_ADMIN for this (--privileged); or use a virtual machine",
        )
    })?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .context("making the mounts private")?;
    mount_scratch().context("making scratch copies of /etc, /var/lib and /mnt")
}

fn mount_scratch() -> Result<()> {
    mount(Some("mtctl-demo"), SCRATCH, Some("tmpfs"), MsFlags::empty(), Some(SCRATCH_OPTIONS))?;
    let folder = |name: &str| -> Result<_> {
        let path = Path::new(SCRATCH).join(name);
        fs::create_dir(&path)?;
        Ok(path)
    };
    let etc = folder("etc")?;
    copy_etc(&etc)?;
    cover("/etc", &etc)?;
    leave_mounts_below(MOUNTS)?;
    cover(MOUNTS, &folder("mnt")?)?;
    let installed = folder("installed")?;
    cover(&installed.display().to_string(), Path::new("/var/lib"))?;
    let library = folder("library")?;
    link_all_but_ours(&installed, &library)?;
    cover("/var/lib", &library)?;
    // The init system must not learn of an fstab that is not its own, and udev's knowledge of a
    // loop device may be slightly outdated and describe another file: without udev, the device
    // itself is probed.
    for name in ["systemd", "udev"] {
        let place = format!("/run/{name}");
        if Path::new(&place).is_dir() {
            cover(&place, &folder(name)?)?;
        }
    }
    Ok(())
}

/// On a prepared host, the retention volume is mounted below `place`. If it were merely covered, it
/// would be invisible, and yet be in the kernel's mount table, in which it is looked up. For
/// everybody else it stays mounted.
fn leave_mounts_below(place: &str) -> Result<()> {
    let place = Path::new(place).canonicalize()?;
    let text = lossless_text::from_bytes(fs::read("/proc/self/mountinfo")?);
    let table = MountTable::parse(&text).context("reading /proc/self/mountinfo")?;
    // In reverse order, because a later mount may lie in an earlier one.
    for mount in table.mounts().iter().rev() {
        let path = lossless_text::to_path(Path::new(&mount.mount_point));
        if path.starts_with(&place) && *path != *place {
            // A mount that is already covered cannot be reached, and is not in the way.
            let _ = umount2(&*path, MntFlags::MNT_DETACH);
        }
    }
    Ok(())
}

/// Makes `path` show the directory `shown` instead of what it is.
///
/// # Errors
/// Returns an error if the kernel refuses.
pub(crate) fn cover(path: &str, shown: &Path) -> Result<()> {
    mount(Some(shown), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("covering {path}"))
}

/// The demo has no configuration, and nothing else in its fstab: `mount -a` mounts only its own
/// rows.
fn copy_etc(scratch: &Path) -> Result<()> {
    let copied = Command::new("cp").args(["--archive", "/etc/."]).arg(scratch).output()?;
    let said = String::from_utf8_lossy(&copied.stderr);
    anyhow::ensure!(copied.status.success(), "copying /etc: {}", said.trim());
    let configuration = scratch.join("mtctl");
    if configuration.exists() {
        fs::remove_dir_all(configuration)?;
    }
    Ok(fs::write(scratch.join("fstab"), FSTAB)?)
}

/// Package databases stay in place; mtctl's own record of this machine is left out.
fn link_all_but_ours(installed: &Path, scratch: &Path) -> Result<()> {
    for entry in fs::read_dir(installed)? {
        let name = entry?.file_name();
        if name != "mtctl" {
            symlink(installed.join(&name), scratch.join(&name))?;
        }
    }
    Ok(())
}
