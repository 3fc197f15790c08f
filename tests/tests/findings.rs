//! The findings of `check` on every recorded host: their ids, their status, and a hint for whatever
//! does not pass.

#![allow(clippy::unwrap_used, reason = "every function here belongs to a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mt_tests::machine::{Distribution, Machine, ext4_options};
use mt_tests::recorded::{self, desired};
use mt_tests::sysfs::ScsiDisk;
use provisioning::check::{Check, Finding, Status, check};
use provisioning::host::Host;
use provisioning::multipath::MultipathPolicy;
use provisioning::observe::{Capacity, observe};
use provisioning::retention;
use provisioning::spec::{Desired, Profile};

const IDS: [&str; 26] = [
    "platform",
    "root",
    "memory",
    "cores",
    "scsi-ids",
    "duplicate-ids",
    "enable-uuid",
    "disk-count",
    "packages",
    "filesystems",
    "multipath",
    "lvm",
    "retention",
    "retention-mount-point",
    "retention-exclusive",
    "retention-unlocked",
    "retention-sound",
    "retention-not-system",
    "retention-not-fat",
    "retention-capacity",
    "tuning",
    "io-uring",
    "hosts-file",
    "static-address",
    "vm-tools",
    "kernel-updates",
];

fn recorded_host(name: &str) -> Host {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("hosts").join(format!("{name}.json"));
    Host::recorded(serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
}

fn names() -> Vec<String> {
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("hosts")).unwrap();
    let stem = |entry: fs::DirEntry| entry.path().file_stem().unwrap().to_str().unwrap().to_owned();
    files.map(|entry| stem(entry.unwrap())).collect()
}

fn check_host(host: &Host, profile: Profile) -> Check {
    let hold_kernel_updates = profile == Profile::Asr;
    let desired = Desired { profile, hold_kernel_updates, ..desired() };
    check(&observe(host, &desired).unwrap(), &desired)
}

/// The worst status for each id.
fn statuses(findings: &[Finding]) -> BTreeMap<&'static str, Status> {
    let mut worst = BTreeMap::new();
    for finding in findings {
        let known = worst.entry(finding.id).or_insert(finding.status);
        *known = finding.status.max(*known);
    }
    worst
}

fn ids_with(host: &Host, status: Status) -> Vec<&'static str> {
    let found = statuses(&check_host(host, Profile::Generic).findings);
    IDS.into_iter().filter(|id| found[id] == status).collect()
}

#[test]
fn every_id_is_there_on_every_host_and_no_other() {
    let expected: BTreeSet<&str> = IDS.into();
    assert!(names().len() >= 14);
    for name in names() {
        for profile in [Profile::Generic, Profile::Asr] {
            let checked = check_host(&recorded_host(&name), profile);
            let found: BTreeSet<&str> = checked.findings.iter().map(|one| one.id).collect();
            assert_eq!(found, expected, "{name}");
        }
    }
}

#[test]
fn what_does_not_pass_has_a_hint_and_a_host_is_ready_when_nothing_fails() {
    for name in names() {
        for profile in [Profile::Generic, Profile::Asr] {
            let checked = check_host(&recorded_host(&name), profile);
            for finding in &checked.findings {
                let needs_hint = finding.status >= Status::Warn;
                assert_eq!(needs_hint, !finding.hint.is_empty(), "{name}: {finding:?}");
                assert!(!finding.subject.is_empty() && !finding.message.is_empty(), "{finding:?}");
                assert!(!finding.hint.contains('\n') && !finding.message.contains('\n'));
            }
            let fails = checked.findings.iter().any(|one| one.status == Status::Fail);
            assert_eq!(checked.ready, !fails, "{name}");
        }
    }
}

