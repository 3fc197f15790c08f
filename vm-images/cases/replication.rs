//! What is replicated to machines: a chain of streams for two volumes, and what these hold at each
//! mark, as the digests that `mtctl digest` prints.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use blockio::stream::native::{Encoder, EncoderOptions};
use blockio::stream::{
    Format, Mark, MarkKind, Name, StreamHeader, Timestamp, VolumeHeader, VolumeIndex,
};
use mt_tests::change_stream::{Change, random_changes, volume};
use mt_tests::random::Random;
use vm_images::machine::{Machine, RunningScript};

/// The names of the volumes; disks of machines are called the same.
pub(crate) const VOLUMES: [&str; 2] = ["db", "log"];

/// How large the chain is.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    /// How many streams follow each other …
    pub(crate) streams: usize,
    /// … with so many marks each …
    pub(crate) marks: usize,
    /// … and so many changes before each mark, of up to 160 KiB.
    pub(crate) changes: usize,
    /// Of each volume.
    pub(crate) bytes: u64,
}

/// The chain, as files `stream-N` of a folder, and what it makes of disks that were zeros.
pub(crate) struct Replication {
    digests: HashMap<String, [String; 2]>,
    last: [Vec<u8>; 2],
}

/// How the mark after `marks` marks of stream `stream` is called.
pub(crate) fn mark(stream: usize, marks: usize) -> String {
    format!("s{stream}m{marks}")
}

/// Stream and marks of a mark's name.
pub(crate) fn place(name: &str) -> (usize, usize) {
    let parts = name.strip_prefix('s').and_then(|rest| rest.split_once('m'));
    let (stream, marks) = parts.unwrap_or_else(|| panic!("{name} is none of our marks"));
    (stream.parse().unwrap(), marks.parse().unwrap())
}

impl Replication {
    /// Makes the chain in `folder`.
    pub(crate) fn new(folder: &Path, seed: u64, extent: Extent) -> Result<Self> {
        let mut random = Random::new(seed);
        let mut held = VOLUMES.map(|_| vec![0; extent.bytes as usize]);
        let mut digests = HashMap::from([("start".to_owned(), hashes(&held))]);
        for stream in 0..extent.streams {
            let (from, to) = match stream {
                0 => (String::new(), "v0".to_owned()),
                _ => (format!("v{}", stream - 1), format!("v{stream}")),
            };
            let volumes = VOLUMES.map(|name| volume(name, extent.bytes, &from, &to)).to_vec();
            let mut bytes = Vec::new();
            let mut encoder = encoder(&mut bytes, volumes)?;
            for marks in 1..=extent.marks {
                for change in random_changes(&mut random, extent.bytes, extent.changes) {
                    let volume = random.below(2) as usize;
                    change.encode(&mut encoder, VolumeIndex(volume as u16));
                    change.apply(&mut held[volume]);
                }
                let name = mark(stream, marks);
                let time = Timestamp(1_700_000_000_000_000_000 + (stream * 100 + marks) as u64);
                let kind = MarkKind::CrashConsistent;
                encoder.mark(&Mark {
                    time,
                    kind,
                    name: Name::new(name.as_bytes()),
                    group: None,
                })?;
                digests.insert(name, hashes(&held));
            }
            encoder.finish(true)?;
            fs::write(folder.join(format!("stream-{stream}")), bytes)?;
        }
        Ok(Self { digests, last: held })
    }

    /// What the volumes hold at the mark `name`, or at "start".
    pub(crate) fn digests(&self, name: &str) -> &[String; 2] {
        self.digests.get(name).unwrap_or_else(|| panic!("{name} is none of our marks"))
    }

    /// Fails unless the disks `paths` of a machine hold what the volumes hold at the mark `name`.
    pub(crate) fn is_on<P: AsRef<str>>(
        &self,
        machine: &mut Machine,
        paths: [P; 2],
        name: &str,
    ) -> Result<()> {
        let [db, log] = paths;
        let digest = format!("mtctl digest {} && mtctl digest {}", db.as_ref(), log.as_ref());
        let found = digests_in(&machine.must(&format!("{SHELL}\n{digest}"))?);
        assert_eq!(found, self.digests(name), "the disks at {name}");
        Ok(())
    }

    /// Fails unless the points that a machine lists hold what the volumes held: `count` of them,
    /// the oldest and the newest and evenly between; a guest hashes slowly.
    pub(crate) fn points_hold(&self, machine: &mut Machine, count: usize) -> Result<()> {
        let listed = machine.must(&format!("{SHELL}\npoints"))?;
        let listed: Vec<_> = points_in(&listed)?.into_iter().collect();
        assert!(!listed.is_empty(), "no points are listed");
        let last = listed.len() - 1;
        for index in 0..count {
            let (id, name) = &listed[index * last / (count - 1)];
            let found = digests_in(&machine.must(&format!("{SHELL}\n{}", digests_of(*id)))?);
            assert_eq!(found, self.digests(name), "point {id}, {name}");
        }
        Ok(())
    }

