//! Two paths to one disk: what each policy makes of them, the retention volume on a map, paths that
//! are lost while streams are applied, and a multipathd that took what it should not.

use std::time::Duration;

use anyhow::Result;
use mt_tests::program::Run;
use vm_images::case::{Case, Lab};
use vm_images::hardware::{Controller, Disk, Hardware, vmware_uuid};
use vm_images::image::Kind;
use vm_images::machine::Machine;
use vm_images::servers::ScsiTarget;

use crate::replication::{Extent, Feed, Replication, VOLUMES, mark};

const fn case(name: &'static str, story: fn(&mut Lab) -> Result<()>) -> Case {
    Case { name, image: Kind::Debian, limit: Duration::from_secs(800), story }
}

pub(crate) const CASES: &[Case] = &[
    case("multipath::each_policy_makes_of_two_paths_what_it_says", policies),
    case("multipath::paths_lost_while_applying_lose_nothing", paths_lost),
    case("multipath::a_greedy_multipathd_is_found_and_explained", greedy),
];

/// Two adapters, and every disk of `sizes_mib` at both: the second path is called `NAME-2`.
fn two_paths(lab: &Lab, target: &mut ScsiTarget, sizes_mib: &[(&str, u64)]) -> Result<Hardware> {
    let mut hardware = Hardware { controllers: vec![Controller::Pvscsi; 2], ..Hardware::default() };
    for (slot, (name, mib)) in (0..).zip(sizes_mib) {
        let disk = lab.vmware_disk(target, name, slot, *mib)?;
        let second = Disk { name: format!("{name}-2"), controller: 1, ..disk.clone() };
        hardware.disks.extend([disk, second]);
    }
    Ok(hardware)
}

fn wwid(name: &str) -> String {
    format!("naa.{}", vmware_uuid(name))
}

/// The map of the disk `name`; maps are called by scsi_id's word for it.
fn map(name: &str) -> String {
    format!("/dev/mapper/3{}", vmware_uuid(name))
}

/// Lets multipathd, which no systemd starts here, take up what is configured.
const TAKE_UP: &str = "multipathd reconfigure && udevadm settle";

fn start_multipathd(machine: &mut Machine) -> Result<()> {
    machine.must("modprobe -a dm-multipath dm-service-time && multipathd")?;
    machine.wait_until("multipathd show status")
}

/// Applies one block of zeros, onto disks that are blank.
fn apply_zeros(machine: &mut Machine, target: &str) -> Result<Run> {
    machine.run(&format!("head -c 4096 /dev/zero | mtctl apply - --format raw --target {target}"))
}

/// Both ways of naming the disk, and making a retention volume of it, are refused with the reason.
fn paths_are_refused(machine: &mut Machine) -> Result<()> {
    let reason = format!("have the same WWID {}: two ways to one disk", wwid("db"));
    let hint = "two paths: mtctl prepare --multipath require";
    for target in [format!("wwid:{}", wwid("db")), "/dev/sda".into(), "/dev/sdb".into()] {
        apply_zeros(machine, &target)?.exits(4).says(&reason).says(hint);
    }
    let prepare = "mtctl prepare --only retention --retention-disk /dev/sda --yes";
    machine.run(prepare)?.exits(4).says(&reason).says(hint);
    let step = machine.run("mtctl prepare --only scsi-ids --yes")?;
    step.exits(4).says("two paths to one disk").says("--multipath require");
    machine.run("mtctl check")?.exits(3).says("FAIL duplicate-ids").says(hint);
    Ok(())
}

fn policies(lab: &mut Lab) -> Result<()> {
    let mut target = ScsiTarget::start()?;
    let hardware = two_paths(lab, &mut target, &[("db", 64)])?;
    let mut machine = lab.boot(&hardware)?;
    let prepare = |policy| format!("mtctl prepare --only multipath --multipath {policy} --yes");

    machine.run(&prepare("off"))?.exits(0).says("1 changed");
    start_multipathd(&mut machine)?;
    assert_eq!(machine.must("multipath -ll")?, "", "off");
    paths_are_refused(&mut machine)?;

    machine.run(&prepare("auto"))?.exits(0).says("1 changed");
    machine.must(TAKE_UP)?;
    assert_eq!(machine.must("multipath -ll")?, "", "auto makes no map of what never was one");
    paths_are_refused(&mut machine)?;

    machine.run(&prepare("require"))?.exits(0).says("1 changed");
    machine.must(TAKE_UP)?;
    machine.wait_until(&format!("[ -b {} ]", map("db")))?;
    let check = machine.run("mtctl check --multipath require")?;
    check.says("pass duplicate-ids").says("policy require").says("1 attached; at most 60");
    one_disk_is_fit(&mut machine)?;

    machine.run(&prepare("auto"))?.exits(0).says("1 changed");
    machine.must(TAKE_UP)?;
    machine.run("mtctl check")?.says("pass duplicate-ids").says("policy auto");
    one_disk_is_fit(&mut machine)?;

    machine.run(&prepare("off"))?.exits(0).says("1 changed").says("A restart is required");
    machine.must(TAKE_UP)?;
    machine.wait_until(&format!("[ ! -e {} ]", map("db")))?;
    paths_are_refused(&mut machine)?;
    machine.run(&prepare("off"))?.exits(0).says("0 changed");
    machine.shut_down()
}

