//! One story: a group that is made, used, and given up, step by step.

use std::fs;
use std::path::Path;
use std::process::Child;

use blockio::stream::native::{Encoder, EncoderOptions};
use blockio::stream::{Format, Mark, MarkKind, Name, StreamHeader, Timestamp, VolumeIndex};
use mt_tests::change_stream::{random_changes, volume};
use mt_tests::journal_format::History;
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{Run, command, history_is_whole, interrupted, mtctl, run};
use mt_tests::random::Random;
use mt_tests::scratch_machine::{RETENTION, ScratchMachine};
use nix::sys::signal::Signal;

use crate::harm::{Copies, copies};
use crate::model::{Images, Model, Place, Stream};

pub(crate) const GROUP: &str = "/mnt/retention/g";
const NAMES: [&str; 3] = ["db", "log", "web"];
const START: &str = "start";
/// The largest distance between marks, in seconds, so that there are points to thin.
const APART_SECONDS: u64 = 3 * 3600;

/// What was done in all stories.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) steps: u64,
    pub(crate) applied: u64,
    pub(crate) killed: u64,
    pub(crate) rolled_back: u64,
    pub(crate) rebuilt: u64,
    pub(crate) committed: u64,
    /// Comparisons of points with the model.
    pub(crate) points: u64,
    /// Digests that were read beside a writer.
    pub(crate) views: u64,
    /// Requests that were refused after harm was done.
    pub(crate) refused: u64,
}

/// The target of a volume.
pub(crate) enum Target {
    File(String),
    Loop(LoopDevice),
}

/// A listed point.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) id: u64,
    pub(crate) name: String,
}

impl Listed {
    /// The points in a list.
    #[track_caller]
    pub(crate) fn all(list: &Run) -> Vec<Self> {
        let points = list.json()["points"].as_array().unwrap().clone();
        let point = |point: &serde_json::Value| Self {
            id: point["id"].as_u64().unwrap(),
            name: point["name"].as_str().unwrap_or_default().to_owned(),
        };
        points.iter().map(point).collect()
    }
}

pub(crate) struct Story<'a> {
    pub(crate) machine: &'a ScratchMachine,
    pub(crate) counts: &'a mut Counts,
    pub(crate) random: Random,
    /// Mounted for as long as the story lasts.
    _retention: LoopDevice,
    pub(crate) targets: Vec<Target>,
    pub(crate) sizes: Vec<u64>,
    pub(crate) model: Model,
    streams: Vec<Stream>,
    place: Place,
    /// Number of names used for manual points and marks, so that each is unique.
    names: u64,
    seconds: u64,
    /// The steps so far, to explain a failure.
    pub(crate) told: Vec<String>,
    /// The copies of the state after each step.
    pub(crate) earlier: Vec<Copies>,
}

impl Drop for Story<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the story:\n{}", self.told.join("\n"));
        }
        run("umount", &[RETENTION]);
    }
}

impl<'a> Story<'a> {
    /// A group of one to three volumes to which nothing was applied yet.
    pub(crate) fn new(machine: &'a ScratchMachine, seed: u64, counts: &'a mut Counts) -> Self {
        let mut random = Random::new(seed);
        let retention = machine.retention(1024);
        let (mut targets, mut sizes, mut images) = (Vec::new(), Vec::new(), Images::new());
        for name in &NAMES[..1 + random.below(3) as usize] {
            // Whole blocks, or whole sectors, because a disk may end anywhere.
            let kind = random.below(3);
            let odd = if kind == 1 { 0 } else { 512 * random.below(8) };
            let size = (64 + random.below(192)) * 4096 + odd;
            let held = random.bytes(size as usize);
            let path = machine.file(name);
            fs::write(&path, &held).unwrap();
            let attach = |sector| {
                Target::Loop(LoopDevice::attach(
                    &["--direct-io=on", "--sector-size", sector],
                    &path,
                ))
            };
            targets.push(match kind {
                0 => Target::File(path.to_str().unwrap().to_owned()),
                1 => attach("4096"),
                _ => attach("512"),
            });
            sizes.push(size);
            images.push(held);
        }
        let mut model = Model::default();
        model.holds(START, &images, None);
        let place = Place::At(START.to_owned());
        let (streams, told) = (Vec::new(), vec![format!("seed {seed}, volumes of {sizes:?}")]);
        let (names, seconds) = (0, 1_700_000_000);
        Self {
            machine,
            counts,
            random,
            _retention: retention,
            targets,
            sizes,
            model,
            streams,
            place,
            names,
            seconds,
            told,
            earlier: Vec::new(),
        }
    }

