//! Files that get their name only when they are whole. What is in them is the verbs'.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;

/// Says no to a `path` that no file can be made at; `hint` is for what is there and is none.
///
/// # Errors
///
/// `Usage`: no directory holds it, or it is something else than a regular file.
pub(crate) fn check(path: &Path, hint: &str) -> blockio::Result<()> {
    let directory = directory_of(path);
    if !directory.is_dir() {
        let context =
            format!("writing {}: {} is no directory", path.display(), directory.display());
        return Err(blockio::Error::new(blockio::ErrorKind::Usage, context));
    }
    if path.exists() && !path.is_file() {
        let context = format!("{} is there and is no regular file", path.display());
        return Err(blockio::Error::new(blockio::ErrorKind::Usage, context).with_hint(hint));
    }
    Ok(())
}

/// Makes a durable file at `path` of what `fill` writes. A crash, or an error, leaves what was
/// there before under that name.
///
/// # Errors
///
/// What `fill` says, or the filesystem.
pub(crate) fn write<T>(
    path: &Path,
    fill: impl FnOnce(&mut File) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let directory = directory_of(path);
    let writing = || format!("writing {}", path.display());
    let mut file = tempfile::Builder::new()
        .prefix(".mtctl-part.")
        .permissions(PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)
        .with_context(writing)?;
    let done = fill(file.as_file_mut())?;
    file.as_file().sync_all().with_context(writing)?;
    file.persist(path).with_context(writing)?;
    File::open(directory).and_then(|directory| directory.sync_all()).with_context(writing)?;
    Ok(done)
}

fn directory_of(path: &Path) -> &Path {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    directory.unwrap_or(Path::new("."))
}
