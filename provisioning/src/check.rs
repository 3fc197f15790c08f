//! Is this host a master target? Findings, each with what to do about it. Nothing is changed, and
//! what `prepare` would change is taken from the plan rather than decided a second time.

mod by_plan;
mod disks;
mod machine;
mod multipath;
mod retention;
mod software;

use std::path::Path;

use serde::Serialize;

pub use crate::finding::{Finding, Status};
use crate::host::Invocation;
use crate::multipath::MultipathPolicy;
use crate::observe::Observed;
use crate::spec::{Desired, Profile, RETENTION_MOUNT_DEFAULT};

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Whether no finding failed.
    pub ready: bool,
    /// Every finding, in a fixed order.
    pub findings: Vec<Finding>,
}

/// Checks every requirement.
pub fn check(observed: &Observed, desired: &Desired) -> Check {
    let parts = [
        machine::platform(observed, desired),
        disks::check(observed, desired),
        software::check(observed, desired),
        retention::check(observed, desired),
        software::tuning(observed, desired),
        machine::network(observed),
        machine::guest_tools(observed, desired),
    ];
    let findings = parts.into_iter().flatten();
    let findings = findings.map(|finding| unless_unreadable(finding, observed));
    let findings: Vec<Finding> =
        findings.map(|finding| with_same_options(finding, observed, desired)).collect();
    let ready = findings.iter().all(|finding| finding.status != Status::Fail);
    Check { ready, findings }
}

/// The files a finding is based on.
fn files_behind(id: &str) -> &'static [&'static str] {
    match id {
        "multipath" => &["/etc/multipath.conf", "/etc/multipath/conf.d/mtctl.conf"],
        "lvm" => &[
            "/etc/lvm/lvmlocal.conf",
            "/etc/lvm/lvm.conf",
            "/etc/mdadm.conf",
            "/etc/mdadm/mdadm.conf",
            "/etc/udev/rules.d/61-mtctl.rules",
        ],
        "tuning" => &["/etc/udev/rules.d/61-mtctl.rules", "/etc/sysctl.d/90-mtctl.conf"],
        "kernel-updates" => {
            &["/etc/dnf/dnf.conf", "/etc/yum.conf", "/etc/apt/preferences.d/mtctl-kernel"]
        }
        "retention" => &[crate::fstab::FSTAB_PATH],
        "hosts-file" => &["/etc/hosts", "/etc/hostname", "/etc/sysconfig/network"],
        _ => &[],
    }
}

/// A file that cannot be read does not justify a verdict.
fn unless_unreadable(finding: Finding, observed: &Observed) -> Finding {
    let mut files = files_behind(finding.id).iter();
    let Some(file) = files.find(|file| observed.unreadable.contains(Path::new(file))) else {
        return finding;
    };
    let message = format!("unknown: this user may not read {file}");
    Finding::skip(finding.id, &finding.subject, message).hint("sudo mtctl check")
}

/// Hints get copied and pasted, so they must refer to the host and the options that were checked.
fn with_same_options(mut finding: Finding, observed: &Observed, desired: &Desired) -> Finding {
    const COMMAND: &str = "mtctl prepare";
    let mount = (desired.retention_mount != Path::new(RETENTION_MOUNT_DEFAULT))
        .then(|| desired.retention_mount.display().to_string());
    let is_policy_typed = desired.multipath != MultipathPolicy::default();
    let options = [
        ("--root", observed.image.as_ref().map(|image| image.display().to_string())),
        ("--multipath", is_policy_typed.then(|| desired.multipath.to_string())),
        ("--profile", (desired.profile == Profile::Asr).then(|| "asr".to_owned())),
        ("--retention-mount", mount),
    ];
    let mut command = Invocation::new("mtctl").argument("prepare");
    for (name, value) in options {
        if let (Some(value), false) = (value, finding.hint.contains(name)) {
            command = command.arguments([name, value.as_str()]);
        }
    }
    finding.hint = finding.hint.replace(COMMAND, &command.to_string());
    finding
}

#[cfg(test)]
mod tests;
