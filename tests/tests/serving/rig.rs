//! A receiver with one group, as an operator sets it up, and a stream for it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};

use blockio::stream::VolumeIndex;
use blockio::stream::native::{Encoder, EncoderOptions};
use blockio::stream::{Format, Mark, MarkKind, Name, StreamHeader, Timestamp};
use mt_tests::change_stream::{random_changes, volume};
use mt_tests::program::{Run, command, finish, mtctl};
use mt_tests::random::Random;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub(crate) const SIZE: u64 = 8 << 20;

/// The directory of a test, with the group `web` of one image file.
pub(crate) struct Rig {
    here: TempDir,
    /// What the volume holds at each mark, in order.
    pub(crate) marks: Vec<(String, Vec<u8>)>,
    /// What it holds at the end.
    pub(crate) end: Vec<u8>,
}

impl Rig {
    /// With a stream of `changes` changes, and a mark after each `per_mark` of them.
    pub(crate) fn new(changes: usize, per_mark: usize) -> Self {
        let here = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = |name: &str| here.path().join(name);
        fs::create_dir(path("retention")).unwrap();
        fs::create_dir(path("groups")).unwrap();
        let mut random = Random::new(11);
        let mut now = random.bytes(SIZE as usize);
        fs::write(path("disk"), &now).unwrap();
        let mut marks = Vec::new();
        let header = StreamHeader {
            format: Format::Native,
            is_in_write_order: true,
            identity: None,
            volumes: vec![volume("", SIZE, "", "")],
        };
        let options = EncoderOptions { batch_bytes: 64 << 10, ..EncoderOptions::default() };
        let stream = File::create(path("stream")).unwrap();
        let mut encoder = Encoder::new(stream, &header, options).unwrap();
        for (index, change) in random_changes(&mut random, SIZE, changes).iter().enumerate() {
            change.encode(&mut encoder, VolumeIndex(0));
            change.apply(&mut now);
            if index % per_mark == per_mark - 1 {
                let name = format!("m{index}");
                let time = Timestamp((1_700_000_000 + index as u64) * 1_000_000_000);
                let given = Name::new(name.as_bytes());
                let kind = MarkKind::CrashConsistent;
                encoder.mark(&Mark { time, kind, name: given, group: None }).unwrap();
                marks.push((name, now.clone()));
            }
        }
        encoder.finish(true).unwrap();
        let rig = Self { here, marks, end: now };
        let disk = rig.at("disk");
        rig.mtctl(&["group", "create", "--target", &disk, "--keep-last", "1000"]).exits(0);
        rig.allow("[\"user:0\"]");
        rig
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.here.path().join(name)
    }

    pub(crate) fn at(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Names who may write to the group.
    pub(crate) fn allow(&self, identities: &str) {
        let retention = self.at("retention");
        let text = format!(
            "allow = {identities}\nretention = \"{retention}\"\nretention_unmounted = true\n"
        );
        fs::write(self.path("groups/web.toml"), text).unwrap();
    }

    /// Runs a verb on the group.
    #[track_caller]
    pub(crate) fn mtctl(&self, words: &[&str]) -> Run {
        let retention = self.at("retention");
        let of = ["--group", "web", "--retention", &retention, "--retention-unmounted"];
        finish(&mut command(mtctl(), &[words, &of].concat()))
    }

    /// Starts the receiver on the socket `serve`, and with these options; returns once senders can
    /// connect.
    pub(crate) fn serve(&self, options: &[&str]) -> Receiver {
        let (groups, socket) = (self.at("groups"), self.at("serve"));
        let words = ["serve", "--groups", &groups, "--socket", &socket, "--json"];
        let mut command = command(mtctl(), &[&words, options].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut receiver = Receiver { child, stdout, listening: Vec::new() };
        let mut line = String::new();
        receiver.stdout.read_line(&mut line).unwrap();
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        let listening = told["listening"].as_array().unwrap().iter();
        receiver.listening = listening.map(|one| one.as_str().unwrap().to_owned()).collect();
        receiver
    }

    /// The command that sends `stream` to `receiver`.
    pub(crate) fn send(
        &self,
        stream: &str,
        receiver: &str,
        more: &[&str],
    ) -> std::process::Command {
        let stream = self.at(stream);
        let words = ["send", &stream, "--to", receiver, "--group", "web", "--json"];
        command(mtctl(), &[&words, more].concat())
    }

    /// Asserts that the disk and every point hold what they should.
    #[track_caller]
    pub(crate) fn holds_everything(&self) {
        assert!(fs::read(self.path("disk")).unwrap() == self.end, "the disk differs");
        let listed = self.mtctl(&["points", "list", "--json"]).exits(0).json();
        let names: Vec<&str> = listed["points"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|point| point["name"].as_str())
            .collect();
        let marks: Vec<&str> = self.marks.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, marks, "{listed}");
        for (name, contents) in &self.marks {
            let digest = self.mtctl(&["digest", "--to", name, "--json"]).exits(0).json();
            let expected = blake3::hash(contents).to_hex().to_string();
            assert!(digest.to_string().contains(&expected), "{name}: {digest}");
        }
        self.mtctl(&["journal", "check"]).exits(0);
    }
}

/// A running receiver; killed on drop.
pub(crate) struct Receiver {
    child: Child,
    // Closed, it would be a broken pipe.
    stdout: BufReader<ChildStdout>,
    /// Where it listens.
    pub(crate) listening: Vec<String>,
}

impl Receiver {
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in order; returns its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(id, Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
