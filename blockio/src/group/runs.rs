//! The run log of a group: a line as a run of a verb begins, and one as it ends, appended to a file
//! next to the state. It is for people; nothing else depends on it, and no state is read from it.
//!
//! Only the holder of the group logs changes to it, so that the end of a run follows its beginning,
//! and a beginning followed by another beginning belongs to a run that did not end. Runs on the
//! side only read: nobody holds the group for them, their lines are interleaved with others, and
//! each end names its beginning. A crash leaves whole lines, and at most a partial one after them:
//! the next line begins on a new line, and readers skip the partial one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::place::{GroupLock, GroupPlace, RUNS, RUNS_EARLIER};
use super::{Group, GroupView};
use crate::storage::StateCopy;
use crate::{Error, Result};

/// From this size in bytes on, the next run starts a new file.
const RUNS_BYTES_MAX: u64 = 1 << 20;
/// The longest line that is written, in bytes.
const LINE_BYTES_MAX: usize = 1 << 20;

/// The beginning of a run: who does what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunBegin {
    /// When, as RFC 3339.
    pub time: String,
    /// The verb, as it is typed: `apply`, `points pin`.
    pub verb: String,
    /// The user: who called sudo, else the login, else the user of the process.
    pub user: String,
    /// The user ID of the process.
    pub user_id: u32,
    /// The user ID of the login, if that is another user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_user_id: Option<u32>,
    /// The user who called sudo, according to sudo, if that is another user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sudo_user: Option<String>,
    /// The name of the host.
    pub host: String,
    /// The process ID.
    pub process: u32,
    /// The version of the program.
    pub version: String,
    /// The streams, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<RunStream>,
    /// How many more streams there were.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_streams: u64,
    /// The disks, by their names in the group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<String>,
    /// The recovery point of the run, as messages call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub point: Option<String>,
    /// Further details.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A stream of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStream {
    /// Its file, as an absolute path; or its name in messages.
    pub path: String,
    /// What identifies it when it comes again; `None` for a pipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}

/// The end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunEnd {
    /// When, as RFC 3339.
    pub time: String,
    /// Its exit code.
    pub exit_code: u8,
    /// How many bytes it applied, or wrote back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Its error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its beginning.
    pub begin: RunBegin,
    /// Its end; `None` if it was cut short, or is still running.
    pub end: Option<RunEnd>,
    /// Whether it only read: other runs may have overlapped.
    pub is_beside: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Line {
    Begin(RunBegin),
    End(RunEnd),
    BesideBegin(RunBegin),
    BesideEnd(BesideEnd),
}

/// The end of a run on the side.
#[derive(Serialize, Deserialize)]
struct BesideEnd {
    of: Which,
    #[serde(flatten)]
    end: RunEnd,
}

/// Identifies a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Which {
    time: String,
    process: u32,
}

