//! The recorded hosts in tests/hosts: the files match what their makers make (MTCTL_UPDATE=1
//! rewrites them), and the inventory of each matches the kernel and scsi_id.

#![allow(clippy::unwrap_used, reason = "every function here belongs to a test")]

use std::fs;
use std::path::{Path, PathBuf};

use mt_tests::recorded::{self, naa};
use mt_tests::vpd;
use provisioning::disk::{Disk, IdentitySource, Purpose, inventory};
use provisioning::groups::{self, Groups};
use provisioning::guard::may_format;
use provisioning::host::{Host, RecordedHost};
use provisioning::observe;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hosts").join(format!("{name}.json"))
}

fn load(name: &str) -> Host {
    let text = fs::read(path(name)).unwrap();
    Host::recorded(serde_json::from_slice(&text).unwrap())
}

fn disks(name: &str) -> Vec<Disk> {
    let host = load(name);
    let mounts = observe::mount_table(&host).unwrap();
    inventory::observe(
        &host,
        mounts.mounts(),
        &observe::swaps(&host).unwrap(),
        &groups::observe(&host, mounts.mounts()),
        inventory::Signatures::Direct,
    )
}

/// One line for each disk: path, address, controller, identity, WWID, users, purposes, map.
fn rows(name: &str) -> Vec<String> {
    let listed = disks(name).into_iter().filter(Disk::is_listed_by_default);
    listed.map(|disk| row(&disk)).collect()
}

fn row(disk: &Disk) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let json = serde_json::to_value(disk).unwrap();
    let words = |key: &str| {
        let all: Vec<&str> =
            json[key].as_array().unwrap().iter().flat_map(|v| v.as_str()).collect();
        if all.is_empty() { "-".to_owned() } else { all.join(",") }
    };
    [
        disk.path.display().to_string(),
        text(&disk.scsi_address),
        text(&disk.controller),
        json["identity"].as_str().unwrap().to_owned(),
        disk.wwid.as_ref().map_or("-".to_owned(), ToString::to_string),
        words("used_by"),
        words("eligible_for"),
        text(&disk.multipath),
    ]
    .join(" ")
}

#[test]
fn the_files_are_what_their_makers_make() {
    for (name, record) in recorded::all() {
        let made = serde_json::to_string_pretty(&record).unwrap() + "\n";
        if std::env::var_os("MTCTL_UPDATE").is_some() {
            fs::write(path(name), &made).unwrap();
        }
        let read: RecordedHost =
            serde_json::from_str(&fs::read_to_string(path(name)).unwrap()).unwrap();
        assert!(read == record, "{name}.json is out of date: MTCTL_UPDATE=1 writes it anew");
    }
}

#[test]
fn an_identity_is_what_the_kernel_and_scsi_id_said() {
    let mut compared = 0;
    for (name, _) in recorded::all() {
        let host = load(name);
        let udev = host.udev_block_devices().unwrap();
        for disk in disks(name).iter().filter(|disk| disk.identity == IdentitySource::Page83) {
            let kernel = host.machine().attribute(format!("/sys/block/{}/device/wwid", disk.name));
            let wwid = disk.wwid.as_ref().unwrap();
            if let Some(kernel) = kernel {
                assert_eq!(wwid.as_str(), kernel, "{name} {}", disk.name);
                let serial = udev[&disk.name].get("ID_SERIAL");
                assert_eq!(wwid.scsi_id_text().as_ref(), serial, "{name} {}", disk.name);
                compared += 1;
            }
        }
    }
    assert!(compared > 90, "only {compared} disks were compared");
}

#[test]
fn the_pages_of_the_maker_are_the_recorded_bytes() {
    let recorded = "0083004802010024\
        3630303063323933653462356131623263336434653566363037313832393361\
        00000000010300083000000100000001010300106000c293e4b5a1b2c3d4e5f60718293a";
    assert_eq!(vpd::page83(naa(0)), vpd::bytes(recorded));
    let recorded =
        "00800024202020203630303063323933653462356131623263336434653566363037313832393361";
    assert_eq!(vpd::page80(naa(0)), vpd::bytes(recorded));
}

