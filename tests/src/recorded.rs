//! The hand-made recorded hosts in tests/hosts: each is a situation that was seen on real hosts or
//! recorded in virtual machines. The one that is an unmodified recording has no function here.

use provisioning::host::RecordedHost;
use provisioning::prepare::{Preparation, Purpose};
use provisioning::spec::Desired;
use uuid::Uuid;

use crate::machine::{Distribution, Machine, filesystem, partition_table};
use crate::sysfs::{self, ScsiDisk};
use crate::vpd;

const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// The NAA identifier of disk number `index` of the machines here; the first one was recorded.
pub fn naa(index: u32) -> u128 {
    vpd::RECORDED_NAA + u128::from(index)
}

/// The UUID of a new retention filesystem in these tests.
pub const RETENTION_UUID: Uuid = Uuid::from_u128(0x2c1e_7d52_6f0b_4b8e_9a51_d3f1_7c3e_90aa);

/// The desired state unless a test wants something else, with a fixed UUID.
pub fn desired() -> Desired {
    Desired { new_filesystem_uuid: RETENTION_UUID, ..Desired::default() }
}

/// Every recorded host that is made by hand, with its file name.
pub fn all() -> Vec<(&'static str, RecordedHost)> {
    let machines = [
        (
            "vmware-enabled",
            "VMware, disk.EnableUUID on, one blank disk",
            fresh(Distribution::Rocky9),
        ),
        ("vmware-ready", "the same machine after mtctl prepare", ready(Distribution::Rocky9)),
        ("vmware-disabled", "VMware, disk.EnableUUID off", without_ids()),
        ("vmware-mixed", "VMware, one disk without an id", mixed()),
        ("clones", "two disks cloned from one template", clones()),
        ("two-paths", "two paths to one disk and their map", two_paths()),
        ("greedy-multipath", "multipathd took every single-path disk", greedy_multipath()),
        ("lvm-root", "LVM root; LVM and MD of customers active", lvm_root()),
        ("centos-7", "CentOS 7: yum, no JSON from ip, no io_uring", fresh(Distribution::CentOs7)),
        ("debian-12", "Debian 12 on VMware", fresh(Distribution::Debian12)),
        ("nvme", "NVMe namespaces that share one serial number", nvme()),
        (
            "nvme-multipath",
            "an NVMe namespace with two paths, which the kernel makes one disk of",
            nvme_multipath(),
        ),
        ("malformed-page", "a disk whose page 0x83 ends too early", malformed_page()),
        ("sixty-disks", "as many disks as one master target takes", sixty_disks()),
    ];
    machines.into_iter().map(|(name, about, machine)| (name, machine.record(about))).collect()
}

/// A system disk sda without LVM; later disks have the NAA identifiers of [`naa`].
fn with_system(distribution: Distribution, id: Option<u128>) -> Machine {
    let machine = Machine::new(distribution);
    attach(&machine, "sda", "0:0:0:0", 128 * GIB, id);
    divide_system_disk(&machine, "sda");
    machine
}

fn divide_system_disk(machine: &Machine, disk: &str) {
    let separator = if disk.starts_with("nvme") { "p" } else { "" };
    machine.partition(disk, 1, GIB, filesystem("ext4", "b0071111-0000-4000-8000-000000000001"));
    machine.partition(
        disk,
        2,
        120 * GIB,
        filesystem("ext4", "40071111-0000-4000-8000-000000000002"),
    );
    machine.partition(disk, 3, 4 * GIB, filesystem("swap", "5a7a1111-0000-4000-8000-000000000003"));
    machine.mount(&format!("{disk}{separator}2"), "/", "ext4", "rw,relatime");
    machine.mount(&format!("{disk}{separator}1"), "/boot", "ext4", "rw,relatime");
    machine.swap_on(&format!("{disk}{separator}3"));
    machine.tree().put_text(
        "/etc/fstab",
        "UUID=40071111-0000-4000-8000-000000000002 / ext4 defaults 0 1\n\
         UUID=b0071111-0000-4000-8000-000000000001 /boot ext4 defaults 0 2\n\
         UUID=5a7a1111-0000-4000-8000-000000000003 none swap defaults 0 0\n",
    );
}

/// Attaches a VMware virtual disk.
pub fn attach(machine: &Machine, name: &str, address: &str, size_bytes: u64, id: Option<u128>) {
    let has_diskseq = machine.distribution().has_diskseq();
    let disk = ScsiDisk::vmware(name, address, size_bytes, id);
    machine.attach(&ScsiDisk { has_diskseq, ..disk });
}

/// A system disk, a blank disk of 1 TiB, and two disks of customers; `id` maps a disk's index to
/// its identifier.
fn vmware_on(distribution: Distribution, id: impl Fn(u32) -> Option<u128>) -> Machine {
    let machine = with_system(distribution, id(0));
    attach(&machine, "sdb", "0:0:1:0", TIB, id(1));
    attach(&machine, "sdc", "0:0:2:0", 2 * TIB, id(2));
    attach(&machine, "sdd", "0:0:3:0", 500 * GIB, id(3));
    machine.sign("sdc", partition_table("gpt"));
    machine.sign("sdd", filesystem("ntfs", "A2B4C6D8E0F21436"));
    machine
}

