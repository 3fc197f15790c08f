//! `mtctl apply` to SCSI disks: sectors of both sizes on each adapter, disks that fail or are
//! pulled while they are written, and a kernel that forbids io_uring.
//! A retention volume that fails is in `retention`, paths that are lost are in `multipath`, power
//! that is lost is in `power`.

use std::time::{Duration, Instant};

use anyhow::Result;
use vm_images::case::{Case, Lab};
use vm_images::hardware::{Controller, Hardware, Identity};
use vm_images::image::Kind;
use vm_images::machine::Machine;

use crate::faults::{EXTENT, PIECES, TO_DISKS, guest, has_point, three_disks};
use crate::replication::{Extent, Feed, Replication, VOLUMES, mark};

const fn case(name: &'static str, image: Kind, story: fn(&mut Lab) -> Result<()>) -> Case {
    Case { name, image, limit: Duration::from_secs(800), story }
}

pub(crate) const CASES: &[Case] = &[
    case("apply::sectors_of_512_and_4096_bytes_on_each_adapter", Kind::Debian, sectors),
    case("apply::a_disk_that_fails_stops_alone_and_catches_up", Kind::Debian, disks_fail),
    case("apply::a_disk_that_is_pulled_stops_alone_and_catches_up", Kind::Debian, pulled),
    case("apply::where_io_uring_is_forbidden_it_goes_on_without", Kind::DebianNewKernel, forbidden),
];

const SAS_WWN: u64 = 0x5000_c290_0000_0010;
const TO_MAPS: &str = "--map db=/dev/mapper/db --map log=/dev/mapper/log";

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
    let failed = machine.wait(feed.script())?;
    failed.exits(1).says("db on /dev/mapper/db: ").says("Input/output error");
    machine.must(&guest("table db \"$(linear db)\""))?;
    log_is_ahead(&mut machine, &replication, "/dev/mapper/log")?;
    machine.must(&has_point("s0m1"))?;
    let begun = Instant::now();
    machine.run(&guest(&format!("go apply /host/stream-0 {TO_MAPS}")))?.exits(0);
    // As long as a run takes here; on a host of usual speed that is the one second that dm-flakey
    // counts in. With shorter ones a slow host would hardly ever come to the end of a stream.
    let run_seconds = begun.elapsed().as_secs().max(1);
    let maps = || VOLUMES.map(|name| format!("/dev/mapper/{name}"));
    replication.is_on(&mut machine, maps(), &mark(0, EXTENT.marks))?;

    // Errors of writes alone, for a second after each such while, until everything is there.
    let flakey = format!(
        "flakey() {{ echo \"$(part $1) flakey $(disk $1) 0 {run_seconds} 1 1 error_writes\"; }}"
    );
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
    let failed = machine.wait(feed.script())?;
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

fn forbidden(lab: &mut Lab) -> Result<()> {
    let extent = Extent { streams: 2, ..EXTENT };
    let replication = Replication::new(&lab.share(), 35, extent)?;
    let mut machine = three_disks(lab)?;
    machine.must(&guest("use_retention"))?;
    let apply = |stream| guest(&format!("go apply /host/stream-{stream} {TO_DISKS}"));
    let said = "io_uring is not permitted";
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
