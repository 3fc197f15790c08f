//! /etc/mtctl/mtctl.toml and its drop-ins: unknown keys are refused; flags and environment take
//! precedence over it.

use std::path::PathBuf;

use provisioning::filesystem::RetentionFilesystem;
use provisioning::host::Tree;
use provisioning::multipath::MultipathPolicy;
use serde::Deserialize;
use system::{Error, ErrorKind};

/// The main file; drop-ins are read after it, in the order of their names, and override it.
const MAIN_FILE: &str = "/etc/mtctl/mtctl.toml";
const DROP_IN_DIRECTORY: &str = "/etc/mtctl/mtctl.toml.d";

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Configuration {
    /// For `prepare` and `check`.
    pub(crate) prepare: PrepareConfiguration,
}

/// Table `[prepare]`: the values of the options with the same names. There is no `destroy`:
/// destruction is named on the command line or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PrepareConfiguration {
    pub(crate) retention_disk: Option<String>,
    pub(crate) retention_mount: Option<PathBuf>,
    pub(crate) filesystem: Option<RetentionFilesystem>,
    pub(crate) multipath: Option<MultipathPolicy>,
    pub(crate) profile: Option<String>,
    pub(crate) hold_kernel_updates: Option<bool>,
}

impl PrepareConfiguration {
    fn overruled_by(self, later: Self) -> Self {
        Self {
            retention_disk: later.retention_disk.or(self.retention_disk),
            retention_mount: later.retention_mount.or(self.retention_mount),
            filesystem: later.filesystem.or(self.filesystem),
            multipath: later.multipath.or(self.multipath),
            profile: later.profile.or(self.profile),
            hold_kernel_updates: later.hold_kernel_updates.or(self.hold_kernel_updates),
        }
    }
}

/// Reads the configuration of `system`.
///
/// # Errors
/// Returns [`ErrorKind::Usage`] naming the file if one cannot be parsed.
pub(crate) fn load(system: &Tree) -> system::Result<Configuration> {
    let names = system.list(DROP_IN_DIRECTORY).into_iter().filter(|name| name.ends_with(".toml"));
    let drop_ins = names.map(|name| format!("{DROP_IN_DIRECTORY}/{name}"));
    let mut found = Configuration::default();
    for path in std::iter::once(MAIN_FILE.to_owned()).chain(drop_ins) {
        if let Some(text) = system.text_if_exists(&path)? {
            let later = parse(&path, &text)?;
            found.prepare = found.prepare.overruled_by(later.prepare);
        }
    }
    Ok(found)
}

fn parse(path: &str, text: &str) -> system::Result<Configuration> {
    toml::from_str(text).map_err(|cause| {
        Error::new(ErrorKind::Usage, format!("reading {path}")).caused_by(cause).with_hint(format!(
            "correct {path} or move it away; its keys are described in docs/operating/prepare.md"
        ))
    })
}

#[cfg(test)]
mod tests {
    use provisioning::host::MemoryTree;

    use super::*;

    #[test]
    fn drop_ins_overrule_the_file_key_by_key() {
        let memory = MemoryTree::new();
        memory.put_text(MAIN_FILE, "[prepare]\nmultipath = \"off\"\nfilesystem = \"xfs\"\n");
        memory.put_text("/etc/mtctl/mtctl.toml.d/10.toml", "[prepare]\nmultipath = \"require\"\n");
        memory.put_text("/etc/mtctl/mtctl.toml.d/20.conf", "not read");
        let read = load(&Tree::memory(memory)).unwrap().prepare;
        assert_eq!(read.multipath, Some(MultipathPolicy::Require));
        assert_eq!(read.filesystem, Some(RetentionFilesystem::Xfs));
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        for text in
            ["destroy = 1", "[prepare]\ndestroy = \"/dev/sdb\"", "[prepare]\nfilesystem = \"vfat\""]
        {
            let memory = MemoryTree::new();
            memory.put_text(MAIN_FILE, text);
            let error = load(&Tree::memory(memory)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{text}");
        }
    }
}
