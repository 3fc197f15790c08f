//! Killed or stopped at every step, with mkfs cut off at several writes: the same command run
//! again, without --destroy if that content's destruction was already under way, reaches the same
//! result.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Stdio};

use mt_tests::content::Content;
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{Run, run, shell};
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use mt_tests::skip::has_program;

use crate::{converges, scripted, untouched};

/// A disk as the accident finds it.
#[derive(Clone, Copy, Debug)]
struct Case {
    filesystem: &'static str,
    content: Option<Content>,
}

const CASES: [Case; 3] = [
    Case { filesystem: "ext4", content: None },
    Case { filesystem: "ext4", content: Some(Content::Ext4) },
    Case { filesystem: "xfs", content: Some(Content::Gpt) },
];

impl Case {
    fn disk(self, machine: &ScratchMachine) -> LoopDevice {
        let disk = machine.disk("disk", if self.filesystem == "xfs" { 304 } else { 64 });
        if let Some(content) = self.content {
            content.put_on(&disk);
        }
        disk
    }

    /// The first run, with an accident at `place`.
    fn run(self, disk: &LoopDevice, accident: &str, place: usize) -> Run {
        let place = place.to_string();
        let destroy: &[&str] = if self.content.is_some() { &["destroy"] } else { &[] };
        scripted(disk.path(), self.filesystem, &[destroy, &[accident, &place]].concat())
    }
}

/// Runs `check` on a machine after an accident at each event of a complete run.
fn at_each_event(
    case: Case,
    accident: &str,
    check: impl Fn(&ScratchMachine, &LoopDevice, &Run) + Sync,
) {
    let mut events = 0;
    let mut place = 0;
    loop {
        let mut is_past_the_end = false;
        let mut reached = 0;
        on_a_scratch_machine(|machine| {
            let disk = case.disk(machine);
            let first = case.run(&disk, accident, place);
            reached = first.stdout.lines().count();
            is_past_the_end = first.code == Some(0);
            check(machine, &disk, &first);
        });
        if is_past_the_end {
            break;
        }
        events = reached;
        place += 1;
    }
    assert!(place > 8 || !nix::unistd::geteuid().is_root(), "only {place} of {events} events");
}

#[test]
fn killed_at_any_event_it_converges_and_what_was_wiped_is_ours() {
    for case in CASES {
        at_each_event(case, "kill", |machine, disk, first| {
            assert!(matches!(first.code, None | Some(0)), "{first:#?}");
            // Content that still exists may have changed since: its destruction must be requested
            // again.
            let was_wiped = first.stdout.contains("reached: the old signatures are wiped");
            if !was_wiped && case.content.is_some() {
                let again = ["--filesystem", case.filesystem, "--destroy", disk.path(), "--yes"];
                machine.prepare(disk.path(), &["--yes"]).exits(4).says("is not blank");
                machine.prepare(disk.path(), &again).exits(0);
            }
            converges(machine, disk, case.filesystem);
        });
    }
}

#[test]
fn stopped_by_ctrl_c_at_any_event_it_says_so_and_converges() {
    let case = CASES[1];
    at_each_event(case, "stop", |machine, disk, first| {
        if first.code != Some(0) {
            first.exits(1).says("interrupted");
        }
        let again = ["--destroy", disk.path(), "--yes"];
        machine.prepare(disk.path(), &again).exits(0);
        converges(machine, disk, case.filesystem);
    });
}

#[test]
fn a_mkfs_that_is_killed_between_two_writes_is_redone_without_destroy() {
    if !has_program("strace") {
        return;
    }
    for case in CASES {
        let mut cut = 0;
        for write in [1, 2, 3, 5, 8, 13, 21, 34] {
            on_a_scratch_machine(|machine| {
                let disk = case.disk(machine);
                let first = case.run(&disk, "cut-mkfs", write);
                if first.code == Some(0) {
                    return;
                }
                cut += 1;
                first.exits(1).says("mkfs").says("status signal");
                // What it left may look like anything, but is known to be ours nevertheless.
                machine.prepare(disk.path(), &["--dry-run"]).exits(3);
                converges(machine, &disk, case.filesystem);
                run("umount", &["/mnt/retention"]);
                match case.filesystem {
                    "xfs" => drop(run("xfs_repair", &["-n", disk.path()])),
                    _ => drop(run("e2fsck", &["-f", "-n", disk.path()])),
                }
            });
        }
        assert!(cut > 2 || !nix::unistd::geteuid().is_root(), "{case:?}: {cut} times only");
    }
}

/// The event after which the intent is on disk.
const INTENT_RECORDED: &str = "reached: the intent is recorded";

