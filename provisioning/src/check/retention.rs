//! Findings about the retention volume: that it is mounted at every boot, that its file system is
//! sound, and its six criteria.

use super::Finding;
use crate::disk::{Disk, Use};
use crate::filesystem::{MARGIN_BYTES, RetentionFilesystem};
use crate::observe::{Capacity, Observed};
use crate::retention;
use crate::spec::{Desired, RETENTION_MOUNT_DEFAULT};
use system::mount::Mount;
use system::size;

const NO_VOLUME: &str = "no retention volume is mounted";

pub(super) fn check(observed: &Observed, desired: &Desired) -> Vec<Finding> {
    let at = desired.retention_mount.display().to_string();
    let mount = observed.retention_mount(desired);
    let disk = observed.retention_disk(desired);
    let mut findings = vec![in_place(observed, desired, &at)];
    let Some(mount) = mount else {
        let ids = [
            "retention-mount-point",
            "retention-exclusive",
            "retention-unlocked",
            "retention-sound",
            "retention-not-system",
            "retention-not-fat",
            "retention-capacity",
        ];
        findings.extend(ids.map(|id| Finding::skip(id, &at, NO_VOLUME)));
        return findings;
    };
    findings.push(mount_point(&at));
    findings.push(exclusive(observed, mount, disk, &at));
    findings.push(unlocked(mount, disk, &at));
    findings.push(sound(observed, mount, &at));
    findings.push(not_system(disk, mount, &at));
    findings.push(not_fat(mount, &at));
    findings.push(capacity(observed, desired, disk, &at));
    findings
}

/// Mounted now, and mounted again at every boot.
fn in_place(observed: &Observed, desired: &Desired, at: &str) -> Finding {
    let id = "retention";
    match retention::plan(observed, desired) {
        Ok(actions) if actions.is_empty() => {
            let source = observed.retention_mount(desired).map(|mount| mount.source.clone());
            let source = source.unwrap_or_else(|| "the image's fstab row".to_owned());
            Finding::pass(id, at, format!("mounted from {source}, at every boot by its UUID"))
        }
        Ok(actions) => {
            let first = actions.first().map(ToString::to_string).unwrap_or_default();
            let disk = match actions.first() {
                Some(crate::step::Action::Format(format)) => {
                    format!(" --retention-disk {}", format.path.display())
                }
                _ => String::new(),
            };
            Finding::fail(id, at, format!("not in place; missing: {first}"))
                .hint(format!("mtctl prepare --only retention{disk}"))
        }
        Err(refusal) => Finding::fail(id, at, refusal.reason).hint(refusal.hint),
    }
}

fn mount_point(at: &str) -> Finding {
    let id = "retention-mount-point";
    if at == RETENTION_MOUNT_DEFAULT {
        return Finding::pass(id, at, "a mount point of its own, at the default place");
    }
    let message = format!("a mount point of its own; the default is {RETENTION_MOUNT_DEFAULT}");
    Finding::pass(id, at, message)
}

/// Used for nothing else: neither mounted elsewhere nor held by anything.
fn exclusive(observed: &Observed, mount: &Mount, disk: Option<&Disk>, at: &str) -> Finding {
    let id = "retention-exclusive";
    let others: Vec<String> = observed
        .mounts
        .of_device(mount.device)
        .filter(|other| other.mount_point != mount.mount_point)
        .map(|other| format!("mounted:{}", other.mount_point))
        .collect();
    let holders = disk.into_iter().flat_map(|disk| &disk.used_by).filter(|one| match one {
        Use::Mounted(path) => path.as_os_str() != mount.mount_point.as_str(),
        one => one.is_active(),
    });
    let mut uses: Vec<String> = holders.map(ToString::to_string).chain(others).collect();
    uses.sort();
    uses.dedup();
    if uses.is_empty() {
        return Finding::pass(id, at, "used only for retention");
    }
    Finding::fail(id, at, format!("also used: {}", uses.join(", ")))
        .hint(format!("findmnt {}; lsblk {}", mount.source, mount.source))
}

/// Not locked, that is, writable.
fn unlocked(mount: &Mount, disk: Option<&Disk>, at: &str) -> Finding {
    let id = "retention-unlocked";
    let has = |options: &[String]| options.iter().any(|option| option == "ro");
    let is_locked = has(&mount.options) || has(&mount.super_options);
    if is_locked || disk.is_some_and(|disk| disk.read_only) {
        return Finding::fail(id, at, "read-only")
            .hint(format!("dmesg | tail; {}", check_first(mount, at)));
    }
    Finding::pass(id, at, "writable")
}

