//! Everything that planning and checking need, read once into a value. Nothing is changed or judged
//! here.

mod custom_changes;
mod forbidden;
mod network;
mod readers;
mod storage;
mod tuned;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub(crate) use custom_changes::CustomChange;
pub use network::{Address, Network};
pub(crate) use storage::StorageStacks;
pub(crate) use tuned::TunedAttribute;

use crate::disk::inventory::Signatures;
use crate::disk::{self, Disk};
use crate::ext4::Ext4;
use crate::filesystem::features::{Makers, Readers};
use crate::filesystem::{self, Support};
use crate::fstab::source::Source;
use crate::fstab::{FSTAB_PATH, Fstab};
use crate::groups::{self, Groups};
use crate::guard::{Begun, Refusal};
use crate::host::{FileKind, Host, Invocation, RingProbe};
use crate::packages::{self, PackagesObserved};
use crate::platform::{self, Platform};
use crate::record::{self, Record};
use crate::spec::{Desired, DiskName};
use forbidden::unless_forbidden;
use system::error::{Error, ErrorKind, Result};
use system::mount::{self, Mount, MountTable, Swap};

/// The files of the system that some step may edit or that a finding is based on.
const FILES: [&str; 16] = [
    crate::fstab::FSTAB_PATH,
    "/etc/hosts",
    "/etc/hostname",
    "/etc/multipath.conf",
    "/etc/multipath/conf.d/mtctl.conf",
    "/etc/lvm/lvmlocal.conf",
    "/etc/lvm/lvm.conf",
    "/etc/mdadm.conf",
    "/etc/mdadm/mdadm.conf",
    "/etc/udev/rules.d/61-mtctl.rules",
    crate::retention::udev_rule::UDEV_RULE_FILE,
    "/etc/sysctl.d/90-mtctl.conf",
    "/etc/dnf/dnf.conf",
    "/etc/yum.conf",
    "/etc/apt/preferences.d/mtctl-kernel",
    "/etc/sysconfig/network",
];

/// The retention directory as a path of the system being prepared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MountPoint {
    /// Whether it exists and is a directory.
    pub exists: bool,
    /// Number of entries in it.
    pub entries: usize,
}

/// The capacity of a mounted filesystem, as statfs(2) reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// Its block size.
    pub block_bytes: u64,
    /// Number of its data blocks.
    pub blocks: u64,
}

impl Capacity {
    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.block_bytes.saturating_mul(self.blocks)
    }
}

/// The current state of the host.
#[derive(Clone, Debug, Serialize)]
pub struct Observed {
    /// Machine and distribution.
    pub platform: Platform,
    /// Every disk.
    pub disks: Vec<Disk>,
    /// The targets of protection groups.
    pub groups: Groups,
    /// Every mount of the running machine.
    pub mounts: MountTable,
    /// Contents of the relevant files; `None` for files that do not exist.
    pub files: BTreeMap<&'static str, Option<String>>,
    /// The devices that fstab rows name by a path, or by a tag that udev has a link for
    /// ([`crate::fstab::source`]), with their numbers; empty for a mounted image.
    pub fstab_devices: BTreeMap<String, (u32, u32)>,
    /// Files that exist but may not be read by this user: anything based on them is unknown.
    pub unreadable: BTreeSet<PathBuf>,
    /// The directory of the image, if an image is observed.
    pub image: Option<PathBuf>,
    /// Packages.
    pub packages: PackagesObserved,
    /// The software of an image that will mount and check what is made for it, and the tools that
    /// make it; `None` for the running host, which does both itself.
    pub image_readers: Option<(Readers, Makers)>,
    /// Whether an image's mount(8) treats `x-` options as comments; `None` if that is not known.
    pub knows_x_options: Option<bool>,
    /// Filesystem support by name.
    pub filesystems: BTreeMap<String, Support>,
    /// LVM, software RAID, multipath and udisks.
    pub storage: StorageStacks,
    /// Kernel attributes that tuning sets.
    pub attributes: Vec<TunedAttribute>,
    /// /proc/sys/kernel/io_uring_disabled, if the kernel has it.
    pub io_uring_disabled: Option<u32>,
    /// Whether a ring can be set up.
    pub io_uring: RingProbe,
    /// Addresses and names.
    pub network: Network,
    /// The site's own changes.
    pub custom_changes: Vec<CustomChange>,
    /// The persistent record of this program.
    pub record: Record,
    /// A format of this machine that a crash interrupted.
    pub begun: Option<Begun>,
    /// The retention directory.
    pub mount_point: MountPoint,
    /// The kernel's report about the retention volume, if an ext4 is mounted there.
    pub retention_ext4: Option<Ext4>,
    /// The capacity of the mounted retention volume; its disk may be larger.
    pub retention_capacity: Option<Capacity>,
    /// The .vmx file that was named, and its contents.
    pub vmx: Option<(PathBuf, Vec<u8>)>,
    /// Whether the system asks for a restart, or an earlier run did and there has been none since.
    pub reboot_requested: bool,
    /// Device numbers of the paths that the operator typed.
    named: BTreeMap<PathBuf, (u32, u32)>,
}

