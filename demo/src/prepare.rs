//! The chapters in which a host becomes a master target: the wrong disks are refused, and the right
//! one becomes the retention volume. The disks belong to `stage`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::expectation::expect;
use crate::namespace::SCRATCH;
use crate::stage::{
    ATTACHED_FILES, ATTACHED_MOUNT, RETENTION_MOUNT as RETENTION, Stage, generated_bytes, path,
};
use crate::story::Story;

pub(crate) fn three_disks(story: &mut Story, stage: &mut Stage) -> Result<()> {
    let (blank, filesystem, table) =
        (path(&stage.blank), path(&stage.filesystem), path(&stage.table));
    story.say(&format!(
        "{blank} is blank. {filesystem} and {table} stand in for disks that belong to somebody: an \
         ext4 filesystem with {ATTACHED_FILES} files in it, and a partition table. mtctl finds out \
         who uses a disk before it does anything to it."
    ));
    let text = story.run("mtctl disks --all", 0)?;
    let shows = |words: &[&str]| words.iter().all(|word| text.contains(word));
    let is_listed = shows(&[&blank, &filesystem, &table, "filesystem:ext4", "partition-table:dos"]);
    expect(is_listed && text.matches("fit for: retention").count() == 1, || {
        format!("expected three disks, one of them fit for retention, in:\n{text}")
    })
}

pub(crate) fn not_ready(story: &mut Story, _: &mut Stage) -> Result<()> {
    story.say(
        "mtctl check reports, and changes nothing. This is what it says about the retention \
         volume, the disk that keeps what replication overwrites so that machines can go back in \
         time.",
    );
    let text = story.run_showing("mtctl check", &[3], is_about_retention)?;
    let is_missing = |line: &str| line == "FAIL  retention" || line.starts_with("FAIL  retention ");
    expect(text.lines().any(is_missing), || {
        format!("expected a missing retention volume in:\n{text}")
    })
}

fn is_about_retention(line: &str) -> bool {
    line.split_whitespace().nth(1).is_some_and(|id| id.starts_with("retention"))
}

pub(crate) fn wrong_disk(story: &mut Story, stage: &mut Stage) -> Result<()> {
    story.say("The content of the two disks now:");
    stage.attached_hashes = hash_attached(story, stage)?;
    story.say("Three slips of the finger. --yes asks no questions, and yet:");
    let (filesystem, table) = (path(&stage.filesystem), path(&stage.table));
    let prepare = |disk: &str| format!("mtctl prepare --only retention --retention-disk {disk}");
    story.run_saying(
        &format!("{} --yes", prepare(&filesystem)),
        4,
        "is not blank (filesystem:ext4)",
    )?;
    story.run_saying(
        &format!("{} --yes", prepare(&table)),
        4,
        "is not blank (partition-table:dos)",
    )?;
    story.say(
        "--destroy allows the content of a disk to be destroyed. A disk in use is refused even \
         then:",
    );
    story.run(&format!("mount -o ro,noload {filesystem} {ATTACHED_MOUNT}"), 0)?;
    let typed = format!("{} --destroy {filesystem} --yes", prepare(&filesystem));
    story.run_saying(&typed, 4, "is in use (mounted:")?;
    story.run(&format!("umount {ATTACHED_MOUNT}"), 0)?;
    let after = hash_attached(story, stage)?;
    require_same_bytes(&stage.attached_hashes, &after)?;
    story.say("The hashes are the same: not one byte was written.");
    Ok(())
}

fn hash_attached(story: &mut Story, stage: &Stage) -> Result<String> {
    story.run(&format!("sha256sum {} {}", path(&stage.filesystem), path(&stage.table)), 0)
}

fn require_same_bytes(before: &str, after: &str) -> Result<()> {
    expect(before == after, || format!("the disks changed: from\n{before}to\n{after}"))
}

pub(crate) fn dry_run(story: &mut Story, stage: &mut Stage) -> Result<()> {
    story.say(
        "The plan for the right disk, with disks as sentences and files as diffs. The exit code \
         tells a script whether there is something to do (3) or not (0).",
    );
    let typed =
        format!("mtctl prepare --only retention --retention-disk {} --dry-run", path(&stage.blank));
    let text = story.run(&typed, 3)?;
    expect(text.contains("nothing was touched") && text.contains("+UUID="), || {
        format!("expected a plan with a new row of /etc/fstab in:\n{text}")
    })?;
    let is_mounted = mounts()?.contains(RETENTION);
    expect(!is_mounted, || format!("{RETENTION} is mounted after a dry run"))
}

