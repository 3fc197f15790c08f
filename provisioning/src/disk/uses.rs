//! Who uses a disk: mounts, swap, holders and loop devices, through partitions and mappings; and
//! what the signature says about the content.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Disk, Use};
use crate::filesystem::Signature;
use crate::host::{Host, Tree};
use system::mount::{Mount, Swap};

pub(super) type DeviceNumber = (u32, u32);

/// Mount points whose loss is the loss of the running system.
const SYSTEM_MOUNT_POINTS: [&str; 7] =
    ["/", "/boot", "/boot/efi", "/usr", "/var", "/home", "/var/lib"];

/// The kernel's view of who holds what, read once for all disks.
pub(super) struct Kernel {
    mounts: Vec<(DeviceNumber, PathBuf)>,
    swaps: BTreeSet<DeviceNumber>,
    /// Loop devices by the block device behind them.
    loops: BTreeMap<DeviceNumber, Vec<String>>,
    /// Every disk and partition by kernel name.
    devices: BTreeMap<String, Device>,
}

struct Device {
    number: DeviceNumber,
    partitions: Vec<String>,
    holders: Vec<String>,
    mapper_uuid: Option<String>,
    mapper_name: Option<String>,
}

impl Kernel {
    pub(super) fn read(host: &Host, mounts: &[Mount], swaps: &[Swap]) -> Self {
        let machine = host.machine();
        let number_of = |path: &Path| {
            machine
                .status(path)
                .map(|status| status.device_number)
                .filter(|number| *number != (0, 0))
        };
        let mounts = mounts
            .iter()
            .flat_map(|mount| {
                // btrfs and overlays report a device number of their own: the source identifies the
                // disk.
                let by_source = number_of(Path::new(&mount.source));
                let numbers = BTreeSet::from_iter(by_source.into_iter().chain([mount.device]));
                numbers.into_iter().map(|number| (number, PathBuf::from(&mount.mount_point)))
            })
            .collect();
        let swaps = swaps.iter().filter_map(|swap| number_of(Path::new(&swap.path))).collect();
        let mut kernel = Self { mounts, swaps, loops: BTreeMap::new(), devices: BTreeMap::new() };
        for name in machine.list("/sys/block") {
            kernel.read_device(machine, &name, &format!("/sys/block/{name}"));
            let backing = machine.attribute(format!("/sys/block/{name}/loop/backing_file"));
            if let Some(number) = backing.and_then(|file| number_of(Path::new(&file))) {
                kernel.loops.entry(number).or_default().push(name);
            }
        }
        kernel
    }

    fn read_device(&mut self, machine: &Tree, name: &str, base: &str) {
        let text = |file: &str| machine.attribute(format!("{base}/{file}"));
        let partitions: Vec<String> = machine
            .list(base)
            .into_iter()
            .filter(|entry| entry.starts_with(name))
            .filter(|entry| machine.exists(format!("{base}/{entry}/partition")))
            .collect();
        for partition in &partitions {
            self.read_device(machine, partition, &format!("{base}/{partition}"));
        }
        let device = Device {
            number: text("dev").and_then(|text| device_number(&text)).unwrap_or((0, 0)),
            partitions,
            holders: machine.list(format!("{base}/holders")),
            mapper_uuid: text("dm/uuid"),
            mapper_name: text("dm/name"),
        };
        self.devices.insert(name.to_owned(), device);
    }

    /// Every user of `disk`, its partitions, or the devices made of them. The users of a multipath
    /// map are listed for the map; its paths are used by the map.
    pub(super) fn uses_of(&self, disk: &Disk) -> Vec<Use> {
        let mut uses = Vec::new();
        let mut mount_points = Vec::new();
        let mut seen = BTreeSet::new();
        self.collect(&disk.name, &mut uses, &mut mount_points, &mut seen);
        let is_system_mount =
            |path: &PathBuf| SYSTEM_MOUNT_POINTS.iter().any(|s| path == Path::new(s));
        let is_swap = uses.contains(&Use::Swap) && !disk.is_memory();
        if mount_points.iter().any(is_system_mount) || is_swap {
            uses.insert(0, Use::System);
        }
        uses.extend(mount_points.into_iter().map(Use::Mounted));
        let mut unique = Vec::new();
        for one in uses {
            if !unique.contains(&one) {
                unique.push(one);
            }
        }
        unique
    }

