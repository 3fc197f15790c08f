//! What this program remembers on the host: /var/lib/mtctl/provisioning.json. A format that was
//! begun, the retention volume it made, and what was run once. Nothing here is needed to find data.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::disk::DiskIdentity;
use crate::error::{Error, ErrorKind, Result};
use crate::filesystem::{RetentionFilesystem, Signature};
use crate::host::{FileWriteMode, Host};

/// Where the record is.
pub const RECORD_PATH: &str = "/var/lib/mtctl/provisioning.json";

/// A format that is about to begin. Written before the first byte of the disk changes, so that a
/// half-made filesystem is known as ours. Only a crash leaves one behind: a format that fails or is
/// interrupted takes it away again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormatIntent {
    /// The machine that began it: a clone of this machine has no part in it.
    pub machine: String,
    /// The disk.
    pub disk: DiskIdentity,
    /// Its capacity, in bytes.
    pub size_bytes: u64,
    /// What is being made.
    pub filesystem: RetentionFilesystem,
    /// The UUID it gets.
    pub uuid: Uuid,
    /// The signature that the operator agreed to destroy; empty for a blank disk.
    pub replaces: Signature,
}

/// The retention volume that was made.
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
    /// SHA-256 of what was run, in hexadecimal digits.
    pub sha256: String,
}

/// The whole record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Of this layout: 1.
    pub version: u32,
    /// A format that was begun and not seen to end.
    pub formatting: Option<FormatIntent>,
    /// The retention volume made here.
    pub retention: Option<RetentionRecord>,
    /// What ran once.
    pub ran_once: Vec<OnceRecord>,
    /// The boot (/proc/sys/kernel/random/boot_id) in which something was changed that is in full
    /// effect only after a restart.
    #[serde(default)]
    pub reboot_pending: Option<String>,
    /// A file of which the initramfs has a copy was changed, or is about to be, and no rebuild
    /// succeeded since.
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

/// Reads the record; a host without one has an empty one.
///
/// # Errors
/// When it is there and not understood: acting without it could format a disk twice.
pub fn load(host: &Host) -> Result<Record> {
    let Some(bytes) = host.system().read_if_exists(RECORD_PATH)? else {
        return Ok(Record::default());
    };
    let not_understood = |cause: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(ErrorKind::Integrity, format!("reading {RECORD_PATH}"))
            .caused_by(cause)
            .with_hint(format!("move it away to go on without it: mv {RECORD_PATH} /root/"))
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
/// When it cannot be written; the former one is then still there.
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
            "{\"version\":2,\"formatting\":null,\
            \"retention\":null,\"ran_once\":[]}",
        ] {
            let error = load(&host_with(Some(text))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Integrity, "{text:?}");
        }
    }
}
