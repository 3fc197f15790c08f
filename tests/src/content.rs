//! Foreign content: one disk for each kind of content that must never be formatted over.

use crate::loop_device::LoopDevice;
use crate::program::{run, shell};
use crate::raid_member;
use crate::scratch_machine::ScratchMachine;
use crate::skip::has_program;

/// A kind of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A filesystem with a file in it.
    Ext4,
    /// A filesystem with a file in it.
    Xfs,
    /// A filesystem.
    Btrfs,
    /// A filesystem.
    Vfat,
    /// Swap space that is not in use.
    Swap,
    /// An LVM physical volume.
    Lvm,
    /// A member of a software RAID array.
    Raid,
    /// A GUID partition table with one partition.
    Gpt,
    /// A DOS partition table with one partition.
    Mbr,
    /// One meaningless byte near the beginning.
    ByteAtTheBeginning,
    /// One meaningless byte: the last.
    ByteAtTheEnd,
}

impl Content {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Ext4,
        Self::Xfs,
        Self::Btrfs,
        Self::Vfat,
        Self::Swap,
        Self::Lvm,
        Self::Raid,
        Self::Gpt,
        Self::Mbr,
        Self::ByteAtTheBeginning,
        Self::ByteAtTheEnd,
    ];

    /// Its name in a refusal.
    pub fn said(self) -> &'static str {
        match self {
            Self::Ext4 => "filesystem:ext4",
            Self::Xfs => "filesystem:xfs",
            Self::Btrfs => "filesystem:btrfs",
            Self::Vfat => "filesystem:vfat",
            Self::Swap => "filesystem:swap",
            Self::Lvm => "lvm-member",
            Self::Raid => "md-member",
            Self::Gpt => "partition-table:gpt",
            Self::Mbr => "partition-table:dos",
            Self::ByteAtTheBeginning | Self::ByteAtTheEnd => "unknown-content",
        }
    }

    /// The program that makes it.
    fn program(self) -> &'static str {
        match self {
            Self::Ext4 => "mkfs.ext4",
            Self::Xfs => "mkfs.xfs",
            Self::Btrfs => "mkfs.btrfs",
            Self::Vfat => "mkfs.vfat",
            Self::Swap => "mkswap",
            Self::Lvm => "pvcreate",
            Self::Raid => "mdadm",
            Self::Gpt => "sgdisk",
            Self::Mbr => "sfdisk",
            Self::ByteAtTheBeginning | Self::ByteAtTheEnd => "sh",
        }
    }

    /// The smallest disk that can hold it, in MiB.
    fn mib(self) -> u64 {
        match self {
            Self::Xfs => 300,
            Self::Btrfs => 128,
            _ => 64,
        }
    }

    /// A disk with it; `None` if its program is not installed, which is counted as a skip.
    pub fn on_a_disk(self, machine: &ScratchMachine) -> Option<LoopDevice> {
        if !has_program(self.program()) {
            return None;
        }
        let disk = machine.disk(&format!("{self:?}"), self.mib());
        self.put_on(&disk);
        Some(disk)
    }

    /// Writes it onto `disk` with the real tool.
    pub fn put_on(self, disk: &LoopDevice) {
        let path = disk.path();
        match self {
            Self::Ext4 => drop(run("mkfs.ext4", &["-q", "-F", path])),
            Self::Xfs => drop(run("mkfs.xfs", &["-q", "-f", path])),
            Self::Btrfs => drop(run("mkfs.btrfs", &["-q", "-f", path])),
            Self::Vfat => drop(run("mkfs.vfat", &["-I", path])),
            Self::Swap => drop(run("mkswap", &[path])),
            Self::Lvm => {
                let everything = "devices { use_devicesfile=0 filter=[\"a|.*|\"] }";
                run("pvcreate", &["--yes", "--config", everything, path]);
            }
            Self::Raid => {
                let bytes = std::fs::metadata(disk.file()).unwrap().len();
                disk.write(raid_member::SUPERBLOCK_OFFSET, &raid_member::superblock(bytes));
                // mdadm must recognise it as a member.
                assert!(run("mdadm", &["--examine", path]).contains("raid1"));
            }
            Self::Gpt => drop(run("sgdisk", &["--new", "1:2048:+10M", path])),
            Self::Mbr => drop(shell(&format!("echo 2048,20480 | sfdisk --quiet {path}"))),
            Self::ByteAtTheBeginning => disk.write((16 << 20) - 1, b"x"),
            Self::ByteAtTheEnd => {
                let bytes = std::fs::metadata(disk.file()).unwrap().len();
                disk.write(bytes - 1, b"x");
            }
        }
    }
}
