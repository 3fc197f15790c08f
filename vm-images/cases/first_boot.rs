//! The whole road of a master target: a disk with a boot loader, its first boot, and a login.

use std::time::Duration;

use anyhow::Result;
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
const LIMIT: Duration = Duration::from_secs(840);

/// Logs in as people do, at a terminal: who that is must be printed after the password.
const LOG_IN: &str = r#"
terminal=$(mktemp)
shown() {
	for _ in $(seq 300); do ! grep -q "$1" "$terminal" || return 0; sleep 0.1; done
	return 1
}
{
	shown Password: && echo master-target
	shown '# $' && echo 'id -un; exit'
} | timeout 60 script -qefc 'login root' "$terminal"
"#;

fn whole_road(lab: &mut Lab) -> Result<()> {
    let mut target = ScsiTarget::start()?;
    let mut hardware = Hardware::default();
    hardware.disks.push(lab.vmware_disk(&mut target, "retention", 0, 64)?);
    let mut machine = lab.boot(&hardware)?;
    machine.prints("vm login:")?;
    let prepared = machine.must("journalctl --no-pager -o cat -u mtctl-first-boot")?;
    assert!(prepared.contains("format the blank disk"), "{prepared}");
    is_prepared(&mut machine)?;
    machine.run(LOG_IN)?.exits(0).says("id -un; exit root logout");
    machine.shut_down()?;

    let mut machine = lab.boot(&hardware)?;
    machine.prints("vm login:")?;
    let ran = machine.must("systemctl show -P ConditionResult mtctl-first-boot")?;
    assert_eq!(ran.trim(), "no", "prepare ran again");
    is_prepared(&mut machine)?;
    machine.run("mtctl prepare --yes")?.exits(0).says("0 changed");
    machine.shut_down()
}

/// The retention volume is mounted, and `mtctl check` has nothing against it. Because of nofail
/// nothing waits for it at boot.
fn is_prepared(machine: &mut Machine) -> Result<()> {
    let mounted = "for _ in $(seq 300); do findmnt /mnt/retention && exit; sleep 0.1; done; exit 1";
    machine.must(mounted)?;
    let report = machine.run("mtctl check --json")?.json();
    let findings = report["findings"].as_array().map_or(&[][..], Vec::as_slice);
    let retention = findings.iter().find(|finding| finding["id"] == "retention");
    assert_eq!(retention.map(|finding| &finding["status"]), Some(&"pass".into()), "{report:#}");
    Ok(())
}
