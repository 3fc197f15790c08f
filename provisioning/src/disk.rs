//! One disk of this host: what it is, who uses it, and what it could be used for. `disk::inventory`
//! finds it; `guard` decides whether it may be formatted.

mod claims;
pub mod inventory;
mod kind;
mod scsi_identity;
mod uses;

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};

pub use kind::DiskKind;

use crate::blank::Content;
use crate::filesystem::Signature;
use crate::scsi::wwid::Wwid;

/// Where a disk's identity was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentitySource {
    /// A designator of VPD page 0x83.
    Page83,
    /// The serial number of VPD page 0x80.
    Page80,
    /// A SCSI disk that reports neither.
    None,
    /// Not a SCSI disk.
    NotScsi,
}

/// What identifies the same disk again: the strongest identity this disk has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskIdentity {
    /// The WWID: the same on every host and after every boot.
    Wwid(Wwid),
    /// Model and serial number of a disk without a WWID.
    Serial {
        /// Its model.
        model: String,
        /// Its serial number.
        serial: String,
    },
    /// The file behind a loop device.
    BackingFile {
        /// Major and minor number of the filesystem it is on.
        location: (u32, u32),
        /// Its inode there.
        inode: u64,
    },
    /// Only this attachment in this boot: the kernel's disk sequence number.
    Attachment {
        /// BLKGETDISKSEQ's number.
        diskseq: u64,
        /// /proc/sys/kernel/random/boot_id.
        boot_id: String,
    },
}

impl DiskIdentity {
    /// Whether both outlast an attachment and prove that these are two different disks.
    pub(crate) fn is_other_disk(&self, other: &Self) -> bool {
        let lasts = |one: &Self| !matches!(one, Self::Attachment { .. });
        lasts(self) && lasts(other) && self != other
    }
}

impl fmt::Display for DiskIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wwid(wwid) => write!(f, "WWID {wwid}"),
            Self::Serial { serial, .. } => write!(f, "serial number {serial}"),
            Self::BackingFile { inode, .. } => write!(f, "backing file inode {inode}"),
            Self::Attachment { diskseq, .. } => write!(f, "disk sequence number {diskseq}"),
        }
    }
}

/// A user of a disk. Printed and serialised as `kind:object`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// It carries the running system: /, /boot, /usr, /var or swap.
    System,
    /// It or a part of it is mounted.
    Mounted(PathBuf),
    /// It or a part of it is used as swap.
    Swap,
    /// A path of this multipath map.
    MultipathPath(String),
    /// An active logical volume uses it.
    LogicalVolume(String),
    /// An active software RAID array uses it.
    RaidArray(String),
    /// Another kernel holder.
    Holder(String),
    /// A loop device is backed by it.
    Loop(String),
    /// A protection group writes to it, whether or not it is doing so now.
    Group {
        /// The group's name.
        name: String,
        /// The state file that names it.
        state: PathBuf,
    },
    /// It has a partition table of this kind.
    PartitionTable(String),
    /// An LVM physical volume, active or not.
    LvmMember,
    /// A software RAID member, active or not.
    RaidMember,
    /// Any other signature: a filesystem, swap space, a crypt container.
    Signature(String),
    /// No known signature, but bytes that are not zero.
    UnknownContent,
}

impl Use {
    /// Whether the kernel or a process is using the disk now, as opposed to content that lies on
    /// it.
    pub(crate) fn is_active(&self) -> bool {
        match self {
            Self::System
            | Self::Mounted(_)
            | Self::Swap
            | Self::MultipathPath(_)
            | Self::LogicalVolume(_)
            | Self::RaidArray(_)
            | Self::Holder(_)
            | Self::Loop(_) => true,
            Self::Group { .. }
            | Self::PartitionTable(_)
            | Self::LvmMember
            | Self::RaidMember
            | Self::Signature(_)
            | Self::UnknownContent => false,
        }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Mounted(path) => write!(f, "mounted:{}", path.display()),
            Self::Swap => f.write_str("swap"),
            Self::MultipathPath(map) => write!(f, "multipath:{map}"),
            Self::LogicalVolume(name) => write!(f, "lvm:{name}"),
            Self::RaidArray(name) => write!(f, "md:{name}"),
            Self::Holder(name) => write!(f, "holder:{name}"),
            Self::Loop(name) => write!(f, "loop:{name}"),
            Self::Group { name, .. } => write!(f, "group:{name}"),
            Self::PartitionTable(kind) => write!(f, "partition-table:{kind}"),
            Self::LvmMember => f.write_str("lvm-member"),
            Self::RaidMember => f.write_str("md-member"),
            Self::Signature(name) => write!(f, "filesystem:{name}"),
            Self::UnknownContent => f.write_str("unknown-content"),
        }
    }
}

