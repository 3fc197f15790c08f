//! A retention volume that retains data of foreign disks is found, mounted and recognised, whatever
//! that data is: new volumes, which cannot be taken for anything else, and old ones, which can.

use std::fs;

use mt_tests::change_stream::{Change, native, volume};
use mt_tests::foreign::{Brim, Foreign, uberblocks};
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{command, finish, run, shell};
use mt_tests::scratch_machine::{FSTAB, ScratchMachine, on_a_scratch_machine};
use mt_tests::skip::has_program;

const UUID: &str = "2c1e7d52-6f0b-4b8e-9a51-d3f17c3e90aa";
const AT: &str = "/mnt/retention";

/// The size of the disk on which each filesystem is tried, in MiB.
const FILESYSTEMS: [(&str, u64); 2] = [("ext4", 64), ("xfs", 320)];

/// Makes a volume as `mtctl prepare` did before there was a margin, known by its row.
fn make_as_before(disk: &LoopDevice, filesystem: &str) {
    let path = disk.path();
    match filesystem {
        "xfs" => {
            let uuid = format!("uuid={UUID}");
            run("mkfs.xfs", &["-q", "-f", "-L", "mt-retention", "-m", &uuid, path]);
        }
        _ => {
            let options = ["-q", "-F", "-m", "0", "-L", "mt-retention", "-U", UUID, path];
            run("mkfs.ext4", &options);
        }
    }
    let row = format!("UUID={UUID} {AT} {filesystem} defaults,nofail,x-mtctl 0 0\n");
    fs::write("/etc/fstab", format!("{FSTAB}{row}")).unwrap();
}

/// Makes a group with one point and its history on the volume.
fn a_group(machine: &ScratchMachine) {
    let target = machine.file("target.img");
    fs::write(&target, vec![0; 1 << 20]).unwrap();
    let stream = machine.file("stream.mts");
    let bytes = native(volume("", 1 << 20, "", ""), &[Change::data(0, vec![7; 4096])]);
    fs::write(&stream, bytes).unwrap();
    let [stream, target] = [&stream, &target].map(|path| path.to_str().unwrap());
    machine.mtctl(&["apply", stream, "--group", "g", "--target", target]).exits(0);
}

/// What blkid takes the disk for by itself.
fn taken_for(disk: &LoopDevice) -> String {
    let probed = finish(&mut command("blkid", &["-p", "-o", "value", "-s", "TYPE", disk.path()]));
    match probed.code {
        Some(8) => "ambivalent".to_owned(),
        _ => probed.stdout.trim().to_owned(),
    }
}

/// Gives this machine an empty /dev/disk of its own while `story` runs.
fn with_links(story: impl FnOnce()) {
    let made = fs::create_dir("/dev/disk").is_ok();
    run("mount", &["-t", "tmpfs", "links", "/dev/disk"]);
    story();
    run("umount", &["/dev/disk"]);
    if made {
        fs::remove_dir("/dev/disk").unwrap();
    }
}

/// Processes the disk like udev, with the rules in /etc and its own, and creates the link that the
/// volume gets.
fn link_by_udev(disk: &LoopDevice) {
    let rule = "/etc/udev/rules.d/62-mtctl-retention.rules";
    let said = run("udevadm", &["test", "--action=change", &format!("/sys/block/{}", disk.name())]);
    // Some releases only print what they would link.
    let link = format!("/dev/disk/by-uuid/{UUID}");
    assert!(said.contains(&link), "{rule} gives no link: {said}");
    assert!(said.contains("ID_FS_USAGE=filesystem"), "{said}");
    if fs::symlink_metadata(&link).is_err() {
        fs::create_dir_all("/dev/disk/by-uuid").unwrap();
        std::os::unix::fs::symlink(disk.path(), &link).unwrap();
    }
}

/// Asserts that it is mounted by its row and accepted by every verb.
#[track_caller]
fn is_in_use(machine: &ScratchMachine, disk: &LoopDevice) {
    shell("mount -a --test-opts x-mtctl");
    assert_eq!(machine.mounted_at(AT).as_deref(), Some(disk.path()));
    is_ready(machine, disk);
}

#[track_caller]
fn is_ready(machine: &ScratchMachine, disk: &LoopDevice) {
    let checked = machine.mtctl(&["check", "--json"]).json();
    let findings = checked["findings"].as_array().unwrap();
    let of_retention =
        findings.iter().filter(|one| one["id"].as_str().unwrap().starts_with("retention"));
    for finding in of_retention {
        assert_ne!(finding["status"], "fail", "{finding}");
    }
    for _ in 0..2 {
        machine.prepare(disk.path(), &["--yes"]).exits(0).says("0 changed");
    }
    machine.mtctl(&["prepare", "--only", "retention", "--yes"]).exits(0).says("0 changed");
    let points = machine.mtctl(&["points", "list", "--group", "g", "--json"]);
    assert_eq!(points.exits(0).json()["points"].as_array().unwrap().len(), 1);
}

