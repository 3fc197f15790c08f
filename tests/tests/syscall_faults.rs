//! One system call fails, once or from then on, at any point of a short run: nothing that was
//! reported earlier is lost, success is reported only for what is true, and the same command
//! continues afterwards. The contents of points are read by the reader that is based only on the
//! document.
//!
//! By default, a few places of each call are tried; `MTCTL_LONG_TESTS=1` tries all of them, which
//! takes most of an hour. The operations of io_uring are not visible as system calls except for
//! entering it: the writes and flushes that fail are those of `--engine blocking`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use blockio::stream::native::{Encoder, EncoderOptions};
use blockio::stream::{Format, Mark, MarkKind, Name, StreamHeader, Timestamp, VolumeIndex};
use mt_tests::change_stream::{random_changes, volume};
use mt_tests::journal_format::History;
use mt_tests::program::{Run, command, finish, mtctl, shell};
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use mt_tests::skip::{has_program, skipped};

const GROUP: &str = "/mnt/retention/g";
/// Not a whole number of blocks.
const SIZE: u64 = (1 << 20) + 512;
const STREAMS: usize = 3;
const MARKS: usize = 2;
/// Far enough apart that there is something to thin in the third stream.
const APART_SECONDS: u64 = 5 * 3600;
/// The number of places of each call, unless all are tried.
const PLACES: usize = 3;

/// A call, its error, and whether what is reported as durable depends on it.
const CALLS: [(&str, &str, bool); 18] = [
    ("fdatasync", "EIO", true),
    ("fsync", "EIO", true),
    ("pwrite64", "EIO", true),
    ("pwritev", "EIO", true),
    ("write", "ENOSPC", false),
    ("pread64", "EIO", false),
    ("read", "EIO", false),
    ("fallocate", "ENOSPC", false),
    ("rename", "EIO", false),
    ("renameat", "EIO", true),
    ("renameat2", "EIO", false),
    ("unlink", "EIO", false),
    ("openat", "EMFILE", false),
    ("ftruncate", "EIO", false),
    ("getdents64", "EIO", false),
    ("clone3", "EAGAIN", false),
    ("flock", "EIO", false),
    ("io_uring_enter", "EIO", false),
];

/// A command to run, and its starting point. The group's engine is that of the first apply.
struct Verb {
    name: &'static str,
    /// How many streams were applied before.
    applied: usize,
    words: &'static [&'static str],
    /// The mark at which the disks are afterwards.
    at: &'static str,
}

const VERBS: [Verb; 10] = [
    Verb { name: "the first apply", applied: 0, words: &["apply", "stream-0"], at: "s0m2" },
    Verb {
        name: "the first apply, through io_uring",
        applied: 0,
        words: &["apply", "stream-0", "--engine", "uring"],
        at: "s0m2",
    },
    Verb { name: "an apply that thins", applied: 2, words: &["apply", "stream-2"], at: "s2m2" },
    Verb {
        name: "a point by hand",
        applied: 1,
        words: &["points", "create", "--name", "by-hand"],
        at: "s0m2",
    },
    Verb {
        name: "a rollback",
        applied: 2,
        words: &["rollback", "--to", "s0m1", "--yes"],
        at: "s0m1",
    },
    Verb { name: "a commit", applied: 2, words: &["commit", "--yes"], at: "s1m2" },
    Verb { name: "a digest", applied: 2, words: &["digest", "--to", "s0m1"], at: "s1m2" },
    Verb { name: "an export", applied: 2, words: &["export", "--to", "s0m1"], at: "s1m2" },
    Verb { name: "a restore", applied: 2, words: &["restore", "--to", "s0m1"], at: "s1m2" },
    Verb { name: "a list of points", applied: 2, words: &["points", "list", "--json"], at: "s1m2" },
];

struct Rig<'a> {
    machine: &'a ScratchMachine,
    target: PathBuf,
    /// The contents of the volume at each mark.
    held: BTreeMap<String, Vec<u8>>,
}

