//! A disk that a protection group writes to cannot become a retention disk, whatever its contents
//! and whatever the options, and wherever the group's state is.

use std::fs;
use std::path::Path;

use blockio::journal::state::GroupState;
use blockio::journal::state_text::print;
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{run, shell};
use mt_tests::scratch_machine::{FSTAB, ScratchMachine, on_a_scratch_machine};

use crate::{is_the_retention_volume, scripted, untouched};

/// A stream that writes 1 MiB at 40 MiB of a disk of 100 MiB.
fn stream() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/rbd/middle-only.rbddiff");
    path.to_str().unwrap().to_owned()
}

/// Applies the stream to `disk` as group web.
#[track_caller]
fn apply(machine: &ScratchMachine, disk: &str, more: &[&str]) {
    let stream = stream();
    let arguments = ["apply", &stream, "--target", disk, "--group", "web"];
    machine.mtctl(&[&arguments[..], more].concat()).exits(0);
}

/// The default place of the state of group web.
const STATE: &str = "/var/lib/mtctl/groups/web/state";

/// Writes the state of a group web with this target.
fn write_state(target: &str) {
    let mut state = GroupState::default();
    state.volumes.entry(blockio::volume_name::VolumeName::unnamed()).or_default().target =
        Some(target.to_owned());
    fs::create_dir_all("/var/lib/mtctl/groups/web").unwrap();
    fs::write(STATE, print(&state)).unwrap();
}

/// Leaves nothing on the disk: its contents are blank.
fn zero(disk: &LoopDevice) {
    shell(&format!("blkdiscard --zeroout --force {0}; blockdev --flushbufs {0}", disk.path()));
}

#[track_caller]
fn is_refused_as_the_groups(machine: &ScratchMachine, disk: &LoopDevice, path: &str) {
    let before = disk.sha256();
    println!("before: {before}");
    for more in [&["--yes"][..], &["--dry-run"], &["--destroy", path, "--yes"]] {
        let refused = machine.prepare(path, more);
        refused
            .exits(4)
            .says("is a target of the protection group web")
            .says("nothing was touched");
        refused.says("mtctl group release --group web");
        assert_eq!(disk.sha256(), before, "{more:?}");
    }
    println!("after: {}", disk.sha256());
}

#[test]
fn a_groups_disk_is_refused_with_content_and_when_it_is_zeroed_completely() {
    let places = [
        &["--retention", "none"][..],
        &["--retention", "none", "--state-dir", "/mnt/kept/web"],
        &["--retention", "/mnt/kept", "--retention-unmounted"],
    ];
    for place in places {
        on_a_scratch_machine(|machine| {
            let disk = machine.disk("disk", 100);
            shell("mkdir /mnt/kept");
            apply(machine, disk.path(), place);
            is_refused_as_the_groups(machine, &disk, disk.path());
            zero(&disk);
            is_refused_as_the_groups(machine, &disk, disk.path());
            untouched(machine, &disk, &disk.sha256());
            let json = machine.mtctl(&["disks", "--all", "--json"]).exits(0).json();
            let disks = json["disks"].as_array().unwrap();
            let found = disks.iter().find(|one| one["path"] == disk.path()).unwrap();
            assert_eq!(found["used_by"], serde_json::json!(["group:web"]), "{found}");
            assert_eq!(found["eligible_for"], serde_json::json!(["target"]), "{found}");
            // The command in the refusal works.
            let refused = machine.prepare(disk.path(), &["--yes"]);
            let hint = refused.stderr.split("mtctl group release ").nth(1).unwrap();
            let words = hint.split_whitespace();
            let options: Vec<_> = words.take_while(|word| *word != "Refused:").collect();
            let release = [&["group", "release", "--yes"][..], &options].concat();
            machine.mtctl(&release).exits(0);
            machine.prepare(disk.path(), &["--yes"]).does_not_say("protection group");
        });
    }
}

