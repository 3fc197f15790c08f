//! Findings about software: packages, filesystems, LVM, tuning, io_uring, kernel updates.

use super::by_plan::by_plan;
use crate::disk::Disk;
use crate::filesystem::RetentionFilesystem;
use crate::finding::Finding;
use crate::fstab::FSTAB_PATH;
use crate::host::RingProbe;
use crate::lvm;
use crate::observe::Observed;
use crate::plan::packages::missing;
use crate::plan::tuning::hold_of;
use crate::spec::{Desired, Profile};
use crate::step::StepId;

pub(super) fn check(observed: &Observed, desired: &Desired) -> Vec<Finding> {
    let mut findings = vec![packages(observed, desired)];
    findings.extend(filesystems(observed));
    findings.extend(super::multipath::check(observed, desired));
    findings.push(by_plan("lvm", StepId::Lvm, "LVM, MD, udisks", observed, desired));
    findings.extend(foreign_volume_groups(observed));
    findings.extend(foreign_lvm_devices(observed));
    findings
}

fn packages(observed: &Observed, desired: &Desired) -> Finding {
    let id = "packages";
    let missing = missing(observed, desired);
    if missing.is_empty() {
        return by_plan(id, StepId::Packages, "packages", observed, desired);
    }
    Finding::fail(id, "packages", format!("not installed: {}", missing.join(" ")))
        .hint("mtctl prepare --only packages")
}

fn filesystems(observed: &Observed) -> Vec<Finding> {
    let id = "filesystems";
    let finding = |(name, support): (&String, &crate::filesystem::Support)| {
        let is_needed = name == RetentionFilesystem::Ext4.name();
        match (support.kernel, support.tools) {
            (true, true) => Finding::pass(id, name, "in kernel and tools"),
            (true, false) => {
                Finding::warn(id, name, "in the kernel, but its tools are not installed")
                    .hint("mtctl prepare --only packages")
            }
            (false, _) if is_needed => {
                Finding::fail(id, name, "not in this kernel").hint("boot the distribution's kernel")
            }
            (false, _) if name == "reiserfs" => Finding::skip(
                id,
                name,
                "removed from this kernel: such volumes are replicated without being read",
            ),
            (false, _) => Finding::skip(
                id,
                name,
                "not in this kernel: such volumes are replicated without being read",
            ),
        }
    };
    observed.filesystems.iter().map(finding).collect()
}

/// Disks that are not the system's own and are listed in LVM's devices file: LVM scans these
/// whatever the filters say.
fn foreign_lvm_devices(observed: &Observed) -> Vec<Finding> {
    let is_foreign = |disk: &&Disk| !disk.is_in_use() && disk.is_listed_with_all();
    let is_listed = |disk: &&Disk| observed.storage.lvm_listed.contains(&disk.name);
    let finding = |disk: &Disk| {
        let path = disk.path.display().to_string();
        let finding = Finding::warn("lvm", &path, format!("listed in {}", lvm::DEVICES_FILE));
        finding.hint(format!("lvmdevices --deldev {path}"))
    };
    observed.disks.iter().filter(is_foreign).filter(is_listed).map(finding).collect()
}

/// Active volume groups that are not the system's own: this host is using somebody's disks,
/// whatever it will do at its next boot. The filter that shuts them out would also hide them from
/// the command that gives them back.
fn foreign_volume_groups(observed: &Observed) -> Option<Finding> {
    let groups: Vec<&str> =
        observed.storage.foreign_volume_groups.iter().map(String::as_str).collect();
    let names = (!groups.is_empty()).then(|| groups.join(" "))?;
    let sees_all = match observed.storage.lvm_devices_file {
        Some(_) => "devices { use_devicesfile = 0 global_filter = [ \"a|.*|\" ] }",
        None => "devices { global_filter = [ \"a|.*|\" ] }",
    };
    let message = "active on this host, although not the system's own";
    let hint = format!(
        "to release it: vgchange -an {names} --config '{sees_all}'; or, to keep it: name one of \
         its volumes in {FSTAB_PATH}"
    );
    Some(Finding::fail("lvm", &names, message).hint(hint))
}

pub(super) fn tuning(observed: &Observed, desired: &Desired) -> Vec<Finding> {
    let tuning = by_plan("tuning", StepId::Tuning, "disk time-outs", observed, desired);
    vec![tuning, io_uring(observed)]
}

fn io_uring(observed: &Observed) -> Finding {
    let (id, subject) = ("io-uring", "io_uring");
    let slower = "the slower blocking engine will be used";
    match (&observed.io_uring, observed.io_uring_disabled) {
        (RingProbe::Available, _) => Finding::pass(id, subject, "a ring can be set up"),
        (RingProbe::Refused(_), Some(value @ 1..)) => {
            let message = format!("kernel.io_uring_disabled = {value}: {slower}");
            Finding::warn(id, subject, message).hint("mtctl prepare --only tuning")
        }
        (RingProbe::Refused(errno), _) => {
            let reason = std::io::Error::from_raw_os_error(*errno);
            Finding::warn(id, subject, format!("{reason}: {slower}")).hint(
                "Linux 5.6 or newer is needed; in a container, allow it in the seccomp profile",
            )
        }
        (RingProbe::Unknown, _) => {
            Finding::skip(id, subject, "not tried: this is an image or a record")
        }
    }
}

pub(super) fn kernel_updates(observed: &Observed, desired: &Desired) -> Finding {
    let (id, subject) = ("kernel-updates", "kernel packages");
    let held = hold_of(observed)
        .is_some_and(|hold| observed.file(hold.file()).is_some_and(|text| hold.is_held(text)));
    let is_wanted = desired.hold_kernel_updates || desired.profile == Profile::Asr;
    match (held, is_wanted) {
        (true, _) => Finding::pass(id, subject, "updates are held back"),
        (false, false) => Finding::skip(id, subject, "updates are not held back, and need not be"),
        (false, true) => Finding::fail(id, subject, "updates are not held back")
            .hint("mtctl prepare --only tuning --profile asr"),
    }
}
