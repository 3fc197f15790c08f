//! The distributions that machines in memory have installed: the files that identify them, and the
//! features of their kernels.

use provisioning::host::{MemoryTree, Node, RingProbe};

/// The installed distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Debian 12.
    Debian12,
    /// Rocky Linux 9.
    Rocky9,
    /// CentOS 7.
    CentOs7,
}

impl Distribution {
    /// Whether its disks have sequence numbers.
    pub fn has_diskseq(self) -> bool {
        match self {
            Self::Debian12 => true,
            // 5.14 is older than that feature, and so is 3.10.
            Self::Rocky9 | Self::CentOs7 => false,
        }
    }

    pub(super) fn io_uring(self) -> RingProbe {
        match self {
            Self::Debian12 => RingProbe::Available,
            Self::Rocky9 => RingProbe::Refused(1),
            Self::CentOs7 => RingProbe::Refused(38),
        }
    }

    fn kernel(self) -> &'static str {
        match self {
            Self::Debian12 => "6.1.0-28-amd64",
            Self::Rocky9 => "5.14.0-503.11.1.el9_5.x86_64",
            Self::CentOs7 => "3.10.0-1160.el7.x86_64",
        }
    }

    pub(super) fn os_release(self) -> &'static str {
        match self {
            Self::Debian12 => {
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n"
            }
            Self::Rocky9 => {
                "NAME=\"Rocky Linux\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n\
                 VERSION_ID=\"9.5\"\nPRETTY_NAME=\"Rocky Linux 9.5 (Blue Onyx)\"\n"
            }
            Self::CentOs7 => {
                "NAME=\"CentOS Linux\"\nID=\"centos\"\nID_LIKE=\"rhel fedora\"\n\
                 VERSION_ID=\"7\"\nPRETTY_NAME=\"CentOS Linux 7 (Core)\"\n"
            }
        }
    }

    /// Filesystems that its kernel has as modules.
    fn modules(self) -> &'static [&'static str] {
        match self {
            Self::Debian12 => {
                &["btrfs/btrfs", "ext4/ext4", "fat/vfat", "reiserfs/reiserfs", "xfs/xfs"]
            }
            Self::Rocky9 => &["ext4/ext4", "fat/vfat", "xfs/xfs"],
            Self::CentOs7 => &["btrfs/btrfs", "ext4/ext4", "fat/vfat", "xfs/xfs"],
        }
    }

    pub(super) fn package_tool(self) -> &'static str {
        match self {
            Self::Debian12 => "/usr/bin/apt-get",
            Self::Rocky9 => "/usr/bin/dnf",
            Self::CentOs7 => "/usr/bin/yum",
        }
    }

    pub(super) fn initramfs_tool(self) -> &'static str {
        match self {
            Self::Debian12 => "/usr/sbin/update-initramfs",
            Self::Rocky9 | Self::CentOs7 => "/usr/bin/dracut",
        }
    }

    /// The output of `ip -json address show`; iproute of release 7 does not know the option.
    pub(super) fn addresses(self) -> Option<&'static str> {
        match self {
            Self::CentOs7 => None,
            Self::Debian12 | Self::Rocky9 => Some(
                r#"[{"ifname":"lo","addr_info":[{"local":"127.0.0.1","scope":"host"}]},
{"ifname":"ens192","addr_info":[
{"family":"inet","local":"192.0.2.10","prefixlen":24,"scope":"global"},
{"family":"inet6","local":"fe80::250:56ff:fe00:10","prefixlen":64,"scope":"link"}]}]
"#,
            ),
        }
    }

    pub(super) fn put_files(self, tree: &MemoryTree) {
        let kernel = self.kernel();
        let dependencies: String = self
            .modules()
            .iter()
            .map(|name| format!("kernel/fs/{name}.ko.xz: kernel/lib/libcrc32c.ko.xz\n"))
            .collect();
        let processors: String = (0..4).map(|index| format!("processor\t: {index}\n\n")).collect();
        let texts = [
            ("/etc/os-release", self.os_release()),
            ("/etc/fstab", ""),
            ("/etc/hostname", "mt1\n"),
            ("/etc/hosts", "127.0.0.1 localhost\n192.0.2.10 mt1.example.com mt1\n"),
            ("/proc/cpuinfo", &processors),
            ("/proc/filesystems", "nodev\tsysfs\nnodev\tproc\n\text4\n"),
            ("/proc/meminfo", "MemTotal:        8150240 kB\nMemFree:         6150240 kB\n"),
            ("/proc/self/mountinfo", ""),
            ("/proc/self/status", "Name:\tmtctl\nUid:\t0\t0\t0\t0\n"),
            ("/proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
            ("/proc/sys/kernel/hostname", "mt1\n"),
            ("/proc/sys/kernel/osrelease", &format!("{kernel}\n")),
            ("/proc/sys/kernel/random/boot_id", "0b6ba6a5-5a9e-4b1d-8a0c-2f1f6a3f7a11\n"),
            ("/sys/class/dmi/id/sys_vendor", "VMware, Inc.\n"),
            ("/sys/class/dmi/id/product_name", "VMware Virtual Platform\n"),
            (&format!("/lib/modules/{kernel}/modules.dep"), &dependencies),
            (&format!("/lib/modules/{kernel}/modules.builtin"), ""),
            (self.package_tool(), ""),
            (self.initramfs_tool(), ""),
        ];
        for (path, text) in texts {
            tree.put_text(path, text);
        }
        if self == Self::Rocky9 {
            tree.put_text("/proc/sys/kernel/io_uring_disabled", "2\n");
        }
        tree.put_text("/run/udev/control", "");
        for directory in ["/run/systemd/system", "/mnt", "/sys/block"] {
            tree.put(directory, Node::Directory);
        }
    }
}
