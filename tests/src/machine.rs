//! A machine in memory: its disks, and programs that look at them or change them as the real ones
//! would. The tests ask the questions and judge the answers.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use provisioning::filesystem::Signature;
use provisioning::host::{Host, MemoryTree, Node, RecordedCommand, RecordedHost, RingProbe};
use provisioning::packages;
use provisioning::platform::parse_os_release;

use crate::sysfs::{self, Block, ScsiDisk};

mod distribution;
mod programs;

pub use distribution::Distribution;
pub use programs::{Programs, ext4_options};

/// What goes wrong on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// No package repository can be reached.
    RepositoriesUnreachable,
    /// mkfs reports success, but does nothing.
    MkfsLies,
    /// mkfs overwrites the beginning of the disk and dies.
    MkfsDies,
    /// mount reports success, but does nothing.
    MountLies,
    /// fsck finds an error that it does not repair by itself.
    FsckRefuses,
    /// udev's knowledge of a disk stays outdated until it is asked to settle.
    UdevIsLate,
    /// Rebuilding the initramfs fails.
    InitramfsFails,
    /// Restarting multipathd removes its drop-in.
    PolicyVanishes,
}

/// The properties of one block device that are not in sysfs.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// The device node that is passed to programs.
    pub(crate) path: String,
    pub(crate) number: (u32, u32),
    pub(crate) signature: Signature,
    /// The signature known to udev, which can be older.
    pub(crate) in_udev: Signature,
    /// udev's own properties: ID_SERIAL and the like.
    pub(crate) properties: Vec<(String, String)>,
    /// Links below /dev/disk/by-id.
    pub(crate) links: Vec<String>,
}

/// The state that the machine's programs change.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) distribution: Distribution,
    pub(crate) devices: BTreeMap<String, Device>,
    pub(crate) installed: BTreeSet<String>,
    pub(crate) faults: BTreeSet<Fault>,
    /// Rows of `pvs`: device, volume group and its UUID.
    pub(crate) physical_volumes: Vec<[String; 3]>,
    /// Every command that ran, with its result.
    pub(crate) ran: Vec<RecordedCommand>,
}

/// The machine. Clones share all of its state.
#[derive(Clone, Debug)]
pub struct Machine {
    tree: MemoryTree,
    state: Rc<RefCell<State>>,
}

impl Machine {
    /// A VMware virtual machine without disks, with every package installed that may be wanted.
    pub fn new(distribution: Distribution) -> Self {
        let state = State {
            distribution,
            devices: BTreeMap::new(),
            installed: BTreeSet::new(),
            faults: BTreeSet::new(),
            physical_volumes: Vec::new(),
            ran: Vec::new(),
        };
        let machine = Self { tree: MemoryTree::new(), state: Rc::new(RefCell::new(state)) };
        distribution.put_files(&machine.tree);
        for name in packages::known_names(&parse_os_release(distribution.os_release())) {
            machine.install(name);
        }
        machine
    }

    /// Its files.
    pub fn tree(&self) -> &MemoryTree {
        &self.tree
    }

    /// The distribution that is installed on it.
    pub fn distribution(&self) -> Distribution {
        self.state.borrow().distribution
    }

    /// A host that reads this machine's files and runs its programs.
    pub fn host(&self) -> Host {
        let programs = Programs::new(self.tree.clone(), Rc::clone(&self.state));
        Host::scripted(self.tree.clone(), Box::new(programs))
    }

    /// Makes this go wrong from now on.
    pub fn break_by(&self, fault: Fault) {
        self.state.borrow_mut().faults.insert(fault);
    }

    /// Removes all faults.
    pub fn mend(&self) {
        self.state.borrow_mut().faults.clear();
    }

    /// Every command that ran, as typed.
    pub fn ran(&self) -> Vec<String> {
        self.state.borrow().ran.iter().map(|one| one.command.clone()).collect()
    }