impl Observed {
    /// The text of one of the observed files.
    pub fn file(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// The path by which a shell on the running machine reaches `path` of the system: below the
    /// image, if an image is observed.
    pub(crate) fn outside_path(&self, path: &Path) -> PathBuf {
        let inside = path.strip_prefix("/").unwrap_or(path);
        self.image.as_ref().map_or_else(|| path.to_owned(), |image| image.join(inside))
    }

    /// The mount that is visible at the retention directory. A mounted image has none: the mounts
    /// of the running machine are not its own.
    pub fn retention_mount(&self, desired: &Desired) -> Option<&Mount> {
        if self.platform.is_image {
            return None;
        }
        self.mounts.topmost(desired.retention_mount.to_str()?)
    }

    /// The disk of the filesystem mounted at the retention directory.
    pub fn retention_disk(&self, desired: &Desired) -> Option<&Disk> {
        let mount = self.retention_mount(desired)?;
        let is_mounted = |disk: &&Disk| {
            let point = disk::Use::Mounted(PathBuf::from(&mount.mount_point));
            disk.device_number == mount.device || disk.used_by.contains(&point)
        };
        // Prefer the device itself to the disks that it is made of.
        let exact = self.disks.iter().find(|disk| disk.device_number == mount.device);
        exact.or_else(|| self.disks.iter().find(is_mounted))
    }

    /// The disk that `name` refers to.
    ///
    /// # Errors
    /// Returns a refusal if it refers to no disk, a part of one, or more than one.
    pub(crate) fn find_disk(&self, name: &DiskName) -> std::result::Result<&Disk, Refusal> {
        let list = "mtctl disks --all lists all disks";
        let found: Vec<&Disk> = match name {
            DiskName::Path(path) => {
                let number = self.named.get(path);
                self.disks.iter().filter(|disk| number == Some(&disk.device_number)).collect()
            }
            DiskName::Wwid(wwid) => {
                let named = self.disks.iter().filter(|disk| disk.wwid.as_ref() == Some(wwid));
                // A map stands for its paths.
                let (maps, others): (Vec<_>, Vec<_>) =
                    named.partition(|disk| disk.kind == disk::DiskKind::Multipath);
                if maps.is_empty() { others } else { maps }
            }
        };
        match (found.as_slice(), name) {
            ([disk], _) => Ok(disk),
            ([], DiskName::Path(path)) => {
                let reason =
                    format!("{} is a part of a disk, or not a disk at all", path.display());
                Err(Refusal::new(reason, format!("name a whole disk: {list}")))
            }
            ([], DiskName::Wwid(wwid)) => {
                Err(Refusal::new(format!("no disk has the WWID {wwid}"), list))
            }
            ([one, other, ..], _) => {
                let (one, other) = (one.path.display(), other.path.display());
                let reason = format!("{name} means more than one disk: {one} and {other}");
                Err(Refusal::new(reason, "name one of them by its path"))
            }
        }
    }
}

/// Observes the host.
///
/// # Errors
/// Returns an error if something that must be known cannot be read.
pub fn observe(host: &Host, desired: &Desired) -> Result<Observed> {
    let platform = platform::observe(host)?;
    let mounts = mount_table(host)?;
    let groups = groups::observe(host, mounts.mounts());
    let (swaps, signatures) = (swaps(host)?, Signatures::Direct);
    let disks = disk::inventory::observe(host, mounts.mounts(), &swaps, &groups, signatures);
    let record = record::load(host)?;
    let mut unreadable = BTreeSet::new();
    let mut observed = Observed {
        packages: packages::observe(host, &platform),
        filesystems: filesystem::observe_support(host, &platform),
        image_readers: host
            .image()
            .map(|_| (readers::readers(host.system()), readers::makers(host))),
        knows_x_options: host.image().and_then(|_| readers::knows_x_options(host.system())),
        storage: storage::observe(host, &disks, &desired.retention_mount),
        attributes: tuned::observe(host, &disks),
        io_uring_disabled: io_uring_disabled(host),
        io_uring: host.probe_io_uring(),
        network: network::observe(host)?,
        begun: begun(host, &record, &disks, &platform),
        custom_changes: custom_changes::observe(host, &mut unreadable)?,
        mount_point: mount_point(host, desired, &mut unreadable)?,
        retention_ext4: None,
        fstab_devices: BTreeMap::new(),
        retention_capacity: None,
        vmx: vmx(host, desired)?,
        reboot_requested: is_reboot_requested(host, &record),
        record,
        named: named(host, desired),
        files: files(host, &mut unreadable)?,
        unreadable,
        image: host.image().map(Path::to_owned),
        platform,
        disks,
        groups,
        mounts,
    };
    observed.retention_ext4 = retention_ext4(host, &observed, desired);
    observed.fstab_devices = fstab_devices(host, &observed);
    observed.retention_capacity = retention_capacity(host, &observed, desired);
    Ok(observed)
}

fn fstab_devices(host: &Host, observed: &Observed) -> BTreeMap<String, (u32, u32)> {
    if observed.image.is_some() {
        return BTreeMap::new();
    }
    let fstab = Fstab::parse(observed.file(FSTAB_PATH).unwrap_or_default());
    let paths = fstab.entries().filter_map(|(_, entry)| match Source::parse(&entry.source) {
        Source::Path(path) => Some(path),
        Source::Uuid(_) | Source::Label(_) | Source::Other => None,
    });
    let numbered = |path: String| Some((device_number(host, path.as_ref())?, path));
    paths.filter_map(numbered).map(|(number, path)| (path, number)).collect()
}

fn retention_ext4(host: &Host, observed: &Observed, desired: &Desired) -> Option<Ext4> {
    let mount = observed.retention_mount(desired).filter(|mount| mount.filesystem == "ext4")?;
    let disk = observed.retention_disk(desired)?;
    (disk.device_number == mount.device).then(|| Ext4::observe(host, &disk.name))
}

/// `None` if stat(1) does not report it: then only the size of the disk is known.
fn retention_capacity(host: &Host, observed: &Observed, desired: &Desired) -> Option<Capacity> {
    let mount = observed.retention_mount(desired)?;
    let stat = Invocation::new("stat").arguments(["--file-system", "--format=%S %b"]);
    let told = host.ask_checked(&stat.argument(&mount.mount_point)).ok()?;
    let (block_bytes, blocks) = told.trim().split_once(' ')?;
    Some(Capacity { block_bytes: block_bytes.parse().ok()?, blocks: blocks.parse().ok()? })
}

/// The mounts of the machine.
///
/// # Errors
/// Returns an error if the kernel's table cannot be read or parsed.
pub fn mount_table(host: &Host) -> Result<MountTable> {
    let text = table(host, "/proc/self/mountinfo")?;
    MountTable::parse(&text).map_err(|cause| Error::failed("reading /proc/self/mountinfo", cause))
}

/// The text of one of the kernel's tables. A live kernel must have it: without it, nothing would
/// appear to be in use. A recorded host may lack it.
fn table(host: &Host, path: &str) -> Result<String> {
    match host.machine().text_if_exists(path)? {
        None if host.is_live() => {
            let context = format!("reading {path}: it does not exist");
            Err(Error::new(ErrorKind::Failed, context).with_hint("mount -t proc proc /proc"))
        }
        text => Ok(text.unwrap_or_default()),
    }
}

/// The swap areas of the machine. A kernel without swap support has no table of them.
///
/// # Errors
/// Returns an error if the kernel's table cannot be read or parsed.
pub fn swaps(host: &Host) -> Result<Vec<Swap>> {
    let text = host.machine().text_if_exists("/proc/swaps")?.unwrap_or_default();
    mount::parse_swaps(&text).map_err(|cause| Error::failed("reading /proc/swaps", cause))
}

fn is_reboot_requested(host: &Host, record: &Record) -> bool {
    let is_pending =
        record.reboot_pending.is_some() && record.reboot_pending == platform::boot_id(host);
    host.image().is_none() && (is_pending || host.machine().exists("/run/reboot-required"))
}

fn files(
    host: &Host,
    unreadable: &mut BTreeSet<PathBuf>,
) -> Result<BTreeMap<&'static str, Option<String>>> {
    let text = |path: &&'static str| {
        let text = host.system().text_if_exists(path);
        Ok((*path, unless_forbidden(text, path.as_ref(), unreadable)?.flatten()))
    };
    FILES.iter().map(text).collect()
}

