//! Which disks protection groups write to: group states are read wherever they may lie. A disk that
//! a group writes to must not be formatted, whatever is on it; a state that cannot be understood
//! could name any disk.
//!
//! The states belong to the engine (docs/format/retention-journal-v2.md); only their targets are
//! read here.

pub mod registry;
mod state;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::fstab::{FSTAB_PATH, Fstab};
use crate::host::{FileKind, Host, Tree, is_forbidden};
pub use registry::GROUPS_PATH;
use system::mount::Mount;

/// The files that hold the state of a group.
const STATES: [&str; 2] = ["state", "state.copy"];
/// Filesystems on which a retention volume may lie: those that live on a disk. Others may not
/// answer for a long time.
const FILESYSTEMS: [&str; 9] =
    ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "bcachefs", "zfs"];

/// A target of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// The group's name.
    pub group: String,
    /// The state file that names the target.
    pub state: PathBuf,
    /// How the group identifies the target: a WWID, or the path of a device or an image file.
    pub target: String,
}

/// A state that exists and cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// The file, or the directory that should contain it.
    pub path: PathBuf,
    /// Why it is not understood.
    pub reason: String,
}

/// What all groups write to, as far as their states are known on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Groups {
    /// One claim for each target.
    pub claims: Vec<Claim>,
    /// States that could not be understood: until they are, any disk may be a target.
    pub unreadable: Vec<Unreadable>,
}

/// Reads the states in /var/lib/mtctl/groups, in the directories that the registry names, and on
/// every mounted filesystem that may be a retention volume. An image's own states are read in
/// addition.
pub fn observe(host: &Host, mounts: &[Mount]) -> Groups {
    observe_with(host, mounts, &[])
}

/// Like [`observe`], but also reads the states below the directories in `more`.
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

/// The mount point of the retention volume in fstab.
fn retention_mount(host: &Host) -> Option<PathBuf> {
    let bytes = host.machine().read_if_exists(FSTAB_PATH).ok().flatten()?;
    let text = String::from_utf8_lossy(&bytes);
    let fstab = Fstab::parse(&text);
    fstab.ours().map(|(_, entry)| PathBuf::from(&entry.mount_point))
}

struct Reader {
    groups: Groups,
    /// State files that were already read: a filesystem can be mounted in several places.
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

    /// Reads the groups below `directory`. If only groups belong there (`is_ours`), every file
    /// called `state` is taken for the state of a group.
    fn read_groups_in(&mut self, tree: &Tree, directory: &Path, is_ours: bool) {
        if is_ours && is_no_directory(tree, directory) {
            return self.not_understood(directory, "it is not a directory".to_owned());
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
            // A filesystem mounted there is examined separately; an automounter is not woken.
            let status = tree.status(&below);
            // A file beside the groups belongs to somebody else, except where nothing but groups
            // belongs.
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
            // Report this once.
            if is_no_directory(tree, directory) {
                break;
            }
        }
        if self.groups.claims.len() > claims {
            self.groups.unreadable.truncate(unreadable);
        }
        let has = |name: &str| stands(tree, &directory.join(name));
        if is_ours && !STATES.iter().any(|name| has(name)) && has_segments(tree, directory) {
            let reason = "it holds the history of a group whose state is lost";
            self.not_understood(directory, reason.to_owned());
        }
    }

    fn read_copy(&mut self, tree: &Tree, group: &str, directory: &Path, name: &str, is_ours: bool) {
        let path = directory.join(name);
        match tree.status(&path).map(|status| status.kind) {
            Some(FileKind::File) => {}
            None if !stands(tree, &path) && !is_no_directory(tree, directory) => return,
            // A dangling link may lead to a volume that is not mounted.
            _ if is_ours => return self.not_understood(&path, "it is no file".to_owned()),
            _ => return,
        }
        if !self.seen.insert(path.clone()) {
            return;
        }
        // A write torn by a crash may end within a character: the checksum decides.
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

    /// Adds `target` to `group`, unless the other copy of the state has already named it.
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

/// `bytes` as text, without a copy if they are valid UTF-8, because there may be many.
fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Whether `directory` contains, or contained, the history of a group.
fn has_segments(tree: &Tree, directory: &Path) -> bool {
    let is_segment = |name: &String| {
        let number = name.strip_prefix("segment-");
        number.is_some_and(|number| number.len() == 16 && number.parse::<u64>().is_ok())
    };
    tree.list(directory).iter().any(is_segment)
}

/// Whether something exists at `path`, wherever a link there leads.
fn stands(tree: &Tree, path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let names = path.parent().map(|parent| tree.list(parent)).unwrap_or_default();
    name.is_some_and(|name| names.iter().any(|one| one == name))
}

/// Whether something exists at `path` that is not a directory: a file, or a dangling link.
fn is_no_directory(tree: &Tree, path: &Path) -> bool {
    let is_directory = tree.status(path).is_some_and(|one| one.kind == FileKind::Directory);
    !is_directory && stands(tree, path)
}

fn looks_like_a_state(tree: &Tree, directory: &Path, text: &str) -> bool {
    text.contains("\ncrc32c ")
        || text.starts_with("{\"version\":")
        || tree.exists(directory.join("lock"))
}

#[cfg(test)]
mod tests;
