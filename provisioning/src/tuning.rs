//! The texts that tune a master target: udev rules, io_uring sysctl, hold of kernel updates.
//! Which of them a host needs is decided elsewhere, and nothing is written here.

use crate::marked_block::BlockError;

mod exclude;
#[cfg(test)]
mod tests;

/// Where [`UDEV_RULES`] belong.
pub const UDEV_RULES_FILE: &str = "/etc/udev/rules.d/61-mtctl.rules";

/// The udev rules; `udevadm control --reload` and `udevadm trigger` bring them into effect.
///
/// They hold for the host's own disks as for the attached ones, on purpose: which disk is the
/// host's own can change under a rule file, and nothing in them can keep a host from booting. The
/// time-out only waits longer; a scheduler is set only where the kernel offers it; and udisks,
/// which mounts nothing a server needs, merely does not show the disks it is told to ignore (nor
/// does the storage page of a web console). What must differ between own and attached disks is
/// done by LVM's, MD's and multipath's own files.
pub const UDEV_RULES: &str = r#"# Written by mtctl: changes here are lost.
# A virtual disk can be silent for minutes while the storage under it fails over.
ACTION=="add|change", SUBSYSTEM=="scsi", ENV{DEVTYPE}=="scsi_device", \
  ATTR{type}=="0", ATTR{timeout}="180"
# The hypervisor orders the requests: no second scheduler here. Older kernels call it noop.
ACTION=="add|change", SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", KERNEL=="sd*|vd*|nvme*", \
  ATTR{queue/scheduler}=="*none*", ATTR{queue/scheduler}!="*[[]none]*", \
  ATTR{queue/scheduler}="none"
ACTION=="add|change", SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", KERNEL=="sd*|vd*|nvme*", \
  ATTR{queue/scheduler}!="*none*", ATTR{queue/scheduler}=="*noop*", \
  ATTR{queue/scheduler}!="*[[]noop]*", ATTR{queue/scheduler}="noop"
# No desktop service may look into a customer's disk or offer to mount it.
ACTION!="remove", SUBSYSTEM=="block", KERNEL=="sd*|vd*|nvme*", \
  ENV{UDISKS_IGNORE}="1", ENV{UDISKS_PRESENTATION_HIDE}="1"
ACTION!="remove", SUBSYSTEM=="block", ENV{DM_UUID}=="*mpath-*", \
  ENV{UDISKS_IGNORE}="1", ENV{UDISKS_PRESENTATION_HIDE}="1"
"#;

/// Seconds a SCSI disk may take for one command, as [`UDEV_RULES`] set it.
pub const DISK_TIMEOUT_SECONDS: u32 = 180;

/// Where [`IO_URING_SYSCTL`] belongs.
pub const IO_URING_SYSCTL_FILE: &str = "/etc/sysctl.d/90-mtctl.conf";

/// Allows io_uring to privileged processes; to be written only where it is
/// 2 (nobody), since elsewhere it would allow less than before. The `-` makes
/// sysctl(8) and systemd-sysctl pass over kernels that do not have it.
pub const IO_URING_SYSCTL: &str = "# Written by mtctl: changes here are lost.\n\
    -kernel.io_uring_disabled = 1\n";

/// How kernel updates are held, by package manager.
///
/// A hold also keeps kernel packages from being installed: what needs one while the hold stands
/// runs with `--disableexcludes=main` (yum, dnf) or without the preferences file (apt).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelHold {
    /// Releases 6 and 7.
    Yum,
    /// Releases 8 and newer, where /etc/yum.conf is a link to this file.
    Dnf,
    /// Debian and Ubuntu.
    Apt,
}

const APT_PREFERENCES: &str = "\
# Written by mtctl: changes here are lost.
Package: linux-image-* linux-headers-* linux-generic* linux-virtual*
Pin: release a=*
Pin-Priority: -1
";

impl KernelHold {
    /// The file that says it; with [`Apt`](Self::Apt) it is ours alone.
    pub fn file(self) -> &'static str {
        match self {
            Self::Yum => "/etc/yum.conf",
            Self::Dnf => "/etc/dnf/dnf.conf",
            Self::Apt => "/etc/apt/preferences.d/mtctl-kernel",
        }
    }

    /// Whether the text of the file holds kernel updates, by us or by somebody else.
    pub fn is_held(self, text: &str) -> bool {
        match self {
            Self::Yum | Self::Dnf => exclude::is_held(text),
            Self::Apt => text == APT_PREFERENCES,
        }
    }

    /// The text that holds kernel updates; the same when it does.
    ///
    /// # Errors
    /// When the markers of our block do not pair.
    pub fn held(self, text: &str) -> Result<String, BlockError> {
        match self {
            Self::Yum | Self::Dnf => exclude::held(text),
            Self::Apt => Ok(APT_PREFERENCES.to_owned()),
        }
    }

    /// The text without our hold; empty with [`Apt`](Self::Apt), whose file can be removed.
    ///
    /// # Errors
    /// When the markers of our block do not pair.
    pub fn released(self, text: &str) -> Result<String, BlockError> {
        match self {
            Self::Yum | Self::Dnf => exclude::released(text),
            Self::Apt => Ok(String::new()),
        }
    }
}
