//! Files below a root prefix: reading, and replacing them atomically. Absolute paths are as seen
//! from inside; symbolic links are resolved inside, so that an image never leads out of itself.
//! Texts and paths that are not UTF-8 are passed as `lossless_text`. Reading block devices is in
//! `device`.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use super::file::{FileKind, FileStatus, FileWriteMode, Lookup, io_failed};
use super::memory::{MemoryTree, Node};
use crate::blank::Content;
use on_disk::{
    below, directory_names, is_absence, is_directory, not_read, read_bounded, read_head,
    remove_unfinished, replace_file, status_of,
};
use system::error::{Error, ErrorKind, Result};
use system::lossless_text;

mod on_disk;
#[cfg(test)]
mod tests;

/// How many symbolic links the kernel follows before ELOOP.
const LINKS_MAX: usize = 40;

/// A root prefix, on disk or in memory.
#[derive(Debug)]
pub struct Tree(Storage);

#[derive(Debug)]
enum Storage {
    /// `record` collects everything that is read, with links kept as links.
    Directory {
        root: PathBuf,
        record: Option<MemoryTree>,
    },
    Memory(MemoryTree),
}

/// Takes a flock(2) on `file` for as long as it is open. The kernel releases the lock when the file
/// is closed; nix's guard would unlock it before that, and panics if the unlock fails.
///
/// # Errors
/// Returns the kernel's error, for example because another process holds the lock.
#[expect(deprecated, reason = "the lock is to live as long as the file, wherever that goes")]
pub(crate) fn lock_file(file: &fs::File, how: nix::fcntl::FlockArg) -> nix::Result<()> {
    use std::os::fd::AsRawFd;
    nix::fcntl::flock(file.as_raw_fd(), how)
}

impl Tree {
    /// Everything below `root`.
    pub fn directory(root: impl Into<PathBuf>) -> Self {
        Self(Storage::Directory { root: root.into(), record: None })
    }

    /// The running machine's files; everything that is read is added to `record`.
    pub(super) fn recorded_into(record: MemoryTree) -> Self {
        Self(Storage::Directory { root: "/".into(), record: Some(record) })
    }

    fn recorder(&self) -> Option<&MemoryTree> {
        match &self.0 {
            Storage::Directory { record, .. } => record.as_ref(),
            Storage::Memory(_) => None,
        }
    }

    #[cfg(feature = "udev")]
    pub(super) fn is_recording(&self) -> bool {
        self.recorder().is_some()
    }

    /// A tree that exists in memory only.
    pub fn memory(tree: MemoryTree) -> Self {
        Self(Storage::Memory(tree))
    }

    pub(super) fn is_memory(&self) -> bool {
        matches!(self.0, Storage::Memory(_))
    }

    /// Records the content of a device, if a record is kept.
    pub(super) fn record_content(&self, path: &Path, number: (u32, u32), content: &Content) {
        if let (Some(record), Some(inside)) = (self.recorder(), self.canonical(path)) {
            let (device_number, blank) = (number, content.clone());
            record.put(inside, Node::BlockDevice { device_number, blank, busy: false });
        }
    }

    /// Records that a device could not be opened exclusively, if a record is kept.
    pub(super) fn record_busy(&self, path: &Path) {
        let (Some(record), Some(inside)) = (self.recorder(), self.canonical(path)) else { return };
        let Some(FileStatus { device_number, .. }) = self.status(path) else { return };
        let blank = match record.node(&inside) {
            Some(Node::BlockDevice { blank, .. }) => blank,
            _ => Content::Untold,
        };
        record.put(inside, Node::BlockDevice { device_number, blank, busy: true });
    }

    pub(super) fn as_memory(&self) -> Option<&MemoryTree> {
        match &self.0 {
            Storage::Memory(tree) => Some(tree),
            Storage::Directory { .. } => None,
        }
    }

    /// The path outside this tree that `path` leads to, with links resolved inside the tree. The
    /// last component need not exist.
    ///
    /// # Errors
    /// Returns an error if there are too many links, as in a cycle.
    pub(crate) fn outside_path(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let inside = self.resolve(path.as_ref())?;
        match &self.0 {
            Storage::Directory { root, .. } => Ok(below(root, &inside)),
            Storage::Memory(_) => Ok(inside),
        }
    }

