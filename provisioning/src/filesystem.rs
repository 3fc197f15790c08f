//! Filesystems: which ones the kernel and the tools support, what signatures a device carries, and
//! how a retention filesystem is made. `retention` decides which device is formatted.

pub mod features;
mod retention_filesystem;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use features::Features;
pub(crate) use retention_filesystem::RETENTION_BYTES_MIN;
pub use retention_filesystem::{MARGIN_BYTES, RetentionFilesystem};

use crate::host::{CommandOutput, Host, Invocation};
use crate::platform::Platform;
use system::error::{Error, Result};

/// The label of every retention filesystem; 12 characters, the longest that XFS takes.
pub(crate) const RETENTION_LABEL: &str = "mt-retention";

impl RetentionFilesystem {
    /// The command that makes one with this UUID on `device`, a disk of `disk_bytes`.
    ///
    /// Data kept on the volume must not look like something else (docs/adr/0011): [`MARGIN_BYTES`]
    /// stay free at the end, and the beginning holds metadata only. ext4 has its tables there
    /// anyway; the log of XFS, which is in the middle by default, is put there.
    ///
    /// `-F` and `-f` answer the questions about whole disks and old signatures that the guards have
    /// already asked; neither program formats a mounted device because of them. No blocks are
    /// reserved for root on ext4: five percent of the volume would be history that cannot be kept.
    pub fn mkfs(
        self,
        device: &Path,
        uuid: Uuid,
        features: Features,
        disk_bytes: u64,
    ) -> Invocation {
        let device = device.display().to_string();
        let size_mib = disk_bytes.saturating_sub(MARGIN_BYTES) >> 20;
        let uuid = uuid.hyphenated().to_string();
        let options = features.options(self);
        let mkfs = Invocation::new(self.mkfs_program());
        let mkfs = match self {
            Self::Ext4 => mkfs.arguments(["-q", "-F", "-m", "0"]),
            Self::Xfs => mkfs.arguments(["-q", "-f"]),
        };
        let mkfs = mkfs.arguments(options.iter().map(String::as_str));
        let mkfs = mkfs.arguments(["-L", RETENTION_LABEL]);
        match self {
            Self::Ext4 => {
                mkfs.arguments(["-U", &uuid, &device]).argument(format!("{}k", size_mib << 10))
            }
            // The log lies in the first allocation group: no retained data lands where labels at
            // the start of a disk are looked for.
            Self::Xfs => mkfs
                .arguments(["-d", &format!("size={size_mib}m"), "-l", "agnum=0"])
                .arguments(["-m", &format!("uuid={uuid}"), &device]),
        }
    }
}

/// What the bytes of a device say it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// blkid's TYPE: `ext4`, `swap`, `LVM2_member`, `linux_raid_member`, …
    pub filesystem: Option<String>,
    /// blkid's PTTYPE: `gpt`, `dos`, …
    pub partition_table: Option<String>,
    /// The partition table's UUID (the disk identifier of a DOS table): two tables of one kind that
    /// look empty are not the same content.
    #[serde(default)]
    pub partition_table_uuid: Option<String>,
    /// The filesystem's UUID, as blkid prints it.
    pub uuid: Option<String>,
    /// Its label.
    pub label: Option<String>,
    /// Several signatures were found that contradict each other.
    #[serde(default)]
    pub is_ambivalent: bool,
    /// The ext4 or XFS whose superblock is present but hidden by other signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<HiddenFilesystem>,
}

/// A filesystem with a superblock of its own on a disk that is taken for something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HiddenFilesystem {
    /// Which one.
    pub filesystem: RetentionFilesystem,
    /// Its UUID, as blkid prints it.
    pub uuid: String,
}

impl Signature {
    /// Whether nothing was recognised.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The ext4 or XFS with this UUID if its superblock is present, whatever else was found.
    pub fn carries(&self, uuid: &str) -> Option<RetentionFilesystem> {
        let (filesystem, found) = self.own()?;
        (found == uuid).then_some(filesystem)
    }

