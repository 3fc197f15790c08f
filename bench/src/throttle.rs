//! Holds commands to a rate on one device, the same in each direction, by a control group: a device
//! that is slower than memory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sys::stat::{major, minor};

/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";

/// A control group with a limit; it is removed on drop.
#[derive(Debug)]
pub(crate) struct Throttle {
    group: PathBuf,
}

impl Throttle {
    /// Limits what commands read from `device`, and what they write to it, to `rate` MB/s each.
    ///
    /// # Errors
    ///
    /// There is no control group for that.
    pub(crate) fn new(device: &str, rate: u64) -> Result<Self> {
        let number = fs::metadata(device).with_context(|| format!("looking at {device}"))?.rdev();
        let number = format!("{}:{}", major(number), minor(number));
        let bytes = rate * 1_000_000;
        let (parent, limits) = if Path::new(GROUPS).join("cgroup.controllers").exists() {
            write(&Path::new(GROUPS).join("cgroup.subtree_control"), "+io")?;
            (GROUPS.to_owned(), vec![("io.max", format!("{number} rbps={bytes} wbps={bytes}"))])
        } else {
            let limit = format!("{number} {bytes}");
            let names = ["blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device"];
            (format!("{GROUPS}/blkio"), names.map(|name| (name, limit.clone())).to_vec())
        };
        let group = Path::new(&parent).join(format!("mt-bench-{}-{rate}", std::process::id()));
        fs::create_dir(&group)
            .with_context(|| format!("making the control group {}", group.display()))?;
        let throttle = Self { group };
        for (name, limit) in limits {
            write(&throttle.group.join(name), &limit)?;
        }
        Ok(throttle)
    }

    /// `command` in the group.
    pub(crate) fn around(&self, command: &[String]) -> Vec<String> {
        let members = self.group.join("cgroup.procs").to_string_lossy().into_owned();
        let enter = ["sh", "-ec", "echo $$ >\"$0\"; exec \"$@\"", &members].map(str::to_owned);
        // Larger requests of fio are split, and charged twice.
        let word = |word: &String| if word == "--bs=1M" { "--bs=256k" } else { word }.to_owned();
        enter.into_iter().chain(command.iter().map(word)).collect()
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.group) {
            let group = self.group.display();
            eprintln!("bench: removing {group}: {error}\nhint: rmdir {group}");
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {text:?} to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_enters_the_group_before_it_begins_and_is_otherwise_the_same() {
        let throttle = std::mem::ManuallyDrop::new(Throttle { group: PathBuf::from("/g") });
        let command = ["fio", "--bs=1M", "a b"].map(str::to_owned);
        let around = throttle.around(&command);
        assert_eq!(around[3..], ["/g/cgroup.procs", "fio", "--bs=256k", "a b"]);
    }
}