    /// The whole file.
    ///
    /// # Errors
    /// Returns an error if it does not exist, cannot be read, or is larger than 32 MiB.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        let path = path.as_ref();
        self.read_if_exists(path)?.ok_or_else(|| {
            io_failed("reading", path, std::io::Error::from(std::io::ErrorKind::NotFound))
        })
    }

    /// The whole file, or `None` if there is none.
    ///
    /// # Errors
    /// Like [`Tree::read`], except that absence is not an error.
    pub(crate) fn read_if_exists(&self, path: impl AsRef<Path>) -> Result<Option<Vec<u8>>> {
        let path = path.as_ref();
        let inside = self.locate(path)?;
        match &self.0 {
            Storage::Memory(tree) => match tree.status(&inside).map(|status| status.kind) {
                Some(FileKind::Directory) => Err(not_read(path, is_directory())),
                _ => Ok(tree.file(&inside)),
            },
            Storage::Directory { root, .. } => match read_bounded(&below(root, &inside)) {
                Ok(bytes) => {
                    if let Some(record) = self.recorder() {
                        record.put(&inside, Node::File(bytes.clone()));
                    }
                    Ok(Some(bytes))
                }
                Err(cause) if is_absence(&cause) => Ok(None),
                Err(cause) => Err(not_read(path, cause)),
            },
        }
    }

    /// The first `bytes_max` bytes of a file of any size, or `None` if there is none.
    ///
    /// # Errors
    /// Returns an error if it cannot be read.
    pub(crate) fn head_if_exists(
        &self,
        path: impl AsRef<Path>,
        bytes_max: usize,
    ) -> Result<Option<Vec<u8>>> {
        let path = path.as_ref();
        let inside = self.locate(path)?;
        match &self.0 {
            Storage::Memory(tree) => Ok(tree.file(&inside).map(|mut bytes| {
                bytes.truncate(bytes_max);
                bytes
            })),
            Storage::Directory { root, .. } => {
                match read_head(&below(root, &inside), bytes_max as u64) {
                    Ok(bytes) => {
                        if let Some(record) = self.recorder() {
                            record.put(&inside, Node::File(bytes.clone()));
                        }
                        Ok(Some(bytes))
                    }
                    Err(cause) if is_absence(&cause) => Ok(None),
                    Err(cause) => Err(io_failed("reading", path, cause)),
                }
            }
        }
    }

    /// The file as text ([`lossless_text`]), or `None` if there is none.
    ///
    /// # Errors
    /// As for `read_if_exists`.
    pub fn text_if_exists(&self, path: impl AsRef<Path>) -> Result<Option<String>> {
        Ok(self.read_if_exists(path)?.map(lossless_text::from_bytes))
    }

    /// A kernel attribute: trimmed text, `None` if absent, empty or unreadable. sysfs fails some
    /// reads with EINVAL or ENXIO instead of leaving the attribute out.
    pub fn attribute(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = self.read_if_exists(path).ok()??;
        let text = lossless_text::from_bytes(bytes);
        let trimmed = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!trimmed.is_empty()).then(|| trimmed.to_owned())
    }

    /// The names in a directory, sorted; empty if there is none or it cannot be read.
    pub fn list(&self, path: impl AsRef<Path>) -> Vec<String> {
        self.list_if_exists(path).unwrap_or_default()
    }

    /// The names in a directory, sorted; empty if there is none.
    ///
    /// # Errors
    /// Returns an error if it exists and cannot be read.
    pub(crate) fn list_if_exists(&self, path: impl AsRef<Path>) -> Result<Vec<String>> {
        let path = path.as_ref();
        let inside = self.locate(path)?;
        let mut names = match &self.0 {
            Storage::Memory(tree) => tree.list(&inside),
            Storage::Directory { root, .. } => match directory_names(&below(root, &inside)) {
                Err(cause) if !is_absence(&cause) => return Err(not_read(path, cause)),
                names => names.unwrap_or_default(),
            },
        };
        names.sort_unstable();
        if let Some(record) = self.recorder() {
            names.iter().for_each(|name| self.take_down(record, inside.join(name)));
        }
        Ok(names)
    }

    /// Like [`Tree::list`], for a directory that must be readable if it exists; `None` if it does
    /// not. Names that are not UTF-8 are left out.
    ///
    /// # Errors
    /// Returns an error if it exists and cannot be listed.
    pub fn entries(&self, path: impl AsRef<Path>) -> Result<Option<Vec<String>>> {
        let path = path.as_ref();
        let inside = self.locate(path)?;
        if let Storage::Directory { root, .. } = &self.0 {
            let entries = fs::read_dir(below(root, &inside));
            match entries.and_then(Iterator::collect::<std::io::Result<Vec<_>>>) {
                Ok(_) => {}
                Err(cause) if is_absence(&cause) => return Ok(None),
                Err(cause) => return Err(io_failed("listing", path, cause)),
            }
        }
        Ok(Some(self.list(path)))
    }

    /// Records that something exists at the inside path, without reading it.
    fn take_down(&self, record: &MemoryTree, inside: PathBuf) {
        if record.node(&inside).is_some() {
            return;
        }
        let node = match self.lookup(&inside) {
            Some(Lookup::Link(target)) => Node::Link(target),
            Some(Lookup::Other) => match self.status(&inside).map(|status| status.kind) {
                Some(FileKind::Directory) => Node::Directory,
                Some(FileKind::File | FileKind::Other) => Node::File(Vec::new()),
                Some(FileKind::BlockDevice) | None => return,
            },
            None => return,
        };
        record.put(inside, node);
    }

    /// The inside path of `path` with every link resolved; `None` if nothing is there.
    pub fn canonical(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        let inside = self.resolve(path.as_ref()).ok()?;
        self.lookup(&inside)?;
        if let Some(record) = self.recorder() {
            self.take_down(record, inside.clone());
        }
        Some(inside)
    }

    /// Whether something exists at `path`.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.status(path).is_some()
    }

    /// The status of `path`, following links.
    pub fn status(&self, path: impl AsRef<Path>) -> Option<FileStatus> {
        let inside = self.locate(path.as_ref()).ok()?;
        match &self.0 {
            Storage::Memory(tree) => tree.status(&inside),
            Storage::Directory { root, .. } => {
                let status = fs::metadata(below(root, &inside)).ok().map(|m| status_of(&m))?;
                if let Some(record) = self.recorder() {
                    record_status(record, &inside, status);
                }
                Some(status)
            }
        }
    }

    /// Puts `bytes` at `path` atomically: after a crash, or for a concurrent reader, there is
    /// either the old file or the new one.
    ///
    /// A crash before the rename leaves the old file and a stray `.NAME.mtctl-*`; after the rename
    /// but before the directory is synced, it leaves either of the two files, complete.
    ///
    /// # Errors
    /// Returns an error if any part of it fails; the old file is then still there.
    pub fn replace(&self, path: impl AsRef<Path>, bytes: &[u8], mode: FileWriteMode) -> Result<()> {
        let path = path.as_ref();
        let inside = self.resolve(path)?;
        match &self.0 {
            Storage::Memory(tree) => {
                tree.put(&inside, Node::File(bytes.to_vec()));
                Ok(())
            }
            Storage::Directory { root, .. } => replace_file(&below(root, &inside), bytes, mode)
                .map_err(|cause| io_failed("writing", path, cause)),
        }
    }

    /// Removes what killed processes left of [`Tree::replace`] of `path`. Only for who keeps others
    /// from replacing it: to anybody else it may be one that is being written.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be read or one cannot be removed.
    pub(crate) fn remove_unfinished(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let Storage::Directory { root, .. } = &self.0 else { return Ok(()) };
        let outside = below(root, &self.resolve(path)?);
        remove_unfinished(&outside).map_err(|cause| io_failed("cleaning up beside", path, cause))
    }

    /// Like [`Tree::replace`], with the bytes that `text` stands for ([`lossless_text`]).
    ///
    /// # Errors
    /// As for [`Tree::replace`].
    pub(crate) fn replace_text(
        &self,
        path: impl AsRef<Path>,
        text: &str,
        mode: FileWriteMode,
    ) -> Result<()> {
        self.replace(path, &lossless_text::to_bytes(text), mode)
    }

    /// Writes a kernel attribute with a single write to an existing file, which is never replaced.
    ///
    /// # Errors
    /// Returns an error if there is no such attribute or the kernel refuses the value.
    pub(crate) fn write_attribute(&self, path: impl AsRef<Path>, value: &str) -> Result<()> {
        let path = path.as_ref();
        let inside = self.resolve(path)?;
        match &self.0 {
            Storage::Memory(tree) => {
                tree.put_text(&inside, format!("{value}\n"));
                Ok(())
            }
            Storage::Directory { root, .. } => fs::OpenOptions::new()
                .write(true)
                .open(below(root, &inside))
                .and_then(|mut file| file.write_all(&lossless_text::to_bytes(value)))
                .map_err(|cause| io_failed("writing", path, cause)),
        }
    }

    /// Creates a directory and its parents; existing ones are left unchanged.
    ///
    /// # Errors
    /// Returns an error if one cannot be created.
    pub(crate) fn create_directories(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let inside = self.resolve(path)?;
        match &self.0 {
            Storage::Memory(tree) => {
                tree.put(&inside, Node::Directory);
                Ok(())
            }
            Storage::Directory { root, .. } => fs::create_dir_all(below(root, &inside))
                .map_err(|cause| io_failed("making directory", path, cause)),
        }
    }

    /// Removes a file; it is not an error if it does not exist.
    ///
    /// # Errors
    /// Returns an error if it cannot be removed.
    pub fn remove_file(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let inside = self.resolve(path)?;
        match &self.0 {
            Storage::Memory(tree) => {
                tree.remove(&inside);
                Ok(())
            }
            Storage::Directory { root, .. } => match fs::remove_file(below(root, &inside)) {
                Err(cause) if !is_absence(&cause) => Err(io_failed("removing", path, cause)),
                _ => Ok(()),
            },
        }
    }

    /// Opens `path` for locking, and creates it and its directory if `create` is set. Returns
    /// `Ok(None)` if it does not exist and is not to be created, or if the tree is in memory.
    ///
    /// # Errors
    /// Returns an error if it cannot be opened.
    pub(crate) fn open_lock_file(
        &self,
        path: impl AsRef<Path>,
        create: bool,
    ) -> Result<Option<fs::File>> {
        let path = path.as_ref();
        let Storage::Directory { root, .. } = &self.0 else {
            return Ok(None);
        };
        if let (true, Some(directory)) = (create, path.parent()) {
            self.create_directories(directory)?;
        }
        let outside = below(root, &self.resolve(path)?);
        let opened = fs::OpenOptions::new().read(true).write(create).create(create).open(outside);
        match opened {
            Ok(file) => Ok(Some(file)),
            Err(cause) if is_absence(&cause) => Ok(None),
            Err(cause) => Err(io_failed("opening", path, cause)),
        }
    }

    /// Resolves every link below this tree's root: an absolute link starts again at the root, and
    /// `..` never leaves it. Components that do not exist are kept unchanged.
    fn resolve(&self, path: &Path) -> Result<PathBuf> {
        let mut pending: Vec<OsString> = components(path);
        let mut resolved = PathBuf::from("/");
        let mut links = 0;
        while let Some(component) = pending.pop() {
            if component == ".." {
                resolved.pop();
                continue;
            }
            resolved.push(&component);
            let Some(Lookup::Link(target)) = self.lookup(&resolved) else {
                continue;
            };
            if let Some(record) = self.recorder() {
                // Without the intermediate links, a replay could not find what was read.
                record.put(&resolved, Node::Link(target.clone()));
            }
            links += 1;
            if links > LINKS_MAX {
                let context = format!("following links of {}", path.display());
                return Err(Error::failed(context, "too many levels of symbolic links"));
            }
            if target.is_absolute() {
                resolved = PathBuf::from("/");
            } else {
                resolved.pop();
            }
            pending.extend(components(&target));
        }
        Ok(resolved)
    }

    /// Like [`Tree::resolve`], for reading: below the real root the kernel follows the links
    /// itself.
    fn locate(&self, path: &Path) -> Result<PathBuf> {
        let is_real_root =
            matches!(&self.0, Storage::Directory { root, record: None } if root == Path::new("/"));
        if is_real_root {
            return Ok(path.to_owned());
        }
        self.resolve(path)
    }

    /// What exists at the inside path itself; a link in the last component is not followed.
    fn lookup(&self, inside: &Path) -> Option<Lookup> {
        match &self.0 {
            Storage::Memory(tree) => tree.lookup(inside),
            Storage::Directory { root, .. } => {
                let outside = below(root, inside);
                let metadata = fs::symlink_metadata(&outside).ok()?;
                if metadata.is_symlink() {
                    let target = fs::read_link(&outside).ok()?;
                    return Some(Lookup::Link(lossless_text::of_path(&target).into()));
                }
                Some(Lookup::Other)
            }
        }
    }
}

