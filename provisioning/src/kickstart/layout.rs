//! The partitions of the root disk. `render` decides which disk that is and what else may be
//! touched.

/// A partition of the root disk, with sizes in MiB; there is no LVM.
pub(super) struct Partition {
    /// Its mount point, or `swap`.
    pub(super) mount_point: &'static str,
    /// Its size, or its minimum size if it grows.
    pub(super) size_mib: u32,
    /// Whether it takes the remaining space.
    pub(super) grows: bool,
}

/// The layout of the manual procedure: `/`, `/var/crash` and `/home` on ext4, and swap.
/// `/var/crash` has room for the compressed dump of a host with plenty of memory, so that `/` never
/// fills up.
pub(super) const PARTITIONS: [Partition; 4] = [
    Partition { mount_point: "/", size_mib: 51_200, grows: true },
    Partition { mount_point: "/var/crash", size_mib: 16_384, grows: false },
    Partition { mount_point: "/home", size_mib: 10_240, grows: false },
    Partition { mount_point: "swap", size_mib: 8_192, grows: false },
];

/// The smallest root disk: 100 GB as a vendor counts them, in MiB rounded down.
#[cfg(test)]
pub(super) const ROOT_DISK_MIN_MIB: u32 = 95_367;

/// What the firmware's own partitions may need on top (the EFI system partition takes at most 600
/// MiB).
#[cfg(test)]
pub(super) const FIRMWARE_MAX_MIB: u32 = 1_024;
