//! The site's own changes: executable files in one directory, each run once. `apply` runs them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::forbidden::unless_forbidden;
use crate::host::{FileKind, Host};
use system::error::Result;

/// The directory for a site's changes; names with a leading dot or a trailing `~` are not run.
pub(crate) const CUSTOM_CHANGES_DIRECTORY: &str = "/etc/mtctl/custom-changes.d";

/// One of the site's changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CustomChange {
    /// The file's name.
    pub name: String,
    /// Path of the file.
    pub path: PathBuf,
    /// SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
    /// Whether it is executable.
    pub is_executable: bool,
}

pub(super) fn observe(
    host: &Host,
    unreadable: &mut BTreeSet<PathBuf>,
) -> Result<Vec<CustomChange>> {
    let is_meant = |name: &String| !name.starts_with('.') && !name.ends_with('~');
    let names = host.system().list(CUSTOM_CHANGES_DIRECTORY).into_iter().filter(is_meant);
    let mut changes = Vec::new();
    for name in names {
        let path = PathBuf::from(CUSTOM_CHANGES_DIRECTORY).join(&name);
        let Some(status) = host.system().status(&path) else { continue };
        if status.kind != FileKind::File {
            continue;
        }
        let content = host.system().read(&path);
        let Some(content) = unless_forbidden(content, &path, unreadable)? else { continue };
        let sha256 = digest(&content);
        changes.push(CustomChange { name, path, sha256, is_executable: status.mode & 0o111 != 0 });
    }
    Ok(changes)
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
