//! The machine that things happen to while streams are applied: its disks, and how a script makes
//! one fail. What is replicated to it is in `replication`, pulling disks is the machine's own.

use anyhow::Result;
use vm_images::case::Lab;
use vm_images::hardware::Hardware;
use vm_images::machine::Machine;

use crate::replication::{Extent, SHELL, VOLUMES};

/// What is replicated in these stories.
pub(crate) const EXTENT: Extent = Extent { streams: 10, marks: 6, changes: 6, bytes: 16 << 20 };
/// In so many pieces a stream comes when something happens between them.
pub(crate) const PIECES: usize = 3;
pub(crate) const TO_DISKS: &str = "--map db=$(disk db) --map log=$(disk log)";

/// Disks that can be made to fail: `/dev/mapper/NAME` is the disk NAME until `table` says
/// otherwise.
const MAPS: &str = r#"
part() { echo "0 $(blockdev --getsz "$(disk "$1")")"; }
linear() { echo "$(part "$1") linear $(disk "$1") 0"; }
table() {
	dmsetup suspend --noflush --nolockfs "$1" && dmsetup load "$1" --table "$2" &&
		dmsetup resume "$1"
}
maps() { for name; do dmsetup create "$name" --table "$(linear "$name")" || return; done; }
"#;

/// A script with the functions of [`SHELL`] and those above.
pub(crate) fn guest(script: &str) -> String {
    format!("{SHELL}\n{MAPS}\n{script}")
}

/// A script that succeeds once the group has the recovery point `name`.
pub(crate) fn has_point(name: &str) -> String {
    format!("mtctl points list --group g --json 2>/dev/null | grep -q '\"{name}\"'")
}

/// Both volumes, and a retention volume that has a file system and is not mounted.
pub(crate) fn three_disks(lab: &mut Lab) -> Result<Machine> {
    let mut hardware = Hardware::default();
    for name in VOLUMES {
        hardware = hardware.known_disk(name, &lab.blank(name, EXTENT.bytes >> 20)?);
    }
    hardware = hardware.known_disk("retention", &lab.blank("retention", 192)?);
    let mut machine = lab.boot(&hardware)?;
    machine.must(&guest("mkfs.ext4 -q $(disk retention)"))?;
    Ok(machine)
}