    /// Does one step, after which every point is checked.
    pub(crate) fn step(&mut self) {
        self.counts.steps += 1;
        let has_history = self.has_history();
        match (self.random.below(26), has_history) {
            (0..=4, _) | (_, false) => self.apply(false),
            (5..=8, _) => self.apply(true),
            (9..=11, _) => self.rollback(false),
            (12, _) => self.rollback(true),
            (13, _) => self.recover(),
            (14, _) => self.point(),
            (15, _) => self.lose_the_state(),
            (16, _) => self.set(),
            (17, _) => self.commit(),
            (18, _) => self.put_an_earlier_state_back(),
            // In the output of an interrupted run, torn data cannot be distinguished from rot.
            (19 | 20, _) if matches!(self.place, Place::At(_)) => self.let_a_byte_rot(),
            (21, _) => self.exchange_a_disk(),
            (22, _) => self.apply_from_a_pipe(),
            (23, _) => self.rollback_beside_readers(),
            (_, _) => self.apply_beside_readers(),
        }
        self.look();
        self.earlier.push(copies());
    }

    /// The final check: the history is intact, and leads to each of its points.
    pub(crate) fn end(&mut self) {
        if !self.has_history() {
            return;
        }
        history_is_whole("g", &[]);
        for point in self.listed() {
            self.go_to(&point);
        }
    }

    fn has_history(&self) -> bool {
        matches!(History::read(Path::new(GROUP)), Ok(Some(_)))
    }

    fn path(&self, at: usize) -> String {
        match &self.targets[at] {
            Target::File(path) => path.clone(),
            Target::Loop(device) => device.path().to_owned(),
        }
    }

    fn held(&self) -> Images {
        let held = |target: &Target| match target {
            Target::File(path) => fs::read(path).unwrap(),
            Target::Loop(device) => {
                device.forget_cached();
                fs::read(device.file()).unwrap()
            }
        };
        self.targets.iter().map(held).collect()
    }

    /// The points that are listed.
    #[track_caller]
    fn listed(&mut self) -> Vec<Listed> {
        let run = self.machine.mtctl(&["points", "list", "--group", "g", "--json"]);
        Listed::all(run.exits(0))
    }

    /// Asserts that each point holds what the model says, read according to the document, and one
    /// of them by the program; likewise the disks, if their contents are known.
    #[track_caller]
    fn look(&mut self) {
        let held = self.held();
        if let Place::At(name) = &self.place {
            assert!(held == *self.model.images(name), "the disks are not at {name}");
        }
        if !self.has_history() {
            return;
        }
        let listed = self.listed();
        let history = History::read(Path::new(GROUP)).unwrap().unwrap();
        for point in &listed {
            let expected = self.model.images(&point.name);
            for (at, name) in self.names_of_volumes() {
                let found = history.held(&name, point.id, held[at].clone()).unwrap();
                assert!(found == expected[at], "{point:?}, {name}: by the document");
            }
            self.counts.points += 1;
        }
        if !listed.is_empty() {
            let point = listed[self.random.below(listed.len() as u64) as usize].clone();
            let at = self.random.below(self.sizes.len() as u64) as usize;
            let child = self.begin_digest(&point, at);
            self.end_digest(child, &point, at);
        }
    }

    fn names_of_volumes(&self) -> Vec<(usize, String)> {
        NAMES.iter().take(self.sizes.len()).map(|name| (*name).to_owned()).enumerate().collect()
    }

    pub(crate) fn begin_digest(&mut self, point: &Listed, at: usize) -> Child {
        let to = format!("id:{}", point.id);
        let words = ["digest", "--group", "g", "--to", &to, "--volume", NAMES[at]];
        let mut command = command(mtctl(), &words);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    }

    #[track_caller]
    fn end_digest(&mut self, child: Child, point: &Listed, at: usize) {
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (told, problem) = (text(&output.stdout), text(&output.stderr));
        if output.status.code() == Some(2) && problem.contains("has expired") {
            return;
        }
        assert_eq!(output.status.code(), Some(0), "{point:?}: {problem}");
        let expected = blake3::hash(&self.model.images(&point.name)[at]).to_hex();
        let found = told.split(' ').next().unwrap_or_default();
        assert_eq!(found, expected.as_str(), "{point:?}, {}: a view", NAMES[at]);
        self.counts.views += 1;
    }

    /// The number of the next stream: one that was begun, or a new one.
    pub(crate) fn next_stream(&mut self) -> Option<usize> {
        match self.place.clone() {
            Place::Lost => None,
            Place::Within(stream) => Some(stream),
            Place::At(name) => Some(match self.model.stream(&name) {
                Some((stream, false)) => stream,
                Some((_, true)) | None => self.new_stream(&name),
            }),
        }
    }