fn io_uring_disabled(host: &Host) -> Option<u32> {
    host.machine().attribute("/proc/sys/kernel/io_uring_disabled")?.parse().ok()
}

/// The recorded intent, unless it belongs to another machine.
fn begun(host: &Host, record: &Record, disks: &[Disk], platform: &Platform) -> Option<Begun> {
    let intent = record.formatting.clone().filter(|intent| intent.machine == platform.machine)?;
    let mut begun = Begun { intent, is_in_use: false };
    let ours = disks.iter().find(|disk| begun.is_ours(&disk.signature));
    begun.is_in_use = ours.is_some_and(|disk| {
        disk.is_in_use() || filesystem::was_used(host, begun.intent.filesystem, &disk.path)
    });
    Some(begun)
}

/// A directory that cannot be listed is not considered empty: mounting would hide its contents.
fn mount_point(
    host: &Host,
    desired: &Desired,
    unreadable: &mut BTreeSet<PathBuf>,
) -> Result<MountPoint> {
    let path = &desired.retention_mount;
    let status = host.system().status(path);
    let exists = status.is_some_and(|status| status.kind == FileKind::Directory);
    if !exists {
        return Ok(MountPoint::default());
    }
    let names = host.system().list_if_exists(path);
    let entries = unless_forbidden(names, path, unreadable)?.map_or(0, |names| names.len());
    Ok(MountPoint { exists, entries })
}

