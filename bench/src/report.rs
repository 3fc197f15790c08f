//! The report on the runs: results.json, and the same as a table.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::limits::Limit;
use crate::machine::Machine;
use crate::report::claims::Claim;

mod claims;
mod markdown;
mod table;
mod workload;

pub(crate) use markdown::markdown;
pub(crate) use table::print;
pub(crate) use workload::{ContenderReport, WorkloadReport};

/// The whole of results.json.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) versions: BTreeMap<String, String>,
    /// Size of the target, in bytes.
    pub(crate) target_bytes: u64,
    pub(crate) rounds: usize,
    /// How long all of it took.
    pub(crate) seconds: f64,
    /// Other facts that a reader of this run has to know.
    pub(crate) notes: Vec<String>,
    pub(crate) workloads: Vec<WorkloadReport>,
    /// Measurements that are not compared with a peer.
    pub(crate) limits: Vec<Limit>,
    pub(crate) must_show: Vec<Claim>,
}

impl Report {
    /// Adds the claims, once all workloads are measured.
    pub(crate) fn judged(mut self) -> Self {
        self.must_show = claims::judge(&self.workloads, &self.limits);
        self
    }

    /// Whether any contender failed or wrote the wrong bytes.
    pub(crate) fn is_wrong(&self) -> bool {
        self.workloads.iter().any(|workload| !workload.wrong.is_empty())
    }
}

#[cfg(test)]
mod tests;
