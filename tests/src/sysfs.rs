//! Creates the files of disks below /sys and /dev in memory, exactly as Linux does. Their contents
//! and their users belong to `machine`.

use std::path::{Component, Path, PathBuf};

use provisioning::host::{MemoryTree, Node};

use crate::vpd;

/// A SCSI disk; texts as in sysfs, including padding.
#[derive(Clone, Debug)]
pub struct ScsiDisk {
    /// Kernel name.
    pub name: String,
    /// Host, channel, target and LUN.
    pub address: String,
    /// The name that the SCSI host gives its driver.
    pub controller: String,
    /// Vendor, model and revision.
    pub inquiry: [String; 3],
    /// VPD page 0x80.
    pub page80: Option<Vec<u8>>,
    /// VPD page 0x83.
    pub page83: Option<Vec<u8>>,
    /// The kernel's own interpretation of page 0x83.
    pub wwid: Option<String>,
    /// Capacity, in bytes.
    pub size_bytes: u64,
    /// Whether sysfs has `diskseq` (since Linux 5.15).
    pub has_diskseq: bool,
    /// Whether writing to it is forbidden.
    pub read_only: bool,
}

impl ScsiDisk {
    /// A VMware virtual disk behind a paravirtual controller; `naa` is `None` if disk.EnableUUID is
    /// off.
    pub fn vmware(name: &str, address: &str, size_bytes: u64, naa: Option<u128>) -> Self {
        Self {
            name: name.to_owned(),
            address: address.to_owned(),
            controller: "vmw_pvscsi".to_owned(),
            inquiry: ["VMware  ", "Virtual disk    ", "2.0 "].map(str::to_owned),
            page80: naa.map(vpd::page80),
            page83: naa.map(vpd::page83),
            wwid: naa.map(vpd::kernel_wwid),
            size_bytes,
            has_diskseq: true,
            read_only: false,
        }
    }
}

/// A block device and its place.
#[derive(Clone, Debug)]
pub(crate) struct Block<'a> {
    /// Kernel name.
    pub(crate) name: &'a str,
    /// The directory in /sys/devices that contains it.
    pub(crate) parent: &'a str,
    /// The target of its link `device`.
    pub(crate) device: Option<&'a str>,
    pub(crate) number: (u32, u32),
    pub(crate) size_bytes: u64,
    pub(crate) diskseq: Option<u64>,
    pub(crate) scheduler: &'a str,
    pub(crate) read_only: bool,
}

/// Major and minor number of SCSI disk number `index` (devices.txt of the kernel).
pub(crate) fn scsi_number(index: u32) -> (u32, u32) {
    const MAJORS: [u32; 16] =
        [8, 65, 66, 67, 68, 69, 70, 71, 128, 129, 130, 131, 132, 133, 134, 135];
    (MAJORS[index as usize / 16 % 16], index % 16 * 16)
}

/// The kernel name of SCSI disk number `index`: sda … sdz, sdaa ….
pub fn scsi_name(index: u32) -> String {
    let letter = |number: u32| char::from(b'a' + (number % 26) as u8);
    match index / 26 {
        0 => format!("sd{}", letter(index)),
        more => format!("sd{}{}", letter(more - 1), letter(index)),
    }
}

/// Creates the files of `disk` as disk number `index` of this machine.
pub(crate) fn put_scsi(tree: &MemoryTree, disk: &ScsiDisk, index: u32) -> (u32, u32) {
    let host_number: u32 = disk.address.split(':').next().unwrap_or("0").parse().unwrap_or(0);
    let host = format!("host{host_number}");
    let target = disk.address.rsplit_once(':').map_or("", |(target, _lun)| target);
    let (bridge, bus) = (0x15 + host_number, 3 + host_number);
    let adapter = format!("/sys/devices/pci0000:00/0000:00:{bridge:02x}.0/0000:{bus:02x}:00.0");
    let driver = format!("/sys/bus/pci/drivers/{}", disk.controller);
    tree.put(&driver, Node::Directory);
    put_link(tree, &format!("{adapter}/driver"), &driver);
    let name = format!("{}\n", disk.controller);
    tree.put_text(format!("{adapter}/{host}/scsi_host/{host}/proc_name"), name);
    let class = format!("/sys/class/scsi_host/{host}");
    put_link(tree, &class, &format!("{adapter}/{host}/scsi_host/{host}"));
    let device = format!("{adapter}/{host}/target{target}/{}", disk.address);
    put_scsi_device(tree, disk, &device);
    let number = scsi_number(index);
    let block = Block {
        name: &disk.name,
        parent: &format!("{device}/block"),
        device: Some(&device),
        number,
        size_bytes: disk.size_bytes,
        diskseq: disk.has_diskseq.then_some(u64::from(index) + 9),
        scheduler: if disk.has_diskseq {
            "none [mq-deadline] kyber bfq"
        } else {
            "noop [deadline] cfq"
        },
        read_only: disk.read_only,
    };
    put_block(tree, &block);
    number
}

