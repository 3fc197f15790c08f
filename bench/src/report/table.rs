//! The report as tables of 100 columns.

use comfy_table::{ContentArrangement, Table, presets};

use crate::limits::Limit;
use crate::report::claims::Claim;
use crate::report::{ContenderReport, Report, WorkloadReport};
use crate::statistics::Spread;

const COLUMNS: u16 = 100;

/// Prints `report` to standard output.
pub(crate) fn print(report: &Report) {
    for workload in &report.workloads {
        println!("{}", heading(workload));
        println!("{}", contenders(workload));
        for skipped in &workload.skipped {
            println!("not measured: {}: {}", skipped.name, skipped.reason);
        }
        for wrong in &workload.wrong {
            println!("WRONG: {}: {}", wrong.name, wrong.reason);
        }
        println!();
    }
    for limit in &report.limits {
        let Limit { name, wall_s, peak_mib, .. } = limit;
        println!("{name}: {:.2} s, {peak_mib:.0} MiB", wall_s.median);
    }
    println!("{}", must_show(&report.must_show));
    for note in &report.notes {
        println!("note: {note}");
    }
}

fn heading(workload: &WorkloadReport) -> String {
    let gap = workload.a_a_gap.map_or("noise was not measured".to_owned(), |gap| {
        format!("two runs of the same command differ by {:.1} %", 100.0 * gap)
    });
    let rate = workload.rate.map_or(String::new(), |rate| format!(" at {rate} MB/s"));
    format!(
        "{}{rate}: {} extents, {:.2} GiB; ratios are to {}; {gap}",
        workload.name,
        workload.extents,
        workload.bytes as f64 / f64::from(1 << 30),
        workload.limit,
    )
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(COLUMNS)
        .set_header(header.to_vec());
    table
}

pub(super) fn contenders(workload: &WorkloadReport) -> Table {
    let header = ["contender", "seconds", "GiB/s", "CPU s/GiB", "peak MiB", "speed (min-max)", ""];
    let mut table = table(&header);
    for contender in &workload.contenders {
        table.add_row(row(contender));
    }
    table
}

fn row(contender: &ContenderReport) -> [String; 7] {
    let median = |spread: Option<Spread>, digits: usize| {
        spread.map_or("-".to_owned(), |spread| format!("{:.digits$}", spread.median))
    };
    let speed = contender.ratio_to_limit.map_or("-".to_owned(), |spread| {
        format!("{:.2} ({:.2}-{:.2})", spread.median, spread.min, spread.max)
    });
    let noise = if contender.within_noise { "within noise" } else { "" };
    [
        contender.name.clone(),
        median(Spread::of(&contender.wall_s), 3),
        median(contender.gib_per_s, 2),
        median(Spread::of(&contender.cpu_s_per_gib), 3),
        format!("{:.0}", contender.peak_mib),
        speed,
        noise.to_owned(),
    ]
}

fn must_show(claims: &[Claim]) -> Table {
    let mut table = table(&["goal", "required", "measured", "A/A", "met"]);
    for claim in claims {
        let met = match (claim.measured, claim.met) {
            (None, _) => "not measured",
            (_, Some(true)) => "yes",
            (_, Some(false)) => "NO",
            (_, None) => "",
        };
        table.add_row([
            claim.name.clone(),
            claim.required.clone().unwrap_or_else(|| "(beside)".to_owned()),
            claim.measured.map_or("-".to_owned(), |value| format!("{value:.2}")),
            claim.a_a_gap.map_or(String::new(), |gap| format!("{:.0} %", 100.0 * gap)),
            met.to_owned(),
        ]);
    }
    table
}
