//! What sort of block device a disk is, judged by its name and its sysfs attributes. Its users and
//! its content are handled elsewhere.

use serde::Serialize;

use crate::host::Tree;

/// How a disk is attached, or what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskKind {
    /// A SCSI disk, SATA and SAS included: everything behind the kernel's sd driver.
    Scsi,
    /// An NVMe namespace.
    Nvme,
    /// A virtio-blk disk.
    Virtio,
    /// A device-mapper multipath map: several paths, one disk.
    Multipath,
    /// A loop device.
    Loop,
    /// Another device-mapper device: a logical volume, a crypt mapping.
    Mapped,
    /// A software RAID array.
    Raid,
    /// Made out of other disks by other means: DRBD, bcache, a ZFS volume.
    Stacked,
    /// On another host, reached over the network: NBD, Ceph RBD.
    Network,
    /// Memory: zram, persistent memory.
    Memory,
    /// Reserved for firmware: the boot and replay-protected areas of an eMMC, raw flash.
    BootArea,
    /// Any other disk: Xen, DASD, eMMC, PCI flash.
    Other,
}

/// Names of drivers whose devices are not disks of their own; a number or letters follow each name.
const STACKED: [&str; 8] =
    ["drbd", "bcache", "zd", "ublkb", "emcpower", "datto", "elastio-snap", "veeamimage"];
const NETWORK: [&str; 4] = ["nbd", "rbd", "rnbd", "etherd!e"];
const MEMORY: [&str; 4] = ["zram", "pmem", "nullb", "dcssblk"];
const FLASH: [&str; 3] = ["mtdblock", "ubiblock", "mtd_"];

impl DiskKind {
    /// The kind of the device with the sysfs name `name`.
    pub(super) fn of(machine: &Tree, name: &str) -> Self {
        let base = format!("/sys/block/{name}");
        let mapper_uuid = machine.attribute(format!("{base}/dm/uuid")).unwrap_or_default();
        let is_one_of = |drivers: &[&str]| drivers.iter().any(|driver| is_numbered(name, driver));
        match name {
            _ if name.starts_with("loop") => Self::Loop,
            _ if name.starts_with("nvme") => Self::Nvme,
            _ if name.starts_with("vd") => Self::Virtio,
            _ if name.starts_with("md") => Self::Raid,
            _ if mapper_uuid.starts_with("mpath-") => Self::Multipath,
            _ if name.starts_with("dm-") => Self::Mapped,
            _ if machine.exists(format!("{base}/device/scsi_level")) => Self::Scsi,
            _ if name.starts_with("sd") => Self::Scsi,
            _ if is_one_of(&STACKED) => Self::Stacked,
            _ if is_one_of(&NETWORK) => Self::Network,
            _ if is_one_of(&MEMORY) => Self::Memory,
            _ if is_one_of(&FLASH) || is_area_of_an_emmc(name) => Self::BootArea,
            _ if !machine.list(format!("{base}/slaves")).is_empty() => Self::Stacked,
            _ => Self::Other,
        }
    }

    /// Whether it is a disk attached to this machine, as opposed to one made out of something else.
    pub fn is_attached(self) -> bool {
        match self {
            Self::Scsi | Self::Nvme | Self::Virtio | Self::Multipath | Self::Other => true,
            Self::Loop
            | Self::Mapped
            | Self::Raid
            | Self::Stacked
            | Self::Network
            | Self::Memory
            | Self::BootArea => false,
        }
    }

    /// Why a retention volume is not made on a device of this kind, or `None` if it may be.
    pub(crate) fn no_retention(self) -> Option<&'static str> {
        match self {
            Self::Scsi | Self::Nvme | Self::Virtio | Self::Multipath | Self::Loop | Self::Other => {
                None
            }
            Self::Mapped | Self::Raid | Self::Stacked => Some("is made of other disks"),
            Self::Network => Some("is another host's disk"),
            Self::Memory => Some("is memory, not a disk"),
            Self::BootArea => Some("is an area of the machine's firmware"),
        }
    }

    /// The name shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scsi => "SCSI",
            Self::Nvme => "NVMe",
            Self::Virtio => "virtio",
            Self::Multipath => "multipath",
            Self::Loop => "loop",
            Self::Mapped => "mapped",
            Self::Raid => "RAID",
            Self::Stacked => "stacked",
            Self::Network => "network",
            Self::Memory => "memory",
            Self::BootArea => "boot area",
            Self::Other => "other",
        }
    }
}

