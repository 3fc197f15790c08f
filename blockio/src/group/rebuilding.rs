//! Rebuilding the state of a group from the segments of its history.

use std::io;
use std::sync::Arc;

use super::Group;
use super::ledger::Ledger;
use super::place::{self, GroupPlace};
use super::runs::{RunBegin, RunLog};
use super::view::GroupView;
use crate::Result;
use crate::journal::rebuild::{Rebuilt, rebuild};
use crate::journal::state::GroupState;
use crate::notice::Notice;

/// A group that is held while its state is rebuilt: nothing is saved yet.
#[derive(Debug)]
pub struct Rebuilding {
    view: GroupView,
    rebuilt: Rebuilt,
    lock: Option<Arc<place::GroupLock>>,
}

impl Rebuilding {
    /// Takes the lock of the group `name` at `place` and reads its segments.
    ///
    /// # Errors
    ///
    /// `Refused`: another process holds the group. Otherwise as [`rebuild`].
    pub fn open(place: &GroupPlace, name: &str) -> Result<Self> {
        place::check_name(name)?;
        let lock = place::lock(place, name)?;
        Self::new(GroupView::without_state(place, name)?, Some(Arc::new(lock)))
    }

    /// As [`open`](Self::open), but without the lock: to preview the result.
    ///
    /// # Errors
    ///
    /// As [`rebuild`].
    pub fn look(place: &GroupPlace, name: &str) -> Result<Self> {
        place::check_name(name)?;
        Self::new(GroupView::without_state(place, name)?, None)
    }

    fn new(view: GroupView, lock: Option<Arc<place::GroupLock>>) -> Result<Self> {
        let rebuilt = rebuild(&view.storage())?;
        Ok(Self { view, rebuilt, lock })
    }

    /// The rebuilt state.
    #[must_use]
    pub fn state(&self) -> &GroupState {
        &self.rebuilt.state
    }

    /// What could not be recovered.
    #[must_use]
    pub fn notes(&self) -> &[Notice] {
        &self.rebuilt.notes
    }

    /// [`Group::begin_run`] for the resulting group.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn begin_run(&self, begin: &RunBegin) -> io::Result<Option<RunLog>> {
        self.lock.as_ref().map(|lock| RunLog::begin(lock, begin)).transpose()
    }

    /// Saves it, in one change like every other. A crash leaves the old state, or the rebuilt one.
    ///
    /// # Errors
    ///
    /// `Failed`: it could not be written.
    pub fn save(self) -> Result<Group> {
        let mut ledger = Ledger::saving(self.view);
        ledger.save(|state| *state = self.rebuilt.state)?;
        Ok(Group { ledger, keeper: None, lock: self.lock })
    }
}
