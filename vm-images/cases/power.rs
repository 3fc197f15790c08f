//! The power is cut, and the disks lose what they had not written: while streams are applied, while
//! disks are rolled back, while the retention volume is formatted. What was told as done is there,
//! every point holds what it held, and the next command goes on.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mt_tests::program::run;
use mt_tests::random::Random;
use vm_images::case::{Case, Lab};
use vm_images::hardware::{Backing, Hardware, Identity};
use vm_images::image::Kind;
use vm_images::machine::Machine;
use vm_images::servers::VolatileDisk;

use crate::replication::{
    DIGESTS, Extent, Replication, SHELL, VOLUMES, digests_in, digests_of, mark, place, points_in,
};

const fn case(name: &'static str, story: fn(&mut Lab) -> Result<()>) -> Case {
    Case { name, image: Kind::Debian, limit: Duration::from_secs(1800), story }
}

pub(crate) const CASES: &[Case] = &[
    case("power::the_disks_do_lose_what_was_not_flushed", disks_lose),
    case("power::cut_while_applying", |lab| cut(lab, 1, 10, Doing::Applying)),
    case("power::cut_while_applying_other_moments", |lab| cut(lab, 2, 10, Doing::Applying)),
    case("power::cut_while_rolling_back", |lab| cut(lab, 3, 8, Doing::RollingBack)),
    case("power::cut_while_prepare_formats", cut_while_formatting),
];

/// What is going on when the power is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Applying,
    RollingBack,
}

const EXTENT: Extent = Extent { streams: 60, marks: 3, changes: 4, bytes: 4 << 20 };
/// A machine whose three disks forget.
struct Rig {
    disks: Vec<VolatileDisk>,
    machine: Machine,
    /// How long it took to boot. Hosts are of very different speed, and what a guest has done by
    /// some moment with them: moments are parts of this.
    boot: Duration,
}

impl Rig {
    fn boot(lab: &mut Lab) -> Result<Self> {
        let mut disks = Vec::new();
        let mut hardware = Hardware::default();
        for name in ["db", "log", "retention"] {
            let file = lab.file(name);
            let disk = VolatileDisk::start(&file, &lab.file(&format!("{name}.socket")))?;
            hardware = hardware.disk(name, &file).with(|described| {
                described.backing = Backing::Nbd(disk.socket().to_owned());
                described.identity = Identity::Serial(name.to_owned());
            });
            disks.push(disk);
        }
        let begun = Instant::now();
        let machine = lab.boot(&hardware)?;
        Ok(Self { disks, machine, boot: begun.elapsed() })
    }

    /// Lets the machine go on for a while, at most one part in `part` of what booting took. Any
    /// moment will do: that is what is being shown.
    fn go_on_for_a_while(&self, random: &mut Random, part: u32) {
        let most = u64::try_from((self.boot / part).as_millis()).unwrap_or(u64::MAX);
        std::thread::sleep(Duration::from_millis(random.below(most.max(1))));
    }

    /// All at once, as nearly as one host can: first the disks, so that nothing is flushed after.
    fn cut_power(self, lab: &mut Lab) {
        self.disks.into_iter().for_each(VolatileDisk::cut_power);
        self.machine.cut_power();
        lab.tally.cuts += 1;
    }

    fn must(&mut self, script: &str) -> Result<String> {
        self.machine.must(&format!("{SHELL}\n{script}"))
    }

    /// The points that are listed: number and name.
    fn points(&mut self) -> Result<BTreeMap<u64, String>> {
        points_in(&self.must("points")?)
    }

    /// The disks hold what they held at the mark `name`.
    fn disks_are_at(&mut self, replication: &Replication, name: &str) -> Result<()> {
        replication.is_on(&mut self.machine, ["$(disk db)", "$(disk log)"], name)
    }
}

/// Makes the three disks: two of zeros, and a retention volume.
fn make_disks(lab: &Lab) -> Result<()> {
    for name in VOLUMES {
        lab.blank(name, EXTENT.bytes >> 20)?;
    }
    let retention = lab.blank("retention", 256)?;
    run("mkfs.ext4", &["-q", &retention.to_string_lossy()]);
    Ok(())
}