fn put_scsi_device(tree: &MemoryTree, disk: &ScsiDisk, device: &str) {
    let [vendor, model, revision] = &disk.inquiry;
    let attributes = [
        ("vendor", vendor.as_str()),
        ("model", model),
        ("rev", revision),
        ("type", "0"),
        ("scsi_level", "7"),
        ("timeout", "30"),
        ("state", "running"),
    ];
    for (name, value) in attributes {
        tree.put_text(format!("{device}/{name}"), format!("{value}\n"));
    }
    if let Some(wwid) = &disk.wwid {
        tree.put_text(format!("{device}/wwid"), format!("{wwid}\n"));
    }
    for (name, page) in [("vpd_pg80", &disk.page80), ("vpd_pg83", &disk.page83)] {
        if let Some(page) = page {
            tree.put(format!("{device}/{name}"), Node::File(page.clone()));
        }
    }
    let driver = "/sys/bus/scsi/drivers/sd";
    tree.put(driver, Node::Directory);
    put_link(tree, &format!("{device}/driver"), driver);
}

/// Creates the files of a block device, with its link in /sys/block and its node in /dev.
pub(crate) fn put_block(tree: &MemoryTree, block: &Block<'_>) {
    let directory = format!("{}/{}", block.parent, block.name);
    put_link(tree, &format!("/sys/block/{}", block.name), &directory);
    if let Some(device) = block.device {
        put_link(tree, &format!("{directory}/device"), device);
    }
    put_common(tree, &directory, block.number, block.size_bytes, block.read_only);
    let attributes = [
        ("queue/logical_block_size", "512"),
        ("queue/physical_block_size", "512"),
        ("queue/rotational", "0"),
        ("queue/scheduler", block.scheduler),
    ];
    for (name, value) in attributes {
        tree.put_text(format!("{directory}/{name}"), format!("{value}\n"));
    }
    if let Some(diskseq) = block.diskseq {
        tree.put_text(format!("{directory}/diskseq"), format!("{diskseq}\n"));
    }
    put_node(tree, &format!("/dev/{}", block.name), block.number, true);
}

/// Creates the files of a partition of the disk `disk`.
pub(crate) fn put_partition(
    tree: &MemoryTree,
    disk: &str,
    partition: (&str, u32),
    number: (u32, u32),
    size_bytes: u64,
) {
    let (name, index) = partition;
    let directory = format!("{}/{name}", directory_of(tree, disk));
    tree.put_text(format!("{directory}/partition"), format!("{index}\n"));
    put_common(tree, &directory, number, size_bytes, false);
    put_node(tree, &format!("/dev/{name}"), number, false);
}

fn put_common(
    tree: &MemoryTree,
    directory: &str,
    number: (u32, u32),
    size_bytes: u64,
    read_only: bool,
) {
    let (major, minor) = number;
    tree.put_text(format!("{directory}/dev"), format!("{major}:{minor}\n"));
    tree.put_text(format!("{directory}/size"), format!("{}\n", size_bytes / 512));
    tree.put_text(format!("{directory}/ro"), format!("{}\n", u8::from(read_only)));
    tree.put(format!("{directory}/holders"), Node::Directory);
    tree.put(format!("{directory}/slaves"), Node::Directory);
}

/// Records that `upper` (a disk) is made out of `lower` (a disk or a partition of one).
pub(crate) fn put_holder(tree: &MemoryTree, lower: &str, upper: &str) {
    let (below, above) = (directory_of(tree, lower), directory_of(tree, upper));
    put_link(tree, &format!("{below}/holders/{upper}"), &above);
    put_link(tree, &format!("{above}/slaves/{lower}"), &below);
}

/// The directory of a disk or a partition below /sys/devices.
fn directory_of(tree: &MemoryTree, name: &str) -> String {
    let end = format!("/{name}/dev");
    let nodes = tree.nodes();
    let found = nodes.keys().find_map(|path| path.to_str()?.strip_suffix(&end).map(str::to_owned));
    format!("{}/{name}", found.expect("invariant: the device was laid out before"))
}

/// Creates a device node, blank or with content.
pub(crate) fn put_node(tree: &MemoryTree, path: &str, number: (u32, u32), blank: bool) {
    tree.put(path, Node::BlockDevice { device_number: number, blank: blank.into(), busy: false });
}

/// Creates a link at `path` that leads to `target`, relative like those of sysfs and udev.
pub(crate) fn put_link(tree: &MemoryTree, path: &str, target: &str) {
    let (from, to) = (components(path), components(target));
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from.len().saturating_sub(shared + 1);
    let mut link = PathBuf::from("../".repeat(up));
    link.extend(&to[shared..]);
    tree.put(path, Node::Link(link));
}

fn components(path: &str) -> Vec<String> {
    let names = Path::new(path).components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    names.collect()
}