    /// The ext4 or XFS whose superblock is present, and its UUID.
    pub fn own(&self) -> Option<(RetentionFilesystem, &str)> {
        if let Some(hidden) = &self.hidden {
            return Some((hidden.filesystem, &hidden.uuid));
        }
        let filesystem = RetentionFilesystem::of_name(self.filesystem.as_deref()?)?;
        Some((filesystem, self.uuid.as_deref()?))
    }

    /// Taken from the properties that udev keeps, which use blkid's terms.
    pub(crate) fn from_udev(properties: &BTreeMap<String, String>) -> Self {
        let value = |key: &str| properties.get(key).cloned();
        Self {
            filesystem: value("ID_FS_TYPE"),
            partition_table: value("ID_PART_TABLE_TYPE"),
            partition_table_uuid: value("ID_PART_TABLE_UUID"),
            uuid: value("ID_FS_UUID"),
            label: value("ID_FS_LABEL"),
            is_ambivalent: value("ID_FS_AMBIVALENT").is_some(),
            hidden: None,
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.partition_table.as_ref().map(|table| format!("{table} partition table"));
        let filesystem = self.filesystem.as_ref().map(|name| format!("{name} signature"));
        let found: Vec<String> = table.into_iter().chain(filesystem).collect();
        match (found.is_empty(), self.is_ambivalent) {
            (false, _) => f.write_str(&found.join(" and "))?,
            (true, true) => f.write_str("several contradicting signatures")?,
            (true, false) => f.write_str("no signature")?,
        }
        match &self.hidden {
            Some(hidden) => write!(f, " over the {} UUID={}", hidden.filesystem, hidden.uuid),
            None => Ok(()),
        }
    }
}

/// Reads the signatures on `device` from its bytes, bypassing every cache.
///
/// If blkid finds something other than an ext4 or XFS, or several things, it is asked for these two
/// alone: a retention volume that stores a ZFS label or a RAID member's superblock is still a
/// retention volume.
///
/// # Errors
/// Returns an error if blkid cannot be run or cannot read the device.
pub fn probe_signature(host: &Host, device: &Path) -> Result<Signature> {
    let device = device.display().to_string();
    let probe = Invocation::new("blkid").arguments(["-p", "-o", "export", &device]);
    let found = answer(&probe, &host.ask(&probe)?)?;
    let may_hide = found.is_ambivalent || (found.filesystem.is_some() && found.own().is_none());
    if !may_hide {
        return Ok(found);
    }
    let probe =
        Invocation::new("blkid").arguments(["-p", "-n", "ext4,xfs", "-o", "export", &device]);
    // A recorded host that predates this question has no answer to it.
    let Ok(output) = host.ask(&probe) else { return Ok(found) };
    let own = answer(&probe, &output)?;
    let hidden =
        own.own().map(|(filesystem, uuid)| HiddenFilesystem { filesystem, uuid: uuid.to_owned() });
    Ok(Signature { hidden, ..found })
}

fn answer(probe: &Invocation, output: &CommandOutput) -> Result<Signature> {
    parse_blkid(output).ok_or_else(|| {
        let said = output.stderr.trim().to_owned();
        Error::failed(format!("running {probe} (status {})", output.status_text()), said)
    })
}

/// Parses the output of `blkid -p -o export`. Its statuses (blkid(8)): 0 found, 2 nothing found, 8
/// ambivalent; anything else is a failure and gives `None`.
fn parse_blkid(output: &CommandOutput) -> Option<Signature> {
    match output.status {
        // Status 2 with a message means that the device could not be opened.
        Some(2) if output.stderr.trim().is_empty() => return Some(Signature::default()),
        Some(8) => return Some(Signature { is_ambivalent: true, ..Signature::default() }),
        Some(0) => {}
        _ => return None,
    }
    let value = |key: &str| {
        let row = output.stdout.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        row.map(str::to_owned)
    };
    Some(Signature {
        filesystem: value("TYPE"),
        partition_table: value("PTTYPE"),
        partition_table_uuid: value("PTUUID"),
        uuid: value("UUID"),
        label: value("LABEL"),
        is_ambivalent: false,
        hidden: None,
    })
}

/// Whether the filesystem on `device` was completed and may have been used: the superblock of ext4
/// records the last mount, and XFS is marked as in progress until its mkfs ends. A filesystem that
/// cannot be read that far was never completed.
pub(crate) fn was_used(host: &Host, filesystem: RetentionFilesystem, device: &Path) -> bool {
    let device = device.display().to_string();
    let ask = match filesystem {
        RetentionFilesystem::Ext4 => Invocation::new("dumpe2fs").arguments(["-h", &device]),
        RetentionFilesystem::Xfs => {
            Invocation::new("xfs_db").arguments(["-r", "-c", "sb 0", "-c", "p inprogress", &device])
        }
    };
    let printed = host.ask_checked(&ask).unwrap_or_default();
    match filesystem {
        RetentionFilesystem::Ext4 => {
            let row = printed.lines().find_map(|line| line.strip_prefix("Last mount time:"));
            row.is_some_and(|time| time.trim() != "n/a")
        }
        RetentionFilesystem::Xfs => printed.trim() == "inprogress = 0",
    }
}

/// How far a filesystem is supported on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Support {
    /// The running kernel supports it, built in or as a module.
    pub kernel: bool,
    /// The programs that make and check it are installed.
    pub tools: bool,
}

