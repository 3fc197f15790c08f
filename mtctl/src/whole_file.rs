//! Files that get their name only when they are complete. The verbs supply the contents.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use blockio::group::GroupPlace;
use blockio::volume::{TargetRequest, open};
use system::replacement::Replacement;

use crate::location::directory_of;
use crate::location::is_one;
use crate::new_image;
use crate::other_groups::OtherGroups;
use crate::own_places::OwnPlaces;
use crate::report;
use crate::retention_options::RetentionOptions;
use crate::target_argument::{self, TargetArgument};

/// How much of a file is read to determine its format.
const HEAD_BYTES: u64 = 256;

/// Refuses a `path` at which no file can be made; `hint` is for something there that is not a file.
///
/// # Errors
///
/// `Usage`: its directory does not exist, or it is something other than a regular file. `Refused`:
/// it would lie among the files of a group, or among those that mtctl keeps of this host.
pub(crate) fn check(path: &Path, hint: &str) -> system::Result<()> {
    let directory = directory_of(path);
    if !directory.is_dir() {
        let context =
            format!("writing {}: {} is not a directory", path.display(), directory.display());
        return Err(system::Error::new(system::ErrorKind::Usage, context));
    }
    if path.exists() && !path.is_file() {
        let context = format!("{} exists and is not a regular file", path.display());
        return Err(system::Error::new(system::ErrorKind::Usage, context).with_hint(hint));
    }
    OwnPlaces::refuse_output(path)?;
    // Wherever that group lies, the path may name its state or one of its segments.
    if GroupPlace::without_history(directory).was_held() {
        let (path, directory) = (path.display(), directory.display());
        let context = format!("writing {path}: {directory} is the directory of a group");
        return Err(system::Error::refused(context).with_hint("name a file elsewhere"));
    }
    Ok(())
}

/// Refuses a `path` that must not be replaced: a file with any contents, except the one that
/// `force` names. None of `inputs` is ever replaced.
///
/// # Errors
///
/// `Refused`: it must not be replaced, or, even with `force`, is in use or belongs to mtctl.
/// `Usage`: `force` names another file.
pub(crate) fn check_replaces_nothing(
    path: &Path,
    force: Option<&Path>,
    inputs: &[PathBuf],
) -> system::Result<()> {
    let writing = format!("writing {}", path.display());
    if force.is_some_and(|forced| !is_named_alike(forced, path)) {
        let context = format!("{writing}: --force names another file");
        return Err(system::Error::new(system::ErrorKind::Usage, context)
            .with_hint(format!("the file that may be replaced: --force {}", path.display())));
    }
    if path.metadata().map_or(true, |found| found.len() == 0) {
        return Ok(());
    }
    if let Some(input) = inputs.iter().find(|input| is_one(input, path)) {
        let context = format!("{writing}: it is also read, as {}", input.display());
        return Err(system::Error::refused(context).with_hint("name a new file"));
    }
    if force.is_none() {
        let hint = format!("name a new file, or allow replacing it: --force {}", path.display());
        let context = format!("{writing}: the file exists and is not empty");
        return Err(system::Error::refused(context).with_hint(hint));
    }
    OwnPlaces::of_this_host(&RetentionOptions::default(), None).refuse(path)?;
    // No group is exempt, so no name is given.
    let groups = OtherGroups::than("", None)?;
    let named = target_argument::resolve([&TargetArgument::Path(path.to_owned())]);
    for named in named.map_err(report::as_of_blockio)? {
        groups.refuse(&named).map_err(|error| error.with_hint("name a new file"))?;
    }
    // A process that uses the file, even one that only reads it under a lock, or made a disk of it,
    // would continue with a file without a name. Opened as a target, so that it is refused as one.
    let request = TargetRequest { path: path.to_owned(), ..TargetRequest::default() };
    match open(&request) {
        Ok(_) => Ok(()),
        // The hint for targets names the loop device, to which no stream is written.
        Err(error) => Err(error.with_hint("name a new file")),
    }
}

/// Whether both name the same file, which need not exist yet.
fn is_named_alike(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).ok();
    real(one) == real(other)
}

/// Makes a durable file at `path` from what `fill` writes. A crash, or an error, leaves the
/// previous contents of that name.
///
/// # Errors
///
/// Errors of `fill` or of the filesystem. `Refused`: the file at `path` has changed since this
/// began, and is kept.
pub(crate) fn write<T>(
    path: &Path,
    fill: impl FnOnce(&mut File) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let writing = || format!("writing {}", path.display());
    let before = what_stands(path);
    let mut part =
        Replacement::begin(directory_of(path), new_image::PREFIX, 0o644).with_context(writing)?;
    let done = fill(part.file())?;
    // Flushed here already, so that replacing it follows the comparison at once.
    part.file().sync_all().with_context(writing)?;
    let appeared = || {
        system::Error::refused(format!("{}: another file has appeared there meanwhile", writing()))
            .with_hint("it is left as it is: inspect it, and name a new file")
    };
    match before {
        None => match part.take_free_name(path) {
            Err(failed) if failed.kind() == ErrorKind::AlreadyExists => Err(appeared())?,
            done => done.with_context(writing)?,
        },
        // A moment remains between checking and replacing: no system call does both.
        Some(_) if what_stands(path) != before => Err(appeared())?,
        Some(_) => part.replace(path).with_context(writing)?,
    }
    Ok(done)
}

/// Identity and last change of the file at `path`; `None` if nothing exists there.
fn what_stands(path: &Path) -> Option<(u64, u64, u64, i64, i64)> {
    let found = path.symlink_metadata().ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

/// The first bytes of the file at `path`, which determine its format.
///
/// # Errors
///
/// It cannot be read.
pub(crate) fn head(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head))
        .with_context(|| format!("reading {}", path.display()))?;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(error: &anyhow::Error) -> Option<system::ErrorKind> {
        error.downcast_ref::<system::Error>().map(system::Error::kind)
    }

    #[test]
    fn what_was_put_there_meanwhile_stays() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("file");
        let put = |text: &'static str| {
            let path = path.clone();
            move |_: &mut File| Ok(std::fs::write(path, text)?)
        };
        let refused = write(&path, put("precious")).unwrap_err();
        assert_eq!(kind(&refused), Some(system::ErrorKind::Refused), "{refused:#}");
        // Likewise if the existing file could be replaced at first: it is no longer the same.
        let refused = write(&path, put("more precious")).unwrap_err();
        assert_eq!(kind(&refused), Some(system::ErrorKind::Refused), "{refused:#}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "more precious");
        write(&path, |_| Ok(())).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 1, "a part was left");
    }
}
