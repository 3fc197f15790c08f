//! The disks of a group: found again on this host by what the group knows them by.

use blockio::apply::Assignment;
use blockio::group::GroupView;
use blockio::volume;
use blockio::{Error, ErrorKind, Result};

use crate::target_argument::{self, NamedTarget, TargetArgument};

/// The disk of each volume of `group`, where it is now.
///
/// # Errors
///
/// `Usage`, `Refused`: one is not attached, or twice.
pub(crate) fn named(group: &GroupView) -> anyhow::Result<Vec<(String, NamedTarget)>> {
    let mut wanted = Vec::new();
    for (name, volume) in &group.state().volumes {
        let Some(target) = &volume.target else { continue };
        let parsed: TargetArgument = target.parse()?;
        wanted.push((name.clone(), parsed));
    }
    if wanted.is_empty() {
        return Err(no_volumes(group).into());
    }
    let found = target_argument::resolve(wanted.iter().map(|(_, target)| target))?;
    Ok(wanted.into_iter().map(|(name, _)| name).zip(found).collect())
}

/// The disks of all volumes of `group`, open for us alone.
///
/// # Errors
///
/// As [`named`], and as opening a target.
pub(crate) fn open(group: &GroupView) -> anyhow::Result<Vec<Assignment>> {
    let mut assignments = Vec::new();
    for (name, target) in named(group)? {
        let NamedTarget { request, identity } = target;
        let target = volume::open(&request)?;
        is_as_long(group, &name, &target)?;
        let identity = identity.unwrap_or_else(|| crate::group_place::of_target(&request.path));
        let source = (!name.is_empty()).then_some(name);
        assignments.push(Assignment { source, target: target.into(), identity });
    }
    Ok(assignments)
}

/// A disk of another length is another disk.
fn is_as_long(group: &GroupView, name: &str, target: &volume::Target) -> Result<()> {
    let known = group.state().volumes.get(name).map_or(0, |volume| volume.target_bytes);
    let found = target.geometry().capacity.get();
    if found >= known {
        return Ok(());
    }
    let path = target.path().display();
    Err(Error::refused(format!("{path} has {found} bytes, and the group knows it with {known}"))
        .with_hint("attach the disk that was written"))
}

fn no_volumes(group: &GroupView) -> Error {
    Error::new(ErrorKind::Usage, format!("group {} has no volumes yet", group.name()))
        .with_hint("apply a stream to it first")
}
