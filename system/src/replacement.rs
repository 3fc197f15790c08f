//! Replacing a file whole: whoever opens it, also after a crash, finds all of the old content or
//! all of the new.
//!
//! The order is: a part in the directory of the file is filled; the part is flushed; it is renamed;
//! the directory is flushed. A crash before the rename leaves the old file and, beside it, the
//! part, which nothing reads: [`remove_parts`] removes it. A crash between the rename and the flush
//! of the directory leaves either file, whole. Without the first flush, the name could lead to an
//! empty file; without the second, the old file could come back after the new one was acted on.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

/// How many random letters follow the prefix in the name of a part.
const RANDOM_LETTERS: usize = 6;

/// A file that is being made and gets its name when it is complete. Dropping it removes the part.
#[derive(Debug)]
pub struct Replacement<'a> {
    part: NamedTempFile,
    directory: Directory<'a>,
}

/// The directory of the file, to be flushed.
#[derive(Debug)]
enum Directory<'a> {
    Opened(File),
    Held(&'a File),
}

impl Directory<'_> {
    fn sync_all(&self) -> io::Result<()> {
        match self {
            Self::Opened(directory) => directory.sync_all(),
            Self::Held(directory) => directory.sync_all(),
        }
    }
}

impl Replacement<'static> {
    /// Begins an empty part in `directory`, under a name that begins with `prefix`. Its permission
    /// bits are those of `mode` that the umask lets through.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn begin(directory: &Path, prefix: impl AsRef<OsStr>, mode: u32) -> io::Result<Self> {
        let handle = Directory::Opened(File::open(directory)?);
        Ok(Self { part: begin_part(directory, prefix.as_ref(), mode)?, directory: handle })
    }
}

impl<'a> Replacement<'a> {
    /// Like [`Replacement::begin`] in a directory that is held open as `held`: needs one file
    /// descriptor less.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn begin_in(
        held: &'a File,
        directory: &Path,
        prefix: impl AsRef<OsStr>,
        mode: u32,
    ) -> io::Result<Self> {
        let part = begin_part(directory, prefix.as_ref(), mode)?;
        Ok(Self { part, directory: Directory::Held(held) })
    }

    /// The part, to be filled.
    pub fn file(&mut self) -> &mut File {
        self.part.as_file_mut()
    }

    /// The path of the part until it gets its name.
    pub fn path(&self) -> &Path {
        self.part.path()
    }

    /// Gives the part the name `path`, durably; what has that name is replaced. `path` must be in
    /// the directory of the part.
    ///
    /// # Errors
    ///
    /// The kernel's error. The old file is still there, unless only flushing the directory failed.
    pub fn replace(self, path: &Path) -> io::Result<()> {
        self.part.as_file().sync_all()?;
        self.part.persist(path).map_err(|failed| failed.error)?;
        self.directory.sync_all()
    }

    /// Like [`Replacement::replace`], but replaces nothing.
    ///
    /// # Errors
    ///
    /// As for [`Replacement::replace`]; `AlreadyExists` if something has that name.
    pub fn take_free_name(self, path: &Path) -> io::Result<()> {
        self.part.as_file().sync_all()?;
        self.part.persist_noclobber(path).map_err(|failed| failed.error)?;
        self.directory.sync_all()
    }
}

fn begin_part(directory: &Path, prefix: &OsStr, mode: u32) -> io::Result<NamedTempFile> {
    // Opened here: tempfile would wrap the kernel's error and so hide its number.
    let open = |path: &Path| {
        OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)
    };
    tempfile::Builder::new().prefix(prefix).rand_bytes(RANDOM_LETTERS).make_in(directory, open)
}

/// Removes the parts in `directory` whose names begin with `prefix`, which killed processes left.
/// Only for a caller who keeps others from making such parts: theirs may be in use.
///
/// # Errors
///
/// The kernel's error.
pub fn remove_parts(directory: &Path, prefix: impl AsRef<OsStr>) -> io::Result<()> {
    let prefix = prefix.as_ref().as_bytes();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let random = name.as_bytes().strip_prefix(prefix);
        if random.is_some_and(|random| random.len() == RANDOM_LETTERS) {
            match fs::remove_file(directory.join(&name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn part(directory: &Path, text: &str) -> Replacement<'static> {
        let mut part = Replacement::begin(directory, "file.", 0o600).unwrap();
        part.file().write_all(text.as_bytes()).unwrap();
        part
    }

    #[test]
    fn a_file_is_replaced_whole_and_a_part_that_is_given_up_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        part(place.path(), "old").take_free_name(&file).unwrap();
        drop(part(place.path(), "half"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        part(place.path(), "new").replace(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        let taken = part(place.path(), "other").take_free_name(&file).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn parts_are_removed_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        for name in ["file", "file.copy", "file.Ab3dEf", "file.old-one", "lock"] {
            fs::write(place.path().join(name), "").unwrap();
        }
        remove_parts(place.path(), "file.").unwrap();
        assert!(!place.path().join("file.Ab3dEf").exists());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 4);
    }
}