    /// Removes packages with their programs and configuration.
    pub fn uninstall(&self, names: &[&str]) {
        for name in names {
            self.state.borrow_mut().installed.remove(*name);
            programs::files_of(name).iter().for_each(|path| self.tree.remove(path));
            let configuration = programs::configuration_of(name, self.distribution());
            configuration.iter().for_each(|(path, _)| self.tree.remove(path));
        }
    }

    fn install(&self, name: &str) {
        programs::install(&self.tree, &mut self.state.borrow_mut(), name);
    }

    /// Attaches a SCSI disk: the next one in the order of the kernel's names.
    pub fn attach(&self, disk: &ScsiDisk) {
        let is_scsi = |name: &&String| self.is_scsi_disk(name);
        let index = self.state.borrow().devices.keys().filter(is_scsi).count();
        let index = u32::try_from(index).unwrap_or(0);
        let number = sysfs::put_scsi(&self.tree, disk, index);
        let text = |bytes: &str| bytes.trim().replace(' ', "_");
        let mut properties = vec![
            ("ID_VENDOR".to_owned(), text(&disk.inquiry[0])),
            ("ID_MODEL".to_owned(), text(&disk.inquiry[1])),
        ];
        let mut links = Vec::new();
        if let Some(naa) = disk.wwid.as_deref().and_then(|wwid| wwid.strip_prefix("naa.")) {
            properties.push(("ID_SERIAL".to_owned(), format!("3{naa}")));
            properties.push(("ID_WWN_WITH_EXTENSION".to_owned(), format!("0x{naa}")));
            links = vec![format!("scsi-3{naa}"), format!("wwn-0x{naa}")];
        }
        self.add(&disk.name, &format!("/dev/{}", disk.name), number, properties, links);
    }

    fn is_scsi_disk(&self, name: &str) -> bool {
        name.starts_with("sd") && !name.ends_with(|last: char| last.is_ascii_digit())
    }

    /// Attaches the virtio disk vda.
    pub fn attach_virtio(&self, size_bytes: u64, serial: &str) {
        let device = "/sys/devices/pci0000:00/0000:00:02.0/virtio1";
        let driver = "/sys/bus/virtio/drivers/virtio_blk";
        self.tree.put(driver, Node::Directory);
        sysfs::put_link(&self.tree, &format!("{device}/driver"), driver);
        let number = (254, 0);
        let block = Block {
            parent: &format!("{device}/block"),
            device: Some(device),
            scheduler: "[none] mq-deadline",
            ..block("vda", number, size_bytes, Some(2))
        };
        sysfs::put_block(&self.tree, &block);
        self.tree.put_text(format!("{device}/block/vda/serial"), format!("{serial}\n"));
        let properties = vec![("ID_SERIAL".to_owned(), serial.to_owned())];
        self.add("vda", "/dev/vda", number, properties, vec![format!("virtio-{serial}")]);
    }

    /// Attaches a namespace of the NVMe controller nvme0. As with VMware's controllers, all
    /// namespaces have the same serial number.
    pub fn attach_nvme(&self, namespace: u32, size_bytes: u64, wwid: &str) {
        let adapter = "/sys/devices/pci0000:00/0000:00:16.0/0000:0b:00.0";
        let driver = "/sys/bus/pci/drivers/nvme";
        self.tree.put(driver, Node::Directory);
        sysfs::put_link(&self.tree, &format!("{adapter}/driver"), driver);
        let controller = format!("{adapter}/nvme/nvme0");
        let attributes = [
            ("serial", "VMware NVME_0000    "),
            ("model", "VMware Virtual NVMe Disk                "),
            ("firmware_rev", "1.4     "),
        ];
        for (name, value) in attributes {
            self.tree.put_text(format!("{controller}/{name}"), format!("{value}\n"));
        }
        let name = format!("nvme0n{namespace}");
        let number = (259, namespace - 1);
        let block = Block {
            parent: &controller,
            device: Some(&controller),
            scheduler: "[none] mq-deadline",
            ..block(&name, number, size_bytes, Some(u64::from(namespace)))
        };
        sysfs::put_block(&self.tree, &block);
        self.tree.put_text(format!("{controller}/{name}/wwid"), format!("{wwid}\n"));
        let links = vec![format!("nvme-{wwid}")];
        self.add(&name, &format!("/dev/{name}"), number, Vec::new(), links);
    }