impl<'a> Rig<'a> {
    fn new(machine: &'a ScratchMachine) -> Self {
        let mut random = Random::new(7);
        let target = machine.file("target.img");
        let mut now = random.bytes(SIZE as usize);
        fs::write(&target, &now).unwrap();
        let mut held = BTreeMap::from([("start".to_owned(), now.clone())]);
        for stream in 0..STREAMS {
            let from = if stream == 0 { String::new() } else { format!("v{}", stream - 1) };
            let volumes = vec![volume("", SIZE, &from, &format!("v{stream}"))];
            let format = Format::Native;
            let header = StreamHeader { format, is_in_write_order: true, identity: None, volumes };
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(&mut bytes, &header, EncoderOptions::default()).unwrap();
            for mark in 1..=MARKS {
                for change in random_changes(&mut random, SIZE, 4) {
                    change.encode(&mut encoder, VolumeIndex(0));
                    change.apply(&mut now);
                }
                let name = format!("s{stream}m{mark}");
                let seconds = 1_700_000_000 + (stream * MARKS + mark) as u64 * APART_SECONDS;
                let (time, kind) = (Timestamp(seconds * 1_000_000_000), MarkKind::CrashConsistent);
                let given = Name::new(name.as_bytes());
                encoder.mark(&Mark { time, kind, name: given, group: None }).unwrap();
                held.insert(name, now.clone());
            }
            encoder.finish(true).unwrap();
            fs::write(machine.file(&format!("stream-{stream}")), bytes).unwrap();
        }
        Self { machine, target, held }
    }

    fn words(&self, verb: &Verb) -> Vec<String> {
        let mut words: Vec<String> = verb.words.iter().map(|word| (*word).to_owned()).collect();
        words.extend(["--group", "g"].map(str::to_owned));
        if verb.words[0] == "apply" {
            words[1] = self.path(verb.words[1]);
            words.extend(["--target".to_owned(), self.target.to_str().unwrap().to_owned()]);
            if verb.applied == 0 && verb.words.len() == 2 {
                words.extend(["--engine", "blocking"].map(str::to_owned));
            }
        }
        if verb.words[0] == "restore" {
            // A file that has its final name is complete, and may be overwritten.
            words.extend(["--create", "--yes", "--onto"].map(str::to_owned));
            words.push(self.path("home.img"));
        }
        words
    }

    fn path(&self, name: &str) -> String {
        self.machine.file(name).to_str().unwrap().to_owned()
    }

    /// Saves the group and its target as they are with `applied` streams applied.
    fn keep(&self, applied: usize) {
        let kept = self.path(&format!("kept-{applied}"));
        let target = self.target.display();
        shell(&format!("mkdir {kept} && cp --sparse=always {target} {kept}/target.img"));
        if Path::new(GROUP).exists() {
            shell(&format!("cp -a --sparse=always {GROUP} {kept}/g"));
        }
    }

    /// Restores both, into the same target file, by which the group identifies it.
    fn put_back(&self, applied: usize) {
        let kept = self.path(&format!("kept-{applied}"));
        let _ = fs::remove_file(self.path("home.img"));
        fs::write(&self.target, fs::read(format!("{kept}/target.img")).unwrap()).unwrap();
        shell(&format!(
            "rm -rf {GROUP}; if [ -d {kept}/g ]; then cp -a --sparse=always {kept}/g {GROUP}; fi"
        ));
    }

    /// Runs `verb` under strace with `options`.
    fn traced(&self, verb: &Verb, options: &[&str]) -> Run {
        let program = mtctl().to_str().unwrap();
        let of_verb = self.words(verb);
        let mut words = vec!["strace", "-f", "-qq"];
        words.extend(options);
        words.push(program);
        words.extend(of_verb.iter().map(String::as_str));
        if verb.words[0] == "export" {
            return self.copied_by_a_client(&words.join(" "));
        }
        finish(&mut command(words[0], &words[1..]))
    }

