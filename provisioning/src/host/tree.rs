//! Files below a root prefix: reading, and replacing them atomically. Absolute paths are as seen
//! from inside; symbolic links are followed inside, so that an image never leads out of itself.
//! Block devices as devices are in `device`.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use super::io_failed;
use super::memory::{MemoryTree, Node};
use crate::blank::Content;
use crate::error::{Error, ErrorKind, Result};

#[cfg(test)]
mod tests;

/// Larger files are refused: nothing this crate reads comes near it.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// As many symbolic links as the kernel follows before ELOOP.
const LINKS_MAX: usize = 40;

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A block device.
    BlockDevice,
    /// Anything else: character devices, sockets, pipes.
    Other,
}

/// What `stat` tells of a path, links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Major and minor number of the device it *is* (0, 0 for files).
    pub device_number: (u32, u32),
    /// Major and minor number of the device it is *on*, and its inode.
    pub location: ((u32, u32), u64),
}

/// The permission bits of a file that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileWriteMode {
    /// Those of the file it replaces, or 0644.
    Keep,
    /// Exactly these.
    Exactly(u32),
}

/// A root prefix, on disk or in memory.
#[derive(Debug)]
pub struct Tree(Storage);

#[derive(Debug)]
enum Storage {
    /// `record` takes down what is read, links as links.
    Directory {
        root: PathBuf,
        record: Option<MemoryTree>,
    },
    Memory(MemoryTree),
}

impl Tree {
    /// Everything below `root`.
    pub fn directory(root: impl Into<PathBuf>) -> Self {
        Self(Storage::Directory { root: root.into(), record: None })
    }

    /// The running machine's files, with everything that is read put into `record`.
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

    /// A tree that is in memory only.
    pub fn memory(tree: MemoryTree) -> Self {
        Self(Storage::Memory(tree))
    }

    pub(super) fn is_memory(&self) -> bool {
        matches!(self.0, Storage::Memory(_))
    }

    /// Puts down what lies on a device, when a record is kept.
    pub(super) fn record_content(&self, path: &Path, number: (u32, u32), content: &Content) {
        if let (Some(record), Some(inside)) = (self.recorder(), self.canonical(path)) {
            let (device_number, blank) = (number, content.clone());
            record.put(inside, Node::BlockDevice { device_number, blank, busy: false });
        }
    }

    /// Puts down that a device could not be opened exclusively, when a record is kept.
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

    /// The path outside this tree that `path` leads to, links followed inside the tree. The last
    /// component need not exist.
    ///
    /// # Errors
    /// When links go in circles, or the tree is in memory.
    pub fn outside_path(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let inside = self.resolve(path.as_ref())?;
        match &self.0 {
            Storage::Directory { root, .. } => Ok(below(root, &inside)),
            Storage::Memory(_) => Ok(inside),
        }
    }

