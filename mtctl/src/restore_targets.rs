//! The targets of a restore: `--onto` as typed, the volume that each is for, and a check that they
//! belong to nobody. `blockio::restore` copies.

use std::path::{Path, PathBuf};

use blockio::group::{GroupPlace, GroupView};
use blockio::volume_name::VolumeName;
use system::{Error, ErrorKind, Result};

use crate::group_place::GroupOptions;
use crate::location::directory_of;
use crate::location::is_one;
use crate::new_image;
use crate::other_groups::OtherGroups;
use crate::own_places::OwnPlaces;
use crate::target_argument::{self, NamedTarget, TargetArgument};
use crate::{group_targets, output};

const ANOTHER: &str = "restore onto another disk or file: mtctl disks lists the disks";

/// The target of a volume.
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    /// An existing disk or image file.
    There(NamedTarget),
    /// An image file to be made.
    New(PathBuf),
}

impl Destination {
    /// Its path, for messages.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::There(named) => &named.request.path,
            Self::New(path) => path,
        }
    }
}

/// Assigns each of `onto` to one of `volumes`: `VOLUME=TARGET`, or just `TARGET` if the group has
/// one volume. The text before a `=` is a volume if the group has one of that name, and otherwise a
/// part of the target's name.
///
/// # Errors
///
/// `Usage`: a volume is unknown, missing, or named twice.
pub(crate) fn assigned<'a>(
    volumes: &[VolumeName],
    onto: &'a [String],
) -> Result<Vec<(VolumeName, &'a str)>> {
    let mut assigned: Vec<(VolumeName, &str)> = Vec::new();
    for text in onto {
        let named = text.match_indices('=').find_map(|(at, _)| {
            let volume = volumes.iter().find(|volume| volume.as_str() == &text[..at])?;
            Some((volume.clone(), &text[at + 1..]))
        });
        let (volume, target) = match (named, volumes) {
            (Some(named), _) => named,
            (None, [only]) => (only.clone(), text.as_str()),
            (None, _) => return Err(no_volume(volumes, text)),
        };
        if assigned.iter().any(|(earlier, _)| *earlier == volume) {
            let context = format!("{} is named twice", volume.in_words());
            return Err(Error::new(ErrorKind::Usage, context)
                .with_hint("each volume has one target: --onto VOLUME=TARGET"));
        }
        assigned.push((volume, target));
    }
    Ok(assigned)
}

fn no_volume(volumes: &[VolumeName], text: &str) -> Error {
    let context = format!("--onto {}: the group has no such volume", output::plain(text));
    let mut hint = format!("use --onto VOLUME=TARGET with one of: {}", VolumeName::listed(volumes));
    if volumes.iter().any(VolumeName::is_unnamed) {
        hint += " (--onto =TARGET)";
    }
    Error::new(ErrorKind::Usage, context).with_hint(hint)
}

/// Looks up `typed`, in order; with `create`, a target that does not exist is a file to be made.
///
/// # Errors
///
/// `Usage`: one does not exist, or two are the same. `Refused`: one belongs to this group or
/// another, or lies where mtctl keeps states and history.
pub(crate) fn look_up(
    typed: &[&str],
    create: bool,
    of: &GroupOptions,
    group: &GroupView,
) -> anyhow::Result<Vec<Destination>> {
    let arguments = typed.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = arguments.iter().filter(|_| !create).find_map(absent) {
        let context = format!("restoring onto {}: there is no such disk or file", path.display());
        return Err(Error::new(ErrorKind::Usage, context)
            .with_hint("mtctl disks lists the disks; --create creates an image file of that name")
            .into());
    }
    let (new, there): (Vec<_>, Vec<_>) =
        arguments.iter().partition(|argument| absent(argument).is_some());
    let mut there = target_argument::resolve(there)?.into_iter();
    let place = of.place()?;
    check_free(there.as_slice(), of, &place, group)?;
    check_possible(new.iter().filter_map(|argument| absent(argument)), of)?;
    new.iter()
        .filter_map(|argument| absent(argument))
        .try_for_each(|path| check_no_missing_disk(path, group))?;
    let destinations = arguments.iter().filter_map(|argument| match absent(argument) {
        Some(path) => Some(Destination::New(path.to_owned())),
        None => there.next().map(Destination::There),
    });
    Ok(destinations.collect())
}

/// The path of `argument`, if nothing exists there.
fn absent(argument: &TargetArgument) -> Option<&Path> {
    match argument {
        TargetArgument::Path(path) => {
            // A dangling link leads to nothing that could be overwritten.
            Some(path.as_path()).filter(|path| path.metadata().is_err())
        }
        TargetArgument::Wwid(_) => None,
    }
}