/// The filesystems a replicated volume may hold, each with the program whose presence shows that
/// its tools are installed.
pub(crate) const REPLICATED_FILESYSTEMS: [(&str, &str); 5] = [
    ("ext4", "mkfs.ext4"),
    ("xfs", "mkfs.xfs"),
    ("btrfs", "mkfs.btrfs"),
    ("vfat", "mkfs.vfat"),
    ("reiserfs", "mkfs.reiserfs"),
];

/// Support for [`REPLICATED_FILESYSTEMS`] by the kernel and in the system being prepared.
pub(crate) fn observe_support(host: &Host, platform: &Platform) -> BTreeMap<String, Support> {
    let loaded = host.machine().attribute("/proc/filesystems").unwrap_or_default();
    let modules = available_modules(host, &platform.kernel_release);
    let supported = |(name, program): &(&str, &str)| {
        let is_loaded = loaded.split_whitespace().any(|word| word == *name);
        let kernel = is_loaded || modules.iter().any(|module| module == name);
        let tools = ["/usr/sbin", "/sbin"]
            .iter()
            .any(|directory| host.system().exists(format!("{directory}/{program}")));
        ((*name).to_owned(), Support { kernel, tools })
    };
    REPLICATED_FILESYSTEMS.iter().map(supported).collect()
}

