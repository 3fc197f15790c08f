//! Which of the kernel's devices are listed in LVM's devices file. `check` judges whether they
//! should be.

use std::collections::BTreeSet;

use crate::disk::Disk;
use crate::host::Host;
use crate::lvm::{self, ListedDevice};
use crate::scsi::designator::{Association, Designator};
use crate::scsi::vpd::VpdPage83;

/// The kernel's names of the devices that `devices_file` lists.
pub(super) fn observe(host: &Host, disks: &[Disk], devices_file: Option<&str>) -> BTreeSet<String> {
    let listed: Vec<ListedDevice> = devices_file.map(lvm::parse_devices_file).unwrap_or_default();
    if listed.is_empty() {
        return BTreeSet::new();
    }
    let is_listed = |disk: &&Disk| {
        let names = names_of(host, disk);
        listed.iter().any(|row| row.is_one_of(&names))
    };
    disks.iter().filter(is_listed).map(|disk| disk.name.clone()).collect()
}

/// Every name that LVM may use for a device or a partition of it.
fn names_of(host: &Host, disk: &Disk) -> Vec<String> {
    let machine = host.machine();
    let base = format!("/sys/block/{}", disk.name);
    let attributes = [
        "device/wwid",
        "wwid",
        "serial",
        "device/serial",
        "dm/uuid",
        "md/uuid",
        "loop/backing_file",
    ];
    let told = attributes.iter().filter_map(|file| machine.attribute(format!("{base}/{file}")));
    let partitions = machine.list(&base).into_iter().filter(|entry| {
        entry.starts_with(&disk.name) && machine.exists(format!("{base}/{entry}/partition"))
    });
    let nodes = partitions.chain([disk.name.clone()]);
    let nodes = nodes.map(|name| format!("/dev/{}", name.replace('!', "/")));
    let identity = disk.wwid.iter().map(ToString::to_string).chain(disk.serial.clone());
    let path = disk.path.display().to_string();
    told.chain(nodes).chain(identity).chain([path]).chain(designators(host, disk)).collect()
}

/// LVM accepts any designator of the disk, not only the one that identifies it best.
fn designators(host: &Host, disk: &Disk) -> Vec<String> {
    let file = format!("/sys/block/{}/device/vpd_pg83", disk.name);
    let bytes = host.machine().read_if_exists(file).ok().flatten().unwrap_or_default();
    let Ok(page) = VpdPage83::parse(&bytes) else { return Vec::new() };
    let is_the_disks = |one: &&Designator| one.association == Association::LogicalUnit;
    let texts = page.designators().iter().filter(is_the_disks).filter_map(Designator::wwid);
    texts.map(|wwid| wwid.to_string()).collect()
}
