//! Every write of a run with history, as dm-log-writes has it: the disk is made again as it was at
//! each of its flushes, and in between with some of what followed; from each such state the group
//! recovers, and goes on. It is recorded in a machine, and looked at on loop devices of this host,
//! which is twenty times faster and reads the same bytes.
//! One log has the order of all three volumes, which are parts of one disk: so a flush of one is a
//! flush of all here. Disks whose caches are lost one without the other are in `power`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use mt_tests::journal_format::History;
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{Run, command, finish, mtctl, run};
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use nix::fcntl::{FallocateFlags, fallocate};
use vm_images::case::{Case, Lab};
use vm_images::hardware::Hardware;
use vm_images::image::Kind;
use vm_images::log_writes::{Become, Log};

use crate::replication::{
    Extent, Replication, SHELL, VOLUMES, digests_in, digests_of, hashes, points_in,
};

pub(crate) const CASES: &[Case] = &[Case {
    name: "log_writes::from_every_flush_a_group_recovers_and_goes_on",
    image: Kind::Debian,
    limit: Duration::from_secs(1200),
    story: every_flush,
}];

const MIB: u64 = 1 << 20;
/// About as many flushes as can be looked at in a quarter of an hour: each point takes some.
const EXTENT: Extent = Extent { streams: 3, marks: 2, changes: 4, bytes: 2 * MIB };
/// Two volumes of 2 MiB, and the retention volume behind them.
const PARTS: [(&str, usize); 3] = [("db", 2 << 20), ("log", 2 << 20), ("retention", 48 << 20)];
/// The retention volume's place on the disk.
const RETENTION_AT: usize = PARTS[0].1 + PARTS[1].1;
const DISK_MIB: u64 = 52;
/// How many points of a state are read: which, goes round with the states.
const POINTS: usize = 1;

/// Where both the machine and this host see the three volumes: a group knows them by their paths.
/// `node NAME MAJOR MINOR` makes one there.
const NODES: &str = r#"
disk() { echo "/run/$1"; }
node() { rm -f "/run/$1"; mknod "/run/$1" b "$2" "$3"; }
applied() {
	go apply /host/stream-0 /host/stream-1 /host/stream-2 \
		--map "db=$(disk db)" --map "log=$(disk log)"
}
"#;

/// What is recorded. Whoever looks on writes down what was told, into the log itself.
const RECORDED: &str = r#"
set -e
attached() { echo "/dev/disk/by-id/scsi-0VMware_Virtual_disk_$1"; }
dmsetup create whole --table "0 $((52 * 2048)) log-writes $(attached whole) $(attached writes)"
at=0
for part in db:4096 log:4096 retention:98304; do
	name=${part%:*} sectors=${part#*:}
	dmsetup create "$name" --table "0 $sectors linear /dev/mapper/whole $at"
	node "$name" $(dmsetup info -c --noheadings --separator ' ' -o major,minor "$name")
	at=$((at + sectors))
done
use_retention
told() { dmsetup message whole 0 mark "$1"; }
listed() {
	newest=$(points 2>/dev/null | grep -o '"id": *[0-9]*' | grep -o '[0-9]*' | sort -n | tail -n 1)
	[ -z "$newest" ] || told "point-$newest"
}
watch() { while [ ! -e /tmp/over ]; do listed; done; }
watch &
stream 0
stream 1
listed
go rollback --to s0m2 --yes
told "back"
applied
touch /tmp/over
wait
told "end"
points >/host/points
umount /mnt/retention
dmsetup remove retention log db whole
"#;

fn guest(script: &str) -> String {
    format!("{SHELL}\n{NODES}\n{script}")
}

/// What was recorded.
struct Recording {
    log: Vec<u8>,
    parsed: Log,
    before: Vec<u8>,
    /// The points at the end: none went meanwhile.
    points: BTreeMap<u64, String>,
}

/// A state of the disk that a power cut may have left.
struct State {
    /// The first entries of the log, all of them …
    entries: usize,
    /// … and of what follows up to the next flush these.
    survivors: Survivors,
}

/// What of the writes that nobody had flushed came to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Survivors {
    Nothing,
    OfVolumes,
    OfRetention,
    Some,
}

impl Survivors {
    fn includes(self, at: usize, random: &mut Random) -> bool {
        match self {
            Self::Nothing => false,
            Self::OfVolumes => at < RETENTION_AT,
            Self::OfRetention => at >= RETENTION_AT,
            Self::Some => random.below(2) == 0,
        }
    }
}