    /// The whole file.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or is larger than 32 MiB.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        let path = path.as_ref();
        self.read_if_exists(path)?.ok_or_else(|| {
            io_failed("reading", path, std::io::Error::from(std::io::ErrorKind::NotFound))
        })
    }

    /// The whole file, or `None` when there is none.
    ///
    /// # Errors
    /// As [`Tree::read`], but for absence.
    pub fn read_if_exists(&self, path: impl AsRef<Path>) -> Result<Option<Vec<u8>>> {
        let path = path.as_ref();
        let inside = self.locate(path)?;
        match &self.0 {
            Storage::Memory(tree) => Ok(tree.file(&inside)),
            Storage::Directory { root, .. } => match read_bounded(&below(root, &inside)) {
                Ok(bytes) => {
                    if let Some(record) = self.recorder() {
                        record.put(&inside, Node::File(bytes.clone()));
                    }
                    Ok(Some(bytes))
                }
                Err(cause) if is_absence(&cause) => Ok(None),
                Err(cause) => Err(io_failed("reading", path, cause)),
            },
        }
    }

    /// The first `bytes_max` bytes of a file of any size, or `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn head_if_exists(
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

    /// The file as text, or `None` when there is none.
    ///
    /// # Errors
    /// As [`Tree::read_if_exists`], and when it is not UTF-8.
    pub fn text_if_exists(&self, path: impl AsRef<Path>) -> Result<Option<String>> {
        let path = path.as_ref();
        let Some(bytes) = self.read_if_exists(path)? else {
            return Ok(None);
        };
        String::from_utf8(bytes).map(Some).map_err(|cause| {
            let context = format!("reading {}: it is not UTF-8 text", path.display());
            Error::new(ErrorKind::Failed, context).caused_by(cause)
        })
    }

    /// A kernel attribute: trimmed text, `None` when absent, empty or unreadable. sysfs answers
    /// some reads with EINVAL or ENXIO instead of leaving the attribute out.
    pub fn attribute(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = self.read_if_exists(path).ok()??;
        let text = String::from_utf8_lossy(&bytes);
        let trimmed = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!trimmed.is_empty()).then(|| trimmed.to_owned())
    }

    /// The names in a directory, sorted; empty when there is none.
    pub fn list(&self, path: impl AsRef<Path>) -> Vec<String> {
        let Ok(inside) = self.locate(path.as_ref()) else {
            return Vec::new();
        };
        let mut names = match &self.0 {
            Storage::Memory(tree) => tree.list(&inside),
            Storage::Directory { root, .. } => directory_names(&below(root, &inside)),
        };
        names.sort_unstable();
        if let Some(record) = self.recorder() {
            names.iter().for_each(|name| self.take_down(record, inside.join(name)));
        }
        names
    }

    /// As [`Tree::list`], of a directory that must be readable if it is there; `None` when it is
    /// not. Names that are no UTF-8 are left out.
    ///
    /// # Errors
    /// When it is there and cannot be listed.
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

    /// Puts into the record that something is at the inside path, without reading it.
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

    /// The inside path that `path` is, every link followed; `None` when nothing is there.
    pub fn canonical(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        let inside = self.resolve(path.as_ref()).ok()?;
        self.lookup(&inside)?;
        if let Some(record) = self.recorder() {
            self.take_down(record, inside.clone());
        }
        Some(inside)
    }

    /// Whether something is at `path`.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.status(path).is_some()
    }

    /// What is at `path`, links followed.
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

    /// Puts `bytes` at `path` as one step: a reader, or a crash, sees the old file or the new one.
    ///
    /// A crash before the rename leaves the old file and a stray `.NAME.mtctl-*`; after the rename
    /// but before the directory is synced, either of the two files, whole.
    ///
    /// # Errors
    /// When any of it fails; the old file is then still there.
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

    /// Writes a kernel attribute: one write to a file that is there, which is never replaced.
    ///
    /// # Errors
    /// When there is no such attribute or the kernel does not take the value.
    pub fn write_attribute(&self, path: impl AsRef<Path>, value: &str) -> Result<()> {
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
                .and_then(|mut file| file.write_all(value.as_bytes()))
                .map_err(|cause| io_failed("writing", path, cause)),
        }
    }

    /// Makes a directory and those above it; one that exists is left as it is.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn create_directories(&self, path: impl AsRef<Path>) -> Result<()> {
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

    /// Removes a file; one that is not there is fine.
    ///
    /// # Errors
    /// When it cannot be removed.
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

    /// Opens `path` for locking, making it (and its directory) when `create` is set.
    ///
    /// # Errors
    /// When it cannot be opened; `Ok(None)` when it is not there and is not to be made, or the tree
    /// is in memory.
    pub fn open_lock_file(&self, path: impl AsRef<Path>, create: bool) -> Result<Option<fs::File>> {
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

    /// Follows every link below this tree's root: an absolute link starts again at the root, and
    /// `..` never leaves it. Components that do not exist are kept as they are.
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
                // Without the links on the way, what was read could not be found in the record.
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

    /// As [`Tree::resolve`] for reading: below the real root the kernel follows links itself.
    fn locate(&self, path: &Path) -> Result<PathBuf> {
        let is_real_root =
            matches!(&self.0, Storage::Directory { root, record: None } if root == Path::new("/"));
        if is_real_root {
            return Ok(path.to_owned());
        }
        self.resolve(path)
    }

    /// What is at the inside path itself, a last link not followed.
    fn lookup(&self, inside: &Path) -> Option<Lookup> {
        match &self.0 {
            Storage::Memory(tree) => tree.lookup(inside),
            Storage::Directory { root, .. } => {
                let outside = below(root, inside);
                let metadata = fs::symlink_metadata(&outside).ok()?;
                if metadata.is_symlink() {
                    return fs::read_link(&outside).ok().map(Lookup::Link);
                }
                Some(Lookup::Other)
            }
        }
    }
}

