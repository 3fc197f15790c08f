//! The persistent record of this program on the host, /var/lib/mtctl/provisioning.json: a format
//! that was begun, the retention volume that was made, and what was run once. Nothing in it is
//! needed to find data.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::disk::DiskIdentity;
use crate::filesystem::{RetentionFilesystem, Signature};
use crate::host::{FileWriteMode, Host};
use system::error::{Error, ErrorKind, Result};

/// Path of the record.
pub(crate) const RECORD_PATH: &str = "/var/lib/mtctl/provisioning.json";

/// A format that is about to begin. Written before the first byte of the disk changes, so that a
/// half-made filesystem is known to be ours. Only a crash leaves one behind: a format that fails or
/// is interrupted removes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormatIntent {
    /// The machine that began it: the intent does not apply to a clone of this machine.
    pub machine: String,
    /// The disk.
    pub disk: DiskIdentity,
    /// Its capacity, in bytes.
    pub size_bytes: u64,
    /// The filesystem being made.
    pub filesystem: RetentionFilesystem,
    /// The UUID of the new filesystem.
    pub uuid: Uuid,
    /// The signature that the operator agreed to destroy; empty for a blank disk.
    pub replaces: Signature,
}

/// The retention volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRecord {
    /// The disk it was made on.
    pub disk: DiskIdentity,
    /// Its filesystem.
    pub filesystem: RetentionFilesystem,
    /// The filesystem's UUID, as blkid prints it.
    pub uuid: String,
}

/// A custom change that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnceRecord {
    /// The file's name.
    pub name: String,
    /// SHA-256 of the file that was run, in hexadecimal digits.
    pub sha256: String,
}

/// The whole record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The version of this layout: 1.
    pub version: u32,
    /// A format that was begun and is not known to have ended.
    pub formatting: Option<FormatIntent>,
    /// The retention volume made here.
    pub retention: Option<RetentionRecord>,
    /// The custom changes that ran.
    pub ran_once: Vec<OnceRecord>,
    /// The boot (/proc/sys/kernel/random/boot_id) in which something was changed that takes full
    /// effect only after a restart.
    #[serde(default)]
    pub reboot_pending: Option<String>,
    /// A file that the initramfs contains a copy of was changed, or is about to be, and no rebuild
    /// has succeeded since.
    #[serde(default)]
    pub initramfs_due: bool,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            version: 1,
            formatting: None,
            retention: None,
            ran_once: Vec::new(),
            reboot_pending: None,
            initramfs_due: false,
        }
    }
}

/// Reads the record; a host without one has an empty record.
///
/// # Errors
/// Returns an error if it exists and is not understood: acting without it could format a disk
/// twice.
pub fn load(host: &Host) -> Result<Record> {
    let Some(bytes) = host.system().read_if_exists(RECORD_PATH)? else {
        return Ok(Record::default());
    };
    let not_understood = |cause: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(ErrorKind::Integrity, format!("reading {RECORD_PATH}"))
            .caused_by(cause)
            .with_hint(format!("move it away to continue without it: mv {RECORD_PATH} /root/"))
    };
    let record: Record =
        serde_json::from_slice(&bytes).map_err(|cause| not_understood(cause.into()))?;
    if record.version != 1 {
        return Err(not_understood(format!("unknown version {}", record.version).into()));
    }
    Ok(record)
}

/// Replaces the record durably.
///
/// # Errors
/// Returns an error if it cannot be written; the previous record is then still there.
pub fn store(host: &Host, record: &Record) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(record)
        .map_err(|cause| Error::failed(format!("writing {RECORD_PATH}"), cause))?;
    bytes.push(b'\n');
    host.system().replace(RECORD_PATH, &bytes, FileWriteMode::Exactly(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{MemoryTree, RecordedHost};

    fn host_with(text: Option<&str>) -> Host {
        let tree = MemoryTree::new();
        if let Some(text) = text {
            tree.put_text(RECORD_PATH, text);
        }
        Host::recorded(RecordedHost::new("", &tree, Vec::new()))
    }

    #[test]
    fn what_is_stored_is_loaded() {
        let host = host_with(None);
        assert_eq!(load(&host).unwrap(), Record::default());
        let once = OnceRecord { name: "10-site".into(), sha256: "00".into() };
        let record = Record { ran_once: vec![once], ..Record::default() };
        store(&host, &record).unwrap();
        assert_eq!(load(&host).unwrap(), record);
    }

    #[test]
    fn a_damaged_or_newer_record_stops_everything() {
        for text in [
            "",
            "{",
            "{\"version\":1}",
            "{\"version\":2,\"formatting\":null,\"retention\":null,\"ran_once\":[]}",
        ] {
            let error = load(&host_with(Some(text))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Integrity, "{text:?}");
        }
    }
}
