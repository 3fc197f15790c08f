//! kill -9 at any moment of an apply, a rollback or a recover: every point that ever existed still
//! exists exactly once, with its contents. The model is a list of images, one for each mark.

use std::collections::BTreeMap;
use std::fs;

use blockio::stream::MarkKind;
use mt_tests::change_stream::{random_changes, volume};
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{Run, command, interrupted, mtctl};
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use nix::sys::signal::Signal;

use crate::{MIB, Part, disk, holds, points, retention, rollback, stream};

const SIZE: u64 = 2 * MIB;
const STREAMS: usize = 6;
const MARKS: usize = 6;
const NAMES: [&str; 2] = ["db", "log"];

/// The contents of the volumes.
type Images = [Vec<u8>; 2];

/// A place in the sequence of streams: the number of marks of this stream that were passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    stream: usize,
    marks: usize,
}

/// The disks of a group, the streams that are applied to them, and the expected results.
struct Rig<'a> {
    machine: &'a ScratchMachine,
    random: Random,
    disks: [LoopDevice; 2],
    streams: Vec<String>,
    model: BTreeMap<Place, Images>,
    /// Where the history begins.
    start: Place,
    /// The next stream to apply.
    next: usize,
    /// The places of points that were listed.
    seen: BTreeMap<u64, Place>,
    /// How many points may have a place: more than one if the disks were rolled back and came there
    /// again.
    allowed: BTreeMap<Place, usize>,
    killed: u32,
    /// The steps so far, to explain a failure.
    story: Vec<String>,
}

fn name(place: Place) -> String {
    format!("s{}m{}", place.stream, place.marks)
}

fn place(name: &str) -> Place {
    let (stream, marks) = name[1..].split_once('m').unwrap();
    Place { stream: stream.parse().unwrap(), marks: marks.parse().unwrap() }
}

impl<'a> Rig<'a> {
    fn new(machine: &'a ScratchMachine, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut held = NAMES.map(|_| random.bytes(SIZE as usize));
        let sectors = ["512", "4096"];
        let disks = [0, 1].map(|at| disk(machine, NAMES[at], &held[at], sectors[at]));
        let start = Place { stream: 0, marks: 0 };
        let (mut model, mut streams) = (BTreeMap::from([(start, held.clone())]), Vec::new());
        for number in 0..STREAMS {
            let all: Vec<Vec<_>> = (0..MARKS)
                .map(|_| {
                    let changes = random_changes(&mut random, SIZE, 8);
                    changes.into_iter().map(|one| (random.below(2) as u16, one)).collect()
                })
                .collect();
            let names: Vec<_> =
                (1..=MARKS).map(|marks| name(Place { stream: number, marks })).collect();
            let mut parts = Vec::new();
            for (at, changes) in all.iter().enumerate() {
                for (index, change) in changes {
                    parts.push(Part::Change(*index, change));
                    change.apply(&mut held[*index as usize]);
                }
                parts.push(Part::Mark(MarkKind::CrashConsistent, &names[at]));
                model.insert(Place { stream: number, marks: at + 1 }, held.clone());
            }
            let from = if number == 0 { String::new() } else { format!("v{}", number - 1) };
            let to = format!("v{number}");
            let volumes = NAMES.map(|name| volume(name, SIZE, &from, &to)).to_vec();
            streams.push(stream(machine, &format!("stream-{number}"), volumes, &parts));
        }
        let (seen, allowed) = (BTreeMap::new(), BTreeMap::new());
        let (next, killed, story) = (0, 0, Vec::new());
        Self { machine, random, disks, streams, model, start, next, seen, allowed, killed, story }
    }

    fn maps(&self) -> [String; 2] {
        [0, 1].map(|at| format!("{}={}", NAMES[at], self.disks[at].path()))
    }

    /// Runs mtctl and kills it at a random moment; it may have ended before. The first part of
    /// `bytes`, up to a random byte, is sent to its standard input.
    fn kill(&mut self, arguments: &[&str], bytes: &[u8]) -> Run {
        let count = match bytes.is_empty() {
            true => 0,
            false => self.random.below(bytes.len() as u64 + 1) as usize,
        };
        let limit = if self.random.below(2) == 0 { 1_500 } else { 8_000 };
        let yields = self.random.below(limit);
        let mut command = command(mtctl(), arguments);
        let run = interrupted(&mut command, Signal::SIGKILL, yields, &bytes[..count]);
        self.killed += u32::from(run.code.is_none());
        self.story.push(format!("{} {:?}", arguments.join(" "), run.code));
        run
    }

    /// Applies the next stream, and kills the apply.
    fn kill_apply(&mut self) {
        let [db, log] = self.maps();
        let path = self.streams[self.next].clone();
        let is_piped = self.random.below(2) == 0;
        let input = if is_piped { "-" } else { path.as_str() };
        let arguments = ["apply", input, "--map", &db, "--map", &log, "--group", "g"];
        let bytes = if is_piped { fs::read(&path).unwrap() } else { Vec::new() };
        let run = self.kill(&arguments, &bytes);
        match run.code {
            None => {}
            Some(0) => self.stream_is_done(),
            // The pipe was cut short before the kill.
            Some(5) if is_piped => {}
            Some(_) => panic!("{run:#?}"),
        }
    }

    fn stream_is_done(&mut self) {
        self.story.push(format!("stream {} is done", self.next));
        let place = Place { stream: self.next, marks: MARKS };
        for (disk, expected) in self.disks.iter().zip(&self.model[&place]) {
            disk.sha256();
            holds(disk.file(), expected);
        }
        self.next = (self.next + 1).min(STREAMS - 1);
    }