    /// Partitions a disk: adds partition `index` with `size_bytes` and `signature`.
    pub fn partition(&self, disk: &str, index: u32, size_bytes: u64, signature: Signature) {
        let number = self.state.borrow().devices[disk].number;
        let separator = if disk.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
        let name = format!("{disk}{separator}{index}");
        let number = (number.0, number.1 + index);
        sysfs::put_partition(&self.tree, disk, (&name, index), number, size_bytes);
        let links = self.state.borrow().devices[disk].links.clone();
        let links = links.iter().map(|link| format!("{link}-part{index}")).collect();
        self.add(&name, &format!("/dev/{name}"), number, Vec::new(), links);
        self.sign(&name, signature);
        let table = Some("gpt".to_owned());
        self.sign(disk, Signature { partition_table: table, ..Signature::default() });
    }

    /// Puts a device-mapper device on top of others; `number` is its minor number.
    pub fn map(&self, name: &str, number: u32, uuid: &str, lower: &[&str]) {
        let size_bytes = self.size_bytes(lower[0]);
        let kernel_name = format!("dm-{number}");
        self.put_virtual(&kernel_name, (253, number), size_bytes, lower);
        let base = format!("/sys/devices/virtual/block/{kernel_name}/dm");
        self.tree.put_text(format!("{base}/name"), format!("{name}\n"));
        self.tree.put_text(format!("{base}/uuid"), format!("{uuid}\n"));
        let path = format!("/dev/mapper/{name}");
        sysfs::put_link(&self.tree, &path, &format!("/dev/{kernel_name}"));
        let properties = vec![("DM_UUID".to_owned(), uuid.to_owned())];
        self.add(&kernel_name, &path, (253, number), properties, Vec::new());
        if uuid.starts_with("mpath-") {
            for path in lower {
                self.sign(path, filesystem("mpath_member", ""));
            }
        }
    }

    /// Puts a software RAID array on top of others.
    pub fn array(&self, name: &str, number: u32, lower: &[&str]) {
        let size_bytes = self.size_bytes(lower[0]);
        self.put_virtual(name, (9, number), size_bytes, lower);
        self.add(name, &format!("/dev/{name}"), (9, number), Vec::new(), Vec::new());
        for path in lower {
            self.sign(path, filesystem("linux_raid_member", "5d3e-1"));
        }
        let members: Vec<String> =
            lower.iter().enumerate().map(|(index, path)| format!("{path}[{index}]")).collect();
        let text = format!(
            "Personalities : [raid1]\n{name} : active raid1 {}\n      1048512 blocks [2/2] [UU]\n\n\
             unused devices: <none>\n",
            members.join(" ")
        );
        self.tree.put_text("/proc/mdstat", text);
    }

    fn put_virtual(&self, name: &str, number: (u32, u32), size_bytes: u64, lower: &[&str]) {
        let block = Block { scheduler: "none", ..block(name, number, size_bytes, None) };
        sysfs::put_block(&self.tree, &block);
        for one in lower {
            sysfs::put_holder(&self.tree, one, name);
            self.set_node(one, None, Some(true));
        }
    }

    fn size_bytes(&self, name: &str) -> u64 {
        let nodes = self.tree.nodes();
        let end = format!("/{name}/size");
        let text = nodes.iter().find_map(|(path, node)| match node {
            Node::File(bytes) if path.to_str()?.ends_with(&end) => {
                Some(String::from_utf8_lossy(bytes).trim().to_owned())
            }
            _ => None,
        });
        text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 512
    }

