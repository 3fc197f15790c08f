//! Checks that a target is the one that its group has written to, and belongs to no other volume.
//! Done before anything is written.

use crate::assignment::Assignment;
use crate::group::GroupView;
use crate::journal::state::VolumeState;
use crate::notice::Notice;
use crate::remedy::{DiskRemedy, Remedied};
use crate::target_identity::KnownAs;
use crate::{Error, Result};

/// Checks that every target of `assignments` is the one that `group` has written to, as far as that
/// can be known; returns notices for the operator. With `accept`, the operator asserts that it is.
///
/// # Errors
///
/// `Refused`: a target is another one, or holds something else; the error says what differs.
pub fn check(
    group: &GroupView,
    assignments: &mut [Assignment],
    accept: bool,
) -> Result<Vec<Notice>> {
    compare(group, assignments, accept, Depth::WithContent)
}

/// As [`check`], without reading the content of the targets: for callers with a better comparison.
///
/// # Errors
///
/// As [`check`].
pub fn check_kind(
    group: &GroupView,
    assignments: &mut [Assignment],
    accept: bool,
) -> Result<Vec<Notice>> {
    compare(group, assignments, accept, Depth::Kind)
}

/// What to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    Kind,
    WithContent,
}

fn compare(
    group: &GroupView,
    assignments: &mut [Assignment],
    accept: bool,
    depth: Depth,
) -> Result<Vec<Notice>> {
    let mut notes = Vec::new();
    for assignment in assignments {
        check_no_other_volume(group, assignment)?;
        let Some(known) = group.state().volumes.get(&assignment.volume) else { continue };
        let found = difference_of_disk(known, assignment, &mut notes);
        let found = match (found, depth) {
            (None, Depth::WithContent) => difference_of_content(group, known, assignment),
            (found, _) => found,
        };
        let Some(difference) = found else { continue };
        let shown = assignment.target.shown();
        if accept {
            notes.push(Notice::DifferentTargetTaken { target: shown, difference });
            continue;
        }
        let group = group.name().to_owned();
        return Err(
            Error::refused(format!("{shown}: {difference}")).remedied(DiskRemedy::Accept { group })
        );
    }
    Ok(notes)
}

/// One disk under two names would be preserved twice, and could never be rolled back.
fn check_no_other_volume(group: &GroupView, assignment: &Assignment) -> Result<()> {
    let own = group.state().volumes.get(&assignment.volume).and_then(|known| known.target.as_ref());
    if own == Some(&assignment.identity.name) {
        return Ok(());
    }
    let others = group.state().volumes.iter().filter(|(name, _)| **name != assignment.volume);
    for (name, known) in others {
        let is_it = known.target.as_ref() == Some(&assignment.identity.name)
            && difference_of_kind(known, &Seen::of(assignment)).is_none();
        if !is_it && !is_the_same_by_more_than_its_name(known, &assignment.identity) {
            continue;
        }
        let (shown, of) = (assignment.target.shown(), group.name());
        return Err(Error::refused(format!(
            "{shown}: group {of} has this disk as {}, and a disk can be only one volume",
            name.in_words()
        ))
        .remedied(DiskRemedy::NameAsBefore {
            group: of.to_owned(),
            volume: (!name.is_unnamed()).then(|| name.to_string()),
            is_named_by_stream: !assignment.volume.is_unnamed(),
        }));
    }
    Ok(())
}

fn is_the_same_by_more_than_its_name(known: &VolumeState, now: &KnownAs) -> bool {
    let Some(recorded) = &known.identity else { return false };
    let same = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
    same(&recorded.backing_file, &now.backing_file) || same(&recorded.serial, &now.serial)
}

/// A target as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What it is known by.
    pub identity: &'a KnownAs,
    /// Its length.
    pub bytes: u64,
    /// The length of its sectors; `None` if that was not looked up.
    pub sector_bytes: Option<u64>,
}

impl<'a> Seen<'a> {
    fn of(assignment: &'a Assignment) -> Self {
        let geometry = assignment.target.geometry();
        let (bytes, sectors) = (geometry.capacity.get(), geometry.sector_size.bytes().get());
        Self { identity: &assignment.identity, bytes, sector_bytes: Some(sectors) }
    }
}

/// What differs between the target that is `known` and the one that is `seen`, which need not be
/// open, in words that follow the target's name; `None` if nothing does. What it holds is not
/// compared.
#[must_use]
pub fn difference(known: &VolumeState, seen: &Seen<'_>) -> Option<String> {
    difference_of_name(known, seen.identity).or_else(|| difference_of_kind(known, seen))
}

/// What differs from what is known, in words that follow the target's name; `None` if nothing does.
fn difference_of_disk(
    known: &VolumeState,
    assignment: &Assignment,
    notes: &mut Vec<Notice>,
) -> Option<String> {
    let seen = Seen::of(assignment);
    let found = difference(known, &seen);
    let has_another_name = |before: &&String| **before != seen.identity.name;
    if let Some(before) = known.target.as_ref().filter(has_another_name) {
        if let Some(same) = what_is_the_same(known, seen.identity) {
            let (before, target) = (before.clone(), assignment.target.shown());
            notes.push(Notice::TargetHasAnotherName { target, before, same });
        }
    }
    found
}

fn difference_of_name(known: &VolumeState, now: &KnownAs) -> Option<String> {
    let before = known.target.as_ref().filter(|before| **before != now.name)?;
    let is_the_same = is_the_same_by_more_than_its_name(known, now);
    (!is_the_same).then(|| {
        format!("the group knows this volume's target as {before}, but this is {}", now.name)
    })
}

fn difference_of_content(
    group: &GroupView,
    known: &VolumeState,
    assignment: &mut Assignment,
) -> Option<String> {
    let is_at_rest = known.in_between.as_ref().is_none_or(|between| between.exact);
    let is_known = is_at_rest && group.rolling_back_to().is_none();
    let content = known.identity.as_ref()?.content.as_ref().filter(|_| is_known)?;
    content.difference_on(assignment.target.held())
}

fn what_is_the_same(known: &VolumeState, now: &KnownAs) -> Option<String> {
    if !is_the_same_by_more_than_its_name(known, now) {
        return None;
    }
    let serial = now.serial.as_ref().map(|serial| format!("its serial number {serial}"));
    now.backing_file.as_ref().map(|file| format!("the file behind it, {file},")).or(serial)
}

fn difference_of_kind(known: &VolumeState, seen: &Seen<'_>) -> Option<String> {
    let Seen { identity: now, bytes, sector_bytes } = *seen;
    if bytes < known.target_bytes {
        return Some(format!("it has {bytes} bytes, but the group knows {}", known.target_bytes));
    }
    let recorded = known.identity.as_ref()?;
    let differ = |what: &str, before: &Option<String>, now: &Option<String>| {
        let before = before.as_ref().filter(|before| now.as_ref() != Some(before))?;
        let now = now.as_deref().unwrap_or("none");
        Some(format!("its {what} is {now}, but that of the disk the group knows is {before}"))
    };
    differ("backing file", &recorded.backing_file, &now.backing_file)
        .or_else(|| differ("serial number", &recorded.serial, &now.serial))
        .or_else(|| {
            let (before, sectors) = (recorded.sector_bytes, sector_bytes?);
            (sectors > before && before > 0)
                .then(|| format!("it has sectors of {sectors} bytes, but the group knows {before}"))
        })
}

#[cfg(test)]
mod tests;