    /// Runs `server` until a client has copied what it could; returns the client's exit code, or
    /// the server's if that is not one of those it may have.
    fn copied_by_a_client(&self, server: &str) -> Run {
        let (socket, copy) = (self.path("socket"), self.path("copy.img"));
        let script = format!(
            "rm -f {socket} {copy}
            {server} --socket {socket} >&2 & traced=$!
            until [ -S {socket} ] || ! kill -0 $traced 2>/dev/null; do sleep 0.01; done
            timeout 60 nbdcopy 'nbd+unix:///?socket={socket}' {copy}; copied=$?
            pkill -TERM -P $traced || kill -TERM $traced
            wait $traced; served=$?
            [ $served -le 7 ] || exit $served
            [ $copied = 0 ] || exit 1"
        );
        finish(&mut command("sh", &["-c", &script]))
    }

    /// Runs `verb` without strace.
    fn untraced(&self, verb: &Verb) -> Run {
        let words = self.words(verb);
        match verb.words[0] {
            "export" => {
                self.copied_by_a_client(&format!("{} {}", mtctl().display(), words.join(" ")))
            }
            _ => self.machine.mtctl(&words.iter().map(String::as_str).collect::<Vec<_>>()),
        }
    }

    /// For each call, how often the thread that makes it most often does so, and after how many of
    /// these no thread makes one that concerns anything except the log of runs.
    fn calls(&self, verb: &Verb) -> BTreeMap<String, (usize, usize)> {
        self.put_back(verb.applied);
        let trace = self.path("trace");
        let names = CALLS.map(|(call, ..)| call).join(",");
        self.traced(verb, &["-y", "-o", &trace, "-e", &format!("trace={names}")]).exits(0);
        let mut counts = BTreeMap::<(String, String), usize>::new();
        let mut most = BTreeMap::<String, (usize, usize)>::new();
        for line in fs::read_to_string(trace).unwrap().lines() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            let Some((call, on)) = rest.trim_start().split_once('(') else { continue };
            let count = counts.entry((call.to_owned(), thread.to_owned())).or_default();
            *count += 1;
            let (all, others) = most.entry(call.to_owned()).or_default();
            *all = (*all).max(*count);
            let is_of_the_log = on.split_once('>').is_some_and(|(on, _)| on.ends_with("/runs"));
            if !is_of_the_log {
                *others = (*others).max(*count);
            }
        }
        most
    }

    /// The points according to the document, each with its contents.
    fn points(&self) -> BTreeMap<String, Vec<u8>> {
        let Some(history) = History::read(Path::new(GROUP)).unwrap() else {
            return BTreeMap::new();
        };
        let disk = fs::read(&self.target).unwrap();
        let point = |point: mt_tests::journal_format::Point| {
            let name = point.name.unwrap_or_else(|| point.kind.clone());
            let held = history.held("", point.id, disk.clone()).unwrap();
            (name, held)
        };
        history.points().into_iter().map(point).collect()
    }

    /// Asserts that all points have the expected contents; returns their names.
    #[track_caller]
    fn points_hold(&self, verb: &Verb) -> Vec<String> {
        let points = self.points();
        for (name, held) in &points {
            // A manual point is made where the disks are.
            let at = if name == "by-hand" { verb.at } else { name };
            assert!(*held == self.held[at], "{name} holds something else");
        }
        points.into_keys().collect()
    }

    /// Asserts that `verb` has done its work.
    #[track_caller]
    fn is_done(&self, verb: &Verb, run: &Run) {
        let disk = fs::read(&self.target).unwrap();
        assert!(disk == self.held[verb.at], "the disk is not at {}: {run:#?}", verb.at);
        let names = self.points_hold(verb);
        let has = |name: &str| names.iter().any(|known| known == name);
        match verb.name {
            "a point by hand" => assert!(has("by-hand"), "{names:?}"),
            "a commit" => assert!(names.is_empty(), "{names:?}"),
            "a digest" => {
                let expected = blake3::hash(&self.held["s0m1"]).to_hex();
                assert!(run.stdout.starts_with(expected.as_str()), "{run:#?}");
            }
            "an export" => {
                let copy = fs::read(self.path("copy.img")).unwrap();
                assert!(copy == self.held["s0m1"], "what was exported is something else");
            }
            "a restore" => {
                let home = fs::read(self.path("home.img")).unwrap();
                assert!(home == self.held["s0m1"], "what was restored is something else");
            }
            "a list of points" => {
                assert_eq!(run.json()["points"].as_array().unwrap().len(), 4);
            }
            _ => assert!(has(verb.at), "{names:?}"),
        }
    }

    /// Lets `call` fail at `place`, and checks the result.
    fn fails(&self, verb: &Verb, (call, error, is_durable): (&str, &str, bool), place: &str) {
        self.put_back(verb.applied);
        let before = self.points_hold(verb);
        let inject = format!("inject={call}:error={error}:when={place}");
        let options = ["-o", "/dev/null", "-e", &inject];
        let faulty = self.traced(verb, &options);
        let shown = format!("{}, {call} {error} at {place}: {faulty:#?}", verb.name);
        println!("{}, {call} {error} at {place}: {:?}", verb.name, faulty.code);
        // 127: the loader did not find a library. A signal or 101 would be an abort or a panic.
        assert!(matches!(faulty.code, Some(0..=7 | 127)), "{shown}");
        let writes = !["a digest", "an export", "a list of points"].contains(&verb.name);
        if is_durable && writes && place.ends_with('+') {
            assert_ne!(faulty.code, Some(0), "nothing of it was durable: {shown}");
        }
        if faulty.code == Some(0) {
            self.is_done(verb, &faulty);
            return;
        }
        if let Ok(home) = fs::read(self.path("home.img")) {
            assert!(home == self.held["s0m1"], "a file looks whole and is not: {shown}");
        }
        let after = self.points_hold(verb);
        let may_go = ["a commit", "an apply that thins"].contains(&verb.name);
        let is_kept = |name: &String| may_go || after.contains(name);
        assert!(before.iter().all(is_kept), "{before:?}, {after:?}: {shown}");
        // The same command continues.
        let again = self.untraced(verb);
        // It was done before something failed: there is a point of that name, or no history left.
        let was_done = match verb.name {
            "a commit" => after.is_empty(),
            "a point by hand" => after.contains(&"by-hand".to_owned()),
            _ => false,
        };
        if again.code != Some(0) {
            assert!(was_done, "{again:#?}, {shown}");
        } else {
            self.is_done(verb, &again);
        }
    }
}

