//! Which packages a master target needs, by the names of each distribution, which of them are
//! installed, and the command that installs the rest. `plan` decides when to install.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use crate::host::{Host, Invocation, Tree};
use crate::multipath::MultipathPolicy;
use crate::platform::{Distribution, Family, Platform, RedHatRelease};

/// The supported package tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageManager {
    /// Release 8 and later.
    Dnf,
    /// Releases 6 and 7.
    Yum,
    /// Debian and Ubuntu.
    Apt,
}

/// Whose package tool and database are used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageRoot {
    /// Those of the running host.
    Host,
    /// Those of the image, run inside it: its configuration, its lists, and its database in the
    /// format that its release reads.
    Inside(PathBuf),
    /// The running host's tool, applied to an image that has none.
    InstallRoot(PathBuf),
}

impl PackageRoot {
    /// `program`, run where the packages belong.
    fn program(&self, program: &str) -> Invocation {
        match self {
            Self::Host | Self::InstallRoot(_) => Invocation::new(program),
            Self::Inside(image) => {
                Invocation::new("chroot").argument(image.display().to_string()).argument(program)
            }
        }
    }
}

/// The observed state of the packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackagesObserved {
    /// The package tool, if one was found.
    pub manager: Option<PackageManager>,
    /// Whose tool it is.
    pub root: PackageRoot,
    /// Those of [`known_names`] that are installed.
    pub installed: BTreeSet<String>,
}

/// What needs a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Every master target.
    Always,
    /// Virtual machines on VMware.
    VmWare,
    /// Multipath policy auto or require.
    Multipath,
}

/// A package: what needs it, and its name in each family (empty if the family has no such package).
struct Package {
    need: Need,
    red_hat: &'static str,
    debian: &'static str,
}

const fn package(need: Need, red_hat: &'static str, debian: &'static str) -> Package {
    Package { need, red_hat, debian }
}

/// The list of the manual procedure, and the programs that mtctl itself calls; btrfs-progs,
/// reiserfs tools and kernel modules are not packaged by RHEL and its family.
const PACKAGES: [Package; 15] = [
    package(Need::Always, "xfsprogs", "xfsprogs"),
    package(Need::Always, "e2fsprogs", "e2fsprogs"),
    package(Need::Always, "dosfstools", "dosfstools"),
    package(Need::Always, "", "btrfs-progs"),
    package(Need::Always, "util-linux", "util-linux"),
    package(Need::Always, "lsscsi", "lsscsi"),
    package(Need::Always, "rsync", "rsync"),
    package(Need::Always, "wget", "wget"),
    package(Need::Always, "perl", "perl"),
    package(Need::Always, "mdadm", "mdadm"),
    package(Need::Always, "lvm2", "lvm2"),
    package(Need::Always, "kexec-tools", "kexec-tools"),
    package(Need::VmWare, "open-vm-tools", "open-vm-tools"),
    package(Need::Multipath, "device-mapper-multipath", "multipath-tools"),
    package(Need::Multipath, "kpartx", "kpartx"),
];

/// Every package name that may be wanted on this distribution.
pub fn known_names(distribution: &Distribution) -> Vec<&'static str> {
    names(distribution, |_| true)
}

/// The packages wanted on this platform under `policy`.
pub(crate) fn wanted_names(platform: &Platform, policy: MultipathPolicy) -> Vec<&'static str> {
    names(&platform.distribution, |need| match need {
        Need::Always => true,
        Need::VmWare => platform.is_vmware(),
        Need::Multipath => policy != MultipathPolicy::Off,
    })
}

fn names(distribution: &Distribution, is_needed: impl Fn(Need) -> bool) -> Vec<&'static str> {
    let release = distribution.red_hat_release();
    let name = |package: &Package| match distribution.family {
        Family::RedHat => red_hat_name(package.red_hat, release),
        Family::Debian => package.debian,
        Family::Unknown => "",
    };
    let wanted = PACKAGES.iter().filter(|package| is_needed(package.need)).map(name);
    wanted.filter(|name| !name.is_empty()).collect()
}

