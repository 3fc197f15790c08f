//! A read-only view of a group's state, open to anybody.

use std::sync::Arc;

use crate::journal::catalogue::{Catalogue, PointId};
use crate::journal::selector;
use crate::journal::settings::GroupSettings;
use crate::journal::state::GroupState;
use crate::notice::Notice;
use crate::remedy::{GroupRemedy, PointRemedy, Remedied};
use crate::storage::{Nothing, Storage};
use crate::{Error, ErrorKind, Result};

use super::place::{self, GroupPlace, Keeps};

/// A group as it was last saved.
#[derive(Clone)]
pub struct GroupView {
    pub(super) name: String,
    pub(super) state: GroupState,
    pub(super) notes: Vec<Notice>,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) keeps: Keeps,
}

impl std::fmt::Debug for GroupView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupView").field("name", &self.name).field("state", &self.state).finish()
    }
}

impl GroupView {
    /// Reads the group `name` at `place`, without its lock: a run may be working on it. Creates
    /// nothing.
    ///
    /// # Errors
    ///
    /// `Usage`: the name is not valid. `Integrity`: the state file is damaged. `Failed`: it cannot
    /// be read.
    pub fn look(place: &GroupPlace, name: &str) -> Result<Self> {
        place::check_name(name)?;
        let keeps = place.keeps();
        let there = |path: &std::path::PathBuf| path.is_dir();
        let history = place.history.clone().filter(there);
        // If the state's directory is missing, its second copy may be with the history.
        let state = Some(place.state.clone()).filter(there).or_else(|| history.clone());
        let Some(state) = state else { return Self::of(Arc::new(Nothing), name, keeps) };
        Self::of(place::storage(&GroupPlace { state, history })?, name, keeps)
    }

    pub(super) fn of(storage: Arc<dyn Storage>, name: &str, keeps: Keeps) -> Result<Self> {
        let (state, notes) = place::read_state(&storage, name)?;
        Ok(Self { name: name.to_owned(), state, notes, storage, keeps })
    }

    /// The group `name` at `place`, without reading its state.
    pub(super) fn without_state(place: &GroupPlace, name: &str) -> Result<Self> {
        let storage = place::storage(place)?;
        let (name, state, notes) = (name.to_owned(), GroupState::default(), Vec::new());
        Ok(Self { name, state, notes, storage, keeps: place.keeps() })
    }

    /// No group.
    pub(super) fn none() -> Self {
        let (name, state, storage) = (String::new(), GroupState::default(), Arc::new(Nothing));
        Self { name, state, notes: Vec::new(), storage, keeps: Keeps::Nothing }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> &GroupState {
        &self.state
    }

    /// Notices for the operator about the copies of its state.
    #[must_use]
    pub fn notes(&self) -> &[Notice] {
        &self.notes
    }

    /// Where its history is kept.
    #[must_use]
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage)
    }

    /// Whether there is a group, so that applied streams are remembered.
    #[must_use]
    pub fn remembers(&self) -> bool {
        match self.keeps {
            Keeps::Nothing => false,
            Keeps::Progress | Keeps::History => true,
        }
    }

    /// Whether overwritten data is preserved.
    #[must_use]
    pub fn keeps_history(&self) -> bool {
        self.keeps == Keeps::History
    }

    /// The group's settings, or the defaults if none were set.
    #[must_use]
    pub fn settings(&self) -> GroupSettings {
        self.state.settings.unwrap_or_default()
    }

    /// Its points, and the segments that lead back to them.
    ///
    /// # Errors
    ///
    /// `Usage`: it has no history.
    pub fn catalogue(&self) -> Result<&Catalogue> {
        self.state.journal.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Usage, format!("group {} has no history", self.name))
                .remedied(GroupRemedy::KeepHistory)
        })
    }

    /// The destination of a rollback that was begun and not finished.
    #[must_use]
    pub fn rolling_back_to(&self) -> Option<PointId> {
        self.state.journal.as_ref().and_then(|known| known.rolling_back_to)
    }

    /// Requires that no point after `to` is pinned, so that a rollback to it without undo may give
    /// them up.
    ///
    /// # Errors
    ///
    /// `Refused`. `Usage`: there is no history.
    pub(crate) fn require_none_pinned_after(&self, to: PointId) -> Result<()> {
        let mut later = self.catalogue()?.points_after(to);
        let Some(pinned) = later.find(|point| point.pinned) else { return Ok(()) };
        let shown = selector::shown(pinned);
        let context = format!(
            "rolling back without preserving what is overwritten gives up all later points, and \
             {shown} is pinned"
        );
        Err(Error::refused(context).remedied(PointRemedy::UnpinOrKeepOverwritten {
            group: self.name.clone(),
            point: selector::typed(pinned),
        }))
    }

    /// The short name of a point in messages: `start`, or `point 7`.
    #[must_use]
    pub fn called(&self, id: PointId) -> String {
        let known = self.state.journal.as_ref();
        known.map_or_else(|| format!("point {id}"), |known| selector::called(known, id))
    }

    /// Requires that no rollback is unfinished.
    ///
    /// # Errors
    ///
    /// `Refused`.
    pub(crate) fn require_no_rollback(&self) -> Result<()> {
        let Some(to) = self.rolling_back_to() else { return Ok(()) };
        let (name, called) = (&self.name, self.called(to));
        Err(Error::refused(format!("a rollback of group {name} to {called} is unfinished"))
            .remedied(PointRemedy::FinishRollback { group: name.clone(), to }))
    }
}
