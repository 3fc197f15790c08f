//! Tests of the values computed from runs, with invented runs.

use std::collections::BTreeMap;

use crate::contender::{Clock, Contender, Leaves, Role};
use crate::machine::Machine;
use crate::measure::{Input, Measured};
use crate::report::claims::judge;
use crate::report::{Report, WorkloadReport, markdown, table};
use crate::rounds::{Results, Runs};
use crate::workload::Workload;

const GIB: u64 = 1 << 30;

fn runs(name: &str, role: Role, command: &str, seconds: &[f64]) -> Runs {
    let contender = Contender {
        name: name.to_owned(),
        role,
        command: vec![command.to_owned()],
        input: Input::None,
        clock: Clock::Ours,
        around: Default::default(),
        server: None,
        leaves: Leaves::Payload,
    };
    let measured = |wall: &f64| Measured {
        wall_seconds: *wall,
        own_seconds: 0.1,
        kernel_seconds: 0.2,
        server_seconds: 0.0,
        sender_seconds: 0.05,
        machine_seconds: 0.5,
        peak_mib: 10.0 * wall,
        output: String::new(),
    };
    let measured = seconds.iter().map(measured).collect();
    Runs { contender, seconds: seconds.to_vec(), measured }
}

fn report(name: &'static str) -> WorkloadReport {
    WorkloadReport::new(Results {
        workload: Workload::new(name, GIB),
        rate: None,
        runs: vec![
            // The same command as another one, but not the one that is repeated.
            runs("fio replay", Role::Reference, "mtctl", &[1.0, 2.0, 1.0]),
            runs("mtctl apply", Role::Subject, "mtctl", &[1.0, 2.0, 1.25]),
            runs("mtctl apply again", Role::Control, "mtctl", &[1.25, 2.5, 1.0]),
            runs("qemu-img commit", Role::Peer, "qemu-img", &[1.4, 4.0, 1.5]),
        ],
        skipped: Vec::new(),
        wrong: Vec::new(),
    })
}

#[test]
fn ratios_are_within_rounds_and_noise_is_what_the_same_command_does_to_itself() {
    let report = report("mixed-delta");
    let ratio = |index: usize| report.contenders[index].ratio_to_limit.unwrap();
    assert!((report.a_a_gap.unwrap() - 0.2).abs() < 1e-9, "{:?}", report.a_a_gap);
    assert!((ratio(1).median - 1.0).abs() < 1e-9);
    assert!((ratio(1).min - 0.8).abs() < 1e-9);
    assert!((ratio(3).median - 1.0 / 1.5).abs() < 1e-9);
    assert!(!report.contenders[0].within_noise);
    assert!(report.contenders[1].within_noise);
    assert!(!report.contenders[3].within_noise);
}

#[test]
fn what_was_measured_is_judged_and_what_was_not_is_said_to_be_so() {
    let claims = judge(&[report("mixed-delta")], &[]);
    let met = |part: &str| {
        claims.iter().find(|claim| claim.name.contains(part)).map(|claim| claim.met).unwrap()
    };
    assert_eq!(met("mixed delta, speed relative to fio"), Some(true));
    assert!((claims[2].a_a_gap.unwrap() - 0.2).abs() < 1e-9, "{:?}", claims[2]);
    // 1.4, 2.0 and 1.2 times as fast.
    assert_eq!(met("relative to qemu-img commit"), Some(false));
    assert_eq!(met("CPU"), Some(false));
    assert_eq!(met("peak memory"), Some(true));
    assert_eq!(met("random 4K"), None);
    assert!(judge(&[], &[]).iter().all(|claim| claim.met.is_none()));
}

#[test]
fn a_table_fits_into_a_hundred_columns() {
    let report = report("mixed-delta");
    for line in table::contenders(&report).lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(table::contenders(&report).to_string().contains("within noise"));
}

#[test]
fn what_was_held_to_a_rate_is_judged_apart_from_what_was_not() {
    let mut slowed = report("history-mixed");
    slowed.rate = Some(1000);
    let claims = judge(&[slowed.clone()], &[]);
    let measured: Vec<&str> = claims
        .iter()
        .filter(|claim| claim.measured.is_some() && claim.a_a_gap.is_some())
        .map(|claim| claim.name.as_str())
        .collect();
    assert_eq!(measured, ["first touch, the same at 1000 MB/s"]);
}

#[test]
fn the_markdown_has_every_contender_and_a_column_for_a_sender_only_where_there_is_one() {
    let workload = report("mixed-delta");
    let mut unfed = report("random-4k");
    for contender in &mut unfed.contenders {
        contender.sender_cpu_s_per_gib.fill(0.0);
    }
    let mut slowed = report("history-hot");
    slowed.rate = Some(500);
    let machine = Machine { cpus: 2, model: String::new(), kernel: String::new(), memory_mib: 1 };
    let text = markdown(&Report {
        date: "2026-01-02T03:04:05Z".to_owned(),
        machine,
        versions: BTreeMap::new(),
        target_bytes: GIB,
        rounds: 3,
        seconds: 60.0,
        notes: Vec::new(),
        workloads: vec![workload, unfed, slowed],
        limits: Vec::new(),
        must_show: Vec::new(),
    });
    assert_eq!(text.matches("\n| qemu-img commit | ").count(), 2, "{text}");
    assert_eq!(text.matches("sender").count(), 1, "{text}");
    assert!(text.contains("| history-hot | 1.00 (A/A 20 %) |"), "{text}");
}
