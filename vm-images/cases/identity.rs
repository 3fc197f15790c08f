//! Who a disk is: as VMware shows it with disk.EnableUUID on and off, on every controller, sixty of
//! them, and two that say that they are one.

use std::fs;

use anyhow::Result;
use serde_json::Value;
use vm_images::case::{Case, Lab};
use vm_images::hardware::{Backing, Controller, Hardware, Identity, vmware_uuid};
use vm_images::image::Kind;
use vm_images::machine::Machine;
use vm_images::runner::SHORT;
use vm_images::servers::ScsiTarget;

const fn case(name: &'static str, story: fn(&mut Lab) -> Result<()>) -> Case {
    Case { name, image: Kind::Debian, limit: SHORT, story }
}

pub(crate) const CASES: &[Case] = &[
    case("identity::as_vmware_shows_it_all_tools_agree", on),
    case("identity::off_and_mixed_is_found_and_explained", off_and_mixed),
    case("identity::every_controller_is_told_apart", every_controller),
    case("identity::two_disks_with_one_id_are_refused", one_id_twice),
    case("identity::sixty_disks_are_enumerated", sixty),
];

/// What `mtctl disks` says of the disks, by their paths.
fn disks(machine: &mut Machine) -> Result<Vec<Value>> {
    let run = machine.run("mtctl disks --json")?;
    Ok(run.exits(0).json()["disks"].as_array().cloned().unwrap_or_default())
}

/// Text of the finding `id` in a report of `mtctl check`: its status.
fn status<'a>(report: &'a Value, id: &str) -> Vec<&'a str> {
    let findings = report["findings"].as_array().map_or(&[][..], Vec::as_slice);
    let named = findings.iter().filter(|finding| finding["id"] == id);
    named.filter_map(|finding| finding["status"].as_str()).collect()
}

fn on(lab: &mut Lab) -> Result<()> {
    let mut target = ScsiTarget::start()?;
    let mut hardware = Hardware::default();
    for (slot, name) in ["one", "two"].into_iter().enumerate() {
        hardware.disks.push(lab.vmware_disk(&mut target, name, slot as u8, 64)?);
    }
    let mut machine = lab.boot(&hardware)?;
    for name in ["one", "two"] {
        let wwid = format!("naa.{}", vmware_uuid(name));
        let found = disks(&mut machine)?;
        let disk = found.iter().find(|disk| disk["wwid"] == wwid.as_str());
        let disk = disk.unwrap_or_else(|| panic!("no disk is {wwid}: {found:#?}"));
        let path = disk["path"].as_str().unwrap();
        let said = machine.must(&format!("/usr/lib/udev/scsi_id -g -u -d {path}"))?;
        assert_eq!(said.trim(), format!("3{}", vmware_uuid(name)), "scsi_id of {path}");
        let kernel = machine.must(&format!("cat /sys/block/{}/device/wwid", &path[5..]))?;
        assert_eq!(kernel.trim(), wwid, "the kernel of {path}");
        let generic = machine.must("lsscsi -g")?;
        let address = format!("[{}]", disk["scsi_address"].as_str().unwrap());
        let line = generic.lines().find(|line| line.contains(path));
        assert!(line.is_some_and(|line| line.starts_with(&address)), "{address}: {generic}");
        assert_eq!(disk["controller"], "vmw_pvscsi");
    }
    let report = machine.run("mtctl check --json")?.json();
    for id in ["scsi-ids", "enable-uuid", "duplicate-ids"] {
        assert!(status(&report, id).iter().all(|status| *status == "pass"), "{id}: {report:#}");
    }
    vmx_agrees(lab, &mut machine)?;
    machine.shut_down()
}

/// The VM's own description names the same disks: `mtctl vmx` finds them on this host.
fn vmx_agrees(lab: &Lab, machine: &mut Machine) -> Result<()> {
    let mut vmx = String::from(
        ".encoding = \"UTF-8\"\ndisk.EnableUUID = \"TRUE\"\nscsi0.present = \"TRUE\"\n\
         scsi0.virtualDev = \"pvscsi\"\n",
    );
    for (slot, name) in ["one", "two"].into_iter().enumerate() {
        vmx +=
            &format!("scsi0:{slot}.present = \"TRUE\"\nscsi0:{slot}.fileName = \"{name}.vmdk\"\n");
        let uuid = vmware_uuid(name);
        let byte = |number: usize| &uuid[2 * number..2 * number + 2];
        let half = |from: usize| (from..from + 8).map(byte).collect::<Vec<_>>().join(" ");
        let descriptor = format!(
            "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n\
             createType=\"vmfs\"\n\nRW 131072 VMFS \"{name}-flat.vmdk\"\n\n\
             ddb.uuid = \"{}-{}\"\nddb.adapterType = \"lsilogic\"\n",
            half(0),
            half(8)
        );
        fs::write(lab.share().join(format!("{name}.vmdk")), descriptor)?;
    }
    fs::write(lab.share().join("vm.vmx"), vmx)?;
    let run = machine.run("mtctl vmx --json /host/vm.vmx")?;
    let report = run.exits(0).json();
    let mapped = report["machines"][0]["disks"].as_array().unwrap();
    for disk in mapped {
        let path = disk["wwid_matches"].as_str();
        assert!(path.is_some_and(|path| path.starts_with("/dev/sd")), "{report:#}");
    }
    assert_eq!(mapped.len(), 2, "{report:#}");
    Ok(())
}