/// The rig itself: without this, no cut would mean anything.
fn disks_lose(lab: &mut Lab) -> Result<()> {
    make_disks(lab)?;
    let mut rig = Rig::boot(lab)?;
    let write = "yes | dd of=$(disk log) bs=64k count=1 iflag=fullblock oflag=direct conv=fsync";
    rig.must(write)?;
    rig.must("yes | dd of=$(disk db) bs=64k count=1 iflag=fullblock oflag=direct")?;
    assert_eq!(rig.must("dd if=$(disk db) bs=2 count=1 iflag=fullblock")?, "y\n");
    rig.cut_power(lab);
    assert_eq!(&fs::read(lab.file("log"))?[..2], b"y\n", "what was flushed is gone");
    assert_eq!(&fs::read(lab.file("db"))?[..2], [0, 0], "what was not flushed is there");
    Ok(())
}

fn cut(lab: &mut Lab, seed: u64, cuts: u32, doing: Doing) -> Result<()> {
    make_disks(lab)?;
    let replication = Replication::new(&lab.share(), seed, EXTENT)?;
    let mut random = Random::new(seed);
    let mut seen = BTreeMap::new();
    let mut going_to = None;
    // The stream that was under way last: only the machine knows it when it is cut.
    let begun = lab.share().join("begun");
    while lab.tally.cuts < cuts {
        let mut rig = Rig::boot(lab)?;
        rig.must("use_retention")?;
        let next = look(&mut rig, lab, &replication, &mut random, &mut seen, going_to.take())?;
        let script = match doing {
            Doing::Applying => {
                fs::write(&begun, format!("{next}\n"))?;
                // What is told as done is written to the host at once.
                let one = "echo $n >>/host/begun; stream $n || exit; echo $n >>/host/done";
                format!("for n in $(seq {next} {}); do {one}; done", EXTENT.streams - 1)
            }
            Doing::RollingBack => {
                // Far enough away that there is something to undo.
                rig.must(&format!("stream {next} && stream {}", next + 1))?;
                seen = rig.points()?;
                let back = random.below(seen.len() as u64) as usize;
                let to = seen.iter().nth(back).map(|(id, name)| (*id, name.clone()));
                let (id, name) = to.context("no points")?;
                going_to = Some(name);
                format!("go rollback --to id:{id} --yes")
            }
        };
        rig.machine.begin(&format!("{SHELL}\n{script}"))?;
        // Two or three streams are applied meanwhile; a rollback is shorter.
        rig.go_on_for_a_while(&mut random, if doing == Doing::Applying { 2 } else { 8 });
        rig.cut_power(lab);
    }
    let mut rig = Rig::boot(lab)?;
    rig.must("use_retention")?;
    let next = look(&mut rig, lab, &replication, &mut random, &mut seen, going_to)?;
    rig.must(&format!("stream {next}"))?;
    rig.disks_are_at(&replication, &mark(next, EXTENT.marks))?;
    let marks = seen.len();
    assert!(marks >= 2 * EXTENT.marks, "only {marks} points: nothing went on between the cuts");
    rig.machine.shut_down()
}

