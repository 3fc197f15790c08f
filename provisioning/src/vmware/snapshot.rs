//! The snapshots of a machine: from its .vmsd, and from the file names of its disks.

use super::dictionary::{self, Dictionary, SyntaxError};
use super::encoding;
use super::vmx::is_true;

/// Far more than VMware allows (32 on ESXi).
const SNAPSHOTS_MAX: usize = 1024;

/// Why a .vmsd cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not a dictionary.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// `snapshot.numSnapshots` is not a number, or exceeds the limit.
    #[error("snapshot.numSnapshots is not a number of snapshots")]
    Count,
}

/// The contents of a .vmsd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshots {
    /// The names of the snapshots, in the order of the file.
    pub names: Vec<String>,
    /// Whether differences that no longer belong to a snapshot are left behind.
    pub needs_consolidation: bool,
}

/// Parses a .vmsd. ESXi leaves an empty file if there are no snapshots.
///
/// # Errors
/// Returns a [`SnapshotError`].
pub fn parse(bytes: &[u8]) -> Result<Snapshots, SnapshotError> {
    let rows = dictionary::parse(bytes)?;
    let needs_consolidation =
        rows.value("snapshot.needConsolidate").is_some_and(|value| is_true(&value));
    Ok(Snapshots { names: names(&rows)?, needs_consolidation })
}

fn names(rows: &Dictionary<'_>) -> Result<Vec<String>, SnapshotError> {
    let encoding = rows.value(".encoding").unwrap_or_default();
    let text = |key: &str| rows.value(key).map(|value| encoding::decode(&value, &encoding));
    let Some(count) = text("snapshot.numSnapshots") else {
        return Ok(Vec::new());
    };
    let count: usize = count.trim().parse().map_err(|_| SnapshotError::Count)?;
    if count > SNAPSHOTS_MAX {
        return Err(SnapshotError::Count);
    }
    let name = |index| {
        let unnamed = || format!("snapshot{index}");
        text(&format!("snapshot{index}.displayName")).unwrap_or_else(unnamed)
    };
    Ok((0..count).map(name).collect())
}

/// Whether the file of a disk has the name that VMware gives the difference of a snapshot, such as
/// `disk-000001.vmdk`.
pub(crate) fn is_difference(file: &str) -> bool {
    let stem = file.strip_suffix(".vmdk").or_else(|| file.strip_suffix(".VMDK"));
    let number = stem.and_then(|stem| stem.rsplit_once('-')).map(|(_, number)| number);
    number
        .is_some_and(|number| number.len() == 6 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_display_names_are_listed_in_order() {
        let text = ".encoding = \"UTF-8\"\nsnapshot.lastUID = \"2\"\nsnapshot.current = \"2\"\n\
            snapshot0.uid = \"1\"\nsnapshot0.displayName = \"before |22patch|22\"\n\
            snapshot0.numDisks = \"1\"\nsnapshot0.disk0.fileName = \"mt.vmdk\"\n\
            snapshot0.disk0.node = \"scsi0:0\"\nsnapshot1.uid = \"2\"\nsnapshot1.parent = \"1\"\n\
            snapshot.numSnapshots = \"2\"\n";
        assert_eq!(parse(text.as_bytes()).unwrap().names, ["before \"patch\"", "snapshot1"]);
    }

    #[test]
    fn an_empty_file_and_a_count_of_zero_are_no_snapshots() {
        for text in ["", ".encoding = \"UTF-8\"\n", "snapshot.numSnapshots = \"0\"\n"] {
            assert_eq!(parse(text.as_bytes()), Ok(Snapshots::default()));
        }
    }

    #[test]
    fn disks_that_need_consolidation_are_told_whether_there_are_snapshots_or_none() {
        for text in ["", "snapshot.numSnapshots = \"0\"\n"] {
            for (value, expected) in [("TRUE", true), ("FALSE", false)] {
                let text = format!("{text}snapshot.needConsolidate = \"{value}\"\n");
                let read = parse(text.as_bytes()).unwrap();
                assert_eq!(read.needs_consolidation, expected, "{text}");
            }
        }
    }

    #[test]
    fn a_count_that_is_none_is_refused() {
        for count in ["", "x", "-1", "1025", "99999999999999999999"] {
            let text = format!("snapshot.numSnapshots = \"{count}\"\n");
            assert_eq!(parse(text.as_bytes()), Err(SnapshotError::Count), "{count}");
        }
        let syntax = SnapshotError::Syntax(SyntaxError::NoAssignment(1));
        assert_eq!(parse(b"<xml>"), Err(syntax));
    }

    #[test]
    fn the_names_of_differences_are_known() {
        for name in ["mt-000001.vmdk", "mt_1-000123.vmdk", "a/b-000002.VMDK"] {
            assert!(is_difference(name), "{name}");
        }
        for name in
            ["mt.vmdk", "mt-1.vmdk", "mt-00000a.vmdk", "mt-000001-delta.vmdk", "000001.vmdk"]
        {
            assert!(!is_difference(name), "{name}");
        }
    }
}