#[test]
fn a_group_on_the_retention_volume_keeps_its_disk_from_becoming_another_one() {
    on_a_scratch_machine(|machine| {
        let retention = machine.disk("retention", 128);
        machine.prepare(retention.path(), &["--yes"]).exits(0);
        let disk = machine.disk("disk", 100);
        apply(machine, disk.path(), &[]);
        assert!(Path::new("/mnt/retention/web/state").exists());
        zero(&disk);
        // Moved elsewhere, so that nothing but the group is in the way.
        shell(
            "mkdir /mnt/seen; mount --move /mnt/retention /mnt/seen 2>/dev/null || \
               { mount --bind /mnt/retention /mnt/seen; umount /mnt/retention; }",
        );
        fs::write("/etc/fstab", FSTAB).unwrap();
        fs::remove_file("/var/lib/mtctl/provisioning.json").unwrap();
        fs::remove_file("/var/lib/mtctl/state-directories").unwrap();
        is_refused_as_the_groups(machine, &disk, disk.path());
    });
}

#[test]
fn another_way_to_a_groups_disk_and_a_disk_with_its_partition_are_refused() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 100);
        apply(machine, disk.path(), &["--retention", "none"]);
        zero(&disk);
        let link = machine.file("link");
        std::os::unix::fs::symlink(disk.path(), &link).unwrap();
        is_refused_as_the_groups(machine, &disk, link.to_str().unwrap());
        let above = LoopDevice::attach(&[], Path::new(disk.path()));
        let before = disk.sha256();
        machine.prepare(above.path(), &["--yes"]).exits(4).says("the protection group web");
        drop(above);
        assert_eq!(disk.sha256(), before);
    });
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 128);
        shell(&format!("echo 2048 | sfdisk --quiet {}", disk.path()));
        run("partx", &["--add", disk.path()]);
        write_state(&format!("{}p1", disk.path()));
        let before = disk.sha256();
        let refused = machine.prepare(disk.path(), &["--destroy", disk.path(), "--yes"]);
        run("partx", &["--delete", disk.path()]);
        refused.exits(4).says("is a target of the protection group web");
        assert_eq!(disk.sha256(), before);
    });
}

#[test]
fn an_image_file_of_a_group_is_refused_under_the_loop_device_that_shows_it() {
    on_a_scratch_machine(|machine| {
        let file = machine.file("image");
        fs::File::create(&file).unwrap().set_len(100 << 20).unwrap();
        apply(machine, file.to_str().unwrap(), &["--retention", "none"]);
        let disk = LoopDevice::attach(&[], &file);
        zero(&disk);
        is_refused_as_the_groups(machine, &disk, disk.path());
    });
}

#[test]
fn a_state_that_cannot_be_understood_refuses_every_disk_and_is_named() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 100);
        let other = machine.disk("other", 100);
        apply(machine, disk.path(), &["--retention", "none"]);
        let state = STATE;
        let text = fs::read_to_string(state).unwrap();
        let copy = format!("{state}.copy");
        // If one copy is damaged, the other one is read.
        for path in [state, &copy] {
            fs::write(path, &text[..text.len() / 2]).unwrap();
        }
        let before = other.sha256();
        for more in [&["--yes"][..], &["--destroy", other.path(), "--yes"]] {
            let refused = machine.prepare(other.path(), more);
            refused
                .exits(4)
                .says("it is unknown which disks a protection group writes to")
                .says(state);
            untouched(machine, &other, &before);
        }
        machine.mtctl(&["disks", "--all"]).exits(0).says("note: no disk is fit for retention");
        // The command in the hint works.
        shell(&format!("mv {state} /var/lib/mtctl/web.state; rm {copy}"));
        machine.prepare(other.path(), &["--yes"]).exits(0);
        is_the_retention_volume(machine, &other, "ext4");
        fs::write(state, &text).unwrap();
        // A damaged state does not matter if nothing has to be formatted.
        fs::write(state, "damaged").unwrap();
        machine.prepare(other.path(), &["--yes"]).exits(0).says("0 changed");
    });
}

#[test]
fn a_group_that_began_to_write_after_the_plan_was_made_is_seen_right_before_mkfs() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 100);
        write_state(disk.path());
        let (there, away) = (STATE, machine.file("held-back"));
        let away = away.display();
        shell(&format!("mv {there} {away}"));
        let begin = format!("cp {away} {there}");
        let before = disk.sha256();
        for destroy in [&[][..], &["destroy"][..]] {
            let refused =
                scripted(disk.path(), "ext4", &[destroy, &["meanwhile", &begin]].concat());
            refused.exits(4).says("the protection group web").does_not_say("reached:");
            untouched(machine, &disk, &before);
            fs::remove_file(STATE).unwrap();
        }
    });
}