/// The number of the event with the line `what`.
fn place_of(machine: &ScratchMachine, what: &str) -> usize {
    let probe = machine.disk("probe", 64);
    Content::Ext4.put_on(&probe);
    let whole = scripted(probe.path(), "ext4", &["destroy"]);
    run("umount", &["/mnt/retention"]);
    shell("rm /var/lib/mtctl/*; sed -i '/x-mtctl/d' /etc/fstab");
    whole.exits(0);
    whole.stdout.lines().position(|line| line.ends_with(what)).unwrap()
}

#[test]
fn a_foreign_filesystem_made_after_the_crash_is_refused() {
    let kinds = [Content::Ext4, Content::Btrfs, Content::Vfat, Content::Swap, Content::Lvm];
    for foreign in kinds.into_iter().chain([Content::Raid, Content::Gpt, Content::Mbr]) {
        on_a_scratch_machine(|machine| {
            let place = place_of(machine, INTENT_RECORDED);
            let disk = machine.disk("disk", 128);
            let case = CASES[0];
            assert_eq!(case.run(&disk, "kill", place).code, None);
            foreign.put_on(&disk);
            let before = disk.sha256();
            machine.prepare(disk.path(), &["--yes"]).exits(4).says(foreign.said());
            untouched(machine, &disk, &before);
        });
    }
}

#[test]
fn another_content_than_the_one_agreed_to_is_refused_after_the_crash() {
    for (agreed, put) in [
        (Content::Ext4, "mkfs.ext4 -q -F"),
        (Content::Gpt, "sgdisk --clear --new 1:4096:+20M"),
        (Content::Mbr, "wipefs -qa"),
    ] {
        on_a_scratch_machine(|machine| {
            let place = place_of(machine, INTENT_RECORDED);
            let disk = machine.disk("disk", 64);
            agreed.put_on(&disk);
            let case = Case { filesystem: "ext4", content: Some(agreed) };
            assert_eq!(case.run(&disk, "kill", place).code, None);
            shell(&format!("{put} {}", disk.path()));
            if agreed == Content::Mbr {
                Content::Mbr.put_on(&disk);
            }
            let before = disk.sha256();
            machine.prepare(disk.path(), &["--yes"]).exits(4).says(agreed.said());
            untouched(machine, &disk, &before);
        });
    }
}

#[test]
fn the_intent_for_one_disk_says_nothing_of_another_under_its_name() {
    on_a_scratch_machine(|machine| {
        let place = place_of(machine, INTENT_RECORDED);
        let case = CASES[1];
        let disk = case.disk(machine);
        assert_eq!(case.run(&disk, "kill", place).code, None);
        let path = disk.path().to_owned();
        drop(disk);
        let other = machine.disk("other", 64);
        assert_eq!(other.path(), path, "the kernel gives the lowest free number");
        Content::ByteAtTheBeginning.put_on(&other);
        let before = other.sha256();
        machine.prepare(&path, &["--yes"]).exits(4).says("unknown-content");
        untouched(machine, &other, &before);
    });
}

#[test]
fn a_mkfs_that_outlives_its_mtctl_keeps_the_disk_to_itself() {
    if !has_program("strace") {
        return;
    }
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        let slow = SlowMkfs::start(&disk);
        machine.prepare(disk.path(), &["--yes"]).exits(4);
        assert_eq!(machine.mounted_at("/mnt/retention"), None);
        drop(slow);
    });
}

/// A mkfs that hangs while it holds the disk, as a slow one would; killed on drop.
struct SlowMkfs {
    tracer: Child,
    /// Open for as long as the tracer runs, which would end with it.
    trace: BufReader<ChildStderr>,
}

impl SlowMkfs {
    fn start(disk: &LoopDevice) -> Self {
        let inject = "inject=pwrite64:delay_enter=600s:when=3";
        let trace = ["-qq", "-e", "trace=pwrite64", "-e", inject];
        let mut strace = mt_tests::program::command("strace", &trace);
        strace.args(["mkfs.ext4", "-q", disk.path()]).stdout(Stdio::null());
        let mut tracer = strace.stderr(Stdio::piped()).spawn().unwrap();
        let trace = BufReader::new(tracer.stderr.take().unwrap());
        let mut slow = Self { tracer, trace };
        // Once it has written, it has opened the disk. Trying to open it here would be in mkfs's
        // way.
        let mut first = String::new();
        slow.trace.read_line(&mut first).unwrap();
        assert!(first.starts_with("pwrite64("), "{first}");
        slow
    }
}

impl Drop for SlowMkfs {
    /// mkfs first, because it would continue without its tracer.
    fn drop(&mut self) {
        let tracer = self.tracer.id();
        let children = std::fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children"));
        for child in children.unwrap_or_default().split_whitespace() {
            let process = nix::unistd::Pid::from_raw(child.parse().unwrap());
            let _ = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.tracer.kill();
        let _ = self.tracer.wait();
    }
}
