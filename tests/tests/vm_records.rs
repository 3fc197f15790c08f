//! Hosts recorded in QEMU machines with real SCSI disks (tests/hosts/vm-*.json): what the kernel,
//! udev, LVM, mdadm and multipathd really leave behind is interpreted as it was there.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use provisioning::check::{Status, check};
use provisioning::disk::Disk;
use provisioning::host::Host;
use provisioning::observe::{Observed, observe};
use provisioning::plan::{Standing, plan};
use provisioning::spec::{Desired, DiskName};
use provisioning::step::StepId;

fn desired() -> Desired {
    Desired { skip: BTreeSet::from([StepId::Packages]), ..Desired::default() }
}

fn observed(name: &str) -> Observed {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("hosts").join(format!("{name}.json"));
    let host = Host::recorded(serde_json::from_slice(&fs::read(path).unwrap()).unwrap());
    observe(&host, &desired()).unwrap()
}

/// One line for each disk: path, address, controller, identity, WWID, sector, users, purposes.
fn row(disk: &Disk) -> String {
    let json = serde_json::to_value(disk).unwrap();
    let word = |key: &str| json[key].as_str().unwrap_or("-").to_owned();
    let words = |key: &str| {
        let all = json[key].as_array().unwrap().iter().flat_map(|value| value.as_str());
        all.collect::<Vec<_>>().join(",")
    };
    format!(
        "{} {} {} {} {} {} [{}] [{}]",
        word("path"),
        word("scsi_address"),
        word("controller"),
        word("identity"),
        word("wwid"),
        json["sector_bytes"],
        words("used_by"),
        words("eligible_for")
    )
}

fn rows(name: &str) -> Vec<String> {
    observed(name).disks.iter().filter(|disk| disk.is_listed_by_default()).map(row).collect()
}

fn status(name: &str, id: &str) -> Status {
    let check = check(&observed(name), &desired());
    check.findings.iter().find(|finding| finding.id == id).unwrap().status
}

/// The reason why `path` cannot become the retention disk.
fn refusal(name: &str, path: &str) -> String {
    let number = |disk: &&Disk| disk.path == Path::new(path);
    let observed = observed(name);
    let disk = observed.disks.iter().find(number).unwrap();
    provisioning::guard::may_format(disk, &observed.disks, &observed.groups, false, None)
        .unwrap_err()
        .reason
}

#[test]
fn disks_with_an_id_tell_it_by_page_83() {
    let expected = "/dev/sda 0:0:0:0 vmw_pvscsi page83 naa.6000c293e4b5a1b2c3d4e5f607182901 512 \
                    [] [retention,target]";
    assert_eq!(rows("vm-enable-uuid"), [expected]);
    assert_eq!(status("vm-enable-uuid", "enable-uuid"), Status::Pass);
}

#[test]
fn disks_without_an_id_are_a_failed_finding() {
    let disk = |name, target| {
        format!("/dev/{name} 0:0:{target}:0 vmw_pvscsi none - 512 [] [retention,target]")
    };
    assert_eq!(rows("vm-no-enable-uuid"), [disk("sda", 0), disk("sdb", 1)]);
    for id in ["scsi-ids", "enable-uuid"] {
        assert_eq!(status("vm-no-enable-uuid", id), Status::Fail, "{id}");
    }
}

#[test]
fn a_mixed_host_and_sectors_of_4096_bytes() {
    let expected = [
        "/dev/sda 0:0:0:0 vmw_pvscsi page83 naa.6000c293e4b5a1b2c3d4e5f607182907 512 \
         [] [retention,target]",
        "/dev/sdb 0:0:1:0 vmw_pvscsi none - 512 [] [retention,target]",
        "/dev/sdc 0:0:2:0 vmw_pvscsi page83 naa.6000c293e4b5a1b2c3d4e5f607182906 4096 \
         [filesystem:xfs] [target]",
    ];
    assert_eq!(rows("vm-mixed"), expected);
    assert_eq!(status("vm-mixed", "enable-uuid"), Status::Fail);
}

#[test]
fn two_paths_are_used_by_their_map_and_refused() {
    let wwid = "36000c293e4b5a1b2c3d4e5f607182907";
    let path = |name, address| {
        format!(
            "/dev/{name} {address} vmw_pvscsi page83 naa.{} 512 \
             [multipath:{wwid}] []",
            &wwid[1..]
        )
    };
    let rows = rows("vm-multipath-map");
    assert_eq!([&rows[0], &rows[2]], [&path("sda", "0:0:0:0"), &path("sdc", "1:0:0:0")]);
    let map = format!("/dev/mapper/{wwid} - - page83 naa.{} 512 [] [retention,target]", &wwid[1..]);
    assert_eq!(rows[3], map);
    assert_eq!(status("vm-multipath-map", "duplicate-ids"), Status::Pass);
    assert!(refusal("vm-multipath-map", "/dev/sda").contains("is a path of the multipath map"));
}

#[test]
fn disks_under_active_volumes_and_arrays_are_refused_by_their_holder() {
    let cases = [("sda", "lvm:vgcust-data"), ("sdb", "md:md0"), ("sdc", "md:md0")];
    for ((name, holder), row) in cases.into_iter().zip(rows("vm-lvm-md")) {
        assert!(row.starts_with(&format!("/dev/{name} ")), "{row}");
        assert!(row.ends_with(" []"), "{row}");
        let reason = refusal("vm-lvm-md", &format!("/dev/{name}"));
        assert_eq!(reason, format!("/dev/{name} is in use ({holder})"));
    }
}

/// It was recorded before the row said what ext4 has to do on an error, and before the volume had a
/// udev rule.
#[test]
fn what_was_prepared_needs_nothing_more_than_what_row_and_rule_say_since() {
    let plan = plan(&observed("vm-prepared"), &desired());
    let to_do = plan.steps.iter().filter(|step| matches!(step.standing, Standing::ToDo(_)));
    let to_do: Vec<_> = to_do.flat_map(|step| &step.actions).collect();
    let [provisioning::step::Action::WriteFile(rule), runs @ .., row] = to_do.as_slice() else {
        panic!("{to_do:?}");
    };
    assert_eq!(rule.path, std::path::Path::new("/etc/udev/rules.d/62-mtctl-retention.rules"));
    assert!(runs.iter().all(|run| run.to_string().starts_with("run udevadm ")), "{runs:?}");
    let provisioning::step::Action::WriteFile(change) = row else { panic!("{row:?}") };
    let before = change.before.as_deref().unwrap();
    assert_eq!(change.after, before.replace("noatime,", "noatime,errors=remount-ro,"));
}

/// The second plan was different on a real SCSI disk: a mounted disk is the host's own.
#[test]
fn the_policy_for_a_disk_to_be_formatted_is_that_of_the_mounted_one() {
    let wwid = DiskName::parse("naa.6000c293e4b5a1b2c3d4e5f607182901").unwrap();
    let desired = Desired { retention_disk: Some(wwid), ..desired() };
    let plan = plan(&observed("vm-enable-uuid"), &desired);
    let step = plan.steps.iter().find(|step| step.id == StepId::Multipath).unwrap();
    let after = observed("vm-prepared");
    let file = "/etc/multipath/conf.d/mtctl.conf";
    let planned = step.actions.iter().find_map(|action| match action {
        provisioning::step::Action::WriteFile(change) if change.path.as_os_str() == file => {
            Some(change.after.as_str())
        }
        _ => None,
    });
    assert_eq!(planned, after.file(file));
}