fn vmware_with(id: impl Fn(u32) -> Option<u128>) -> Machine {
    vmware_on(Distribution::Rocky9, id)
}

/// A machine right after the installation of the distribution: disks attached, nothing prepared.
pub fn fresh(distribution: Distribution) -> Machine {
    let machine = vmware_on(distribution, |index| Some(naa(index)));
    machine.uninstall(&["lsscsi", "rsync", "mdadm", "lvm2", "open-vm-tools"]);
    machine.uninstall(&["device-mapper-multipath", "multipath-tools", "kpartx"]);
    machine
}

/// The machine of [`fresh`] after `prepare` with its defaults.
///
/// # Panics
/// If preparing fails.
pub fn ready(distribution: Distribution) -> Machine {
    let machine = fresh(distribution);
    let host = machine.host();
    let preparation = Preparation::begin(&host, desired(), Purpose::Change)
        .expect("invariant: this machine can be looked at");
    let finished = preparation.carry_out(&mut |_| std::ops::ControlFlow::Continue(()));
    assert!(finished.error.is_none(), "preparing: {:?}", finished.error);
    machine
}

fn mixed() -> Machine {
    vmware_with(|index| (index != 3).then(|| naa(index)))
}

/// sdb and sdc have one WWID but are two disks.
pub fn clones() -> Machine {
    vmware_with(|index| Some(naa(index.min(1))))
}

/// As recorded with tgt behind two QEMU controllers: sda and sde are paths of mpatha, sdb, sdc and
/// sdd have NAA identifiers of tgt, sdf has no pages. The system is on a virtio disk.
pub fn two_paths() -> Machine {
    let machine = Machine::new(Distribution::Debian12);
    machine.attach_virtio(128 * GIB, "system");
    divide_system_disk(&machine, "vda");
    let other = |name: &str, address: &str, last: u8| {
        let vmware = ScsiDisk::vmware(name, address, 128 << 20, None);
        ScsiDisk {
            inquiry: ["IET     ", "VIRTUAL-DISK    ", "0001"].map(str::to_owned),
            page83: Some(vpd::bytes(&iet_page83(last))),
            page80: Some(vpd::bytes(&iet_page80(last))),
            wwid: Some(format!("naa.60000000000000000e0000000001000{last}")),
            ..vmware
        }
    };
    attach(&machine, "sda", "0:0:0:0", GIB, Some(vpd::RECORDED_NAA));
    machine.attach(&other("sdb", "0:0:2:0", 2));
    machine.attach(&other("sdc", "0:0:3:0", 3));
    machine.attach(&other("sdd", "0:0:4:0", 4));
    attach(&machine, "sde", "1:0:0:0", GIB, Some(vpd::RECORDED_NAA));
    let blkdebug = ScsiDisk::vmware("sdf", "1:0:5:0", 128 << 20, None);
    let inquiry = ["BLKDBG  ", "QEMU HARDDISK   ", "2.5+"].map(str::to_owned);
    machine.attach(&ScsiDisk { inquiry, ..blkdebug });
    let uuid = format!("mpath-{}", vpd::scsi_id(vpd::RECORDED_NAA));
    machine.map("mpatha", 0, &uuid, &["sda", "sde"]);
    machine
}

fn iet_page83(last: u8) -> String {
    let t10 =
        format!("494554202020202030303031303030{:x}{}", 0x30 + u32::from(last), "00".repeat(20));
    let local = format!("0103000830000001000000{last:02x}");
    format!("0083004802010024{t10}{local}0103001060000000000000000e0000000001000{last}")
}

fn iet_page80(last: u8) -> String {
    format!("00800024{}6265616631{:x}", "20".repeat(30), 0x30 + u32::from(last))
}

fn greedy_multipath() -> Machine {
    let machine = vmware_with(|index| Some(naa(index)));
    for (number, disk) in ["sdb", "sdc", "sdd"].into_iter().enumerate() {
        let number = u32::try_from(number).unwrap_or(0);
        let id = vpd::scsi_id(naa(number + 1));
        machine.map(&id, number, &format!("mpath-{id}"), &[disk]);
    }
    machine.sign("dm-1", partition_table("gpt"));
    machine.sign("dm-2", filesystem("ntfs", "A2B4C6D8E0F21436"));
    machine.tree().put_text(
        "/etc/multipath.conf",
        "defaults {\n\tuser_friendly_names no\n\tfind_multipaths greedy\n}\n",
    );
    machine
}

