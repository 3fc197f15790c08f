//! `prepare` on machines in memory: from scratch to ready, twice, interrupted at every point, and
//! with every program around it lying or failing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

use std::ops::ControlFlow;

use mt_tests::machine::{Distribution, Fault, Machine, ext4_options, filesystem};
use mt_tests::recorded::{self, RETENTION_UUID, desired, fresh};
use provisioning::check::{self, Status};
use provisioning::multipath::MultipathPolicy;
use provisioning::observe::observe;
use provisioning::plan::{Plan, PlannedStep, Standing, plan};
use provisioning::prepare::{Finished, Preparation, Purpose};
use provisioning::spec::{Desired, DiskName};
use provisioning::step::{Action, Outcome, StepId};
use system::{Error, ErrorKind};

const DISTRIBUTIONS: [Distribution; 3] =
    [Distribution::Debian12, Distribution::Rocky9, Distribution::CentOs7];

fn plan_of(machine: &Machine, desired: &Desired) -> Plan {
    plan(&observe(&machine.host(), desired).unwrap(), desired)
}

/// Prepares, stopping at event number `stop_at`; also returns the number of events.
fn prepare_until(machine: &Machine, desired: &Desired, stop_at: usize) -> (Finished, usize) {
    let host = machine.host();
    let preparation = Preparation::begin(&host, desired.clone(), Purpose::Change).unwrap();
    let mut seen = 0;
    let finished = preparation.carry_out(&mut |_| {
        seen += 1;
        if seen == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    (finished, seen)
}

fn prepare(machine: &Machine, desired: &Desired) -> Finished {
    prepare_until(machine, desired, usize::MAX).0
}

fn error_of(finished: &Finished) -> &Error {
    finished.error.as_ref().unwrap()
}

fn outcome(finished: &Finished, id: StepId) -> Outcome {
    finished.report.steps.iter().find(|step| step.id == id).unwrap().outcome
}

fn is_ready(machine: &Machine) -> bool {
    let desired = desired();
    let checked = check::check(&observe(&machine.host(), &desired).unwrap(), &desired);
    let failed: Vec<_> =
        checked.findings.iter().filter(|finding| finding.status == Status::Fail).collect();
    assert_eq!(checked.ready, failed.is_empty(), "{failed:?}");
    checked.ready
}

/// Commands that changed a disk.
fn formats(machine: &Machine) -> Vec<String> {
    let ran = machine.ran().into_iter();
    ran.filter(|one| one.starts_with("mkfs") || one.starts_with("wipefs"))
        .filter(|one| !one.ends_with(" -V"))
        // The size follows the device.
        .map(|one| match one.rsplit_once(' ') {
            Some((before, size)) if size.ends_with('k') => before.to_owned(),
            _ => one,
        })
        .collect()
}

#[test]
fn a_fresh_machine_is_ready_after_prepare_and_a_second_run_changes_nothing() {
    for distribution in DISTRIBUTIONS {
        let machine = fresh(distribution);
        assert!(!is_ready(&machine), "{distribution:?}");
        let finished = prepare(&machine, &desired());
        assert!(finished.error.is_none(), "{distribution:?}: {:?}", finished.error);
        assert!(finished.report.changed >= 5, "{:?}", finished.report);
        assert!(is_ready(&machine), "{distribution:?}");
        let before = machine.tree().nodes();
        let again = prepare(&machine, &desired());
        assert!(again.error.is_none() && again.report.changed == 0, "{:?}", again.report);
        assert_eq!(machine.tree().nodes(), before);
        assert_eq!(formats(&machine).len(), 1);
        assert!(formats(&machine)[0].ends_with("/dev/sdb"));
    }
}

#[test]
fn every_multipath_policy_converges() {
    for policy in MultipathPolicy::ALL {
        for distribution in DISTRIBUTIONS {
            let machine = fresh(distribution);
            let desired = Desired { multipath: policy, ..desired() };
            let plan = plan_of(&machine, &desired);
            assert_eq!(plan.is_refused(), policy == MultipathPolicy::Require, "{policy}");
            let skip = match policy {
                MultipathPolicy::Require => [StepId::Retention].into(),
                MultipathPolicy::Off | MultipathPolicy::Auto => [].into(),
            };
            let desired = Desired { skip, ..desired };
            let finished = prepare(&machine, &desired);
            assert!(finished.error.is_none(), "{policy} {distribution:?}: {:?}", finished.error);
            assert!(plan_of(&machine, &desired).is_empty(), "{policy} {distribution:?}");
        }
    }
}

#[test]
fn a_plan_is_pure_and_looking_changes_nothing() {
    let machine = fresh(Distribution::Debian12);
    let before = machine.tree().nodes();
    let observed = observe(&machine.host(), &desired()).unwrap();
    assert_eq!(plan(&observed, &desired()), plan(&observed, &desired()));
    assert_eq!(plan_of(&machine, &desired()), plan_of(&machine, &desired()));
    assert_eq!(machine.tree().nodes(), before);
    let questions = ["blkid", "udevadm info", "dpkg-query", "ip", "pvs"];
    for command in machine.ran() {
        assert!(questions.iter().any(|start| command.starts_with(start)), "{command}");
    }
}

#[test]
fn interrupted_at_every_event_it_converges_when_run_again() {
    for distribution in [Distribution::Debian12, Distribution::Rocky9] {
        let (_, events) = prepare_until(&fresh(distribution), &desired(), usize::MAX);
        assert!(events > 40, "{events}");
        for stop_at in 1..=events {
            let machine = fresh(distribution);
            let (first, _) = prepare_until(&machine, &desired(), stop_at);
            let second = prepare(&machine, &desired());
            assert!(second.error.is_none(), "stopped at {stop_at}: {:?}", second.error);
            assert!(plan_of(&machine, &desired()).is_empty(), "stopped at {stop_at}");
            assert!(is_ready(&machine), "stopped at {stop_at}");
            let is_named = |one: &String| one.ends_with("/dev/sdb");
            assert!(formats(&machine).iter().all(is_named), "stopped at {stop_at}");
            let was_cut = first.error.is_some_and(|error| error.to_string() == "interrupted");
            assert!(was_cut || first.report.changed > 0, "stopped at {stop_at}");
        }
    }
}

#[test]
fn an_unreachable_repository_leaves_the_rest_undone_and_says_how_to_go_on() {
    for distribution in DISTRIBUTIONS {
        let machine = fresh(distribution);
        machine.break_by(Fault::RepositoriesUnreachable);
        let before = machine.tree().nodes();
        let finished = prepare(&machine, &desired());
        let error = error_of(&finished);
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.chain().contains("mirror"), "{}", error.chain());
        assert!(error.hint().unwrap().contains("--skip packages"), "{:?}", error.hint());
        assert_eq!(outcome(&finished, StepId::Packages), Outcome::Failed);
        assert_eq!(outcome(&finished, StepId::Retention), Outcome::Unchanged);
        assert_eq!(finished.report.changed, 0);
        assert_eq!(machine.tree().nodes(), before, "{distribution:?}");
        let without = Desired { skip: [StepId::Packages].into(), ..desired() };
        assert!(prepare(&machine, &without).error.is_none(), "{distribution:?}");
    }
}

#[test]
fn programs_that_lie_are_caught() {
    let rows = [
        (Fault::MkfsLies, "formatting /dev/sdb"),
        (Fault::MountLies, "mounting /mnt/retention"),
        (Fault::PolicyVanishes, "verifying: multipath"),
    ];
    for (fault, context) in rows {
        let machine = fresh(Distribution::Debian12);
        machine.break_by(fault);
        let finished = prepare(&machine, &desired());
        let error = error_of(&finished);
        assert_eq!(error.kind(), ErrorKind::Failed, "{fault:?}");
        assert!(error.to_string().starts_with(context), "{fault:?}: {error}");
        assert!(!is_ready(&machine), "{fault:?}");
        machine.mend();
        assert!(prepare(&machine, &desired()).error.is_none(), "{fault:?}");
        assert!(is_ready(&machine), "{fault:?}");
    }
}

#[test]
fn a_format_that_died_is_known_as_ours_and_done_again_without_destroy() {
    let machine = fresh(Distribution::Rocky9);
    machine.break_by(Fault::MkfsDies);
    assert_eq!(error_of(&prepare(&machine, &desired())).kind(), ErrorKind::Failed);
    machine.mend();
    let finished = prepare(&machine, &desired());
    assert!(finished.error.is_none(), "{:?}", finished.error);
    assert!(is_ready(&machine));
    let all = formats(&machine);
    assert!(all.len() == 3 && all[1].starts_with("wipefs"), "{all:?}");
}

/// Like a volume that was made before the row contained this option.
#[test]
fn a_mounted_ext4_that_goes_on_after_errors_is_told_to_stop_and_so_is_the_next_boot() {
    let machine = recorded::ready(Distribution::Debian12);
    let row = machine.host().machine().attribute("/etc/fstab").unwrap();
    machine.tree().put_text("/etc/fstab", row.replace("errors=remount-ro,", "") + "\n");
    machine.tree().put_text(ext4_options("sdb"), "rw\nerrors=continue\n");
    let finished = prepare(&machine, &desired());
    assert!(finished.error.is_none() && finished.report.changed == 1, "{:?}", finished.report);
    let ran = machine.ran();
    assert!(
        ran.contains(&"mount -o remount,errors=remount-ro /mnt/retention".to_owned()),
        "{ran:?}"
    );
    assert_eq!(machine.host().machine().attribute("/etc/fstab").unwrap(), row);
    assert!(plan_of(&machine, &desired()).is_empty() && is_ready(&machine));
    assert_eq!(formats(&machine).len(), 1, "not made anew");
}

#[test]
fn a_volume_that_a_boot_would_not_mount_is_not_mounted_either() {
    let machine = recorded::ready(Distribution::Debian12);
    let path = "/proc/self/mountinfo";
    let mounts = machine.host().machine().attribute(path).unwrap();
    let rows = mounts.lines().filter(|row| !row.contains("/mnt/retention"));
    let unmounted = rows.fold(String::new(), |a, b| a + b + "\n");
    machine.tree().put_text(path, unmounted.clone());
    machine.break_by(Fault::FsckRefuses);
    let finished = prepare(&machine, &desired());
    let error = error_of(&finished);
    assert!(error.chain().contains("RUN fsck MANUALLY"), "{}", error.chain());
    assert!(error.hint().unwrap().starts_with("fsck.ext4 -y /dev/sdb; "), "{:?}", error.hint());
    assert_eq!(machine.host().machine().attribute(path).unwrap() + "\n", unmounted);
    machine.mend();
    assert!(prepare(&machine, &desired()).error.is_none());
    assert!(is_ready(&machine));
}

#[test]
fn a_udev_that_is_late_does_not_mislead() {
    for (disk, destroy) in [("/dev/sdb", None), ("/dev/sdd", Some("/dev/sdd"))] {
        let machine = fresh(Distribution::Debian12);
        machine.break_by(Fault::UdevIsLate);
        let name = |path: &str| DiskName::Path(path.into());
        let desired =
            Desired { retention_disk: Some(name(disk)), destroy: destroy.map(name), ..desired() };
        let finished = prepare(&machine, &desired);
        assert!(finished.error.is_none(), "{disk}: {:?}", finished.error);
        assert!(plan_of(&machine, &desired).is_empty());
    }
}

#[test]
fn custom_changes_run_once_and_what_is_not_executable_is_told() {
    let machine = recorded::ready(Distribution::Debian12);
    let path = "/etc/mtctl/custom-changes.d/10-site";
    machine.tree().put_text(path, "#!/bin/sh\n");
    let only = Desired { only: [StepId::CustomChanges].into(), ..desired() };
    let plan = plan_of(&machine, &only);
    assert!(plan.is_not_ready() && plan.is_empty(), "a file in memory is not executable");
}

#[test]
fn a_disk_that_was_named_and_agreed_to_is_formatted_and_no_other() {
    let machine = fresh(Distribution::Debian12);
    let wwid = DiskName::parse(&format!("naa.{:032x}", recorded::naa(3))).unwrap();
    let wanted = Desired { retention_disk: Some(wwid.clone()), destroy: Some(wwid), ..desired() };
    assert!(prepare(&machine, &wanted).error.is_none());
    assert_eq!(formats(&machine).len(), 2);
    assert!(formats(&machine).iter().all(|one| one.ends_with(" /dev/sdd")));
}

#[test]
fn a_disk_that_got_content_since_the_plan_is_not_formatted() {
    let machine = fresh(Distribution::Debian12);
    let host = machine.host();
    let preparation = Preparation::begin(&host, desired(), Purpose::Change).unwrap();
    machine.sign("sdb", filesystem("xfs", &RETENTION_UUID.to_string()));
    let finished = preparation.carry_out(&mut |_| ControlFlow::Continue(()));
    // Other steps were taken before: "refused" would promise that nothing was touched.
    assert_eq!(error_of(&finished).kind(), ErrorKind::Failed);
    assert_eq!(outcome(&finished, StepId::Retention), Outcome::Refused);
    assert_eq!(formats(&machine), [""; 0]);
}

/// The lvm step on a host whose system is on LVM, changed by `change`.
fn lvm_step(change: impl Fn(&Machine)) -> PlannedStep {
    let machine = recorded::lvm_root();
    change(&machine);
    let only = Desired { only: [StepId::Lvm].into(), ..desired() };
    plan_of(&machine, &only).steps.remove(0)
}

#[test]
fn lvm_of_the_system_is_told_from_customers_by_uuid_and_by_names_that_last() {
    // If there is a devices file, filters are ignored, and the block contains none.
    let step = lvm_step(|machine| machine.tree().remove("/etc/lvm/devices/system.devices"));
    let Some(Action::WriteFile(change)) =
        step.actions.iter().find(|one| one.to_string().ends_with("/etc/lvm/lvmlocal.conf"))
    else {
        panic!("{step:?}")
    };
    assert!(change.after.contains("\"rl\"") && change.after.contains("by-id/"), "{change:?}");
    assert!(!change.after.contains("customer"), "{change:?}");
    let same_name = lvm_step(|machine| {
        machine.physical_volumes(&[["/dev/sda2", "rl", "aaaa"], ["/dev/sdd", "rl", "bbbb"]]);
    });
    let no_name = lvm_step(|machine| {
        let links = machine.host().machine().list("/dev/disk/by-id");
        links.iter().for_each(|link| machine.tree().remove(format!("/dev/disk/by-id/{link}")));
    });
    for (step, reason, hint) in [
        (same_name, "one on /dev/sda2, one on /dev/sdd", "vgrename bbbb"),
        (no_name, "/dev/sda2 is the system's own", "--skip lvm"),
    ] {
        let Standing::Refused(refusal) = &step.standing else { panic!("{step:?}") };
        assert!(refusal.reason.contains(reason) && refusal.hint.contains(hint), "{refusal:?}");
    }
}

#[test]
fn a_volume_group_that_fstab_or_crypttab_names_is_kept_though_nothing_of_it_is_mounted() {
    let file = |path: &'static str, text: &'static str| {
        let step = lvm_step(|machine| machine.tree().put_text(path, text));
        format!("{:?}", step.actions)
    };
    let rows = [
        ("/etc/fstab", "/dev/mapper/customer-data /srv xfs noauto 0 0\n"),
        ("/etc/fstab", "/dev/customer/data /srv xfs noauto 0 0\n"),
        ("/etc/crypttab", "data /dev/customer/data none luks\n"),
    ];
    for (path, text) in rows {
        assert!(file(path, text).contains("\\\"customer\\\""), "{text}");
    }
}

fn rebuilds(machine: &Machine) -> Vec<String> {
    let ran = machine.ran().into_iter();
    ran.filter(|one| one.starts_with("update-initramfs") || one.starts_with("dracut")).collect()
}

#[test]
fn an_initramfs_that_could_not_be_rebuilt_is_rebuilt_by_the_next_run_and_then_no_more() {
    for (distribution, command) in [
        (Distribution::Debian12, "update-initramfs -u -k all"),
        (Distribution::Rocky9, "dracut --force --regenerate-all"),
    ] {
        let machine = fresh(distribution);
        machine.break_by(Fault::InitramfsFails);
        let only = Desired { only: [StepId::Packages, StepId::Lvm].into(), ..desired() };
        let error = prepare(&machine, &only).error.unwrap();
        assert!(error.chain().contains("No space left"), "{}", error.chain());
        machine.mend();
        let step = plan_of(&machine, &only).steps.remove(1);
        assert!(matches!(step.actions.as_slice(), [Action::RebuildInitramfs(_)]), "{step:?}");
        assert!(prepare(&machine, &only).error.is_none());
        assert_eq!(rebuilds(&machine), [command, command]);
        assert!(plan_of(&machine, &only).is_empty(), "{distribution:?}");
    }
}

#[test]
fn lvmlocal_conf_alone_makes_the_initramfs_due_unless_its_tool_is_not_there() {
    let step = lvm_step(|machine| machine.uninstall(&["mdadm"]));
    let said: Vec<String> = step.actions.iter().map(ToString::to_string).collect();
    assert!(said[0].starts_with("record that the initramfs"), "{said:?}");
    assert!(said[1].ends_with("lvmlocal.conf") && said[2].contains("dracut"), "{said:?}");
    assert!(step.warning.unwrap().contains("customer"));
    let without = lvm_step(|machine| {
        machine.tree().remove("/usr/bin/dracut");
        machine.uninstall(&["mdadm"]);
    });
    assert_eq!(without.actions.len(), 1, "{without:?}");
}

#[test]
fn the_devices_file_counts_only_where_lvm_reads_it() {
    let has_filter = |files: &[(&'static str, &str)]| {
        let step = lvm_step(|machine| {
            machine.tree().put_text("/etc/lvm/devices/system.devices", "VERSION=1.1.2\n");
            files.iter().for_each(|(path, text)| machine.tree().put_text(path, *text));
        });
        format!("{:?}", step.actions).contains("global_filter")
    };
    let (main, local) = ("/etc/lvm/lvm.conf", "/etc/lvm/lvmlocal.conf");
    let off = "devices {\n\tuse_devicesfile = 0\n}\n";
    let on = "devices/use_devicesfile=1\n";
    assert!(!has_filter(&[]), "release 9 reads it");
    assert!(has_filter(&[("/etc/os-release", "ID=rhel\nVERSION_ID=\"8.9\"\n")]));
    assert!(has_filter(&[(main, off)]));
    assert!(!has_filter(&[(main, off), (local, on)]));
}

fn multipath_step(machine: &Machine, desired: Desired) -> PlannedStep {
    let only = Desired { only: [StepId::Multipath].into(), ..desired };
    plan_of(machine, &only).steps.remove(0)
}

#[test]
fn require_names_every_disk_of_the_system_or_is_refused() {
    let require = || Desired { multipath: MultipathPolicy::Require, ..desired() };
    let machine = recorded::nvme_root();
    let step = multipath_step(&machine, require());
    let said = format!("{:?}", step.actions);
    assert!(said.contains("^eui[.]81ab6c4d00000001000c2969b1b2c3d4$"), "{said}");
    let step = multipath_step(&recorded::without_ids(), require());
    let Standing::Refused(refusal) = &step.standing else { panic!("{step:?}") };
    assert!(refusal.reason.starts_with("/dev/sda holds the system"), "{refusal:?}");
    let step = multipath_step(&recorded::without_ids(), desired());
    assert!(!matches!(step.standing, Standing::Refused(_)), "{step:?}");
}

#[test]
fn the_policy_keeps_the_retention_volume_out_while_it_is_not_mounted() {
    let machine = recorded::ready(Distribution::Debian12);
    let mounts = machine.host().machine().attribute("/proc/self/mountinfo").unwrap();
    let rows = mounts.lines().filter(|row| !row.contains("/mnt/retention"));
    machine.tree().put_text("/proc/self/mountinfo", rows.fold(String::new(), |a, b| a + b + "\n"));
    let step = multipath_step(&machine, desired());
    assert!(step.actions.is_empty(), "{step:?}");
    machine.tree().put_text("/etc/fstab", "");
    let step = multipath_step(&machine, desired());
    assert!(step.actions.is_empty(), "the record knows it: {step:?}");
}