#[test]
fn each_recorded_host_fails_for_its_own_reasons() {
    let unprepared = ["packages", "multipath", "lvm", "retention", "tuning"];
    let with = |more: &[&'static str]| {
        let all: BTreeSet<&str> = unprepared.iter().chain(more).copied().collect();
        IDS.into_iter().filter(|id| all.contains(id)).collect::<Vec<_>>()
    };
    let rows: [(&str, Vec<&str>); 8] = [
        ("vmware-ready", vec![]),
        ("vmware-enabled", with(&["vm-tools"])),
        ("debian-12", with(&["vm-tools"])),
        ("centos-7", with(&["vm-tools"])),
        (
            "vmware-disabled",
            IDS.into_iter()
                .filter(|id| {
                    ["scsi-ids", "enable-uuid", "multipath", "lvm", "retention", "tuning"]
                        .contains(id)
                })
                .collect(),
        ),
        (
            "vmware-mixed",
            IDS.into_iter()
                .filter(|id| {
                    ["scsi-ids", "enable-uuid", "multipath", "lvm", "retention", "tuning"]
                        .contains(id)
                })
                .collect(),
        ),
        ("clones", vec!["duplicate-ids", "multipath", "lvm", "retention", "tuning"]),
        (
            "malformed-page",
            vec!["scsi-ids", "enable-uuid", "multipath", "lvm", "retention", "tuning"],
        ),
    ];
    for (name, expected) in rows {
        assert_eq!(ids_with(&recorded_host(name), Status::Fail), expected, "{name}");
    }
}

fn with_files(machine: &Machine, files: &[(&str, &str)]) -> Vec<(&'static str, Status)> {
    files.iter().for_each(|(path, text)| machine.tree().put_text(path, *text));
    let found = statuses(&check_host(&machine.host(), Profile::Generic).findings);
    found.into_iter().filter(|(_, status)| *status >= Status::Warn).collect()
}

#[test]
fn each_requirement_is_missed_alone() {
    let rows: [(&str, &str, &str, Status); 9] = [
        ("/etc/os-release", "ID=arch\n", "platform", Status::Fail),
        ("/proc/self/status", "Uid:\t1000\t1000\t1000\t1000\n", "root", Status::Warn),
        ("/proc/meminfo", "MemTotal: 2000000 kB\n", "memory", Status::Warn),
        ("/proc/cpuinfo", "processor\t: 0\n", "cores", Status::Warn),
        ("/etc/hosts", "127.0.0.1 localhost\n", "hosts-file", Status::Warn),
        ("/etc/udev/rules.d/61-mtctl.rules", "", "tuning", Status::Fail),
        ("/sys/block/sdc/device/timeout", "30\n", "tuning", Status::Fail),
        ("/etc/lvm/lvmlocal.conf", "", "lvm", Status::Fail),
        ("/etc/fstab", "", "retention", Status::Fail),
    ];
    for (path, text, id, status) in rows {
        let machine = recorded::ready(Distribution::Debian12);
        let path = machine.host().machine().canonical(path).unwrap();
        let missed = with_files(&machine, &[(path.to_str().unwrap(), text)]);
        assert!(missed.contains(&(id, status)), "{id}: {missed:?}");
    }
}

#[test]
fn the_retention_volume_is_judged_by_six_criteria() {
    let ready = "/ /mnt/retention rw,noatime shared:1 - ext4 /dev/sdb rw";
    let rows = [
        ("/ /srv rw shared:1 - ext4 /dev/sdb rw", "retention-exclusive"),
        ("/ /mnt/retention ro,noatime shared:1 - ext4 /dev/sdb rw", "retention-unlocked"),
        ("/ /mnt/retention rw,noatime shared:1 - vfat /dev/sdb rw", "retention-not-fat"),
    ];
    for (row, id) in rows {
        let machine = recorded::ready(Distribution::Debian12);
        let host = machine.host();
        let mounts = host.machine().attribute("/proc/self/mountinfo").unwrap();
        assert!(mounts.contains(ready), "{mounts}");
        let changed = match id {
            "retention-exclusive" => format!("{mounts}\n99 31 8:16 {row}\n"),
            _ => mounts.replace(ready, row),
        };
        machine.tree().put_text("/proc/self/mountinfo", changed + "\n");
        let found = statuses(&check_host(&host, Profile::Generic).findings);
        assert_eq!(found[id], Status::Fail, "{id}");
    }
    let machine = recorded::ready(Distribution::Debian12);
    let mounts = machine.host().machine().attribute("/proc/self/mountinfo").unwrap();
    let moved = mounts.replace("8:16 / /mnt/retention", "8:2 / /mnt/retention");
    let moved = moved.replace("ext4 /dev/sdb", "ext4 /dev/sda2");
    machine.tree().put_text("/proc/self/mountinfo", moved + "\n");
    let found = statuses(&check_host(&machine.host(), Profile::Generic).findings);
    assert_eq!(found["retention-not-system"], Status::Fail);
    assert_eq!(found["retention"], Status::Fail);
}

