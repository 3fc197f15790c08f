//! Finds every block device: sysfs says what it is, udev (or blkid) says what lies on it.

use std::path::{Path, PathBuf};

use super::claims::Claims;
use super::kind::is_never_a_disk;
use super::scsi_identity;
use super::uses::{self, Kernel};
use super::{Disk, DiskIdentity, DiskKind, IdentitySource, Purpose, Use};
use crate::filesystem::{self, RETENTION_BYTES_MIN, Signature};
use crate::groups::Groups;
use crate::host::{Host, Tree};
use crate::platform;
use crate::scsi::wwid::Wwid;
use system::mount::{Mount, Swap};

/// sysfs counts capacity in units of 512 bytes, whatever the sector size (block/stat.rst).
const SYSFS_SECTOR_BYTES: u64 = 512;

/// Where signatures are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// From udev's database, if there is one: fast, and as of udev's last probe.
    Cached,
    /// From the disk itself; from udev's database only if the disk may not be read.
    Direct,
}

/// Every block device of the machine, by path. Partitions are part of their disk.
///
/// `mounts`, `swaps` and `groups` are those of the machine. Reads disks that look blank
/// ([`crate::blank`]), which needs root; without root they are eligible for nothing.
pub fn observe(
    host: &Host,
    mounts: &[Mount],
    swaps: &[Swap],
    groups: &Groups,
    signatures: Signatures,
) -> Vec<Disk> {
    let kernel = Kernel::read(host, mounts, swaps);
    let claims = Claims::look_up(host, groups);
    let udev = host.udev_block_devices();
    let boot_id = platform::boot_id(host);
    let mut disks: Vec<Disk> = names(host.machine())
        .iter()
        .map(|name| {
            let mut disk = describe(host.machine(), name);
            identify(host, &mut disk, boot_id.as_deref());
            let known = udev.as_ref().and_then(|database| database.get(name.as_str()));
            let known = known.filter(|properties| is_probed_by_udev(properties));
            disk.multipath = kernel.multipath_of(&disk);
            let known = known.filter(|one| disk.multipath.is_some() || !is_path_to_udev(one));
            disk.signature = match (known.map(Signature::from_udev), signatures) {
                (Some(cached), Signatures::Cached) => cached,
                (cached, _) => probe(host, &mut disk, cached),
            };
            disk.used_by = kernel.uses_of(&disk);
            if disk.is_system() {
                // The content of the disk the system runs from does not matter.
                disk.problem = None;
            }
            disk.used_by.extend(claims.uses_of(&kernel, &disk));
            disk.used_by.extend(uses::content(&disk.signature));
            look_for_content(host, &mut disk);
            look_for_holder(host, &mut disk);
            disk.eligible_for = eligible_for(&disk, groups);
            disk
        })
        .collect();
    disks.sort_by(|a, b| natural(&a.name).cmp(&natural(&b.name)));
    disks
}

/// What a disk reports about itself; nothing about its content or its users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentifiedDisk {
    /// The device node, as [`Disk::path`].
    pub path: PathBuf,
    /// How it is attached.
    pub kind: DiskKind,
    /// Major and minor number.
    pub device_number: (u32, u32),
    /// Capacity in bytes.
    pub size_bytes: u64,
    /// The kernel's number of this attachment (since Linux 5.15).
    pub diskseq: Option<u64>,
    /// World-wide identifier.
    pub wwid: Option<Wwid>,
    /// Serial number, where there is no WWID.
    pub serial: Option<String>,
    /// The file behind a loop device.
    pub backing_file: Option<String>,
}

/// Every block device of the machine with what it reports about itself; no content is read.
/// Partitions are part of their disk.
pub fn identified(host: &Host) -> Vec<IdentifiedDisk> {
    let identified = |name: &String| {
        let mut disk = describe(host.machine(), name);
        identify(host, &mut disk, None);
        let backing = format!("/sys/block/{name}/loop/backing_file");
        let backing_file = host.machine().attribute(backing);
        let Disk { path, kind, device_number, size_bytes, diskseq, wwid, serial, .. } = disk;
        // A serial number that a WWID is built from, or that all disks of a controller may share,
        // is not an identity of its own.
        let serial = serial.filter(|serial| wwid.is_none() && !serial.is_empty());
        IdentifiedDisk {
            path,
            kind,
            device_number,
            size_bytes,
            diskseq,
            wwid,
            serial,
            backing_file,
        }
    };
    names(host.machine()).iter().map(identified).collect()
}