/// The installer's default in release 9, and disks of customers whose volume groups and arrays the
/// host activated at boot.
pub fn lvm_root() -> Machine {
    let machine = Machine::new(Distribution::Rocky9);
    attach(&machine, "sda", "0:0:0:0", 128 * GIB, Some(naa(0)));
    machine.partition("sda", 1, GIB, filesystem("xfs", "b0071111-0000-4000-8000-000000000001"));
    machine.partition("sda", 2, 127 * GIB, filesystem("LVM2_member", "pvid-0"));
    machine.map("rl-root", 0, "LVM-aaaa", &["sda2"]);
    machine.map("rl-swap", 1, "LVM-aaab", &["sda2"]);
    machine.sign("dm-0", filesystem("xfs", "40071111-0000-4000-8000-000000000002"));
    machine.mount("dm-0", "/", "xfs", "rw,relatime");
    machine.mount("sda1", "/boot", "xfs", "rw,relatime");
    machine.swap_on("dm-1");
    attach(&machine, "sdb", "0:0:1:0", TIB, Some(naa(1)));
    for (index, name) in ["sdc", "sdd", "sde", "sdf"].into_iter().enumerate() {
        let index = u32::try_from(index).unwrap_or(0) + 2;
        attach(&machine, name, &format!("0:0:{index}:0"), 500 * GIB, Some(naa(index)));
    }
    machine.sign("sdc", filesystem("LVM2_member", "pvid-1"));
    machine.sign("sdd", filesystem("LVM2_member", "pvid-2"));
    machine.map("customer-data", 2, "LVM-bbbb", &["sdd"]);
    machine.array("md127", 127, &["sde", "sdf"]);
    let id = vpd::kernel_wwid(naa(0));
    machine.tree().put_text(
        provisioning::lvm::DEVICES_FILE,
        format!("VERSION=1.1.2\nIDTYPE=sys_wwid IDNAME={id} DEVNAME=/dev/sda2 PVID=pvid0 PART=2\n"),
    );
    machine.physical_volumes(&[
        ["/dev/sda2", "rl", "aaaa"],
        ["/dev/sdc", "other", "cccc"],
        ["/dev/sdd", "customer", "bbbb"],
    ]);
    machine
}

/// The system is on an NVMe namespace.
pub fn nvme_root() -> Machine {
    let machine = Machine::new(Distribution::Debian12);
    machine.attach_nvme(1, 128 * GIB, "eui.81ab6c4d00000001000c2969b1b2c3d4");
    divide_system_disk(&machine, "nvme0n1");
    machine
}

/// disk.EnableUUID is off: no disk reports an id.
pub fn without_ids() -> Machine {
    vmware_with(|_| None)
}

fn nvme() -> Machine {
    let machine = with_system(Distribution::Debian12, Some(naa(0)));
    for namespace in [1, 2] {
        let wwid = format!("eui.81ab6c4d0000000{namespace}000c2969b1b2c3d4");
        machine.attach_nvme(namespace, 100 * GIB, &wwid);
    }
    machine
}

/// The kernel's own multipathing: each path is a block device without a node, with the identity of
/// the namespace.
pub fn nvme_multipath() -> Machine {
    let machine = with_system(Distribution::Debian12, Some(naa(0)));
    let wwid = "eui.81ab6c4d00000001000c2969b1b2c3d4";
    machine.attach_nvme(1, 100 * GIB, wwid);
    for (path, number) in [("nvme0c0n1", "259:8"), ("nvme0c1n1", "259:9")] {
        let base = format!("/sys/block/{path}");
        for (file, text) in [
            ("hidden", "1"),
            ("dev", number),
            ("size", "209715200"),
            ("wwid", wwid),
            ("queue/scheduler", "[mq-deadline] none"),
        ] {
            machine.tree().put_text(format!("{base}/{file}"), format!("{text}\n"));
        }
    }
    machine
}

/// sdb's page 0x83 claims to be longer than it is; its page 0x80 is valid.
pub fn malformed_page() -> Machine {
    let machine = with_system(Distribution::Debian12, Some(naa(0)));
    let mut page = vpd::page83(naa(1));
    page.truncate(60);
    let disk = ScsiDisk::vmware("sdb", "0:0:1:0", TIB, Some(naa(1)));
    machine.attach(&ScsiDisk { page83: Some(page), ..disk });
    machine
}

fn sixty_disks() -> Machine {
    let machine = with_system(Distribution::Debian12, Some(naa(0)));
    for index in 1..=60 {
        let address = format!("{}:0:{}:0", index / 16, index % 16);
        attach(&machine, &sysfs::scsi_name(index), &address, 100 * GIB, Some(naa(index)));
        let signature = match index % 3 {
            0 => partition_table("gpt"),
            1 => filesystem("xfs", &format!("c0571111-0000-4000-8000-0000000000{index:02}")),
            _ => filesystem("LVM2_member", &format!("pvid-{index}")),
        };
        if index != 60 {
            machine.sign(&sysfs::scsi_name(index), signature);
        }
    }
    machine
}