/// The map, and neither of its paths, can be written to.
fn one_disk_is_fit(machine: &mut Machine) -> Result<()> {
    let listed = machine.run("mtctl disks --json")?;
    let report = listed.exits(0).json();
    let disks = report["disks"].as_array().unwrap();
    assert_eq!(disks.len(), 3, "{report:#}");
    for disk in disks {
        let is_map = disk["kind"] == "multipath";
        let fit: &[&str] = if is_map { &["retention", "target"] } else { &[] };
        let used = format!("multipath:{}", &map("db")["/dev/mapper/".len()..]);
        let used: &[&str] = if is_map { &[] } else { &[&used, "filesystem:mpath_member"] };
        assert_eq!(disk["wwid"], wwid("db").as_str(), "{disk:#}");
        assert_eq!(disk["eligible_for"], serde_json::json!(fit), "{disk:#}");
        assert_eq!(disk["used_by"], serde_json::json!(used), "{disk:#}");
    }
    apply_zeros(machine, &format!("wwid:{}", wwid("db")))?.exits(0);
    let path = apply_zeros(machine, "/dev/sda")?;
    path.exits(4).says(&format!("path of the multipath map {}", map("db")));
    path.says(&format!("name the map instead: {}", map("db")));
    Ok(())
}

/// In so many pieces the first stream comes; before each but the first, paths are lost.
const PIECES: usize = 3;
const EXTENT: Extent = Extent { streams: 2, marks: 6, changes: 8, bytes: 16 << 20 };

/// Applies what comes from `source` to the disks, found by what they say they are.
fn apply(source: &str) -> String {
    let maps = VOLUMES.map(|name| format!("--map {name}=wwid:{}", wwid(name))).join(" ");
    format!("mtctl apply {source} --group g {maps}")
}

/// The paths by an adapter to the disks with these target numbers: offline or running.
fn set_paths(machine: &mut Machine, adapter: u32, targets: &str, state: &str) -> Result<()> {
    let all = format!("/sys/class/scsi_device/{adapter}:0:{targets}:*/device/state");
    machine.must(&format!("for path in {all}; do echo {state} >$path; done")).map(drop)
}

const SOME_PATH_FAILED: &str = "dmsetup status --target multipath | grep -q ' F '";

fn paths_lost(lab: &mut Lab) -> Result<()> {
    let mut target = ScsiTarget::start()?;
    let disks = [("db", 16), ("log", 16), ("retention", 128)];
    let hardware = two_paths(lab, &mut target, &disks)?;
    let replication = Replication::new(&lab.share(), 11, EXTENT)?;
    let mut machine = lab.boot(&hardware)?;
    prepare_on_maps(&mut machine)?;

    let mut feed = Feed::begin(&mut machine, 0, PIECES, &apply("-"))?;
    feed.go_on()?;
    machine.wait_until("mtctl points list --group g --json | grep -q s0m1")?;

    set_paths(&mut machine, 0, "*", "offline")?;
    lab.tally.faults += 3;
    feed.go_on()?;
    machine.wait_until("mtctl points list --group g --json | grep -q s0m3")?;
    machine.must(SOME_PATH_FAILED)?;
    set_paths(&mut machine, 0, "*", "running")?;
    machine.wait_until(&format!("! {SOME_PATH_FAILED}"))?;

    // The other way is taken away for good.
    for (name, _) in disks {
        machine.pull(&format!("{name}-2"))?;
        lab.tally.faults += 1;
    }
    feed.go_on()?;
    machine.wait(feed.script())?.exits(0);
    replication.is_on(&mut machine, VOLUMES.map(map), &mark(0, EXTENT.marks))?;
    machine.must("mtctl journal check --group g")?;

    // The last way to one of them: that volume stops, and goes on when the way is back.
    set_paths(&mut machine, 0, "0", "offline")?;
    lab.tally.faults += 1;
    let failed = machine.run(&apply("/host/stream-1"))?;
    failed.exits(1).says(&format!("db on {}: ", map("db"))).does_not_say("6 recovery points");
    set_paths(&mut machine, 0, "0", "running")?;
    machine.wait_until(&format!("! {SOME_PATH_FAILED}"))?;
    machine.run(&apply("/host/stream-1"))?.exits(0);
    replication.is_on(&mut machine, VOLUMES.map(map), &mark(1, EXTENT.marks))?;
    machine.must("mtctl journal check --group g")?;
    machine.shut_down()
}

