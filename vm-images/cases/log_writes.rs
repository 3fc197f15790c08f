//! Every write of a run with history, as dm-log-writes has it: the disk is made again as it was at
//! its flushes, and in between with some of what followed; from each such state the group recovers.
//! One log has the order of all three volumes, which are parts of one disk: so a flush of one is a
//! flush of all here. Disks whose caches are lost one without the other are in `power`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use mt_tests::program::{Run, run};
use mt_tests::random::Random;
use vm_images::case::{Case, Lab};
use vm_images::hardware::{Hardware, Identity};
use vm_images::image::Kind;
use vm_images::log_writes::{Become, Log};
use vm_images::machine::Machine;

use crate::replication::{Extent, Replication, SHELL};

pub(crate) const CASES: &[Case] = &[Case {
    name: "log_writes::from_every_flush_a_group_recovers_and_goes_on",
    image: Kind::Debian,
    limit: Duration::from_secs(900),
    story: every_flush,
}];

const MIB: u64 = 1 << 20;
const EXTENT: Extent = Extent { streams: 3, marks: 3, changes: 4, bytes: 2 * MIB };
/// The parts of the disk: two volumes, and the retention volume behind them.
const RETENTION_AT: usize = 2 * EXTENT.bytes as usize;
const DISK_MIB: u64 = 52;
/// So many states are looked at.
const STATES: usize = 60;
/// So many disks are in a machine at a time: as many as its controller takes.
const DISKS: usize = 15;
/// So many points of a state are read; a guest is slow.
const POINTS: usize = 5;