    /// A stream that continues from `name`.
    fn new_stream(&mut self, name: &str) -> usize {
        let number = self.streams.len();
        let mut images = self.model.images(name).clone();
        let before = self.model.stream(name).map(|(stream, _)| &self.streams[stream]);
        let from = before.map_or(String::new(), |stream| stream.to.clone());
        let to = format!("v{number}");
        let volumes: Vec<_> = self
            .names_of_volumes()
            .iter()
            .map(|(at, name)| volume(name, self.sizes[*at], &from, &to))
            .collect();
        let header = StreamHeader {
            format: Format::Native,
            is_in_write_order: true,
            identity: None,
            volumes,
        };
        let mut bytes = Vec::new();
        let options = EncoderOptions { batch_bytes: 32 << 10, ..EncoderOptions::default() };
        let mut encoder = Encoder::new(&mut bytes, &header, options).unwrap();
        let count = 1 + self.random.below(4);
        let mut marks = Vec::new();
        for mark in 1..=count {
            for _ in 0..1 + self.random.below(6) {
                let at = self.random.below(self.sizes.len() as u64) as usize;
                for change in random_changes(&mut self.random, self.sizes[at], 1) {
                    change.encode(&mut encoder, VolumeIndex(at as u16));
                    change.apply(&mut images[at]);
                }
            }
            self.names += 1;
            self.seconds += 1 + self.random.below(APART_SECONDS);
            let name = format!("m{}", self.names);
            let time = Timestamp(self.seconds * 1_000_000_000);
            let kind = MarkKind::CrashConsistent;
            let given = Name::new(name.as_bytes());
            encoder.mark(&Mark { time, kind, name: given, group: None }).unwrap();
            self.model.holds(&name, &images, Some((number, mark == count)));
            marks.push(name);
        }
        encoder.finish(true).unwrap();
        let path = self.machine.file(&format!("stream-{number}"));
        fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap().to_owned();
        self.told.push(format!("{path}: from {from:?} at {name} with {marks:?}"));
        self.streams.push(Stream { path, to, marks });
        number
    }

    pub(crate) fn words_of_apply(&self, stream: usize) -> Vec<String> {
        let mut words: Vec<_> =
            ["apply", &self.streams[stream].path, "--group", "g"].map(str::to_owned).to_vec();
        for (at, name) in self.names_of_volumes() {
            words.extend(["--map".to_owned(), format!("{name}={}", self.path(at))]);
        }
        words
    }

    pub(crate) fn stream_is_done(&mut self, stream: usize) {
        self.counts.applied += 1;
        self.place = Place::At(self.streams[stream].marks.last().unwrap().clone());
    }

    /// Applies the next stream, to its end, or killed or stopped on the way.
    fn apply(&mut self, is_cut: bool) {
        let Some(stream) = self.next_stream() else { return self.rollback(false) };
        let words = self.words_of_apply(stream);
        match is_cut {
            false => {
                self.run(&words).exits(0);
                self.stream_is_done(stream);
            }
            true => match self.cut(&words).code {
                Some(0) => self.stream_is_done(stream),
                _ => self.place = Place::Within(stream),
            },
        }
    }

    /// Reads every point while the next stream is applied.
    fn apply_beside_readers(&mut self) {
        let Some(stream) = self.next_stream() else { return self.recover() };
        let readers = self.begin_to_read();
        let words = self.words_of_apply(stream);
        self.run(&words).exits(0);
        self.stream_is_done(stream);
        self.end_reading(readers);
    }

    /// Reads every point while the disks are rolled back to one of them.
    fn rollback_beside_readers(&mut self) {
        let point = self.any_point();
        let readers = self.begin_to_read();
        self.go_to(&point);
        self.end_reading(readers);
    }

    fn begin_to_read(&mut self) -> Vec<(Child, Listed, usize)> {
        let listed = self.listed();
        let begin = |point: Listed| {
            let at = self.random.below(self.sizes.len() as u64) as usize;
            (self.begin_digest(&point, at), point, at)
        };
        listed.into_iter().map(begin).collect()
    }

    #[track_caller]
    fn end_reading(&mut self, readers: Vec<(Child, Listed, usize)>) {
        for (child, point, at) in readers {
            self.end_digest(child, &point, at);
        }
    }

    fn run(&mut self, words: &[String]) -> Run {
        let run = self.machine.mtctl(&words.iter().map(String::as_str).collect::<Vec<_>>());
        self.told.push(format!("{} -> {:?}", words.join(" "), run.code));
        run
    }

