//! The udev database: through libudev, or, without that feature and while recording, as udevadm
//! prints it.

use std::collections::BTreeMap;

#[cfg(feature = "udev")]
use system::lossless_text;

/// Properties by kernel name.
pub(crate) type UdevDatabase = BTreeMap<String, UdevProperties>;
/// One device's udev properties.
pub(crate) type UdevProperties = BTreeMap<String, String>;

#[cfg(feature = "udev")]
/// The properties of every block device, or `None` if libudev cannot be asked.
pub(super) fn block_devices() -> Option<UdevDatabase> {
    let mut enumerator = udev::Enumerator::new().ok()?;
    enumerator.match_subsystem("block").ok()?;
    let devices = enumerator.scan_devices().ok()?;
    let entry = |device: udev::Device| {
        let name = lossless_text::of_path(device.sysname().as_ref());
        (name, properties(&device))
    };
    Some(devices.map(entry).collect())
}

#[cfg(feature = "udev")]
fn properties(device: &udev::Device) -> UdevProperties {
    let text = |value: &std::ffi::OsStr| lossless_text::of_path(value.as_ref());
    device.properties().map(|entry| (text(entry.name()), text(entry.value()))).collect()
}

/// The block devices in the output of `udevadm info --export-db`: stanzas of `P:`, `N:` and `E:`
/// rows.
pub(super) fn parse_export(text: &str) -> UdevDatabase {
    let mut database = UdevDatabase::new();
    for stanza in text.split("\n\n") {
        let properties: UdevProperties = stanza
            .lines()
            .filter_map(|line| line.strip_prefix("E: ")?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let name = stanza.lines().find_map(|line| line.strip_prefix("N: "));
        let is_block = properties.get("SUBSYSTEM").is_some_and(|value| value == "block");
        if let (Some(name), true) = (name, is_block) {
            database.insert(name.to_owned(), properties);
        }
    }
    database
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exported_udev_database_is_read_by_kernel_name() {
        let text = "P: /devices/a/block/sda\nN: sda\nE: SUBSYSTEM=block\nE: ID_FS_TYPE=ext4\n\n\
                    P: /devices/b\nN: tty0\nE: SUBSYSTEM=tty\n";
        let database = parse_export(text);
        assert_eq!(database.len(), 1);
        assert_eq!(database["sda"]["ID_FS_TYPE"], "ext4");
    }
}