fn every_flush(lab: &mut Lab) -> Result<()> {
    let share = lab.share();
    let replication = Replication::new(&share, 21, EXTENT)?;
    let recording = record(lab)?;
    let states = states(&recording);
    let mut random = Random::new(22);
    println!("{} states of {} entries", states.len(), recording.parsed.entries.len());
    let mut looked_at = Ok(());
    let mut replay = Replay::new(&recording);
    on_a_scratch_machine(|machine| {
        looked_at = Volumes::attach(machine, &share).and_then(|volumes| {
            states.iter().enumerate().try_for_each(|(index, state)| {
                let told = recording.told(state);
                let said = format!("after entry {}: {told:?}", state.entries);
                let _tells = Tells(said, state.survivors);
                volumes.put(&replay.disk(state, &mut random)?)?;
                recovers(&volumes, index, &told, &recording, &replication)?;
                // Applied to its end: byte for byte.
                assert!(volumes.held()? == *replication.last(), "it became something else");
                volumes.must("umount /mnt/retention");
                lab.tally.cuts += 1;
                Ok(())
            })
        });
    });
    looked_at
}

/// Says which state was being looked at when something was not as it should be.
struct Tells(String, Survivors);

impl Drop for Tells {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}, and then of what was not flushed {:?}", self.0, self.1);
        }
    }
}

/// The three volumes, attached to this host where they were in the machine: state after state is
/// put onto them.
struct Volumes {
    /// What is said before each script.
    before: String,
    devices: Vec<LoopDevice>,
}

impl Volumes {
    fn attach(machine: &ScratchMachine, share: &Path) -> Result<Self> {
        let directory = mtctl().parent().context("mtctl is in no folder")?.display();
        // As the guest sees them.
        let stream = share.display();
        let before = format!("PATH={directory}:$PATH\n{SHELL}\n{NODES}\n")
            .replace("/host", &stream.to_string());
        let attach = |(name, bytes)| LoopDevice::new(&machine.file(name), bytes as u64);
        let volumes = Self { before, devices: PARTS.map(attach).into() };
        let node = |(device, (name, _)): (&LoopDevice, _)| {
            format!("node {name} $(stat -c '0x%t 0x%T' {})\n", device.path())
        };
        let nodes: String = volumes.devices.iter().zip(PARTS).map(node).collect();
        volumes.must(&format!("set -e\n{nodes}"));
        Ok(volumes)
    }

    /// Makes them the parts of `disk`, and mounts the one for retention.
    fn put(&self, disk: &[u8]) -> Result<()> {
        let mut at = 0;
        for (device, (_, bytes)) in self.devices.iter().zip(PARTS) {
            write_sparse(device.file(), &disk[at..at + bytes])?;
            device.forget_cached();
            at += bytes;
        }
        self.must("use_retention");
        Ok(())
    }

    fn run(&self, script: &str) -> Run {
        finish(&mut command("bash", &["-c", &format!("{}\n{script}", self.before)]))
    }

    fn must(&self, script: &str) -> String {
        let run = self.run(script);
        run.exits(0);
        run.stdout
    }

    /// What the two disks hold. It is written past the devices' caches, so the files have it.
    fn held(&self) -> Result<[Vec<u8>; 2]> {
        Ok([fs::read(self.devices[0].file())?, fs::read(self.devices[1].file())?])
    }
}

/// Streams with marks, a rollback, and streams again, with all that is written in a log.
fn record(lab: &mut Lab) -> Result<Recording> {
    let whole = lab.blank("whole", DISK_MIB)?;
    let retention = lab.blank("retention", DISK_MIB - 4)?;
    run("mkfs.ext4", &["-q", &retention.to_string_lossy()]);
    let made = fs::read(&retention)?;
    File::options().write(true).open(&whole)?.write_all_at(&made, RETENTION_AT as u64)?;
    let before = fs::read(&whole)?;
    let writes = lab.blank("writes", 256)?;
    let hardware = Hardware::default().known_disk("whole", &whole).known_disk("writes", &writes);
    let mut machine = lab.boot(&hardware)?;
    machine.must(&guest(RECORDED))?;
    machine.shut_down()?;
    let points = points_in(&fs::read_to_string(lab.share().join("points"))?)?;
    let log = fs::read(&writes)?;
    let parsed = Log::parse(&log)?;
    let recording = Recording { log, parsed, before, points };
    // The log is all that happened: done again, it ends with the disk that the machine left.
    let entries = recording.parsed.entries.len();
    let end = State { entries, survivors: Survivors::Nothing };
    let last = Replay::new(&recording).disk(&end, &mut Random::new(0))?;
    assert!(last == fs::read(&whole)?, "the log does not tell all");
    Ok(recording)
}

/// Every flush that made something durable, as it is, and every second once more with what had not
/// been flushed yet: in turn some of it, and all of either side.
fn states(recording: &Recording) -> Vec<State> {
    const MORE: [Survivors; 3] = [Survivors::OfVolumes, Survivors::OfRetention, Survivors::Some];
    let mut states = Vec::new();
    for (index, entries) in recording.parsed.barriers().into_iter().enumerate() {
        states.push(State { entries, survivors: Survivors::Nothing });
        if index % 2 == 0 {
            states.push(State { entries, survivors: MORE[index / 2 % MORE.len()] });
        }
    }
    states
}