/// For machines where the three volumes are parts of one disk: `parts DISK` makes them of it, the
/// same device numbers each time, as the volumes are known by these.
const PARTS: &str = r#"
disk() { echo "/dev/mapper/$1"; }
attached() { echo "/dev/disk/by-id/scsi-0VMware_Virtual_disk_$1"; }
parts() {
	set -e
	at=0
	for part in db:4096 log:4096 retention:98304; do
		dmsetup create "${part%:*}" --table "0 ${part#*:} linear /dev/mapper/whole $at"
		at=$((at + ${part#*:}))
	done
	use_retention
	set +e
}
no_parts() { umount /mnt/retention && dmsetup remove retention log db whole; }
applied() {
	go apply /host/stream-0 /host/stream-1 /host/stream-2 \
		--map "db=$(disk db)" --map "log=$(disk log)"
}
"#;

/// What is recorded. Whoever looks on writes down what was told, into the log itself.
const RECORDED: &str = r#"
dmsetup create whole --table "0 $((52 * 2048)) log-writes $(attached whole) $(attached writes)"
parts
told() { dmsetup message whole 0 mark "$1"; }
listed() {
	newest=$(points 2>/dev/null | grep -o '"id": *[0-9]*' | grep -o '[0-9]*' | sort -n | tail -n 1)
	[ -z "$newest" ] || told "point-$newest"
}
watch() { while [ ! -e /tmp/over ]; do listed; done; }
set -e
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
no_parts
"#;

fn guest(script: &str) -> String {
    format!("{SHELL}\n{PARTS}\n{script}")
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
    const ALL: [Self; 4] = [Self::Nothing, Self::OfVolumes, Self::OfRetention, Self::Some];

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
    let replication = Replication::new(&lab.share(), 21, EXTENT)?;
    let recording = record(lab)?;
    let mut random = Random::new(22);
    let states = states(&recording, &mut random);
    let barriers = recording.parsed.barriers().len();
    assert!(barriers > STATES, "only {barriers}: nothing was flushed");
    for states in states.chunks(DISKS) {
        let mut hardware = Hardware::default();
        for (slot, state) in states.iter().enumerate() {
            let (name, file) = (format!("state{slot}"), lab.file(&format!("state{slot}")));
            write_sparse(&file, &recording.disk(state, &mut random)?)?;
            hardware = hardware.disk(&name, &file);
            hardware = hardware.with(|disk| disk.identity = Identity::Serial(name));
        }
        let mut machine = lab.boot(&hardware)?;
        for (slot, state) in states.iter().enumerate() {
            let told = recording.told(state);
            recovers(&mut machine, slot, &told, &recording, &replication).with_context(|| {
                format!("after entry {} and {:?}, {told:?}", state.entries, state.survivors)
            })?;
            lab.tally.cuts += 1;
        }
        machine.shut_down()?;
        for slot in 0..states.len() {
            // Applied to its end: byte for byte, as the host sees the disk.
            let found = read(&lab.file(&format!("state{slot}")), RETENTION_AT)?;
            assert!(found == replication.last().concat(), "state {slot} became something else");
        }
    }
    Ok(())
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
    let named = |name: &str| Identity::Serial(name.to_owned());
    let hardware = Hardware::default()
        .disk("whole", &whole)
        .with(|disk| disk.identity = named("whole"))
        .disk("writes", &writes)
        .with(|disk| disk.identity = named("writes"));
    let mut machine = lab.boot(&hardware)?;
    machine.must(&guest(RECORDED))?;
    machine.shut_down()?;
    let points = points(&fs::read_to_string(lab.share().join("points"))?)?;
    let log = fs::read(&writes)?;
    let parsed = Log::parse(&log)?;
    let recording = Recording { log, parsed, before, points };
    // The log is all that happened: done again, it ends with the disk that the machine left.
    let entries = recording.parsed.entries.len();
    let last =
        recording.disk(&State { entries, survivors: Survivors::Nothing }, &mut Random::new(0))?;
    assert!(last == fs::read(&whole)?, "the log does not tell all");
    Ok(recording)
}

/// As many as are looked at: evenly over the flushes, in turn with nothing, with some, and with all
/// of either side of what was not flushed yet.
fn states(recording: &Recording, random: &mut Random) -> Vec<State> {
    let barriers = recording.parsed.barriers();
    let count = STATES.min(barriers.len());
    (0..count)
        .map(|index| State {
            entries: barriers[index * barriers.len() / count],
            survivors: Survivors::ALL[(index + random.below(2) as usize * 2) % 4],
        })
        .collect()
}

impl Recording {
    /// The disk in this state.
    fn disk(&self, state: &State, random: &mut Random) -> Result<Vec<u8>> {
        let mut disk = self.before.clone();
        let (durable, rest) = self.parsed.entries.split_at(state.entries);
        durable.iter().try_for_each(|entry| entry.replay(&self.log, &mut disk))?;
        for entry in rest.iter().take_while(|entry| !entry.is_flush && !entry.is_fua) {
            if state.survivors.includes(usize::try_from(entry.extent.start)?, random) {
                entry.replay(&self.log, &mut disk)?;
            }
        }
        Ok(disk)
    }

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

/// The points of a listing: number and name.
fn points(listed: &str) -> Result<BTreeMap<u64, String>> {
    let listed: serde_json::Value = serde_json::from_str(listed)?;
    let points = listed["points"].as_array().context("no points")?;
    let one = |point: &serde_json::Value| {
        Some((point["id"].as_u64()?, point["name"].as_str()?.to_owned()))
    };
    Ok(points.iter().filter_map(one).collect())
}

/// Boots nothing: takes the state on the disk `slot` through what an operator does after a cut.
fn recovers(
    machine: &mut Machine,
    slot: usize,
    told: &[&str],
    recording: &Recording,
    replication: &Replication,
) -> Result<()> {
    let whole = format!(
        "set -e; dmsetup create whole --table \"0 $((52 * 2048)) linear $(attached state{slot}) 0\"
         parts; ls /mnt/retention/g 2>/dev/null || true"
    );
    let has_state = machine.must(&guest(&whole))?.lines().any(|name| name == "state");
    let newest = told.iter().filter_map(|text| text.strip_prefix("point-")).next_back();
    if has_state {
        machine.must(&guest("mtctl journal check --group g"))?;
        let listed = points(&machine.must(&guest("points"))?)?;
        // I3: what was told is there.
        let newest = newest.map_or(Ok(0), str::parse)?;
        for (id, name) in recording.points.iter().filter(|(id, _)| **id <= newest) {
            assert_eq!(listed.get(id), Some(name), "told before: {listed:?}");
        }
        // I1 and I5: every point is what it was.
        // Each of them in one state or another: which, goes round.
        let begin = slot % listed.len().max(1);
        for (id, name) in listed.iter().cycle().skip(begin).take(POINTS.min(listed.len())) {
            let digest = |volume| format!("go digest --to id:{id} --volume {volume}");
            let found = digests(&machine.run(&guest(&["db", "log"].map(digest).join("\n")))?);
            assert_eq!(found, replication.digests(name), "point {id}, {name}");
        }
        // I4 and I6: the disks are at a point, or come to one, the one that it says.
        let recovered = machine.run(&guest("go recover --yes --json"))?;
        let said = recovered.exits(0).json();
        let held = machine.run(&guest("mtctl digest $(disk db); mtctl digest $(disk log)"))?;
        let held = digests(&held);
        let is_at = |name: &String| held == replication.digests(name);
        match said["point"].as_u64() {
            Some(0) => assert!(is_at(&"start".to_owned()), "not at the start"),
            Some(id) => assert!(is_at(&listed[&id]), "not at point {id}: {listed:?}"),
            None => {
                let start = "start".to_owned();
                let known = listed.values().chain([&start]).any(is_at);
                assert!(known, "nothing to recover, and at no point: {listed:?}");
            }
        }
    } else {
        assert!(told.is_empty(), "the group is gone: {told:?}");
    }
    // I2: what follows goes on from there, to the end that the host compares.
    machine.must(&guest("applied && mtctl journal check --group g && no_parts"))?;
    Ok(())
}

fn digests(run: &Run) -> Vec<String> {
    run.exits(0);
    let hash = |line: &str| line.split(' ').next().map(str::to_owned);
    run.stdout.lines().filter_map(hash).collect()
}

/// The first `length` bytes.
fn read(path: &Path, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    File::open(path)?.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Writes what is not zeros: there are many disks.
fn write_sparse(path: &Path, bytes: &[u8]) -> Result<()> {
    const PIECE: usize = 64 << 10;
    let file = File::create(path)?;
    file.set_len(bytes.len() as u64)?;
    for (index, piece) in bytes.chunks(PIECE).enumerate() {
        if piece.iter().any(|byte| *byte != 0) {
            file.write_all_at(piece, (index * PIECE) as u64)?;
        }
    }
    Ok(())
}
