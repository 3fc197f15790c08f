//! A retention volume whose device fails beneath its file system, for good and for a moment, and
//! what an operator then does, as docs/operating/retention.md says: unmount, check, mount.
//! Disks of a group that fail are in `apply`.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use vm_images::case::{Case, Lab};
use vm_images::image::Kind;
use vm_images::machine::Machine;

use crate::faults::{EXTENT, PIECES, TO_DISKS, guest, has_point, three_disks};
use crate::replication::{Feed, Replication, mark};

const fn case(name: &'static str, image: Kind, story: fn(&mut Lab) -> Result<()>) -> Case {
    Case { name, image, limit: Duration::from_secs(800), story }
}

pub(crate) const CASES: &[Case] = &[
    case("retention::a_volume_that_fails_loses_nothing", Kind::Debian, fails),
    case("retention::writes_lost_for_a_moment_lose_nothing", Kind::Debian, lapses),
    case("retention::nor_do_they_with_a_newer_kernel", Kind::DebianNewKernel, lapses),
    case("retention::every_point_reads_as_it_was_while_others_write", Kind::Debian, looks),
];

/// What the kernel does with a new ext4 by itself is done by mkfs or left out, here and in
/// [`MOUNT`], so that nothing but the stories meets an error.
const MAKE: &str =
    "mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 /dev/mapper/retention";
/// As the row that `mtctl prepare` writes.
const MOUNT: &str = "mkdir -p /mnt/retention && mount /dev/mapper/retention /mnt/retention \
                     -o noatime,errors=remount-ro,no_prefetch_block_bitmaps";
const CHECK: &str = "fsck.ext4 -y /dev/mapper/retention";

/// What an operator does after errors; whether the journal had what the disk had not.
fn take_into_use_again(machine: &mut Machine) -> Result<bool> {
    machine.must("umount /mnt/retention")?;
    let checked = machine.run(CHECK)?;
    machine.must(MOUNT)?;
    // 1: it has repaired something.
    assert!(matches!(checked.code, Some(0 | 1)), "{checked:#?}");
    Ok(checked.stdout.contains("recovering journal"))
}

/// Fails unless the group has every point that was `told` and each holds what it held.
fn all_is_there(machine: &mut Machine, replication: &Replication, told: &str) -> Result<()> {
    machine.must("mtctl journal check --group g")?;
    let told: Value = serde_json::from_str(told)?;
    for point in told["points"].as_array().unwrap() {
        machine.must(&has_point(point["name"].as_str().unwrap()))?;
    }
    replication.points_hold(machine, 4)
}

/// Applies a stream, again or for the first time, and looks at what the disks hold.
fn goes_on(machine: &mut Machine, replication: &Replication, stream: usize) -> Result<()> {
    let apply = format!("go apply /host/stream-{stream} {TO_DISKS}");
    machine.run(&guest(&apply))?.exits(0);
    replication.is_on(machine, ["$(disk db)", "$(disk log)"], &mark(stream, EXTENT.marks))
}

fn fails(lab: &mut Lab) -> Result<()> {
    let replication = Replication::new(&lab.share(), 34, EXTENT)?;
    let mut machine = three_disks(lab)?;
    machine.must(&guest(&format!("maps retention && {MAKE} && {MOUNT}")))?;
    // Nothing works, then everything but writes, then nothing again.
    let nothing = "\"$(part retention) error\"";
    let reads = "\"$(part retention) flakey $(disk retention) 0 0 1 1 error_writes\"";
    for (stream, table) in [nothing, reads, nothing].into_iter().enumerate() {
        let apply = format!("go apply - {TO_DISKS}");
        let mut feed = Feed::begin(&mut machine, stream, PIECES, &apply)?;
        feed.go_on()?;
        machine.wait_until(&has_point(&mark(stream, 1)))?;
        let told = machine.must(&guest("points"))?;
        machine.must(&guest(&format!("table retention {table}")))?;
        lab.tally.faults += 1;
        feed.go_on()?;
        feed.go_on()?;
        machine.wait(feed.script())?.exits(1).says("/mnt/retention").says("fsck.ext4 -y");

        machine.must(&guest("table retention \"$(linear retention)\""))?;
        take_into_use_again(&mut machine)?;
        all_is_there(&mut machine, &replication, &told)?;
        goes_on(&mut machine, &replication, stream)?;
    }
    machine.must("umount /mnt/retention")?;
    machine.shut_down()
}