fn off_and_mixed(lab: &mut Lab) -> Result<()> {
    let hardware = Hardware::default()
        .disk("one", &lab.blank("off1.raw", 64)?)
        .disk("two", &lab.blank("off2.raw", 64)?);
    let mut machine = lab.boot(&hardware)?;
    for disk in disks(&mut machine)? {
        assert_eq!(disk["wwid"], Value::Null, "{disk:#}");
    }
    let run = machine.run("mtctl check")?;
    run.exits(3).says("FAIL enable-uuid").says("disk.EnableUUID = \"TRUE\"");
    machine.shut_down()?;

    let mut target = ScsiTarget::start()?;
    let mut hardware = hardware;
    hardware.disks.push(lab.vmware_disk(&mut target, "three", 5, 64)?);
    let mut machine = lab.boot(&hardware)?;
    let known = disks(&mut machine)?.iter().filter(|disk| !disk["wwid"].is_null()).count();
    assert_eq!(known, 1);
    machine.run("mtctl check")?.exits(3).says("FAIL enable-uuid").says("FAIL scsi-ids");
    machine.shut_down()
}

fn every_controller(lab: &mut Lab) -> Result<()> {
    let kinds = [
        (Controller::Pvscsi, "vmw_pvscsi"),
        (Controller::VirtioScsi, "virtio_scsi"),
        (Controller::Lsi, "sym53c8xx"),
        (Controller::Sas, "mptsas"),
        (Controller::VirtioBlk, "virtio_blk"),
    ];
    let controllers = kinds.iter().map(|(controller, _)| *controller).collect();
    let mut hardware = Hardware { controllers, ..Hardware::default() };
    for (number, (controller, _)) in kinds.iter().enumerate() {
        let file = lab.blank(&format!("disk{number}.raw"), 16 + number as u64)?;
        hardware = hardware.disk(&format!("disk{number}"), &file).with(|disk| {
            disk.controller = number;
            disk.slot = 0;
            disk.identity = match controller {
                Controller::Sas => Identity::Wwn(0x5000_c290_0000_0001, "sas1".into()),
                _ => Identity::Serial(format!("serial{number}")),
            };
        });
    }
    let mut machine = lab.boot(&hardware)?;
    let found = disks(&mut machine)?;
    for (number, (_, driver)) in kinds.iter().enumerate() {
        let bytes = (16 + number as u64) << 20;
        let disk = found.iter().find(|disk| disk["size_bytes"] == bytes);
        let disk = disk.unwrap_or_else(|| panic!("no disk of {bytes} bytes: {found:#?}"));
        assert_eq!(disk["controller"], *driver, "{disk:#}");
        let wwid = disk["wwid"].as_str();
        match *driver {
            "mptsas" => assert_eq!(wwid, Some("naa.5000c29000000001")),
            "virtio_blk" => assert_eq!((wwid, &disk["identity"]), (None, &"not-scsi".into())),
            _ => assert!(wwid.is_some_and(|wwid| wwid.starts_with("serial.")), "{disk:#}"),
        }
    }
    machine.shut_down()
}

fn one_id_twice(lab: &mut Lab) -> Result<()> {
    let mut target = ScsiTarget::start()?;
    let mut hardware = Hardware::default();
    hardware.disks.push(lab.vmware_disk(&mut target, "one", 0, 64)?);
    let file = lab.blank("copy.raw", 64)?;
    let lun = target.add(&file, &vmware_uuid("one"))?;
    let mut copy = hardware.disks[0].clone();
    copy.name = "copy".into();
    copy.slot = 1;
    copy.backing = Backing::Iscsi { portal: target.portal(), lun };
    hardware.disks.push(copy);
    let mut machine = lab.boot(&hardware)?;
    machine.run("mtctl check")?.exits(3).says("FAIL duplicate-ids");
    let wwid = format!("naa.{}", vmware_uuid("one"));
    let prepare = format!("mtctl prepare --only retention --retention-disk {wwid} --yes");
    machine.run(&prepare)?.exits(4);
    let apply = format!("mtctl apply - --format raw --target wwid:{wwid} </dev/null");
    machine.run(&apply)?.exits(4).says(&wwid);
    machine.shut_down()?;
    for disk in ["one.raw", "copy.raw"] {
        assert!(fs::read(lab.file(disk))?.iter().all(|byte| *byte == 0), "{disk} was written to");
    }
    Ok(())
}

fn sixty(lab: &mut Lab) -> Result<()> {
    let controllers = vec![Controller::Pvscsi; 4];
    let mut hardware = Hardware { controllers, ..Hardware::default() };
    for number in 0..60 {
        let file = lab.blank(&format!("disk{number}.raw"), 8)?;
        hardware = hardware.disk(&format!("disk{number}"), &file).with(|disk| {
            disk.controller = number / 15;
            // Target 7 is the adapter itself.
            disk.slot = (number % 15 + usize::from(number % 15 >= 7)) as u8;
            disk.identity =
                Identity::Wwn(0x5000_c290_0000_0000 + number as u64, number.to_string());
        });
    }
    let mut machine = lab.boot(&hardware)?;
    let found = disks(&mut machine)?;
    let ids: std::collections::BTreeSet<_> =
        found.iter().map(|disk| disk["wwid"].as_str()).collect();
    assert_eq!((found.len(), ids.len()), (60, 60));
    let table = machine.run("mtctl disks")?;
    assert_eq!(table.stdout.lines().filter(|line| line.starts_with("/dev/sd")).count(), 60);
    machine.run("mtctl check")?.says("60 attached; at most 60");
    machine.shut_down()
}