/// Whether a device in sysfs is not a disk at all: RAM disks, floppies and optical drives hold
/// nothing that anybody replicates, and a hidden device is a path of an NVMe namespace that the
/// kernel itself combines into one disk; it has no node.
pub(super) fn is_never_a_disk(machine: &Tree, name: &str) -> bool {
    ["ram", "fd", "sr"].iter().any(|driver| is_numbered(name, driver))
        || machine.attribute(format!("/sys/block/{name}/hidden")).as_deref() == Some("1")
}

/// `zd16`, `drbd0`, `emcpowera`: the name of a driver followed by the number or letter of a device.
fn is_numbered(name: &str, driver: &str) -> bool {
    let is_letters = driver == "emcpower";
    name.strip_prefix(driver).is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit() || is_letters && c.is_ascii_lowercase())
    })
}

/// `mmcblk0boot1`, `mmcblk0rpmb`, `mmcblk0gp0`: these exist beside the disk `mmcblk0` and are not
/// partitions of it.
fn is_area_of_an_emmc(name: &str) -> bool {
    let rest = name.strip_prefix("mmcblk").unwrap_or_default();
    let area = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    area.len() < rest.len() && ["boot", "rpmb", "gp"].iter().any(|kind| area.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::MemoryTree;

    #[test]
    fn a_device_that_is_no_attached_disk_is_known_by_its_name() {
        let rows = [
            ("sda", DiskKind::Scsi),
            ("nvme0n1", DiskKind::Nvme),
            ("vda", DiskKind::Virtio),
            ("xvdb", DiskKind::Other),
            ("dasda", DiskKind::Other),
            ("mmcblk0", DiskKind::Other),
            ("fioa", DiskKind::Other),
            ("skd0", DiskKind::Other),
            ("cciss!c0d0", DiskKind::Other),
            ("drbd0", DiskKind::Stacked),
            ("bcache12", DiskKind::Stacked),
            ("zd16", DiskKind::Stacked),
            ("ublkb0", DiskKind::Stacked),
            ("emcpowera", DiskKind::Stacked),
            ("nbd1", DiskKind::Network),
            ("rbd0", DiskKind::Network),
            ("rnbd0", DiskKind::Network),
            ("etherd!e1.1", DiskKind::Network),
            ("zram0", DiskKind::Memory),
            ("pmem0", DiskKind::Memory),
            ("pmem0s", DiskKind::Memory),
            ("mmcblk0boot0", DiskKind::BootArea),
            ("mmcblk10boot1", DiskKind::BootArea),
            ("mmcblk0rpmb", DiskKind::BootArea),
            ("mmcblk0gp1", DiskKind::BootArea),
            ("mtdblock3", DiskKind::BootArea),
            ("md127", DiskKind::Raid),
            ("dm-3", DiskKind::Mapped),
            ("loop0", DiskKind::Loop),
        ];
        let tree = Tree::memory(MemoryTree::new());
        for (name, kind) in rows {
            assert_eq!(DiskKind::of(&tree, name), kind, "{name}");
            assert_eq!(kind.is_attached(), kind.no_retention().is_none() && kind != DiskKind::Loop);
        }
    }

    #[test]
    fn what_has_devices_below_it_is_stacked_whatever_it_is_called() {
        let memory = MemoryTree::new();
        memory.put("/sys/block/newcache0/slaves/sdb", crate::host::Node::Directory);
        assert_eq!(DiskKind::of(&Tree::memory(memory), "newcache0"), DiskKind::Stacked);
    }

    #[test]
    fn hidden_devices_and_drives_without_lasting_content_are_no_disks() {
        let memory = MemoryTree::new();
        memory.put_text("/sys/block/nvme0c0n1/hidden", "1\n");
        memory.put_text("/sys/block/nvme0n1/hidden", "0\n");
        let tree = Tree::memory(memory);
        for name in ["nvme0c0n1", "ram0", "fd0", "sr0"] {
            assert!(is_never_a_disk(&tree, name), "{name}");
        }
        for name in ["nvme0n1", "sda", "rbd0", "frob"] {
            assert!(!is_never_a_disk(&tree, name), "{name}");
        }
    }
}