fn vmx(host: &Host, desired: &Desired) -> Result<Option<(PathBuf, Vec<u8>)>> {
    let Some(path) = &desired.vmx else { return Ok(None) };
    Ok(Some((path.clone(), host.machine().read(path)?)))
}

/// Links are resolved by device number; a path that is not a block device refers to no disk.
fn named(host: &Host, desired: &Desired) -> BTreeMap<PathBuf, (u32, u32)> {
    let number = |path: &Path| Some((path.to_owned(), device_number(host, path)?));
    desired.named_paths().filter_map(number).collect()
}

fn device_number(host: &Host, path: &Path) -> Option<(u32, u32)> {
    let status = host.machine().status(path)?;
    (status.kind == FileKind::BlockDevice).then_some(status.device_number)
}

/// Checks that `name` can refer to a disk at all: a WWID, or a path to a block device.
///
/// # Errors
/// Returns [`ErrorKind::Usage`] if it cannot.
pub fn check_nameable(host: &Host, name: &DiskName) -> Result<()> {
    let DiskName::Path(path) = name else { return Ok(()) };
    let status = host.machine().status(path);
    let shown = path.display();
    let reason = match status.map(|status| status.kind) {
        Some(FileKind::BlockDevice) => return Ok(()),
        Some(_) => format!("{shown} is not a block device"),
        None => format!("there is no {shown}: the disk is not attached, or has another name"),
    };
    Err(Error::new(ErrorKind::Usage, reason).with_hint("mtctl disks lists the disks of this host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_not_be_read_is_unknown() {
        let reading = |kind: std::io::ErrorKind| -> Result<()> {
            Err(Error::failed("reading /etc/x", std::io::Error::from(kind)))
        };
        let path = Path::new("/etc/x");
        let mut unreadable = BTreeSet::new();
        let other =
            unless_forbidden(reading(std::io::ErrorKind::InvalidData), path, &mut unreadable);
        assert!(other.is_err() && unreadable.is_empty());
        let forbidden =
            unless_forbidden(reading(std::io::ErrorKind::PermissionDenied), path, &mut unreadable);
        assert_eq!(forbidden.unwrap(), None);
        assert!(unreadable.contains(path));
    }
}
