//! What to apply, and to where.

use crate::apply::inputs::Inputs;
use crate::apply::options::ApplyOptions;
use crate::apply::source::Source;
use crate::assignment::Assignment;
use crate::device::buffer::ArenaPool;
use crate::group::keeper::HistorySettings;

/// What to apply, and to where.
#[derive(Debug)]
pub struct ApplyJob {
    /// Where the changes come from.
    pub source: Box<dyn Source>,
    /// The targets to write to.
    pub assignments: Vec<Assignment>,
    /// How to apply.
    pub options: ApplyOptions,
    /// How the history of the group is kept, if it has one.
    pub history: HistorySettings,
    /// Memory for batches; `None` to allocate it.
    pub pool: Option<ArenaPool>,
}

impl Default for ApplyJob {
    /// No source and no targets.
    fn default() -> Self {
        Self {
            source: Box::new(Inputs::default()),
            assignments: Vec::new(),
            options: ApplyOptions::default(),
            history: HistorySettings::default(),
            pool: None,
        }
    }
}
