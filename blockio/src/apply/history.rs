//! What was there before it is overwritten. Today nothing is kept: the place where the retention
//! journal comes in, so that the path has its shape already.

use crate::plan::WritePlan;

/// Proof that the before-images of everything in a plan are durable, or that none are wanted
/// (BARRIER 1, I1). Only a [`History`] makes one; a write needs it.
#[must_use = "the plan may be written now, and only now"]
#[derive(Debug)]
pub(crate) struct Preserved(());

/// Where before-images go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum History {
    /// Nowhere: what is overwritten is gone.
    None,
}

impl History {
    /// Preserves what `plan` will overwrite.
    pub(crate) fn preserve(self, _plan: &WritePlan) -> Preserved {
        match self {
            Self::None => Preserved(()),
        }
    }
}