    fn add(
        &self,
        name: &str,
        path: &str,
        number: (u32, u32),
        properties: Vec<(String, String)>,
        links: Vec<String>,
    ) {
        for link in &links {
            let link = format!("/dev/disk/by-id/{link}");
            sysfs::put_link(&self.tree, &link, &format!("/dev/{name}"));
        }
        let signature = Signature::default();
        let in_udev = signature.clone();
        let path = path.to_owned();
        let device = Device { path, number, signature, in_udev, properties, links };
        self.state.borrow_mut().devices.insert(name.to_owned(), device);
    }

    /// Gives a device content with this signature.
    pub fn sign(&self, name: &str, signature: Signature) {
        let is_blank = signature.is_empty();
        if let Some(device) = self.state.borrow_mut().devices.get_mut(name) {
            device.in_udev = signature.clone();
            device.signature = signature;
        }
        self.set_node(name, Some(is_blank), None);
    }

    /// Gives a device content that no program recognises.
    pub fn scribble(&self, name: &str) {
        self.set_node(name, Some(false), None);
    }

    fn set_node(&self, name: &str, blank: Option<bool>, busy: Option<bool>) {
        programs::set_node(&self.tree, &format!("/dev/{name}"), blank, busy);
    }

    /// Mounts a device.
    pub fn mount(&self, name: &str, mount_point: &str, filesystem: &str, options: &str) {
        let device = self.state.borrow().devices[name].clone();
        programs::mount_at(&self.tree, &device, mount_point, filesystem, options);
    }

    /// Uses a device as swap.
    pub fn swap_on(&self, name: &str) {
        let path = self.state.borrow().devices[name].path.clone();
        let row = format!("{path}\t\t\tpartition\t4194300\t\t0\t\t-2\n");
        programs::append(&self.tree, "/proc/swaps", &row);
        self.set_node(name, None, Some(true));
    }

    /// Sets the output of `pvs`: device nodes, volume groups and their UUIDs.
    pub fn physical_volumes(&self, rows: &[[&str; 3]]) {
        self.state.borrow_mut().physical_volumes =
            rows.iter().map(|row| row.map(str::to_owned)).collect();
    }

    /// The record of this machine: its files, and the commands run to observe it.
    ///
    /// # Panics
    /// If it cannot be observed.
    pub fn record(&self, about: &str) -> RecordedHost {
        self.state.borrow_mut().ran.clear();
        let desired = provisioning::spec::Desired::default();
        provisioning::observe::observe(&self.host(), &desired)
            .expect("invariant: a machine of these tests can be looked at");
        let mut commands = self.state.borrow().ran.clone();
        commands.dedup();
        RecordedHost::new(about, &self.tree, commands).with_io_uring(self.ring())
    }

    /// Whether root may set up a ring: if there is a sysctl, its current value decides.
    fn ring(&self) -> RingProbe {
        let host = self.host();
        let disabled = host.machine().attribute("/proc/sys/kernel/io_uring_disabled");
        match disabled.as_deref() {
            Some("0" | "1") => RingProbe::Available,
            Some(_) | None => self.distribution().io_uring(),
        }
    }
}

/// A block device of /sys/devices/virtual.
fn block(name: &str, number: (u32, u32), size_bytes: u64, diskseq: Option<u64>) -> Block<'_> {
    Block {
        name,
        parent: "/sys/devices/virtual/block",
        device: None,
        number,
        size_bytes,
        diskseq,
        scheduler: "none",
        read_only: false,
    }
}

/// The signature of a filesystem.
pub fn filesystem(name: &str, uuid: &str) -> Signature {
    let uuid = Some(uuid.to_owned()).filter(|uuid| !uuid.is_empty());
    Signature { filesystem: Some(name.to_owned()), uuid, ..Signature::default() }
}

/// The signature of a partition table.
pub fn partition_table(kind: &str) -> Signature {
    Signature { partition_table: Some(kind.to_owned()), ..Signature::default() }
}
