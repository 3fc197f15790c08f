//! The requirements on the engine, and whether this run meets them.

use serde::Serialize;

use crate::contender::Role;
use crate::history::{QEMU_KEEPING, QEMU_PLAIN};
use crate::limits::{self, Limit};
use crate::report::workload::{ContenderReport, WorkloadReport};
use crate::statistics::{Spread, speed_ratios};

/// One requirement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Claim {
    pub(crate) name: &'static str,
    /// The bound, with its direction: ">= 0.95".
    pub(crate) required: String,
    /// Null if not measured in this run.
    pub(crate) measured: Option<f64>,
    /// Null if not measured in this run.
    pub(crate) met: Option<bool>,
}

/// Minimum speed of `mtctl apply` relative to the reference of a workload.
const SPEEDS: [(&str, &str, f64); 4] = [
    ("sequential 1M, speed relative to fio", "sequential-1m", 0.95),
    ("random 4K, speed relative to fio", "random-4k", 0.90),
    ("mixed delta, speed relative to fio", "mixed-delta", 0.95),
    ("image with holes, speed relative to qemu-img convert", "half-zero-image", 0.95),
];

/// All requirements, judged by `workloads` and `limits`.
pub(crate) fn judge(workloads: &[WorkloadReport], limits: &[Limit]) -> Vec<Claim> {
    let find = |name: &str| workloads.iter().find(|workload| workload.name == name);
    let subject = |name| find(name).and_then(|workload| workload.role(Role::Subject));
    let mut claims: Vec<Claim> = SPEEDS
        .into_iter()
        .map(|(name, workload, bound)| {
            at_least(name, bound, subject(workload).and_then(|runs| runs.ratio_to_limit))
        })
        .collect();
    let mixed = subject("mixed-delta");
    let commit = find("mixed-delta").and_then(|workload| {
        let peers = &workload.contenders;
        let commit = peers.iter().find(|contender| contender.name == "qemu-img commit")?;
        Spread::of(&speed_ratios(&commit.process_wall_s, &mixed?.process_wall_s))
    });
    claims.push(at_least("mixed delta, speed relative to qemu-img commit", 1.5, commit));
    let processor = mixed.and_then(|runs| Spread::of(&runs.cpu_s_per_gib));
    let name = "mixed delta, CPU seconds per GiB";
    claims.push(claim(name, "<=", 0.45, processor.map(|spread| spread.median)));
    claims.push(claim("peak memory of any mtctl apply, MiB", "<", 64.0, peak(workloads)));
    claims.extend(of_history(find("history-mixed"), find("history-hot")));
    let back = find("rollback-dense").and_then(|workload| workload.role(Role::Subject));
    let name = "rollback of a dense change, speed relative to fio";
    claims.push(at_least(name, 0.7, back.and_then(|runs| runs.ratio_to_limit)));
    claims.extend(of_limits(limits));
    claims
}

/// Requirements with a bound of their own.
fn of_limits(limits: &[Limit]) -> [Claim; 3] {
    let find = |name: &str| limits.iter().find(|limit| limit.name == name);
    let seconds = |name| find(name).map(|limit| limit.wall_s.median);
    let peak = find(limits::DISKS_WRITTEN).map(|limit| limit.peak_mib);
    [
        claim("list of 10,000 recovery points, seconds", "<", 1.0, seconds(limits::LISTED)),
        claim("open of 10,000 recovery points, seconds", "<", 1.0, seconds(limits::PREVIEWED)),
        claim("peak memory with history, 60 disks of 1 TiB, MiB", "<", 256.0, peak),
    ]
}

/// The permitted cost of keeping history, beside its cost for QEMU.
fn of_history(mixed: Option<&WorkloadReport>, hot: Option<&WorkloadReport>) -> Vec<Claim> {
    let ours = |workload: Option<&WorkloadReport>| workload?.role(Role::Subject)?.ratio_to_limit;
    let qemu = |workload: Option<&WorkloadReport>| {
        let named = |name| workload?.contenders.iter().find(|found| found.name == name);
        let (without, with) = (named(QEMU_PLAIN)?, named(QEMU_KEEPING)?);
        Spread::of(&speed_ratios(&without.wall_s, &with.wall_s))
    };
    let (with, peer) = (ours(mixed), qemu(mixed));
    let above = with.zip(peer).map(|(with, peer)| with.median / peer.median);
    vec![
        at_least("mixed delta, speed with history relative to without", 0.5, with),
        at_least("hot tenth, speed with history relative to without", 0.9, ours(hot)),
        // These have no bound of their own and are shown for comparison with ours.
        at_least("mixed delta, QEMU copy-before-write relative to without", 0.0, peer),
        at_least("hot tenth, QEMU copy-before-write relative to without", 0.0, qemu(hot)),
        claim("mixed delta, our ratio relative to QEMU's", ">=", 1.0, above),
    ]
}

/// The peak memory of all runs of `mtctl apply`.
fn peak(workloads: &[WorkloadReport]) -> Option<f64> {
    let ours = |contender: &&ContenderReport| contender.name.starts_with("mtctl apply");
    let all = workloads.iter().flat_map(|workload| &workload.contenders);
    all.filter(ours).map(|contender| contender.peak_mib).max_by(f64::total_cmp)
}

fn at_least(name: &'static str, bound: f64, ratio: Option<Spread>) -> Claim {
    claim(name, ">=", bound, ratio.map(|spread| spread.median))
}

fn claim(name: &'static str, relation: &str, bound: f64, measured: Option<f64>) -> Claim {
    let met = measured.map(|value| match relation {
        ">=" => value >= bound,
        "<=" => value <= bound,
        _ => value < bound,
    });
    Claim { name, required: format!("{relation} {bound}"), measured, met }
}