#[test]
fn an_ext4_that_goes_on_after_errors_or_has_met_some_is_found_and_explained() {
    let machine = recorded::ready(Distribution::Debian12);
    let found = statuses(&check_host(&machine.host(), Profile::Generic).findings);
    assert_eq!((found["retention"], found["retention-sound"]), (Status::Pass, Status::Pass));

    machine.tree().put_text(ext4_options("sdb"), "rw\nerrors=continue\n");
    machine.tree().put_text("/sys/fs/ext4/sdb/errors_count", "2\n");
    let checked = check_host(&machine.host(), Profile::Generic);
    let failed = checked.findings.iter().filter(|one| one.status == Status::Fail);
    let failed: Vec<_> = failed.map(|one| format!("{}: {}", one.id, one.message)).collect();
    assert_eq!(
        failed,
        [
            "retention: not in place; missing: run mount -o remount,errors=remount-ro \
             /mnt/retention (it stops at an error, and loses nothing)",
            "retention-sound: 2 errors since its filesystem was last checked",
        ]
    );
    let sound = checked.findings.iter().find(|one| one.id == "retention-sound").unwrap();
    let order =
        "umount /mnt/retention && fsck.ext4 -y /dev/sdb; [ $? -le 1 ] && mount /mnt/retention";
    assert_eq!(sound.hint, order);
}

#[test]
fn the_procedures_numbers_are_the_rule_in_its_profile_only() {
    let machine = recorded::ready(Distribution::Debian12);
    machine.tree().put_text("/proc/meminfo", "MemTotal: 2000000 kB\n");
    machine.tree().put_text("/proc/cpuinfo", "processor\t: 0\n");
    for (profile, status) in [(Profile::Generic, Status::Warn), (Profile::Asr, Status::Fail)] {
        let checked = check_host(&machine.host(), profile);
        let found = statuses(&checked.findings);
        assert_eq!((found["memory"], found["cores"]), (status, status));
        assert_eq!(checked.ready, profile == Profile::Generic);
    }
    machine.tree().put_text("/sys/class/dmi/id/sys_vendor", "QEMU\n");
    let asr = statuses(&check_host(&machine.host(), Profile::Asr).findings);
    assert_eq!(asr["platform"], Status::Fail);
    assert_eq!(asr["kernel-updates"], Status::Fail);
}

#[test]
fn leased_addresses_and_a_sixty_first_disk_are_told() {
    let found = statuses(&check_host(&recorded_host("sixty-disks"), Profile::Generic).findings);
    assert_eq!(found["disk-count"], Status::Pass);
    let warned = ids_with(&recorded_host("greedy-multipath"), Status::Warn);
    assert!(!warned.is_empty(), "{warned:?}");
    let lvm = check_host(&recorded_host("lvm-root"), Profile::Generic);
    let platform: Vec<_> = lvm.findings.iter().filter(|one| one.id == "platform").collect();
    assert!(platform.iter().any(|one| one.message.contains("LVM")), "{platform:?}");
}

#[test]
fn the_retention_disk_does_not_count_as_an_attached_one() {
    let count = |machine: &Machine| {
        let checked = check_host(&machine.host(), Profile::Generic);
        let finding = checked.findings.iter().find(|one| one.id == "disk-count").unwrap();
        let words: Vec<&str> = finding.message.split(' ').collect();
        words[0].parse::<usize>().unwrap()
    };
    let fresh = count(&recorded::fresh(Distribution::Debian12));
    assert_eq!(count(&recorded::ready(Distribution::Debian12)), fresh - 1);
}

