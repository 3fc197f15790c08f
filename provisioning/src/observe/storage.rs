//! Which parts of LVM, software RAID and multipath are installed, and what belongs to the host
//! itself, so that keeping them off customers' disks never affects the host's own.

mod lvm_devices;
mod paths;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use crate::disk::{Disk, DiskKind, Use};
use crate::guard::Refusal;
use crate::host::{Host, Invocation};
use crate::lvm::{self, OwnLvm};
use crate::md;
use crate::multipath::blacklist::{self, Blacklist};
use crate::multipath::{self, OwnDisks, OwnMap};

/// Storage stacks that could claim attached disks.
#[derive(Clone, Debug, Serialize)]
pub struct StorageStacks {
    /// LVM's program is installed.
    pub has_lvm: bool,
    /// The text of the devices file, which replaces filters where it exists.
    pub lvm_devices_file: Option<String>,
    /// The kernel's names of the devices listed there.
    #[serde(skip)]
    pub lvm_listed: BTreeSet<String>,
    /// The system's own physical volumes and volume groups, or why they could not be determined.
    #[serde(skip)]
    pub own_lvm: std::result::Result<OwnLvm, Refusal>,
    /// Names of the active volume groups that are not the system's own.
    #[serde(skip)]
    pub foreign_volume_groups: BTreeSet<String>,
    /// mdadm is installed.
    pub has_mdadm: bool,
    /// UUIDs of the host's own arrays; `None` if one of them could not be determined.
    pub own_arrays: Option<Vec<String>>,
    /// multipathd is installed.
    pub has_multipath: bool,
    /// The lost paths of maps, by the kernel's name, with the reason.
    #[serde(skip)]
    pub lost_paths: BTreeMap<String, String>,
    /// The drop-ins of multipath's configuration, including ours, in the order in which they are
    /// read: path and text.
    pub multipath_drop_ins: Vec<(String, String)>,
    /// The names of each disk's udev properties, by its kernel name, if that configuration refers
    /// to properties.
    #[serde(skip)]
    pub udev_properties: BTreeMap<String, Vec<String>>,
    /// The maps and plain disks that the system runs from, or that carry the retention volume.
    #[serde(skip)]
    pub own_disks: OwnDisks,
    /// The program that rebuilds the initramfs is installed.
    pub has_initramfs_tool: bool,
    /// SELinux is enabled, and new mount points need a label.
    pub has_selinux: bool,
    /// For every disk, by its kernel name, its entry among the host's own disks if it becomes one.
    #[serde(skip)]
    pub if_own: BTreeMap<String, OwnDisks>,
    /// udevd is running.
    pub has_udev: bool,
}

/// A disk is the system's own if the host uses it now, that is, if it is mounted or used as swap,
/// in part or through volumes and arrays. This includes the retention volume. A mounted image owns
/// only what is mounted at its directory or below: the rest belongs to the preparing host.
fn is_own(uses: &[Use], image: Option<&Path>) -> bool {
    uses.iter().any(|one| match (one, image) {
        (Use::Mounted(path), Some(image)) => path.starts_with(image),
        (Use::System | Use::Mounted(_) | Use::Swap, None) => true,
        _ => false,
    })
}

/// Observes the storage stacks. `disks` are those of the machine.
pub(super) fn observe(host: &Host, disks: &[Disk], retention_mount: &Path) -> StorageStacks {
    let retention = Use::Mounted(retention_mount.to_owned());
    let system = host.system();
    let has = |program: &str| {
        ["/usr/sbin", "/sbin", "/usr/bin"].iter().any(|at| system.exists(format!("{at}/{program}")))
    };
    let own: Vec<&Disk> = disks.iter().filter(|disk| is_own(&disk.used_by, host.image())).collect();
    let has_lvm = has("lvm");
    let own_lvm = volumes::observe(host, &own, has_lvm);
    let multipath_drop_ins = multipath_drop_ins(host);
    let is_carrier = |disk: &&Disk| match host.image() {
        Some(_) => is_own(&disk.used_by, host.image()),
        None => disk.used_by.contains(&retention),
    };
    let lvm_devices_file = system.text_if_exists(lvm::DEVICES_FILE).ok().flatten();
    StorageStacks {
        has_lvm,
        lvm_listed: lvm_devices::observe(host, disks, lvm_devices_file.as_deref()),
        lvm_devices_file,
        foreign_volume_groups: match &own_lvm {
            Ok(own) if host.image().is_none() => volumes::shut_out(disks, own),
            _ => BTreeSet::new(),
        },
        own_lvm,
        has_mdadm: has("mdadm"),
        own_arrays: own_arrays(host, &own),
        has_multipath: has("multipathd"),
        lost_paths: paths::lost(host, disks),
        udev_properties: udev_properties(host, &multipath_drop_ins),
        multipath_drop_ins,
        has_initramfs_tool: has("update-initramfs") || has("dracut"),
        has_selinux: host.machine().exists("/sys/fs/selinux/enforce") && has("restorecon"),
        own_disks: disks
            .iter()
            .filter(|disk| disk.is_system() || is_carrier(disk))
            .fold(OwnDisks::default(), |all, disk| all.with(if_own(host, disk))),
        if_own: disks.iter().map(|disk| (disk.name.clone(), if_own(host, disk))).collect(),
        has_udev: host.machine().exists("/run/udev/control"),
    }
}