/// How to take a file system into use again after an error: this order keeps what mounting it
/// unchecked can lose (docs/adr/0010). The checker of its type exits with 1 if it has repaired
/// something, and with more if it could not: then it is not mounted. fsck(8) would have to detect
/// the type, and data kept on the volume can mislead it.
fn check_first(mount: &Mount, at: &str) -> String {
    let Mount { source, filesystem, .. } = mount;
    format!("umount {at} && fsck.{filesystem} -y {source}; [ $? -le 1 ] && mount {at}")
}

/// No errors since it was last checked.
fn sound(observed: &Observed, mount: &Mount, at: &str) -> Finding {
    let id = "retention-sound";
    match observed.retention_ext4.as_ref().map(|ext4| ext4.errors) {
        Some(Some(0)) => Finding::pass(id, at, "no errors since its filesystem was last checked"),
        Some(Some(count)) => {
            let errors =
                if count == 1 { "one error".to_owned() } else { format!("{count} errors") };
            Finding::fail(id, at, format!("{errors} since its filesystem was last checked"))
                .hint(check_first(mount, at))
        }
        Some(None) => Finding::skip(id, at, "this kernel does not report them"),
        None => Finding::skip(id, at, format!("{} does not count errors", mount.filesystem)),
    }
}

fn not_system(disk: Option<&Disk>, mount: &Mount, at: &str) -> Finding {
    let id = "retention-not-system";
    match disk {
        Some(disk) if disk.is_system() => {
            let message = format!("on {}, the disk of the running system", disk.path.display());
            Finding::fail(id, at, message).hint(format!("umount {at}; attach a disk of its own"))
        }
        Some(disk) => {
            Finding::pass(id, at, format!("on {}, a disk of its own", disk.path.display()))
        }
        None => Finding::fail(id, at, format!("{} is not a disk of this host", mount.source))
            .hint(format!("umount {at}; attach a disk of its own")),
    }
}

fn not_fat(mount: &Mount, at: &str) -> Finding {
    let id = "retention-not-fat";
    match mount.filesystem.as_str() {
        "vfat" | "msdos" | "exfat" => Finding::fail(id, at, format!("is {}", mount.filesystem))
            .hint(format!("umount {at}; mtctl prepare --only retention --retention-disk PATH")),
        name => Finding::pass(id, at, format!("is {name}")),
    }
}

fn capacity(observed: &Observed, desired: &Desired, disk: Option<&Disk>, at: &str) -> Finding {
    let id = "retention-capacity";
    let disk_bytes = disk.map_or(0, |disk| disk.size_bytes);
    if disk_bytes == 0 {
        return Finding::fail(id, at, "has no capacity").hint("attach a disk");
    }
    // Space that the disk has and its file system does not use keeps no history.
    let capacity = observed.retention_capacity;
    let bytes = capacity.map_or(disk_bytes, Capacity::bytes);
    if let (Some(capacity), Some(disk)) = (capacity, disk.filter(|_| is_grown(bytes, disk_bytes))) {
        let (has, could) = (size::binary(bytes), size::binary(disk_bytes));
        return Finding::warn(id, at, format!("has {has}, but its disk {could}: grow it"))
            .hint(grow(capacity, disk, at));
    }
    match retention::warning(observed, desired, &[]) {
        Some(warning) => Finding::warn(id, at, warning).hint("attach a larger retention disk"),
        None => Finding::pass(id, at, size::binary(bytes)),
    }
}

/// Whether the disk was grown but its file system was not. Journals and inode tables, which
/// statfs(2) leaves out, are smaller than either of these bounds.
fn is_grown(bytes: u64, disk_bytes: u64) -> bool {
    bytes.saturating_add((disk_bytes / 8).max(256 << 20)) < disk_bytes
}

/// Grows the file system up to the margin, which stays free (docs/adr/0011).
fn grow(capacity: Capacity, disk: &Disk, at: &str) -> String {
    let bytes = disk.size_bytes.saturating_sub(MARGIN_BYTES);
    match disk.signature.own() {
        Some((RetentionFilesystem::Xfs, _)) => {
            format!("xfs_growfs -D {} {at}", bytes / capacity.block_bytes.max(1))
        }
        _ => format!("resize2fs {} {}k", disk.path.display(), bytes >> 10),
    }
}