#[test]
fn the_inventory_tells_who_uses_a_disk_and_what_it_is_fit_for() {
    let map = "naa.6000c293e4b5a1b2c3d4e5f60718293a";
    let system = "system,swap,mounted:/boot,mounted:/,partition-table:gpt";
    let iet = "naa.60000000000000000e0000000001000";
    let path = "multipath:mpatha,filesystem:mpath_member - mpatha";
    assert_eq!(
        rows("two-paths"),
        [
            format!("/dev/sda 0:0:0:0 vmw_pvscsi page83 {map} {path}"),
            format!("/dev/sdb 0:0:2:0 vmw_pvscsi page83 {iet}2 - retention,target -"),
            format!("/dev/sdc 0:0:3:0 vmw_pvscsi page83 {iet}3 - retention,target -"),
            format!("/dev/sdd 0:0:4:0 vmw_pvscsi page83 {iet}4 - retention,target -"),
            format!("/dev/sde 1:0:0:0 vmw_pvscsi page83 {map} {path}"),
            "/dev/sdf 1:0:5:0 vmw_pvscsi none - - retention,target -".to_owned(),
            format!("/dev/vda - virtio_blk not-scsi - {system} - -"),
            format!("/dev/mapper/mpatha - - page83 {map} - retention,target mpatha"),
        ]
    );
    let naa = |last: char| format!("vmw_pvscsi page83 naa.6000c293e4b5a1b2c3d4e5f60718293{last}");
    assert_eq!(
        rows("lvm-root")[2..],
        [
            format!("/dev/sdc 0:0:2:0 {} lvm-member target -", naa('c')),
            format!("/dev/sdd 0:0:3:0 {} lvm:customer-data,lvm-member - -", naa('d')),
            format!("/dev/sde 0:0:4:0 {} md:md127,md-member - -", naa('e')),
            format!("/dev/sdf 0:0:5:0 {} md:md127,md-member - -", naa('f')),
        ]
    );
    let eui = |index: u32| format!("eui.81ab6c4d0000000{index}000c2969b1b2c3d4");
    assert_eq!(
        rows("nvme")[1..],
        [
            format!("/dev/nvme0n1 - nvme not-scsi {} - retention,target -", eui(1)),
            format!("/dev/nvme0n2 - nvme not-scsi {} - retention,target -", eui(2)),
        ]
    );
    assert_eq!(
        rows("vmware-disabled")[1..3],
        [
            "/dev/sdb 0:0:1:0 vmw_pvscsi none - - target -",
            "/dev/sdc 0:0:2:0 vmw_pvscsi none - partition-table:gpt target -",
        ]
    );
    assert_eq!(rows("malformed-page")[1], "/dev/sdb 0:0:1:0 vmw_pvscsi none - - target -");
    assert_eq!(rows("sixty-disks").len(), 61);
}

#[test]
fn a_malformed_page_is_told_and_the_weaker_page_is_not_tried() {
    let disks = disks("malformed-page");
    let disk = disks.iter().find(|disk| disk.name == "sdb").unwrap();
    let problem = disk.problem.as_deref().unwrap();
    assert!(problem.starts_with("VPD page 0x83: "), "{problem}");
    assert_eq!((disk.identity, &disk.wwid), (IdentitySource::None, &None));
}

#[test]
fn a_serial_number_that_namespaces_share_identifies_nothing() {
    let disks = disks("nvme");
    let both: Vec<&Disk> = disks.iter().filter(|disk| disk.name.starts_with("nvme")).collect();
    assert!(both.iter().all(|disk| disk.serial.as_deref() == Some("VMware NVME_0000")));
    assert_ne!(both[0].known_by, both[1].known_by);
}

#[test]
fn the_host_that_was_recorded_as_it_is_tells_of_its_disk() {
    assert_eq!(rows("debian-12-virtio"), ["/dev/vda - virtio_blk not-scsi - system,mounted:/ - -"]);
}