/// What [`Tree::lookup`] found.
pub(super) enum Lookup {
    /// A symbolic link and where it points.
    Link(PathBuf),
    /// Anything else that exists.
    Other,
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

/// The components of `path` in reverse, so that the next one is popped.
fn components(path: &Path) -> Vec<OsString> {
    let kept = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut all: Vec<OsString> = kept.collect();
    all.reverse();
    all
}

/// What is known of a path that was only looked at. Whether a device is blank or busy is put down
/// when it is opened.
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

fn below(root: &Path, inside: &Path) -> PathBuf {
    root.join(inside.strip_prefix("/").unwrap_or(inside))
}

fn is_absence(cause: &std::io::Error) -> bool {
    matches!(cause.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

fn read_bounded(outside: &Path) -> std::io::Result<Vec<u8>> {
    let bytes = read_head(outside, FILE_BYTES_MAX + 1)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge));
    }
    Ok(bytes)
}

fn read_head(outside: &Path, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Opening a FIFO for reading would block for ever.
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(outside)?;
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn directory_names(outside: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(outside) else {
        return Vec::new();
    };
    let name = |entry: fs::DirEntry| entry.file_name().into_string().ok();
    entries.flatten().filter_map(name).collect()
}

fn status_of(metadata: &fs::Metadata) -> FileStatus {
    let kind = metadata.file_type();
    let split = |number| {
        (u32::try_from(nix::sys::stat::major(number)), u32::try_from(nix::sys::stat::minor(number)))
    };
    let number = |number| match split(number) {
        (Ok(major), Ok(minor)) => (major, minor),
        _ => (0, 0),
    };
    FileStatus {
        kind: match () {
            () if kind.is_file() => FileKind::File,
            () if kind.is_dir() => FileKind::Directory,
            () if kind.is_block_device() => FileKind::BlockDevice,
            () => FileKind::Other,
        },
        mode: metadata.permissions().mode() & 0o7777,
        device_number: number(metadata.rdev()),
        location: (number(metadata.dev()), metadata.ino()),
    }
}

fn replace_file(outside: &Path, bytes: &[u8], mode: FileWriteMode) -> std::io::Result<()> {
    let directory = outside.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let former = fs::metadata(outside).ok();
    let bits = match (mode, &former) {
        (FileWriteMode::Exactly(bits), _) => bits,
        (FileWriteMode::Keep, Some(former)) => former.permissions().mode() & 0o7777,
        (FileWriteMode::Keep, None) => 0o644,
    };
    let name = outside.file_name().unwrap_or_default().to_string_lossy();
    let mut file = tempfile::Builder::new()
        .prefix(&format!(".{name}.mtctl-"))
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    file.write_all(bytes)?;
    if let Some(former) = &former {
        std::os::unix::fs::fchown(file.as_file(), Some(former.uid()), Some(former.gid()))?;
    }
    // After chown, which may clear bits.
    file.as_file().set_permissions(fs::Permissions::from_mode(bits))?;
    file.as_file().sync_all()?;
    file.persist(outside).map_err(|error| error.error)?;
    fs::File::open(directory)?.sync_all()
}
