//! What was measured of one workload and of each of its contenders.

use serde::Serialize;

use crate::contender::{Role, Skipped};
use crate::rounds::{Results, Runs};
use crate::statistics::{Spread, gap, speed_ratios};

/// One workload.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WorkloadReport {
    pub(crate) name: &'static str,
    /// To what the target was held, in MB/s; null if it was not.
    pub(crate) rate: Option<u64>,
    /// Number of ranges written, including those that become zeros.
    pub(crate) extents: usize,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// The contender to which the ratios refer.
    pub(crate) limit: String,
    pub(crate) contenders: Vec<ContenderReport>,
    /// How much a command differs from itself within a round; null if no command ran twice.
    pub(crate) a_a_gap: Option<f64>,
    pub(crate) skipped: Vec<Skipped>,
    /// Contenders that failed or wrote the wrong bytes, and so were not timed.
    pub(crate) wrong: Vec<Skipped>,
}

/// One contender.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ContenderReport {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) command: String,
    /// The relevant time in seconds: by the contender's own clock if the reference has one of its
    /// own.
    pub(crate) wall_s: Vec<f64>,
    /// From the start of the process to its end.
    pub(crate) process_wall_s: Vec<f64>,
    pub(crate) gib_per_s: Option<Spread>,
    /// Of the process, of the server of which it is a client, and of kernel threads.
    pub(crate) cpu_s_per_gib: Vec<f64>,
    /// The part of that in kernel threads.
    pub(crate) kernel_cpu_s_per_gib: Vec<f64>,
    /// Who feeds the process: in no other number, except that of the machine.
    pub(crate) sender_cpu_s_per_gib: Vec<f64>,
    /// Everything that ran on the machine: a much larger value indicates other work.
    pub(crate) machine_cpu_s_per_gib: Vec<f64>,
    pub(crate) peak_mib: f64,
    /// Speed relative to the limit, within each round.
    pub(crate) ratio_to_limit: Option<Spread>,
    /// Whether the ratio is closer to 1 than the A/A gap.
    pub(crate) within_noise: bool,
}

impl WorkloadReport {
    /// The report of `results`.
    pub(crate) fn new(results: Results) -> Self {
        let workload = &results.workload;
        let a_a_gap = self_difference(&results.runs);
        let reference = results.runs.first().map_or(&[][..], |runs| &runs.seconds[..]);
        let gib = workload.gib();
        let contenders: Vec<ContenderReport> = results
            .runs
            .iter()
            .map(|runs| ContenderReport::new(runs, reference, gib, a_a_gap))
            .collect();
        Self {
            name: workload.name,
            rate: results.rate,
            extents: workload.data.len() + workload.zeros.len(),
            bytes: workload.bytes(),
            limit: contenders.first().map_or_else(String::new, |first| first.name.clone()),
            contenders,
            a_a_gap,
            skipped: results.skipped,
            wrong: results.wrong,
        }
    }

    /// The contender with this name.
    pub(crate) fn named(&self, name: &str) -> Option<&ContenderReport> {
        self.contenders.iter().find(|contender| contender.name == name)
    }

    /// The contender with this role.
    pub(crate) fn role(&self, role: Role) -> Option<&ContenderReport> {
        self.contenders.iter().find(|contender| contender.role == role)
    }
}

/// The gap between the control and the command that it repeats.
fn self_difference(runs: &[Runs]) -> Option<f64> {
    let control = runs.iter().find(|runs| runs.contender.role == Role::Control)?;
    // By name: what precedes a command and what feeds it can differ where the command does not.
    let repeated = |runs: &&Runs| runs.contender.again().name == control.contender.name;
    let original = runs.iter().find(repeated)?;
    gap(&original.seconds, &control.seconds)
}

impl ContenderReport {
    fn new(runs: &Runs, reference: &[f64], gib: f64, a_a_gap: Option<f64>) -> Self {
        let per_gib = |of: fn(&crate::measure::Measured) -> f64| -> Vec<f64> {
            runs.measured.iter().map(|measured| of(measured) / gib).collect()
        };
        let rates: Vec<f64> = runs.seconds.iter().map(|seconds| gib / seconds).collect();
        let ratio = Spread::of(&speed_ratios(reference, &runs.seconds));
        let is_reference = runs.contender.role == Role::Reference;
        let distance = ratio.map_or(f64::INFINITY, |ratio| (ratio.median - 1.0).abs());
        Self {
            name: runs.contender.name.clone(),
            role: runs.contender.role,
            command: runs.contender.command.join(" "),
            wall_s: runs.seconds.clone(),
            process_wall_s: runs.measured.iter().map(|measured| measured.wall_seconds).collect(),
            gib_per_s: Spread::of(&rates),
            cpu_s_per_gib: per_gib(|measured| {
                measured.own_seconds + measured.server_seconds + measured.kernel_seconds
            }),
            kernel_cpu_s_per_gib: per_gib(|measured| measured.kernel_seconds),
            sender_cpu_s_per_gib: per_gib(|measured| measured.sender_seconds),
            machine_cpu_s_per_gib: per_gib(|measured| measured.machine_seconds),
            peak_mib: runs.measured.iter().map(|measured| measured.peak_mib).fold(0.0, f64::max),
            ratio_to_limit: ratio,
            within_noise: !is_reference && a_a_gap.is_some_and(|gap| distance <= gap),
        }
    }
}