/// `root` as an absolute path.
pub(super) fn absolute_directory(root: &Path) -> Result<PathBuf> {
    let absolute = fs::canonicalize(root).map_err(|cause| {
        Error::new(ErrorKind::Usage, format!("opening the root directory {}", root.display()))
            .caused_by(cause)
    })?;
    if !absolute.is_dir() {
        let context = format!("{} is not a directory", root.display());
        return Err(Error::new(ErrorKind::Usage, context));
    }
    Ok(absolute)
}

/// The components of `path` as text, in reverse, so that the next one is popped.
fn components(path: &Path) -> Vec<OsString> {
    let kept = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(lossless_text::of_path(name.as_ref()).into()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut all: Vec<OsString> = kept.collect();
    all.reverse();
    all
}

/// Records what is known about a path that was only looked at. Whether a device is blank or busy is
/// recorded when it is opened.
fn record_status(record: &MemoryTree, inside: &Path, status: FileStatus) {
    let node = match status.kind {
        FileKind::Directory => Node::Directory,
        FileKind::File | FileKind::Other => Node::File(Vec::new()),
        FileKind::BlockDevice => Node::BlockDevice {
            device_number: status.device_number,
            blank: Content::Untold,
            busy: false,
        },
    };
    if record.node(inside).is_none() {
        record.put(inside, node);
    }
}
