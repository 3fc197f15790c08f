//! File systems in use on customer disks: replicated epoch after epoch, taken back to each of them,
//! byte-identical every time, and sound for their own checkers.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use blockio::stream::{Mark, MarkKind, Name, Timestamp};
use mt_tests::change_stream::{difference, volume};
use vm_images::case::{Case, Lab};
use vm_images::hardware::{Controller, Hardware};
use vm_images::image::Kind;
use vm_images::machine::Machine;

use crate::replication::{SHELL, write_stream};

pub(crate) const CASES: &[Case] = &[Case {
    name: "filesystems::five_kinds_are_rolled_back_and_sound_for_their_own_checkers",
    image: Kind::Debian,
    limit: Duration::from_secs(800),
    story: rolled_back,
}];

/// A kind of file system: how much it needs at least, how it is made, and what finds it sound.
struct Filesystem {
    name: &'static str,
    mib: u64,
    make: &'static str,
    check: &'static str,
}

const FILESYSTEMS: [Filesystem; 5] = [
    Filesystem { name: "ext4", mib: 32, make: "mkfs.ext4 -q", check: "e2fsck -fn" },
    Filesystem { name: "xfs", mib: 320, make: "mkfs.xfs -q", check: "xfs_repair -n" },
    Filesystem { name: "btrfs", mib: 128, make: "mkfs.btrfs -q", check: "btrfs check --readonly" },
    Filesystem { name: "vfat", mib: 32, make: "mkfs.vfat", check: "fsck.vfat -n" },
    Filesystem {
        name: "reiserfs",
        mib: 64,
        make: "mkfs.reiserfs -qff",
        check: "on_a_copy reiserfsck -yq",
    },
];

const EPOCHS: usize = 4;
/// Back to these, one after the other: further back, forth, and to the newest.
const ORDER: [usize; 4] = [2, 0, 1, 3];

/// What is done in epoch `$1` in a file system that is mounted at `$2`: files come, go, grow and
/// get other names.
const USE: &str = r#"
epoch=$1
cd "$2"
mkdir "d$epoch"
for n in $(seq 20); do echo "$epoch.$n" >"d$epoch/$n"; done
head -c 200000 /dev/urandom >"large$epoch"
dd if=/dev/urandom of=grows bs=4096 seek=$((epoch * 20)) count=20 conv=notrunc status=none
if [ "$epoch" -ge 2 ]; then
	rm "large$((epoch - 2))"
	mv "d$((epoch - 1))" "m$epoch"
fi
"#;

/// `reiserfsck` writes into what it checks, and a disk that others wrote to is not rolled back
/// unasked.
const ON_A_COPY: &str = r#"
on_a_copy() {
	local disk=${*: -1} copy=/mnt/retention/copy
	dd if="$disk" of="$copy" bs=1M status=none && "${@:1:$#-1}" "$copy" && rm "$copy"
}
"#;

fn rolled_back(lab: &mut Lab) -> Result<()> {
    let mut machine = boot(lab)?;
    let mut copies: Vec<Vec<PathBuf>> = vec![blanks(lab)?];
    for epoch in 0..EPOCHS {
        let uses = |one: &Filesystem| {
            format!(
                "mkdir -p /mnt/{0} && mount $(disk {0}) /mnt/{0} && \
                 bash /host/use {epoch} /mnt/{0} && umount /mnt/{0} && \
                 blockdev --flushbufs $(disk {0})",
                one.name
            )
        };
        machine.must(&guest(&FILESYSTEMS.each_ref().map(uses).join(" && ")))?;
        let copied = FILESYSTEMS.iter().map(|one| {
            let copy = lab.file(&format!("{}-{epoch}", one.name));
            fs::copy(lab.file(one.name), &copy)?;
            Ok(copy)
        });
        copies.push(copied.collect::<Result<_>>()?);
        replicate(lab, &mut machine, epoch, &copies[epoch], &copies[epoch + 1])?;
        targets_are(lab, &copies[epoch + 1])?;
    }
    for epoch in ORDER {
        machine.must(&guest(&format!("go rollback --to e{epoch} --yes")))?;
        targets_are(lab, &copies[epoch + 1])?;
        for Filesystem { name, check, .. } in &FILESYSTEMS {
            machine.must(&guest(&format!("{check} $(disk {name}-home)")))?;
        }
    }
    machine.must("mtctl journal check --group g")?;
    // And for the kernel: what was written in the last epoch is there.
    for Filesystem { name, .. } in &FILESYSTEMS {
        let last = EPOCHS - 1;
        let look = format!(
            "mount -o ro $(disk {name}-home) /mnt/{name} && cat /mnt/{name}/d{last}/7 && \
             umount /mnt/{name}"
        );
        assert_eq!(machine.must(&guest(&look))?, format!("{last}.7\n"), "{name}");
    }
    machine.shut_down()
}