#[test]
fn a_fault_in_one_designator_or_serial_number_costs_no_disk_its_identity() {
    let disk = |name: &str, kernel_name: &str| {
        disks(name).into_iter().find(|disk| disk.name == kernel_name).unwrap()
    };
    let ssd = "t10.ATA_TEAM_T253X4TB_TPBF000000000000000";
    let fault = "VPD page 0x83: the designator at byte 100 is malformed: \
                 NAA designator that was left blank";
    for (name, serial) in [("sdb", 1), ("sdc", 2)] {
        let disk = disk("sata-wwn-zero", name);
        assert_eq!(disk.wwid.unwrap().as_str(), format!("{ssd}{serial}"));
        assert_eq!((disk.problem, disk.notes), (None, vec![fault.to_owned()]));
    }
    assert_eq!(
        rows("sas-target-name")[1],
        "/dev/sdb 7:0:0:0 ahci page83 naa.5000c500aa549d1f - retention,target -"
    );
    assert!(disk("sas-target-name", "sdb").notes.is_empty());
    let bridge = disk("usb-serial-binary", "sdb");
    assert_eq!(bridge.wwid.unwrap().as_str(), "naa.3044564198835000");
    assert_eq!(bridge.notes, ["VPD page 0x80: the serial number has the byte 0x12 at 6"]);
    assert_eq!(bridge.serial, None);
    assert_eq!(bridge.eligible_for, [Purpose::Retention, Purpose::Target]);
}

#[test]
fn the_hidden_paths_of_an_nvme_namespace_are_no_disks() {
    let names: Vec<String> = disks("nvme-multipath").into_iter().map(|disk| disk.name).collect();
    assert_eq!(names, ["sda", "nvme0n1"]);
    let host = load("nvme-multipath");
    let wwids: Vec<String> =
        inventory::wwids(&host).iter().map(|(path, _)| path.display().to_string()).collect();
    assert_eq!(wwids, ["/dev/nvme0n1", "/dev/sda"]);
}

#[test]
fn stacked_devices_network_disks_memory_and_boot_areas_are_told_and_not_offered() {
    let found: Vec<String> = disks("block-device-zoo")
        .iter()
        .map(|disk| {
            let json = serde_json::to_value(disk).unwrap();
            format!(
                "{} {} {} {}",
                disk.name,
                json["kind"].as_str().unwrap(),
                disk.is_listed_by_default(),
                json["eligible_for"]
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            "sda scsi true []",
            "zd0 stacked true [\"target\"]",
            "dm-9 mapped false []",
            "fioa other true [\"retention\",\"target\"]",
            "nbd0 network false []",
            "nbd1 network true []",
            "rbd0 network true [\"target\"]",
            "skd0 other true [\"retention\",\"target\"]",
            "xvdb other true [\"retention\",\"target\"]",
            "dasda other true [\"retention\",\"target\"]",
            "drbd0 stacked true [\"target\"]",
            "pmem0 memory false []",
            "zram0 memory false []",
            "bcache0 stacked true [\"target\"]",
            "mmcblk0 other true [\"retention\",\"target\"]",
            "mmcblk0boot0 boot-area false []",
            "mmcblk0boot1 boot-area false []",
        ]
    );
}

#[test]
fn what_is_no_attached_disk_is_refused_for_retention_by_name_with_the_reason() {
    let all = disks("block-device-zoo");
    let refusal = |name: &str| {
        let disk = all.iter().find(|disk| disk.name == name).unwrap();
        may_format(disk, &all, &Groups::default(), true, None).map_err(|refusal| refusal.reason)
    };
    for (name, reason) in [
        ("drbd0", "/dev/drbd0 is made of other disks"),
        ("zd0", "/dev/zd0 is made of other disks"),
        ("dm-9", "/dev/mapper/customer-luks is made of other disks"),
        ("rbd0", "/dev/rbd0 is another host's disk"),
        ("pmem0", "/dev/pmem0 is memory, not a disk"),
        ("mmcblk0boot0", "/dev/mmcblk0boot0 is an area of the machine's firmware"),
    ] {
        assert_eq!(refusal(name), Err(reason.to_owned()));
    }
    for name in ["xvdb", "dasda", "mmcblk0", "fioa", "skd0"] {
        assert!(refusal(name).is_ok(), "{name}");
    }
}
