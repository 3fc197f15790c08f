//! Points as qcow2 and as VMDKs in an OVF package: what qemu-img reads back from them, byte for
//! byte, and what is refused. Import by an ESXi is not tested here.

use std::fs;

use mt_tests::program::{command, finish, mtctl, run};
use mt_tests::scratch_machine::on_a_scratch_machine;
use mt_tests::skip::{has_program, skipped};

use crate::{Group, MIB, holds, restore, unfinished};

/// Converts the image `path` to raw with qemu-img.
#[track_caller]
fn unpacked(group: &Group, path: &str, format: &str) -> String {
    let raw = group.path("unpacked.img");
    run("qemu-img", &["convert", "-f", format, "-O", "raw", path, &raw]);
    raw
}

#[test]
fn a_qcow2_has_every_byte_of_the_point() {
    if !has_program("qemu-img") {
        return skipped("there is no qemu-img");
    }
    on_a_scratch_machine(|machine| {
        let mut group = Group::new(machine);
        let at_one = group.now.clone();
        group.apply("two");
        let (db, log) = (group.path("db.qcow2"), group.path("log.qcow2"));
        let onto = [format!("db={db}"), format!("log={log}")];
        let more = ["--onto", &onto[0], "--onto", &onto[1], "--create", "--json"];
        let words = restore(&[&more[..], &["--output-format", "qcow2"]].concat());
        let told = machine.mtctl(&words).exits(0).json();
        for (index, (path, name)) in [(&db, "db"), (&log, "log")].into_iter().enumerate() {
            holds(unpacked(&group, path, "qcow2"), &at_one[index]);
            assert_eq!(told["volumes"][index]["digest"], group.digest("one", name), "{told}");
        }
        assert_eq!(told["format"], "qcow2", "{told}");
        assert_eq!(unfinished(machine.directory()), [""; 0]);
    });
}

#[test]
fn vmdks_have_every_byte_and_the_ovf_and_its_manifest_name_them_in_their_order() {
    if !has_program("qemu-img") {
        return skipped("there is no qemu-img");
    }
    on_a_scratch_machine(|machine| {
        let group = Group::new(machine);
        let (db, log) = (group.path("web-db.vmdk"), group.path("web-log.vmdk"));
        let (onto, ovf) = ([format!("log={log}"), format!("db={db}")], group.path("web.ovf"));
        let more = ["--onto", &onto[0], "--onto", &onto[1], "--create", "--ovf", &ovf];
        let form = ["--output-format", "vmdk", "--controller", "pvscsi"];
        let words = restore(&[&more[..], &form].concat());
        machine.mtctl(&words).exits(0).says("compared by qemu-img").says("web.mf");
        for (path, bytes) in [(&db, &group.now[0]), (&log, &group.now[1])] {
            holds(unpacked(&group, path, "vmdk"), bytes);
            let told = run("qemu-img", &["info", "--output=json", path]);
            assert!(told.contains("streamOptimized"), "{told}");
        }
        let text = fs::read_to_string(&ovf).unwrap();
        let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what} in {text}"));
        assert!(place("web-log.vmdk\" ovf:id=\"file0\"") < place("web-db.vmdk\" ovf:id=\"file1\""));
        for (index, bytes) in [&group.now[1], &group.now[0]].into_iter().enumerate() {
            place(&format!("ovf:capacity=\"{}\"", bytes.len()));
            place(&format!("<rasd:AddressOnParent>{index}</rasd:AddressOnParent>"));
        }
        place("<rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType>");
        let manifest = fs::read_to_string(group.path("web.mf")).unwrap();
        for name in ["web.ovf", "web-log.vmdk", "web-db.vmdk"] {
            let hash = run("sha256sum", &[&group.path(name)]);
            let line = format!("SHA256({name})= {}", hash.split_whitespace().next().unwrap());
            assert!(manifest.lines().any(|found| found == line), "{line} in {manifest}");
        }
        // A package is not overwritten, and neither is a part of one.
        for name in ["web-db.vmdk", "web-log.vmdk"] {
            fs::remove_file(machine.file(name)).unwrap();
        }
        machine.mtctl(&words).exits(4).says("web.ovf: it already exists");
    });
}

