//! `mtctl prepare --only retention --yes` with an accident at a chosen point. It is a process of
//! its own so that it can be killed, and runs in the mount namespace of the test case that started
//! it.
//!
//! ```text
//! scripted_prepare DISK ext4|xfs [destroy] [meanwhile SCRIPT] [kill N] [stop N] [cut-mkfs N]
//! ```
//! `meanwhile` runs a shell script between the plan and its execution; `kill` raises SIGKILL at the
//! N-th event (from 0), `stop` reacts to it like Ctrl-C; `cut-mkfs` kills mkfs at its N-th write.
//! Prints every event on a line; exits as mtctl does.

use std::ops::ControlFlow;
use std::process::{Command, ExitCode};

use nix::sys::signal::{Signal, raise};
use provisioning::apply::Event;
use provisioning::filesystem::RetentionFilesystem;
use provisioning::host::{CommandOutput, CommandRunner, Host, Invocation, RealRunner};
use provisioning::prepare::{Preparation, Purpose};
use provisioning::spec::{Desired, DiskName};
use provisioning::step::StepId;
use system::{Error, ErrorKind};

/// Where the accident happens.
#[derive(Default)]
struct Script {
    meanwhile: Option<String>,
    kill_at: Option<usize>,
    stop_at: Option<usize>,
    cut_mkfs_at: Option<usize>,
}

fn main() -> ExitCode {
    let (desired, script) = parse(std::env::args().skip(1));
    let mut host = Host::running();
    if let Some(write) = script.cut_mkfs_at {
        host = host.with_runner(Box::new(CuttingRunner { write }));
    }
    match prepare(&host, desired, &script) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{}", error.chain());
            ExitCode::from(exit_code(&error))
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> (Desired, Script) {
    let disk = arguments.next().expect("a disk");
    let disk = DiskName::parse(&disk).expect("a disk");
    let filesystem = match arguments.next().as_deref() {
        Some("xfs") => RetentionFilesystem::Xfs,
        _ => RetentionFilesystem::Ext4,
    };
    let mut desired = Desired {
        retention_disk: Some(disk.clone()),
        filesystem: Some(filesystem),
        only: [StepId::Retention].into(),
        ..Desired::default()
    };
    let mut script = Script::default();
    while let Some(word) = arguments.next() {
        if word == "destroy" {
            desired.destroy = Some(disk.clone());
            continue;
        }
        let value = arguments.next().expect("a value");
        match word.as_str() {
            "meanwhile" => script.meanwhile = Some(value),
            "kill" => script.kill_at = value.parse().ok(),
            "stop" => script.stop_at = value.parse().ok(),
            "cut-mkfs" => script.cut_mkfs_at = value.parse().ok(),
            _ => unreachable!("{word}"),
        }
    }
    (desired, script)
}

fn prepare(host: &Host, desired: Desired, script: &Script) -> Result<ExitCode, Error> {
    let preparation = Preparation::begin(host, desired, Purpose::Change)?;
    if preparation.plan().is_refused() {
        eprintln!("{:?}", preparation.report_undone());
        return Ok(ExitCode::from(4));
    }
    if let Some(meanwhile) = &script.meanwhile {
        let status = Command::new("sh").args(["-euc", meanwhile]).status();
        assert!(status.is_ok_and(|status| status.success()), "{meanwhile}");
    }
    let mut count = 0;
    let finished = preparation.carry_out(&mut |event| {
        println!("{count} {}", name(event));
        if script.kill_at == Some(count) {
            let _ = raise(Signal::SIGKILL);
        }
        let flow = match script.stop_at == Some(count) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        count += 1;
        flow
    });
    finished.error.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn name(event: &Event<'_>) -> String {
    match event {
        Event::StepStarted(step) => format!("step {step} started"),
        Event::ActionStarted(action) => format!("started: {action}"),
        Event::Reached(place) => format!("reached: {place}"),
        Event::Line(line) => format!("line: {line}"),
        Event::ActionFinished(action) => format!("finished: {action}"),
        Event::StepFinished(report) => format!("step {} finished", report.id),
    }
}

fn exit_code(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::Failed => 1,
        ErrorKind::Usage => 2,
        ErrorKind::NotReady => 3,
        ErrorKind::Refused => 4,
        ErrorKind::Integrity => 5,
    }
}

/// Runs the real programs, but kills mkfs when it is about to do its N-th write (from 1).
struct CuttingRunner {
    write: usize,
}

impl CommandRunner for CuttingRunner {
    fn run(
        &self,
        invocation: &Invocation,
        watch: &mut dyn FnMut(&str),
    ) -> system::Result<CommandOutput> {
        if !invocation.program.starts_with("mkfs.") {
            return RealRunner.run(invocation, watch);
        }
        let inject = format!("inject=pwrite64:signal=SIGKILL:when={}", self.write);
        let traced = Invocation::new("strace")
            .arguments(["-qq", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", &inject])
            .argument(&invocation.program)
            .arguments(&invocation.arguments);
        RealRunner.run(&traced, watch)
    }
}
