//! The demo as a whole: it ends well, it fails when something is not as expected, and it leaves
//! nothing behind, however it ends.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mtctl-demo");
/// The kernel takes a namespace down when the last process in it has ended.
const CLEANUP_TIME_MAX: Duration = Duration::from_secs(60);

/// Whether this process may make mount namespaces and loop devices; a skip is counted.
fn can_run(test: &str) -> bool {
    let can = Command::new("unshare").args(["--mount", "test", "-w", "/dev/loop-control"]).status();
    let can = can.is_ok_and(|status| status.success());
    if can {
        // It has to be beside the demo.
        mt_tests::program::mtctl();
    } else {
        mt_tests::skip::record(test, "no root, or no loop devices").unwrap();
    }
    can
}

/// What the demo must not change.
fn fstab() -> String {
    fs::read_to_string("/etc/fstab").unwrap_or_default()
}

/// Loop devices and mounts of the demo that ran as process `id`.
fn left_behind(id: u32) -> Vec<String> {
    let name = format!("mtctl-demo-{id}/");
    let mut left = Vec::new();
    for entry in fs::read_dir("/sys/devices/virtual/block").unwrap() {
        let path = entry.unwrap().path().join("loop/backing_file");
        let backing = fs::read_to_string(&path).unwrap_or_default();
        if backing.contains(&name) {
            left.push(format!("{}: {backing}", path.display()));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    left.extend(mounts.lines().filter(|line| line.contains("mtctl-demo")).map(str::to_owned));
    left
}

/// Waits for the kernel: what a killed process had is taken away after it is gone.
fn leaves_nothing(id: u32) {
    let begun = Instant::now();
    loop {
        let left = left_behind(id);
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < CLEANUP_TIME_MAX, "left behind: {left:?}");
        std::thread::yield_now();
    }
}

fn start() -> Child {
    let mut command = Command::new(PROGRAM);
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Reads up to the line that begins with `text`.
fn read_to(out: &mut impl BufRead, text: &str) {
    let mut line = String::new();
    while !line.starts_with(text) {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "no line begins with {text}");
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_demo_ends_well_and_leaves_nothing_behind() {
    if !can_run("demo: ends well") {
        return;
    }
    let before = fstab();
    let child = start();
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    // At once: it waited itself.
    assert_eq!(left_behind(id), Vec::<String>::new());
    assert_eq!(fstab(), before);
    let text = String::from_utf8(output.stdout).unwrap();
    // Disks that are not blank, or in use; and a damaged stream.
    for (code, count) in [(4, 3), (5, 1)] {
        assert_eq!(text.matches(&format!("[exit code {code}]")).count(), count, "{text}");
    }
    assert!(text.contains("\n14. Back\n") && !text.contains('\x1b'), "{text}");
}

/// What `prepare` leaves on a host, and an administrator: none of it is the demo's.
const PREPARED: &str = "\
set -e
mount -t tmpfs none /mnt; mkdir /mnt/retention; mount -t tmpfs none /mnt/retention
mkdir /mnt/retention/web; mount -t tmpfs none /mnt/retention/web
mkdir /mnt/etc; cp -a /etc/. /mnt/etc; mount --bind /mnt/etc /etc
mkdir -p /etc/mtctl /etc/udev/rules.d
echo 'retention_mount = \"/mnt/elsewhere\"' > /etc/mtctl/mtctl.toml
echo 'UUID=0-1 /mnt/retention ext4 defaults,nofail,x-mtctl 0 2' >> /etc/fstab
echo '# Written by mtctl: changes here are lost.' > /etc/udev/rules.d/62-mtctl-retention.rules
printf 'defaults {\n find_multipaths no\n}\n' > /etc/multipath.conf
export MTCTL_RETENTION_MOUNT=/mnt/elsewhere
exec \"$@\"";

#[test]
fn it_ends_well_on_a_host_that_is_prepared() {
    if !can_run("demo: prepared host") {
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", PREPARED, "sh"]);
    let output = command.args([PROGRAM]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn it_leaves_nothing_behind_when_it_is_interrupted() {
    if !can_run("demo: interrupted") {
        return;
    }
    let before = fstab();
    for (signal, chapter) in [
        (Signal::SIGINT, "3. "),
        (Signal::SIGTERM, "7. "),
        (Signal::SIGKILL, "5. "),
        (Signal::SIGKILL, "7. "),
        (Signal::SIGINT, "10. "),
        (Signal::SIGKILL, "10. "),
    ] {
        let mut child = start();
        let id = child.id();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        read_to(&mut out, chapter);
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
        out.read_to_end(&mut Vec::new()).unwrap();
        let output = child.wait_with_output().unwrap();
        if signal == Signal::SIGKILL {
            assert_eq!(output.status.signal(), Some(Signal::SIGKILL as i32));
        } else {
            assert_eq!(output.status.code(), Some(1), "{signal} in chapter {chapter}");
            assert!(said(&output).contains("interrupted"), "{}", said(&output));
            assert_eq!(left_behind(id), Vec::<String>::new(), "{signal} in chapter {chapter}");
        }
        leaves_nothing(id);
    }
    assert_eq!(fstab(), before);
}

#[test]
fn it_leaves_nothing_behind_when_nobody_listens_any_more() {
    if !can_run("demo: closed stdout") {
        return;
    }
    let before = fstab();
    for chapter in ["1. ", "5. ", "10. "] {
        let mut child = start();
        let id = child.id();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        read_to(&mut out, chapter);
        drop(out);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(said(&output), "");
        assert_eq!(left_behind(id), Vec::<String>::new());
    }
    assert_eq!(fstab(), before);
}

/// The demo is a check: here the program that makes checksums is one that makes none.
#[test]
fn it_fails_when_something_is_not_as_expected() {
    if !can_run("demo: fails") {
        return;
    }
    let script = "mount --bind \"/bin/true\" \"$(command -v sha256sum)\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    let output = command.args([PROGRAM]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("in chapter"), "{}", said(&output));
}

#[test]
fn without_root_it_is_refused_and_says_what_to_do() {
    if !can_run("demo: without root") {
        return;
    }
    // Where it was built may be nobody else's to read.
    let folder = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), mode).unwrap();
    let program = folder.path().join("mtctl-demo");
    fs::copy(PROGRAM, &program).unwrap();
    fs::copy(mt_tests::program::mtctl(), folder.path().join("mtctl")).unwrap();
    let output = Command::new(&program).uid(65534).gid(65534).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("hint: run it as root: make demo"), "{}", said(&output));
}

#[test]
fn it_fits_a_terminal_of_eighty_columns() {
    if !can_run("demo: eighty columns") {
        return;
    }
    let text = on_a_terminal(80);
    assert!(text.contains("\x1b[1m"), "no colours on a terminal:\n{text}");
    let mut is_command = false;
    for line in plain(&text).lines() {
        is_command = line.starts_with("  $ ") || (is_command && line.starts_with("        "));
        // A row of fstab has its length, and so have commands.
        let may_be_long = is_command || line.trim_start().starts_with(['+', '-']);
        assert!(may_be_long || line.chars().count() <= 80, "{line}");
    }
}

/// What it prints on a terminal of this width, without a controlling terminal to ask instead.
fn on_a_terminal(columns: u16) -> String {
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
    let mut command = Command::new("setsid");
    command.args([PROGRAM]).env("TERM", "xterm").env_remove("NO_COLOR");
    command.env_remove("COLUMNS").stdin(Stdio::null());
    let mut child = command.stdout(slave).spawn().unwrap();
    // It has the slave.
    drop(command);
    let mut bytes = Vec::new();
    // EIO is how a terminal ends.
    let _ = fs::File::from(master).read_to_end(&mut bytes);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    String::from_utf8(bytes).unwrap()
}

fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default();
    let rest = parts.map(|part| part.split_once('m').map_or("", |(_, rest)| rest));
    [first].into_iter().chain(rest).collect()
}
