//! What machine and which distribution this is: os-release, kernel, memory, cores, DMI, effective
//! user. `check` judges whether that is good enough.

use serde::Serialize;

use crate::host::Host;
use system::error::Result;

/// The distributions that this program supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Debian, Ubuntu and their derivatives.
    Debian,
    /// RHEL, CentOS, Rocky, Alma, Oracle, Fedora.
    RedHat,
    /// Anything else: nothing is installed or edited there by guesswork.
    Unknown,
}

/// The distribution, from os-release(5), or from /etc/redhat-release if there is none (release 6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Distribution {
    /// The family it is derived from.
    pub family: Family,
    /// `debian`, `centos`, `rhel`, …
    pub id: String,
    /// The first number of the version, which may be a year; `None` if there is none (testing,
    /// rolling). Its meaning depends on the distribution: use `red_hat_release`.
    pub major_version: Option<u32>,
    /// The name shown to people.
    pub pretty_name: String,
}

/// A release of Enterprise Linux, or the one that a distribution of its family corresponds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RedHatRelease {
    /// 6 and older: upstart, util-linux-ng, Linux 2.6.32.
    Six,
    /// 7.
    Seven,
    /// 8.
    Eight,
    /// 9.
    Nine,
    /// 10 and newer.
    Ten,
}

impl RedHatRelease {
    fn of_enterprise(version: u32) -> Option<Self> {
        match version {
            5 | 6 => Some(Self::Six),
            7 => Some(Self::Seven),
            8 => Some(Self::Eight),
            9 => Some(Self::Nine),
            10..=99 => Some(Self::Ten),
            _ => None,
        }
    }

    /// The release that was branched from each version.
    fn of_fedora(version: u32) -> Option<Self> {
        match version {
            12..=18 => Some(Self::Six),
            19..=27 => Some(Self::Seven),
            28..=33 => Some(Self::Eight),
            34..=39 => Some(Self::Nine),
            40..=99 => Some(Self::Ten),
            _ => None,
        }
    }

    /// 2018.03 is like release 6, 2 is like release 7, 2023 was made from Fedora 34 to 36.
    fn of_amazon(version: u32) -> Option<Self> {
        match version {
            2010..=2018 => Some(Self::Six),
            2 => Some(Self::Seven),
            2022.. => Some(Self::Nine),
            _ => None,
        }
    }
}

impl Distribution {
    /// The release of Enterprise Linux that it is or corresponds to; `None` outside the family, and
    /// for a version that determines none, which is then taken for one newer than any that is
    /// known.
    pub(crate) fn red_hat_release(&self) -> Option<RedHatRelease> {
        let version = self.major_version.filter(|_| self.family == Family::RedHat)?;
        match self.id.as_str() {
            "amzn" => RedHatRelease::of_amazon(version),
            "fedora" => RedHatRelease::of_fedora(version),
            _ => RedHatRelease::of_enterprise(version),
        }
    }

    /// Whether it is release 9 or newer of the family, or one whose release is not known.
    pub(crate) fn is_red_hat_nine_or_newer(&self) -> bool {
        self.family == Family::RedHat
            && self.red_hat_release().is_none_or(|release| release >= RedHatRelease::Nine)
    }
}

/// The machine, and the user who runs this program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Platform {
    /// The distribution of the system being prepared.
    pub distribution: Distribution,
    /// The running kernel's release.
    pub kernel_release: String,
    /// DMI system vendor; `VMware, Inc.` on VMware.
    pub system_vendor: String,
    /// DMI product name.
    pub product_name: String,
    /// Usable memory, in bytes.
    pub memory_bytes: u64,
    /// Number of processors online.
    pub cores: usize,
    /// Whether the effective user is root.
    pub is_root: bool,
    /// Whether systemd is the running init.
    pub has_systemd: bool,
    /// Distinguishes this machine from its clones: machine-id(5) and the product UUID of DMI.
    #[serde(skip)]
    pub machine: String,
    /// Whether a mounted image is prepared instead of the running host.
    pub is_image: bool,
}

/// The hypervisor, as far as hints depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hypervisor {
    /// VMware.
    VmWare,
    /// KVM and everything built on QEMU.
    Kvm,
    /// Hyper-V.
    HyperV,
    /// A physical machine, or an unknown hypervisor.
    NoneKnown,
}

impl Platform {
    /// Whether DMI says VMware.
    pub fn is_vmware(&self) -> bool {
        self.hypervisor() == Hypervisor::VmWare
    }

    /// The hypervisor according to DMI.
    pub(crate) fn hypervisor(&self) -> Hypervisor {
        hypervisor(&self.system_vendor, &self.product_name)
    }
}

