//! What is saved of a group: its state, in two copies. What changes is appended to each, or each is
//! replaced whole. The state in memory is never ahead of the one on the disk, and after a save that
//! failed nothing more is saved.

use std::io;

use super::place::about_state;
use super::view::GroupView;
use crate::journal::change::Change;
use crate::journal::state::GroupState;
use crate::journal::state_text::{self, End};
use crate::notice::Notice;
use crate::storage::{StateCopy, remedy};
use crate::{Error, ErrorKind, Result};

/// The state of a group, and the only way to change it.
#[derive(Debug)]
pub(super) struct Ledger {
    view: GroupView,
    mode: Mode,
    /// Where both copies end, while they are as the state in memory is: only of those that this
    /// process wrote is that known.
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Every change is made durable.
    Saving,
    /// Changes stay in memory: a dry run, or there is no group.
    Rehearsing,
    /// A save failed. Whether the old state or the new one is on the disk is not known.
    Failed,
}

impl Ledger {
    /// Saves what changes of `view`.
    pub(super) fn saving(view: GroupView) -> Self {
        Self { view, mode: Mode::Saving, end: None }
    }

    /// Saves nothing: what a dry run would have made of one stream is what the next one is held
    /// against.
    pub(super) fn rehearsing(view: GroupView) -> Self {
        Self { view, mode: Mode::Rehearsing, end: None }
    }

    pub(super) fn view(&self) -> &GroupView {
        &self.view
    }

    /// What the operator should know of the copies of the state, since this was asked last.
    pub(super) fn take_notes(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.view.notes)
    }

    pub(super) fn is_rehearsal(&self) -> bool {
        self.mode == Mode::Rehearsing
    }

    /// Changes the state by `change` and makes it durable.
    ///
    /// # Errors
    ///
    /// `Failed`: it cannot be written, now or at a time before. The state in memory is then the one
    /// of before `change`; the one on the disk is that, or the new one: each is true, since what it
    /// says is durable was so before.
    pub(super) fn save(&mut self, change: impl FnOnce(&mut GroupState)) -> Result<()> {
        let mut next = self.view.state.clone();
        change(&mut next);
        next.begin_generation();
        planted!(FailedSaveStaysInMemory => { self.view.state = next.clone() });
        match self.mode {
            Mode::Failed => return Err(self.failed_before()),
            Mode::Saving if !planted!(NoBarrier3) => self.write(&next)?,
            Mode::Saving | Mode::Rehearsing => {}
        }
        self.view.state = next;
        Ok(())
    }

    /// Saves that the history that was [`prepare`](Self::prepare)d begins, and nothing of it yet: a
    /// crash before the next save leaves its first segment, of which it is known that it may go.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub(super) fn save_beginning(&mut self) -> Result<()> {
        let begun = self.view.state.journal.clone();
        self.save(GroupState::drop_beginning)?;
        self.prepare(|state| state.journal = begun);
        Ok(())
    }

    /// What the next save will have besides its own change: a session that has begun, of which
    /// nothing is worth saving yet.
    pub(super) fn prepare(&mut self, change: impl FnOnce(&mut GroupState)) {
        // What was not saved is in no change of what was.
        self.end = None;
        change(&mut self.view.state);
    }

    /// Makes both copies `next`, the first and then the second. A crash between the two leaves the
    /// first one generation ahead: it counts, and nothing that depends on it has been done. A crash
    /// while something is appended leaves a copy with a part of it at its end, which says nothing.
    fn write(&mut self, next: &GroupState) -> Result<()> {
        let written = match self.append(next) {
            Ok(None) => self.replace(next),
            Ok(Some(end)) => Ok(end),
            Err(error) => Err(error),
        };
        self.end = written.as_ref().ok().copied();
        written.map(drop).map_err(|(copy, error)| {
            self.mode = Mode::Failed;
            let doing = self.about("writing", copy);
            let what_to_do = remedy(&error).unwrap_or("make room or repair");
            let hint = format!(
                "what was applied is durable; {what_to_do}, and run the same command again"
            );
            Error::failed(doing, error).with_hint(hint)
        })
    }

    /// What messages say that is done to `copy` of the state.
    fn about(&self, doing: &str, copy: StateCopy) -> String {
        let file = self.view.storage.state_file(copy).map(|file| file.display().to_string());
        about_state(doing, &self.view.name, file.as_deref())
    }

    /// Appends to both copies what changes, if that is little, and they are as they were left.
    fn append(&self, next: &GroupState) -> Result<Option<End>, (StateCopy, io::Error)> {
        let change = self.end.zip(Change::between(&self.view.state, next));
        let piece = change.and_then(|(end, change)| Some((end, end.append(&change)?)));
        let Some((end, (text, next_end))) = piece else { return Ok(None) };
        for copy in StateCopy::BOTH {
            let appended = self.view.storage.append_state(copy, end.bytes, &text);
            if !appended.map_err(|error| (copy, error))? {
                // Somebody put another one there: both are written anew.
                return Ok(None);
            }
            planted!(SecondCopyNotWritten => { break });
        }
        Ok(Some(next_end))
    }

    fn replace(&self, next: &GroupState) -> Result<End, (StateCopy, io::Error)> {
        let (text, end) = state_text::print_whole(next);
        for copy in StateCopy::BOTH {
            let replaced = self.view.storage.replace_state(copy, &text);
            replaced.map_err(|error| (copy, error))?;
            planted!(SecondCopyNotWritten => { break });
        }
        Ok(end)
    }

    fn failed_before(&self) -> Error {
        let doing = about_state("writing", &self.view.name, None);
        Error::new(ErrorKind::Failed, format!("{doing}: it failed before"))
            .with_hint("make room or repair, and run the same command again")
    }
}
