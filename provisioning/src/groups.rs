//! Which disks protection groups write to: their states are read wherever they may lie. A disk that
//! a group writes to is nobody's to format, whatever is on it; a state that cannot be understood
//! could name any disk.
//!
//! The states are the engine's (docs/format/retention-journal-v2.md); only what they say of targets
//! is read here.

pub mod registry;
mod state;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Error;
use crate::fstab::{FSTAB_PATH, Fstab};
use crate::host::{FileKind, Host, Tree};
use crate::mount::Mount;

/// Where groups live that have no retention volume.
pub const GROUPS_PATH: &str = "/var/lib/mtctl/groups";
/// The files that the state of a group is kept in.
const STATES: [&str; 2] = ["state", "state.copy"];
/// Filesystems on which a retention volume is looked for: those that lie on a disk. Others may not
/// answer for a long time.
const FILESYSTEMS: [&str; 9] =
    ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "bcachefs", "zfs"];

/// A target of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// The group's name.
    pub group: String,
    /// The file that says so.
    pub state: PathBuf,
    /// What the group knows the target by: a WWID, or the path of a device or an image file.
    pub target: String,
}

/// A state that is there and cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// The file, or the directory that should have it.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// What all groups write to, as far as their states are known here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Groups {
    /// Targets, one each.
    pub claims: Vec<Claim>,
    /// What could not be understood: until it is, any disk may be a target.
    pub unreadable: Vec<Unreadable>,
}

/// Reads the states in /var/lib/mtctl/groups, in the directories that the registry names, and on
/// every mounted filesystem that may be a retention volume. An image's own are read, too.
pub fn observe(host: &Host, mounts: &[Mount]) -> Groups {
    observe_with(host, mounts, &[])
}

/// As [`observe`]; also reads the states below `more` directories.
pub fn observe_with(host: &Host, mounts: &[Mount], more: &[PathBuf]) -> Groups {
    let mut reader = Reader { groups: Groups::default(), seen: BTreeSet::new() };
    reader.read_system(host.machine());
    if host.image().is_some() {
        reader.read_system(host.system());
    }
    let retention = retention_mount(host);
    for mount in mounts.iter().filter(|mount| FILESYSTEMS.contains(&mount.filesystem.as_str())) {
        let directory = Path::new(&mount.mount_point);
        let is_ours = retention.as_deref() == Some(directory);
        reader.read_groups_in(host.machine(), directory, is_ours);
    }
    for directory in more {
        reader.read_groups_in(host.machine(), directory, false);
    }
    reader.groups
}

/// Where fstab has the retention volume.
fn retention_mount(host: &Host) -> Option<PathBuf> {
    let bytes = host.machine().read_if_exists(FSTAB_PATH).ok().flatten()?;
    let text = String::from_utf8_lossy(&bytes);
    let fstab = Fstab::parse(&text);
    fstab.ours().map(|(_, entry)| PathBuf::from(&entry.mount_point))
}

struct Reader {
    groups: Groups,
    /// Directories that were looked at: a filesystem can be seen at several places.
    seen: BTreeSet<PathBuf>,
}

impl Reader {
    fn read_system(&mut self, tree: &Tree) {
        self.read_groups_in(tree, Path::new(GROUPS_PATH), true);
        match registry::load(tree) {
            Ok(known) => {
                for (group, directory) in known {
                    self.read_group(tree, &group, &directory, true);
                }
            }
            Err(error) => self.not_understood(Path::new(registry::REGISTRY_PATH), error.chain()),
        }
    }

    /// Reads the groups below `directory`. Where nothing but groups should lie (`is_ours`), every
    /// file called `state` is one's.
    fn read_groups_in(&mut self, tree: &Tree, directory: &Path, is_ours: bool) {
        if is_ours && is_no_directory(tree, directory) {
            return self.not_understood(directory, "it is no directory".to_owned());
        }
        let names = match tree.entries(directory) {
            Ok(names) => names.unwrap_or_default(),
            Err(error) if is_ours || !is_forbidden(&error) => {
                return self.not_understood(directory, error.chain());
            }
            Err(_) => return,
        };
        let device = tree.status(directory).map(|status| status.location.0);
        for name in names {
            let below = directory.join(&name);
            // What is mounted there is looked at by itself; an automounter is not woken.
            let status = tree.status(&below);
            // A file beside the groups is somebody else's, but where nothing else belongs.
            let is_file = status.is_some_and(|status| status.kind == FileKind::File);
            if is_file && directory != Path::new(GROUPS_PATH) {
                continue;
            }
            if status.is_none_or(|status| Some(status.location.0) == device) {
                self.read_group(tree, &name, &below, is_ours);
            }
        }
    }