    /// Runs the command and ends it by a signal at some moment, unless it has ended before.
    fn cut(&mut self, words: &[String]) -> Run {
        let signal = match self.random.below(4) {
            0 => Signal::SIGTERM,
            _ => Signal::SIGKILL,
        };
        // A busy host takes few turns: small numbers are as likely as large ones.
        let most = 1 << self.random.below(14);
        let yields = self.random.below(most);
        let run = interrupted(&mut command(mtctl(), words), signal, yields, &[]);
        self.told.push(format!("{} -> {:?} ({signal})", words.join(" "), run.code));
        self.counts.killed += u64::from(run.code.is_none());
        assert!(matches!(run.code, None | Some(0 | 1)), "{run:#?}");
        run
    }

    /// Any point, or the start.
    pub(crate) fn any_point(&mut self) -> Listed {
        let mut points = self.listed();
        let history = History::read(Path::new(GROUP)).unwrap().unwrap();
        let start = history.points().into_iter().find(|point| point.kind == "start");
        points.extend(start.map(|start| Listed { id: start.id, name: START.to_owned() }));
        points.swap_remove(self.random.below(points.len() as u64) as usize)
    }

    fn words_of_rollback(point: &Listed) -> Vec<String> {
        let to = format!("id:{}", point.id);
        let to = if point.name == START { START } else { &to };
        ["rollback", "--group", "g", "--yes", "--to", to].map(str::to_owned).to_vec()
    }

    pub(crate) fn go_to(&mut self, point: &Listed) {
        self.run(&Self::words_of_rollback(point)).exits(0);
        self.counts.rolled_back += 1;
        self.place = Place::At(point.name.clone());
        let held = self.held();
        assert!(held == *self.model.images(&point.name), "the disks are not at {point:?}");
    }

    fn rollback(&mut self, is_cut: bool) {
        let point = self.any_point();
        if !is_cut {
            return self.go_to(&point);
        }
        match self.cut(&Self::words_of_rollback(&point)).code {
            Some(0) => self.place = Place::At(point.name),
            _ => self.place = Place::Lost,
        }
    }

    pub(crate) fn recover(&mut self) {
        let words = ["recover", "--group", "g", "--yes", "--json"].map(str::to_owned);
        let run = self.run(&words);
        if let Some(id) = run.exits(0).json()["point"].as_u64() {
            let listed = self.listed();
            let point = listed.into_iter().find(|point| point.id == id);
            let name = point.map_or(START.to_owned(), |point| point.name);
            self.place = Place::At(name);
        }
    }

    /// Creates a manual point; if the disks are within a stream, it would not be a point of the
    /// model.
    fn point(&mut self) {
        let Place::At(name) = self.place.clone() else { return self.recover() };
        let stream = self.model.stream(&name);
        let images = self.model.images(&name).clone();
        self.names += 1;
        let new = format!("h{}", self.names);
        let words = ["points", "create", "--group", "g", "--name", &new].map(str::to_owned);
        self.run(&words).exits(0);
        self.model.holds(&new, &images, stream);
        self.place = Place::At(new);
    }

    /// Loses both copies of the state; the segments contain what is needed.
    fn lose_the_state(&mut self) {
        for name in ["state", "state.copy"] {
            fs::remove_file(Path::new(GROUP).join(name)).unwrap();
        }
        self.told.push("the state is lost".to_owned());
        let words = ["journal", "rebuild", "--group", "g", "--yes", "--json"].map(str::to_owned);
        let run = self.run(&words);
        let first = run.exits(0).json()["rollback_first"].as_u64();
        self.counts.rebuilt += 1;
        if first.is_some() {
            self.place = Place::Lost;
            return self.rollback(false);
        }
        // Nothing was written since the newest point.
        let newest = self.listed().pop();
        let name = newest.map_or(START.to_owned(), |newest| newest.name);
        self.place = Place::At(name);
    }

    /// Sets another policy and another engine.
    fn set(&mut self) {
        let engine = ["auto", "blocking", "uring"][self.random.below(3) as usize];
        let keep_all = ["1h", "2h", "12h"][self.random.below(3) as usize];
        let window = ["12h", "24h", "48h"][self.random.below(3) as usize];
        let words = [
            "group",
            "set",
            "--group",
            "g",
            "--engine",
            engine,
            "--keep-all",
            keep_all,
            "--retention-window",
            window,
        ];
        self.run(&words.map(str::to_owned)).exits(0);
    }

    /// Ends the history, so that another one begins.
    fn commit(&mut self) {
        let Place::At(name) = self.place.clone() else { return self.rollback(false) };
        // Most stories are long.
        if self.random.below(3) > 0 {
            return self.apply(false);
        }
        self.run(&["commit", "--group", "g", "--yes"].map(str::to_owned)).exits(0);
        self.counts.committed += 1;
        let stream = self.model.stream(&name);
        let images = self.model.images(&name).clone();
        self.model.holds(START, &images, stream);
        self.place = Place::At(START.to_owned());
        assert!(self.listed().is_empty(), "points after a commit");
    }
}