fn mounts() -> Result<String> {
    fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")
}

pub(crate) fn for_real(story: &mut Story, stage: &mut Stage) -> Result<()> {
    story.say(
        "The plan is shown again and, on a terminal, a question is asked; --yes answers it. The \
         new row of fstab is tried at once.",
    );
    let typed =
        format!("mtctl prepare --only retention --retention-disk {} --yes", path(&stage.blank));
    let text = story.run(&typed, 0)?;
    expect(text.contains("1 changed."), || format!("expected '1 changed.' in:\n{text}"))?;
    story.run(&format!("df -h {RETENTION}"), 0)?;
    let mounted = mounts()?.contains(&format!("{} {RETENTION} ext4", path(&stage.blank)));
    expect(mounted, || format!("{} is not mounted on {RETENTION}", path(&stage.blank)))
}

pub(crate) fn again(story: &mut Story, _: &mut Stage) -> Result<()> {
    story.say("It sees what is already there, and the disk no longer needs to be named:");
    let text = story.run("mtctl prepare --only retention --yes", 0)?;
    expect(text.contains("0 changed"), || format!("expected '0 changed' in:\n{text}"))
}

pub(crate) fn data(story: &mut Story, stage: &mut Stage) -> Result<()> {
    let count = write_data(story)?;
    story.say(&format!(
        "{count} files are copied to the retention volume, one of them mtctl itself. Their \
         checksums come from the originals."
    ));
    let check = format!("sha256sum --check {RETENTION}/SHA256SUMS");
    let is_good = |text: &str| text.matches(": OK").count() == count;
    let first = story.run(&check, 0)?;
    expect(is_good(&first), || format!("expected {count} good files in:\n{first}"))?;
    story.say("The volume is unmounted, checked, and mounted as at boot:");
    story.run("sync", 0)?;
    story.run(&format!("umount {RETENTION}"), 0)?;
    story.run(&format!("fsck.ext4 -f -n {}", path(&stage.blank)), 0)?;
    story.run("mount -a", 0)?;
    let second = story.run(&check, 0)?;
    expect(is_good(&second), || format!("expected {count} good files in:\n{second}"))
}

/// Copies files to the retention volume, together with the checksums of the originals.
fn write_data(story: &Story) -> Result<usize> {
    let program = fs::read(story.mtctl()).context("reading mtctl")?;
    let mut files = vec![("mtctl".to_owned(), program)];
    for number in 1..=3_u64 {
        let len_bytes = usize::try_from(number).unwrap_or(1) << 20;
        files.push((format!("before-images-{number}"), generated_bytes(!number, len_bytes)));
    }
    let originals = Path::new(SCRATCH).join("originals");
    fs::create_dir(&originals)?;
    let mut sums = String::new();
    for (name, bytes) in &files {
        let original = originals.join(name);
        fs::write(&original, bytes)?;
        fs::copy(&original, Path::new(RETENTION).join(name))?;
        let output = std::process::Command::new("sha256sum").arg(&original).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let sum = text.split_whitespace().next().context("sha256sum printed nothing")?;
        sums.push_str(&format!("{sum}  {RETENTION}/{name}\n"));
    }
    fs::write(Path::new(RETENTION).join("SHA256SUMS"), sums)?;
    Ok(files.len())
}

pub(crate) fn result(story: &mut Story, stage: &mut Stage) -> Result<()> {
    story.say("The question of chapter 2 again:");
    // 0 if everything else about this machine is ready as well.
    let text = story.run_showing("mtctl check", &[0, 3], is_about_retention)?;
    let passed = text.lines().filter(|line| line.starts_with("pass  retention")).count();
    expect(passed == 8, || format!("expected 8 passed findings in:\n{text}"))?;
    story.run("mtctl disks --all", 0)?;
    story.say("And the two disks that belong to somebody:");
    let after = hash_attached(story, stage)?;
    require_same_bytes(&stage.attached_hashes, &after)?;
    story.say(
        "All hashes are equal: every file on the retention volume and every byte of the two disks \
         is what it was.",
    );
    Ok(())
}
