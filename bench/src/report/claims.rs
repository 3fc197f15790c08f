//! The requirements on the program, and whether this run meets them.

use serde::Serialize;

use crate::contender::{BARE_READER, FROM_FILE, Role};
use crate::history::{QEMU_KEEPING, QEMU_PLAIN};
use crate::limits::{self, Limit};
use crate::report::workload::{ContenderReport, WorkloadReport};
use crate::statistics::{Spread, speed_ratios};

/// One requirement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Claim {
    pub(crate) name: String,
    /// The bound, with its direction: ">= 0.95"; null for what is shown beside others.
    pub(crate) required: Option<String>,
    /// Null if not measured in this run.
    pub(crate) measured: Option<f64>,
    /// How much the same command differs from itself, where it is a ratio of times.
    pub(crate) a_a_gap: Option<f64>,
    /// Null if not measured in this run.
    pub(crate) met: Option<bool>,
}

/// Minimum speed of the subject relative to the reference of a workload, at a rate in MB/s; a bound
/// of zero is none.
const SPEEDS: [(&str, &str, Option<u64>, f64); 17] = [
    ("sequential 1M, speed relative to fio", "sequential-1m", None, 1.0),
    ("random 4K, speed relative to fio", "random-4k", None, 0.95),
    ("mixed delta, speed relative to fio", "mixed-delta", None, 0.95),
    ("image with holes, speed relative to qemu-img convert", "half-zero-image", None, 1.0),
    ("from a socket, speed relative to a bare reader", "streamed-mixed", None, 0.8),
    ("first touch, speed with history relative to without", "history-mixed", None, 0.58),
    ("first touch, the same at 500 MB/s", "history-mixed", Some(500), 0.98),
    ("first touch, the same at 1000 MB/s", "history-mixed", Some(1000), 0.98),
    ("first touch, the same at 2000 MB/s", "history-mixed", Some(2000), 0.98),
    ("hot tenth, speed with history relative to without", "history-hot", None, 0.88),
    ("hot tenth, the same at 500 MB/s", "history-hot", Some(500), 0.98),
    ("hot tenth, the same at 1000 MB/s", "history-hot", Some(1000), 0.98),
    ("hot tenth, the same at 2000 MB/s", "history-hot", Some(2000), 0.98),
    ("rollback of a dense change, speed relative to fio", "rollback-dense", None, 0.45),
    ("rollback, the same at 1000 MB/s", "rollback-dense", Some(1000), 0.92),
    ("read of a view, speed relative to qemu-nbd", "view-read", None, 1.0),
    ("apply beside thinning, speed relative to without", "thinning", None, 0.9),
];

/// All requirements, judged by `workloads` and `limits`.
pub(crate) fn judge(workloads: &[WorkloadReport], limits: &[Limit]) -> Vec<Claim> {
    let find = |name: &str, rate| {
        workloads.iter().find(|workload| workload.name == name && workload.rate == rate)
    };
    let mut claims: Vec<Claim> = SPEEDS
        .into_iter()
        .map(|(name, workload, rate, bound)| {
            let found = find(workload, rate);
            let subject = found.and_then(|workload| workload.role(Role::Subject));
            at_least(name, bound, subject.and_then(|runs| runs.ratio_to_limit), found)
        })
        .collect();
    let mixed = find("mixed-delta", None);
    let commit = mixed.and_then(|workload| of_processes(workload, "qemu-img commit"));
    claims.push(at_least("mixed delta, speed relative to qemu-img commit", 1.6, commit, mixed));
    let streamed = find("streamed-mixed", None);
    let name = "from a socket, speed relative to the same from a file";
    let file = streamed.and_then(|workload| {
        let subject = workload.role(Role::Subject)?;
        Spread::of(&speed_ratios(&workload.named(FROM_FILE)?.wall_s, &subject.wall_s))
    });
    claims.push(at_least(name, 0.6, file, streamed));
    let processor = mixed.and_then(|workload| {
        Spread::of(&workload.role(Role::Subject)?.cpu_s_per_gib).map(|spread| spread.median)
    });
    claims.push(claim("mixed delta, CPU seconds per GiB", "<=", 0.38, processor));
    claims.push(claim("peak memory of any verb, MiB", "<", 64.0, peak(workloads, limits)));
    claims.extend(of_limits(limits));
    claims.extend(beside(find("history-mixed", None), find("history-hot", None)));
    claims
}

