//! The inputs that an operator named, as a source: files are read in this thread; with a pipe among
//! them, all of them in a separate thread.

use std::fs::File;
use std::time::Duration;

use crate::Result;
use crate::apply::StreamArgument;
use crate::apply::source::{Answer, Beginning, Fed, Source};
use crate::device::buffer::ArenaPool;

use feeder::Feeder;
use thread::FeedThread;

mod before;
mod feeder;
mod thread;

/// Inputs in order; each is opened when its turn comes, so that a directory of thousands does not
/// need thousands of open files.
#[derive(Debug)]
pub struct Inputs(Reading);

#[derive(Debug)]
enum Reading {
    NotBegun(Vec<StreamArgument>),
    /// A file keeps nobody waiting, and writes continue meanwhile by themselves.
    Here(Box<Feeder>, ArenaPool),
    /// A pipe can be silent for hours, while signals and checkpoints need attention.
    InThread(FeedThread),
}

impl Inputs {
    /// These inputs, in this order.
    #[must_use]
    pub fn new(inputs: Vec<StreamArgument>) -> Self {
        Self(Reading::NotBegun(inputs))
    }
}

impl Default for Inputs {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl From<Vec<StreamArgument>> for Box<dyn Source> {
    fn from(inputs: Vec<StreamArgument>) -> Self {
        Box::new(Inputs::new(inputs))
    }
}

impl Source for Inputs {
    fn is_also(&self, target: &File) -> Option<String> {
        let Reading::NotBegun(inputs) = &self.0 else { return None };
        inputs.iter().find(|input| input.is_also(target)).map(StreamArgument::name)
    }

    fn begin(&mut self, run: &Beginning<'_>) -> Result<u64> {
        let Reading::NotBegun(inputs) = &mut self.0 else { return Ok(0) };
        let mut inputs = std::mem::take(inputs);
        let left_out = before::begun_before(run, &inputs).unwrap_or(0);
        inputs.drain(..left_out);
        let has_pipe = inputs.iter().any(StreamArgument::is_pipe);
        let feeder = Feeder::new(inputs, run);
        self.0 = match has_pipe {
            true => Reading::InThread(FeedThread::start(feeder)?),
            false => Reading::Here(Box::new(feeder), run.pool.clone()),
        };
        Ok(left_out as u64)
    }

    fn next(&mut self, patience: Duration) -> Option<Fed> {
        match &mut self.0 {
            Reading::NotBegun(_) => Some(Fed::Done),
            // A caller with patience has nothing under way that could give memory back.
            Reading::Here(_, pool) if patience.is_zero() && pool.try_take().is_none() => None,
            Reading::Here(feeder, _) => Some(feeder.next()),
            Reading::InThread(thread) => thread.next(patience),
        }
    }

    fn answer(&mut self, answer: Answer) {
        match &mut self.0 {
            Reading::NotBegun(_) => {}
            Reading::Here(feeder, _) => feeder.answer(answer),
            Reading::InThread(thread) => thread.answer(answer),
        }
    }

    /// Files stay, and the writer of a pipe does not listen.
    fn durable(&mut self, _: u64) {}
}