fn multipath_drop_ins(host: &Host) -> Vec<(String, String)> {
    let names = host.system().list(multipath::DROP_IN_DIRECTORY).into_iter();
    let paths = names.filter(|name| name.ends_with(".conf"));
    let paths = paths.map(|name| format!("{}/{name}", multipath::DROP_IN_DIRECTORY));
    let read = |path: String| Some((host.system().text_if_exists(&path).ok()??, path));
    paths.filter_map(read).map(|(text, path)| (path, text)).collect()
}

fn udev_properties(host: &Host, drop_ins: &[(String, String)]) -> BTreeMap<String, Vec<String>> {
    let main = host.system().text_if_exists(multipath::MAIN_FILE).ok().flatten();
    let texts = main.iter().chain(drop_ins.iter().map(|(_, text)| text));
    let files = texts.map(|text| blacklist::BlacklistFile { path: "", text });
    if !Blacklist::parse(files).asks_for_properties() {
        return BTreeMap::new();
    }
    let database = host.udev_block_devices().unwrap_or_default().into_iter();
    database.map(|(disk, properties)| (disk, properties.into_keys().collect())).collect()
}

fn own_arrays(host: &Host, own: &[&Disk]) -> Option<Vec<String>> {
    // `None` if it is not known which arrays are running: none of them must lose its row.
    let text = host.machine().text_if_exists("/proc/mdstat").ok()?.unwrap_or_default();
    let arrays = md::parse_mdstat(&text);
    let is_own = |array: &md::Array| {
        own.iter().any(|disk| {
            disk.name == array.name || disk.used_by.contains(&Use::RaidArray(array.name.clone()))
        })
    };
    arrays.iter().filter(|array| array.active && is_own(array)).map(|one| uuid(host, one)).collect()
}

fn uuid(host: &Host, array: &md::Array) -> Option<String> {
    let ask = Invocation::new("mdadm")
        .arguments(["--detail", "--export"])
        .argument(format!("/dev/{}", array.name));
    let text = host.ask_checked(&ask).ok()?;
    text.lines().find_map(|line| line.strip_prefix("MD_UUID=")).map(str::to_owned)
}

/// How multipath-tools identify `disk`: as a map, or as a plain disk.
fn if_own(host: &Host, disk: &Disk) -> OwnDisks {
    let mut found = OwnDisks::default();
    match disk.kind {
        DiskKind::Multipath => {
            let uuid = host.machine().attribute(format!("/sys/block/{}/dm/uuid", disk.name));
            let wwid = uuid.and_then(|uuid| uuid.strip_prefix("mpath-").map(str::to_owned));
            let map = wwid.zip(disk.multipath.clone()).map(|(wwid, name)| OwnMap { wwid, name });
            found.mapped.extend(map);
        }
        DiskKind::Scsi if disk.multipath.is_none() => {
            found.plain.extend(disk.wwid.as_ref().and_then(|wwid| wwid.scsi_id_text()));
        }
        // multipath-tools use udev's ID_WWN for NVMe, which is this attribute unchanged.
        DiskKind::Nvme if disk.multipath.is_none() => {
            found.plain.extend(host.machine().attribute(format!("/sys/block/{}/wwid", disk.name)));
        }
        DiskKind::Scsi
        | DiskKind::Nvme
        | DiskKind::Virtio
        | DiskKind::Loop
        | DiskKind::Mapped
        | DiskKind::Raid
        | DiskKind::Stacked
        | DiskKind::Network
        | DiskKind::Memory
        | DiskKind::BootArea
        | DiskKind::Other => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_owns_what_is_mounted_at_it_and_not_the_preparing_hosts_disks() {
        let mounted = |path: &str| Use::Mounted(path.into());
        let image = Some(Path::new("/mnt/image"));
        let rows = [
            (vec![Use::System, mounted("/")], true, false),
            (vec![Use::Swap], true, false),
            (vec![Use::LogicalVolume("rl-root".into()), mounted("/mnt/image")], true, true),
            (vec![mounted("/mnt/image/boot")], true, true),
            (vec![mounted("/mnt/images")], true, false),
            (vec![Use::LvmMember, Use::LogicalVolume("data-x".into())], false, false),
        ];
        for (uses, of_host, of_image) in rows {
            assert_eq!(is_own(&uses, None), of_host, "{uses:?}");
            assert_eq!(is_own(&uses, image), of_image, "{uses:?}");
        }
    }
}
