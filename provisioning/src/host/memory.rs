//! A tree of files in memory, from which a recorded host is replayed. Its clones share it, so that
//! a scripted command can change what is read next.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::blank::Content;

use super::file::{FileKind, FileStatus, Lookup};
use system::lossless_text;

/// One entry of a [`MemoryTree`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File(Vec<u8>),
    /// A directory.
    Directory,
    /// A symbolic link.
    Link(PathBuf),
    /// A block device: its number, and its content if it shows no signature.
    BlockDevice {
        /// Major and minor number.
        device_number: (u32, u32),
        /// The result of reading its content.
        blank: Content,
        /// Whether another opener holds it exclusively.
        busy: bool,
    },
}

/// Files by absolute path; the directories above a file exist implicitly.
///
/// The keys are text ([`lossless_text`]) and compared byte by byte: comparing paths splits them
/// into components each time, and a recorded host has thousands of them. Everything below a
/// directory is adjacent, with the directory's name and a slash as the common prefix.
#[derive(Clone, Debug, Default)]
pub struct MemoryTree(Rc<RefCell<BTreeMap<OsString, Node>>>);

impl MemoryTree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `node` at `path`, replacing any node that is there.
    pub fn put(&self, path: impl AsRef<Path>, node: Node) {
        // Normalised once, so that `/a//b/` gets the key `/a/b`.
        let key: PathBuf = path.as_ref().components().collect();
        self.0.borrow_mut().insert(lossless_text::of_path(&key).into(), node);
    }

    /// Puts a text file at `path`.
    pub fn put_text(&self, path: impl AsRef<Path>, text: impl Into<String>) {
        self.put(path, Node::File(text.into().into_bytes()));
    }

    /// Removes the node at `path`.
    pub fn remove(&self, path: impl AsRef<Path>) {
        let key = lossless_text::of_path(path.as_ref());
        self.0.borrow_mut().remove(OsStr::new(&key));
    }

    /// Every node by path.
    pub fn nodes(&self) -> BTreeMap<PathBuf, Node> {
        let nodes = self.0.borrow();
        nodes.iter().map(|(key, node)| (PathBuf::from(key), node.clone())).collect()
    }

    pub(super) fn node(&self, inside: &Path) -> Option<Node> {
        self.0.borrow().get(inside.as_os_str()).cloned()
    }

    pub(super) fn file(&self, inside: &Path) -> Option<Vec<u8>> {
        match self.0.borrow().get(inside.as_os_str()) {
            Some(Node::File(bytes)) => Some(bytes.clone()),
            _ => None,
        }
    }

    pub(super) fn list(&self, inside: &Path) -> Vec<String> {
        let nodes = self.0.borrow();
        let above = below(inside);
        let mut names: Vec<String> = Vec::new();
        for key in nodes.range(above.clone()..).map(|(key, _)| key.as_bytes()) {
            let Some(rest) = key.strip_prefix(above.as_bytes()) else { break };
            let first = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
            if names.last().is_none_or(|last| last.as_bytes() != first) && !first.is_empty() {
                // The key is already text: as raw bytes, an escape would be escaped again.
                names.push(lossless_text::of_path(Path::new(OsStr::from_bytes(first))));
            }
        }
        // `a-b` sorts between `a` and the entries below `a`.
        names.sort_unstable();
        names.dedup();
        names
    }

    pub(super) fn lookup(&self, inside: &Path) -> Option<Lookup> {
        match self.0.borrow().get(inside.as_os_str()) {
            Some(Node::Link(target)) => Some(Lookup::Link(target.clone())),
            Some(_) => Some(Lookup::Other),
            None => self.is_parent(inside).then_some(Lookup::Other),
        }
    }

    pub(super) fn status(&self, inside: &Path) -> Option<FileStatus> {
        let (kind, device_number) = match self.node(inside) {
            Some(Node::File(_)) => (FileKind::File, (0, 0)),
            Some(Node::BlockDevice { device_number, .. }) => (FileKind::BlockDevice, device_number),
            Some(Node::Directory) => (FileKind::Directory, (0, 0)),
            Some(Node::Link(_)) => return None,
            None if self.is_parent(inside) => (FileKind::Directory, (0, 0)),
            None => return None,
        };
        Some(FileStatus { kind, mode: 0o644, device_number, location: ((0, 0), 0) })
    }

    fn is_parent(&self, inside: &Path) -> bool {
        let nodes = self.0.borrow();
        let above = below(inside);
        let next = nodes.range(above.clone()..).next();
        next.is_some_and(|(key, _)| key.as_bytes().starts_with(above.as_bytes()))
    }
}

/// The common prefix of all keys below a directory.
fn below(inside: &Path) -> OsString {
    let mut above = inside.as_os_str().to_owned();
    if above != "/" {
        above.push("/");
    }
    above
}

#[cfg(test)]
mod tests {
    use super::super::Tree;
    use super::*;

    #[test]
    fn links_are_followed_and_parents_exist_by_themselves() {
        let memory = MemoryTree::new();
        memory.put_text("/sys/devices/pci/block/sda/size", "8\n");
        memory.put("/sys/block/sda", Node::Link("../devices/pci/block/sda".into()));
        let tree = Tree::memory(memory);
        assert_eq!(tree.attribute("/sys/block/sda/size").as_deref(), Some("8"));
        assert_eq!(tree.list("/sys/block"), ["sda"]);
        assert_eq!(tree.list("/sys"), ["block", "devices"]);
        assert_eq!(tree.list("/"), ["sys"]);
        assert_eq!(tree.list("/sy"), [""; 0]);
        let canonical = tree.canonical("/sys/block/sda");
        assert_eq!(canonical.as_deref(), Some(Path::new("/sys/devices/pci/block/sda")));
        assert!(!tree.exists("/sys/block/sdb"));
    }
}
