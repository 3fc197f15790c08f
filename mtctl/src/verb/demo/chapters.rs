//! The chapters, in order. A new one is a function and a row in [`CHAPTERS`].

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::homecoming;
use super::ransomware;
use super::stage::{ATTACHED_FILES, ATTACHED_MOUNT, SCRATCH, Stage, generated_bytes};
use super::story::{Story, expect};

/// The state shared by the chapters: the disks, and what was learned so far.
pub(super) struct World {
    stage: Stage,
    /// Hashes of the two disks that belong to somebody, as `sha256sum` printed them.
    attached_hashes: String,
}

/// A title, and the function that tells the chapter.
type Chapter = (&'static str, fn(&mut Story, &mut World) -> Result<()>);

/// All chapters.
pub(super) const CHAPTERS: [Chapter; 14] = [
    ("Three disks", three_disks),
    ("Is this host a master target?", require_not_ready),
    ("The wrong disk is refused", wrong_disk),
    ("What would be done", dry_run),
    ("Doing it", for_real),
    ("Doing it twice changes nothing", again),
    ("Data, and what a restart does", data),
    ("What came of it", outcome),
    ("A disk comes home", homecoming::all_of_it),
    ("What changed since, and a damaged copy of it", homecoming::what_changed),
    ("The proof", homecoming::proof),
    ("A week, and what happened on Saturday", ransomware::a_week),
    ("A look inside the day before", ransomware::a_look_inside),
    ("Back", ransomware::back),
];

const RETENTION: &str = "/mnt/retention";

impl World {
    pub(super) fn new(stage: Stage) -> Self {
        Self { stage, attached_hashes: String::new() }
    }

    /// Returns the stage, to be taken down.
    pub(super) fn into_stage(self) -> Stage {
        self.stage
    }

    /// Attaches two more disks: one in the cloud, one at home.
    pub(super) fn attach_replica(&mut self) -> Result<()> {
        self.stage.attach_replica()
    }

    /// The paths of these two.
    pub(super) fn replica(&self) -> Result<[String; 2]> {
        let disks = self.stage.replica.as_ref().context("the replica is not attached")?;
        Ok(disks.each_ref().map(|disk| disk.path().display().to_string()))
    }

    fn blank(&self) -> String {
        self.stage.blank.path().display().to_string()
    }

    fn filesystem(&self) -> String {
        self.stage.filesystem.path().display().to_string()
    }

    fn table(&self) -> String {
        self.stage.table.path().display().to_string()
    }

    fn hash_attached(&self, story: &mut Story) -> Result<String> {
        story.run(&format!("sha256sum {} {}", self.filesystem(), self.table()), 0)
    }
}

fn three_disks(story: &mut Story, world: &mut World) -> Result<()> {
    let (blank, filesystem, table) = (world.blank(), world.filesystem(), world.table());
    story.say(&format!(
        "{blank} is blank. {filesystem} and {table} stand for disks that belong to somebody: an \
         ext4 filesystem with {ATTACHED_FILES} files in it, and a partition table. Who uses a disk \
         is looked up before anything is done to it."
    ))?;
    let text = story.run("mtctl disks --all", 0)?;
    let shows = |words: &[&str]| words.iter().all(|word| text.contains(word));
    let is_listed = shows(&[&blank, &filesystem, &table, "filesystem:ext4", "partition-table:dos"]);
    expect(is_listed && text.matches("fit for: retention").count() == 1, || {
        format!("three disks, one of them fit for retention, were expected in:\n{text}")
    })
}

fn require_not_ready(story: &mut Story, _: &mut World) -> Result<()> {
    story.say(
        "mtctl check tells, and changes nothing. Here is what it says of the retention volume: the \
         disk that keeps what replication overwrites, so that machines can go back in time.",
    )?;
    let text = story.run_showing("mtctl check", &[3], is_about_retention)?;
    let is_missing = |line: &str| line == "FAIL  retention" || line.starts_with("FAIL  retention ");
    expect(text.lines().any(is_missing), || {
        format!("a retention volume that is missing was expected in:\n{text}")
    })
}

fn is_about_retention(line: &str) -> bool {
    line.split_whitespace().nth(1).is_some_and(|id| id.starts_with("retention"))
}

fn wrong_disk(story: &mut Story, world: &mut World) -> Result<()> {
    story.say("What the two disks hold now, byte for byte:")?;
    world.attached_hashes = world.hash_attached(story)?;
    story.say("A slip of the finger, three times. Nobody is asked (--yes), and yet:")?;
    let (filesystem, table) = (world.filesystem(), world.table());
    let prepare = |disk: &str| format!("mtctl prepare --only retention --retention-disk {disk}");
    refused(story, &format!("{} --yes", prepare(&filesystem)), "is not blank (filesystem:ext4)")?;
    refused(story, &format!("{} --yes", prepare(&table)), "is not blank (partition-table:dos)")?;
    story.say(
        "--destroy says that the content of a disk may go. A disk that is in use is refused even \
         then:",
    )?;
    story.run(&format!("mount -o ro,noload {filesystem} {ATTACHED_MOUNT}"), 0)?;
    let typed = format!("{} --destroy {filesystem} --yes", prepare(&filesystem));
    refused(story, &typed, "is in use (mounted:")?;
    story.run(&format!("umount {ATTACHED_MOUNT}"), 0)?;
    let after = world.hash_attached(story)?;
    require_same_bytes(&world.attached_hashes, &after)?;
    story.say("The same hashes: not one byte was written.")
}

fn refused(story: &mut Story, typed: &str, why: &str) -> Result<()> {
    refused_with(story, typed, 4, why)
}

/// Runs `typed`, which must exit with the code `exit` and print `why`.
pub(super) fn refused_with(story: &mut Story, typed: &str, exit: i32, why: &str) -> Result<()> {
    let text = story.run(typed, exit)?;
    says(&text, why)
}

/// Checks that `text` contains `words`, possibly broken into lines.
pub(super) fn says(text: &str, words: &str) -> Result<()> {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    expect(joined.contains(words), || format!("'{words}' was expected in:\n{text}"))
}

fn require_same_bytes(before: &str, after: &str) -> Result<()> {
    expect(before == after, || format!("the disks changed: from\n{before}to\n{after}"))
}

fn dry_run(story: &mut Story, world: &mut World) -> Result<()> {
    story.say(
        "The plan for the right disk: disks as sentences, files as diffs. The exit code tells a \
         script that there is something to do (3) or not (0).",
    )?;
    let typed =
        format!("mtctl prepare --only retention --retention-disk {} --dry-run", world.blank());
    let text = story.run(&typed, 3)?;
    expect(text.contains("nothing was touched") && text.contains("+UUID="), || {
        format!("a plan with a new row of /etc/fstab was expected in:\n{text}")
    })?;
    let is_mounted = mounts()?.contains(RETENTION);
    expect(!is_mounted, || format!("{RETENTION} is mounted after a dry run"))
}

fn mounts() -> Result<String> {
    fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")
}

fn for_real(story: &mut Story, world: &mut World) -> Result<()> {
    story.say(
        "The plan is shown again and, on a terminal, a question asked; --yes answers it. The new \
         row of fstab is tried out right away.",
    )?;
    let typed = format!("mtctl prepare --only retention --retention-disk {} --yes", world.blank());
    let text = story.run(&typed, 0)?;
    expect(text.contains("1 changed."), || format!("'1 changed.' was expected in:\n{text}"))?;
    story.run(&format!("df -h {RETENTION}"), 0)?;
    let mounted = mounts()?.contains(&format!("{} {RETENTION} ext4", world.blank()));
    expect(mounted, || format!("{} is not mounted on {RETENTION}", world.blank()))
}

fn again(story: &mut Story, _: &mut World) -> Result<()> {
    story.say("It sees what is there already, and the disk needs no name any more:")?;
    let text = story.run("mtctl prepare --only retention --yes", 0)?;
    expect(text.contains("0 changed"), || format!("'0 changed' was expected in:\n{text}"))
}

fn data(story: &mut Story, world: &mut World) -> Result<()> {
    let count = write_data()?;
    story.say(&format!(
        "{count} files are copied to the retention volume, this program one of them. Their \
         checksums were taken from the originals."
    ))?;
    let check = format!("sha256sum --check {RETENTION}/SHA256SUMS");
    let is_good = |text: &str| text.matches(": OK").count() == count;
    let first = story.run(&check, 0)?;
    expect(is_good(&first), || format!("{count} good files were expected in:\n{first}"))?;
    story.say("Unmounted, examined, and mounted as a start of the machine does it:")?;
    story.run("sync", 0)?;
    story.run(&format!("umount {RETENTION}"), 0)?;
    story.run(&format!("fsck.ext4 -f -n {}", world.blank()), 0)?;
    story.run("mount -a", 0)?;
    let second = story.run(&check, 0)?;
    expect(is_good(&second), || format!("{count} good files were expected in:\n{second}"))
}

/// Copies files to the retention volume, together with the checksums of the originals.
fn write_data() -> Result<usize> {
    let program = fs::read("/proc/self/exe").context("reading this program")?;
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

fn outcome(story: &mut Story, world: &mut World) -> Result<()> {
    story.say("The question of chapter 2 again:")?;
    // 0 if everything else about this machine is ready as well.
    let text = story.run_showing("mtctl check", &[0, 3], is_about_retention)?;
    let passed = text.lines().filter(|line| line.starts_with("pass  retention")).count();
    expect(passed == 8, || format!("8 passed findings were expected in:\n{text}"))?;
    story.run("mtctl disks --all", 0)?;
    story.say("And the two disks that belong to somebody:")?;
    let after = world.hash_attached(story)?;
    require_same_bytes(&world.attached_hashes, &after)?;
    story.say(
        "All hashes agree: every file on the retention volume, and every byte of the two disks \
         that belong to somebody, is what it was.",
    )
}
