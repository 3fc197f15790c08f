//! The inputs that an operator named, as a source. The thread that applies them also reads them, as
//! far as they have come: a pipe that is silent keeps nobody waiting longer than they want.

use std::fs::File;
use std::time::Duration;

use crate::Result;
use crate::apply::StreamArgument;
use crate::apply::source::{Answer, Arrival, Beginning, Fed, Source};
use crate::stream::reader::Unready;

use feeder::Feeder;

mod before;
mod feeder;

/// Inputs in order; each is opened when its turn comes, so that a directory of thousands does not
/// need thousands of open files.
#[derive(Debug)]
pub struct Inputs(Reading);

#[derive(Debug)]
enum Reading {
    NotBegun(Vec<StreamArgument>),
    Begun(Box<Feeder>),
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
        self.0 = Reading::Begun(Box::new(Feeder::new(inputs, run)));
        Ok(left_out as u64)
    }

    fn next(&mut self, patience: Duration) -> Arrival {
        let feeder = match &mut self.0 {
            Reading::NotBegun(_) => return Arrival::Item(Fed::Done),
            Reading::Begun(feeder) => feeder,
        };
        let mut polled = feeder.poll();
        if matches!(polled, Err(Unready::Input)) && !patience.is_zero() {
            polled = feeder.wait(patience).map_err(Unready::from).and_then(|()| feeder.poll());
        }
        match polled {
            Ok(fed) => Arrival::Item(fed),
            Err(Unready::Input | Unready::Passing) => Arrival::Nothing,
            Err(Unready::Memory) => Arrival::NoMemory,
            Err(Unready::Failed(error)) => Arrival::Item(Fed::Failed { error, is_cut_pipe: false }),
        }
    }

    fn answer(&mut self, answer: Answer) {
        match &mut self.0 {
            Reading::NotBegun(_) => {}
            Reading::Begun(feeder) => feeder.answer(answer),
        }
    }

    /// Files stay, and the writer of a pipe does not listen.
    fn durable(&mut self, _: u64) {}
}
