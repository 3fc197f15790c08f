//! Applies that end early, for any reason: the same command continues, and the final contents of
//! the disk are as if nothing had happened. A group remembers only what was durable.

use std::fs;
use std::io::Write;
use std::process::{Child, ChildStdin, Stdio};

use blockio::stream::rbd_diff::Version;
use mt_tests::change_stream::{Change, native, native_of, random_changes, rbd_diff, svd, volume};
use mt_tests::program::{Run, command, mtctl};
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{MIB, after, apply, disk, file, holds, image, state, state_path};

const SIZE: u64 = 4 * MIB;

/// A running apply; killed on drop.
struct UnderWay {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl UnderWay {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(mtctl(), &[&["apply"], arguments].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        Self { child, stdin }
    }

    /// Sends it `bytes` on its standard input. It may have ended before it read all of them.
    fn feed(&mut self, bytes: &[u8]) {
        let _ = self.stdin.as_mut().unwrap().write_all(bytes);
    }

    /// Waits until the group's only volume was applied up to a byte that `is_far_enough`; false if
    /// the program ended before.
    fn wait_for(&mut self, group: &str, is_far_enough: impl Fn(u64) -> bool) -> bool {
        loop {
            if position(group).is_some_and(&is_far_enough) {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::yield_now();
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Closes its input and waits for its end.
    fn finish(mut self) -> Run {
        drop(self.stdin.take());
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let code = self.child.wait().unwrap().code();
        let [stdout, stderr] = [
            std::io::read_to_string(stdout.unwrap()).unwrap(),
            std::io::read_to_string(stderr.unwrap()).unwrap(),
        ];
        Run { command: "mtctl apply".to_owned(), code, stdout, stderr }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How far the current stream was applied durably, on the volume that is furthest behind.
fn position(group: &str) -> Option<u64> {
    let text = fs::read_to_string(state_path(group)).ok()?;
    let state = blockio::journal::state_text::parse(&text).ok()?;
    let state = serde_json::to_value(state).ok()?;
    let volumes = state["volumes"].as_object()?.values();
    volumes.map(|volume| volume["in_between"]["position"].as_u64()).min().flatten()
}

#[test]
fn kill_at_any_moment_and_the_same_command_goes_on_to_the_same_disks() {
    on_a_scratch_machine(|machine| {
        let mut random = Random::new(11);
        let base = random.bytes(SIZE as usize);
        let changes =
            [random_changes(&mut random, SIZE, 300), random_changes(&mut random, SIZE, 300)];
        let volumes = vec![volume("db", SIZE, "", ""), volume("log", SIZE, "", "")];
        let mixed: Vec<_> =
            changes[0].iter().zip(&changes[1]).flat_map(|(db, log)| [(0, db), (1, log)]).collect();
        let stream = file(machine, "stream", &native_of(volumes, &mixed));
        let length = fs::metadata(&stream).unwrap().len();
        let (db, log) = (disk(machine, "db", &base, "512"), disk(machine, "log", &base, "4096"));
        let maps = [format!("db={}", db.path()), format!("log={}", log.path())];
        let arguments = [&stream, "--map", &maps[0], "--map", &maps[1], "--group", "g", "--json"];
        let mut killed = 0;
        for round in 1..=5 {
            let point = length * round / 8 + random.below(length / 16);
            let mut apply = UnderWay::start(&arguments);
            assert!(apply.wait_for("g", |position| position >= point), "{:?}", apply.finish());
            apply.signal(Signal::SIGKILL);
            killed += u32::from(apply.finish().code.is_none());
        }
        assert!(killed >= 3, "only {killed} of 5 were killed before their end");
        let reached = position("g").unwrap();
        let last = apply(machine, &arguments);
        assert_eq!(last.exits(0).json()["resumed_from"], reached);
        for (disk, changes) in [(&db, &changes[0]), (&log, &changes[1])] {
            disk.sha256();
            holds(disk.file(), &after(&base, changes));
        }
        apply(machine, &arguments[..7]).exits(0).says("nothing to do");
    });
}

#[test]
fn kill_while_a_pipe_is_read_and_the_same_stream_sent_again_gives_the_same_disk() {
    on_a_scratch_machine(|machine| {
        let mut random = Random::new(12);
        let base = random.bytes(SIZE as usize);
        let changes = random_changes(&mut random, SIZE, 120);
        let of = volume("", SIZE, "", "s1");
        let streams = [
            ("native", native(of.clone(), &changes)),
            ("rbd", rbd_diff(Version::V2, &of, &changes)),
        ];
        for (name, stream) in streams {
            let target = disk(machine, name, &base, "512");
            let arguments = ["-", "--target", target.path(), "--group", name, "--json"];
            for _ in 0..4 {
                let mut apply = UnderWay::start(&arguments);
                apply.feed(&stream[..random.below(stream.len() as u64) as usize]);
                apply.signal(Signal::SIGKILL);
                assert_eq!(apply.finish().code, None);
            }
            let reached = position(name);
            let mut apply = UnderWay::start(&arguments);
            apply.feed(&stream);
            let last = apply.finish();
            let resumed = last.exits(0).json()["resumed_from"].as_u64();
            assert_eq!(resumed, reached.filter(|position| *position > 0));
            target.sha256();
            holds(target.file(), &after(&base, &changes));
        }
    });
}

#[test]
fn ctrl_c_stops_with_a_checkpoint_and_the_same_command_goes_on() {
    on_a_scratch_machine(|machine| {
        let mut random = Random::new(13);
        let changes = random_changes(&mut random, SIZE, 100);
        let stream = native(volume("", SIZE, "", ""), &changes);
        for (group, signal) in [("int", Signal::SIGINT), ("term", Signal::SIGTERM)] {
            let target = image(machine, group, SIZE);
            let arguments = ["-", "--target", &target, "--group", group, "--json"];
            let mut stopped = UnderWay::start(&arguments);
            let cut = stream.len() * 2 / 3;
            stopped.feed(&stream[..cut]);
            assert!(stopped.wait_for(group, |position| position > 0));
            stopped.signal(signal);
            // Its input stays open: it must not wait for the end of it.
            let stdin = stopped.stdin.take();
            let run = stopped.finish();
            drop(stdin);
            assert_eq!(run.exits(1).json()["complete"], false);
            let reached = position(group).unwrap();
            assert!(reached > 0 && reached <= cut as u64, "{reached}");
            let mut again = UnderWay::start(&arguments);
            again.feed(&stream);
            assert_eq!(again.finish().exits(0).json()["resumed_from"], reached);
            holds(&target, &after(&vec![0; SIZE as usize], &changes));
        }
    });
}

#[test]
fn a_pipe_cut_short_is_an_error_or_with_resume_the_first_half() {
    on_a_scratch_machine(|machine| {
        let mut random = Random::new(14);
        let changes = random_changes(&mut random, SIZE, 100);
        let stream = native(volume("", SIZE, "", ""), &changes);
        let target = image(machine, "target", SIZE);
        let arguments = ["-", "--target", &target, "--group", "g", "--json"];
        let resuming = [&arguments[..], &["--resume"]].concat();
        let send = |arguments: &[&str], bytes: &[u8]| {
            let mut apply = UnderWay::start(arguments);
            apply.feed(bytes);
            apply.finish()
        };
        let cut = |part: usize| &stream[..stream.len() * part / 4 + 77];
        let run = send(&arguments, cut(1));
        run.exits(5).says(&format!("at byte {}", cut(1).len()));
        let first = position("g").unwrap();
        assert!(first > 0);
        let run = send(&resuming, cut(2));
        assert_eq!(run.exits(0).json()["complete"], false);
        assert_eq!(run.json()["resumed_from"], first);
        let second = position("g").unwrap();
        assert!(second > first);
        // Other failures are not tolerated.
        let mut damaged = stream.clone();
        let place = stream.len() * 7 / 8;
        damaged[place] ^= 1;
        send(&resuming, &damaged).exits(5);
        let third = position("g").unwrap();
        assert!(third > second && third <= place as u64);
        let run = send(&resuming, &stream);
        assert_eq!(run.exits(0).json()["complete"], true);
        assert_eq!(run.json()["resumed_from"], third);
        holds(&target, &after(&vec![0; SIZE as usize], &changes));
        let run = send(&arguments, &stream);
        assert_eq!(run.exits(0).json()["extents"], 0);
    });
}

/// Three consecutive deltas, the second of which is cut off in the file `name`.
struct Three {
    changes: Vec<Change>,
    streams: Vec<Vec<u8>>,
}

impl Three {
    fn expected(&self) -> Vec<u8> {
        after(&vec![0; SIZE as usize], &self.changes)
    }
}

fn three(encode: impl Fn(usize, &[Change]) -> Vec<u8>) -> Three {
    let mut random = Random::new(15);
    let (mut all, mut streams) = (Vec::new(), Vec::new());
    for index in 0..3 {
        let data =
            |change: &Change| matches!(change.becomes, mt_tests::change_stream::Become::Data(_));
        let changes: Vec<_> =
            random_changes(&mut random, SIZE, 90).into_iter().filter(data).collect();
        streams.push(encode(index, &changes));
        all.extend(changes);
    }
    Three { changes: all, streams }
}

fn goes_on_in_the_second(
    machine: &ScratchMachine,
    three: &Three,
    paths: &[String],
    inputs: &[&str],
) {
    let target = image(machine, "target", SIZE);
    let arguments = [inputs, &["--target", &target, "--group", "g", "--json"]].concat();
    for (path, stream) in paths.iter().zip(&three.streams) {
        fs::write(path, stream).unwrap();
    }
    let cut = three.streams[1].len() * 3 / 4;
    fs::write(&paths[1], &three.streams[1][..cut]).unwrap();
    let run = apply(machine, &arguments);
    run.exits(5).says(&format!("at byte {cut}")).says(&paths[1]);
    assert_eq!(state("g")["volumes"][""]["applied"].as_array().unwrap().len(), 1);
    fs::write(&paths[1], &three.streams[1]).unwrap();
    let run = apply(machine, &arguments);
    assert_eq!(run.exits(0).json()["inputs_left_out"], 1);
    assert_eq!(run.json()["complete"], true);
    holds(&target, &three.expected());
}

#[test]
fn several_streams_of_which_the_second_was_cut_go_on_in_the_second() {
    on_a_scratch_machine(|machine| {
        let name = |index: usize| format!("s{index}");
        let of = |index| {
            let from = if index == 0 { String::new() } else { name(index - 1) };
            volume("", SIZE, &from, &name(index))
        };
        type Encode<'a> = Box<dyn Fn(usize, &[Change]) -> Vec<u8> + 'a>;
        let encoders: [Encode<'_>; 2] = [
            Box::new(|index, changes| native(of(index), changes)),
            Box::new(|index, changes| rbd_diff(Version::V1, &of(index), changes)),
        ];
        for encode in encoders {
            let three = three(encode);
            let paths = [0, 1, 2].map(|index| file(machine, &format!("delta-{index}"), b""));
            let inputs = paths.each_ref().map(String::as_str);
            goes_on_in_the_second(machine, &three, &paths, &inputs);
            fs::remove_dir_all("/var/lib/mtctl/groups/g").unwrap();
        }
    });
}

#[test]
fn a_directory_of_svd_streams_of_which_the_second_was_cut_goes_on_in_the_second() {
    on_a_scratch_machine(|machine| {
        let encode = |index: usize, changes: &[Change]| {
            let bytes = |change: &Change| match &change.becomes {
                mt_tests::change_stream::Become::Data(bytes) => bytes.clone(),
                _ => Vec::new(),
            };
            let writes: Vec<_> = changes.iter().map(|one| (one.start, bytes(one))).collect();
            let writes: Vec<_> = writes.iter().map(|(start, b)| (*start, b.as_slice())).collect();
            svd(100 + 100 * index as u64, &writes)
        };
        let three = three(encode);
        let directory = machine.file("streams");
        fs::create_dir(&directory).unwrap();
        // Their order by name is different.
        let paths = ["c", "a", "b"].map(|name| directory.join(name).display().to_string());
        goes_on_in_the_second(machine, &three, &paths, &[directory.to_str().unwrap()]);
    });
}

#[test]
fn a_volume_in_between_takes_no_other_stream() {
    on_a_scratch_machine(|machine| {
        let mut random = Random::new(16);
        let target = image(machine, "target", SIZE);
        let mut make =
            |name: &str| native(volume(name, SIZE, "", ""), &random_changes(&mut random, SIZE, 60));
        let (first, second) = (make(""), make(""));
        let cut = file(machine, "cut", &first[..first.len() / 2]);
        let second = file(machine, "second", &second);
        let to = ["--target", &target, "--group", "g"];
        let onto = |stream: &str| apply(machine, &[&[stream], &to[..]].concat());
        onto(&cut).exits(5);
        let before = fs::read(&target).unwrap();
        let diff = rbd_diff(Version::V1, &volume("", SIZE, "", "s1"), &[Change::data(0, *b"x")]);
        let diff = file(machine, "diff", &diff);
        for other in [second.as_str(), &diff] {
            let run = onto(other);
            run.exits(4).says("was begun on it and never finished").says("hint");
            holds(&target, &before);
        }
        let whole = file(machine, "whole", &first);
        onto(&whole).exits(0);
        onto(&second).exits(0);
    });
}

#[test]
fn the_rest_of_a_diff_without_names_is_never_put_behind_the_beginning_of_another_one() {
    on_a_scratch_machine(|machine| {
        let target = image(machine, "target", SIZE);
        let diff = |byte: u8| {
            let halves = [0, SIZE / 2].map(|at| Change::data(at, vec![byte; SIZE as usize / 2]));
            rbd_diff(Version::V1, &volume("", SIZE, "", ""), &halves)
        };
        let cut = file(machine, "cut", &diff(1)[..3 * MIB as usize]);
        let whole = file(machine, "whole", &diff(2));
        let to = ["--target", &target, "--group", "g"];
        apply(machine, &[&[cut.as_str()], &to[..]].concat()).exits(5);
        assert_eq!(fs::read(&target).unwrap()[0], 1, "the first batch is there");
        apply(machine, &[&[whole.as_str()], &to[..]].concat()).exits(0);
        holds(&target, &vec![2; SIZE as usize]);
    });
}

#[test]
fn a_group_and_a_disk_have_one_apply_at_a_time() {
    on_a_scratch_machine(|machine| {
        let changes = random_changes(&mut Random::new(17), SIZE, 60);
        let stream = native(volume("", SIZE, "", ""), &changes);
        let path = file(machine, "stream", &stream);
        let base = vec![0; SIZE as usize];
        let (target, other) =
            (disk(machine, "target", &base, "512"), disk(machine, "other", &base, "512"));
        let mut first = UnderWay::start(&["-", "--target", target.path(), "--group", "g"]);
        first.feed(&stream[..stream.len() / 2]);
        assert!(first.wait_for("g", |_| true));
        let run = apply(machine, &[&path, "--target", other.path(), "--group", "g"]);
        run.exits(4).says("another process");
        let run = apply(machine, &[&path, "--target", target.path(), "--group", "other"]);
        run.exits(4).says(target.path());
        first.feed(&stream[stream.len() / 2..]);
        first.finish().exits(0);
        target.sha256();
        holds(target.file(), &after(&base, &changes));
        holds(other.file(), &base);
    });
}

#[test]
fn a_damaged_state_is_believed_in_no_byte() {
    on_a_scratch_machine(|machine| {
        let target = image(machine, "target", SIZE);
        let stream = native(volume("", SIZE, "", ""), &[Change::data(0, *b"x")]);
        let stream = file(machine, "stream", &stream);
        let arguments = [&stream, "--target", &target, "--group", "g"];
        apply(machine, &arguments).exits(0);
        let good = fs::read(state_path("g")).unwrap();
        // If one copy is damaged, the other one counts.
        let write = |bytes: &[u8]| {
            let copies = [state_path("g"), format!("{}.copy", state_path("g"))];
            copies.iter().for_each(|copy| fs::write(copy, bytes).unwrap());
        };
        for place in [0, good.len() / 2, good.len() - 2] {
            let mut damaged = good.clone();
            damaged[place] ^= 1;
            write(&damaged);
            apply(machine, &arguments).exits(5).says(&state_path("g")).says("hint");
        }
        write(&good[..good.len() - 1]);
        apply(machine, &arguments).exits(5);
        write(&good);
        apply(machine, &arguments).exits(0).says("nothing to do");
    });
}

#[test]
fn a_dry_run_of_a_chain_follows_the_chain() {
    on_a_scratch_machine(|machine| {
        let target = image(machine, "target", SIZE);
        let change = [Change::data(7, *b"x")];
        let one = rbd_diff(Version::V1, &volume("", SIZE, "", "s1"), &change);
        let two = rbd_diff(Version::V1, &volume("", SIZE, "s1", "s2"), &change);
        let three = rbd_diff(Version::V1, &volume("", SIZE, "s2", "s3"), &change);
        let [one, two, three] = [("one", one), ("two", two), ("three", three)]
            .map(|(n, bytes)| file(machine, n, &bytes));
        let to = ["--target", &target, "--group", "g"];
        apply(machine, &[&[one.as_str()], &to[..]].concat()).exits(0);
        let before = fs::read(state_path("g")).unwrap();
        let dry = [&[two.as_str(), &three], &to[..], &["--dry-run"]].concat();
        apply(machine, &dry).exits(3).says("would apply 2 B");
        let gap = [&[three.as_str()], &to[..], &["--dry-run"]].concat();
        apply(machine, &gap).exits(4).says("begins at \"s2\"");
        assert_eq!(fs::read(state_path("g")).unwrap(), before);
    });
}

/// An rbd export of format 2 that contains these diffs of v2.
fn export(diffs: &[Vec<u8>]) -> Vec<u8> {
    let mut export = b"rbd image v2\nE".to_vec();
    export.extend(b"rbd image diffs v2\n");
    export.extend((diffs.len() as u64).to_le_bytes());
    diffs.iter().for_each(|diff| export.extend(diff));
    export
}

#[test]
fn an_export_with_a_snapshot_that_changes_nothing_is_a_chain_all_the_same() {
    on_a_scratch_machine(|machine| {
        let target = image(machine, "target", SIZE);
        let diff = |from: &str, to: &str, changes: &[Change]| {
            rbd_diff(Version::V2, &volume("", SIZE, from, to), changes)
        };
        let onto = |stream: &[u8]| {
            let stream = file(machine, "stream", stream);
            apply(machine, &[&stream, "--target", &target, "--group", "g", "--json"])
        };
        onto(&diff("", "s0", &[Change::data(0, *b"a")])).exits(0);
        let middle = [
            diff("s0", "s1", &[]),
            diff("s1", "s2", &[Change::data(1, *b"b")]),
            diff("s2", "s3", &[]),
        ];
        onto(&export(&middle)).exits(0);
        assert_eq!(state("g")["volumes"][""]["ends_at"], "s3");
        let gap = [diff("s3", "s4", &[]), diff("s5", "s6", &[Change::data(2, *b"c")])];
        onto(&export(&gap)).exits(5).says("s4").says("s5");
        onto(&diff("s4", "s5", &[])).exits(4).says("s3");
        onto(&diff("s3", "s4", &[])).exits(0);
        assert_eq!(&fs::read(&target).unwrap()[..3], b"ab\0");
    });
}
