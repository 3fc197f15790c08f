//! Interleaved rounds of one workload: every contender once in each round, in alternating order, so
//! that disturbances of the machine affect all of them. Contenders that write the wrong bytes are
//! not timed.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use crate::contender::{Contender, Copied, Leaves, Role, Skipped, others, references, streamed};
use crate::history::{self, RetentionVolume};
use crate::measure::Measured;
use crate::representation::Representations;
use crate::statistics::Spread;
use crate::target::{Checksums, Target};
use crate::throttle::Throttle;
use crate::tools::Tools;
use crate::workload::{Filling, Kind, Workload};
use crate::{thinning, views};

/// How often each candidate runs to choose the reference.
const TRIALS: usize = 3;
/// What takes long runs at most this often.
const LONG_ROUNDS: usize = 3;

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
    /// To what the device was held, in MB/s.
    pub(crate) rate: Option<u64>,
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
    pub(crate) fn run(&self, workload: &Workload) -> Result<Results> {
        self.prepared(workload, |mut contenders, skipped| {
            let wrong = self.verify(workload, &contenders)?;
            contenders
                .retain(|contender| wrong.iter().all(|skipped| skipped.name != contender.name));
            let runs = self.rounds(workload, contenders, None)?;
            Ok(Results { workload: workload.clone(), rate: None, runs, skipped, wrong })
        })
    }

    /// Runs the reference, the subject and the control of `workload` on a device that is held to
    /// each of `rates`, in MB/s. They were verified by [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// As of [`run`](Self::run); the rate cannot be limited.
    pub(crate) fn run_slowed(&self, workload: &Workload, rates: &[u64]) -> Result<Vec<Results>> {
        self.prepared(workload, |mut contenders, _| {
            contenders.retain(|contender| contender.role != Role::Peer);
            let run = |rate: &u64| {
                let throttle = Throttle::new(self.target.device(), *rate)?;
                let runs = self.rounds(workload, contenders.clone(), Some(&throttle))?;
                let (workload, rate) = (workload.clone(), Some(*rate));
                Ok(Results { workload, rate, runs, skipped: Vec::new(), wrong: Vec::new() })
            };
            rates.iter().map(run).collect()
        })
    }

    /// Makes the files and devices of `workload`, and calls `work` with its contenders, the
    /// reference first, and those that cannot be measured.
    ///
    /// # Errors
    ///
    /// Those of `work`; something cannot be made.
    pub(crate) fn prepared<T>(
        &self,
        workload: &Workload,
        work: impl FnOnce(Vec<Contender>, Vec<Skipped>) -> Result<T>,
    ) -> Result<T> {
        say(&format!("{}: making streams and images", workload.name));
        // Noise, so that no byte happens to have its later value: an overlay has to contain all of
        // them.
        self.target.restore(workload)?;
        let files = Representations::make(workload, self.target, self.tools)?;
        let done = match workload.kind {
            Kind::Image | Kind::Delta => {
                let (contenders, skipped) = self.writing(workload, &files)?;
                work(contenders, skipped)?
            }
            Kind::Streamed => {
                work(streamed(&files, self.target.device(), self.tools)?, Vec::new())?
            }
            Kind::History | Kind::Rollback | Kind::View => {
                let is_rollback = workload.kind == Kind::Rollback;
                let volume = RetentionVolume::new(self.target, is_rollback)?;
                let (contenders, skipped) = self.with_history(workload, &files, &volume)?;
                work(contenders, skipped)?
            }
            Kind::Thinning => {
                let volume = RetentionVolume::new(self.target, false)?;
                self.target.fill_slices()?;
                let done = work(thinning::beside(&volume, &files, self.tools)?, Vec::new())?;
                self.target.delete_slices()?;
                done
            }
        };
        files.delete()?;
        Ok(done)
    }

    /// All contenders of a workload that is only written.
    fn writing(
        &self,
        workload: &Workload,
        files: &Representations,
    ) -> Result<(Vec<Contender>, Vec<Skipped>)> {
        let device = self.target.device();
        let reference = self.reference(workload, references(workload, files, device))?;
        let (mut found, skipped) = others(&reference, workload, files, device, self.tools);
        found.insert(0, reference);
        Ok((found, skipped))
    }

    /// All contenders of a workload about history, with the reference first.
    fn with_history(
        &self,
        workload: &Workload,
        files: &Representations,
        volume: &RetentionVolume<'_>,
    ) -> Result<(Vec<Contender>, Vec<Skipped>)> {
        match workload.kind {
            Kind::Rollback => {
                let found = history::going_back(volume, files, workload.bytes(), self.tools)?;
                Ok((found, Vec::new()))
            }
            Kind::View => views::reading(volume, files, self.tools),
            _ => history::applying(volume, files, self.tools),
        }
    }

    /// The fastest of `candidates`, by the median of a few interleaved runs.
    fn reference(&self, workload: &Workload, mut candidates: Vec<Contender>) -> Result<Contender> {
        let count = candidates.len();
        if count > 1 {
            say(&format!("{}: choosing the fastest of {count} settings", workload.name));
            let mut taken = vec![Vec::new(); count];
            for trial in 0..TRIALS {
                for index in order(count, trial) {
                    taken[index].push(self.once(workload, &candidates[index], None)?.0);
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
            if contender.leaves == Leaves::Anything {
                continue;
            }
            self.target.apply(workload, Filling::Noise)?;
            let name = contender.name.clone();
            let Some(reason) = self.trial(workload, contender, [&before, &after])? else {
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

    /// Lets `contender` write or read; returns what is wrong afterwards, if anything is. The target
    /// held the first of `contents`, and the workload turns it into the second.
    fn trial(
        &self,
        workload: &Workload,
        contender: &Contender,
        contents: [&Checksums; 2],
    ) -> Result<Option<String>> {
        let copy = self.target.path("copy.raw");
        let mut contender = contender.clone();
        if contender.leaves == Leaves::Slices {
            self.target.fill_slices()?;
        }
        if matches!(contender.leaves, Leaves::Copy(_)) {
            contender.command.pop();
            contender.command.push(copy.to_string_lossy().into_owned());
        }
        if let Err(error) = self.once(workload, &contender, None) {
            self.check_signals()?;
            return Ok(Some(format!("{error:#}")));
        }
        let [before, after] = contents;
        let now = self.target.checksums()?;
        let difference = match contender.leaves {
            Leaves::Payload => now.first_difference(after),
            Leaves::Before => now.first_difference(before),
            Leaves::Slices => {
                let slices = self.target.checksums_of_slices()?;
                slices.first_difference(&after.beginning(&slices))
            }
            Leaves::Copy(Copied::Now) => {
                self.target.checksums_of_copy(&copy)?.first_difference(&now)
            }
            Leaves::Copy(Copied::Before) => {
                self.target.checksums_of_copy(&copy)?.first_difference(before)
            }
            Leaves::Anything => return Ok(None),
        };
        if copy.exists() {
            fs::remove_file(&copy).context("deleting a copy")?;
        }
        Ok(difference.map(|place| format!("wrong bytes, the first in MiB {place}")))
    }

    /// The timed rounds, held to a rate by `throttle` if there is one.
    fn rounds(
        &self,
        workload: &Workload,
        contenders: Vec<Contender>,
        throttle: Option<&Throttle>,
    ) -> Result<Vec<Runs>> {
        let none = |contender| Runs { contender, seconds: Vec::new(), measured: Vec::new() };
        let mut runs: Vec<Runs> = contenders.into_iter().map(none).collect();
        let rounds = match workload.kind {
            Kind::Thinning => self.rounds.min(LONG_ROUNDS),
            _ => self.rounds,
        };
        for round in 0..rounds {
            for index in order(runs.len(), round) {
                let (seconds, measured) = self.once(workload, &runs[index].contender, throttle)?;
                say(&format!(
                    "{}: round {} of {}: {}: {seconds:.3} s",
                    workload.name,
                    round + 1,
                    rounds,
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
    fn once(
        &self,
        workload: &Workload,
        contender: &Contender,
        throttle: Option<&Throttle>,
    ) -> Result<(f64, Measured)> {
        self.check_signals()?;
        self.target.fill_holes(workload)?;
        let slowed = throttle.map(|throttle| throttle.around(&contender.command));
        let command = slowed.as_ref().unwrap_or(&contender.command);
        let measured = contender.run(command, self.target.directory())?;
        Ok((contender.seconds(&measured, workload.bytes())?, measured))
    }

    /// Fails if a signal has arrived.
    pub(crate) fn check_signals(&self) -> Result<()> {
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
