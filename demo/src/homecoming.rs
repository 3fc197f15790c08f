//! The chapters in which a machine's disk comes home: all of it, then the changes since, then the
//! proof. `delta` makes the streams; the disks belong to `stage`.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};

use crate::delta;
use crate::expectation::expect;
use crate::namespace::SCRATCH;
use crate::stage::{REPLICA_BYTES, SOURCE_MOUNT, Stage, TARGET_MOUNT, generated_bytes};
use crate::story::Story;

const FULL: &str = "/tmp/full.mts";
const DELTA: &str = "/tmp/monday.mts";
const DAMAGED: &str = "/tmp/damaged.mts";
/// A copy of the source from when the full stream was made.
const BEFORE: &str = "/tmp/before.img";
const INVOICES: u64 = 8;
const LEDGER_BEFORE: &str = "Friday: balance 100.00\n";
const LEDGER: &str = "Friday: balance 100.00\nMonday: balance 250.00\n";
/// The ledger after the damage, with the same number of bytes.
const FORGED: &str = "Friday: balance 100.00\nMonday: balance 950.00\n";

/// The paths of the two disks.
struct Pair {
    source: String,
    target: String,
}

fn pair(stage: &Stage) -> Result<Pair> {
    let [source, target] = stage.replica()?;
    Ok(Pair { source, target })
}

fn apply(stream: &str, pair: &Pair) -> String {
    format!("mtctl apply {stream} --group accounting --target {}", pair.target)
}

pub(crate) fn all_of_it(story: &mut Story, stage: &mut Stage) -> Result<()> {
    stage.attach_replica()?;
    let pair = pair(stage)?;
    let Pair { source, target } = &pair;
    story.say(&format!(
        "What a master target is for. {source} stands in for the disk of a machine in a cloud, \
         with ext4 and files on it; {target} for its disk at home, still blank. The cloud side is \
         not part of mtctl: this demo reads {source}, and writes the change streams. The first one \
         holds the whole disk."
    ));
    fill(story, &pair)?;
    delta::capture(None, Path::new(source), REPLICA_BYTES, Path::new(FULL), "friday")?;
    story.run_saying(&apply(FULL, &pair), 0, "1 recovery point")
}

/// Makes the filesystem, fills it, and keeps a copy of the disk.
fn fill(story: &mut Story, Pair { source, .. }: &Pair) -> Result<()> {
    for (name, ledger) in [("friday", LEDGER_BEFORE), ("monday", LEDGER)] {
        fs::write(format!("{SCRATCH}/{name}.txt"), ledger)?;
    }
    story.run(&format!("mkfs.ext4 -q -L accounting {source}"), 0)?;
    story.run(&format!("mount {source} {SOURCE_MOUNT}"), 0)?;
    story.run(&format!("cp {SCRATCH}/friday.txt {SOURCE_MOUNT}/ledger.txt"), 0)?;
    for number in 1..=INVOICES {
        let path = format!("{SOURCE_MOUNT}/invoice-{number}.dat");
        fs::write(path, generated_bytes(number, 128 << 10))?;
    }
    story.run(&format!("umount {SOURCE_MOUNT}"), 0)?;
    let copy = || std::io::copy(&mut File::open(source)?, &mut File::create(BEFORE)?);
    copy().map(drop).context("copying the source")
}

pub(crate) fn what_changed(story: &mut Story, stage: &mut Stage) -> Result<()> {
    let pair = pair(stage)?;
    story.say(
        "In the cloud, work continues. One file is rewritten, one is created, one is deleted:",
    );
    change(story, &pair)?;
    delta::capture(
        Some(Path::new(BEFORE)),
        Path::new(&pair.source),
        REPLICA_BYTES,
        Path::new(DELTA),
        "monday",
    )?;
    story.say("The next stream contains only what differs from Friday:");
    story.run_saying(&format!("mtctl stream inspect {DELTA}"), 0, "monday complete:")?;
    damaged(story, &pair)?;
    story.say("The stream is applied as it was sent, and then a second time by mistake:");
    story.run(&format!("{} --verify", apply(DELTA, &pair)), 0)?;
    story.run_saying(&apply(DELTA, &pair), 0, "nothing to do")
}

fn change(story: &mut Story, Pair { source, .. }: &Pair) -> Result<()> {
    story.run(&format!("mount {source} {SOURCE_MOUNT}"), 0)?;
    story.run(&format!("cp {SCRATCH}/monday.txt {SOURCE_MOUNT}/ledger.txt"), 0)?;
    story.run(&format!("cp {SOURCE_MOUNT}/invoice-1.dat {SOURCE_MOUNT}/invoice-9.dat"), 0)?;
    story.run(&format!("rm {SOURCE_MOUNT}/invoice-3.dat"), 0)?;
    story.run(&format!("umount {SOURCE_MOUNT}"), 0)?;
    Ok(())
}

fn damaged(story: &mut Story, pair: &Pair) -> Result<()> {
    story.say(
        "A copy of it was damaged on the way: one byte turns a balance of 250 into 950. Not a \
         single byte of the batch that contains it is written:",
    );
    forge()?;
    let hash = format!("sha256sum {}", pair.target);
    let before = story.run(&hash, 0)?;
    story.run_saying(&apply(DAMAGED, pair), 5, "checksum")?;
    let after = story.run(&hash, 0)?;
    expect(before == after, || format!("{} was changed by a damaged stream", pair.target))
}

/// Writes the stream with one byte changed: a digit of the ledger.
fn forge() -> Result<()> {
    let mut bytes = fs::read(DELTA)?;
    let ledger = LEDGER.as_bytes();
    let place = bytes.windows(ledger.len()).position(|window| window == ledger);
    let place = place.context("the ledger is not in the stream")?;
    bytes[place..place + ledger.len()].copy_from_slice(FORGED.as_bytes());
    Ok(fs::write(DAMAGED, bytes)?)
}

pub(crate) fn proof(story: &mut Story, stage: &mut Stage) -> Result<()> {
    let pair = pair(stage)?;
    let Pair { source, target } = &pair;
    story.say(
        "Is the disk at home the same as the disk in the cloud? The filesystem is intact, and the \
         bytes are equal:",
    );
    story.run(&format!("e2fsck -fn {target}"), 0)?;
    let sums = story.run(&format!("sha256sum {source} {target}"), 0)?;
    let mut hashes = sums.lines().filter_map(|line| line.split_whitespace().next());
    let [cloud, home] = [hashes.next(), hashes.next()];
    expect(cloud.is_some() && cloud == home, || format!("{source} and {target} differ"))?;
    story.say("And this is what accounting sees:");
    story.run(&format!("mount -o ro {target} {TARGET_MOUNT}"), 0)?;
    story.run(&format!("ls -m {TARGET_MOUNT}"), 0)?;
    let ledger = story.run(&format!("cat {TARGET_MOUNT}/ledger.txt"), 0)?;
    expect(ledger == LEDGER, || format!("expected Monday's ledger, but found:\n{ledger}"))?;
    story.run(&format!("umount {TARGET_MOUNT}"), 0)?;
    story.say("Both hashes are equal: the machine is home, with all of Monday's work.");
    Ok(())
}