fn hypervisor(vendor: &str, product: &str) -> Hypervisor {
    const OF_KVM: [&str; 9] = [
        "QEMU",
        "Red Hat",
        "oVirt",
        "Nutanix",
        "OpenStack",
        "KubeVirt",
        "Amazon EC2",
        "Google",
        "Alibaba Cloud",
    ];
    if vendor.starts_with("VMware") {
        Hypervisor::VmWare
    } else if vendor == "Microsoft Corporation" && product == "Virtual Machine" {
        Hypervisor::HyperV
    } else if OF_KVM.iter().any(|name| vendor.starts_with(name)) || product.contains("KVM") {
        Hypervisor::Kvm
    } else {
        Hypervisor::NoneKnown
    }
}

/// Observes the platform.
///
/// # Errors
/// Returns an error if a file that exists cannot be read.
pub fn observe(host: &Host) -> Result<Platform> {
    let kernel = host.machine();
    let dmi = |name: &str| kernel.attribute(format!("/sys/class/dmi/id/{name}"));
    let status = kernel.text_if_exists("/proc/self/status")?.unwrap_or_default();
    let memory = kernel.text_if_exists("/proc/meminfo")?.unwrap_or_default();
    let processors = kernel.text_if_exists("/proc/cpuinfo")?.unwrap_or_default();
    Ok(Platform {
        distribution: distribution(host)?,
        kernel_release: kernel.attribute("/proc/sys/kernel/osrelease").unwrap_or_default(),
        system_vendor: dmi("sys_vendor").unwrap_or_default(),
        product_name: dmi("product_name").unwrap_or_default(),
        memory_bytes: system::memory::bytes(&memory, "MemTotal").unwrap_or(0),
        cores: processors.lines().filter(|line| line.starts_with("processor")).count(),
        is_root: effective_user(&status) == Some(0),
        has_systemd: kernel.exists("/run/systemd/system"),
        machine: self::machine(host),
        is_image: host.image().is_some(),
    })
}

/// A clone keeps machine-id(5), and the product UUID comes from the hypervisor: only both together
/// identify a machine.
pub fn machine(host: &Host) -> String {
    let text = |path: &str| host.machine().attribute(path).unwrap_or_default();
    format!("{} {}", text("/etc/machine-id"), text("/sys/class/dmi/id/product_uuid"))
}

fn distribution(host: &Host) -> Result<Distribution> {
    for path in ["/etc/os-release", "/usr/lib/os-release"] {
        if let Some(text) = host.system().text_if_exists(path)? {
            return Ok(parse_os_release(&text));
        }
    }
    let release = host.system().text_if_exists("/etc/redhat-release")?;
    Ok(release.map_or_else(unknown, |text| parse_redhat_release(&text)))
}

fn unknown() -> Distribution {
    Distribution {
        family: Family::Unknown,
        id: "unknown".into(),
        major_version: None,
        pretty_name: "unknown (no os-release)".into(),
    }
}

/// The current boot: a UUID that is new at every start.
pub fn boot_id(host: &Host) -> Option<String> {
    host.machine().attribute("/proc/sys/kernel/random/boot_id")
}

/// Parses os-release(5). Values may be quoted; unknown rows are skipped.
pub fn parse_os_release(text: &str) -> Distribution {
    let value = |key: &str| {
        let row = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
        row.map(|value| value.trim_matches(['"', '\'']).to_owned()).unwrap_or_default()
    };
    let (id, like) = (value("ID"), value("ID_LIKE"));
    let named = |known: &[&str]| {
        known.contains(&id.as_str()) || like.split_whitespace().any(|name| known.contains(&name))
    };
    let family = if named(&["debian", "ubuntu"]) {
        Family::Debian
    } else if named(&["rhel", "centos", "fedora", "ol", "amzn", "rocky", "almalinux"]) {
        Family::RedHat
    } else {
        Family::Unknown
    };
    let pretty_name = Some(value("PRETTY_NAME")).filter(|name| !name.is_empty());
    Distribution {
        family,
        major_version: leading_number(&value("VERSION_ID")),
        pretty_name: pretty_name.unwrap_or_else(|| id.clone()),
        id,
    }
}

/// Parses /etc/redhat-release: `CentOS release 6.6 (Final)`.
fn parse_redhat_release(text: &str) -> Distribution {
    let version =
        text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    Distribution {
        family: Family::RedHat,
        id: text.split_whitespace().next().unwrap_or("rhel").to_lowercase(),
        major_version: leading_number(version.unwrap_or_default()),
        pretty_name: text.trim().to_owned(),
    }
}

fn leading_number(text: &str) -> Option<u32> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|number| *number != 0)
}

