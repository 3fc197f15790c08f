//! The groups that a daemon holds: a file of each in /etc/mtctl/groups.d, named after it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use blockio::group;
use serde::Deserialize;
use serving::receive::permission::Permission;
use system::{Error, ErrorKind, Result};

/// Where the files are, unless another directory is named.
pub(crate) const DIRECTORY: &str = "/etc/mtctl/groups.d";

/// A group to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServedGroup {
    /// Its name.
    pub(crate) name: String,
    /// What its file says.
    pub(crate) file: GroupFile,
}

/// The file of a group. It says who may do what; how the group is kept is in the group itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GroupFile {
    /// The identities that may write to it.
    pub(crate) allow: Permission,
    /// Where its history is, or `none`; without it, on the retention volume of this host.
    pub(crate) retention: Option<PathBuf>,
    /// Accept a directory where nothing is mounted, as `--retention-unmounted`.
    pub(crate) retention_unmounted: bool,
}

/// The groups in `directory`, by name.
///
/// # Errors
///
/// `Usage`: a file is not valid, and why. `Failed`: the directory cannot be read.
pub(crate) fn read(directory: &Path) -> Result<Vec<ServedGroup>> {
    let failed = |cause| Error::failed(format!("reading {}", directory.display()), cause);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut groups = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        groups.push(read_one(&path)?);
    }
    groups.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(groups)
}

fn read_one(path: &Path) -> Result<ServedGroup> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    group::check_name(&name)?;
    let text = fs::read_to_string(path)
        .map_err(|cause| Error::failed(format!("reading {}", path.display()), cause))?;
    let file = toml::from_str(&text).map_err(|cause| {
        Error::new(ErrorKind::Usage, format!("reading {}", path.display()))
            .caused_by(cause)
            .with_hint("its keys are described in docs/operating/serve.md")
    })?;
    Ok(ServedGroup { name, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_a_group_and_an_unknown_key_is_refused() {
        let here = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(here.path().join(name), text).unwrap();
        assert_eq!(read(&here.path().join("missing")).unwrap(), []);
        put("web.toml", "allow = [\"spiffe://example.org/db\", \"user:0\"]\n");
        put("db.toml", "");
        put("README", "not a group");
        let read_names = |groups: &[ServedGroup]| -> Vec<String> {
            groups.iter().map(|group| group.name.clone()).collect()
        };
        let groups = read(here.path()).unwrap();
        assert_eq!(read_names(&groups), ["db", "web"]);
        assert_eq!((groups[0].file.allow.0.len(), groups[1].file.allow.0.len()), (0, 2));
        for wrong in ["alow = []", "allow = [\"db.example\"]", "allow = \"user:0\"", "["] {
            put("wrong.toml", wrong);
            let refused = read(here.path()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Usage, "{wrong}");
            assert!(refused.to_string().contains("wrong.toml"), "{refused}");
        }
    }
}