impl Which {
    fn of(begin: &RunBegin) -> Self {
        Self { time: begin.time.clone(), process: begin.process }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A run that has begun. The group is held until it ends, or this is dropped, unless the run only
/// reads.
#[derive(Debug)]
pub struct RunLog {
    file: File,
    /// Set for a run that only reads.
    beside: Option<Which>,
    _lock: Option<Arc<GroupLock>>,
}

impl RunLog {
    /// Durably appends that a run begins: from here on, a killed run is recorded.
    pub(super) fn begin(lock: &Arc<GroupLock>, begin: &RunBegin) -> io::Result<Self> {
        let state = &lock.place.state;
        let path = state.join(RUNS);
        let found = path.symlink_metadata();
        if found.is_ok_and(|found| found.len() >= RUNS_BYTES_MAX) {
            // A crash after the rename leaves no file, as before the first run.
            fs::rename(&path, state.join(RUNS_EARLIER))?;
        }
        let log = Self { file: open(&path)?, beside: None, _lock: Some(Arc::clone(lock)) };
        log.append(&Line::Begin(begin.clone()))?;
        File::open(state)?.sync_all()?;
        Ok(log)
    }

    /// The same for a run that only reads the group whose state is in the directory `state`. It
    /// never starts a new file: only the holder of the group does.
    fn begin_beside(state: &Path, begin: &RunBegin) -> io::Result<Self> {
        let beside = Some(Which::of(begin));
        let log = Self { file: open(&state.join(RUNS))?, beside, _lock: None };
        log.append(&Line::BesideBegin(begin.clone()))?;
        File::open(state)?.sync_all()?;
        Ok(log)
    }

    /// Appends how the run ended.
    ///
    /// # Errors
    ///
    /// The kernel's error: the run then counts as cut short.
    pub fn end(self, end: RunEnd) -> io::Result<()> {
        match self.beside.clone() {
            None => self.append(&Line::End(end)),
            Some(of) => self.append(&Line::BesideEnd(BesideEnd { of, end })),
        }
    }

    fn append(&self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_string(line).map_err(io::Error::other)?;
        if text.len() > LINE_BYTES_MAX {
            return Err(io::Error::other("the entry would be too long"));
        }
        text.push('\n');
        let length = self.file.metadata()?.len();
        let mut last = [b'\n'];
        if length > 0 {
            self.file.read_exact_at(&mut last, length - 1)?;
        }
        if last != *b"\n" {
            // A crash left a partial line before this one.
            text.insert(0, '\n');
        }
        (&self.file).write_all(text.as_bytes())?;
        self.file.sync_data()
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let mut options = File::options();
    options.read(true).append(true).create(true).mode(0o644).custom_flags(flags).open(path)
}

impl Group {
    /// Records the beginning of a run that changes the group. The group is held from here until the
    /// run ends; nothing is recorded if nobody holds it, as in a dry run.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn begin_run(&self, begin: &RunBegin) -> io::Result<Option<RunLog>> {
        self.lock.as_ref().map(|lock| RunLog::begin(lock, begin)).transpose()
    }
}

impl GroupView {
    /// Records the beginning of a run that only reads the group; another run may be working on it
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// The kernel's error: on a volume mounted read-only nothing is recorded.
    pub fn begin_run_beside(&self, begin: &RunBegin) -> io::Result<Option<RunLog>> {
        let file = self.storage.state_file(StateCopy::First);
        let state = file.as_ref().and_then(|file| file.parent());
        state.map(|state| RunLog::begin_beside(state, begin)).transpose()
    }

    /// The files of the streams that volumes are in the middle of, as far as the runs record them.
    #[must_use]
    pub fn begun_files(&self) -> Vec<String> {
        let state = self.storage.state_file(StateCopy::First);
        let state = state.as_ref().and_then(|file| file.parent());
        let begun = self.state.volumes.values().filter_map(|volume| volume.in_between.as_ref());
        let begun: BTreeSet<_> = begun.map(|between| between.input.to_string()).collect();
        let (Some(state), false) = (state, begun.is_empty()) else { return Vec::new() };
        let runs = runs(&GroupPlace::without_history(state)).unwrap_or_default();
        let streams = || runs.iter().rev().flat_map(|run| &run.begin.streams);
        let file =
            |identity: &String| streams().find(|stream| stream.identity.as_ref() == Some(identity));
        begun.iter().filter_map(file).map(|stream| stream.path.clone()).collect()
    }
}

/// The runs of the group at `place`, oldest first, as far as they are kept.
///
/// # Errors
///
/// `Failed`: they cannot be read.
pub fn runs(place: &GroupPlace) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for name in [RUNS_EARLIER, RUNS] {
        let path = place.state.join(name);
        let text = read(&path)
            .map_err(|error| Error::failed(format!("reading {}", path.display()), error))?;
        take(&mut runs, &text);
    }
    Ok(runs)
}

fn read(path: &Path) -> io::Result<String> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(RUNS_BYTES_MAX + 2 * LINE_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Adds the runs in `text` to `runs`. Lines that are not ours are skipped.
fn take(runs: &mut Vec<Run>, text: &str) {
    for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match line {
            Line::Begin(begin) => runs.push(Run { begin, end: None, is_beside: false }),
            Line::BesideBegin(begin) => runs.push(Run { begin, end: None, is_beside: true }),
            Line::End(end) => {
                let last = runs.iter_mut().rfind(|run| !run.is_beside);
                if let Some(run) = last.filter(|run| run.end.is_none()) {
                    run.end = Some(end);
                }
            }
            Line::BesideEnd(BesideEnd { of, end }) => {
                let is_it = |run: &&mut Run| run.is_beside && Which::of(&run.begin) == of;
                if let Some(run) = runs.iter_mut().rfind(is_it) {
                    run.end = Some(end);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(verb: &str) -> RunBegin {
        RunBegin { verb: verb.to_owned(), ..RunBegin::default() }
    }

    fn verbs(place: &GroupPlace) -> Vec<(String, bool)> {
        let runs = runs(place).unwrap().into_iter();
        runs.map(|run| (run.begin.verb, run.end.is_some())).collect()
    }

    fn run(place: &GroupPlace, verb: &str) -> RunLog {
        let group = Group::open(place, "g").unwrap();
        group.begin_run(&begin(verb)).unwrap().unwrap()
    }

    #[test]
    fn a_run_is_there_as_it_begins_and_has_its_end_when_it_ends() {
        let here = tempfile::tempdir().unwrap();
        let place = GroupPlace::without_history(here.path());
        assert_eq!(runs(&place).unwrap(), []);
        let log = run(&place, "apply");
        assert_eq!(verbs(&place), [("apply".to_owned(), false)]);
        assert!(Group::open(&place, "g").is_err(), "the group is held until then");
        let end = RunEnd { exit_code: 5, bytes: Some(7), ..RunEnd::default() };
        log.end(end.clone()).unwrap();
        assert_eq!(runs(&place).unwrap().last().unwrap().end, Some(end));
        assert!(!place.has_something().unwrap(), "it makes no group");
    }

    #[test]
    fn a_run_that_only_reads_is_told_among_those_that_hold_the_group_and_each_has_its_end() {
        let here = tempfile::tempdir().unwrap();
        let place = GroupPlace::without_history(here.path());
        let beside = |process| {
            let begin = RunBegin { process, ..begin("restore") };
            GroupView::look(&place, "g").unwrap().begin_run_beside(&begin).unwrap().unwrap()
        };
        let code = |exit_code| RunEnd { exit_code, ..RunEnd::default() };
        let (one, apply, other) = (beside(1), run(&place, "apply"), beside(2));
        other.end(code(2)).unwrap();
        apply.end(code(3)).unwrap();
        drop(run(&place, "commit"));
        one.end(code(1)).unwrap();
        let told = runs(&place)
            .unwrap()
            .into_iter()
            .map(|run| (run.begin.verb, run.is_beside, run.end.map(|end| end.exit_code)));
        let restore = "restore".to_owned();
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                (restore.clone(), true, Some(1)),
                ("apply".to_owned(), false, Some(3)),
                (restore, true, Some(2)),
                ("commit".to_owned(), false, None),
            ]
        );
    }

    #[test]
    fn one_that_was_killed_did_not_end_and_what_it_left_of_a_line_takes_none_with_it() {
        let here = tempfile::tempdir().unwrap();
        let place = GroupPlace::without_history(here.path());
        drop(run(&place, "apply"));
        let path = here.path().join(RUNS);
        let whole = fs::read_to_string(&path).unwrap();
        for torn in ["{", "\u{e9}", "{\"event\":\"end\",\"exit_code\":0", "[]\n", "\0\0"] {
            fs::write(&path, format!("{whole}{torn}")).unwrap();
            run(&place, "commit").end(RunEnd::default()).unwrap();
            let expected = [("apply".to_owned(), false), ("commit".to_owned(), true)];
            assert_eq!(verbs(&place), expected, "{torn:?}");
        }
    }

    #[test]
    fn the_file_is_begun_anew_once_it_is_large_and_the_runs_before_are_still_there() {
        let here = tempfile::tempdir().unwrap();
        let place = GroupPlace::without_history(here.path());
        let long = RunBegin { detail: Some("x".repeat(1000)), ..begin("points create") };
        for _ in 0..2500 {
            let group = Group::open(&place, "g").unwrap();
            group.begin_run(&long).unwrap().unwrap().end(RunEnd::default()).unwrap();
        }
        let bytes = |name: &str| fs::metadata(here.path().join(name)).unwrap().len();
        assert!(bytes(RUNS) < RUNS_BYTES_MAX && bytes(RUNS_EARLIER) < RUNS_BYTES_MAX + 4096);
        let kept = runs(&place).unwrap();
        assert!(kept.len() > 900 && kept.iter().all(|run| run.end.is_some()), "{}", kept.len());
    }
}