fn guest(script: &str) -> String {
    format!("{SHELL}\n{ON_A_COPY}\n{script}")
}

/// The disks that are in use, `ext4` and so on, on one controller; where they come home to,
/// `ext4-home`, and the retention volume on another.
fn boot(lab: &mut Lab) -> Result<Machine> {
    let controllers = vec![Controller::Pvscsi, Controller::VirtioScsi];
    let mut hardware = Hardware { controllers, ..Hardware::default() };
    hardware = hardware.known_disk("retention", &lab.blank("retention", 512)?);
    for Filesystem { name, mib, .. } in &FILESYSTEMS {
        let home = format!("{name}-home");
        hardware = hardware.known_disk(&home, &lab.blank(&home, *mib)?);
    }
    for (slot, Filesystem { name, mib, .. }) in (0..).zip(&FILESYSTEMS) {
        hardware = hardware.known_disk(name, &lab.blank(name, *mib)?).with(|disk| {
            (disk.controller, disk.slot) = (1, slot);
        });
    }
    fs::write(lab.share().join("use"), format!("set -e\n{USE}"))?;
    let mut machine = lab.boot(&hardware)?;
    let make = |one: &Filesystem| format!("{} $(disk {})", one.make, one.name);
    let makes = FILESYSTEMS.each_ref().map(make).join(" && ");
    machine.must(&guest(&format!("mkfs.ext4 -q $(disk retention) && use_retention && {makes}")))?;
    Ok(machine)
}

/// What the disks at home hold in the beginning.
fn blanks(lab: &Lab) -> Result<Vec<PathBuf>> {
    FILESYSTEMS.iter().map(|one| lab.blank(&format!("{}-blank", one.name), one.mib)).collect()
}

/// Applies what an epoch changed, in one stream for all.
fn replicate(
    lab: &Lab,
    machine: &mut Machine,
    epoch: usize,
    before: &[PathBuf],
    after: &[PathBuf],
) -> Result<()> {
    let (from, to) = match epoch {
        0 => (String::new(), "e0".to_owned()),
        _ => (format!("e{}", epoch - 1), format!("e{epoch}")),
    };
    let header = |one: &Filesystem| volume(one.name, one.mib << 20, &from, &to);
    let mut changes = Vec::new();
    for (index, (before, after)) in (0..).zip(before.iter().zip(after)) {
        changes.extend(difference(before, after).into_iter().map(|change| (index, change)));
    }
    let mark = Mark {
        time: Timestamp(1_700_000_000_000_000_000 + epoch as u64),
        kind: MarkKind::ApplicationConsistent,
        name: Name::new(to.as_bytes()),
        group: None,
    };
    let stream = lab.share().join("stream");
    write_stream(&stream, FILESYSTEMS.each_ref().map(header).to_vec(), &changes, &mark)?;
    let map = |one: &Filesystem| format!("--map {0}=$(disk {0}-home)", one.name);
    let maps = FILESYSTEMS.each_ref().map(map).join(" ");
    machine.run(&guest(&format!("go apply /host/stream {maps}")))?.exits(0);
    Ok(())
}

/// Byte for byte, as this host sees the disks.
fn targets_are(lab: &Lab, expected: &[PathBuf]) -> Result<()> {
    for (one, expected) in FILESYSTEMS.iter().zip(expected) {
        let home = fs::read(lab.file(&format!("{}-home", one.name)))?;
        assert!(home == fs::read(expected)?, "{} is not {}", one.name, expected.display());
    }
    Ok(())
}
