//! If io_uring is refused, blocking I/O takes over with one warning; an operator who insists on
//! io_uring is told what to do. This is a test program of its own because one test changes a
//! setting of the whole host, and `cargo test` runs test programs one after the other.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

use std::fs::{self, File, OpenOptions};
use std::path::Path;

use mt_tests::program::{Run, command, finish};
use mt_tests::skip::skipped;
use nix::fcntl::{Flock, FlockArg};

const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";
const WARNING: &str = "io_uring is not permitted: using blocking I/O";

/// Both tests open devices, which must not happen while the host's setting is changed.
fn take_turn() -> Flock<File> {
    let path = std::env::temp_dir().join("mtctl-test-io-uring.lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap();
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap()
}

fn image() -> tempfile::NamedTempFile {
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(4096).unwrap();
    image
}

fn open_device(wrapper: &[&str], engine: &str, image: &Path) -> Run {
    let words: Vec<&str> = wrapper
        .iter()
        .copied()
        .chain([env!("CARGO_BIN_EXE_open_device"), engine, image.to_str().unwrap()])
        .collect();
    finish(&mut command(words[0], &words[1..]))
}

/// What must hold under every refusal, whatever its cause.
fn falls_back(wrapper: &[&str]) {
    let image = image();
    let run = open_device(wrapper, "auto", image.path());
    run.exits(0);
    assert_eq!(run.stdout, "blocking\nblocking\n");
    assert_eq!(run.stderr.matches(WARNING).count(), 1, "{run:#?}");
    assert_eq!(&fs::read(image.path()).unwrap()[..513], [[b'm'; 512].as_slice(), &[0]].concat());

    let run = open_device(wrapper, "uring", image.path());
    run.exits(1).says("setting up io_uring: ").says("remedy: Some(Disk(AllowRing))");
    assert_eq!(run.stdout, "");

    let run = open_device(wrapper, "blocking", image.path());
    run.exits(0).does_not_say(WARNING);
}

#[test]
fn io_uring_is_used_where_it_is_allowed_and_nothing_is_said() {
    let _turn = take_turn();
    if fs::read_to_string(SYSCTL).is_ok_and(|text| text.trim() != "0") {
        return skipped("io_uring is disabled on this host");
    }
    let image = image();
    for engine in ["auto", "uring"] {
        let run = open_device(&[], engine, image.path());
        run.exits(0).does_not_say(WARNING);
        assert_eq!(run.stdout, "io_uring\nio_uring\n");
    }
}

#[test]
fn a_seccomp_filter_that_refuses_io_uring_means_blocking_io_with_one_warning() {
    let _turn = take_turn();
    for errno in ["EPERM", "ENOSYS"] {
        falls_back(&[env!("CARGO_BIN_EXE_refuse_io_uring"), errno]);
    }
}

/// Restores the host's setting, whatever happens.
struct Disabled(String);

impl Disabled {
    fn set() -> Option<Self> {
        let before = fs::read_to_string(SYSCTL).ok()?;
        let guard = Self(before);
        fs::write(SYSCTL, "2").ok()?;
        Some(guard)
    }
}

impl Drop for Disabled {
    fn drop(&mut self) {
        let _ = fs::write(SYSCTL, &self.0);
    }
}

#[test]
fn the_sysctl_that_disables_io_uring_means_blocking_io_with_one_warning() {
    let _turn = take_turn();
    let Some(disabled) = Disabled::set() else {
        return skipped("kernel.io_uring_disabled is not there, or not to be written");
    };
    falls_back(&[]);
    let before = disabled.0.clone();
    drop(disabled);
    assert_eq!(fs::read_to_string(SYSCTL).unwrap(), before);
}