/// The retention volume is made on the map, stays there, and is the host's own.
fn prepare_on_maps(machine: &mut Machine) -> Result<()> {
    machine.must("mtctl prepare --only multipath --multipath require --yes")?;
    start_multipathd(machine)?;
    for name in ["db", "log", "retention"] {
        machine.wait_until(&format!("[ -b {} ]", map(name)))?;
    }
    let prepare = "mtctl prepare --only multipath retention --multipath require --yes";
    let named = format!("{prepare} --retention-disk {}", wwid("retention"));
    machine.run(&named)?.exits(0).says("2 changed");
    machine.must(TAKE_UP)?;
    let mounted = machine.must("findmnt -no SOURCE /mnt/retention")?;
    assert_eq!(mounted.trim(), map("retention"));
    machine.run(prepare)?.exits(0).says("0 changed");
    let check = machine.run("mtctl check --multipath require")?;
    check.says("policy require").says("/mnt/retention: used only for retention");
    check.says("2 attached; at most 60");
    Ok(())
}

fn greedy(lab: &mut Lab) -> Result<()> {
    let mut target = ScsiTarget::start()?;
    let mut hardware = Hardware::default();
    for (slot, name) in (0..).zip(VOLUMES) {
        hardware.disks.push(lab.vmware_disk(&mut target, name, slot, 64)?);
    }
    let mut machine = lab.boot(&hardware)?;
    let [db, log] = VOLUMES.map(map);
    let configuration = "defaults {\n\tfind_multipaths no\n}\n";
    machine.must(&format!(
        "printf '{configuration}' >/etc/multipath.conf && \
         echo 1M,+ | sfdisk -q -X dos /dev/disk/by-id/scsi-3{} && udevadm settle",
        // Not sda: which disk the kernel finds first, nobody knows.
        vmware_uuid("db")
    ))?;
    start_multipathd(&mut machine)?;
    lab.tally.faults += 1;
    // udev's rules make the map of the partition, unless they are asked before the map can be read:
    // then nobody asks again.
    machine.wait_until(&format!("[ -b {db} ] && [ -b {log} ]"))?;
    machine.must(&format!("udevadm settle && kpartx -a -p -part {db} && [ -b {db}-part1 ]"))?;

    // A map that nobody uses is as good as the disk; one whose partitions have maps is not.
    apply_zeros(&mut machine, &format!("wwid:{}", wwid("log")))?.exits(0);
    let held = apply_zeros(&mut machine, &format!("wwid:{}", wwid("db")))?;
    held.exits(4).says(&format!("kpartx -d {db}"));
    apply_zeros(&mut machine, "/dev/sdb")?.exits(4).says("path of the multipath map");

    let check = machine.run("mtctl check")?;
    check.exits(3).says(
        "multipath holds 2 single-path disks: its configuration makes it claim \
                         every disk",
    );
    let names = [&db, &log].map(|map| &map["/dev/mapper/".len()..]);
    let hint = format!(
        "for map in {} {}; do multipath -f $map && multipath -w $map; done",
        names[0], names[1]
    );
    check.says(&format!("mtctl prepare --only multipath && {hint}"));

    machine.run("mtctl prepare --only multipath --yes")?.exits(0).says("1 changed");
    machine.must(TAKE_UP)?;
    let check = machine.run("mtctl check")?;
    check.says("multipath holds 2 single-path disks: they are in /etc/multipath/wwids");
    check.says("pass multipath").says(&hint).does_not_say("makes it claim every disk");
    machine.must(&hint)?;
    machine.must(TAKE_UP)?;
    assert_eq!(machine.must("multipath -ll")?, "");
    machine.run("mtctl check")?.does_not_say("single-path disks").says("policy auto");
    let listed = machine.run("mtctl disks")?;
    listed.does_not_say("mpath").says("fit for: retention, target");
    apply_zeros(&mut machine, &format!("wwid:{}", wwid("db")))?.exits(0);
    apply_zeros(&mut machine, "/dev/sdb")?.exits(0);
    machine.shut_down()
}
