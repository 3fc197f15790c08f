//! Keeps LVM off the attached disks with a marked block in lvmlocal.conf, and parses LVM's reports.
//! No command is run and no volume activated here; other LVM settings are only read.

use serde::Deserialize;

use crate::marked_block::{self, BlockError};
use system::error::{Error, ErrorKind, Result};

pub mod configuration;
pub mod own;
#[cfg(test)]
mod tests;

/// The file that holds our block; it is read after lvm.conf and overrides it.
pub(crate) const LOCAL_FILE: &str = "/etc/lvm/lvmlocal.conf";
/// The main file.
pub const MAIN_FILE: &str = "/etc/lvm/lvm.conf";
/// The default devices file (lvmdevices(8)).
pub const DEVICES_FILE: &str = "/etc/lvm/devices/system.devices";

const FILTER: &str = "devices/global_filter";
const AUTO_ACTIVATION: &str = "activation/auto_activation_volume_list";

/// Which mechanism decides what disks LVM scans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceSelection {
    /// `devices/global_filter`: releases before 9, Debian, Ubuntu, and a release 9 or 10 whose
    /// [`DEVICES_FILE`] does not exist or whose `devices/use_devicesfile` is 0.
    Filter,
    /// [`DEVICES_FILE`] exists and is in use: devices that it does not list are not scanned,
    /// filters are ignored, and every command complains about them. So the block contains no
    /// filter. A file that is made later (vgcreate(8) does so) only narrows what LVM sees: an
    /// existing filter does no harm then.
    DevicesFile,
}

/// The parts of LVM that belong to the host itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnLvm {
    /// Persistent paths of its physical volumes (/dev/disk/by-id/…, /dev/mapper/…). A volume whose
    /// path is missing or wrong is rejected: a host with its root in LVM needs every one of them to
    /// boot.
    pub physical_volumes: Vec<String>,
    /// Its volume groups, which are still activated at boot.
    pub volume_groups: Vec<String>,
}

/// Why the block cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// Somebody else sets the same option in this file. The later one would win, with a warning by
    /// every command; it is not overwritten.
    #[error("line {line} of lvmlocal.conf, not written by mtctl, sets {setting}")]
    Conflict {
        /// Line number, from 1.
        line: usize,
        /// The setting, `section/name`.
        setting: String,
    },
    /// The file is not LVM configuration: a block at its end could mean anything.
    #[error("lvmlocal.conf cannot be read: {0}")]
    Syntax(#[from] configuration::SyntaxError),
    /// Our markers are not paired.
    #[error("lvmlocal.conf: {0}")]
    Block(#[from] BlockError),
    /// A path or name that cannot be written in a filter or list.
    #[error("{0:?} cannot be written to lvmlocal.conf as a device path or volume group")]
    Name(String),
}

/// The text of lvmlocal.conf with our block, which makes LVM accept only the host's own physical
/// volumes and auto-activate only its own volume groups.
///
/// # Errors
/// Returns a [`GuardError`]; the file must not be edited then.
pub fn with_guard(
    text: &str,
    selection: DeviceSelection,
    own: &OwnLvm,
) -> std::result::Result<String, GuardError> {
    let body = guard_body(selection, own)?;
    // The text outside the block must be complete by itself, so that the block is at top level.
    configuration::settings(&marked_block::remove(text)?)?;
    let ours = marked_block::find(text)?.map_or(0..0, |region| region.start..region.end);
    for setting in configuration::settings(text)? {
        let same = setting.path == FILTER || setting.path == AUTO_ACTIVATION;
        if same && !ours.contains(&setting.start) {
            return Err(GuardError::Conflict { line: setting.line, setting: setting.path });
        }
    }
    Ok(marked_block::put(text, &body)?)
}

fn guard_body(selection: DeviceSelection, own: &OwnLvm) -> std::result::Result<String, GuardError> {
    let accepted = own.physical_volumes.iter().map(|path| accept(path));
    let mut filter = accepted.collect::<std::result::Result<Vec<_>, _>>()?;
    filter.push("\"r|.*|\"".to_owned());
    let groups = own.volume_groups.iter().map(|name| group(name));
    let groups = groups.collect::<std::result::Result<Vec<_>, _>>()?;
    let filter = section("devices", "global_filter", &filter);
    let groups = section("activation", "auto_activation_volume_list", &groups);
    Ok(match selection {
        DeviceSelection::Filter => filter + &groups,
        DeviceSelection::DevicesFile => groups,
    })
}

/// Written as a section rather than as `section/name = …`, which old releases may not understand.
fn section(section: &str, name: &str, values: &[String]) -> String {
    let values = values.join(", ");
    format!("{section} {{\n\t{name} = [ {values} ]\n}}\n")
}

/// The pattern that accepts exactly this path. `.` and `+` are special to LVM's matcher, and
/// brackets, unlike backslashes, pass its string parser unchanged.
fn accept(path: &str) -> std::result::Result<String, GuardError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._:=@+-".contains(&byte);
    if !path.starts_with("/dev/") || !path.bytes().all(plain) {
        return Err(GuardError::Name(path.to_owned()));
    }
    let pattern = path.replace('.', "[.]").replace('+', "[+]");
    Ok(format!("\"a|^{pattern}$|\""))
}