    fn apply(&mut self) {
        let place = self.next;
        let [db, log] = self.maps();
        let path = &self.streams[self.next];
        let arguments = ["apply", path, "--map", &db, "--map", &log, "--group", "g"];
        self.machine.mtctl(&arguments).exits(0);
        self.stream_is_done();
        let end = Place { stream: place, marks: MARKS };
        let is_there = self.listed().values().any(|place| *place == end) || self.start == end;
        assert!(is_there, "the last mark has no point: {end:?}");
    }

    /// The current points; asserts that each exists once and none is missing.
    #[track_caller]
    fn listed(&mut self) -> BTreeMap<u64, Place> {
        let listed = points(self.machine);
        let mut now = BTreeMap::new();
        let mut counts = BTreeMap::<Place, usize>::new();
        for point in &listed {
            let place = place(point["name"].as_str().unwrap());
            assert_eq!(now.insert(point["id"].as_u64().unwrap(), place), None, "{listed:#?}");
            *counts.entry(place).or_default() += 1;
        }
        for (id, place) in &self.seen {
            assert_eq!(now.get(id), Some(place), "point {id} is gone: {listed:#?}");
        }
        for (place, count) in &counts {
            let allowed = self.allowed.get(place).copied().unwrap_or(1);
            let story = self.story.join("\n");
            assert!(*count <= allowed, "{place:?} is there {count} times: {listed:#?}\n{story}");
        }
        self.seen.clone_from(&now);
        now
    }

    /// Notes that the disks are at point `id`; later points may be reached once more.
    #[track_caller]
    fn went_back(&mut self, id: u64) {
        self.story.push(format!("went back to {id}"));
        let known = self.listed();
        let to = known.get(&id).copied().unwrap_or(self.start);
        for (at, disk) in self.disks.iter().enumerate() {
            disk.sha256();
            let found = fs::read(disk.file()).unwrap();
            if found != self.model[&to][at] {
                let like = self.model.iter().find(|(_, held)| held[at] == found);
                let like = like.map(|(place, _)| *place);
                panic!("point {id}, {to:?}: {} is as {like:?}", NAMES[at]);
            }
        }
        for later in self.model.keys().filter(|place| **place > to) {
            let count = known.values().filter(|place| *place == later).count();
            self.allowed.insert(*later, count + 1);
        }
        self.next = to.stream;
    }

    /// Any point, or the start.
    fn any_point(&mut self) -> (u64, String) {
        let ids: Vec<_> = self.listed().into_keys().collect();
        match self.random.below(ids.len() as u64 + 1) as usize {
            0 => (0, "start".to_owned()),
            at => (ids[at - 1], format!("id:{}", ids[at - 1])),
        }
    }

    fn go_to_any_point(&mut self) {
        let (id, to) = self.any_point();
        rollback(self.machine, &to).exits(0);
        self.went_back(id);
    }

    fn recover(&mut self) {
        let run = self.machine.mtctl(&["recover", "--group", "g", "--yes", "--json"]);
        if let Some(id) = run.exits(0).json()["point"].as_u64() {
            self.went_back(id);
        }
    }

    /// Kills a rollback or a recover, several times.
    fn kill_on_the_way_back(&mut self) {
        for _ in 0..=self.random.below(2) {
            let (_, to) = self.any_point();
            let run = match self.random.below(3) {
                0 => self.kill(&["recover", "--group", "g", "--yes"], &[]),
                _ => self.kill(&["rollback", "--group", "g", "--to", &to, "--yes"], &[]),
            };
            assert!(matches!(run.code, None | Some(0)), "{run:#?}");
        }
        // The place of the disks is unknown now: an apply may be refused, but a point is within
        // reach.
        if self.random.below(2) == 0 {
            self.recover()
        }
        self.go_to_any_point();
    }

    /// Whether there is a history to roll back with.
    fn has_history(&self) -> bool {
        let state = fs::read_to_string("/mnt/retention/g/state").unwrap_or_default();
        state.contains("\"next_segment\"")
    }

    fn round(&mut self, number: u32) {
        self.kill_apply();
        if !self.has_history() {
            return;
        }
        self.listed();
        match number % 4 {
            0 => self.apply(),
            1 => self.recover(),
            2 => self.go_to_any_point(),
            _ => self.kill_on_the_way_back(),
        }
        if self.random.below(3) == 0 {
            self.go_to_any_point();
        }
    }

    /// Checks every point, in any order; then ends the history at one of them.
    fn look_at_all_and_commit(&mut self) {
        if !self.has_history() {
            return;
        }
        let mut ids: Vec<_> = self.listed().into_keys().collect();
        while !ids.is_empty() {
            let id = ids.swap_remove(self.random.below(ids.len() as u64) as usize);
            rollback(self.machine, &format!("id:{id}")).exits(0);
            self.went_back(id);
            self.start = self.seen[&id];
        }
        self.machine.mtctl(&["commit", "--group", "g", "--yes"]).exits(0);
        self.seen.clear();
        self.allowed.clear();
        self.story.clear();
        self.story.push(format!("committed at {:?}", self.start));
        assert_eq!(points(self.machine).len(), 0);
    }
}

#[test]
fn kill_at_two_hundred_moments_and_every_point_stays_what_it_was() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 2048);
        let mut killed = 0;
        for seed in 51..=54 {
            let mut rig = Rig::new(machine, seed);
            let mut number = 0;
            while rig.killed < 52 {
                rig.round(number);
                number += 1;
                assert!(number < 400, "only {} were killed before their end", rig.killed);
                if number % 24 == 0 {
                    rig.look_at_all_and_commit();
                }
            }
            rig.look_at_all_and_commit();
            killed += rig.killed;
            fs::remove_dir_all("/mnt/retention/g").unwrap();
        }
        assert!(killed >= 200, "{killed}");
    });
}