/// Checks that the targets belong neither to mtctl nor to another group, nor to this one: a
/// restored point must not overwrite the disks it is read from.
fn check_free(
    targets: &[NamedTarget],
    of: &GroupOptions,
    place: &GroupPlace,
    group: &GroupView,
) -> anyhow::Result<()> {
    let own = OwnPlaces::of_this_host(&of.at, Some(place));
    let others = OtherGroups::than(&of.group, Some(place))?;
    let disks = group_targets::there(group);
    for target in targets {
        let path = &target.request.path;
        own.refuse(path)?;
        others.refuse(target).map_err(|error| error.with_hint(ANOTHER))?;
        if let Some((volume, _)) = disks.iter().find(|(_, disk)| is_one(&disk.request.path, path)) {
            let context = format!(
                "{} is the disk of {} of this group: its points are read from it",
                path.display(),
                volume.in_words()
            );
            return Err(Error::refused(context)
                .with_hint(format!(
                    "to roll back the disk itself: mtctl rollback --group {}; or name another disk",
                    of.group
                ))
                .into());
        }
    }
    Ok(())
}

/// Checks that `path` is not that of a missing image file of `group`: it may come back, and nothing
/// else is made in its place.
fn check_no_missing_disk(path: &Path, group: &GroupView) -> Result<()> {
    let directory = directory_of(path).canonicalize().unwrap_or_default();
    let real = directory.join(path.file_name().unwrap_or_default());
    let is_it = |target: &String| Path::new(target) == real;
    let volumes = group.state().volumes.iter();
    let mut missing = volumes.filter(|(_, volume)| volume.target.as_ref().is_some_and(is_it));
    let Some((volume, _)) = missing.next() else { return Ok(()) };
    let (path, volume) = (path.display(), volume.in_words());
    Err(Error::refused(format!(
        "making {path}: the group expects the disk of {volume} there, which is missing"
    ))
    .with_hint("name a file elsewhere"))
}

/// Checks that a file can be made at each of `new`, and that no two are the same.
///
/// # Errors
///
/// `Usage`: two are the same, or a directory does not exist. `Refused`: one exists, or would lie
/// where mtctl keeps its files, or in /dev.
pub(crate) fn check_possible<'a>(
    new: impl IntoIterator<Item = &'a Path>,
    of: &GroupOptions,
) -> Result<()> {
    let own = OwnPlaces::of_this_host(&of.at, Some(&of.place()?));
    let mut earlier: Vec<PathBuf> = Vec::new();
    for path in new {
        new_image::check(path)?;
        own.refuse_in(path, directory_of(path))?;
        let directory = directory_of(path).canonicalize().unwrap_or_default();
        let real = directory.join(path.file_name().unwrap_or_default());
        if earlier.contains(&real) {
            let context = format!("{} is named for two new files", path.display());
            return Err(Error::new(ErrorKind::Usage, context)
                .with_hint("each volume, OVF and manifest (.mf) needs a file of its own"));
        }
        earlier.push(real);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<VolumeName> {
        names.iter().map(|name| VolumeName::from(*name)).collect()
    }

    fn divided(volumes: &[&str], onto: &str) -> Result<(String, String)> {
        let onto = [onto.to_owned()];
        let assigned = assigned(&names(volumes), &onto)?;
        let [(volume, target)] = assigned.as_slice() else { panic!("{assigned:?}") };
        Ok((volume.as_str().to_owned(), (*target).to_owned()))
    }

    #[test]
    fn a_volume_is_named_before_the_equals_sign_unless_there_is_only_one() {
        let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        for (volumes, onto, expected) in [
            (&["db", "log"][..], "db=/dev/sdx", pair("db", "/dev/sdx")),
            (&["db", "log"], "log=/a=b.img", pair("log", "/a=b.img")),
            (&["a=b", "log"], "a=b=/x.img", pair("a=b", "/x.img")),
            (&["db"], "/dev/sdx", pair("db", "/dev/sdx")),
            (&["db"], "/a=b.img", pair("db", "/a=b.img")),
            (&["db"], "db=/dev/sdx", pair("db", "/dev/sdx")),
            (&[""], "/dev/sdx", pair("", "/dev/sdx")),
            (&[""], "=/dev/sdx", pair("", "/dev/sdx")),
        ] {
            assert_eq!(divided(volumes, onto).unwrap(), expected, "{onto}");
        }
        for (volumes, onto) in [(&["db", "log"][..], "/dev/sdx"), (&["db", "log"], "d=/dev/sdx")] {
            let error = divided(volumes, onto).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.hint().unwrap().contains("db, log"), "{onto}");
        }
    }

    #[test]
    fn a_volume_goes_to_one_target() {
        let onto = ["db=/a.img".to_owned(), "db=/b.img".to_owned()];
        let error = assigned(&names(&["db", "log"]), &onto).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
}