/// The quoted name of a volume group; lvm(8) says which characters it can contain.
fn group(name: &str) -> std::result::Result<String, GuardError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+_.-".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(GuardError::Name(name.to_owned()));
    }
    Ok(format!("\"{name}\""))
}

/// A volume group. Whoever made it chose its name, so two groups can have the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeGroup {
    /// Its name.
    pub name: String,
    /// Distinguishes it from every other group.
    pub uuid: String,
}

/// One physical volume of `pvs --reportformat json -o pv_name,vg_name,vg_uuid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhysicalVolume {
    /// Path of the device as LVM reports it.
    pub path: String,
    /// Its volume group, if it belongs to one.
    pub volume_group: Option<VolumeGroup>,
}

#[derive(Deserialize)]
struct Report {
    report: Vec<ReportPart>,
}

#[derive(Deserialize)]
struct ReportPart {
    #[serde(default)]
    pv: Vec<ReportRow>,
}

#[derive(Deserialize)]
struct ReportRow {
    pv_name: String,
    vg_name: String,
    vg_uuid: String,
}

/// Parses the report.
///
/// # Errors
/// Returns [`ErrorKind::Failed`] if it is not such a report.
pub fn parse_physical_volumes(json: &str) -> Result<Vec<PhysicalVolume>> {
    let report: Report = serde_json::from_str(json).map_err(|cause| {
        Error::new(ErrorKind::Failed, "reading the report of pvs as JSON").caused_by(cause)
    })?;
    let rows = report.report.into_iter().flat_map(|part| part.pv);
    let volumes = rows.map(|row| PhysicalVolume {
        path: row.pv_name,
        volume_group: (!row.vg_name.is_empty())
            .then_some(VolumeGroup { name: row.vg_name, uuid: row.vg_uuid }),
    });
    Ok(volumes.collect())
}

/// One row of a devices file (lvmdevices(8)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedDevice {
    /// How the device is identified: `sys_wwid`, `sys_serial`, `devname`, …
    pub id_type: String,
    /// The identifier: `naa.6000c29…` for `sys_wwid`; `.` if there is none.
    pub id_name: String,
    /// The path that the device had when LVM last saw it.
    pub device_name: Option<String>,
}

impl ListedDevice {
    /// Whether one of `names`, the names of a device, is the one in this row. The types of ids
    /// differ in where LVM reads the name (lvmdevices(8): sys_wwid, sys_serial, wwid_naa,
    /// mpath_uuid, md_uuid, crypt_uuid, lvmlv_uuid, loop_file, devname …), and more will be added:
    /// whatever the type, a device with that name is meant. A row without an id is compared by its
    /// path.
    pub fn is_one_of(&self, names: &[String]) -> bool {
        let has_id = !matches!(self.id_name.as_str(), "" | ".");
        let name = if has_id { Some(&self.id_name) } else { self.device_name.as_ref() };
        let Some(name) = name else { return false };
        let wanted = compared(name);
        names.iter().any(|one| compared(one) == wanted)
    }
}

/// The form in which names are compared. LVM writes blanks as `_`, one for each or one for a
/// sequence, depending on its version; of the UUID of a partition mapped by kpartx, only the disk's
/// part counts.
fn compared(name: &str) -> String {
    let whole = name.strip_prefix("part").and_then(|rest| rest.split_once("-mpath-"));
    let name = whole.map_or(name, |(_, map)| map);
    let name = name.strip_prefix("mpath-").unwrap_or(name);
    let words = name.split(['_', ' ', '\0']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

/// Parses a devices file; lines that do not describe a device are ignored.
pub fn parse_devices_file(text: &str) -> Vec<ListedDevice> {
    let rows = text.lines().map(str::trim_start);
    rows.filter(|row| row.starts_with("IDTYPE=")).map(parse_listed_device).collect()
}

fn parse_listed_device(row: &str) -> ListedDevice {
    let mut device = ListedDevice::default();
    for (key, value) in row.split_whitespace().filter_map(|word| word.split_once('=')) {
        match key {
            "IDTYPE" => device.id_type = value.to_owned(),
            "IDNAME" => device.id_name = value.to_owned(),
            "DEVNAME" => device.device_name = Some(value.to_owned()),
            _ => {}
        }
    }
    device
}
