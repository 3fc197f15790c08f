//! The first half of the path: the inputs one after another, each as a [`Feed`].

use std::time::Duration;

use crate::Result;
use crate::apply::StreamArgument;
use crate::apply::feed::{Feed, is_truncation};
use crate::apply::source::{Answer, Beginning, Fed};
use crate::device::buffer::ArenaPool;
use crate::stream::Format;
use crate::stream::reader::Unready;

/// Reads, decodes and verifies the inputs one after another.
#[derive(Debug)]
pub(super) struct Feeder {
    inputs: std::vec::IntoIter<StreamArgument>,
    format: Option<Format>,
    follows_content: bool,
    pool: ArenaPool,
    current: Option<Feed>,
}

impl Feeder {
    /// Feeds `inputs` to `run`.
    pub(super) fn new(inputs: Vec<StreamArgument>, run: &Beginning<'_>) -> Self {
        Self {
            inputs: inputs.into_iter(),
            format: run.options.format,
            follows_content: run.group.remembers(),
            pool: run.pool.clone(),
            current: None,
        }
    }

    /// The next item, as for a [`Source`](crate::apply::Source), if it has come.
    ///
    /// # Errors
    ///
    /// Why there is none now; what is wrong with an input is an item.
    pub(super) fn poll(&mut self) -> std::result::Result<Fed, Unready> {
        if self.current.is_none() {
            let Some(input) = self.inputs.next() else { return Ok(Fed::Done) };
            let is_pipe = input.is_pipe();
            match input.begin_opening(self.format, self.pool.clone()) {
                Ok(opening) => {
                    self.current = Some(Feed::new(opening, is_pipe, self.follows_content));
                }
                Err(error) => {
                    let is_cut_pipe = is_pipe && is_truncation(&error);
                    return Ok(Fed::Failed { error, is_cut_pipe });
                }
            }
        }
        let Some(current) = &mut self.current else { return Ok(Fed::Done) };
        match current.poll() {
            Ok(Some(fed)) => Ok(fed),
            Ok(None) => {
                self.current = None;
                Ok(Fed::InputEnd { is_last: self.inputs.len() == 0 })
            }
            Err(Unready::Failed(error)) => Ok(current.failed(error)),
            Err(unready) => Err(unready),
        }
    }

    /// Waits until something comes, but at most for `patience`.
    ///
    /// # Errors
    ///
    /// `Failed`: the input cannot be waited for.
    pub(super) fn wait(&self, patience: Duration) -> Result<()> {
        self.current.as_ref().map_or(Ok(()), |current| current.wait(patience))
    }

    /// The answer to a stream that begins.
    pub(super) fn answer(&mut self, answer: Answer) {
        match (answer, &mut self.current) {
            (Answer::SkipInput, current) => *current = None,
            (answer, Some(current)) => current.answer(answer),
            (_, None) => {}
        }
    }
}