/// Release 10 moved kdump out of kexec-tools; release 6 has util-linux under its old name, and its
/// VMware tools only in a repository outside the distribution.
fn red_hat_name(name: &'static str, release: Option<RedHatRelease>) -> &'static str {
    match (name, release) {
        ("kexec-tools", Some(RedHatRelease::Ten)) => "kdump-utils",
        ("util-linux", Some(RedHatRelease::Six)) => "util-linux-ng",
        ("open-vm-tools", Some(RedHatRelease::Six)) => "",
        _ => name,
    }
}

/// Finds the package tool and queries the installed packages.
pub fn observe(host: &Host, platform: &Platform) -> PackagesObserved {
    let distribution = &platform.distribution;
    let known = known_names(distribution);
    let (manager, root) = find_manager(host, distribution.family);
    let installed = match distribution.family {
        Family::Debian => installed_debs(host, &root, &known),
        Family::RedHat => installed_rpms(host, &root, &known),
        Family::Unknown => BTreeSet::new(),
    };
    PackagesObserved { manager, root, installed }
}

fn find_manager(host: &Host, family: Family) -> (Option<PackageManager>, PackageRoot) {
    let own = manager_of(host.system(), family);
    match (host.image(), own) {
        (None, own) => (own, PackageRoot::Host),
        (Some(image), Some(own)) => (Some(own), PackageRoot::Inside(image.to_owned())),
        (Some(image), None) => {
            (manager_of(host.machine(), family), PackageRoot::InstallRoot(image.to_owned()))
        }
    }
}

fn manager_of(tree: &Tree, family: Family) -> Option<PackageManager> {
    let has = |program: &str| {
        ["/usr/bin", "/bin"].iter().any(|directory| tree.exists(format!("{directory}/{program}")))
    };
    match family {
        Family::Debian => has("apt-get").then_some(PackageManager::Apt),
        Family::RedHat if has("dnf") || has("dnf5") => Some(PackageManager::Dnf),
        Family::RedHat => has("yum").then_some(PackageManager::Yum),
        Family::Unknown => None,
    }
}

fn installed_debs(host: &Host, root: &PackageRoot, names: &[&str]) -> BTreeSet<String> {
    let mut query = root.program("dpkg-query");
    if let PackageRoot::InstallRoot(image) = root {
        query = query.argument(format!("--admindir={}/var/lib/dpkg", image.display()));
    }
    let format = "--showformat=${Package}\\t${Status}\\n";
    let query = query.arguments(["--show", format]).arguments(names.iter().copied());
    // Status 1 only means that some of the names are unknown; the others are still printed.
    let printed = host.ask(&query).map(|output| output.stdout).unwrap_or_default();
    parse_dpkg_query(&printed)
}

/// Rows of the form `name<TAB>install ok installed`.
fn parse_dpkg_query(printed: &str) -> BTreeSet<String> {
    let row = |line: &str| {
        let (name, status) = line.split_once('\t')?;
        status.ends_with(" ok installed").then(|| name.to_owned())
    };
    printed.lines().filter_map(row).collect()
}

fn installed_rpms(host: &Host, root: &PackageRoot, names: &[&str]) -> BTreeSet<String> {
    let mut query = root.program("rpm");
    if let PackageRoot::InstallRoot(image) = root {
        query = query.argument("--root").argument(image.display().to_string());
    }
    let query =
        query.arguments(["-q", "--queryformat", "%{NAME}\\n"]).arguments(names.iter().copied());
    let printed = host.ask(&query).map(|output| output.stdout).unwrap_or_default();
    // For an unknown name, rpm prints a sentence on stdout, which never equals one of the names.
    let is_name = |line: &&str| names.contains(line);
    printed.lines().map(str::trim).filter(is_name).map(str::to_owned).collect()
}

/// The commands that install `packages` in `root`.
pub(crate) fn install_commands(
    manager: PackageManager,
    packages: &[String],
    root: &PackageRoot,
) -> Vec<Invocation> {
    let names = packages.iter().map(String::as_str);
    let red_hat = |program: &str| {
        let install = root.program(program).argument("-y");
        let install = match root {
            PackageRoot::InstallRoot(image) => {
                install.argument(format!("--installroot={}", image.display()))
            }
            PackageRoot::Host | PackageRoot::Inside(_) => install,
        };
        install.argument("install")
    };
    match manager {
        PackageManager::Dnf => vec![red_hat("dnf").arguments(names)],
        PackageManager::Yum => vec![red_hat("yum").arguments(names)],
        PackageManager::Apt => {
            let apt = || root.program("apt-get").environment("DEBIAN_FRONTEND", "noninteractive");
            // Without the option, update treats unreachable repositories as warnings and succeeds.
            let update = apt().arguments(["-o", "APT::Update::Error-Mode=any", "update"]);
            let install = apt().arguments(["install", "-y", "--no-install-recommends"]);
            vec![update, install.arguments(names)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_release() {
        let known = |text: &str| known_names(&crate::platform::parse_os_release(text));
        assert!(known("ID=rhel\nVERSION_ID=10.1").contains(&"kdump-utils"));
        assert!(known("ID=rhel\nVERSION_ID=9.4").contains(&"kexec-tools"));
        assert!(known("ID=amzn\nVERSION_ID=2023").contains(&"kexec-tools"), "a year is no release");
        assert!(!known("ID=rhel\nVERSION_ID=6.10").contains(&"open-vm-tools"));
        assert!(known("ID=debian\nVERSION_ID=12").contains(&"multipath-tools"));
        assert!(known("ID=arch").is_empty());
    }

    #[test]
    fn an_image_is_installed_into_and_the_host_is_not() {
        let image = PathBuf::from("/mnt/image");
        let inside = PackageRoot::Inside(image.clone());
        for manager in [PackageManager::Dnf, PackageManager::Yum, PackageManager::Apt] {
            for command in install_commands(manager, &["lsscsi".into()], &inside) {
                assert!(command.to_string().contains("chroot /mnt/image "), "{command}");
            }
        }
        let from_outside = PackageRoot::InstallRoot(image);
        let commands = install_commands(PackageManager::Dnf, &["lsscsi".into()], &from_outside);
        assert_eq!(commands[0].to_string(), "dnf -y --installroot=/mnt/image install lsscsi");
    }

    #[test]
    fn a_removed_package_with_configuration_left_is_not_installed() {
        let printed = "rsync\tinstall ok installed\nlsscsi\tdeinstall ok config-files\n";
        assert_eq!(parse_dpkg_query(printed), BTreeSet::from(["rsync".to_owned()]));
    }
}
