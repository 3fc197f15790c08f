//! The disks of a group, found again on this host by the identity that the group has recorded.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use blockio::assignment::Assignment;
use blockio::group::GroupView;
use blockio::journal::saved;
use blockio::journal::state::VolumeState;
use blockio::target_check::{self, Seen};
use blockio::units::SectorSize;
use blockio::volume;
use blockio::volume_name::VolumeName;
use nix::sys::stat::{major, minor};
use system::{Error, ErrorKind};

use crate::attention;
use crate::group_place::GroupOptions;
use crate::other_groups::OtherGroups;
use crate::target_argument::{self, NamedTarget, TargetArgument};

/// The volumes that are meant; `None`: all of them.
pub(crate) type Volumes<'a> = Option<&'a [&'a str]>;

/// The disk of each of `volumes` of `group`, at its current path.
///
/// # Errors
///
/// `Usage`, `Refused`: one is not attached, or is attached twice.
pub(crate) fn named(
    group: &GroupView,
    volumes: Volumes<'_>,
) -> anyhow::Result<Vec<(VolumeName, NamedTarget)>> {
    let mut wanted: Vec<(VolumeName, TargetArgument)> = Vec::new();
    for (name, volume) in &group.state().volumes {
        let Some(target) = &volume.target else { continue };
        let parsed: TargetArgument = where_it_is(target, volume).parse()?;
        if let Some((other, _)) = wanted.iter().find(|(_, earlier)| *earlier == parsed) {
            return Err(is_two_volumes(group, target, other, name).into());
        }
        wanted.push((name.clone(), parsed));
    }
    if wanted.is_empty() {
        return Err(no_volumes(group).into());
    }
    // Only now: if one disk is two volumes, neither of them can be trusted.
    wanted.retain(|(name, _)| volumes.is_none_or(|all| all.contains(&name.as_str())));
    let found = target_argument::resolve(wanted.iter().map(|(_, target)| target))?;
    Ok(wanted.into_iter().map(|(name, _)| name).zip(found).collect())
}

/// The disk of volume `wanted` of `group`, at its current path.
///
/// # Errors
///
/// `Usage`, `Refused`: it is not attached, or not known.
pub(crate) fn named_one(group: &GroupView, wanted: &VolumeName) -> anyhow::Result<NamedTarget> {
    let volume = group.state().volumes.get(wanted);
    let known = volume.and_then(|volume| Some((volume, volume.target.as_ref()?)));
    let (volume, target) = known.ok_or_else(|| no_volumes(group))?;
    let parsed: TargetArgument = where_it_is(target, volume).parse()?;
    let found = target_argument::resolve([&parsed])?;
    Ok(found.into_iter().next().ok_or_else(|| no_volumes(group))?)
}

/// The disks of `group` that are attached, at their current paths.
pub(crate) fn there(group: &GroupView) -> Vec<(VolumeName, NamedTarget)> {
    let volumes = group.state().volumes.keys();
    volumes.filter_map(|name| Some((name.clone(), named_one(group, name).ok()?))).collect()
}

/// Checks by samples that the disk `named` of `volume` holds what `group` left there.
///
/// # Errors
///
/// `Refused`: it holds something else; the error says what differs. Otherwise as opening it.
pub(crate) fn require_volume_as_left(
    group: &GroupView,
    volume: &VolumeName,
    named: &NamedTarget,
) -> anyhow::Result<()> {
    let target = volume::open_to_look(&named.request)?;
    let (volume, identity) = (volume.clone(), named.known_as());
    let mut assignments = [Assignment { volume, target: target.into(), identity }];
    target_check::check(group, &mut assignments, false)?;
    Ok(())
}

/// What is wrong with the disks of `group`, without opening them: one is not attached, or another
/// one is in its place. The disks of a committed group may have gone home.
pub(crate) fn alarms(group: &GroupView) -> Vec<String> {
    if group.state().is_committed() {
        return Vec::new();
    }
    let name = group.name();
    let told = |(volume, why): (String, Standing)| match why {
        Standing::AsKnown => None,
        Standing::Missing(why) => {
            Some(format!("the disk of {volume} is missing: {why}; attach it, {}", or_another(name)))
        }
        Standing::Another(why) => Some(format!(
            "another disk is in the place of the disk of {volume}: {why}; attach the right one, {}",
            or_another(name)
        )),
    };
    standings(group).filter_map(told).collect()
}

/// Checks that every disk of `group` exists, whatever it holds.
///
/// # Errors
///
/// `Refused`: one is missing.
pub(crate) fn require_there(group: &GroupView) -> system::Result<()> {
    let missing = standings(group).find_map(|(volume, standing)| match standing {
        Standing::Missing(why) => Some((volume, why)),
        Standing::AsKnown | Standing::Another(_) => None,
    });
    let Some((volume, why)) = missing else { return Ok(()) };
    let context = format!("the disk of {volume} is missing: {why}");
    Err(Error::refused(context).with_hint(format!("attach it, {}", or_another(group.name()))))
}

fn or_another(group: &str) -> String {
    format!(
        "or continue with another disk of the same content: mtctl group retarget --group {group}"
    )
}

/// Whether a disk that a group knows is in its place.
enum Standing {
    /// It is, as far as can be told without opening it.
    AsKnown,
    /// Nothing is there: why not.
    Missing(String),
    /// Another disk is there, or a smaller one: what differs.
    Another(String),
}

/// The standing of each volume of `group` whose disk is known.
fn standings(group: &GroupView) -> impl Iterator<Item = (String, Standing)> {
    group.state().volumes.iter().filter_map(|(name, volume)| {
        let target = volume.target.as_ref()?;
        Some((name.in_words(), standing(target, volume)))
    })
}

fn standing(target: &str, volume: &VolumeState) -> Standing {
    let parsed: system::Result<TargetArgument> = where_it_is(target, volume).parse();
    let found = match parsed.and_then(|parsed| target_argument::resolve([&parsed])) {
        Err(error) => return Standing::Missing(error.chain()),
        Ok(found) => found,
    };
    let Some(named) = found.first() else { return Standing::AsKnown };
    let path = named.request.path.as_path();
    let bytes = match bytes_at(path) {
        Err(why) => return Standing::Missing(why),
        Ok(bytes) => bytes,
    };
    let identity = named.known_as();
    let seen = Seen { identity: &identity, bytes, sector_bytes: None };
    target_check::difference(volume, &seen)
        .map_or(Standing::AsKnown, |why| Standing::Another(format!("{}: {why}", path.display())))
}

/// The length of the disk or image file at `path`.
///
/// # Errors
///
/// Why nothing there can be opened as a disk: a node may exist without its disk.
fn bytes_at(path: &Path) -> std::result::Result<u64, String> {
    let shown = path.display();
    let found = path.metadata().map_err(|_| format!("{shown} is not there"))?;
    if found.is_file() {
        return Ok(found.len());
    }
    if !found.file_type().is_block_device() {
        return Err(format!("{shown} is neither a disk nor a file"));
    }
    let number = format!("{}:{}", major(found.rdev()), minor(found.rdev()));
    let size = std::fs::read_to_string(format!("/sys/dev/block/{number}/size")).ok();
    let sectors = size.and_then(|sectors| sectors.trim().parse::<u64>().ok()).unwrap_or(0);
    // The kernel counts in these, whatever the disk has.
    let bytes = sectors.saturating_mul(SectorSize::Bytes512.bytes().get());
    if bytes > 0 { Ok(bytes) } else { Err(format!("{shown} has no disk behind it")) }
}

/// The current path of a disk without a WWID, which may have changed.
fn where_it_is(target: &str, volume: &VolumeState) -> String {
    let moved = volume.identity.as_ref().filter(|_| target.starts_with('/')).and_then(|known| {
        let now = target_argument::moved(Path::new(target), known)?;
        now.to_str().map(str::to_owned)
    });
    moved.unwrap_or_else(|| target.to_owned())
}

/// Groups made by a version that did not check for this may have it.
fn is_two_volumes(group: &GroupView, target: &str, one: &VolumeName, other: &VolumeName) -> Error {
    let name = group.name();
    Error::refused(format!(
        "group {name} has {target} as {} and as {}: its history is divided between the two",
        one.in_words(),
        other.in_words()
    ))
    .with_hint(format!(
        "accept the disk as it is and start again: mtctl group release --group {name}; then name \
         the disk once, with --target or --map"
    ))
}

/// The disks of all volumes of `group`, which `of` names, opened exclusively. With `accept`, they
/// are opened even if another group has one of them as well.
///
/// # Errors
///
/// As [`named`], and as opening a target. `Refused`: another group has one of them as well.
pub(crate) fn open(
    group: &GroupView,
    of: &GroupOptions,
    accept: bool,
) -> anyhow::Result<Vec<Assignment>> {
    open_these(group, of, accept, |_| true)
}

/// The disk of volume `wanted` of `group`, which `of` names, opened exclusively.
///
/// # Errors
///
/// As [`open`]. `Usage`: the group has no such volume.
pub(crate) fn open_one(
    group: &GroupView,
    of: &GroupOptions,
    wanted: &VolumeName,
) -> anyhow::Result<Vec<Assignment>> {
    let volumes = &group.state().volumes;
    if !volumes.contains_key(wanted) {
        let names = VolumeName::listed(volumes.keys());
        let context = format!("group {} does not have {}", group.name(), wanted.in_words());
        let hint =
            format!("its volumes are: {names}; for a new one name its disk: --target DEVICE");
        return Err(Error::new(ErrorKind::Usage, context).with_hint(hint).into());
    }
    open_these(group, of, false, |name| name == wanted)
}

fn open_these(
    group: &GroupView,
    of: &GroupOptions,
    accept: bool,
    is_meant: impl Fn(&VolumeName) -> bool,
) -> anyhow::Result<Vec<Assignment>> {
    let others = OtherGroups::than(&of.group, Some(&of.place()?))?;
    let mut assignments = Vec::new();
    for (volume, named) in named(group, None)?.into_iter().filter(|(name, _)| is_meant(name)) {
        if let Some(note) = others.refuse_shared(&named, accept)? {
            attention::warn(note);
        }
        let target = volume::open_again(&named.request, sectors(group, &volume))?;
        let identity = named.known_as();
        assignments.push(Assignment { volume, target: target.into(), identity });
    }
    Ok(assignments)
}

/// Checks that the disks exist, and by samples that they hold what `group` left there. If that is
/// not known, or a disk cannot be read, nothing is refused. With `accept`, a difference is only a
/// warning.
///
/// # Errors
///
/// `Refused`: one is missing, or holds something else; the error says what differs.
pub(crate) fn require_as_left(group: &GroupView, accept: bool) -> anyhow::Result<()> {
    require_there(group)?;
    let Ok(mut assignments) = to_look_at(group, None) else { return Ok(()) };
    attention::warn_of(&target_check::check(group, &mut assignments, accept)?);
    Ok(())
}

/// Warns if a disk of `volumes` of `group` does not hold what the group left there: a point read
/// from it may contain data of another disk, or data that somebody else wrote.
pub(crate) fn warn_unless_as_left(group: &GroupView, volumes: Volumes<'_>) {
    if let Some(error) = not_as_left(group, volumes) {
        attention::warn(format!("{error}; what is read may be the data of another disk"));
    }
}

/// Checks that copies of points of `volumes` of `group` may be written: the disks hold what the
/// group left there, or another process is writing to them, as the state of the group shows.
///
/// # Errors
///
/// `Refused`: one holds something else; the error says what differs.
pub(crate) fn require_readable_points(
    group: &GroupView,
    volumes: Volumes<'_>,
) -> system::Result<()> {
    not_as_left(group, volumes).map_or(Ok(()), Err)
}

/// The error of a disk of `volumes` that is not as `group` left it, if there is one.
fn not_as_left(group: &GroupView, volumes: Volumes<'_>) -> Option<Error> {
    let mut assignments = to_look_at(group, volumes).ok()?;
    let error = target_check::check(group, &mut assignments, false).err()?;
    // A process that applies a stream meanwhile records that in the state before it writes.
    let now = saved::read(group.storage().as_ref()).ok().flatten();
    now.is_some_and(|now| now.state.generation() == group.state().generation()).then_some(error)
}

fn to_look_at(group: &GroupView, volumes: Volumes<'_>) -> anyhow::Result<Vec<Assignment>> {
    let mut assignments = Vec::new();
    for (volume, named) in named(group, volumes)? {
        let target = volume::open_to_look(&named.request)?;
        let identity = named.known_as();
        assignments.push(Assignment { volume, target: target.into(), identity });
    }
    Ok(assignments)
}

/// The sector size that volume `name` had when it was written.
pub(crate) fn sectors(group: &GroupView, name: &VolumeName) -> Option<SectorSize> {
    let known = group.state().volumes.get(name).and_then(|volume| volume.identity.as_ref());
    let of_journal = || {
        let volumes = &group.state().journal.as_ref()?.volumes;
        volumes.iter().find(|volume| volume.name == *name).map(|volume| volume.sector_bytes)
    };
    let bytes = known.map(|known| known.sector_bytes).or_else(of_journal)?;
    SectorSize::try_from(bytes).ok()
}

/// The error for a group none of whose disks is known.
pub(crate) fn no_volumes(group: &GroupView) -> Error {
    Error::new(ErrorKind::Usage, format!("group {} has no volumes yet", group.name())).with_hint(
        format!(
            "apply a stream to it, and name its disk: mtctl apply STREAM --group {} --target \
             DEVICE, or --map SOURCE=DEVICE for each volume",
            group.name()
        ),
    )
}
