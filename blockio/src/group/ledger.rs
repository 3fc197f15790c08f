//! What is saved of a group: its state, in two copies that are each replaced whole. The state in
//! memory is never ahead of the one on the disk, and after a save that failed nothing more is
//! saved.

use super::place::about_state;
use super::view::GroupView;
use crate::journal::state::{self, GroupState};
use crate::storage::{StateCopy, remedy};
use crate::{Error, ErrorKind, Result};

/// The state of a group, and the only way to change it.
#[derive(Debug)]
pub(super) struct Ledger {
    view: GroupView,
    mode: Mode,
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
        Self { view, mode: Mode::Saving }
    }

    /// Saves nothing: what a dry run would have made of one stream is what the next one is held
    /// against.
    pub(super) fn rehearsing(view: GroupView) -> Self {
        Self { view, mode: Mode::Rehearsing }
    }

    pub(super) fn view(&self) -> &GroupView {
        &self.view
    }

    /// What the operator should know of the copies of the state, since this was asked last.
    pub(super) fn take_notes(&mut self) -> Vec<String> {
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
        match self.mode {
            Mode::Failed => return Err(self.failed_before()),
            Mode::Saving if !planted!(NoBarrier3) => self.replace(&next)?,
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
        self.save(GroupState::drop_history)?;
        self.prepare(|state| state.journal = begun);
        Ok(())
    }

    /// What the next save will have besides its own change: a session that has begun, of which
    /// nothing is worth saving yet.
    pub(super) fn prepare(&mut self, change: impl FnOnce(&mut GroupState)) {
        change(&mut self.view.state);
    }

    fn replace(&mut self, next: &GroupState) -> Result<()> {
        let storage = self.view.storage.as_ref();
        let text = state::print(next);
        // A crash between the two leaves the first one generation ahead: it counts, and nothing
        // that depends on it has been done.
        let mut copies = StateCopy::BOTH.into_iter();
        copies.try_for_each(|copy| storage.replace_state(copy, &text)).map_err(|error| {
            self.mode = Mode::Failed;
            let doing = about_state("writing", storage, &self.view.name);
            let hint = format!(
                "what was applied is durable; {}, and run the same command again",
                remedy(&error).unwrap_or("make room or repair")
            );
            Error::failed(doing, error).with_hint(hint)
        })
    }

    fn failed_before(&self) -> Error {
        let doing = about_state("writing", self.view.storage.as_ref(), &self.view.name);
        Error::new(ErrorKind::Failed, format!("{doing}: it failed before"))
            .with_hint("make room or repair, and run the same command again")
    }
}