/// The effective uid, the second number of `Uid:` in /proc/self/status (proc(5)).
fn effective_user(status: &str) -> Option<u32> {
    let row = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    row.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_comes_from_the_id_or_from_what_it_is_like() {
        let rows = [
            ("ID=debian\nVERSION_ID=\"12\"\n", Family::Debian, Some(12)),
            ("ID=debian\nPRETTY_NAME=\"Debian trixie/sid\"\n", Family::Debian, None),
            ("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"20.04\"\n", Family::Debian, Some(20)),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"\n",
                Family::RedHat,
                Some(9),
            ),
            ("ID=\"centos\"\nVERSION_ID=\"7\"\n", Family::RedHat, Some(7)),
            ("ID=\"ol\"\nVERSION_ID=\"7.9\"\n", Family::RedHat, Some(7)),
            ("ID=openEuler\nVERSION_ID=\"22.03\"\n", Family::Unknown, Some(22)),
            ("ID=arch\n", Family::Unknown, None),
            ("", Family::Unknown, None),
        ];
        for (text, family, major_version) in rows {
            let read = parse_os_release(text);
            assert_eq!((read.family, read.major_version), (family, major_version), "{text:?}");
        }
    }

    #[test]
    fn release_6_has_no_os_release_and_is_still_known() {
        let read = parse_redhat_release("CentOS release 6.6 (Final)\n");
        assert_eq!((read.family, read.major_version), (Family::RedHat, Some(6)));
        assert_eq!(read.id, "centos");
    }

    #[test]
    fn a_version_is_a_release_only_where_it_says_one() {
        let rows = [
            ("ID=rhel\nVERSION_ID=\"6.10\"\n", Some(RedHatRelease::Six)),
            ("ID=\"ol\"\nVERSION_ID=\"7.9\"\n", Some(RedHatRelease::Seven)),
            ("ID=\"ol\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"8.10\"\n", Some(RedHatRelease::Eight)),
            ("ID=\"centos\"\nVERSION_ID=\"9\"\n", Some(RedHatRelease::Nine)),
            ("ID=\"almalinux\"\nVERSION_ID=\"10.0\"\n", Some(RedHatRelease::Ten)),
            (
                "ID=amzn\nID_LIKE=\"rhel fedora\"\nVERSION_ID=\"2018.03\"\n",
                Some(RedHatRelease::Six),
            ),
            ("ID=amzn\nVERSION_ID=\"2\"\n", Some(RedHatRelease::Seven)),
            ("ID=amzn\nID_LIKE=fedora\nVERSION_ID=\"2023\"\n", Some(RedHatRelease::Nine)),
            ("ID=fedora\nVERSION_ID=36\n", Some(RedHatRelease::Nine)),
            ("ID=fedora\nVERSION_ID=41\n", Some(RedHatRelease::Ten)),
            ("ID=fedora\n", None),
            ("ID=x\nID_LIKE=fedora\nVERSION_ID=0\n", None),
            ("ID=x\nID_LIKE=rhel\nVERSION_ID=2024.1\n", None),
            ("ID=debian\nVERSION_ID=6\n", None),
        ];
        for (text, release) in rows {
            let read = parse_os_release(text);
            assert_eq!(read.red_hat_release(), release, "{text:?}");
            let is_old = release.is_some_and(|release| release < RedHatRelease::Nine);
            let is_new = read.family == Family::RedHat && !is_old;
            assert_eq!(read.is_red_hat_nine_or_newer(), is_new, "{text:?}");
        }
    }

    #[test]
    fn what_runs_the_machine_is_told_by_dmi() {
        let rows = [
            ("VMware, Inc.", "VMware20,1", Hypervisor::VmWare),
            ("QEMU", "Standard PC (Q35 + ICH9, 2009)", Hypervisor::Kvm),
            ("Red Hat", "RHEL-AV", Hypervisor::Kvm),
            ("Microsoft Corporation", "Virtual Machine", Hypervisor::HyperV),
            ("Microsoft Corporation", "Surface Pro", Hypervisor::NoneKnown),
            ("Dell Inc.", "PowerEdge R640", Hypervisor::NoneKnown),
            ("", "", Hypervisor::NoneKnown),
        ];
        for (vendor, product, expected) in rows {
            assert_eq!(hypervisor(vendor, product), expected, "{vendor} {product}");
        }
    }

    #[test]
    fn the_effective_user_counts_not_the_real_one() {
        assert_eq!(effective_user("Name:\tx\nUid:\t1000\t0\t0\t0\n"), Some(0));
        assert_eq!(effective_user("Name:\tx\n"), None);
    }
}
