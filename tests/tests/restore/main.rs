//! Recovery points restored elsewhere, on real loop devices and files: every byte, while streams
//! are still being applied; refusals; and what is left after a kill, a full disk, or a refusal by
//! the operator.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

mod accidents;
mod formats;
mod guards;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use blockio::stream::native::{Encoder, EncoderOptions};
use blockio::stream::{Format, Mark, MarkKind, Name, StreamHeader, Timestamp, VolumeIndex};
use mt_tests::change_stream::{Change, random_changes, volume};
use mt_tests::loop_device::LoopDevice;
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

const MIB: u64 = 1 << 20;
/// Sizes of both volumes; the second has the odd end of an image file.
const SIZES: [u64; 2] = [24 * MIB, 3 * MIB + 512];

/// A machine with a group g with the volumes db (a disk) and log (an image file), at the point
/// "one".
struct Group<'a> {
    machine: &'a ScratchMachine,
    _retention: LoopDevice,
    db: LoopDevice,
    log: String,
    random: Random,
    streams: u64,
    /// The current contents of the volumes.
    now: [Vec<u8>; 2],
}

impl<'a> Group<'a> {
    fn new(machine: &'a ScratchMachine) -> Self {
        let _retention = machine.retention(512);
        let mut random = Random::new(15);
        let now = SIZES.map(|size| {
            let mut bytes = random.bytes(size as usize);
            // Zeros that need not be written.
            bytes[(MIB as usize)..(2 * MIB as usize)].fill(0);
            bytes
        });
        for (name, bytes) in ["db.img", "log.img"].iter().zip(&now) {
            fs::write(machine.file(name), bytes).unwrap();
        }
        let db = LoopDevice::attach(&["--direct-io=on"], &machine.file("db.img"));
        let log = machine.file("log.img").to_str().unwrap().to_owned();
        let mut group = Self { machine, _retention, db, log, random, streams: 0, now };
        group.apply("one");
        group
    }

    /// Applies a stream of random changes that ends with the mark `name`.
    fn apply(&mut self, name: &str) {
        let stream = self.stream(name);
        let (db, log) = (format!("db={}", self.db.path()), format!("log={}", self.log));
        let apply = ["apply", &stream, "--group", "g", "--map", &db, "--map", &log];
        self.machine.mtctl(&apply).exits(0);
        fs::remove_file(stream).unwrap();
    }

    fn stream(&mut self, name: &str) -> String {
        let from = if self.streams == 0 { String::new() } else { format!("v{}", self.streams) };
        self.streams += 1;
        let to = format!("v{}", self.streams);
        let volumes = ["db", "log"].iter().zip(SIZES);
        let volumes = volumes.map(|(name, size)| volume(name, size, &from, &to)).collect();
        let (format, is_in_write_order) = (Format::Native, true);
        let header = StreamHeader { format, is_in_write_order, identity: None, volumes };
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, &header, EncoderOptions::default()).unwrap();
        for (index, size) in SIZES.iter().enumerate() {
            for change in random_changes(&mut self.random, *size, 12) {
                change.encode(&mut encoder, VolumeIndex(index as u16));
                change.apply(&mut self.now[index]);
            }
        }
        let time = Timestamp((1_700_000_000 + self.streams) * 1_000_000_000);
        let (kind, name) = (MarkKind::CrashConsistent, Name::new(name.as_bytes()));
        encoder.mark(&Mark { time, kind, name, group: None }).unwrap();
        encoder.finish(true).unwrap();
        let path = self.machine.file("stream.mts");
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.machine.file(name).to_str().unwrap().to_owned()
    }

    /// The digest of a volume at a point.
    fn digest(&self, to: &str, volume: &str) -> String {
        let words = ["digest", "--group", "g", "--to", to, "--volume", volume, "--json"];
        let run = self.machine.mtctl(&words);
        run.exits(0).json()["root"].as_str().unwrap().to_owned()
    }
}

/// `mtctl restore --group g --to one`, with additional arguments.
fn restore<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["restore", "--group", "g", "--to", "one"][..], more].concat()
}