/// The findings with this id that did not pass, each with its subject, message and hint.
fn missed(machine: &Host, desired: &Desired, id: &str) -> Vec<[String; 3]> {
    let checked = check(&observe(machine, desired).unwrap(), desired);
    let missed = checked.findings.into_iter().filter(|one| one.id == id);
    let missed = missed.filter(|one| one.status >= Status::Warn);
    missed.map(|one| [one.subject, one.message, one.hint]).collect()
}

#[test]
fn a_disk_in_the_lvm_devices_file_is_told_by_whatever_id_it_is_listed() {
    for name in ["lvm-devices-devname", "lvm-devices-serial"] {
        let told = missed(&recorded_host(name), &desired(), "lvm");
        let of_disk = [
            "/dev/sdc".to_owned(),
            "listed in /etc/lvm/devices/system.devices".to_owned(),
            "lvmdevices --deldev /dev/sdc".to_owned(),
        ];
        assert!(told.contains(&of_disk), "{name}: {told:?}");
    }
    let machine = recorded::ready(Distribution::Rocky9);
    machine.partition("sdd", 1, 1 << 30, mt_tests::machine::filesystem("LVM2_member", "x"));
    let rows = [
        "IDTYPE=sys_wwid IDNAME=naa.6000c293e4b5a1b2c3d4e5f60718293d",
        "IDTYPE=wwid_naa IDNAME=naa.3000000100000001",
        "IDTYPE=wwid_t10 IDNAME=t10.6000c293e4b5a1b2c3d4e5f60718293d",
        "IDTYPE=sys_serial IDNAME=6000c293e4b5a1b2c3d4e5f60718293d",
        "IDTYPE=devname IDNAME=/dev/sdd",
        "IDTYPE=devname IDNAME=/dev/sdd1 PART=1",
        "IDTYPE=sys_wwid IDNAME=. DEVNAME=/dev/sdd1",
    ];
    for row in rows {
        machine
            .tree()
            .put_text("/etc/lvm/devices/system.devices", format!("VERSION=1.1.2\n{row}\n"));
        let told = missed(&machine.host(), &desired(), "lvm");
        assert!(told.iter().any(|one| one[2] == "lvmdevices --deldev /dev/sdd"), "{row}: {told:?}");
    }
    let foreign = "IDTYPE=sys_serial IDNAME=nobodys DEVNAME=/dev/sdd\n";
    machine.tree().put_text("/etc/lvm/devices/system.devices", foreign);
    let told = missed(&machine.host(), &desired(), "lvm");
    assert!(told.iter().all(|one| one[0] == "LVM, MD, udisks"), "{told:?}");
}

#[test]
fn a_foreign_volume_group_that_is_active_fails_and_is_given_back_by_the_hint() {
    let machine = recorded::ready(Distribution::Debian12);
    assert_eq!(missed(&machine.host(), &desired(), "lvm"), [[""; 3]; 0]);
    machine.map("customer-data", 7, "LVM-bbbb", &["sdd"]);
    let checked = check_host(&machine.host(), Profile::Generic);
    assert!(!checked.ready);
    let told = missed(&machine.host(), &desired(), "lvm");
    assert_eq!(told[0][0], "customer");
    assert!(told[0][2].starts_with("to release it: vgchange -an customer --config "), "{told:?}");
}

#[test]
fn under_require_a_lost_path_is_told() {
    let require = Desired { multipath: MultipathPolicy::Require, ..desired() };
    let of_map = |machine: &Machine, desired: &Desired| {
        let told = missed(&machine.host(), desired, "multipath");
        told.into_iter().filter(|one| one[0].starts_with("mpath")).collect::<Vec<_>>()
    };
    let machine = recorded::two_paths();
    assert_eq!(of_map(&machine, &require), [[""; 3]; 0]);
    let state = machine.host().machine().canonical("/sys/block/sde/device/state").unwrap();
    machine.tree().put_text(&state, "transport-offline\n");
    let told = of_map(&machine, &require);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0][1], "its path /dev/sde is transport-offline");
    assert!(of_map(&machine, &desired()).is_empty(), "nobody asked for two paths");
    machine.tree().put_text(&state, "running\n");
    // A missing path is noticed only if another map of the same model has it.
    let uuid = "mpath-360000000000000000e00000000010002";
    machine.map("mpathb", 1, uuid, &["sdb"]);
    assert_eq!(of_map(&machine, &require), [[""; 3]; 0], "another model may have one path");
    machine.map("mpathc", 2, "mpath-360000000000000000e00000000010003", &["sdc", "sdd"]);
    let told = of_map(&machine, &require);
    assert_eq!(told.iter().map(|one| &*one[0]).collect::<Vec<_>>(), ["mpathb"]);
    assert_eq!(told[0][1], "has 1 path, where another map has 2");
}

