//! `mtctl apply` to SCSI disks: sectors of both sizes on each adapter, disks that fail or are
//! pulled while they are written, a retention volume that fails, and a kernel that forbids
//! io_uring.
//! Paths that are lost are in `multipath`, power that is lost in `power`.

use std::time::Duration;

use anyhow::Result;
use vm_images::case::{Case, Lab};
use vm_images::hardware::{Controller, Hardware, Identity};
use vm_images::image::Kind;
use vm_images::machine::Machine;

use crate::replication::{Extent, Feed, Replication, SHELL, VOLUMES, mark};

const fn case(name: &'static str, image: Kind, story: fn(&mut Lab) -> Result<()>) -> Case {
    Case { name, image, limit: Duration::from_secs(400), story }
}

pub(crate) const CASES: &[Case] = &[
    case("apply::sectors_of_512_and_4096_bytes_on_each_adapter", Kind::Debian, sectors),
    case("apply::a_disk_that_fails_stops_alone_and_catches_up", Kind::Debian, disks_fail),
    case("apply::a_disk_that_is_pulled_stops_alone_and_catches_up", Kind::Debian, pulled),
    case("apply::a_retention_volume_that_fails_loses_nothing", Kind::Debian, retention_fails),
    case("apply::where_io_uring_is_forbidden_it_goes_on_without", Kind::DebianNewKernel, forbidden),
];

const EXTENT: Extent = Extent { streams: 10, marks: 6, changes: 6, bytes: 16 << 20 };
/// In so many pieces a stream comes when something happens between them.
const PIECES: usize = 3;
const SAS_WWN: u64 = 0x5000_c290_0000_0010;
const MIB: u64 = EXTENT.bytes >> 20;

/// Disks that can be made to fail: `/dev/mapper/NAME` is the disk NAME until `table` says
/// otherwise.
const MAPS: &str = r#"
part() { echo "0 $(blockdev --getsz "$(disk "$1")")"; }
linear() { echo "$(part "$1") linear $(disk "$1") 0"; }
table() {
	dmsetup suspend --noflush --nolockfs "$1" && dmsetup load "$1" --table "$2" &&
		dmsetup resume "$1"
}
maps() { for name; do dmsetup create "$name" --table "$(linear "$name")" || return; done; }
"#;

fn guest(script: &str) -> String {
    format!("{SHELL}\n{MAPS}\n{script}")
}

const TO_DISKS: &str = "--map db=$(disk db) --map log=$(disk log)";
const TO_MAPS: &str = "--map db=/dev/mapper/db --map log=/dev/mapper/log";

fn has_point(name: &str) -> String {
    format!("mtctl points list --group g --json 2>/dev/null | grep -q '\"{name}\"'")
}

/// Both volumes, and a retention volume that has a file system and is not mounted.
fn three_disks(lab: &mut Lab) -> Result<Machine> {
    let mut hardware = Hardware::default();
    for name in VOLUMES {
        hardware = hardware.known_disk(name, &lab.blank(name, MIB)?);
    }
    hardware = hardware.known_disk("retention", &lab.blank("retention", 192)?);
    let mut machine = lab.boot(&hardware)?;
    machine.must(&guest("mkfs.ext4 -q $(disk retention)"))?;
    Ok(machine)
}

