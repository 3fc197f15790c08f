//! Interleaved rounds of one workload: every contender once in each round, in alternating order, so
//! that disturbances of the machine affect all of them. Contenders that write the wrong bytes are
//! not timed.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use crate::contender::{Contender, Leaves, Skipped, others, references};
use crate::history::{self, RetentionVolume};
use crate::measure::{Measured, quietly, run};
use crate::representation::Representations;
use crate::statistics::Spread;
use crate::target::{Checksums, Target};
use crate::tools::Tools;
use crate::workload::{Filling, Workload};

/// How often each candidate runs to choose the reference.
const TRIALS: usize = 3;

/// The runs of one contender, one for each round.
#[derive(Clone, Debug)]
pub(crate) struct Runs {
    pub(crate) contender: Contender,
    /// The relevant times, in seconds.
    pub(crate) seconds: Vec<f64>,
    pub(crate) measured: Vec<Measured>,
}

/// The results of a workload.
#[derive(Clone, Debug)]
pub(crate) struct Results {
    pub(crate) workload: Workload,
    /// The first is the reference.
    pub(crate) runs: Vec<Runs>,
    pub(crate) skipped: Vec<Skipped>,
    /// Contenders that failed or wrote the wrong bytes, with the place.
    pub(crate) wrong: Vec<Skipped>,
}

/// The common parameters of all workloads.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) target: &'a Target,
    pub(crate) tools: &'a Tools,
    pub(crate) rounds: usize,
    pub(crate) interrupted: &'a AtomicBool,
}