#[test]
fn a_disk_without_an_id_is_mended_as_its_hypervisor_has_it() {
    let machine = recorded::without_ids();
    let hint = |machine: &Machine| missed(&machine.host(), &desired(), "scsi-ids")[0][2].clone();
    assert!(hint(&machine).contains("disk.EnableUUID"));
    let machine = Machine::new(Distribution::Debian12);
    let disk = ScsiDisk::vmware("sda", "0:0:0:0", 1 << 40, None);
    let inquiry = ["QEMU    ", "QEMU HARDDISK   ", "2.5+"].map(str::to_owned);
    machine.attach(&ScsiDisk { inquiry, ..disk });
    let rows = [
        ("QEMU", "Standard PC", "serial= of QEMU"),
        ("Red Hat", "KVM", "serial= of QEMU"),
        ("Microsoft Corporation", "Virtual Machine", "VHDX"),
        ("Dell Inc.", "PowerEdge R640", "sg_inq"),
        ("VMware, Inc.", "VMware Virtual Platform", "sg_inq"),
    ];
    for (vendor, product, expected) in rows {
        machine.tree().put_text("/sys/class/dmi/id/sys_vendor", format!("{vendor}\n"));
        machine.tree().put_text("/sys/class/dmi/id/product_name", format!("{product}\n"));
        let hint = hint(&machine);
        assert!(hint.contains(expected) && !hint.contains("EnableUUID"), "{vendor}: {hint}");
    }
}

#[test]
fn only_attached_disks_count() {
    let checked = check_host(&recorded_host("block-device-zoo"), Profile::Generic);
    let count = checked.findings.iter().find(|one| one.id == "disk-count").unwrap();
    // xvdb, mmcblk0, dasda, fioa and skd0.
    assert_eq!(count.message, "5 attached; at most 60 are supported");
    let checked = check_host(&recorded_host("nvme-multipath"), Profile::Generic);
    let found = statuses(&checked.findings);
    assert_eq!(found["duplicate-ids"], Status::Pass);
    let count = checked.findings.iter().find(|one| one.id == "disk-count").unwrap();
    assert_eq!(count.message, "1 attached; at most 60 are supported");
}

/// As after growing a disk without its file system.
#[test]
fn capacity_is_that_of_the_file_system_not_of_its_disk() {
    let desired = desired();
    let mut observed = observe(&recorded::ready(Distribution::Debian12).host(), &desired).unwrap();
    let blocks = |gib: u64| Some(Capacity { block_bytes: 4096, blocks: gib << 18 });
    for (capacity, status, message, hint) in [
        (blocks(1000), Status::Pass, "1000 GiB", ""),
        (blocks(500), Status::Warn, "has 500 GiB, but its disk 1 TiB: grow it", "resize2fs"),
        (None, Status::Pass, "1 TiB", ""),
    ] {
        observed.retention_capacity = capacity;
        let checked = check(&observed, &desired);
        let found = checked.findings.iter().find(|one| one.id == "retention-capacity").unwrap();
        assert_eq!((found.status, found.message.as_str()), (status, message));
        assert!(found.hint.starts_with(hint), "{}", found.hint);
    }
    // The file system must have a tenth of the size of the attached disks.
    observed.disks.iter_mut().for_each(|disk| disk.size_bytes = disk.size_bytes.min(1 << 40));
    observed.retention_capacity = blocks(100);
    let warned = retention::warning(&observed, &desired, &[]).unwrap();
    assert!(warned.contains("(100 GiB) is smaller than a tenth"), "{warned}");
}