#[test]
fn files_of_a_package_that_would_be_one_are_refused_before_any_is_made() {
    if !has_program("qemu-img") {
        return skipped("there is no qemu-img");
    }
    on_a_scratch_machine(|machine| {
        let group = Group::new(machine);
        let form = ["--create", "--output-format", "vmdk", "--ovf"];
        for (name, ovf) in [("web.mf", "web.ovf"), ("web.ovf", "web.ovf"), ("./web.mf", "web.ovf")]
        {
            let (onto, ovf) = (format!("db={}", group.path(name)), group.path(ovf));
            let words = restore(&[&["--onto", &onto][..], &form, &[&ovf]].concat());
            machine.mtctl(&words).exits(2).says("is named for two new files").says("hint:");
        }
        let (onto, ovf) = (format!("db={}", group.path("d.vmdk")), group.path("web.ovf"));
        let words = [&["--onto", &onto][..], &form, &[&ovf, "--dry-run"]].concat();
        let dry = machine.mtctl(&restore(&words));
        dry.exits(3).says("its OVF").says(&ovf).says("its manifest").says(&group.path("web.mf"));
        let told = machine.mtctl(&restore(&[&words[..], &["--json"]].concat())).exits(3).json();
        assert_eq!((&told["format"], &told["ovf"]), (&"vmdk".into(), &(*ovf).into()), "{told}");
        assert_eq!(told["manifest"], *group.path("web.mf"), "{told}");
        for name in ["web.mf", "web.ovf", "d.vmdk"] {
            assert!(!machine.file(name).exists(), "{name} was made");
        }
    });
}

#[test]
fn the_ovf_has_the_capacity_that_qemu_img_finds_in_a_vmdk_of_a_disk_with_half_a_sector() {
    if !has_program("qemu-img") {
        return skipped("there is no qemu-img");
    }
    on_a_scratch_machine(|machine| {
        let _retention = machine.retention(64);
        let bytes = [vec![7; MIB as usize], vec![9; 100]].concat();
        let path = |name: &str| machine.file(name).to_str().unwrap().to_owned();
        let (raw, target) = (path("odd.raw"), path("odd.img"));
        fs::write(&raw, &bytes).unwrap();
        fs::write(&target, vec![0; bytes.len()]).unwrap();
        let apply = ["apply", &raw, "--format", "raw", "--group", "g", "--target", &target];
        machine.mtctl(&apply).exits(0);
        let (vmdk, ovf) = (path("odd.vmdk"), path("odd.ovf"));
        let form = ["--create", "--output-format", "vmdk", "--ovf", &ovf];
        let words = ["restore", "--group", "g", "--to", "latest", "--onto", &vmdk];
        machine.mtctl(&[&words[..], &form].concat()).exits(0);
        let told = run("qemu-img", &["info", "--output=json", &vmdk]);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let capacity = format!("ovf:capacity=\"{}\"", told["virtual-size"]);
        let text = fs::read_to_string(&ovf).unwrap();
        assert!(text.contains(&capacity), "{capacity} in {text}");
        let unpacked = path("unpacked.img");
        run("qemu-img", &["convert", "-f", "vmdk", "-O", "raw", &vmdk, &unpacked]);
        holds(&unpacked, &bytes);
    });
}

#[test]
fn a_format_is_a_new_files_and_an_ovf_lies_beside_its_disks() {
    on_a_scratch_machine(|machine| {
        let group = Group::new(machine);
        let disk = machine.disk("new", 32);
        let (onto, file) = (format!("db={}", disk.path()), format!("db={}", group.path("d.vmdk")));
        let (ovf, elsewhere) = (group.path("d.ovf"), "/mnt/d.ovf");
        let vmdk = ["--output-format", "vmdk", "--create"];
        for (more, text) in [
            (["--onto", &onto, "--output-format", "qcow2"].to_vec(), "already exists"),
            (["--onto", &file, "--create", "--ovf", &ovf].to_vec(), "an OVF needs VMDKs"),
            ([&["--onto", &file, "--ovf", elsewhere][..], &vmdk].concat(), "it cannot name"),
        ] {
            let words = restore(&[&more[..], &["--yes"]].concat());
            machine.mtctl(&words).exits(2).says(text).says("hint:");
        }
        let words = restore(&[&["--onto", &file][..], &vmdk].concat());
        let mut without = command(mtctl(), &words);
        finish(without.env("PATH", "/nowhere")).exits(2).says("is not installed");
        assert!(!machine.file("d.vmdk").exists());
        assert!(fs::read(disk.file()).unwrap().iter().all(|byte| *byte == 0));
    });
}