impl Serialize for Use {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a disk could be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Blank, large enough and unused: it could become the retention volume.
    Retention,
    /// Not in use: replicated changes could be applied to it.
    Target,
}

/// One disk. Sizes are in bytes; texts are absent if the device did not report them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// The device node: `/dev/sda`, `/dev/mapper/NAME` for maps.
    pub path: PathBuf,
    /// The kernel's name: `sda`, `dm-0`.
    #[serde(skip)]
    pub name: String,
    /// How it is attached.
    pub kind: DiskKind,
    /// Host, channel, target and LUN: its current position, not an identity.
    pub scsi_address: Option<String>,
    /// The controller's driver.
    pub controller: Option<String>,
    /// Vendor.
    pub vendor: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Revision.
    pub revision: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// World-wide identifier.
    pub wwid: Option<Wwid>,
    /// Where the WWID was read.
    pub identity: IdentitySource,
    /// Capacity.
    pub size_bytes: u64,
    /// Logical block size.
    pub sector_bytes: u32,
    /// Physical block size.
    pub physical_sector_bytes: u32,
    /// Whether the kernel considers it a rotating disk.
    pub rotational: bool,
    /// Whether writing to it is forbidden.
    pub read_only: bool,
    /// Major and minor number.
    #[serde(skip)]
    pub device_number: (u32, u32),
    /// The kernel's number of this attachment (since Linux 5.15).
    pub diskseq: Option<u64>,
    /// Name of the multipath map that this disk is, or is a path of.
    pub multipath: Option<String>,
    /// Who uses it.
    pub used_by: Vec<Use>,
    /// What it could be used for.
    pub eligible_for: Vec<Purpose>,
    /// The signature on the disk as a whole.
    #[serde(skip)]
    pub signature: Signature,
    /// What identifies it again, if anything does.
    #[serde(skip)]
    pub known_by: Option<DiskIdentity>,
    /// What was found on it if it shows no signature; `None` if it was not read.
    pub content: Option<Content>,
    /// Something that could not be read, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What is wrong with the way it reports its identity, which is known nevertheless.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Disk {
    /// Whether a list without `--all` shows it: real disks, not devices made out of them.
    pub fn is_listed_by_default(&self) -> bool {
        match self.kind {
            DiskKind::Scsi | DiskKind::Nvme | DiskKind::Virtio | DiskKind::Multipath => true,
            DiskKind::Other | DiskKind::Stacked | DiskKind::Network => self.size_bytes > 0,
            DiskKind::Loop
            | DiskKind::Mapped
            | DiskKind::Raid
            | DiskKind::Memory
            | DiskKind::BootArea => false,
        }
    }

    /// Whether a list with `--all` shows it: loop devices without a backing file are left out.
    pub fn is_listed_with_all(&self) -> bool {
        self.size_bytes > 0 || self.is_listed_by_default()
    }

    /// Whether its content is looked at: for devices that LVM, crypt and RAID make out of disks,
    /// only their users count.
    pub(crate) fn is_whole_disk(&self) -> bool {
        !matches!(self.kind, DiskKind::Mapped | DiskKind::Raid)
    }

    /// Whether it is compressed memory (zram), mostly used as swap, which is never replicated.
    pub(crate) fn is_memory(&self) -> bool {
        self.name
            .strip_prefix("zram")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    }

    /// Whether it is a VMware virtual disk, which reports its id if disk.EnableUUID is on.
    pub(crate) fn is_vmware_virtual(&self) -> bool {
        let texts = [&self.vendor, &self.model];
        texts.into_iter().flatten().any(|text| text.starts_with("VMware"))
    }

    /// Whether anybody is using it now.
    pub fn is_in_use(&self) -> bool {
        self.used_by.iter().any(Use::is_active)
    }

    /// Whether it carries the running system.
    pub(crate) fn is_system(&self) -> bool {
        self.used_by.contains(&Use::System)
    }

    /// Whether it is one of the disks that machines are replicated to: not the system's, and not
    /// made out of another disk.
    pub(crate) fn is_attached_disk(&self) -> bool {
        self.kind.is_attached() && self.is_listed_by_default() && !self.is_system()
    }
}