/// After a cut: what was told is there, every point is what it was, and the disks can be brought to
/// one. Gives the stream that comes next.
fn look(
    rig: &mut Rig,
    lab: &Lab,
    replication: &Replication,
    random: &mut Random,
    seen: &mut BTreeMap<u64, String>,
    going_to: Option<String>,
) -> Result<usize> {
    // A group whose history only begins has a state as well.
    let has_history = "grep -l '\"journal\":' /mnt/retention/g/state 2>/dev/null || true";
    if rig.must(has_history)?.is_empty() {
        assert!(seen.is_empty() && !lab.share().join("done").exists(), "the history is gone");
        return Ok(0);
    }
    rig.must("mtctl journal check --group g")?;
    let listed = rig.points()?;
    for (id, name) in seen.iter() {
        assert_eq!(listed.get(id), Some(name), "a point that was there: {listed:?}");
    }
    let told = fs::read_to_string(lab.share().join("done")).unwrap_or_default();
    for stream in told.lines().filter_map(|line| line.parse().ok()) {
        let end = mark(stream, EXTENT.marks);
        assert!(listed.values().any(|name| *name == end), "{end} was told as done: {listed:?}");
    }
    points_hold_what_they_held(rig, replication, random, &listed)?;
    *seen = listed;
    let next = match going_to {
        // The rollback that was cut goes on, and ends where it was to.
        Some(name) => {
            rig.must("go recover --yes")?;
            let found = digests_in(&rig.must(DIGESTS)?);
            // Cut before it had begun, it left the disks at the newest point.
            let (_, newest) = seen.last_key_value().context("no points")?;
            let at = [&name, newest].into_iter().find(|at| found == replication.digests(at));
            place(at.unwrap_or_else(|| panic!("neither at {name} nor at {newest}"))).0
        }
        None => match random.below(3) {
            // Applied again, it goes on. Which stream, the newest point does not tell: gone back,
            // the machine may have been cut before there was another.
            0 | 1 => {
                let begun = fs::read_to_string(lab.share().join("begun"))?;
                begun.lines().next_back().context("nothing was begun")?.parse()?
            }
            _ => {
                let back = random.below(seen.len() as u64 + 1) as usize;
                let (to, name) = match seen.iter().nth(back) {
                    Some((id, name)) => (format!("id:{id}"), name.as_str()),
                    None => ("start".to_owned(), "start"),
                };
                rig.must(&format!("go rollback --to {to} --yes"))?;
                rig.disks_are_at(replication, name)?;
                if name == "start" { 0 } else { place(name).0 }
            }
        },
    };
    *seen = rig.points()?;
    // Where a case fails, its moments cannot be had again.
    println!("newest {:?}, goes on with stream {next}", seen.last_key_value());
    Ok(next)
}

/// The oldest, the newest, and some between: a guest hashes slowly.
fn points_hold_what_they_held(
    rig: &mut Rig,
    replication: &Replication,
    random: &mut Random,
    listed: &BTreeMap<u64, String>,
) -> Result<()> {
    let all: Vec<_> = listed.iter().collect();
    let mut chosen: Vec<_> = all.first().into_iter().chain(all.last()).copied().collect();
    for _ in 0..4.min(all.len()) {
        chosen.push(all[random.below(all.len() as u64) as usize]);
    }
    for (id, name) in chosen {
        let found = digests_in(&rig.must(&digests_of(*id))?);
        assert_eq!(found, replication.digests(name), "point {id}, {name}");
    }
    Ok(())
}

fn cut_while_formatting(lab: &mut Lab) -> Result<()> {
    make_disks(lab)?;
    // Somebody else's disk: whatever happens to the machine, not a byte of it changes.
    let foreign = Random::new(9).bytes(EXTENT.bytes as usize);
    fs::write(lab.file("db"), &foreign)?;
    let mut random = Random::new(10);
    for _ in 0..5 {
        lab.blank("retention", 256)?;
        let mut rig = Rig::boot(lab)?;
        let prepare = "mtctl prepare --only retention --retention-disk $(disk retention) --yes";
        rig.machine.begin(&format!("{SHELL}\n{prepare}"))?;
        rig.go_on_for_a_while(&mut random, 2);
        rig.cut_power(lab);
        let mut rig = Rig::boot(lab)?;
        let run = rig.machine.run(&format!("{SHELL}\n{prepare}"))?;
        if run.code != Some(0) {
            // Half a file system is content, and only who names the disk twice loses it.
            run.exits(4).says("--destroy");
            rig.must(&format!("{prepare} --destroy $(disk retention)"))?;
        }
        rig.must("mountpoint /mnt/retention && e2fsck -fn $(disk retention) || true")?;
        assert_eq!(rig.must("stat -f -c %T /mnt/retention")?.trim(), "ext2/ext3");
        rig.machine.shut_down()?;
        drop(rig.disks);
        assert!(fs::read(lab.file("db"))? == foreign, "a foreign disk was written to");
    }
    Ok(())
}