/// The disk as it becomes, state after state.
struct Replay<'a> {
    recording: &'a Recording,
    disk: Vec<u8>,
    /// So many entries of the log are done.
    done: usize,
}

impl<'a> Replay<'a> {
    fn new(recording: &'a Recording) -> Self {
        Self { recording, disk: recording.before.clone(), done: 0 }
    }

    /// The disk in this state, which does not come before the one asked for last.
    fn disk(&mut self, state: &State, random: &mut Random) -> Result<Vec<u8>> {
        let Recording { log, parsed, .. } = self.recording;
        let (durable, rest) = parsed.entries.split_at(state.entries);
        durable[self.done..].iter().try_for_each(|entry| entry.replay(log, &mut self.disk))?;
        self.done = state.entries;
        let mut disk = self.disk.clone();
        for entry in rest.iter().take_while(|entry| !entry.is_flush && !entry.is_fua) {
            if state.survivors.includes(usize::try_from(entry.extent.start)?, random) {
                entry.replay(log, &mut disk)?;
            }
        }
        Ok(disk)
    }
}

impl Recording {
    /// What was told before the disk was in this state.
    fn told(&self, state: &State) -> Vec<&str> {
        let entries = self.parsed.entries[..state.entries].iter();
        let told = entries.filter_map(|entry| match &entry.becomes {
            Become::Marked(text) => Some(text.as_str()),
            Become::Written(_) | Become::Discarded => None,
        });
        told.collect()
    }
}

/// Takes the state through what an operator does after a cut.
fn recovers(
    volumes: &Volumes,
    index: usize,
    told: &[&str],
    recording: &Recording,
    replication: &Replication,
) -> Result<()> {
    if !Path::new("/mnt/retention/g/state").exists() {
        assert!(told.is_empty(), "the group is gone: {told:?}");
        volumes.must("applied");
        return Ok(());
    }
    volumes.must("mtctl journal check --group g");
    let listed = points_in(&volumes.must("points"))?;
    // I3: what was told is there.
    let newest = told.iter().filter_map(|text| text.strip_prefix("point-")).next_back();
    let newest = newest.map_or(Ok(0), str::parse)?;
    for (id, name) in recording.points.iter().filter(|(id, _)| **id <= newest) {
        assert_eq!(listed.get(id), Some(name), "told before: {listed:?}");
    }
    // I1: every point is what it was, by a reader that knows the document alone.
    let history = History::read(Path::new("/mnt/retention/g")).map_err(anyhow::Error::msg)?;
    // Before the first save of a history there is a state without one.
    assert!(history.is_some() || listed.is_empty(), "points without a history: {listed:?}");
    if let Some(history) = history {
        let disks = volumes.held()?;
        let start = Some((0, "start".to_owned()));
        for (id, name) in listed.clone().into_iter().chain(start) {
            let held = |volume: usize| {
                let held = history.held(VOLUMES[volume], id, disks[volume].clone());
                held.map_err(anyhow::Error::msg)
            };
            let found = hashes(&[held(0)?, held(1)?]);
            assert_eq!(found, *replication.digests(&name), "point {id}, {name}, by the document");
        }
    }
    // I5: and a view of it shows that.
    let count = POINTS.min(listed.len());
    for (id, name) in listed.iter().cycle().skip(index % listed.len().max(1)).take(count) {
        let found = digests_in(&volumes.must(&digests_of(*id)));
        assert_eq!(found, replication.digests(name), "point {id}, {name}");
    }
    // I4 and I6: the disks are at a point, or come to one, the one that it says.
    let recovered = volumes.run("go recover --yes --json");
    let said = recovered.exits(0).json();
    let held = hashes(&volumes.held()?);
    let is_at = |name: &String| held == *replication.digests(name);
    let start = "start".to_owned();
    match said["point"].as_u64() {
        Some(0) => assert!(is_at(&start), "not at the start"),
        Some(id) => assert!(is_at(&listed[&id]), "not at point {id}: {listed:?}"),
        None => {
            let known = listed.values().chain([&start]).any(is_at);
            assert!(known, "nothing to recover, and at no point: {listed:?}");
        }
    }
    // I2: what follows goes on from there, to its end.
    volumes.must("applied && mtctl journal check --group g");
    Ok(())
}

/// Writes what is not zeros, over a file as long that becomes zeros.
fn write_sparse(path: &Path, bytes: &[u8]) -> Result<()> {
    const PIECE: usize = 64 << 10;
    // Compared as a whole: a byte at a time takes longer than all that is tested.
    static ZEROS: [u8; PIECE] = [0; PIECE];
    // Not made anew, and never shorter: a loop device is attached to it.
    let file = File::options().write(true).open(path)?;
    let whole = i64::try_from(bytes.len())?;
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(&file, punch, 0, whole)?;
    for (index, piece) in bytes.chunks(PIECE).enumerate() {
        if *piece != ZEROS[..piece.len()] {
            file.write_all_at(piece, (index * PIECE) as u64)?;
        }
    }
    Ok(())
}
