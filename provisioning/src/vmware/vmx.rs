//! A .vmx file: reading and setting disk.EnableUUID, duplicate keys, encryption. `devices` reads
//! its disks; the callers open files.

use std::collections::BTreeMap;

use super::dictionary::{self, Dictionary, Row, SyntaxError};
use super::encoding::{self, FileName};

/// The setting that makes a VMDK's UUID visible to the guest as a SCSI identity.
pub const ENABLE_UUID: &str = "disk.EnableUUID";
const CANONICAL_ROW: &[u8] = b"disk.EnableUUID = \"TRUE\"";

/// Why a file is not a valid .vmx.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VmxError {
    /// Not a dictionary.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// No row sets anything: a full datastore leaves such files behind.
    #[error("it is empty: no row sets anything")]
    Empty,
}

/// The state of disk.EnableUUID in a .vmx.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnableUuid {
    /// TRUE or 1, in any case.
    On,
    /// Set to another value.
    Off(String),
    /// Not set, which counts as off.
    Absent,
}

/// A key that several rows set: VMware refuses to start such a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateKey {
    /// The key as written in its first row.
    pub key: String,
    /// The line numbers, from 1.
    pub lines: Vec<usize>,
}

/// A parsed .vmx.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vmx<'a> {
    dictionary: Dictionary<'a>,
    encoding: Vec<u8>,
}

/// Parses a .vmx.
///
/// # Errors
/// Returns a [`VmxError`] if VMware would refuse the file as well, or a limit of `dictionary` is
/// exceeded.
pub fn parse(bytes: &[u8]) -> Result<Vmx<'_>, VmxError> {
    let dictionary = dictionary::parse(bytes)?;
    if dictionary.assignments().next().is_none() {
        return Err(VmxError::Empty);
    }
    let encoding = dictionary.value(".encoding").unwrap_or_default();
    Ok(Vmx { dictionary, encoding })
}

impl<'a> Vmx<'a> {
    /// The rows.
    pub(crate) fn dictionary(&self) -> &Dictionary<'a> {
        &self.dictionary
    }

    /// The bytes that were parsed.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.dictionary.to_bytes()
    }

    /// The value of `key` as text, decoded according to `.encoding`.
    pub fn text(&self, key: &str) -> Option<String> {
        self.dictionary.value(key).map(|bytes| self.decode(&bytes))
    }

    /// The state of disk.EnableUUID.
    pub fn enable_uuid(&self) -> EnableUuid {
        match self.dictionary.value(ENABLE_UUID) {
            None => EnableUuid::Absent,
            Some(value) if is_true(&value) => EnableUuid::On,
            Some(value) => EnableUuid::Off(self.decode(&value)),
        }
    }

    /// Keys that several rows set, sorted by key. Keys such as `.encoding` may repeat.
    pub fn duplicate_keys(&self) -> Vec<DuplicateKey> {
        let mut seen: BTreeMap<Vec<u8>, DuplicateKey> = BTreeMap::new();
        for (line, assignment) in self.dictionary.assignments() {
            if assignment.key.starts_with(b".") {
                continue;
            }
            let first = || DuplicateKey {
                key: String::from_utf8_lossy(assignment.key).into_owned(),
                lines: Vec::new(),
            };
            let entry = seen.entry(assignment.key.to_ascii_lowercase());
            entry.or_insert_with(first).lines.push(line);
        }
        let several = |duplicate: &DuplicateKey| duplicate.lines.len() > 1;
        seen.into_values().filter(several).collect()
    }

    /// Whether the settings are inside an encrypted row, where they can be neither read nor set
    /// without the key. A machine that only has a virtual TPM is "partial": its settings are not
    /// encrypted.
    pub fn is_encrypted(&self) -> bool {
        let kinds = ["vmx.encryptionType", "encryption.type"];
        let mut kinds = kinds.iter().filter_map(|key| self.dictionary.value(key));
        let is_partial = kinds.any(|kind| kind.eq_ignore_ascii_case(b"partial"));
        self.dictionary.value("encryption.data").is_some() && !is_partial
    }

    /// The file with disk.EnableUUID on, in one row; `None` if it is already on in one row.
    ///
    /// Every other byte is kept: the first row of that key is rewritten in place, comments after it
    /// and after its repetitions are kept, and if there is no such row, one is appended.
    pub fn with_enable_uuid(&self) -> Option<Vec<u8>> {
        let count = self.enable_uuid_rows().count();
        if count == 1 && self.enable_uuid() == EnableUuid::On {
            return None;
        }
        if count == 0 {
            return Some(self.with_row_appended());
        }
        let mut out = self.dictionary.byte_order_mark.to_vec();
        let mut is_first = true;
        for row in &self.dictionary.rows {
            if !sets_enable_uuid(row) {
                row.print(&mut out);
            } else if is_first {
                is_first = false;
                print_canonical(row, &mut out);
            } else {
                print_comment(row, &mut out);
            }
        }
        Some(out)
    }

    fn enable_uuid_rows(&self) -> impl Iterator<Item = &Row<'a>> {
        self.dictionary.rows.iter().filter(|row| sets_enable_uuid(row))
    }

    fn with_row_appended(&self) -> Vec<u8> {
        let terminator: &[u8] = match self.dictionary.rows.first() {
            Some(first) if !first.terminator.is_empty() => first.terminator,
            _ => b"\n",
        };
        let mut out = self.dictionary.to_bytes();
        if self.dictionary.rows.last().is_some_and(|last| last.terminator.is_empty()) {
            out.extend_from_slice(terminator);
        }
        out.extend_from_slice(CANONICAL_ROW);
        out.extend_from_slice(terminator);
        out
    }

    /// Decodes the bytes of a value in the encoding of this file.
    pub(super) fn decode(&self, bytes: &[u8]) -> String {
        encoding::decode(bytes, &self.encoding)
    }

    /// The file named by the bytes of a value.
    pub(super) fn file_name(&self, bytes: &[u8]) -> FileName {
        FileName::new(bytes, &self.encoding)
    }
}

fn sets_enable_uuid(row: &Row<'_>) -> bool {
    row.assignment.is_some_and(|assignment| assignment.is(ENABLE_UUID))
}

fn print_canonical(row: &Row<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(row.before);
    out.extend_from_slice(CANONICAL_ROW);
    out.extend_from_slice(row.after);
    out.extend_from_slice(row.terminator);
}

/// Prints the part of a repeated row that is kept: its comment, if it has one.
fn print_comment(row: &Row<'_>, out: &mut Vec<u8>) {
    if row.after.contains(&b'#') {
        out.extend_from_slice(row.before);
        out.extend_from_slice(row.after);
        out.extend_from_slice(row.terminator);
    }
}

/// Whether a value turns a setting on.
pub(super) fn is_true(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"TRUE") || value == b"1"
}

#[cfg(test)]
mod tests;
