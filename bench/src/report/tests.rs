//! Tests of the values computed from runs, with invented runs.

use crate::contender::{Clock, Contender, Leaves, Role};
use crate::measure::{Input, Measured};
use crate::report::claims::judge;
use crate::report::{WorkloadReport, table};
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
        leaves: Leaves::Payload,
    };
    let measured = |wall: &f64| Measured {
        wall_seconds: *wall,
        own_seconds: 0.1,
        kernel_seconds: 0.2,
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
        runs: vec![
            runs("fio replay", Role::Reference, "fio", &[1.0, 2.0, 1.0]),
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
    // 1.4, 2.0 and 1.2 times as fast.
    assert_eq!(met("relative to qemu-img commit"), Some(false));
    assert_eq!(met("CPU"), Some(true));
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
