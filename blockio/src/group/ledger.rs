//! The saved state of a group, in two copies. Changes are appended to each, or each is replaced as
//! a whole. The state in memory is never ahead of the one on the disk, and after a failed save
//! nothing more is saved.

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
    /// Where both copies end, as long as they match the state in memory: this is known only of
    /// copies that this process wrote.
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Every change is made durable.
    Saving,
    /// Changes stay in memory: a dry run, or no group.
    Rehearsing,
    /// A save failed. It is unknown whether the old state or the new one is on the disk.
    Failed,
}

impl Ledger {
    /// A ledger that saves changes to `view`.
    pub(super) fn saving(view: GroupView) -> Self {
        Self { view, mode: Mode::Saving, end: None }
    }

    /// A ledger that saves nothing: in a dry run, each stream is checked against the state that the
    /// one before it would have left.
    pub(super) fn rehearsing(view: GroupView) -> Self {
        Self { view, mode: Mode::Rehearsing, end: None }
    }

    pub(super) fn view(&self) -> &GroupView {
        &self.view
    }

    /// The notices about the copies of the state since the last call.
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
    /// `Failed`: it cannot be written, now or in an earlier save. The state in memory is then the
    /// one before `change`; the one on the disk is that one, or the new one. Either is true,
    /// because what the new state describes as durable was durable before.
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

    /// Saves that the [`prepare`](Self::prepare)d history begins, and nothing else of it yet: a
    /// crash before the next save leaves its first segment, which is then known to be removable.
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

    /// Adds `change` to the next save: a session has begun, and nothing of it is worth saving yet.
    pub(super) fn prepare(&mut self, change: impl FnOnce(&mut GroupState)) {
        // A change is relative to the saved state, and would miss what is only in memory.
        self.end = None;
        change(&mut self.view.state);
    }

    /// Makes both copies `next`, the first and then the second. A crash between the two leaves the
    /// first one generation ahead: it counts, and nothing that depends on it has been done. A crash
    /// during an append leaves a copy with a partial piece at its end, which is ignored.
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
            let what_to_do = remedy(&error).unwrap_or("free space, or repair");
            let hint = format!(
                "what was applied is durable; {what_to_do}, and run the same command again"
            );
            Error::failed(doing, error).with_hint(hint)
        })
    }

    /// The operation `doing` on `copy` of the state, for messages.
    fn about(&self, doing: &str, copy: StateCopy) -> String {
        let file = self.view.storage.state_file(copy).map(|file| file.display().to_string());
        about_state(doing, &self.view.name, file.as_deref())
    }

    /// Appends the change to both copies, if it is small, and both are as they were left.
    fn append(&self, next: &GroupState) -> Result<Option<End>, (StateCopy, io::Error)> {
        let change = self.end.zip(Change::between(&self.view.state, next));
        let piece = change.and_then(|(end, change)| Some((end, end.append(&change)?)));
        let Some((end, (text, next_end))) = piece else { return Ok(None) };
        for copy in StateCopy::BOTH {
            let appended = self.view.storage.append_state(copy, end.bytes, &text);
            if !appended.map_err(|error| (copy, error))? {
                // Somebody replaced the copy: both are written again.
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
        Error::new(ErrorKind::Failed, format!("{doing}: an earlier attempt failed"))
            .with_hint("free space, or repair, and run the same command again")
    }
}
