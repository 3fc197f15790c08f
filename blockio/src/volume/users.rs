//! Who uses a disk or an image file, as far as /proc and /sys show: mounts, swap, holders, loop
//! devices. Reading texts is separate from parsing them. What a use means is decided in `volume`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use crate::remedy::DiskRemedy;
use system::loop_device::{self, Backing};
use system::lossless_text;
use system::mount::{MountTable, parse_swaps};

/// The kernel's table of swap areas.
const SWAPS: &str = "/proc/swaps";

/// A disk or a partition, as the kernel names it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    /// The kernel's name: `sda1`.
    name: String,
    /// Its directory in /sys.
    directory: PathBuf,
    /// As in `st_rdev`.
    number: u64,
}

/// The directory in /sys of the block device with this number.
pub(super) fn directory_of(number: u64) -> PathBuf {
    PathBuf::from(format!("/sys/dev/block/{}:{}", major(number), minor(number)))
}

/// How many sectors were ever written to or discarded from the block device with this number;
/// `None` if the kernel does not count them.
pub(super) fn sectors_changed(number: u64) -> Option<u64> {
    sectors_changed_in(&fs::read_to_string(directory_of(number).join("stat")).ok()?)
}

/// The seventh number of the table counts writes; the fourteenth counts discards, as of Linux 4.19.
fn sectors_changed_in(table: &str) -> Option<u64> {
    let number = |index| table.split_ascii_whitespace().nth(index)?.parse::<u64>().ok();
    Some(number(6)?.wrapping_add(number(13).unwrap_or(0)))
}

/// The disk that the block device with this number is a partition of; `None` if it is a disk
/// itself.
pub(super) fn disk_of_partition(number: u64) -> Option<PathBuf> {
    disk_above(&directory_of(number))
}

fn disk_above(directory: &Path) -> Option<PathBuf> {
    if !directory.join("partition").exists() {
        return None;
    }
    let disk = fs::canonicalize(directory).ok()?;
    let name = disk.parent()?.file_name()?.to_str()?;
    Some(PathBuf::from(format!("/dev/{}", name.replace('!', "/"))))
}

/// The logical block size of the disk below the filesystem with this number, if there is one.
pub(super) fn sector_bytes_below(filesystem: u64) -> Option<u64> {
    sector_bytes_of(&directory_of(filesystem))
}

/// The same for a disk or a partition, by its directory in /sys or a link to that.
fn sector_bytes_of(directory: &Path) -> Option<u64> {
    let queues = ["queue/logical_block_size", "../queue/logical_block_size"];
    // The parent of the directory itself, not of the link.
    let directory = fs::canonicalize(directory).ok()?;
    let text = queues.iter().find_map(|queue| fs::read_to_string(directory.join(queue)).ok())?;
    text.trim().parse().ok()
}

/// Every use of the disk with this number and of its partitions that can be found, as text that
/// follows "it is" or "its partition ... is".
///
/// # Errors
///
/// An existing table cannot be read.
pub(super) fn of_disk(number: u64) -> io::Result<Vec<String>> {
    let mounts = mount_table()?;
    let swaps = swap_areas(Path::new(SWAPS))?;
    let loops = loop_devices()?;
    let mut uses = Vec::new();
    for (index, part) in disk_and_partitions(number).iter().enumerate() {
        let subject = match index {
            0 => "it is".to_owned(),
            _ => format!("its partition {} is", part.name),
        };
        let mounted = mount_points(&mounts, part.number);
        let mut found: Vec<String> =
            mounted.iter().map(|place| format!("mounted at {place}")).collect();
        if swaps.iter().any(|area| area.rdev() == part.number) {
            found.push("used as swap".to_owned());
        }
        found.extend(holders(&part.directory).iter().map(Holder::told));
        let above = loops.iter().filter(|(_, backing)| backing.device == part.number);
        found.extend(above.map(|(name, _)| format!("behind the loop device /dev/{name}")));
        uses.extend(found.into_iter().map(|one| format!("{subject} {one}")));
    }
    Ok(uses)
}

/// The loop devices made of the disk with this number or of a partition of it: the only use that
/// the kernel allows alongside an exclusive opener.
///
/// # Errors
///
/// A list cannot be read.
pub(super) fn loops_on_disk(number: u64) -> io::Result<Vec<String>> {
    let parts = disk_and_partitions(number);
    let is_below = |backing: &Backing| {
        backing.device != 0 && parts.iter().any(|part| part.number == backing.device)
    };
    let found = loop_devices()?.into_iter().filter(|(_, backing)| is_below(backing));
    Ok(found.map(|(name, _)| name).collect())
}

/// The loop devices made of this file.
///
/// # Errors
///
/// A list cannot be read.
pub(super) fn loops_on_file(file: &fs::Metadata) -> io::Result<Vec<String>> {
    let is_below =
        |backing: &Backing| (backing.filesystem, backing.inode) == (file.dev(), file.ino());
    let found = loop_devices()?.into_iter().filter(|(_, backing)| is_below(backing));
    Ok(found.map(|(name, _)| name).collect())
}

/// Whether this file is a swap area.
///
/// # Errors
///
/// A table cannot be read.
pub(super) fn is_swap_file(file: &fs::Metadata) -> io::Result<bool> {
    let is_it = |area: &fs::Metadata| (area.dev(), area.ino()) == (file.dev(), file.ino());
    Ok(swap_areas(Path::new(SWAPS))?.iter().any(is_it))
}

/// The disk, followed by its partitions.
fn disk_and_partitions(number: u64) -> Vec<Part> {
    parts_of(directory_of(number), number)
}