/// Asserts that the file at `path` begins with `expected`.
#[track_caller]
fn holds(path: impl AsRef<Path>, expected: &[u8]) {
    let found = fs::read(path).unwrap();
    assert!(found.len() >= expected.len(), "{} of {} bytes", found.len(), expected.len());
    let first = found.iter().zip(expected).position(|(one, other)| one != other);
    assert_eq!(first, None, "the first byte that differs");
}

/// Names of files that a restore left unfinished in `directory`.
fn unfinished(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".mtctl-part.")).collect()
}

#[test]
fn a_point_comes_home_onto_a_disk_and_a_new_file() {
    on_a_scratch_machine(|machine| {
        let mut group = Group::new(machine);
        let at_one = group.now.clone();
        group.apply("two");
        let disk = machine.disk("new-db", 25);
        disk.write(0, &vec![0xEE; 25 << 20]);
        let (db, file) = (format!("db={}", disk.path()), group.path("new-log.img"));
        let log = format!("log={file}");
        let onto = ["--onto", &db, "--onto", &log, "--create", "--yes", "--json"];
        let run = machine.mtctl(&restore(&onto));
        let told = run.exits(0).json();
        holds(disk.file(), &at_one[0]);
        holds(&file, &at_one[1]);
        assert!(fs::read(disk.file()).unwrap()[at_one[0].len()..].iter().all(|b| *b == 0xEE));
        let found = fs::metadata(&file).unwrap();
        assert_eq!(found.len(), SIZES[1]);
        let zeros = told["volumes"][1]["zero_bytes"].as_u64().unwrap();
        let taken = found.blocks() * 512;
        assert!(zeros > 0 && taken <= SIZES[1] - zeros + 8192, "{zeros} zeros, {taken} taken");
        for (index, name) in ["db", "log"].iter().enumerate() {
            let one = &told["volumes"][index];
            assert_eq!(one["volume"], *name, "{told}");
            assert_eq!(one["bytes"], SIZES[index], "{told}");
            assert_eq!(one["digest"], group.digest("one", name), "{told}");
            assert!(one["seconds"].is_f64(), "{told}");
        }
        // The group continues as if nothing had happened.
        holds(group.db.file(), &group.now[0]);
        group.apply("three");
    });
}

#[test]
fn a_point_is_restored_whole_while_streams_are_applied() {
    on_a_scratch_machine(|machine| {
        let mut group = Group::new(machine);
        let at_one = group.now.clone();
        let (file, ended) = (group.path("new-db.img"), AtomicBool::new(false));
        let db = format!("db={file}");
        let restored = std::thread::scope(|scope| {
            let looker = scope.spawn(|| {
                let mut wrong = Vec::new();
                for _ in 0..3 {
                    let _ = fs::remove_file(&file);
                    let run = machine.mtctl(&restore(&["--onto", &db, "--create"]));
                    if run.code != Some(0) || fs::read(&file).unwrap() != at_one[0] {
                        wrong.push(run);
                    }
                }
                ended.store(true, Ordering::Relaxed);
                wrong
            });
            let mut number = 2;
            while !ended.load(Ordering::Relaxed) && !looker.is_finished() {
                group.apply(&format!("m{number}"));
                number += 1;
            }
            looker.join().unwrap()
        });
        assert!(restored.is_empty(), "{restored:#?}");
    });
}

#[test]
fn the_only_volume_needs_no_name() {
    on_a_scratch_machine(|machine| {
        let _retention = machine.retention(64);
        let target = machine.file("target.img");
        fs::write(&target, vec![3; MIB as usize]).unwrap();
        let change = Change::data(4096, vec![7; 4096]);
        let stream = machine.file("stream.mts");
        let bytes = mt_tests::change_stream::native(volume("", MIB, "", ""), &[change]);
        fs::write(&stream, bytes).unwrap();
        let [target, stream] = [&target, &stream].map(|path| path.to_str().unwrap());
        machine.mtctl(&["apply", stream, "--group", "g", "--target", target]).exits(0);
        let (file, words) = (machine.file("home=1.img"), ["restore", "--group", "g", "--to"]);
        let onto = file.to_str().unwrap();
        let more = ["start", "--onto", onto, "--create"];
        machine.mtctl(&[&words[..], &more].concat()).exits(0).says("blake3");
        holds(&file, &vec![3; MIB as usize]);
    });
}