impl Bench<'_> {
    /// Runs `workload`: makes its files, verifies, measures, deletes them.
    ///
    /// # Errors
    ///
    /// A contender failed, or a signal arrived.
    pub(crate) fn run(&self, workload: Workload) -> Result<Results> {
        say(&format!("{}: making streams and images", workload.name));
        // Noise, so that no byte happens to have its later value: an overlay has to contain all of
        // them.
        self.target.restore(&workload)?;
        let files = Representations::make(&workload, self.target, self.tools)?;
        let device = self.target.device();
        let volume = workload
            .keeps_history()
            .then(|| RetentionVolume::new(self.target, workload.is_rollback()))
            .transpose()?;
        let (contenders, skipped) = match &volume {
            Some(volume) => self.with_history(&workload, &files, volume)?,
            None => {
                let candidates = references(&workload, &files, device);
                let reference = self.reference(&workload, candidates)?;
                let (mut found, skipped) =
                    others(&reference, &workload, &files, device, self.tools);
                found.insert(0, reference);
                (found, skipped)
            }
        };
        let mut contenders = contenders;
        let wrong = self.verify(&workload, &contenders)?;
        contenders.retain(|contender| wrong.iter().all(|skipped| skipped.name != contender.name));
        let runs = self.rounds(&workload, contenders)?;
        files.delete()?;
        Ok(Results { workload, runs, skipped, wrong })
    }

    /// All contenders of a workload about history, with the reference first.
    fn with_history(
        &self,
        workload: &Workload,
        files: &Representations,
        volume: &RetentionVolume<'_>,
    ) -> Result<(Vec<Contender>, Vec<Skipped>)> {
        if workload.is_rollback() {
            let found = history::going_back(volume, files, workload.bytes(), self.tools)?;
            return Ok((found, Vec::new()));
        }
        history::applying(volume, files, self.tools)
    }

    /// The fastest of `candidates`, by the median of a few interleaved runs.
    fn reference(&self, workload: &Workload, mut candidates: Vec<Contender>) -> Result<Contender> {
        let count = candidates.len();
        if count > 1 {
            say(&format!("{}: choosing the fastest of {count} settings", workload.name));
            let mut taken = vec![Vec::new(); count];
            for trial in 0..TRIALS {
                for index in order(count, trial) {
                    taken[index].push(self.once(workload, &candidates[index])?.0);
                }
            }
            let medians = taken.iter().map(|seconds| median(seconds));
            let fastest = medians.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
            candidates.swap(0, fastest.map_or(0, |(index, _)| index));
        }
        candidates.into_iter().next().context("choosing a reference: there is none")
    }

    /// Lets every contender that writes the payload write it over other contents, and compares the
    /// whole target with the expected result. This also warms up.
    fn verify(&self, workload: &Workload, contenders: &[Contender]) -> Result<Vec<Skipped>> {
        self.target.apply(workload, Filling::Noise)?;
        let before = self.target.checksums()?;
        self.target.apply(workload, Filling::Payload)?;
        let after = self.target.checksums()?;
        let mut wrong = Vec::new();
        for contender in contenders {
            let wanted = match contender.leaves {
                Leaves::Payload => &after,
                Leaves::Before => &before,
                Leaves::Anything => continue,
            };
            self.target.apply(workload, Filling::Noise)?;
            let name = contender.name.clone();
            let Some(reason) = self.trial(workload, contender, wanted)? else {
                say(&format!("{}: {name}: all bytes are correct", workload.name));
                continue;
            };
            say(&format!("{}: {name}: {reason}", workload.name));
            wrong.push(Skipped { name, reason });
            // A write in the wrong place must not be blamed on the next contender.
            self.target.restore(workload)?;
        }
        Ok(wrong)
    }

    /// Lets `contender` write; returns what is wrong afterwards, if anything is.
    fn trial(
        &self,
        workload: &Workload,
        contender: &Contender,
        wanted: &Checksums,
    ) -> Result<Option<String>> {
        if let Err(error) = self.once(workload, contender) {
            self.check_signals()?;
            return Ok(Some(format!("{error:#}")));
        }
        let difference = self.target.checksums()?.first_difference(wanted);
        Ok(difference.map(|place| format!("wrote wrong bytes, the first in MiB {place}")))
    }

    /// The timed rounds.
    fn rounds(&self, workload: &Workload, contenders: Vec<Contender>) -> Result<Vec<Runs>> {
        let none = |contender| Runs { contender, seconds: Vec::new(), measured: Vec::new() };
        let mut runs: Vec<Runs> = contenders.into_iter().map(none).collect();
        for round in 0..self.rounds {
            for index in order(runs.len(), round) {
                let (seconds, measured) = self.once(workload, &runs[index].contender)?;
                say(&format!(
                    "{}: round {} of {}: {}: {seconds:.3} s",
                    workload.name,
                    round + 1,
                    self.rounds,
                    runs[index].contender.name
                ));
                runs[index].seconds.push(seconds);
                runs[index].measured.push(measured);
            }
        }
        Ok(runs)
    }

    /// One run, on a target that has been filled again; returns the relevant time in seconds, and
    /// the rest.
    fn once(&self, workload: &Workload, contender: &Contender) -> Result<(f64, Measured)> {
        self.check_signals()?;
        self.target.fill_holes(workload)?;
        let [before, after] = &contender.around;
        quietly("sh", &["-ec", before])?;
        let measured = run(&contender.command, &contender.input, self.target.directory());
        // Even if the run failed, so that nothing of it disturbs the next one.
        let put_away = quietly("sh", &["-ec", after]);
        let measured = measured?;
        put_away?;
        Ok((contender.seconds(&measured, workload.bytes())?, measured))
    }

    fn check_signals(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            bail!("interrupted; nothing is left behind");
        }
        Ok(())
    }
}

/// Indices below `count`, forwards in even rounds and backwards in odd ones.
fn order(count: usize, round: usize) -> Vec<usize> {
    if round % 2 == 0 { (0..count).collect() } else { (0..count).rev().collect() }
}

fn median(values: &[f64]) -> f64 {
    Spread::of(values).map_or(f64::INFINITY, |spread| spread.median)
}

/// Prints progress on standard error.
pub(crate) fn say(text: &str) {
    eprintln!("bench: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_alternates() {
        assert_eq!(order(3, 0), [0, 1, 2]);
        assert_eq!(order(3, 1), [2, 1, 0]);
        assert_eq!(order(3, 2), [0, 1, 2]);
    }
}
