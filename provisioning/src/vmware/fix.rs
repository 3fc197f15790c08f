//! Turns disk.EnableUUID on in .vmx files: every guard first, then one atomic replacement for each
//! file, then a check by reading it again.

use std::path::PathBuf;

use super::machine::{self, Machine};
use super::survey::Survey;
use super::vmx::EnableUuid;
use crate::host::{FileWriteMode, Tree};
use system::error::{Error, ErrorKind, Result};

/// What happens to an edit of several machines if the UUIDs of some disks cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownUuids {
    /// The edit is refused: clones among these disks would not be found.
    Refused,
    /// The operator knows that there are no clones.
    Allowed,
}

/// Turns disk.EnableUUID on in every machine of `survey` that needs it, and returns the changed
/// files. Doing it twice changes nothing.
///
/// # Errors
/// Returns [`ErrorKind::Refused`], with no file touched, if a machine that needs it is running,
/// suspended or encrypted, or if two disks have, or may have, the same UUID: with the setting on,
/// multipath would take them for paths to one disk. Returns [`ErrorKind::Failed`] if a file cannot
/// be written; that file is then unchanged.
pub fn run(tree: &Tree, survey: &Survey, unknown: UnknownUuids) -> Result<Vec<PathBuf>> {
    let needy = survey.machines.iter().filter(|machine| machine.edited.is_some());
    let needy: Vec<&Machine> = needy.collect();
    for machine in &needy {
        guard(machine)?;
    }
    let unknown = match unknown {
        UnknownUuids::Refused => survey.unknown_error(),
        UnknownUuids::Allowed => None,
    };
    let error = survey.clash_error(ErrorKind::Refused).or(unknown);
    if let (false, Some(error)) = (needy.is_empty(), error) {
        return Err(error);
    }
    let mut changed = Vec::new();
    for machine in needy {
        match edit(tree, machine) {
            Ok(()) => changed.push(machine.path.clone()),
            // "Refused" promises that nothing was touched.
            Err(error) if !changed.is_empty() => {
                let context = format!("fixing {}, {} done", machine.path.display(), changed.len());
                return Err(Error::failed(context, error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(changed)
}

/// Reads the machine again, because it may have been started or edited since, and writes.
fn edit(tree: &Tree, machine: &Machine) -> Result<()> {
    let path = &machine.path;
    let now = machine::read(tree, path)?;
    guard(&now)?;
    if let Some(bytes) = &now.edited {
        // A crash leaves the old file or the new one, complete: see `Tree::replace`.
        tree.replace(path, bytes, FileWriteMode::Keep)?;
    }
    match machine::read(tree, path)? {
        after if after.enable_uuid == EnableUuid::On && after.edited.is_none() => Ok(()),
        _ => {
            let context = format!("reading {} back: disk.EnableUUID is still off", path.display());
            Err(Error::new(ErrorKind::Failed, context))
        }
    }
}

fn guard(machine: &Machine) -> Result<()> {
    let context = |why: String| format!("editing {}: {why}", machine.path.display());
    if let Some(lock) = machine.locks.first() {
        let error =
            Error::refused(context(format!("the VM is running: {} is there", lock.display())));
        let hint = "shut the VM down; if it is certainly off, the lock may be deleted";
        return Err(error.with_hint(hint));
    }
    if let Some(file) = &machine.suspended_to {
        let error = Error::refused(context(format!("the VM is suspended to {file}")));
        return Err(error.with_hint("resume it and shut it down"));
    }
    if machine.is_encrypted {
        let error = Error::refused(context("its settings are encrypted".to_owned()));
        let hint = "set disk.EnableUUID to TRUE in the VM's configuration parameters";
        return Err(error.with_hint(hint));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the tests look at real files from outside")]
mod tests;