    fn collect(
        &self,
        name: &str,
        uses: &mut Vec<Use>,
        mount_points: &mut Vec<PathBuf>,
        seen: &mut BTreeSet<String>,
    ) {
        let Some(device) = self.devices.get(name) else { return };
        if !seen.insert(name.to_owned()) {
            return;
        }
        let mounted = self.mounts.iter().filter(|(number, _)| *number == device.number);
        mount_points.extend(mounted.map(|(_, path)| path.clone()));
        if self.swaps.contains(&device.number) {
            uses.push(Use::Swap);
        }
        for name in self.loops.get(&device.number).into_iter().flatten() {
            uses.push(Use::Loop(name.clone()));
            self.collect(name, uses, mount_points, seen);
        }
        for holder in &device.holders {
            uses.push(self.holder_use(holder));
            self.collect(holder, uses, mount_points, seen);
        }
        for partition in &device.partitions {
            self.collect(partition, uses, mount_points, seen);
        }
    }

    /// Device numbers of the disk `name`, of its partitions, of everything made of it, and of
    /// everything it is made of.
    pub(super) fn related(&self, name: &str) -> BTreeSet<DeviceNumber> {
        let above = self.above(name);
        let below = self.devices.keys().filter(|lower| self.above(lower).contains(name));
        let names = above.iter().chain(below);
        let number = |name: &String| self.devices.get(name).map(|device| device.number);
        names.filter_map(number).filter(|number| *number != (0, 0)).collect()
    }

    /// The device `name`, its partitions, and everything made of them.
    fn above(&self, name: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut pending = vec![name.to_owned()];
        while let Some(name) = pending.pop() {
            let Some(device) = self.devices.get(&name) else { continue };
            let loops = self.loops.get(&device.number).into_iter().flatten();
            let next = device.partitions.iter().chain(&device.holders).chain(loops);
            if seen.insert(name) {
                pending.extend(next.cloned());
            }
        }
        seen
    }

    fn holder_use(&self, holder: &str) -> Use {
        let device = self.devices.get(holder);
        let uuid = device.and_then(|device| device.mapper_uuid.as_deref()).unwrap_or_default();
        let name = device.and_then(|device| device.mapper_name.as_deref()).unwrap_or(holder);
        if uuid.starts_with("mpath-") {
            Use::MultipathPath(name.to_owned())
        } else if uuid.starts_with("LVM-") {
            Use::LogicalVolume(name.to_owned())
        } else if holder.starts_with("md") {
            Use::RaidArray(holder.to_owned())
        } else {
            Use::Holder(name.to_owned())
        }
    }

    /// The multipath map that `disk` is, or is a path of.
    pub(super) fn multipath_of(&self, disk: &Disk) -> Option<String> {
        let device = self.devices.get(&disk.name)?;
        let map_name = |device: &Device| {
            let is_map = device.mapper_uuid.as_ref().is_some_and(|uuid| uuid.starts_with("mpath-"));
            device.mapper_name.clone().filter(|_| is_map)
        };
        map_name(device).or_else(|| {
            device.holders.iter().find_map(|holder| map_name(self.devices.get(holder)?))
        })
    }
}

/// What the signature says about the content.
pub(super) fn content(signature: &Signature) -> Vec<Use> {
    let table = signature.partition_table.clone().map(Use::PartitionTable);
    let filesystem = signature.filesystem.as_deref().map(|name| match name {
        "LVM2_member" | "LVM1_member" => Use::LvmMember,
        "linux_raid_member" => Use::RaidMember,
        name => Use::Signature(name.to_owned()),
    });
    let ambivalent = signature.is_ambivalent.then(|| Use::Signature("ambivalent".into()));
    let hidden = signature.hidden.as_ref();
    let hidden = hidden.map(|hidden| Use::Signature(hidden.filesystem.name().into()));
    table.into_iter().chain(filesystem).chain(ambivalent).chain(hidden).collect()
}

/// `8:16`, as in a sysfs `dev` attribute.
pub(super) fn device_number(text: &str) -> Option<DeviceNumber> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