    /// Fails unless every point that a machine lists holds what the volumes held, read by what was
    /// begun there meanwhile or not; how many there are.
    pub(crate) fn all_points_hold(&self, machine: &mut Machine) -> Result<usize> {
        let listed = points_in(&machine.must(&format!("{SHELL}\npoints"))?)?;
        let digests: Vec<_> = listed.keys().map(|id| digests_of(*id)).collect();
        let found = digests_in(&machine.must(&format!("{SHELL}\n{}", digests.join(" && ")))?);
        assert_eq!(found.len(), VOLUMES.len() * listed.len(), "{found:?}");
        for ((id, name), found) in listed.iter().zip(found.chunks(VOLUMES.len())) {
            assert_eq!(found, self.digests(name), "point {id}, {name}");
        }
        Ok(listed.len())
    }

    /// What the volumes hold at the end.
    pub(crate) fn last(&self) -> &[Vec<u8>; 2] {
        &self.last
    }
}

/// The points of a listing, `points list --json`: number and name.
pub(crate) fn points_in(listed: &str) -> Result<BTreeMap<u64, String>> {
    let listed: serde_json::Value = serde_json::from_str(listed)?;
    let points = listed["points"].as_array().context("no points")?;
    let point = |point: &serde_json::Value| {
        Some((point["id"].as_u64()?, point["name"].as_str()?.to_owned()))
    };
    Ok(points.iter().filter_map(point).collect())
}

/// The digests that `mtctl digest` printed, a line each.
pub(crate) fn digests_in(printed: &str) -> Vec<String> {
    printed.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
}

/// A script, after [`SHELL`], that prints the digests of both volumes at a point.
pub(crate) fn digests_of(point: u64) -> String {
    let digest = |volume| format!("go digest --to id:{point} --volume {volume}");
    VOLUMES.map(digest).join(" && ")
}

/// A script, after [`SHELL`], that prints the digests of both disks.
pub(crate) const DIGESTS: &str = "mtctl digest $(disk db) && mtctl digest $(disk log)";

/// Writes a stream for `volumes` with `changes` and one mark to `path`.
pub(crate) fn write_stream(
    path: &Path,
    volumes: Vec<VolumeHeader>,
    changes: &[(u16, Change)],
    mark: &Mark,
) -> Result<()> {
    let mut bytes = Vec::new();
    let mut encoder = encoder(&mut bytes, volumes)?;
    for (volume, change) in changes {
        change.encode(&mut encoder, VolumeIndex(*volume));
    }
    encoder.mark(mark)?;
    encoder.finish(true)?;
    Ok(fs::write(path, bytes)?)
}

/// A stream that comes in pieces: what happens between two of them happens while it is applied.
pub(crate) struct Feed {
    share: PathBuf,
    number: usize,
    pieces: std::vec::IntoIter<Vec<u8>>,
    given: u32,
    script: RunningScript,
}

impl Feed {
    /// Begins to apply `stream-NUMBER` as `apply` says, which reads its standard input; nothing of
    /// it is there yet.
    pub(crate) fn begin(
        machine: &mut Machine,
        number: usize,
        pieces: usize,
        apply: &str,
    ) -> Result<Self> {
        let script = format!(
            "{SHELL}\n
             for piece in $(seq {pieces}); do
                 until [ -e /host/piece-{number}-$piece ]; do sleep 0.1; done
                 cat /host/piece-{number}-$piece
             done | {apply}"
        );
        let script = machine.begin(&script)?;
        let share = machine.share();
        let stream = fs::read(share.join(format!("stream-{number}")))?;
        let pieces: Vec<_> =
            stream.chunks(stream.len().div_ceil(pieces)).map(<[u8]>::to_vec).collect();
        Ok(Self { share, number, pieces: pieces.into_iter(), given: 0, script })
    }

    /// Gives it the next piece.
    pub(crate) fn go_on(&mut self) -> Result<()> {
        let piece = self.pieces.next().expect("invariant: as many as are asked for");
        let part = self.share.join("part");
        fs::write(&part, piece)?;
        self.given += 1;
        Ok(fs::rename(part, self.share.join(format!("piece-{}-{}", self.number, self.given)))?)
    }

    /// What was begun.
    pub(crate) fn script(&self) -> RunningScript {
        self.script
    }
}

fn encoder(bytes: &mut Vec<u8>, volumes: Vec<VolumeHeader>) -> Result<Encoder<&mut Vec<u8>>> {
    let header =
        StreamHeader { format: Format::Native, is_in_write_order: true, identity: None, volumes };
    let options = EncoderOptions { batch_bytes: 64 << 10, ..EncoderOptions::default() };
    Ok(Encoder::new(bytes, &header, options)?)
}

/// The digests of what both volumes hold.
pub(crate) fn hashes(held: &[Vec<u8>; 2]) -> [String; 2] {
    [0, 1].map(|volume| blake3::hash(&held[volume]).to_hex().to_string())
}

/// Functions of the shell for a machine whose disks have the serial numbers `db`, `log` and
/// `retention`: `disk NAME` is a path, `go VERB …` runs mtctl for the group.
pub(crate) const SHELL: &str = r#"
disk() { echo "/dev/disk/by-id/scsi-0VMware_Virtual_disk_$1"; }
go() { verb=$1; shift; mtctl "$verb" "$@" --group g; }
stream() { go apply "/host/stream-$1" --map "db=$(disk db)" --map "log=$(disk log)"; }
points() { mtctl points list --group g --json; }
use_retention() { mkdir -p /mnt/retention; mount "$(disk retention)" /mnt/retention; }
"#;
