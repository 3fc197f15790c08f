//! The programs that are measured, and those that make their input: which are installed.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::measure::quietly;

/// The programs that are installed.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    pub(crate) mtctl: PathBuf,
    /// This program, which is a contender, too.
    pub(crate) ourselves: PathBuf,
    /// The first line in which each program describes itself.
    pub(crate) versions: BTreeMap<String, String>,
}

impl Tools {
    /// Finds the programs: `mtctl` beside this program, the others in the usual places.
    pub(crate) fn find() -> Result<Self> {
        let ourselves = env::current_exe().context("finding this program")?;
        // Relative if possible: command lines are published, and somebody's folders are not. But
        // without a folder it would be searched for.
        let here = env::current_dir().context("finding the current directory")?;
        let relative = ourselves.strip_prefix(here).ok().filter(|path| path.iter().count() > 1);
        let ourselves = relative.unwrap_or(&ourselves).to_owned();
        let mtctl = ourselves.with_file_name("mtctl");
        let mut versions = BTreeMap::new();
        for program in
            ["fio", "qemu-img", "qemu-nbd", "qemu-storage-daemon", "nbdcopy", "perf", "dd"]
        {
            versions.extend(version(program).map(|said| (program.to_owned(), said)));
        }
        if quietly("sh", &["-c", "command -v bdsync"]).is_ok() {
            versions.insert("bdsync".to_owned(), "present".to_owned());
        }
        if quietly(&mtctl.to_string_lossy(), &["apply", "--help"]).is_ok() {
            versions
                .extend(version(&mtctl.to_string_lossy()).map(|said| ("mtctl".to_owned(), said)));
        }
        for needed in ["fio", "qemu-img"] {
            ensure!(
                versions.contains_key(needed),
                "there is no {needed}\nhint: packaging/setup bench"
            );
        }
        Ok(Self { mtctl, ourselves, versions })
    }

    /// Whether bdsync is installed.
    pub(crate) fn patching(&self) -> bool {
        self.versions.contains_key("bdsync")
    }

    /// Whether `mtctl` has the verb `apply`.
    pub(crate) fn applying(&self) -> bool {
        self.versions.contains_key("mtctl")
    }
}

fn version(program: &str) -> Option<String> {
    let said = quietly(program, &["--version"]).ok()?;
    said.lines().next().map(str::to_owned)
}
