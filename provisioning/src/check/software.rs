//! Findings about software: packages, filesystems, multipath, LVM, tuning, io_uring, kernel
//! updates.

use super::{Finding, by_plan};
use crate::disk::DiskKind;
use crate::filesystem::RetentionFilesystem;
use crate::host::RingProbe;
use crate::lvm;
use crate::multipath::configuration::Configuration;
use crate::multipath::{DROP_IN, MAIN_FILE, MultipathPolicy};
use crate::observe::Observed;
use crate::plan::multipath::generation;
use crate::plan::packages::missing;
use crate::plan::tuning::hold_of;
use crate::spec::{Desired, Profile};
use crate::step::StepId;

pub(super) fn check(observed: &Observed, desired: &Desired) -> Vec<Finding> {
    let mut findings = vec![packages(observed, desired)];
    findings.extend(filesystems(observed));
    findings.push(multipath(observed, desired));
    findings.extend(claimed(observed, desired));
    findings.push(by_plan("lvm", StepId::Lvm, "LVM, MD, udisks", observed, desired));
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
            (true, false) => Finding::warn(id, name, "in the kernel, but its tools are missing")
                .hint("mtctl prepare --only packages"),
            (false, _) if is_needed => {
                Finding::fail(id, name, "not in this kernel").hint("boot the distribution's kernel")
            }
            (false, _) if name == "reiserfs" => {
                Finding::skip(id, name, "gone from this kernel: volumes are replicated unread")
            }
            (false, _) => {
                Finding::skip(id, name, "not in this kernel: volumes are replicated unread")
            }
        }
    };
    observed.filesystems.iter().map(finding).collect()
}

/// As the host is now: that a disk which is to become the retention volume will be kept out, too,
/// is done together with making it.
fn multipath(observed: &Observed, desired: &Desired) -> Finding {
    let mut desired = desired.clone();
    desired.skip.insert(StepId::Retention);
    by_plan("multipath", StepId::Multipath, "multipath-tools", observed, &desired)
}

/// Disks that multipath has claimed although one path leads to them, with the reason.
fn claimed(observed: &Observed, desired: &Desired) -> Option<Finding> {
    if desired.multipath == MultipathPolicy::Require {
        return None;
    }
    let paths = |name: &str| {
        observed
            .disks
            .iter()
            .filter(|disk| disk.kind != DiskKind::Multipath)
            .filter(|disk| disk.multipath.as_deref() == Some(name))
            .count()
    };
    let maps = observed.disks.iter().filter(|disk| disk.kind == DiskKind::Multipath);
    let single: Vec<&str> = maps
        .filter_map(|disk| disk.multipath.as_deref())
        .filter(|name| paths(name) == 1 && !is_own(observed, name))
        .collect();
    let (first, rest) = single.split_first()?;
    let configuration =
        Configuration::parse([MAIN_FILE, DROP_IN].iter().filter_map(|path| observed.file(path)));
    let give_back = match rest {
        [] => format!("multipath -f {first} && multipath -w {first}"),
        _ => {
            let names = single.join(" ");
            format!("for map in {names}; do multipath -f $map && multipath -w $map; done")
        }
    };
    let (why, hint) = if configuration.claims_single_paths(generation(observed)) {
        // Given back first, they would be claimed again.
        let hint = format!("mtctl prepare --only multipath && {give_back}");
        ("its configuration claims every disk", hint)
    } else {
        ("they are in /etc/multipath/wwids", give_back)
    };
    let message = format!("multipath holds {} single-path disks: {why}", single.len());
    Some(Finding::warn("multipath", &single.join(" "), message).hint(hint))
}

/// Attached disks that LVM's devices file lists: LVM looks at these whatever filters say.
fn foreign_lvm_devices(observed: &Observed) -> Vec<Finding> {
    let text = observed.storage.lvm_devices_file.as_deref().unwrap_or_default();
    let listed = lvm::parse_devices_file(text);
    let foreign = observed.disks.iter().filter(|disk| disk.is_attached_disk() && !disk.is_in_use());
    let finding = |disk: &crate::disk::Disk| {
        let wwid = disk.wwid.as_ref()?.as_str();
        listed.iter().find(|device| device.id_name == wwid)?;
        let path = disk.path.display().to_string();
        let finding = Finding::warn("lvm", &path, format!("listed in {}", lvm::DEVICES_FILE));
        Some(finding.hint(format!("lvmdevices --deldev {path}")))
    };
    foreign.filter_map(finding).collect()
}

fn is_own(observed: &Observed, name: &str) -> bool {
    observed.storage.own_disks.mapped.iter().any(|map| map.name == name)
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
        (RingProbe::Unknown, _) => Finding::skip(id, subject, "not tried on an image or a record"),
    }
}

pub(super) fn kernel_updates(observed: &Observed, desired: &Desired) -> Finding {
    let (id, subject) = ("kernel-updates", "kernel packages");
    let held = hold_of(observed)
        .is_some_and(|hold| observed.file(hold.file()).is_some_and(|text| hold.is_held(text)));
    let is_wanted = desired.hold_kernel_updates || desired.profile == Profile::Asr;
    match (held, is_wanted) {
        (true, _) => Finding::pass(id, subject, "updates are held back"),
        (false, false) => Finding::skip(id, subject, "updates are not held back, as not asked for"),
        (false, true) => Finding::fail(id, subject, "updates are not held back")
            .hint("mtctl prepare --only tuning --profile asr"),
    }
}