/// All points are read while pieces of a stream are written, and while disks go back and forth.
fn looks(lab: &mut Lab) -> Result<()> {
    let replication = Replication::new(&lab.share(), 38, EXTENT)?;
    let mut machine = three_disks(lab)?;
    machine.must(&guest("use_retention"))?;
    goes_on(&mut machine, &replication, 0)?;
    let mut read = 0;
    for stream in 1..3 {
        let apply = format!("go apply - {TO_DISKS}");
        let mut feed = Feed::begin(&mut machine, stream, PIECES, &apply)?;
        for _ in 0..PIECES {
            feed.go_on()?;
            read += replication.all_points_hold(&mut machine)?;
        }
        machine.wait(feed.script())?.exits(0);
        let last = mark(stream, EXTENT.marks);
        for to in [mark(0, 1), mark(stream - 1, EXTENT.marks), last] {
            let rollback = format!("go rollback --to {to} --yes");
            let running = machine.begin(&guest(&rollback))?;
            read += replication.all_points_hold(&mut machine)?;
            machine.wait(running)?.exits(0);
            replication.is_on(&mut machine, ["$(disk db)", "$(disk log)"], &to)?;
        }
    }
    println!("{read} points were read beside who wrote");
    machine.must("mtctl journal check --group g && umount /mnt/retention")?;
    machine.shut_down()
}

/// The device takes nothing while the kernel writes back what its journal has already: from then on
/// the journal alone has it. The kernel would do it within half a minute; here it is made to.
fn lapse(lab: &mut Lab, machine: &mut Machine) -> Result<()> {
    machine.must(&guest("table retention \"$(part retention) error\""))?;
    machine.run("sync /dev/mapper/retention")?.exits(1).says("Input/output error");
    machine.must(&guest("table retention \"$(linear retention)\""))?;
    lab.tally.faults += 1;
    Ok(())
}

fn lapses(lab: &mut Lab) -> Result<()> {
    let replication = Replication::new(&lab.share(), 36, EXTENT)?;
    let mut machine = three_disks(lab)?;
    // Nothing is written back by itself.
    machine.must(&guest("maps retention && sysctl -qw vm.dirty_expire_centisecs=60000"))?;
    the_kernel_does_lose_what_is_mounted_unchecked(lab, &mut machine)?;

    // While nothing is applied: nobody notices.
    goes_on(&mut machine, &replication, 0)?;
    let told = machine.must(&guest("points"))?;
    lapse(lab, &mut machine)?;
    assert!(take_into_use_again(&mut machine)?, "the journal had nothing more than the disk");
    all_is_there(&mut machine, &replication, &told)?;

    // While a stream is applied: the first thing that is written afterwards finds out.
    let mut feed = Feed::begin(&mut machine, 1, PIECES, &format!("go apply - {TO_DISKS}"))?;
    feed.go_on()?;
    machine.wait_until(&has_point(&mark(1, 1)))?;
    let told = machine.must(&guest("points"))?;
    lapse(lab, &mut machine)?;
    feed.go_on()?;
    feed.go_on()?;
    machine.wait(feed.script())?.exits(1).says("/mnt/retention").says("fsck.ext4 -y");
    machine
        .run(&guest(&format!("go apply /host/stream-1 {TO_DISKS}")))?
        .exits(1)
        .says("fsck.ext4 -y");
    let sound = "mtctl check | grep -A9 'FAIL.*retention-sound'";
    assert!(machine.must(sound)?.contains("fsck.ext4 -y /dev/mapper/retention"));
    assert!(take_into_use_again(&mut machine)?, "the journal had nothing more than the disk");
    all_is_there(&mut machine, &replication, &told)?;
    goes_on(&mut machine, &replication, 1)?;
    machine.must("mtctl check | grep 'pass.*retention-sound' && umount /mnt/retention")?;
    machine.shut_down()
}

/// The reason for the order, and the sign that the fault is real: a file that was synced is gone
/// when the file system is unmounted and mounted, and there when it was checked in between. Leaves
/// it empty and mounted.
fn the_kernel_does_lose_what_is_mounted_unchecked(
    lab: &mut Lab,
    machine: &mut Machine,
) -> Result<()> {
    let make = format!("{MAKE} && {MOUNT}");
    for (check, is_there) in [("true", false), (CHECK, true)] {
        machine.must(&make)?;
        machine.must("cd /mnt/retention && mkdir d && echo kept > d/file && sync d/file d .")?;
        lapse(lab, machine)?;
        machine.must(&format!("umount /mnt/retention; {check}; {MOUNT}"))?;
        let code = if is_there { 0 } else { 1 };
        machine.run("grep kept /mnt/retention/d/file || exit 1")?.exits(code);
        machine.must("umount /mnt/retention")?;
    }
    machine.must(&make)?;
    Ok(())
}