/// The subject relative to `peer`, both timed from the start of the process to its end.
fn of_processes(workload: &WorkloadReport, peer: &str) -> Option<Spread> {
    let (peer, subject) = (workload.named(peer)?, workload.role(Role::Subject)?);
    Spread::of(&speed_ratios(&peer.process_wall_s, &subject.process_wall_s))
}

/// Requirements with a bound of their own.
fn of_limits(limits: &[Limit]) -> [Claim; 4] {
    let find = |name: &str| limits.iter().find(|limit| limit.name == name);
    let seconds = |name| find(name).map(|limit| limit.wall_s.median);
    let peak = find(limits::DISKS_WRITTEN).map(|limit| limit.peak_mib);
    [
        claim("making 10,000 recovery points, seconds", "<", 3.0, seconds(limits::MADE)),
        claim("list of 10,000 recovery points, seconds", "<", 1.0, seconds(limits::LISTED)),
        claim("open of 10,000 recovery points, seconds", "<", 1.0, seconds(limits::PREVIEWED)),
        claim("peak memory with history, 60 disks of 1 TiB, MiB", "<", 256.0, peak),
    ]
}

/// What history costs QEMU: no requirement, shown for comparison with ours.
fn beside(mixed: Option<&WorkloadReport>, hot: Option<&WorkloadReport>) -> [Claim; 2] {
    let qemu = |workload: Option<&WorkloadReport>| {
        let (without, with) = (workload?.named(QEMU_PLAIN)?, workload?.named(QEMU_KEEPING)?);
        Spread::of(&speed_ratios(&without.wall_s, &with.wall_s))
    };
    let name = |workload: &str| format!("{workload}, QEMU copy-before-write relative to without");
    [
        at_least(&name("first touch"), 0.0, qemu(mixed), mixed),
        at_least(&name("hot tenth"), 0.0, qemu(hot), hot),
    ]
}

/// The peak memory of all runs of `mtctl`; that of a client and of a bare reader is not ours.
fn peak(workloads: &[WorkloadReport], limits: &[Limit]) -> Option<f64> {
    let ours = |contender: &&ContenderReport| {
        contender.name.starts_with("mtctl ") && contender.name != BARE_READER
    };
    let all = workloads.iter().flat_map(|workload| &workload.contenders);
    let limits = limits.iter().map(|limit| limit.peak_mib);
    all.filter(ours).map(|contender| contender.peak_mib).chain(limits).max_by(f64::total_cmp)
}

fn at_least(
    name: &str,
    bound: f64,
    ratio: Option<Spread>,
    workload: Option<&WorkloadReport>,
) -> Claim {
    let a_a_gap = workload.and_then(|workload| workload.a_a_gap);
    let claim = claim(name, ">=", bound, ratio.map(|spread| spread.median));
    let has_bound = bound > 0.0;
    Claim {
        a_a_gap,
        required: claim.required.filter(|_| has_bound),
        met: claim.met.filter(|_| has_bound),
        ..claim
    }
}

fn claim(name: &str, relation: &str, bound: f64, measured: Option<f64>) -> Claim {
    let met = measured.map(|value| match relation {
        ">=" => value >= bound,
        "<=" => value <= bound,
        _ => value < bound,
    });
    let required = Some(format!("{relation} {bound}"));
    Claim { name: name.to_owned(), required, measured, a_a_gap: None, met }
}