/// Places of a call that is made `count` times: the first, the last, and some between.
fn places(count: usize) -> Vec<usize> {
    if std::env::var_os("MTCTL_LONG_TESTS").is_some() || count <= PLACES {
        return (1..=count).collect();
    }
    (0..PLACES).map(|place| 1 + place * (count - 1) / (PLACES - 1)).collect()
}

#[test]
fn whichever_call_fails_once_or_for_ever_nothing_told_is_lost_and_the_same_command_leads_on() {
    for program in ["strace", "nbdcopy"] {
        if !has_program(program) {
            return skipped(&format!("{program} makes calls fail, or sees that they did"));
        }
    }
    on_a_scratch_machine(|machine| {
        let _retention = machine.retention(512);
        let rig = Rig::new(machine);
        rig.keep(0);
        for stream in 0..2 {
            let name = format!("stream-{stream}");
            let path = rig.path(&name);
            let target = rig.target.to_str().unwrap();
            let mut words = vec!["apply", &path, "--target", target, "--group", "g"];
            if stream == 0 {
                words.extend(["--engine", "blocking"]);
            }
            machine.mtctl(&words).exits(0);
            rig.keep(stream + 1);
        }
        let mut runs = 0;
        for verb in &VERBS {
            let made = rig.calls(verb);
            println!("{}: {made:?}", verb.name);
            for call in CALLS {
                let (count, of_others) = made.get(call.0).copied().unwrap_or_default();
                for place in places(count) {
                    rig.fails(verb, call, &place.to_string());
                    let (name, error, is_durable) = call;
                    // A failure to record a run is reported, and the run continues.
                    let call = (name, error, is_durable && place <= of_others);
                    rig.fails(verb, call, &format!("{place}+"));
                    runs += 2;
                }
            }
        }
        println!("{runs} runs with a fault");
    });
}
