//! The report as the Markdown that docs/performance.md has.

use std::fmt::Write;

use crate::contender::Role;
use crate::report::claims::Claim;
use crate::report::{ContenderReport, Report, WorkloadReport};
use crate::statistics::Spread;
use crate::workload::SLOWED;

/// All tables of `report`.
pub(crate) fn markdown(report: &Report) -> String {
    let versions: Vec<&str> = report.versions.values().map(String::as_str).collect();
    let mut text = format!(
        "Measured on {}, on {} cores ({}), Linux {}, {} GiB; {} rounds, a target of {:.1} GiB; {}. \
         The run took {:.0} minutes.\n",
        report.date.split('T').next().unwrap_or_default(),
        report.machine.cpus,
        report.machine.model,
        report.machine.kernel,
        report.machine.memory_mib >> 10,
        report.rounds,
        report.target_bytes as f64 / f64::from(1 << 30),
        versions.join(", "),
        report.seconds / 60.0,
    );
    for workload in report.workloads.iter().filter(|workload| workload.rate.is_none()) {
        text += &contenders(workload);
    }
    text += &slowed(&report.workloads);
    if !report.limits.is_empty() {
        text += &head(&["limit", "seconds", "peak MiB"]);
        for limit in &report.limits {
            text += &row(&[
                limit.name.to_owned(),
                format!("{:.2}", limit.wall_s.median),
                format!("{:.0}", limit.peak_mib),
            ]);
        }
    }
    text + &goals(&report.must_show)
}

fn contenders(workload: &WorkloadReport) -> String {
    let mut text = format!("\n**{}** ({})\n", workload.name, noise(workload.a_a_gap));
    let mut sent = workload.contenders.iter().flat_map(|runs| &runs.sender_cpu_s_per_gib);
    let is_sent = sent.any(|seconds| *seconds > 0.0);
    let mut columns = vec!["contender", "speed", "least to most", "CPU s/GiB", "peak MiB"];
    columns.extend(is_sent.then_some("sender's CPU s/GiB"));
    text += &head(&columns);
    for contender in &workload.contenders {
        text += &row(&cells(contender, is_sent));
    }
    for skipped in &workload.skipped {
        // Writing to a string cannot fail.
        let _ = write!(text, "\nNot measured: {}: {}.\n", skipped.name, skipped.reason);
    }
    text
}

fn cells(contender: &ContenderReport, is_sent: bool) -> Vec<String> {
    let median = |values: &[f64]| {
        Spread::of(values).map_or("-".to_owned(), |spread| format!("{:.2}", spread.median))
    };
    let [speed, range] = contender.ratio_to_limit.map_or(["-", "-"].map(str::to_owned), |spread| {
        [format!("{:.2}", spread.median), format!("{:.2} to {:.2}", spread.min, spread.max)]
    });
    let mut cells = vec![contender.name.clone(), speed, range];
    cells.push(median(&contender.cpu_s_per_gib));
    cells.push(format!("{:.0}", contender.peak_mib));
    cells.extend(is_sent.then(|| median(&contender.sender_cpu_s_per_gib)));
    cells
}

/// The workloads on slow devices, with a column for each rate.
fn slowed(workloads: &[WorkloadReport]) -> String {
    let mut rates: Vec<u64> = workloads.iter().filter_map(|workload| workload.rate).collect();
    rates.sort_unstable();
    rates.dedup();
    if rates.is_empty() {
        return String::new();
    }
    let titles: Vec<String> = rates.iter().map(|rate| format!("{rate} MB/s")).collect();
    let columns: Vec<&str> =
        ["held to a rate"].into_iter().chain(titles.iter().map(String::as_str)).collect();
    let mut text = head(&columns);
    for name in SLOWED {
        let mut cells = vec![name.to_owned()];
        for rate in &rates {
            let at = |of: &&WorkloadReport| of.name == name && of.rate == Some(*rate);
            let found = workloads.iter().find(at);
            let ratio = found.and_then(|workload| workload.role(Role::Subject)?.ratio_to_limit);
            cells.push(ratio.map_or("-".to_owned(), |ratio| {
                let gap = found.and_then(|workload| workload.a_a_gap);
                format!(
                    "{:.2}{}",
                    ratio.median,
                    gap.map_or(String::new(), |gap| { format!(" (A/A {:.0} %)", 100.0 * gap) })
                )
            }));
        }
        text += &row(&cells);
    }
    text
}

fn goals(claims: &[Claim]) -> String {
    let mut text = head(&["goal", "required", "measured", "A/A", "met"]);
    for claim in claims {
        let met = match (claim.met, claim.measured, &claim.required) {
            (_, None, _) => "not measured",
            (Some(true), ..) => "yes",
            (Some(false), ..) => "no",
            (None, ..) => "",
        };
        text += &row(&[
            claim.name.clone(),
            claim.required.clone().unwrap_or_else(|| "(beside)".to_owned()),
            claim.measured.map_or("-".to_owned(), |value| format!("{value:.2}")),
            claim.a_a_gap.map_or(String::new(), |gap| format!("{:.0} %", 100.0 * gap)),
            met.to_owned(),
        ]);
    }
    text
}

fn noise(gap: Option<f64>) -> String {
    gap.map_or("noise was not measured".to_owned(), |gap| {
        format!("the same command differs from itself by {:.0} %", 100.0 * gap)
    })
}

fn head(columns: &[&str]) -> String {
    format!("\n| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()))
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}
