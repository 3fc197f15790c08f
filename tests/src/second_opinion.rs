//! Two implementations must agree on the contents of points, or the test fails: the program, and
//! the reader in `journal_format`, which is based only on the document.

use std::fs;
use std::path::{Path, PathBuf};

use crate::journal_format::{History, Point};
use crate::program::run;
use crate::scratch_machine::ScratchMachine;

/// Larger volumes are not read into memory, in bytes.
const BYTES_MAX: u64 = 64 << 20;
/// How many points are examined at the end of a case, newest first.
const POINTS_MAX: usize = 5;

/// The contents that the targets of a group must have after a rollback.
pub struct Expected(Vec<(PathBuf, Vec<u8>)>);

/// What the targets of the group in `directory` held at `to`, as in `rollback --to`; `None` if that
/// cannot be determined: there is no history or no such point, or the volumes are large.
///
/// # Errors
///
/// The history does not conform to the document.
pub fn of_rollback(directory: &Path, to: &str) -> Result<Option<Expected>, String> {
    let Some(history) = History::read(directory)? else { return Ok(None) };
    let Some(point) = named(&history.points(), to) else { return Ok(None) };
    let mut expected = Vec::new();
    for (volume, bytes, target) in history.volumes() {
        let Some(target) = target.and_then(|target| of(&history, &volume, &target)) else {
            return Ok(None);
        };
        if bytes > BYTES_MAX {
            return Ok(None);
        }
        let held = history.held(&volume, point, bytes_of(&target))?;
        expected.push((target, held));
    }
    Ok(Some(Expected(expected)))
}

impl Expected {
    /// Asserts that all targets have these contents.
    #[track_caller]
    pub fn is_there(&self) {
        for (target, held) in &self.0 {
            let found = bytes_of(target);
            assert_eq!(found.len(), held.len(), "the length of {}", target.display());
            let first = found.iter().zip(held).position(|(one, other)| one != other);
            assert_eq!(
                first,
                None,
                "{}: the first byte that differs from what the journal says by \
                       its document",
                target.display()
            );
        }
    }
}

/// Asserts that the program reads the newest points of all groups on the retention volume as the
/// document defines them; returns how many digests were compared. A disk that is gone by then, or a
/// history that is damaged, is not compared.
#[track_caller]
pub fn agree_at_the_end(machine: &ScratchMachine, retention: &Path) -> usize {
    let mut compared = 0;
    for entry in fs::read_dir(retention).into_iter().flatten().flatten() {
        let Ok(Some(history)) = History::read(&entry.path()) else { continue };
        let group = entry.file_name().into_string().unwrap();
        for (volume, bytes, target) in history.volumes() {
            let target = target.and_then(|target| of(&history, &volume, &target));
            let Some(target) = target.filter(|_| bytes <= BYTES_MAX) else { continue };
            for point in history.points().iter().rev().take(POINTS_MAX) {
                let to = format!("id:{}", point.id);
                let of = ["--group", &group, "--to", &to, "--volume", &volume];
                let of = if volume.is_empty() { &of[..4] } else { &of };
                let digest = machine.mtctl(&[&["digest"], of].concat());
                // The program reports what is wrong, and the case has to judge that.
                let (Some(0), Ok(held)) =
                    (digest.code, history.held(&volume, point.id, bytes_of(&target)))
                else {
                    continue;
                };
                let expected = blake3::hash(&held).to_hex();
                let told = digest.stdout.split(' ').next().unwrap_or_default();
                assert_eq!(
                    told,
                    expected.as_str(),
                    "point {} of {group}, volume {volume:?}",
                    point.id
                );
                compared += 1;
            }
        }
    }
    compared
}

/// The path of the target of `volume`, if it is still that target and not another disk with the
/// same number.
fn of(history: &History, volume: &str, target: &str) -> Option<PathBuf> {
    let path = PathBuf::from(target);
    let name = target.strip_prefix("/dev/").unwrap_or_default();
    let behind = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok();
    let is_same = match (history.backing_file(volume), behind) {
        (Some(known), Some(behind)) => known == behind.trim_end(),
        (_, None) => !target.starts_with("/dev/loop"),
        (None, Some(_)) => true,
    };
    (path.exists() && is_same).then_some(path)
}

/// The point that `to` refers to.
fn named(points: &[Point], to: &str) -> Option<u64> {
    let number = |digits: &str| digits.parse().ok();
    let id = match to {
        "start" => points.iter().find(|point| point.kind == "start").map(|point| point.id),
        "latest" => points.iter().rfind(|point| point.kind != "start").map(|point| point.id),
        _ => match points.iter().rfind(|point| point.name.as_deref() == Some(to)) {
            Some(point) => Some(point.id),
            None => number(to.strip_prefix("id:").unwrap_or(to)),
        },
    };
    id.filter(|id| points.iter().any(|point| point.id == *id))
}

/// The contents of a file or a disk, bypassing the kernel's cache of the disk.
fn bytes_of(path: &Path) -> Vec<u8> {
    if !path.is_file() {
        run("blockdev", &["--flushbufs", path.to_str().unwrap()]);
    }
    fs::read(path).unwrap()
}