    /// Reads the state of a group, which is kept twice: one copy that is understood is enough.
    fn read_group(&mut self, tree: &Tree, group: &str, directory: &Path, is_ours: bool) {
        let (claims, unreadable) = (self.groups.claims.len(), self.groups.unreadable.len());
        for name in STATES {
            self.read_copy(tree, group, directory, name, is_ours);
            // Told once.
            if is_no_directory(tree, directory) {
                break;
            }
        }
        if self.groups.claims.len() > claims {
            self.groups.unreadable.truncate(unreadable);
        }
        let has = |name: &str| stands(tree, &directory.join(name));
        if is_ours && !STATES.iter().any(|name| has(name)) && has_segments(tree, directory) {
            let reason = "the history of a group is in it, and its state is lost";
            self.not_understood(directory, reason.to_owned());
        }
    }

    fn read_copy(&mut self, tree: &Tree, group: &str, directory: &Path, name: &str, is_ours: bool) {
        let path = directory.join(name);
        match tree.status(&path).map(|status| status.kind) {
            Some(FileKind::File) => {}
            None if !stands(tree, &path) && !is_no_directory(tree, directory) => return,
            // A link that leads nowhere may be to a volume that is not mounted.
            _ if is_ours => return self.not_understood(&path, "it is no file".to_owned()),
            _ => return,
        }
        if !self.seen.insert(path.clone()) {
            return;
        }
        // What a crash tore may end within a character: its checksum decides.
        let text = match tree.read_if_exists(&path) {
            Ok(bytes) => lossy(bytes.unwrap_or_default()),
            Err(_) if !is_ours && !tree.exists(directory.join("lock")) => return,
            Err(error) => return self.not_understood(&path, error.chain()),
        };
        match state::targets(&text) {
            Ok(targets) => targets.into_iter().for_each(|target| self.claim(group, &path, target)),
            // Other programs have files of this name.
            Err(_) if !is_ours && !looks_like_a_state(tree, directory, &text) => {}
            Err(error) => self.not_understood(&path, error.to_string()),
        }
    }

    /// The group has `target`, as `state` says, or the other copy of it has said before.
    fn claim(&mut self, group: &str, state: &Path, target: String) {
        let is_known = |known: &Claim| {
            known.target == target && known.group == group && known.state.parent() == state.parent()
        };
        if !self.groups.claims.iter().any(is_known) {
            let (group, state) = (group.to_owned(), state.to_owned());
            self.groups.claims.push(Claim { group, state, target });
        }
    }

    fn not_understood(&mut self, path: &Path, reason: String) {
        self.groups.unreadable.push(Unreadable { path: path.to_owned(), reason });
    }
}

/// `bytes` as text; not copied where they are text, for they may be many.
fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The history of a group is in `directory`, or was.
fn has_segments(tree: &Tree, directory: &Path) -> bool {
    let is_segment = |name: &String| {
        let number = name.strip_prefix("segment-");
        number.is_some_and(|number| number.len() == 16 && number.parse::<u64>().is_ok())
    };
    tree.list(directory).iter().any(is_segment)
}

/// Something stands at `path`, wherever it leads to.
fn stands(tree: &Tree, path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let names = path.parent().map(|parent| tree.list(parent)).unwrap_or_default();
    name.is_some_and(|name| names.iter().any(|one| one == name))
}

/// Something stands at `path` and is no directory: a file, or a link that leads nowhere.
fn is_no_directory(tree: &Tree, path: &Path) -> bool {
    let is_directory = tree.status(path).is_some_and(|one| one.kind == FileKind::Directory);
    !is_directory && stands(tree, path)
}

fn looks_like_a_state(tree: &Tree, directory: &Path, text: &str) -> bool {
    text.contains("\ncrc32c ")
        || text.starts_with("{\"version\":")
        || tree.exists(directory.join("lock"))
}

fn is_forbidden(error: &Error) -> bool {
    let cause = std::error::Error::source(error);
    let cause = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests;