/// Path and WWID of every disk that has a WWID.
pub fn wwids(host: &Host) -> Vec<(PathBuf, Wwid)> {
    let disks = identified(host).into_iter();
    disks.filter_map(|disk| Some((disk.path, disk.wwid?))).collect()
}

/// The sysfs name of every block device that can be a disk.
fn names(machine: &Tree) -> Vec<String> {
    let mut names = machine.list("/sys/block");
    names.retain(|name| !is_never_a_disk(machine, name));
    names
}

/// sda before sdb before sdaa: letters by length, then alphabetically; numbers by value.
fn natural(name: &str) -> (usize, &str) {
    (name.len(), name)
}

/// udev's own probing leaves a mark; a device it has not processed yet has none.
fn is_probed_by_udev(properties: &crate::host::UdevProperties) -> bool {
    properties.keys().any(|key| key.starts_with("ID_FS_") || key.starts_with("ID_PART_TABLE_"))
}

/// Whether udev skipped it as a path of a map; udev keeps saying so after the map is gone.
fn is_path_to_udev(properties: &crate::host::UdevProperties) -> bool {
    properties.get("ID_FS_TYPE").is_some_and(|name| name == "mpath_member")
}

fn describe(machine: &Tree, name: &str) -> Disk {
    let base = format!("/sys/block/{name}");
    let text = |file: &str| machine.attribute(format!("{base}/{file}"));
    let number = |file: &str| text(file).and_then(|text| text.parse::<u64>().ok());
    let sector =
        |file: &str| number(file).and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(512);
    let kind = DiskKind::of(machine, name);
    let canonical = machine.canonical(format!("{base}/device"));
    let map_name = text("dm/name");
    let path = match (&map_name, kind) {
        (Some(map), DiskKind::Multipath | DiskKind::Mapped) => format!("/dev/mapper/{map}"),
        _ => format!("/dev/{}", name.replace('!', "/")),
    };
    Disk {
        path: PathBuf::from(path),
        name: name.to_owned(),
        kind,
        scsi_address: canonical.as_deref().filter(|_| kind == DiskKind::Scsi).and_then(last_name),
        controller: canonical.as_deref().and_then(|device| controller(machine, device)),
        vendor: text("device/vendor").filter(|_| kind == DiskKind::Scsi),
        model: text("device/model"),
        revision: text("device/rev").or_else(|| text("device/firmware_rev")),
        serial: text("serial").or_else(|| text("device/serial")),
        wwid: None,
        identity: IdentitySource::NotScsi,
        size_bytes: number("size").unwrap_or(0).saturating_mul(SYSFS_SECTOR_BYTES),
        sector_bytes: sector("queue/logical_block_size"),
        physical_sector_bytes: sector("queue/physical_block_size"),
        rotational: number("queue/rotational") == Some(1),
        read_only: number("ro") == Some(1),
        device_number: text("dev").and_then(|text| uses::device_number(&text)).unwrap_or((0, 0)),
        diskseq: number("diskseq"),
        multipath: None,
        used_by: Vec::new(),
        eligible_for: Vec::new(),
        signature: Signature::default(),
        known_by: None,
        content: None,
        problem: None,
        notes: Vec::new(),
    }
}

