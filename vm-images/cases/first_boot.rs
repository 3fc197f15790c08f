//! The whole road of a master target: a disk with a boot loader, its first boot, and a login.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use vm_images::case::{Case, Lab};
use vm_images::hardware::Hardware;
use vm_images::image::Kind;
use vm_images::machine::Machine;
use vm_images::servers::ScsiTarget;

pub(crate) const CASES: &[Case] = &[Case {
    name: "first_boot::a_disk_that_boots_by_itself_comes_to_a_login_with_prepare_done",
    image: Kind::Bootable,
    limit: LIMIT,
    story: whole_road,
}];

/// BIOS and loader read the kernel, and it unpacks itself, all of it emulated; twice.
const LIMIT: Duration = Duration::from_secs(420);

fn whole_road(lab: &mut Lab) -> Result<()> {
    let mut target = ScsiTarget::start()?;
    let mut hardware = Hardware::default();
    hardware.disks.push(lab.vmware_disk(&mut target, "retention", 0, 64)?);
    let mut machine = lab.boot(&hardware)?;
    comes_to_a_login(lab)?;
    let prepared = machine.must("journalctl --no-pager -o cat -u mtctl-first-boot")?;
    assert!(prepared.contains("format the blank disk"), "{prepared}");
    is_prepared(&mut machine)?;
    machine.must("echo exit | script -qec 'login -f root' /dev/null")?;
    machine.shut_down()?;

    fs::remove_file(lab.file("console"))?;
    let mut machine = lab.boot(&hardware)?;
    comes_to_a_login(lab)?;
    let unit = machine.must("systemctl show -P ConditionResult -P Result mtctl-first-boot")?;
    assert_eq!(unit.trim(), "no", "prepare ran again");
    is_prepared(&mut machine)?;
    machine.run("mtctl prepare --yes")?.exits(0).says("0 changed");
    machine.shut_down()
}

/// The retention volume is mounted, and `mtctl check` has nothing against it.
fn is_prepared(machine: &mut Machine) -> Result<()> {
    machine
        .must("for _ in $(seq 300); do findmnt /mnt/retention && exit; sleep 0.1; done; exit 1")?;
    let report = machine.run("mtctl check --json")?.json();
    let findings = report["findings"].as_array().map_or(&[][..], Vec::as_slice);
    let retention = findings.iter().find(|finding| finding["id"] == "retention");
    assert_eq!(retention.map(|finding| &finding["status"]), Some(&"pass".into()), "{report:#}");
    Ok(())
}

/// Waits for the prompt on the console, which the first boot holds back until prepare has ended.
fn comes_to_a_login(lab: &Lab) -> Result<()> {
    let begun = Instant::now();
    loop {
        let console = fs::read(lab.file("console"))?;
        let console = String::from_utf8_lossy(&console);
        if console.contains("vm login:") {
            return Ok(());
        }
        ensure!(begun.elapsed() < LIMIT, "no login:\n{console}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
