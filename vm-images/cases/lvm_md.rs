//! LVM and MD on attached customer disks: a prepared machine never activates nor writes to them.

use anyhow::Result;
use vm_images::case::{Case, Lab};
use vm_images::hardware::Hardware;
use vm_images::image::Kind;
use vm_images::runner::SHORT;

pub(crate) const CASES: &[Case] = &[Case {
    name: "lvm_md::what_is_on_customer_disks_is_neither_activated_nor_touched",
    image: Kind::CentosLike,
    limit: SHORT,
    story: untouched,
}];

const MAKE: &str = "modprobe -a dm-mod raid1; set -e; \
    disks=($(lsblk -dnpo NAME,TYPE | sed -n 's/^\\(.dev.sd[a-z]*\\) .*/\\1/p')); \
    vgcreate -y customer ${disks[0]}; lvcreate -y -L 16M -n data customer; \
    mdadm --create /dev/md7 --run --level=1 --metadata=1.2 --raid-devices=2 ${disks[@]:1:2}; \
    udevadm settle";
/// Waits for both to be active.
const TAKEN: &str = "for _ in $(seq 300); do dmsetup ls | grep -q customer && \
    grep -q ^md /proc/mdstat && exit; sleep 0.1; done; exit 1";
/// What is active: a line for each.
const ACTIVE: &str = "dmsetup ls --target linear | grep customer; grep ^md /proc/mdstat; true";

fn untouched(lab: &mut Lab) -> Result<()> {
    let names = ["volume", "half", "other_half"];
    let mut hardware = Hardware::default();
    for name in names {
        hardware = hardware.disk(name, &lab.blank(&format!("{name}.raw"), 64)?);
    }
    let mut machine = lab.boot(&hardware)?;
    machine.must(MAKE)?;
    machine.shut_down()?;

    // Without mtctl the system takes what it finds: or the rest of the story would show nothing.
    let mut machine = lab.boot(&hardware)?;
    machine.must(TAKEN)?;
    machine.run("mtctl prepare --yes --only lvm")?.exits(0);
    machine.shut_down()?;

    let files = names.map(|name| lab.file(&format!("{name}.raw")));
    let hashes = || -> Result<Vec<String>> {
        files
            .iter()
            .map(|file| {
                Ok(mt_tests::program::run("b3sum", &["--no-names", &file.to_string_lossy()]))
            })
            .collect()
    };
    let before = hashes()?;
    let mut machine = lab.boot(&hardware)?;
    machine.must("udevadm settle; mtctl disks")?;
    machine.run("mtctl check")?.says("lvm");
    let active = machine.must(ACTIVE)?;
    machine.shut_down()?;
    assert_eq!(active, "");
    assert_eq!(before, hashes()?);
    Ok(())
}