fn sectors(lab: &mut Lab) -> Result<()> {
    let extent = Extent { streams: 1, bytes: 4 << 20, ..EXTENT };
    let replication = Replication::new(&lab.share(), 31, extent)?;
    let adapters = [Controller::Pvscsi, Controller::VirtioScsi, Controller::Lsi, Controller::Sas];
    let mut hardware = Hardware { controllers: adapters.to_vec(), ..Hardware::default() };
    let name_of = |name: &str, adapter: usize| format!("{name}{adapter}");
    for (adapter, controller) in adapters.iter().enumerate() {
        for (slot, name, sector_bytes) in [(0, "db", 4096), (1, "log", 512)] {
            let name = name_of(name, adapter);
            let file = lab.blank(&name, extent.bytes >> 20)?;
            hardware = hardware.known_disk(&name, &file).with(|disk| {
                (disk.controller, disk.slot, disk.sector_bytes) = (adapter, slot, sector_bytes);
                if *controller == Controller::Sas {
                    // This adapter finds disks by their world wide names alone.
                    disk.identity = Identity::Wwn(SAS_WWN + u64::from(slot), name.clone());
                }
            });
        }
    }
    let mut machine = lab.boot(&hardware)?;
    for (adapter, controller) in adapters.iter().enumerate() {
        let [db, log] = match controller {
            Controller::Sas => [0, 1].map(|n| format!("/dev/disk/by-id/wwn-{:#x}", SAS_WWN + n)),
            _ => VOLUMES.map(|name| format!("$(disk {})", name_of(name, adapter))),
        };
        let sizes = machine.must(&guest(&format!("blockdev --getss {db} {log}")))?;
        assert_eq!(sizes, "4096\n512\n");
        let apply = format!("mtctl apply /host/stream-0 --map db={db} --map log={log}");
        machine.run(&guest(&apply))?.exits(0);
        replication.is_on(&mut machine, [db, log], &mark(0, extent.marks))?;
    }
    machine.shut_down()
}

fn disks_fail(lab: &mut Lab) -> Result<()> {
    let replication = Replication::new(&lab.share(), 32, EXTENT)?;
    let mut machine = three_disks(lab)?;
    machine.must(&guest("maps db log && use_retention"))?;

    // Errors of everything, from a moment on.
    let mut feed = Feed::begin(&mut machine, 0, PIECES, &format!("go apply - {TO_MAPS}"))?;
    feed.go_on()?;
    machine.wait_until(&has_point("s0m1"))?;
    machine.must(&guest("table db \"$(part db) error\""))?;
    lab.tally.faults += 1;
    feed.go_on()?;
    feed.go_on()?;
    let failed = machine.wait(feed.job())?;
    failed.exits(1).says("db on /dev/mapper/db: ").says("Input/output error");
    machine.must(&guest("table db \"$(linear db)\""))?;
    log_is_ahead(&mut machine, &replication, "/dev/mapper/log")?;
    machine.must(&has_point("s0m1"))?;
    machine.run(&guest(&format!("go apply /host/stream-0 {TO_MAPS}")))?.exits(0);
    let maps = || VOLUMES.map(|name| format!("/dev/mapper/{name}"));
    replication.is_on(&mut machine, maps(), &mark(0, EXTENT.marks))?;

    // Errors of writes alone, every other second, until everything is there.
    let flakey = "flakey() { echo \"$(part $1) flakey $(disk $1) 0 1 1 1 error_writes\"; }";
    let stubborn = format!(
        "{flakey}
         for name in db log; do table $name \"$(flakey $name)\"; done
         fails=0 stream=1
         while [ $stream -lt {} ]; do
             if go apply /host/stream-$stream {TO_MAPS}; then
                 stream=$((stream + 1))
             else
                 fails=$((fails + 1))
             fi
             [ $fails -lt 200 ] || exit 1
         done >&2
         for name in db log; do table $name \"$(linear $name)\"; done
         echo $fails",
        EXTENT.streams
    );
    let fails: u32 = machine.must(&guest(&stubborn))?.trim().parse()?;
    assert!(fails > 0, "no write failed");
    lab.tally.faults += fails;
    replication.is_on(&mut machine, maps(), &mark(EXTENT.streams - 1, EXTENT.marks))?;
    replication.points_hold(&mut machine, 6)?;
    machine.must("mtctl journal check --group g")?;
    machine.shut_down()
}

/// The volume that did not fail has all of the first stream; the other one does not.
fn log_is_ahead(machine: &mut Machine, replication: &Replication, log: &str) -> Result<()> {
    let found = machine.must(&guest(&format!("mtctl digest {log}")))?;
    let expected = &replication.digests(&mark(0, EXTENT.marks))[1];
    assert_eq!(found.split(' ').next(), Some(expected.as_str()), "the other disk did not go on");
    machine.run(&has_point(&mark(0, EXTENT.marks)))?.exits(1);
    Ok(())
}

