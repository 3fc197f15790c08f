//! Retention as its users have it, on real loop devices: recovery points, rollbacks, commits, and
//! what is left after accidents. Each case has a machine of its own, with a retention volume.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

mod accidents;
mod alarms;
mod bounds;
mod exports;
mod filesystems;
mod group_directories;
mod groups;
mod growth;
mod history;
mod identities;
mod kills;
mod looking;
mod mounts;
mod own_places;
mod points;
mod put_back;
mod retargets;
mod rollbacks;
mod states;
mod thinning;
mod volumes;
mod whereabouts;

use std::fs::{self, File};
use std::path::Path;

use blockio::stream::native::{self, EncoderOptions};
use blockio::stream::{
    Format, Mark, MarkKind, Name, StreamHeader, Timestamp, VolumeHeader, VolumeIndex,
};
use mt_tests::change_stream::{Become, Change};
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::Run;
use mt_tests::scratch_machine::ScratchMachine;
use mt_tests::second_opinion::{self, Expected};

const MIB: u64 = 1 << 20;

/// A machine's retention volume, mounted at its default place.
fn retention(machine: &ScratchMachine, mib: u64) -> LoopDevice {
    machine.retention(mib)
}

/// Creates an image file with these bytes, and returns its path.
fn image(machine: &ScratchMachine, name: &str, bytes: &[u8]) -> String {
    let path = machine.file(name);
    fs::write(&path, bytes).unwrap();
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

/// A part of a stream.
enum Part<'a> {
    /// A change of a volume, given by its index in the header.
    Change(u16, &'a Change),
    /// A mark: kind and name.
    Mark(MarkKind, &'a str),
}

/// A native stream of `volumes`.
fn stream(
    machine: &ScratchMachine,
    name: &str,
    volumes: Vec<VolumeHeader>,
    parts: &[Part],
) -> String {
    let mut bytes = Vec::new();
    let header =
        StreamHeader { format: Format::Native, is_in_write_order: true, identity: None, volumes };
    let options = EncoderOptions { batch_bytes: 64 << 10, ..EncoderOptions::default() };
    let mut encoder = native::Encoder::new(&mut bytes, &header, options).unwrap();
    let mut time = 1_700_000_000_000_000_000;
    for part in parts {
        match part {
            Part::Change(volume, change) => {
                change.encode(&mut encoder, VolumeIndex(*volume));
            }
            Part::Mark(kind, name) => {
                time += 1_000_000_000;
                let name = (!name.is_empty()).then(|| Name::new(name.as_bytes()).unwrap());
                let time = Timestamp(time);
                encoder.mark(&Mark { time, kind: *kind, name, group: None }).unwrap();
            }
        }
    }
    encoder.finish(true).unwrap();
    let path = machine.file(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A native stream of one of `volumes`: changes, followed by a mark at the given second.
fn timed(
    machine: &ScratchMachine,
    name: &str,
    volumes: Vec<VolumeHeader>,
    parts: &[(u64, Vec<Change>)],
) -> String {
    let mut bytes = Vec::new();
    let header =
        StreamHeader { format: Format::Native, is_in_write_order: true, identity: None, volumes };
    let mut encoder = native::Encoder::new(&mut bytes, &header, EncoderOptions::default()).unwrap();
    for (seconds, changes) in parts {
        for change in changes {
            let Become::Data(bytes) = &change.becomes else { panic!("{change:?}") };
            encoder.data(VolumeIndex(0), change.extent().start(), bytes).unwrap();
        }
        let time = Timestamp((1_700_000_000 + seconds) * 1_000_000_000);
        let kind = MarkKind::CrashConsistent;
        encoder.mark(&Mark { time, kind, name: None, group: None }).unwrap();
    }
    encoder.finish(true).unwrap();
    image(machine, name, &bytes)
}

/// Asserts that the file holds `expected`, and names the first difference.
#[track_caller]
fn holds(file: impl AsRef<Path>, expected: &[u8]) {
    let found = fs::read(file).unwrap();
    assert_eq!(found.len(), expected.len(), "the length");
    let first = found.iter().zip(expected).position(|(one, other)| one != other);
    assert_eq!(first, None, "the first byte that differs");
}

/// The points of group g, as JSON.
#[track_caller]
fn points(machine: &ScratchMachine) -> Vec<serde_json::Value> {
    let listed = machine.mtctl(&["points", "list", "--group", "g", "--json"]);
    listed.exits(0).json()["points"].as_array().unwrap().clone()
}

/// Rolls group g back. If that succeeds, asserts that its targets hold what the journal says
/// according to its document.
#[track_caller]
fn rollback(machine: &ScratchMachine, to: &str) -> Run {
    let expected = second_opinion::of_rollback(Path::new("/mnt/retention/g"), to);
    let run = machine.mtctl(&["rollback", "--group", "g", "--to", to, "--yes"]);
    if run.code == Some(0) {
        expected.unwrap().iter().for_each(Expected::is_there);
    }
    run
}

/// Creates an image of `bytes`, all zeros.
fn blank(machine: &ScratchMachine, name: &str, bytes: u64) -> String {
    let path = machine.file(name);
    File::create(&path).unwrap().set_len(bytes).unwrap();
    path.to_str().unwrap().to_owned()
}
