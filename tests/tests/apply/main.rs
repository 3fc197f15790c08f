//! `mtctl apply` as its users run it, on real loop devices and image files, each case on a machine
//! of its own: what it writes, what it refuses, and how it continues after accidents.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

mod deltas;
mod engines;
mod failures;
mod filesystems;
mod integrity;
mod lineage;
mod memory;
mod output;
mod refusals;
mod resume;

use std::fs::{self, File};
use std::path::Path;

use mt_tests::change_stream::Change;
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::Run;
use mt_tests::scratch_machine::ScratchMachine;

const MIB: u64 = 1 << 20;

/// Runs `mtctl apply`.
#[track_caller]
fn apply(machine: &ScratchMachine, arguments: &[&str]) -> Run {
    machine.mtctl(&[&["apply"], arguments].concat())
}

/// Creates a file with these bytes on the machine, and returns its path.
fn file(machine: &ScratchMachine, name: &str, bytes: &[u8]) -> String {
    let path = machine.file(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Creates an image file of `bytes`, all zeros.
fn image(machine: &ScratchMachine, name: &str, bytes: u64) -> String {
    let path = machine.file(name);
    File::create(&path).unwrap().set_len(bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A disk that holds `bytes`, with sectors of `sector` bytes.
fn disk(machine: &ScratchMachine, name: &str, bytes: &[u8], sector: &str) -> LoopDevice {
    let path = machine.file(name);
    fs::write(&path, bytes).unwrap();
    LoopDevice::attach(&["--direct-io=on", "--sector-size", sector], &path)
}

/// The contents of `image` after `changes`.
fn after(image: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut image = image.to_vec();
    changes.iter().for_each(|change| change.apply(&mut image));
    image
}

/// Asserts that the file holds `expected`, and names the first difference.
#[track_caller]
fn holds(file: impl AsRef<Path>, expected: &[u8]) {
    let found = fs::read(file).unwrap();
    assert_eq!(found.len(), expected.len(), "the length");
    let first = found.iter().zip(expected).position(|(one, other)| one != other);
    assert_eq!(first, None, "the first byte that differs");
}

/// The contents of the file `state` of `group`.
#[track_caller]
fn state(group: &str) -> serde_json::Value {
    let text = fs::read_to_string(state_path(group)).unwrap();
    serde_json::to_value(blockio::journal::state_text::parse(&text).unwrap()).unwrap()
}

fn state_path(group: &str) -> String {
    format!("/var/lib/mtctl/groups/{group}/state")
}
