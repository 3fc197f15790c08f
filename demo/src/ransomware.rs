//! The chapters in which a week goes by, everything is encrypted, and the disk is rolled back to
//! the day before. The disks belong to `stage`; `delta` makes the streams.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::delta;
use crate::expectation::{expect, says};
use crate::stage::{REPLICA_BYTES, SOURCE_MOUNT, Stage, TARGET_MOUNT, generated_bytes};
use crate::story::Story;

const DAYS: [&str; 5] = ["tuesday", "wednesday", "thursday", "friday-evening", "saturday"];
/// The day to which the disk is rolled back: the last one before the attack.
const LAST_GOOD: &str = "friday-evening";
const SOCKET: &str = "/tmp/export.sock";
const COPY: &str = "/tmp/before-the-attack.img";
const GROUP: &str = "--group accounting";

/// The path of a copy of the source from `day`.
fn kept(day: &str) -> String {
    format!("/tmp/source-{day}.img")
}

fn copy_source(source: &str, day: &str) -> Result<()> {
    let copy = || std::io::copy(&mut File::open(source)?, &mut File::create(kept(day))?);
    copy().map(drop).context("copying the source")
}

/// Makes a stream of the changes since the copy from the day before, and applies it.
fn replicate(story: &mut Story, [source, target]: &[String; 2], days: [&str; 2]) -> Result<()> {
    let [before, day] = days;
    let (stream, copy) = (format!("/tmp/{day}.mts"), kept(before));
    delta::capture(
        Some(Path::new(&copy)),
        Path::new(source),
        REPLICA_BYTES,
        Path::new(&stream),
        day,
    )?;
    fs::remove_file(copy)?;
    copy_source(source, day)?;
    story.run_saying(
        &format!("mtctl apply {stream} {GROUP} --target {target}"),
        0,
        "1 recovery point",
    )
}

pub(crate) fn a_week(story: &mut Story, stage: &mut Stage) -> Result<()> {
    let disks = stage.replica()?;
    story.say(
        "The days go by, and every evening the changes are sent home. The retention volume keeps \
         what the disk held before: one recovery point a day. On Saturday nobody works, and yet \
         every file changes.",
    );
    copy_source(&disks[0], "monday")?;
    let mut before = "monday";
    for (number, day) in DAYS.into_iter().enumerate() {
        work(&disks[0], number as u64, day)?;
        replicate(story, &disks, [before, day])?;
        before = day;
    }
    story.run_saying(&format!("mtctl points list {GROUP}"), 0, LAST_GOOD)
}

/// The changes of a day: a new file and a rewritten one, or the whole disk.
fn work(source: &str, number: u64, day: &str) -> Result<()> {
    if day == "saturday" {
        return encrypt(source);
    }
    let mounted = |arguments: &[&str]| {
        let status = Command::new(arguments[0]).args(&arguments[1..]).status()?;
        expect(status.success(), || format!("{arguments:?} failed"))
    };
    mounted(&["mount", source, SOURCE_MOUNT])?;
    let path = format!("{SOURCE_MOUNT}/report-{day}.txt");
    fs::write(path, format!("Everything is fine on {day}.\n"))?;
    fs::write(format!("{SOURCE_MOUNT}/invoice-1.dat"), generated_bytes(100 + number, 256 << 10))?;
    mounted(&["umount", SOURCE_MOUNT])
}

/// Ransomware, as the disk sees it: everything is overwritten with data that nobody can read.
fn encrypt(source: &str) -> Result<()> {
    let disk = File::options().write(true).open(source)?;
    let noise = generated_bytes(666, 1 << 20);
    for at in (0..REPLICA_BYTES).step_by(noise.len()) {
        disk.write_all_at(&noise, at)?;
    }
    Ok(disk.sync_all()?)
}

pub(crate) fn a_look_inside(story: &mut Story, stage: &mut Stage) -> Result<()> {
    let [_, target] = stage.replica()?;
    story.say("On Sunday somebody notices. The disk at home is affected too:");
    let text = story.run(&format!("blkid -p {target}"), 2)?;
    expect(text.is_empty(), || format!("expected no filesystem on it, but found:\n{text}"))?;
    story.say(
        "Which day was the last good one? A recovery point can be inspected without moving any \
         data: it is served as a disk over NBD.",
    );
    let typed = format!("mtctl export {GROUP} --to {LAST_GOOD} --socket {SOCKET}");
    let export = story.start(&typed)?;
    let uri = format!("nbd+unix:///?socket={SOCKET}");
    let client = [
        ("nbdcopy", format!("nbdcopy {uri} {COPY}")),
        ("qemu-img", format!("qemu-img convert -O raw {uri} {COPY}")),
    ];
    let found = client.into_iter().find(|(program, _)| is_there(program));
    match found {
        Some((_, typed)) => {
            story.run(&typed, 0)?;
            story.run(&format!("e2fsck -fn {COPY}"), 0)?;
        }
        None => {
            story.say("No NBD client is installed here (nbdcopy, qemu-img), so this is skipped.")
        }
    }
    story.stop(export)?;
    Ok(())
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

pub(crate) fn back(story: &mut Story, stage: &mut Stage) -> Result<()> {
    let [_, target] = stage.replica()?;
    story.say("That is the one. Back to it:");
    story.run(&format!("mtctl rollback {GROUP} --to {LAST_GOOD} --yes"), 0)?;
    story.say("The proof: the filesystem, the bytes, and what people see.");
    story.run(&format!("e2fsck -fn {target}"), 0)?;
    if Path::new(COPY).exists() {
        story.run(&format!("mtctl verify {target} --against {COPY}"), 0)?;
    }
    story.run(&format!("mount -o ro,noload {target} {TARGET_MOUNT}"), 0)?;
    let report = story.run(&format!("cat {TARGET_MOUNT}/report-{LAST_GOOD}.txt"), 0)?;
    says(&report, "Everything is fine")?;
    story.run(&format!("umount {TARGET_MOUNT}"), 0)?;
    story.say(
        "Until the commit, the disk can go to any other day, even Saturday. Then it is accepted, \
         and its history is dropped.",
    );
    story.run(&format!("mtctl rollback {GROUP} --to saturday --yes"), 0)?;
    story.run(&format!("mtctl rollback {GROUP} --to {LAST_GOOD} --yes"), 0)?;
    story.run(&format!("mtctl journal check {GROUP}"), 0)?;
    story.run(&format!("mtctl commit {GROUP} --yes"), 0)?;
    story.run(&format!("e2fsck -fn {target}"), 0)?;
    Ok(())
}
