//! The udev database through libudev; without that feature, `udevadm` is asked.

use super::{UdevDatabase, UdevProperties};
use system::lossless_text;

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

fn properties(device: &udev::Device) -> UdevProperties {
    let text = |value: &std::ffi::OsStr| lossless_text::of_path(value.as_ref());
    device.properties().map(|entry| (text(entry.name()), text(entry.value()))).collect()
}