fn pulled(lab: &mut Lab) -> Result<()> {
    let replication = Replication::new(&lab.share(), 33, EXTENT)?;
    let mut machine = three_disks(lab)?;
    machine.must(&guest("use_retention"))?;
    let mut feed = Feed::begin(&mut machine, 0, PIECES, &format!("go apply - {TO_DISKS}"))?;
    feed.go_on()?;
    machine.wait_until(&has_point("s0m1"))?;
    machine.pull("db")?;
    lab.tally.faults += 1;
    feed.go_on()?;
    feed.go_on()?;
    let failed = machine.wait(feed.job())?;
    failed.exits(1).says("db on /dev/disk/by-id/scsi-0VMware_Virtual_disk_db: ");
    log_is_ahead(&mut machine, &replication, "$(disk log)")?;

    // The other datastore has it: the same disk, by another name perhaps.
    let disk = Hardware::default().known_disk("db", &lab.file("db")).disks.remove(0);
    machine.plug(&disk)?;
    machine.wait_until("[ -b /dev/disk/by-id/scsi-0VMware_Virtual_disk_db ]")?;
    machine.run(&guest(&format!("go apply /host/stream-0 {TO_DISKS}")))?.exits(0);
    replication.is_on(&mut machine, ["$(disk db)", "$(disk log)"], &mark(0, EXTENT.marks))?;
    replication.points_hold(&mut machine, 4)?;
    machine.must("mtctl journal check --group g")?;
    machine.shut_down()
}

fn retention_fails(lab: &mut Lab) -> Result<()> {
    let replication = Replication::new(&lab.share(), 34, EXTENT)?;
    let mut machine = three_disks(lab)?;
    machine.must(&guest("maps retention"))?;
    let mount = "mkdir -p /mnt/retention && mount /dev/mapper/retention /mnt/retention";
    // Nothing works, then everything but writes, then nothing again.
    let nothing = "\"$(part retention) error\"";
    let reads = "\"$(part retention) flakey $(disk retention) 0 0 1 1 error_writes\"";
    for (stream, fails) in [nothing, reads, nothing].into_iter().enumerate() {
        machine.must(mount)?;
        let apply = format!("go apply - {TO_DISKS}");
        let mut feed = Feed::begin(&mut machine, stream, PIECES, &apply)?;
        feed.go_on()?;
        machine.wait_until(&has_point(&mark(stream, 1)))?;
        let told = machine.must(&guest("points"))?;
        machine.must(&guest(&format!("table retention {fails}")))?;
        lab.tally.faults += 1;
        feed.go_on()?;
        feed.go_on()?;
        machine.wait(feed.job())?.exits(1).says("/mnt/retention");

        machine.must(&guest("table retention \"$(linear retention)\""))?;
        machine.must(&format!("umount /mnt/retention && {mount}"))?;
        machine.must("mtctl journal check --group g")?;
        let told: serde_json::Value = serde_json::from_str(&told)?;
        for point in told["points"].as_array().unwrap() {
            machine.must(&has_point(point["name"].as_str().unwrap()))?;
        }
        replication.points_hold(&mut machine, 4)?;
        let again = format!("go apply /host/stream-{stream} {TO_DISKS}");
        machine.run(&guest(&again))?.exits(0);
        let disks = ["$(disk db)", "$(disk log)"];
        replication.is_on(&mut machine, disks, &mark(stream, EXTENT.marks))?;
        machine.must("umount /mnt/retention")?;
    }
    machine.shut_down()
}

fn forbidden(lab: &mut Lab) -> Result<()> {
    let extent = Extent { streams: 2, ..EXTENT };
    let replication = Replication::new(&lab.share(), 35, extent)?;
    let mut machine = three_disks(lab)?;
    machine.must(&guest("use_retention"))?;
    let apply = |stream| guest(&format!("go apply /host/stream-{stream} {TO_DISKS}"));
    let said = "io_uring is refused";
    machine.run(&apply(0))?.exits(0).does_not_say(said);
    machine.must("sysctl -qw kernel.io_uring_disabled=2")?;
    machine.run(&apply(1))?.exits(0).says(said);
    replication.is_on(&mut machine, ["$(disk db)", "$(disk log)"], &mark(1, extent.marks))?;
    machine.run(&guest("go rollback --to s0m2 --yes"))?.exits(0);
    replication.is_on(&mut machine, ["$(disk db)", "$(disk log)"], "s0m2")?;
    replication.points_hold(&mut machine, 4)?;
    machine.must("mtctl journal check --group g")?;
    machine.shut_down()
}
