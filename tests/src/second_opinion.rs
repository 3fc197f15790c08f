//! Two implementations agree on what points hold, or the test is red: the program, and the reader
//! of `journal_format`, which knows the document alone.

use std::fs;
use std::path::{Path, PathBuf};

use crate::journal_format::{History, Point};
use crate::program::run;
use crate::scratch_machine::ScratchMachine;

/// Volumes beyond this are not taken into memory, in bytes.
const BYTES_MAX: u64 = 64 << 20;
/// So many points are looked at when a case ends, the newest.
const POINTS_MAX: usize = 5;

/// What the targets of a group are to hold after a rollback.
pub struct Expected(Vec<(PathBuf, Vec<u8>)>);

/// What the targets of the group in `directory` held at `to`, as `rollback --to` has it; none where
/// that says nothing: there is no history or no such point, or its volumes are large.
///
/// # Errors
///
/// The history is not as the document says.
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
    /// Fails unless all targets hold it.
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

/// Fails unless the program reads the newest points of all groups on the retention volume as the
/// document has them; gives how many digests were compared. What of a case is gone by then, a disk
/// or a damaged history, says nothing.
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
                // It says what is wrong, and that is for the case to judge.
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

/// What is at the path of the target of `volume`, if it is that target still, and not another disk
/// at the same number.
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

/// The point that `to` means.
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

/// What a file or a disk holds, past what the kernel has cached of a disk.
fn bytes_of(path: &Path) -> Vec<u8> {
    if !path.is_file() {
        run("blockdev", &["--flushbufs", path.to_str().unwrap()]);
    }
    fs::read(path).unwrap()
}