fn last_name(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

/// The driver of the host adapter: what the SCSI host calls itself, else the nearest driver above
/// the device that is not the disk driver.
fn controller(machine: &Tree, device: &Path) -> Option<String> {
    let host = device.ancestors().filter_map(last_name).find(|name| {
        name.strip_prefix("host").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let called = host
        .and_then(|host| machine.attribute(format!("/sys/class/scsi_host/{host}/proc_name")))
        .filter(|name| name != "<NULL>" && name != "(null)");
    called.or_else(|| {
        let drivers =
            device.ancestors().filter_map(|above| machine.canonical(above.join("driver")));
        drivers.filter_map(|driver| last_name(&driver)).find(|name| name != "sd")
    })
}

fn identify(host: &Host, disk: &mut Disk, boot_id: Option<&str>) {
    match disk.kind {
        DiskKind::Scsi => scsi_identity::identify(host, disk),
        DiskKind::Multipath => {
            disk.wwid = map_wwid(host.machine(), &disk.name);
            if disk.wwid.is_some() {
                disk.identity = IdentitySource::Page83;
            }
        }
        DiskKind::Nvme => disk.wwid = nvme_wwid(host.machine(), &disk.name),
        DiskKind::Virtio
        | DiskKind::Loop
        | DiskKind::Mapped
        | DiskKind::Raid
        | DiskKind::Stacked
        | DiskKind::Network
        | DiskKind::Memory
        | DiskKind::BootArea
        | DiskKind::Other => {}
    }
    disk.known_by = known_by(host.machine(), disk, boot_id);
}

/// A map's WWID is in its device-mapper UUID: `mpath-3600…`.
fn map_wwid(machine: &Tree, name: &str) -> Option<Wwid> {
    let uuid = machine.attribute(format!("/sys/block/{name}/dm/uuid"))?;
    Wwid::parse_operator(uuid.strip_prefix("mpath-")?).ok()
}

/// NVMe namespaces report `eui.…`, `uuid.…` or `nvme.…`; a VMware controller's serial number is
/// shared by all its namespaces and identifies nothing.
fn nvme_wwid(machine: &Tree, name: &str) -> Option<Wwid> {
    Wwid::parse_operator(&machine.attribute(format!("/sys/block/{name}/wwid"))?).ok()
}

fn known_by(machine: &Tree, disk: &Disk, boot_id: Option<&str>) -> Option<DiskIdentity> {
    if let Some(wwid) = &disk.wwid {
        return Some(DiskIdentity::Wwid(wwid.clone()));
    }
    if disk.kind == DiskKind::Loop {
        let file = machine.attribute(format!("/sys/block/{}/loop/backing_file", disk.name))?;
        let status = machine.status(file)?;
        let (location, inode) = status.location;
        return Some(DiskIdentity::BackingFile { location, inode });
    }
    if let (Some(serial), DiskKind::Virtio) = (&disk.serial, disk.kind) {
        let model = disk.model.clone().unwrap_or_default();
        return Some(DiskIdentity::Serial { model, serial: serial.clone() });
    }
    if disk.is_memory() {
        return None;
    }
    let boot_id = boot_id?.to_owned();
    disk.diskseq.map(|diskseq| DiskIdentity::Attachment { diskseq, boot_id })
}

/// Asks blkid, which needs root. A device without capacity holds nothing.
fn probe(host: &Host, disk: &mut Disk, cached: Option<Signature>) -> Signature {
    if disk.size_bytes == 0 || !disk.is_whole_disk() {
        return Signature::default();
    }
    match filesystem::probe_signature(host, &disk.path) {
        Ok(signature) => signature,
        Err(error) => {
            let told = format!("signatures unknown: {}", error.chain());
            disk.problem.get_or_insert(told);
            cached.unwrap_or_default()
        }
    }
}

/// A disk without users and without a signature is blank only if that is proven.
fn look_for_content(host: &Host, disk: &mut Disk) {
    if !disk.used_by.is_empty() || disk.size_bytes == 0 || !disk.is_whole_disk() {
        return;
    }
    match host.content(&disk.path) {
        Ok(content) => {
            if !content.is_blank() {
                disk.used_by.push(Use::UnknownContent);
            }
            disk.content = Some(content);
        }
        Err(error) => {
            let told = format!("content unknown: {}", error.chain());
            disk.problem.get_or_insert(told);
        }
    }
}

/// Holders that sysfs and the mount table do not show: the kernel still refuses to open such disks
/// exclusively, for example the second disk of a mounted btrfs, or a disk given to a virtual
/// machine.
fn look_for_holder(host: &Host, disk: &mut Disk) {
    if disk.is_in_use() || disk.size_bytes == 0 || !disk.is_whole_disk() {
        return;
    }
    if host.is_held(&disk.path) {
        disk.used_by.insert(0, Use::Holder("kernel".into()));
    }
}

fn eligible_for(disk: &Disk, groups: &Groups) -> Vec<Purpose> {
    let is_usable = disk.is_whole_disk() && !disk.read_only && !disk.is_in_use();
    // A disk that cannot be identified again is not formatted (`guard`).
    let is_blank = disk.used_by.is_empty() && disk.problem.is_none() && disk.known_by.is_some();
    // Any disk may be the target of a group whose state cannot be read.
    let may_be_offered = disk.kind.no_retention().is_none() && groups.unreadable.is_empty();
    let is_large = disk.size_bytes >= RETENTION_BYTES_MIN;
    let retention = is_usable && may_be_offered && is_blank && is_large;
    let holds_nothing = matches!(disk.kind, DiskKind::Memory | DiskKind::BootArea);
    let target = is_usable && !holds_nothing && disk.size_bytes > 0;
    let purposes = [(retention, Purpose::Retention), (target, Purpose::Target)];
    purposes.into_iter().filter_map(|(is_fit, purpose)| is_fit.then_some(purpose)).collect()
}

#[cfg(test)]
mod tests;