/// Retains each kind of disk on the volume in turn, each block at its position on the disk, and
/// reports to `story` what was retained and what the volume is taken for, while it is not mounted.
fn keep_each(
    machine: &ScratchMachine,
    disk: &LoopDevice,
    mut story: impl FnMut(Foreign, usize, &str),
) {
    a_group(machine);
    drop(Brim::fill(AT));
    let bytes = fs::metadata(disk.file()).unwrap().len();
    let image = machine.file("foreign.img");
    for kind in Foreign::ALL {
        if kind == Foreign::Gpt && !has_program("sgdisk") {
            continue;
        }
        kind.image(&image, bytes);
        let kept = Brim::of(AT).keep(&image);
        run("umount", &[AT]);
        story(kind, kept, &taken_for(disk));
        Brim::of(AT).forget(&image);
    }
}

/// Fills the volume like the history of a pool's members: with overwritten data and nothing else.
fn history_to_the_brim(machine: &ScratchMachine, mib: u64) {
    let target = machine.file("member.img");
    fs::write(&target, uberblocks(1024).repeat(mib as usize)).unwrap();
    let disk = LoopDevice::attach(&["--direct-io=off"], &target);
    let stream = machine.file("overwritten.raw");
    fs::write(&stream, vec![0x55; (mib as usize) << 20]).unwrap();
    let stream = stream.to_str().unwrap();
    let apply = ["apply", stream, "--format", "raw", "--group", "pool", "--target", disk.path()];
    machine.mtctl(&apply).exits(1).says("is full");
    fs::remove_file(stream).unwrap();
}

#[test]
fn a_history_of_zfs_labels_to_the_brim_is_found_on_old_volumes_and_no_label_on_new_ones() {
    for (filesystem, mib) in FILESYSTEMS {
        on_a_scratch_machine(|machine| {
            let disk = machine.disk("disk", mib);
            machine.prepare(disk.path(), &["--filesystem", filesystem, "--yes"]).exits(0);
            a_group(machine);
            history_to_the_brim(machine, mib);
            run("umount", &[AT]);
            assert_eq!(taken_for(&disk), filesystem);
            is_in_use(machine, &disk);
        });
    }
    // The journal leaves space at the end, where an ext4 would mislead; the critical part of XFS is
    // at its start.
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 320);
        make_as_before(&disk, "xfs");
        machine.prepare(disk.path(), &["--yes"]).exits(0);
        a_group(machine);
        history_to_the_brim(machine, 320);
        run("umount", &[AT]);
        assert_eq!(taken_for(&disk), "ambivalent", "a test of nothing");
        with_links(|| {
            link_by_udev(&disk);
            is_in_use(machine, &disk);
            run("umount", &[AT]);
        });
    });
}

#[test]
fn a_new_volume_is_taken_for_nothing_else_whatever_it_keeps() {
    for (filesystem, mib) in FILESYSTEMS {
        on_a_scratch_machine(|machine| {
            let disk = machine.disk("disk", mib);
            machine.prepare(disk.path(), &["--filesystem", filesystem, "--yes"]).exits(0);
            keep_each(machine, &disk, |kind, _, taken_for| {
                assert_eq!(taken_for, filesystem, "{kind:?}");
                is_in_use(machine, &disk);
            });
        });
    }
}

#[test]
fn an_old_volume_is_found_by_its_own_superblock_whatever_it_keeps() {
    for (filesystem, mib) in FILESYSTEMS {
        on_a_scratch_machine(|machine| {
            let disk = machine.disk("disk", mib);
            make_as_before(&disk, filesystem);
            machine.prepare(disk.path(), &["--yes"]).exits(0);
            let mut misleading = Vec::new();
            keep_each(machine, &disk, |kind, _, taken_for| {
                if taken_for == filesystem {
                    return is_in_use(machine, &disk);
                }
                misleading.push(kind);
                // The only thing that may be done to it is mounting it.
                let before = disk.sha256();
                let other = if filesystem == "xfs" { "ext4" } else { "xfs" };
                let destroy = ["--destroy", disk.path(), "--filesystem", other, "--yes"];
                let refused = machine.prepare(disk.path(), &destroy);
                refused.exits(4).does_not_say("add: --destroy");
                assert_eq!(disk.sha256(), before, "{kind:?}");
                // Without udev it is mounted by its device, with udev by its row; libblkid's cache
                // from before is gone after the next boot.
                shell("rm -rf /run/blkid");
                run("mount", &[AT]);
                assert_eq!(machine.mounted_at(AT), None, "{kind:?}: nofail says nothing");
                machine.prepare(disk.path(), &["--yes"]).exits(0).says("mount UUID=");
                is_ready(machine, &disk);
                run("umount", &[AT]);
                with_links(|| {
                    link_by_udev(&disk);
                    is_in_use(machine, &disk);
                    run("umount", &[AT]);
                    machine.prepare(disk.path(), &["--yes"]).exits(0).says("verify with");
                    is_ready(machine, &disk);
                });
            });
            // Signatures at the end of an ext4 mislead. Its start is its own; XFS has a reserve at
            // its end, for as long as that lasts.
            use Foreign::{Ddf, Drbd, Isw, Raid10, Raid090, Zfs};
            let expected: &[Foreign] = match filesystem {
                "xfs" => &[Zfs],
                _ => &[Zfs, Raid10, Raid090, Ddf, Isw, Drbd],
            };
            let is_missing = |kind: &&Foreign| !misleading.contains(kind);
            let missing: Vec<_> = expected.iter().filter(is_missing).collect();
            assert!(missing.is_empty(), "{filesystem}: no test of {missing:?}");
        });
    }
}
