//! What whoever watches a run is told, and how a run is stopped.

use std::ops::ControlFlow;

use crate::step::{Action, StepId, StepReport};
use system::error::{Error, ErrorKind, Result};

/// What happens while a plan is carried out.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step begins.
    StepStarted(StepId),
    /// An action begins.
    ActionStarted(&'a Action),
    /// A point between two durable changes of an action, in words: where a crash is worth testing.
    Reached(&'static str),
    /// A running program printed a line.
    Line(&'a str),
    /// An action succeeded.
    ActionFinished(&'a Action),
    /// A step ended.
    StepFinished(&'a StepReport),
}

/// Called with every [`Event`]; [`ControlFlow::Break`] stops before the next change.
pub type Watch<'a> = &'a mut dyn FnMut(&Event<'_>) -> ControlFlow<()>;

/// Stops if the watcher asks for it: a run can stop at any action, and the next run continues
/// there.
pub(super) fn go_on(flow: ControlFlow<()>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::new(ErrorKind::Failed, "interrupted")
            .with_hint("nothing is half done: run the same command again to continue")),
    }
}
