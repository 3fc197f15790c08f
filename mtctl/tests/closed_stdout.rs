//! What becomes of a verb whose stdout has no reader: its exit code is its own.

#![allow(clippy::unwrap_used, reason = "every function here belongs to a test")]

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs mtctl with a stdout that nobody reads.
fn exit_code(arguments: &[&str], host: &str) -> Option<i32> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/hosts").join(host);
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_mtctl"));
    command.args(arguments).arg("--recorded").arg(file);
    command
        .stdin(Stdio::null())
        .stdout(OwnedFd::from(writer))
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .code()
}

#[test]
fn the_exit_code_is_the_verbs_own() {
    let rows: [(&[&str], &str, i32); 5] = [
        (&["disks"], "debian-12.json", 0),
        (&["check"], "debian-12.json", 3),
        (&["check", "--json"], "debian-12.json", 3),
        (&["prepare", "--dry-run"], "debian-12.json", 3),
        (&["prepare", "--dry-run"], "clones.json", 4),
    ];
    for (arguments, host, expected) in rows {
        assert_eq!(exit_code(arguments, host), Some(expected), "{arguments:?} {host}");
    }
}

#[test]
fn a_root_and_a_record_do_not_go_together() {
    for option in ["--record", "--recorded"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mtctl"));
        let output = command.args(["check", "--root", "/", option, "x.json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{option}");
    }
}
