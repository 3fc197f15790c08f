//! Parses /proc/self/mountinfo and /proc/swaps (proc(5)): what is mounted and what is used as swap.
//! Nothing is mounted here, and fstab is read elsewhere.

use serde::Serialize;

use crate::octal_escape::decoded;

#[cfg(test)]
mod tests;

/// Why a table in /proc could not be parsed. One invalid row invalidates the table: a guard that
/// does not know every mount must refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TableError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// One row of mountinfo, its octal escapes decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Identifies the mount for as long as it exists.
    pub mount_id: u32,
    /// The mount that it is mounted on.
    pub parent_id: u32,
    /// Major and minor number of the filesystem's device; major 0 is not a block device.
    pub device: (u32, u32),
    /// The directory of the filesystem that is visible at the mount point.
    pub root: String,
    /// The mount point, relative to the root of the process.
    pub mount_point: String,
    /// Options of this mount.
    pub options: Vec<String>,
    /// The filesystem, including its subtype, as in `fuse.sshfs`.
    pub filesystem: String,
    /// What was mounted, as it was specified; can be empty.
    pub source: String,
    /// Options of the filesystem.
    pub super_options: Vec<String>,
}

/// Every mount in the mount namespace that is visible below the root of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MountTable {
    mounts: Vec<Mount>,
}

impl MountTable {
    /// Parses the text of /proc/self/mountinfo.
    ///
    /// # Errors
    /// Returns the first invalid row.
    pub fn parse(text: &str) -> Result<Self, TableError> {
        let rows = text.lines().enumerate().filter(|(_, row)| !row.is_empty());
        let mounts = rows.map(|(index, row)| {
            parse_mount(row).map_err(|problem| TableError { line: index + 1, problem })
        });
        Ok(Self { mounts: mounts.collect::<Result<_, _>>()? })
    }

    /// The mounts, in the kernel's order.
    pub fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// The mounts of a block device, by its major and minor number.
    pub fn of_device(&self, device: (u32, u32)) -> impl Iterator<Item = &Mount> {
        self.mounts.iter().filter(move |mount| mount.device == device)
    }

    /// The mount that is visible at exactly this directory: the topmost one, and `None` if a later
    /// mount on a parent directory hides it.
    pub fn topmost(&self, mount_point: &str) -> Option<&Mount> {
        self.containing(mount_point)
            .filter(|mount| components(&mount.mount_point).eq(components(mount_point)))
    }

    /// The mount that contains `path`, found as the kernel walks, from the root mount downwards,
    /// because the order of the rows guarantees nothing. `path` must be absolute and free of
    /// symbolic links.
    pub fn containing(&self, path: &str) -> Option<&Mount> {
        let mut current = self.root()?;
        // Each step descends by one mount; the bound stops the loop if a table contains a cycle.
        for _ in 0..self.mounts.len() {
            let below = self.mounts.iter().filter(|mount| {
                mount.parent_id == current.mount_id
                    && mount.mount_id != current.mount_id
                    && is_within(path, &mount.mount_point)
            });
            match below.min_by_key(|mount| components(&mount.mount_point).count()) {
                Some(mount) => current = mount,
                None => break,
            }
        }
        Some(current)
    }

    fn root(&self) -> Option<&Mount> {
        let known = |id: u32| self.mounts.iter().any(|mount| mount.mount_id == id);
        self.mounts.iter().find(|mount| {
            mount.mount_point == "/"
                && (mount.parent_id == mount.mount_id || !known(mount.parent_id))
        })
    }
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|component| !component.is_empty())
}

fn is_within(path: &str, directory: &str) -> bool {
    let mut path = components(path);
    components(directory).all(|component| path.next() == Some(component))
}

fn parse_mount(row: &str) -> Result<Mount, &'static str> {
    let mut fields = row.split(' ');
    let mut next = || fields.next().ok_or("a field is missing");
    let mount_id = number(next()?)?;
    let parent_id = number(next()?)?;
    let (major, minor) = next()?.split_once(':').ok_or("major:minor expected")?;
    let device = (number(major)?, number(minor)?);
    let root = decoded(next()?);
    let mount_point = decoded(next()?);
    let options = list(next()?);
    // Any number of optional fields, up to the separator.
    while next()? != "-" {}
    let filesystem = decoded(next()?);
    let source = decoded(next()?);
    let super_options = list(next()?);
    Ok(Mount {
        mount_id,
        parent_id,
        device,
        root,
        mount_point,
        options,
        filesystem,
        source,
        super_options,
    })
}

fn number<T: std::str::FromStr>(field: &str) -> Result<T, &'static str> {
    field.parse().map_err(|_| "a number expected")
}

fn list(field: &str) -> Vec<String> {
    field.split(',').map(decoded).collect()
}

/// One row of /proc/swaps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Swap {
    /// The partition or file, with octal escapes decoded.
    pub path: String,
    /// `partition` or `file`.
    pub kind: String,
    /// Size in KiB.
    pub size_kib: u64,
    /// Used, in KiB.
    pub used_kib: u64,
    /// Priority; negative if the kernel chose it.
    pub priority: i32,
}

/// Parses the text of /proc/swaps.
///
/// # Errors
/// Returns the first invalid row.
pub fn parse_swaps(text: &str) -> Result<Vec<Swap>, TableError> {
    let rows = text.lines().enumerate().skip(1);
    let rows = rows.filter(|(_, row)| !row.trim().is_empty());
    rows.map(|(index, row)| {
        parse_swap(row).map_err(|problem| TableError { line: index + 1, problem })
    })
    .collect()
}

fn parse_swap(row: &str) -> Result<Swap, &'static str> {
    // Only ASCII white space separates fields; any other is part of a path.
    let mut fields = row.split_ascii_whitespace();
    let mut next = || fields.next().ok_or("a field is missing");
    Ok(Swap {
        path: decoded(next()?),
        kind: next()?.to_owned(),
        size_kib: number(next()?)?,
        used_kib: number(next()?)?,
        priority: number(next()?)?,
    })
}
