//! Who a disk is: as VMware shows it with disk.EnableUUID on and off, on every controller.

use anyhow::Result;
use vm_images::case::{Case, Lab};
use vm_images::hardware::Hardware;
use vm_images::image::Kind;
use vm_images::runner::SHORT;

pub(crate) const CASES: &[Case] = &[Case {
    name: "identity::without_enable_uuid_disks_have_no_identity_and_check_says_so",
    image: Kind::Debian,
    limit: SHORT,
    story: without_enable_uuid,
}];

fn without_enable_uuid(lab: &mut Lab) -> Result<()> {
    let hardware = Hardware::default()
        .disk("one", &lab.blank("one.raw", 64)?)
        .disk("two", &lab.blank("two.raw", 64)?);
    let mut machine = lab.boot(&hardware)?;
    println!("{}", machine.must("lsscsi -g; cat /proc/uptime; mtctl --version; df -h /")?);
    println!("{}", machine.run("mtctl disks; mtctl check")?.stdout);
    machine.shut_down()
}