/// Names of the kernel's modules, from modules.dep and modules.builtin.
fn available_modules(host: &Host, kernel_release: &str) -> Vec<String> {
    let name = |line: &str| {
        let path = line.split(':').next()?;
        let file = path.rsplit('/').next()?;
        file.split(".ko").next().map(str::to_owned)
    };
    ["modules.dep", "modules.builtin"]
        .iter()
        .filter_map(|file| {
            let path = format!("/lib/modules/{kernel_release}/{file}");
            host.machine().text_if_exists(path).ok().flatten()
        })
        .flat_map(|text| text.lines().filter_map(name).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{MemoryTree, RecordedCommand, RecordedHost};

    fn printed(status: i32, stdout: &str, stderr: &str) -> CommandOutput {
        CommandOutput { status: Some(status), stdout: stdout.into(), stderr: stderr.into() }
    }

    #[test]
    fn blkid_answers_are_told_apart() {
        let ext4 = "DEVNAME=/dev/sdb\nLABEL=data\nUUID=11-22\nTYPE=ext4\nUSAGE=filesystem\n";
        let found = parse_blkid(&printed(0, ext4, "")).unwrap();
        assert_eq!(found.filesystem.as_deref(), Some("ext4"));
        assert_eq!(found.label.as_deref(), Some("data"));
        let table =
            parse_blkid(&printed(0, "DEVNAME=/dev/sdb\nPTUUID=33-44\nPTTYPE=gpt\n", "")).unwrap();
        assert_eq!(table.partition_table.as_deref(), Some("gpt"));
        assert_eq!(table.partition_table_uuid.as_deref(), Some("33-44"));
        assert!(parse_blkid(&printed(2, "", "")).unwrap().is_empty());
        assert!(!parse_blkid(&printed(8, "", "ambivalent result")).unwrap().is_empty());
        assert_eq!(parse_blkid(&printed(2, "", "error: /dev/sdb: Permission denied")), None);
        assert_eq!(parse_blkid(&printed(4, "", "")), None);
    }

    #[test]
    fn mkfs_names_the_label_the_uuid_and_the_device_and_leaves_a_margin() {
        let uuid = Uuid::from_u128(0x1234);
        let mkfs = |filesystem: RetentionFilesystem, disk_bytes| {
            let device = Path::new("/dev/sdb");
            filesystem.mkfs(device, uuid, Features::Current, disk_bytes).to_string()
        };
        let ext4 = "mkfs.ext4 -q -F -m 0 -L mt-retention -U 00000000-0000-0000-0000-000000001234 \
                    /dev/sdb 61440k";
        assert_eq!(mkfs(RetentionFilesystem::Ext4, 64 << 20), ext4);
        assert_eq!(mkfs(RetentionFilesystem::Ext4, (65 << 20) - 512), ext4);
        assert_eq!(
            mkfs(RetentionFilesystem::Xfs, RetentionFilesystem::Xfs.disk_bytes_min()),
            "mkfs.xfs -q -f -L mt-retention -d size=300m -l agnum=0 \
             -m uuid=00000000-0000-0000-0000-000000001234 /dev/sdb"
        );
    }

    #[test]
    fn what_lies_on_a_filesystem_does_not_hide_whose_it_is() {
        let host = |found: (i32, &str), own: (i32, &str)| {
            let command = |options: &str, (status, stdout): (i32, &str)| RecordedCommand {
                command: format!("blkid -p {options}-o export /dev/sdb"),
                status: Some(status),
                stdout: stdout.to_owned(),
                stderr: String::new(),
            };
            let commands = vec![command("", found), command("-n ext4,xfs ", own)];
            Host::recorded(RecordedHost::new("", &MemoryTree::new(), commands))
        };
        let own = (0, "DEVNAME=/dev/sdb\nUUID=ab\nTYPE=ext4\n");
        let raid = (0, "DEVNAME=/dev/sdb\nUUID=cd\nTYPE=linux_raid_member\n");
        for found in [(8, ""), raid] {
            let found = probe_signature(&host(found, own), Path::new("/dev/sdb")).unwrap();
            assert_eq!(found.carries("ab"), Some(RetentionFilesystem::Ext4), "{found}");
            assert_eq!(found.carries("cd"), None);
        }
        let found = probe_signature(&host((8, ""), (2, "")), Path::new("/dev/sdb")).unwrap();
        assert_eq!(found.own(), None);
        assert!(found.is_ambivalent);
    }

    #[test]
    fn tables_of_one_kind_are_told_apart_by_their_uuid() {
        let table = |uuid: &str| printed(0, &format!("PTUUID={uuid}\nPTTYPE=dos\n"), "");
        let (one, other) = (parse_blkid(&table("ab")), parse_blkid(&table("cd")));
        assert_ne!(one, other);
        assert_eq!(one, parse_blkid(&table("ab")));
    }

    #[test]
    fn the_label_fits_every_retention_filesystem() {
        assert!(RETENTION_LABEL.len() <= 12);
    }
}
