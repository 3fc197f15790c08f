//! Files written by others, as found in the field: bytes that are not UTF-8, rows that name the
//! retention volume differently, a configuration that undoes ours.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

use std::ops::ControlFlow;

use mt_tests::machine::{Distribution, Machine};
use mt_tests::recorded::{self, desired, fresh};
use provisioning::check::{self, Finding, Status};
use provisioning::host::{Host, Node, RecordedHost};
use provisioning::multipath::MultipathPolicy;
use provisioning::observe::observe;
use provisioning::plan::{Standing, plan};
use provisioning::prepare::{Preparation, Purpose};
use provisioning::spec::Desired;
use provisioning::step::StepId;

const FILES: [(&str, &[u8]); 6] = [
    (
        "/etc/fstab",
        b"# Sicherungsplatte im Geb\xE4ude 3\nLABEL=x /srv/d\xE9p\xF4t ext4 noauto 0 2\n",
    ),
    ("/etc/hosts", b"127.0.0.1 localhost\n# Rechner im B\xFCro, r\xE9seau local\n"),
    (
        "/etc/lvm/lvm.conf",
        b"# ajout\xE9 par S. le 3 f\xE9vrier\ndevices {\n\tscan = [ '/dev' ]\n}\n",
    ),
    ("/etc/lvm/lvmlocal.conf", b"# f\xFCr uns\nlocal {\n}\n"),
    ("/etc/mdadm.conf", b"# Geb\xE4ude 3\nMAILADDR root\n"),
    ("/etc/mdadm/mdadm.conf", b"# Geb\xE4ude 3\nMAILADDR root\n"),
];

fn put(machine: &Machine, files: &[(&str, &[u8])]) {
    for (path, bytes) in files {
        machine.tree().put(path, Node::File(bytes.to_vec()));
    }
}

#[test]
fn a_host_with_latin_1_in_every_file_is_prepared_and_keeps_every_byte() {
    for distribution in [Distribution::Debian12, Distribution::Rocky9, Distribution::CentOs7] {
        let machine = fresh(distribution);
        put(&machine, &FILES);
        put(&machine, &[("/etc/os-release.note", b"\xE9")]);
        let host = machine.host();
        let begun = Preparation::begin(&host, desired(), Purpose::Change).unwrap();
        let finished = begun.carry_out(&mut |_| ControlFlow::Continue(()));
        assert!(finished.error.is_none(), "{:?} {:?}", finished.error, finished.report);
        for (path, before) in FILES {
            let after = host.system().read(path).unwrap();
            assert!(after.starts_with(before), "{path}: {}", after.escape_ascii());
        }
        assert!(host.system().read("/etc/fstab").unwrap().ends_with(b"x-mtctl 0 2\n"));
        let again = Preparation::begin(&host, desired(), Purpose::Look).unwrap();
        assert!(again.plan().is_empty(), "{:?}", again.plan());
    }
}

#[test]
fn a_mount_point_that_is_no_utf_8_keeps_its_disk_in_use_also_in_a_record() {
    let machine = recorded::ready(Distribution::Debian12);
    let mounts = machine.host().machine().read("/proc/self/mountinfo").unwrap();
    let mounts = String::from_utf8(mounts).unwrap().replace("/mnt/retention", "/mnt/r\\351");
    let raw = mounts.replace("\\351", "\u{1}").into_bytes();
    let raw: Vec<u8> = raw.into_iter().map(|b| if b == 1 { 0xE9 } else { b }).collect();
    for table in [mounts.into_bytes(), raw] {
        put(&machine, &[("/proc/self/mountinfo", &table)]);
        let json = serde_json::to_string(&machine.record("")).unwrap();
        let record: RecordedHost = serde_json::from_str(&json).unwrap();
        let observed = observe(&Host::recorded(record), &desired()).unwrap();
        let disk = observed.disks.iter().find(|disk| disk.name == "sdb").unwrap();
        assert!(disk.is_in_use(), "{:?}", disk.used_by);
    }
}

#[test]
fn the_retention_volume_by_another_name_is_a_conflict_with_its_line() {
    let mount = |source: &str| format!("# note\n{source} /data ext4 defaults 0 0\n");
    for source in [
        "UUID=\"2C1E7D52-6F0B-4B8E-9A51-D3F17C3E90AA\"",
        "/dev/disk/by-uuid/2c1e7d52-6f0b-4b8e-9a51-d3f17c3e90aa",
        "/dev/sdb",
        "LABEL='mt-retention'",
    ] {
        let machine = fresh(Distribution::Debian12);
        machine.tree().put_text("/etc/fstab", mount(source));
        let plan = plan(&observe(&machine.host(), &desired()).unwrap(), &desired());
        let step = plan.steps.iter().find(|step| step.id == StepId::Retention).unwrap();
        let Standing::Refused(refusal) = &step.standing else { panic!("{source}: {step:?}") };
        assert!(refusal.reason.contains("line 2 of fstab"), "{refusal:?}");
        assert!(refusal.hint.contains("'2s/^/#/'"), "{refusal:?}");
    }
    let machine = fresh(Distribution::Debian12);
    machine.tree().put_text("/etc/fstab", mount("LABEL=other") + &mount("/dev/sdz"));
    let plan = plan(&observe(&machine.host(), &desired()).unwrap(), &desired());
    assert!(!plan.is_refused(), "{plan:?}");
}

fn multipath(host: &Host, desired: &Desired) -> Finding {
    let findings = check::check(&observe(host, desired).unwrap(), desired).findings;
    findings.into_iter().find(|finding| finding.id == "multipath").unwrap()
}

#[test]
fn a_blacklist_that_hides_what_require_demands_is_told_with_file_and_line() {
    let text = include_str!("../data/hosts/vmware-blacklisted.json");
    let record: RecordedHost = serde_json::from_str(text).unwrap();
    let host = Host::recorded(record);
    let require = Desired { multipath: MultipathPolicy::Require, ..desired() };
    let finding = multipath(&host, &require);
    assert_eq!(finding.status, Status::Fail);
    assert!(finding.message.contains("line 6 of /etc/multipath.conf"), "{finding:?}");
    assert!(finding.hint.contains("product \"Virtual disk\""), "{finding:?}");
    let plan = plan(&observe(&host, &require).unwrap(), &require);
    let step = plan.steps.iter().find(|step| step.id == StepId::Multipath).unwrap();
    assert!(matches!(step.standing, Standing::NotReady(_)), "{step:?}");

    // Fixed as the hint says.
    let main = String::from_utf8(host.system().read("/etc/multipath.conf").unwrap()).unwrap();
    let exception = "blacklist_exceptions {\ndevice {\nvendor \"VMware\"\n\
                     product \"Virtual disk\"\n}\n}\n";
    let write = provisioning::host::FileWriteMode::Keep;
    host.system().replace("/etc/multipath.conf", (main + exception).as_bytes(), write).unwrap();
    assert_eq!(multipath(&host, &require).status, Status::Pass);

    let later = b"defaults {\nfind_multipaths strict\n}\n";
    host.system().replace("/etc/multipath/conf.d/zz.conf", later, write).unwrap();
    let finding = multipath(&host, &require);
    assert!(finding.message.contains("line 2 of /etc/multipath/conf.d/zz.conf"), "{finding:?}");
}