fn parts_of(directory: PathBuf, number: u64) -> Vec<Part> {
    let name = fs::canonicalize(&directory).ok().and_then(|path| last_name(&path));
    let disk = Part { name: name.unwrap_or_default(), directory: directory.clone(), number };
    let partitions = names_in(&directory).unwrap_or_default().into_iter().filter_map(|name| {
        let directory = directory.join(&name);
        fs::metadata(directory.join("partition")).ok()?;
        let number = device_number(&fs::read_to_string(directory.join("dev")).ok()?)?;
        Some(Part { name, directory, number })
    });
    std::iter::once(disk).chain(partitions).collect()
}

fn last_name(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

/// A device that is built on another one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    /// The kernel's name.
    name: String,
    /// Its name in device-mapper.
    mapping: Option<String>,
    /// Its UUID in device-mapper: `mpath-...`, `part1-mpath-...`, `LVM-...`.
    uuid: String,
}

impl Holder {
    fn is_multipath_map(&self) -> bool {
        self.uuid.starts_with("mpath-")
    }

    /// Whether kpartx made it from the partition table of a map.
    fn is_partition_of_a_map(&self) -> bool {
        self.uuid.starts_with("part") && self.uuid.contains("-mpath-")
    }

    /// As text that follows "it is".
    fn told(&self) -> String {
        match &self.mapping {
            Some(map) if self.is_multipath_map() => {
                format!("a path of the multipath map /dev/mapper/{map}")
            }
            Some(called) => format!("held by /dev/{} ({called})", self.name),
            None => format!("held by /dev/{}", self.name),
        }
    }
}

/// What to do about the disk with this number, at `path`, if it is held by multipath, or by
/// partitions of the map that it is.
pub(super) fn of_multipath(number: u64, path: &Path) -> Option<DiskRemedy> {
    multipath_remedy(&holders(&directory_of(number)), path)
}

fn multipath_remedy(holders: &[Holder], path: &Path) -> Option<DiskRemedy> {
    if let Some(map) =
        holders.iter().filter(|one| one.is_multipath_map()).find_map(|one| one.mapping.as_ref())
    {
        return Some(DiskRemedy::NameMap { map: map.clone() });
    }
    let path = || path.display().to_string();
    let is_partitioned = holders.iter().any(Holder::is_partition_of_a_map);
    is_partitioned.then(|| DiskRemedy::RemovePartitions { path: path() })
}

fn holders(directory: &Path) -> Vec<Holder> {
    let holders = directory.join("holders");
    let described = |name: String| {
        let attribute = |file: &str| fs::read_to_string(holders.join(&name).join(file)).ok();
        let mapping = attribute("dm/name").map(|text| text.trim().to_owned());
        let uuid = attribute("dm/uuid").unwrap_or_default().trim().to_owned();
        Holder { name, mapping, uuid }
    };
    names_in(&holders).unwrap_or_default().into_iter().map(described).collect()
}

/// The names in a directory, sorted; empty if it does not exist.
fn names_in(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(cause),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Every attached loop device with its backing.
fn loop_devices() -> io::Result<Vec<(String, Backing)>> {
    let names = names_in(Path::new("/sys/block"))?;
    let attached = names.into_iter().filter(|name| {
        name.starts_with("loop") && Path::new("/sys/block").join(name).join("loop").exists()
    });
    let with_backing = |name: String| loop_backing(&name).map(|backing| (name, backing));
    Ok(attached.filter_map(with_backing).collect())
}

/// The kernel knows the file by its inode, whatever became of its name. If there is no device node
/// to query, the name has to do.
fn loop_backing(name: &str) -> Option<Backing> {
    if let Ok(device) = File::open(Path::new("/dev").join(name)) {
        return loop_device::backing(&device).ok().flatten();
    }
    let file = fs::read(format!("/sys/block/{name}/loop/backing_file")).ok()?;
    let file = fs::metadata(backing_path(&file)).ok()?;
    let (filesystem, inode, device) = (file.dev(), file.ino(), file.rdev());
    Some(Backing { filesystem, inode, device, offset: 0 })
}

/// The mounts that this thread sees.
fn mount_table() -> io::Result<MountTable> {
    // Mount namespaces belong to threads. Before Linux 3.17 there is only the process to ask.
    let table =
        fs::read("/proc/thread-self/mountinfo").or_else(|_| fs::read("/proc/self/mountinfo"));
    MountTable::parse(&lossless_text::from_bytes(table?)).map_err(io::Error::other)
}

/// Every swap area in a table like [`SWAPS`] that can be reached by name.
fn swap_areas(table: &Path) -> io::Result<Vec<fs::Metadata>> {
    let table = match fs::read(table) {
        Ok(table) => lossless_text::from_bytes(table),
        // A kernel without swap.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(cause),
    };
    let areas = parse_swaps(&table).map_err(io::Error::other)?.into_iter();
    Ok(areas
        .filter_map(|area| fs::metadata(lossless_text::to_path(Path::new(&area.path))).ok())
        .collect())
}

/// Where the device is mounted.
fn mount_points(mounts: &MountTable, number: u64) -> Vec<String> {
    let device = u32::try_from(major(number)).ok().zip(u32::try_from(minor(number)).ok());
    let of_device = device.into_iter().flat_map(|device| mounts.of_device(device));
    of_device.map(|mount| lossless_text::shown(&mount.mount_point).into_owned()).collect()
}

/// The path in a loop device's `backing_file`, which is marked when its name is gone.
fn backing_path(text: &[u8]) -> PathBuf {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let path = text.strip_suffix(b" (deleted)").unwrap_or(text);
    PathBuf::from(OsString::from_vec(path.to_vec()))
}

/// Parses `8:16` of a `dev` attribute.
fn device_number(text: &str) -> Option<u64> {
    let (major, minor) = text.trim().split_once(':')?;
    Some(nix::sys::stat::makedev(major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests;
