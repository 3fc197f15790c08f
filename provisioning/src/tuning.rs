//! The texts that tune a master target: udev rules, the io_uring sysctl, the hold on kernel
//! updates. Which of them a host needs is decided elsewhere, and nothing is written here.

use crate::marked_block::BlockError;

mod exclude;
#[cfg(test)]
mod tests;

/// Path of the file with [`UDEV_RULES`].
pub(crate) const UDEV_RULES_FILE: &str = "/etc/udev/rules.d/61-mtctl.rules";

/// The udev rules; `udevadm control --reload` and `udevadm trigger` bring them into effect.
///
/// They apply to the host's own disks as well as to the attached ones, on purpose: which disks are
/// the host's own can change under a rule file, and nothing in the rules can keep a host from
/// booting. The timeout only makes it wait longer; a scheduler is set only where the kernel offers
/// it; and udisks, which mounts nothing that a server needs, merely hides the disks it is told to
/// ignore (as does the storage page of a web console). What must differ between own and attached
/// disks is left to the configuration files of LVM, MD and multipath.
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

/// How long a SCSI disk may take for one command, in seconds, as set by [`UDEV_RULES`].
pub(crate) const DISK_TIMEOUT_SECONDS: u32 = 180;

/// Path of the file with [`IO_URING_SYSCTL`].
pub(crate) const IO_URING_SYSCTL_FILE: &str = "/etc/sysctl.d/90-mtctl.conf";

/// Allows io_uring to privileged processes. To be written only where the value is 2 (nobody),
/// because elsewhere it would allow less than before. The `-` makes sysctl(8) and systemd-sysctl
/// ignore the setting on kernels that do not have it.
pub(crate) const IO_URING_SYSCTL: &str = "# Written by mtctl: changes here are lost.\n\
    -kernel.io_uring_disabled = 1\n";

/// How kernel updates are held, by package manager.
///
/// A hold also keeps kernel packages from being installed: to install one while the hold is in
/// place, use `--disableexcludes=main` (yum, dnf) or remove the preferences file (apt).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelHold {
    /// Releases 6 and 7.
    Yum,
    /// Releases 8 and newer, where /etc/yum.conf is a link to that file.
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
    /// The file that contains the hold; for [`Apt`](Self::Apt), it is ours alone.
    pub fn file(self) -> &'static str {
        match self {
            Self::Yum => "/etc/yum.conf",
            Self::Dnf => "/etc/dnf/dnf.conf",
            Self::Apt => "/etc/apt/preferences.d/mtctl-kernel",
        }
    }

    /// Whether the text of the file holds kernel updates, placed there by us or by somebody else.
    pub fn is_held(self, text: &str) -> bool {
        match self {
            Self::Yum | Self::Dnf => exclude::is_held(text),
            Self::Apt => text == APT_PREFERENCES,
        }
    }

    /// The text with a hold on kernel updates; unchanged if it already has one.
    ///
    /// # Errors
    /// Returns an error if the markers of our block are not paired.
    pub fn held(self, text: &str) -> Result<String, BlockError> {
        match self {
            Self::Yum | Self::Dnf => exclude::held(text),
            Self::Apt => Ok(APT_PREFERENCES.to_owned()),
        }
    }

    /// The text without our hold; empty for [`Apt`](Self::Apt), whose file can be removed.
    ///
    /// # Errors
    /// Returns an error if the markers of our block are not paired.
    pub fn released(self, text: &str) -> Result<String, BlockError> {
        match self {
            Self::Yum | Self::Dnf => exclude::released(text),
            Self::Apt => Ok(String::new()),
        }
    }
}
