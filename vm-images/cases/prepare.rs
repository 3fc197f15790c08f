//! `mtctl prepare` on a machine with systemd, dnf and an RPM database, after its first boot.

use anyhow::Result;
use vm_images::case::{Case, Lab};
use vm_images::hardware::Hardware;
use vm_images::image::Kind;
use vm_images::runner::SHORT;

pub(crate) const CASES: &[Case] = &[Case {
    name: "prepare::the_system_on_a_disk_boots_with_systemd_and_its_repository_has_the_packages",
    image: Kind::CentosLike,
    limit: SHORT,
    story: boots,
}];

fn boots(lab: &mut Lab) -> Result<()> {
    let mut machine = lab.boot(&Hardware::default())?;
    println!("{}", machine.must("cat /proc/uptime; cat /proc/1/comm; ls -l /dev/disk/by-id; cat /etc/centos-release; systemctl --failed --no-legend; findmnt /; rpm -qa; mtctl check")
        .or_else(|e| { println!("{e:#}"); anyhow::Ok(String::new()) })?);
    let r = machine.run("time dnf -y install lsscsi; rpm -q lsscsi; mtctl check; true")?;
    println!("{r:#?}");
    machine.shut_down()
}
