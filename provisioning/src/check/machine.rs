//! Findings about the machine: platform, root, memory, cores, network, guest tools.

use std::net::IpAddr;

use super::{Finding, Status};
use crate::disk::Use;
use crate::hosts::Hosts;
use crate::observe::Observed;
use crate::plan::platform::{CORES_MIN, MEMORY_BYTES_MIN};
use crate::platform::Family;
use crate::spec::{Desired, Profile};
use system::size;

/// Size of the system disk that the procedure requires, in bytes: 100 GB, as disks are sold.
const SYSTEM_DISK_BYTES_MIN: u64 = 100_000_000_000;

/// A shortage is a failure where the procedure's numbers are mandatory, and a warning elsewhere.
fn shortage(desired: &Desired) -> Status {
    match desired.profile {
        Profile::Asr => Status::Fail,
        Profile::Generic => Status::Warn,
    }
}

pub(super) fn platform(observed: &Observed, desired: &Desired) -> Vec<Finding> {
    let platform = &observed.platform;
    let name = platform.distribution.pretty_name.as_str();
    let distribution = match platform.distribution.family {
        Family::Unknown => Finding::fail("platform", name, "an unknown distribution")
            .hint("use Debian, Ubuntu or a release of the RHEL family"),
        Family::Debian | Family::RedHat => {
            Finding::pass("platform", name, format!("Linux {}", platform.kernel_release))
        }
    };
    let mut findings = vec![distribution];
    findings.extend(hypervisor(observed, desired));
    findings.extend(system_disk(observed, desired));
    findings.push(if platform.is_root {
        Finding::pass("root", "this process", "runs as root")
    } else {
        Finding::warn("root", "this process", "not root: the contents of disks cannot be read")
            .hint("sudo mtctl check")
    });
    let memory = size::binary(platform.memory_bytes);
    findings.push(if platform.memory_bytes >= MEMORY_BYTES_MIN {
        Finding::pass("memory", "this machine", memory)
    } else {
        let message = format!("{memory}; the procedure asks for 6 GiB");
        Finding::new("memory", shortage(desired), "this machine", message)
            .hint("power the VM off and give it 6 GiB of memory")
    });
    let cores = platform.cores;
    findings.push(if cores >= CORES_MIN {
        Finding::pass("cores", "this machine", format!("{cores} cores"))
    } else {
        let message = format!("{cores} cores; the procedure asks for {CORES_MIN}");
        Finding::new("cores", shortage(desired), "this machine", message)
            .hint("power the VM off and give it 4 cores")
    });
    findings
}

fn hypervisor(observed: &Observed, desired: &Desired) -> Option<Finding> {
    let platform = &observed.platform;
    if platform.is_vmware() || desired.profile == Profile::Generic {
        return None;
    }
    let vendor = &platform.system_vendor;
    let finding =
        Finding::fail("platform", "this machine", format!("not a VMware VM, but '{vendor}'"));
    Some(finding.hint("use a VMware VM, or check with --profile generic"))
}

/// The system's disk: large enough, and its root filesystem not on LVM.
fn system_disk(observed: &Observed, desired: &Desired) -> Vec<Finding> {
    let disks = observed.disks.iter().filter(|disk| disk.is_listed_by_default());
    let Some(disk) = disks.into_iter().find(|disk| disk.is_system()) else { return Vec::new() };
    let path = disk.path.display().to_string();
    let mut findings = Vec::new();
    if disk.size_bytes < SYSTEM_DISK_BYTES_MIN {
        let message = format!(
            "a system disk of {}; the procedure asks for 100 GB",
            size::binary(disk.size_bytes)
        );
        let finding = Finding::new("platform", shortage(desired), &path, message);
        findings.push(finding.hint("power the VM off and enlarge its first disk"));
    }
    if disk.used_by.iter().any(|one| matches!(one, Use::LogicalVolume(_))) {
        let message = "the system is on LVM, which the procedure advises against";
        let finding = Finding::warn("platform", &path, message);
        findings.push(finding.hint("install without LVM: mtctl kickstart --help"));
    }
    findings
}

pub(super) fn network(observed: &Observed) -> Vec<Finding> {
    vec![hosts_file(observed), static_address(observed)]
}

fn hosts_file(observed: &Observed) -> Finding {
    let id = "hosts-file";
    let name = observed.network.hostname.as_str();
    let Some(addresses) = &observed.network.addresses else {
        return Finding::skip(id, "/etc/hosts", "this host's addresses are unknown");
    };
    let addresses: Vec<IpAddr> = addresses.iter().map(|one| one.address).collect();
    let hosts = Hosts::parse(observed.file("/etc/hosts").unwrap_or_default());
    let missing = hosts.missing(name, &addresses);
    if addresses.is_empty() {
        return Finding::skip(id, "/etc/hosts", "this host has no global address");
    }
    if missing.is_empty() {
        return Finding::pass(id, "/etc/hosts", format!("{name} has all addresses of this host"));
    }
    let listed: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let file = observed.outside_path("/etc/hosts".as_ref());
    let rows: Vec<String> = listed.iter().map(|address| format!("'{address} {name}'")).collect();
    Finding::warn(id, "/etc/hosts", format!("{name} is not mapped to {}", listed.join(", ")))
        .hint(format!("printf '%s\\n' {} >> {}", rows.join(" "), file.display()))
}

fn static_address(observed: &Observed) -> Finding {
    let id = "static-address";
    let subject = "network";
    let Some(addresses) = &observed.network.addresses else {
        return Finding::skip(id, subject, "this host's addresses are unknown");
    };
    let dynamic: Vec<String> = addresses
        .iter()
        .filter(|one| one.is_dynamic && one.address.is_ipv4())
        .map(|one| format!("{} on {}", one.address, one.interface))
        .collect();
    match (addresses.is_empty(), dynamic.is_empty()) {
        (true, _) => Finding::skip(id, subject, "this host has no global address"),
        (false, true) => Finding::pass(id, subject, "none of its addresses is leased"),
        (false, false) => Finding::warn(id, subject, format!("leased: {}", dynamic.join(", ")))
            .hint("give it a static address: nmtui, or your distribution's own way"),
    }
}

pub(super) fn guest_tools(observed: &Observed, desired: &Desired) -> Vec<Finding> {
    let tools = match (observed.platform.is_vmware(), desired.profile) {
        (false, _) => Finding::skip("vm-tools", "open-vm-tools", "not a VMware machine"),
        (true, _) if observed.packages.installed.contains("open-vm-tools") => {
            Finding::pass("vm-tools", "open-vm-tools", "installed")
        }
        (true, _) => Finding::fail("vm-tools", "open-vm-tools", "not installed")
            .hint("mtctl prepare --only packages"),
    };
    vec![tools, super::software::kernel_updates(observed, desired)]
}
